/* ssd, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c), and from its gates,
 * with ln a_t = d_t A, w_t = d_t, s_t = dt_t + dt_bias:
 *
 *   dd_t = dw_t + A d(ln a_t)                      dA = sum of d_t d(ln a_t)
 *   ddt_t = dd_t limit'(softplus(s_t)) softplus'(s_t)        ddt_bias = sum of ddt_t
 *
 * softplus'(x) = 1 / (1 + e^-x), and 1 above 20, where the forward pass takes x itself; limit' is 1
 * within the limits, which are part of it, and 0 outside.
 */
#include "kernels/ssd/ssd.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

/* d(d_t) / d(s_t). */
static double step_slope(const sq_call *call, double raw)
{
    const double step = sq_ssd_softplus(call, raw);
    if (sq_ssd_limit(call, step) != step)
        return 0;
    return call->axis[AXIS_SOFTPLUS] != 0 && raw <= 20 ? 1 / (1 + exp(-raw)) : 1;
}

static void store1(const sq_tensor *t, int64_t h, double value)
{
    if (t->data)
        sq_store(t->data, t->dtype, h * t->stride[0], value);
}

/* dD of one head, from the sums of its channels. */
static void store_skip(const sq_tensor *t, int64_t h, const double *d_skip, int64_t channels)
{
    double sum = 0;
    for (int64_t p = 0; t->data && p < channels; p++) {
        sum += d_skip[h * channels + p];
        if (t->rank == 2)
            sq_store(t->data, t->dtype, h * t->stride[0] + p * t->stride[1],
                     d_skip[h * channels + p]);
    }
    if (t->rank == 1)
        store1(t, h, sum);
}

/* ddt of one head, and what is summed over its steps. */
static void run_head(const sq_call *call, int64_t h, const sq_decay_scan_grads *grads)
{
    const sq_tensor *dt = &call->in[IN_DT], *ddt = &call->out[IN_DT];
    const double a = sq_load1(&call->in[IN_A], h);
    const int64_t length = dt->dim[1], heads = dt->dim[2];
    double d_a = 0, d_bias = 0;
    for (int64_t b = 0; b < dt->dim[0]; b++)
        for (int64_t t = 0; t < length; t++) {
            const int64_t at = (b * length + t) * heads + h;
            const double raw = sq_ssd_raw_step(call, b, t, h);
            const double step = sq_ssd_limit(call, sq_ssd_softplus(call, raw));
            const double d_step = grads->d_weight[at] + a * grads->d_log_decay[at];
            const double d_raw = d_step * step_slope(call, raw);
            d_a += step * grads->d_log_decay[at];
            d_bias += sq_named(d_raw);
            sq_store3(ddt, b, t, h, d_raw);
        }
    store1(&call->out[IN_A], h, d_a);
    store1(&call->out[IN_BIAS], h, d_bias);
    store_skip(&call->out[IN_D], h, grads->d_skip, call->in[IN_X].dim[3]);
}

sq_status sq_ssd_backward(const sq_call *call, sq_error *err)
{
    const int64_t *dim = call->in[IN_X].dim;
    const size_t gates = (size_t)(dim[0] * dim[1] * dim[2]), skips = (size_t)(dim[2] * dim[3]);
    double *memory = malloc((2 * gates + skips) * sizeof *memory);
    if (!memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "ssd backward: %zu gates", gates);
    const sq_decay_scan scan = sq_ssd_scan(call);
    sq_decay_scan_grads grads = sq_decay_scan_grads_of(call, &sq_ssd_layout);
    grads.d_z = &call->out[IN_Z];
    grads.d_log_decay = memory;
    grads.d_weight = memory + gates;
    grads.d_skip = memory + 2 * gates;
    sq_status status = sq_decay_scan_backward(call, &scan, &grads, err);
    for (int64_t h = 0; status == SQ_OK && h < dim[2]; h++)
        run_head(call, h, &grads);
    free(memory);
    return status;
}
