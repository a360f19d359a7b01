/* hyena_filter, backward. With m = out . a, window = e^(-t |delta|) + shift, dm = dh window:
 *
 *   dout = sum_t dm a        da = sum_{b,d} dm out          (the last layer)
 *   ddelta = -sign(delta) sum_t t dh m e^(-t |delta|)       dt_t = -sum_{b,d} |delta| dh m e^(...)
 *   dx = da freq cos(freq x) dfreq = sum_t x da cos(freq x)  dw = sum_t dx a'^T, db = sum_t dx
 *   da' = w^T dx                                            a': the layer before, at last z
 *
 * Source: the chain rule on hyena_filter.c's equation.
 */
#include "kernels/hyena_filter/hyena_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shared/rows.h"

enum { IN_DH = IN_COUNT };

/* Sums over the steps: gradient[i] of input i, dense. da, dx: rows of F. */
typedef struct {
    const sq_call *call;
    sq_hyena_network net;
    double *gradient[IN_COUNT], *da, *dx;
} sums;

/* The outputs of step t: adds to dout and ddelta, makes da and dt. */
static void run_outputs(sums *s, int64_t t)
{
    const sq_call *call = s->call;
    const sq_tensor *out = &call->in[IN_OUT];
    const int64_t width = out->dim[2];
    const double *a = s->net.a[s->net.layers - 1], time = sq_load1(&call->in[IN_T], t);
    memset(s->da, 0, (size_t)width * sizeof *s->da);
    for (int64_t b = 0; b < out->dim[0]; b++)
        for (int64_t d = 0; d < out->dim[1]; d++) {
            const double delta = sq_load3(&call->in[IN_DELTA], b, d, 0);
            const double dh = sq_load3(&call->in[IN_DH], b, d, t);
            const double decay = sq_hyena_decay(call, b, d, t);
            const double dm = dh * (decay + call->axis[AXIS_SHIFT]);
            const int64_t row = b * out->dim[1] + d;
            double m = 0;
            for (int64_t f = 0; f < width; f++) {
                const double w = sq_load3(out, b, d, f);
                m += w * a[f];
                s->da[f] += w * dm;
                s->gradient[IN_OUT][row * width + f] += dm * a[f];
            }
            s->gradient[IN_DELTA][row] -= (delta < 0 ? -1 : 1) * time * dh * m * decay;
            s->gradient[IN_T][t] -= fabs(delta) * dh * m * decay;
        }
}

/* da of layer i becomes that of the layer before, or dz. */
static void run_layer(sums *s, int i, int64_t t)
{
    const sq_call *call = s->call;
    const sq_tensor *w = &call->in[IN_W0 + 2 * i];
    const int64_t width = w->dim[0], from = w->dim[1];
    for (int64_t f = 0; f < width; f++) {
        const double freq = sq_load1(&call->in[IN_FREQ], f), x = s->net.x[i][f];
        const double slope = s->da[f] * cos(freq * x);
        s->dx[f] = slope * freq;
        s->gradient[IN_FREQ][f] += slope * x;
        s->gradient[IN_B0 + 2 * i][f] += s->dx[f];
    }
    double *before = i > 0 ? s->da : &s->gradient[IN_Z][t * from];
    for (int64_t k = 0; k < from; k++) {
        const double in = i > 0 ? s->net.a[i - 1][k] : sq_load3(&call->in[IN_Z], t, k, 0);
        double sum = 0;
        for (int64_t f = 0; f < width; f++) {
            sum += sq_load3(w, f, k, 0) * s->dx[f];
            s->gradient[IN_W0 + 2 * i][f * from + k] += s->dx[f] * in;
        }
        before[k] = sum;
    }
}

static void write_gradient(const sq_tensor *t, const double *gradient)
{
    for (int64_t i = 0; t->data && i < sq_tensor_count(t); i++)
        sq_store(t->data, t->dtype, sq_tensor_offset(t, i), gradient[i]);
}

sq_status sq_hyena_filter_backward(const sq_call *call, sq_error *err)
{
    const int64_t width = call->in[IN_FREQ].dim[0];
    int64_t count = (2 * MOST_LAYERS + 2) * width;
    for (int i = 0; i < IN_COUNT; i++)
        count += call->in[i].rank > 0 ? sq_tensor_count(&call->in[i]) : 0;
    double *memory = calloc((size_t)count, sizeof *memory), *at = memory;
    if (!memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "hyena_filter backward: %lld sums", (long long)count);
    sums s = {.call = call, .net = sq_hyena_network_new(call, at)};
    at += 2 * MOST_LAYERS * width;
    s.da = at;
    s.dx = at + width;
    at += 2 * width;
    for (int i = 0; i < IN_COUNT; i++) {
        s.gradient[i] = at;
        at += call->in[i].rank > 0 ? sq_tensor_count(&call->in[i]) : 0;
    }
    for (int64_t t = 0; t < call->in[IN_Z].dim[0]; t++) {
        sq_hyena_network_run(call, t, &s.net);
        run_outputs(&s, t);
        for (int i = s.net.layers - 1; i >= 0; i--)
            run_layer(&s, i, t);
    }
    for (int i = 0; i < IN_COUNT; i++)
        write_gradient(&call->out[i], s.gradient[i]);
    free(memory);
    return SQ_OK;
}
