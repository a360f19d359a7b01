/* ssd, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c), and from its gates,
 * with ln a_t = d_t A and w_t = d_t:
 *
 *   dd_t = dw_t + A d(ln a_t)        dA = sum of d_t d(ln a_t)
 *   ddt_t = dd_t softplus'(dt_t + dt_bias)        ddt_bias = sum of ddt_t
 *
 * softplus'(x) = 1 / (1 + e^-x), and 1 above 20, where the forward pass takes x itself.
 */
#include "kernels/ssd/ssd.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/decay_scan.h"

enum { IN_DY = IN_COUNT };

static double softplus_slope(const sq_call *call, double x)
{
    return call->axis[AXIS_SOFTPLUS] != 0 && x <= 20 ? 1 / (1 + exp(-x)) : 1;
}

static void store1(const sq_tensor *t, int64_t h, double value)
{
    if (t->data)
        sq_store(t->data, t->dtype, h * t->stride[0], value);
}

/* ddt of one head, and what is summed over its steps. */
static void run_head(const sq_call *call, int64_t h, const sq_decay_scan_grads *grads)
{
    const sq_tensor *dt = &call->in[IN_DT], *ddt = &call->out[IN_DT], *bias = &call->in[IN_BIAS];
    const sq_tensor *decay = &call->in[IN_A];
    const double a = sq_load(decay->data, decay->dtype, h * decay->stride[0]);
    const double shift = bias->data ? sq_load(bias->data, bias->dtype, h * bias->stride[0]) : 0;
    const int64_t length = dt->dim[1], heads = dt->dim[2];
    double d_a = 0, d_bias = 0;
    for (int64_t b = 0; b < dt->dim[0]; b++)
        for (int64_t t = 0; t < length; t++) {
            const int64_t at = (b * length + t) * heads + h;
            const double x =
                shift + sq_load(dt->data, dt->dtype,
                                b * dt->stride[0] + t * dt->stride[1] + h * dt->stride[2]);
            const double step = sq_ssd_gate(call, b, t, h).weight;
            const double d_step = grads->d_weight[at] + a * grads->d_log_decay[at];
            const double d_x = d_step * softplus_slope(call, x);
            d_a += step * grads->d_log_decay[at];
            d_bias += d_x;
            sq_store(ddt->data, ddt->dtype,
                     b * ddt->stride[0] + t * ddt->stride[1] + h * ddt->stride[2], d_x);
        }
    store1(&call->out[IN_A], h, d_a);
    store1(&call->out[IN_BIAS], h, d_bias);
    store1(&call->out[IN_D], h, grads->d_skip[h]);
}

sq_status sq_ssd_backward(const sq_call *call, sq_error *err)
{
    const int64_t *dim = call->in[IN_DT].dim;
    const size_t gates = (size_t)(dim[0] * dim[1] * dim[2]);
    double *memory = malloc((2 * gates + (size_t)dim[2]) * sizeof *memory);
    if (!memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "ssd backward: %zu gates", gates);
    const sq_decay_scan scan = {.q = &call->in[IN_C],
                                .k = &call->in[IN_B],
                                .v = &call->in[IN_X],
                                .scale = 1,
                                .gate = sq_ssd_gate,
                                .skip = sq_ssd_skip};
    const sq_decay_scan_grads grads = {.d_o = &call->in[IN_DY],
                                       .d_q = &call->out[IN_C],
                                       .d_k = &call->out[IN_B],
                                       .d_v = &call->out[IN_X],
                                       .d_log_decay = memory,
                                       .d_weight = memory + gates,
                                       .d_skip = memory + 2 * gates};
    sq_status status = sq_decay_scan_backward(call, &scan, &grads, err);
    for (int64_t h = 0; status == SQ_OK && h < dim[2]; h++)
        run_head(call, h, &grads);
    free(memory);
    return status;
}
