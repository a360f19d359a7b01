/* long_conv, backward. With u = x1 v, c_t = sum_s h_s u_{t-s} + bias u_t, y = x0 c, e = dy x0:
 *
 *   du_s = sum_{t >= s} h_{t-s} e_t + bias e_s        dv = du x1        dx1 = du v
 *   dh_s = sum_{b, t >= s} e_t u_{t-s}                dbias = sum_{b, t} e_t u_t        dx0 = dy c
 *
 * Source: the chain rule on long_conv.c's equation; direct sums, of L^2 terms a row.
 */
#include "kernels/long_conv/long_conv.h"

#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DY = IN_COUNT };

/* One channel; rows of L. */
typedef struct {
    const sq_call *call;
    int64_t d, length;
    double *h, *u, *e, *dh, bias, dbias;
} channel;

/* 1 where there is no gate. */
static double load3(const sq_tensor *t, int64_t b, int64_t l, int64_t d)
{
    return t->data ? sq_load3(t, b, l, d) : 1;
}

static void store3(const sq_tensor *t, int64_t b, int64_t l, int64_t d, double value)
{
    if (t->data)
        sq_store3(t, b, l, d, value);
}

static void read_sequence(const channel *c, int64_t b)
{
    const sq_call *call = c->call;
    for (int64_t t = 0; t < c->length; t++) {
        c->u[t] = load3(&call->in[IN_V], b, t, c->d) * load3(&call->in[IN_X1], b, t, c->d);
        c->e[t] = load3(&call->in[IN_DY], b, t, c->d) * load3(&call->in[IN_X0], b, t, c->d);
    }
}

static void run_sequence(channel *c, int64_t b)
{
    const sq_call *call = c->call;
    read_sequence(c, b);
    for (int64_t t = 0; t < c->length; t++) {
        double value = c->bias * c->u[t], du = c->bias * c->e[t];
        for (int64_t s = 0; s <= t; s++)
            value += c->h[s] * c->u[t - s];
        for (int64_t s = t; s < c->length; s++) {
            du += c->h[s - t] * c->e[s];
            c->dh[s - t] += c->e[s] * c->u[t];
        }
        c->dbias += c->e[t] * c->u[t];
        store3(&call->out[IN_X0], b, t, c->d, load3(&call->in[IN_DY], b, t, c->d) * value);
        store3(&call->out[IN_V], b, t, c->d, du * load3(&call->in[IN_X1], b, t, c->d));
        store3(&call->out[IN_X1], b, t, c->d, du * load3(&call->in[IN_V], b, t, c->d));
    }
}

static void run_channel(channel *c)
{
    const sq_tensor *h = &c->call->in[IN_H], *dh = &c->call->out[IN_H];
    const sq_tensor *bias = &c->call->in[IN_BIAS], *dbias = &c->call->out[IN_BIAS];
    for (int64_t s = 0; s < c->length; s++)
        c->h[s] = sq_load(h->data, h->dtype, c->d * h->stride[0] + s * h->stride[1]);
    c->bias = sq_load(bias->data, bias->dtype, c->d * bias->stride[0]);
    for (int64_t b = 0; b < c->call->in[IN_V].dim[0]; b++)
        run_sequence(c, b);
    for (int64_t s = 0; s < c->length; s++)
        sq_store(dh->data, dh->dtype, c->d * dh->stride[0] + s * dh->stride[1], c->dh[s]);
    sq_store(dbias->data, dbias->dtype, c->d * dbias->stride[0], c->dbias);
}

sq_status sq_long_conv_backward(const sq_call *call, sq_error *err)
{
    const int64_t length = call->in[IN_V].dim[1];
    bool is_short = false;
#pragma omp parallel for schedule(dynamic) reduction(|| : is_short)
    for (int64_t d = 0; d < call->in[IN_V].dim[2]; d++) {
        double *memory = calloc((size_t)(4 * length), sizeof *memory);
        channel c = {.call = call,
                     .d = d,
                     .length = length,
                     .h = memory,
                     .u = memory + length,
                     .e = memory + 2 * length,
                     .dh = memory + 3 * length};
        is_short = is_short || !memory;
        if (memory)
            run_channel(&c);
        free(memory);
    }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "long_conv backward: rows of %lld steps",
                              (long long)length)
                    : SQ_OK;
}
