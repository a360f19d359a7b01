/* long_conv, backward. With a_t the convolution and its skip, g = dy x0 act'(a), H and U the
 * transforms of filters and u on a circle of 2 L points or more, G that of g:
 *
 *   du_s = sum_{t >= s} h_{t-s} g_t + bias g_s + sum_{t <= s} r_{s-t} g_t
 *                                                    the sums: the inverse of conj(H) G
 *   dh_s = sum_{b, t >= s} g_t u_{t-s},   dr_s = sum_{b, t} g_t u_{t+s}
 *                                                    of every sequence: the inverse of conj(U) G
 *   dv = du x1        dx1 = du v        dbias = sum_{b, t} g_t u_t        dx0 = dy act(a)
 *
 * With heads each of these is summed over the products that a channel takes part in.
 *
 * Source: the chain rule on long_conv.c's equation.
 */
#include "kernels/long_conv/long_conv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { IN_DY = IN_COUNT };

/* One head. Rows of L doubles (dv, dx1, dx0: one for each of its channels) and of n points. */
typedef struct {
    const sq_call *call;
    const sq_fft *fft;
    int64_t h, length, width;
    double bias, dbias, *dh, *dr, *dv, *dx1, *dx0, *u;
    sq_c64 *filter, *input, *z;
} head;

/* 1 where there is no gate. */
static double load3(const sq_tensor *t, int64_t b, int64_t l, int64_t d)
{
    return t->data ? sq_load3(t, b, l, d) : 1;
}

/* input: U; z: conj(H) G + i conj(U) G after the values a are known; adds to dx0. */
static void transform_row(const head *p, const sq_long_conv_row *row)
{
    const sq_call *call = p->call;
    const int64_t n = p->fft->n, i = p->h * p->width + row->i;
    const int64_t channel = row->j * (call->in[IN_V].dim[2] / p->width) + p->h;
    for (int64_t t = 0; t < n; t++)
        p->input[t] = sq_c64_of(t < p->length ? p->u[t] : 0, 0);
    sq_fft_forward(p->fft, p->input);
    for (int64_t k = 0; k < n; k++)
        p->z[k] = sq_c64_mul(p->input[k], p->filter[k]);
    sq_fft_inverse(p->fft, p->z);
    for (int64_t t = 0; t < n; t++) {
        if (t >= p->length) {
            p->z[t] = sq_c64_of(0, 0);
            continue;
        }
        const double a = p->z[t].re + p->bias * p->u[t];
        const double dy = sq_load3(&call->in[IN_DY], row->b, t, channel);
        const bool is_gelu = call->axis[AXIS_GELU] != 0;
        p->dx0[row->i * p->length + t] += dy * sq_named(is_gelu ? sq_long_conv_gelu(a) : a);
        p->z[t] = sq_c64_of(sq_named(dy * load3(&call->in[IN_X0], row->b, t, i)) *
                                (is_gelu ? sq_long_conv_gelu_slope(a) : 1),
                            0);
    }
}

static double largest(const sq_c64 *z, int64_t n)
{
    double most = 0;
    for (int64_t k = 0; k < n; k++)
        most = fmax(most, fmax(fabs(z[k].re), fabs(z[k].im)));
    return most;
}

/* z: G becomes, going back, the real row of conj(H) G and the imaginary one of conj(U) G. */
static void transform_back(const head *p)
{
    const int64_t n = p->fft->n;
    const double filter = largest(p->filter, n), input = largest(p->input, n);
    const double balance = sq_long_conv_balance(filter, input);
    const double factor = balance > 0 ? balance : 1; /* of conj(U) G; 1: one is 0 throughout */
    for (int64_t k = 0; k < n; k++) {
        const sq_c64 du = sq_c64_conj_mul(p->filter[k], p->z[k]);
        const sq_c64 df = sq_c64_conj_mul(p->input[k], p->z[k]);
        p->z[k] = sq_c64_of(du.re - factor * df.im, du.im + factor * df.re);
    }
    sq_fft_inverse(p->fft, p->z);
    for (int64_t t = 0; t < n; t++)
        p->z[t] = sq_c64_of(filter > 0 ? p->z[t].re : 0, input > 0 ? p->z[t].im / factor : 0);
}

static void run_row(head *p, const sq_long_conv_row *row)
{
    const sq_call *call = p->call;
    const int64_t n = p->fft->n, first = p->h * p->width;
    for (int64_t t = 0; t < p->length; t++)
        p->u[t] = sq_long_conv_input(call, row, t);
    transform_row(p, row);
    double *dv = p->dv + row->i * p->length, *dx1 = p->dx1 + row->j * p->length;
    for (int64_t t = 0; t < p->length; t++) {
        const double skip = p->bias * p->z[t].re;
        p->dbias += p->z[t].re * p->u[t];
        dv[t] += skip * load3(&call->in[IN_X1], row->b, t, first + row->j);
        dx1[t] += skip * sq_load3(&call->in[IN_V], row->b, t, first + row->i);
    }
    sq_fft_forward(p->fft, p->z);
    transform_back(p);
    for (int64_t t = 0; t < p->length; t++) {
        dv[t] += p->z[t].re * load3(&call->in[IN_X1], row->b, t, first + row->j);
        dx1[t] += p->z[t].re * sq_load3(&call->in[IN_V], row->b, t, first + row->i);
        p->dh[t] += p->z[t].im;
        p->dr[t] += p->z[(n - t) % n].im;
    }
}

/* channels: rows of L, `width` of them; of a tensor that may be absent. */
static void write_channels(const head *p, const sq_tensor *t, int64_t b, const double *channels)
{
    for (int64_t i = 0; t->data && i < p->width; i++)
        for (int64_t l = 0; l < p->length; l++)
            sq_store3(t, b, l, p->h * p->width + i, channels[i * p->length + l]);
}

static void write_filter(const head *p, const sq_tensor *t, const double *taps)
{
    for (int64_t s = 0; t->data && s < p->length; s++)
        sq_store(t->data, t->dtype, p->h * t->stride[0] + s * t->stride[1], taps[s]);
}

static void run_head(head *p)
{
    const sq_call *call = p->call;
    const sq_tensor *dbias = &call->out[IN_BIAS];
    p->bias = sq_load1(&call->in[IN_BIAS], p->h);
    sq_long_conv_filter(call, p->h, p->fft->n, p->filter);
    sq_fft_forward(p->fft, p->filter);
    for (int64_t b = 0; b < call->in[IN_V].dim[0]; b++) {
        memset(p->dv, 0, (size_t)(3 * p->width * p->length) * sizeof *p->dv);
        for (int64_t i = 0; i < p->width; i++)
            for (int64_t j = 0; j < p->width; j++)
                run_row(p, &(sq_long_conv_row){.b = b, .h = p->h, .i = i, .j = j});
        write_channels(p, &call->out[IN_V], b, p->dv);
        write_channels(p, &call->out[IN_X1], b, p->dx1);
        write_channels(p, &call->out[IN_X0], b, p->dx0);
    }
    write_filter(p, &call->out[IN_H], p->dh);
    write_filter(p, &call->out[IN_R], p->dr);
    sq_store(dbias->data, dbias->dtype, p->h * dbias->stride[0], p->dbias);
}

/* false: no memory. */
static bool run_job(const sq_call *call, const sq_fft *fft, int64_t h)
{
    const int64_t length = call->in[IN_V].dim[1], width = sq_axis_int(call->axis, AXIS_HEAD);
    const size_t points = 3 * (size_t)fft->n * sizeof(sq_c64);
    sq_c64 *memory = calloc(1, points + (size_t)((3 + 3 * width) * length) * sizeof(double));
    if (!memory)
        return false;
    head p = {.call = call, .fft = fft, .h = h, .length = length, .width = width};
    p.filter = memory;
    p.input = p.filter + fft->n;
    p.z = p.input + fft->n;
    p.u = (double *)(p.z + fft->n);
    p.dh = p.u + length;
    p.dr = p.dh + length;
    p.dv = p.dr + length;
    p.dx1 = p.dv + width * length;
    p.dx0 = p.dx1 + width * length;
    run_head(&p);
    free(memory);
    return true;
}

sq_status sq_long_conv_backward(const sq_call *call, sq_error *err)
{
    const int64_t length = call->in[IN_V].dim[1];
    bool is_short = false;
    sq_fft fft = {.root = NULL};
    SQ_TRY(sq_fft_init(&fft, sq_fft_points(2 * length), err));
#pragma omp parallel for schedule(dynamic) reduction(|| : is_short)
    for (int64_t h = 0; h < call->in[IN_H].dim[0]; h++)
        is_short = !run_job(call, &fft, h) || is_short;
    sq_fft_free(&fft);
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "long_conv backward: rows of %lld steps",
                              (long long)length)
                    : SQ_OK;
}
