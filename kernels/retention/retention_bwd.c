/* retention, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c); decays are
 * constants. */
#include "kernels/retention/retention.h"

#include <math.h>

#include "kernels/shared/decay_scan.h"

enum { IN_DO = IN_COUNT };

sq_status sq_retention_backward(const sq_call *call, sq_error *err)
{
    const sq_decay_scan scan = {.q = &call->in[IN_Q],
                                .k = &call->in[IN_K],
                                .v = &call->in[IN_V],
                                .scale = 1 / sqrt(call->axis[AXIS_K]),
                                .gate = sq_retention_gate};
    const sq_decay_scan_grads grads = {.d_o = &call->in[IN_DO],
                                       .d_q = &call->out[IN_Q],
                                       .d_k = &call->out[IN_K],
                                       .d_v = &call->out[IN_V]};
    return sq_decay_scan_backward(call, &scan, &grads, err);
}
