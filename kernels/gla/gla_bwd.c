/* gla, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c). */
#include "kernels/gla/gla.h"

#include "kernels/shared/decay_scan.h"

enum { IN_DO = IN_COUNT, IN_DFINAL };

sq_status sq_gla_backward(const sq_call *call, sq_error *err)
{
    const sq_decay_scan scan = sq_gla_scan(call);
    const sq_decay_scan_grads grads = {.d_o = &call->in[IN_DO],
                                       .d_q = &call->out[IN_Q],
                                       .d_k = &call->out[IN_K],
                                       .d_v = &call->out[IN_V],
                                       .d_decays = &call->out[IN_G],
                                       .d_initial = &call->out[IN_INITIAL],
                                       .d_final = &call->in[IN_DFINAL]};
    return sq_decay_scan_backward(call, &scan, &grads, err);
}
