/* launch: one operator call on host tensors, by a provider on a rig or by the reference. */
#ifndef SQ_BENCH_VERIFY_LAUNCH_H
#define SQ_BENCH_VERIFY_LAUNCH_H

#include "bench/worker/host_call.h"
#include "bench/worker/rig.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills call->out from call->in. provider NULL: the reference. The provider's outputs and workspace
 * are poisoned between guard zones; SQ_MISMATCH where it wrote outside. Pass bwd follows the
 * provider's own forward pass, whose outputs are poisoned, too, and take the place of the values in
 * call->in. */
sq_status sq_host_call_run(const sq_rig *rig, const sq_provider *provider, const sq_call *call,
                           const sq_tensor_list *list, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
