/* gla, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c). */
#include "kernels/gla/gla.h"

sq_status sq_gla_backward(const sq_call *call, sq_error *err)
{
    const sq_decay_scan scan = sq_gla_scan(call);
    sq_decay_scan_grads grads = sq_decay_scan_grads_of(call, &sq_gla_layout);
    grads.d_decays = &call->out[IN_G];
    return sq_decay_scan_backward(call, &scan, &grads, err);
}
