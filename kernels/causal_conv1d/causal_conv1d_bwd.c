/* causal_conv1d, backward. With a_t = b + sum_i w_{W-1-i} x_{t-i} and da_t = dy_t act'(a_t):
 *
 *   dx_s = sum_i w_{W-1-i} da_{s+i} (+ dfinal where x_s is handed on)     s < 0: dinitial
 *   dw_{W-1-i} = sum_t da_t x_{t-i}        db = sum_t da_t
 *
 * Source: the chain rule on causal_conv1d.c's equation.
 */
#include "kernels/causal_conv1d/causal_conv1d.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { MAX_TAPS = 4 };

/* One channel. x and dx: of one sequence with its W - 1 earlier inputs first. */
typedef struct {
    const sq_call *call;
    int64_t d, taps;
    double w[MAX_TAPS], bias, dw[MAX_TAPS], dbias;
    double *x, *dx;
} channel;

static void read_sequence(channel *c, int64_t b)
{
    const sq_tensor *x = &c->call->in[IN_X], *initial = &c->call->in[IN_INITIAL];
    const sq_tensor *dfinal = &c->call->in[IN_DFINAL];
    const int64_t past = c->taps - 1, length = x->dim[1];
    for (int64_t i = 0; i < past; i++)
        c->x[i] = initial->data ? sq_load3(initial, b, i, c->d) : 0;
    for (int64_t t = 0; t < length; t++)
        c->x[past + t] = sq_load3(x, b, t, c->d);
    for (int64_t i = 0; i < past + length; i++)
        c->dx[i] = dfinal->data && i >= length ? sq_load3(dfinal, b, i - length, c->d) : 0;
}

static void run_sequence(channel *c, int64_t b)
{
    const int64_t past = c->taps - 1;
    for (int64_t t = 0; t < c->call->in[IN_X].dim[1]; t++) {
        double a = c->bias, da = sq_load3(&c->call->in[IN_DY], b, t, c->d);
        for (int64_t k = 0; k < c->taps; k++)
            a += c->w[k] * c->x[t + k];
        if (c->call->axis[AXIS_SILU] != 0) {
            a = sq_named(a);
            const double s = 1 / (1 + exp(-a));
            da = sq_named(da * (s * (1 + a * (1 - s))));
        }
        c->dbias += da;
        for (int64_t k = 0; k < c->taps; k++) {
            c->dw[k] += da * c->x[t + k];
            c->dx[t + k] += da * c->w[k];
        }
    }
    const sq_tensor *dinitial = &c->call->out[IN_INITIAL];
    for (int64_t i = 0; dinitial->data && i < past; i++)
        sq_store3(dinitial, b, i, c->d, c->dx[i]);
    for (int64_t t = 0; t < c->call->in[IN_X].dim[1]; t++)
        sq_store3(&c->call->out[IN_X], b, t, c->d, c->dx[past + t]);
}

static void run_channel(channel *c)
{
    const sq_tensor *w = &c->call->in[IN_W], *bias = &c->call->in[IN_BIAS];
    const sq_tensor *dw = &c->call->out[IN_W], *dbias = &c->call->out[IN_BIAS];
    for (int64_t k = 0; k < c->taps; k++)
        c->w[k] = sq_load(w->data, w->dtype, c->d * w->stride[0] + k * w->stride[1]);
    c->bias = bias->data ? sq_load(bias->data, bias->dtype, c->d * bias->stride[0]) : 0;
    for (int64_t b = 0; b < c->call->in[IN_X].dim[0]; b++) {
        read_sequence(c, b);
        run_sequence(c, b);
    }
    for (int64_t k = 0; k < c->taps; k++)
        sq_store(dw->data, dw->dtype, c->d * dw->stride[0] + k * dw->stride[1], c->dw[k]);
    if (dbias->data)
        sq_store(dbias->data, dbias->dtype, c->d * dbias->stride[0], c->dbias);
}

sq_status sq_causal_conv1d_backward(const sq_call *call, sq_error *err)
{
    const int64_t taps = call->in[IN_W].dim[1], rows = call->in[IN_X].dim[1] + taps - 1;
    bool is_short = false;
#pragma omp parallel for reduction(|| : is_short)
    for (int64_t d = 0; d < call->in[IN_X].dim[2]; d++) {
        double *memory = malloc((size_t)(2 * rows) * sizeof *memory);
        channel c = {.call = call, .d = d, .taps = taps, .x = memory, .dx = memory + rows};
        is_short = is_short || !memory;
        if (memory)
            run_channel(&c);
        free(memory);
    }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "causal_conv1d backward: a row of %lld steps",
                              (long long)rows)
                    : SQ_OK;
}
