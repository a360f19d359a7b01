/* simple_gla, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c). */
#include "kernels/simple_gla/simple_gla.h"

#include <stdlib.h>

#include "kernels/shared/rows.h"

sq_status sq_simple_gla_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *dg = &call->out[IN_G];
    const int64_t gates = dg->dim[0] * dg->dim[1] * dg->dim[2];
    double *d_log_decay = malloc((size_t)gates * sizeof *d_log_decay);
    if (!d_log_decay)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "simple_gla backward: %lld gates", (long long)gates);
    const sq_decay_scan scan = sq_simple_gla_scan(call);
    sq_decay_scan_grads grads = sq_decay_scan_grads_of(call, &sq_simple_gla_layout);
    grads.d_log_decay = d_log_decay;
    sq_status status = sq_decay_scan_backward(call, &scan, &grads, err);
    for (int64_t i = 0; status == SQ_OK && i < gates; i++)
        sq_store3(dg, i / dg->dim[2] / dg->dim[1], i / dg->dim[2] % dg->dim[1], i % dg->dim[2],
                  d_log_decay[i]);
    free(d_log_decay);
    return status;
}
