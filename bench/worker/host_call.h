/* host_call: the tensors of a call in host memory. */
#ifndef SQ_BENCH_WORKER_HOST_CALL_H
#define SQ_BENCH_WORKER_HOST_CALL_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Inputs [0, n) are drawn; the others, of pass bwd, the forward pass writes. */
static inline int sq_drawn_inputs(const sq_tensor_list *list)
{
    return list->first_value > 0 ? list->first_value : list->n_in;
}

/* Every tensor that `list` names becomes a dense one of the same dims with memory of its own, the
 * contents undefined; sq_host_call_free is due after a failure too. */
sq_status sq_host_call_alloc(sq_call *call, const sq_tensor_list *list, sq_error *err);
void sq_host_call_free(sq_call *call);

#ifdef __cplusplus
}
#endif
#endif
