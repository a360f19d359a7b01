/* long_conv, the reference of passes fwd and step: direct sums of short rows and of steps,
 * transforms of longer rows. */
#include "kernels/long_conv/long_conv.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { DIRECT_MAX = 512 }; /* longer sequences: the reference transforms */

double sq_long_conv_gelu(double a)
{
    return 0.5 * a * (1 + erf(a * sqrt(0.5)));
}

/* act(a_t): what x0 multiplies, or the output. */
static double activated(const sq_call *call, double a)
{
    const double value = call->axis[AXIS_GELU] != 0 ? sq_long_conv_gelu(a) : a;
    return call->in[IN_X0].data ? sq_named(value) : value;
}

double sq_long_conv_gelu_slope(double a)
{
    const double density = exp(-0.5 * a * a) / sqrt(6.283185307179586476925);
    return 0.5 * (1 + erf(a * sqrt(0.5))) + a * density;
}

double sq_long_conv_input(const sq_call *call, const sq_long_conv_row *row, int64_t t)
{
    const int64_t first = row->h * sq_axis_int(call->axis, AXIS_HEAD);
    const double u = sq_load3(&call->in[IN_V], row->b, t, first + row->i);
    return call->in[IN_X1].data
               ? sq_named(u * sq_load3(&call->in[IN_X1], row->b, t, first + row->j))
               : u;
}

static double tap(const sq_tensor *filter, int64_t h, int64_t s)
{
    return sq_load(filter->data, filter->dtype, h * filter->stride[0] + s * filter->stride[1]);
}

void sq_long_conv_filter(const sq_call *call, int64_t h, int64_t n, sq_c64 *z)
{
    const sq_tensor *past = &call->in[IN_H], *ahead = &call->in[IN_R];
    for (int64_t t = 0; t < n; t++)
        z[t] = sq_c64_of(t < past->dim[1] ? tap(past, h, t) : 0, 0);
    for (int64_t t = 0; ahead->data && t < ahead->dim[1]; t++)
        z[(n - t) % n].re += tap(ahead, h, t);
}

/* a[t] += the convolution at t, skip included. scratch: 3 L. */
static void convolve_direct(const sq_call *call, const sq_long_conv_row *row, double *scratch,
                            double *a)
{
    const int64_t length = call->out[0].dim[1];
    const bool looks_ahead = call->in[IN_R].data != NULL;
    double *u = scratch, *h = u + length, *r = h + length;
    for (int64_t t = 0; t < length; t++) {
        u[t] = sq_long_conv_input(call, row, t);
        h[t] = tap(&call->in[IN_H], row->h, t);
        r[t] = looks_ahead ? tap(&call->in[IN_R], row->h, t) : 0;
    }
    for (int64_t t = 0; t < length; t++) {
        double sum = sq_load1(&call->in[IN_BIAS], row->h) * u[t];
        for (int64_t s = 0; s <= t; s++)
            sum += h[s] * u[t - s];
        for (int64_t s = t; looks_ahead && s < length; s++)
            sum += r[s - t] * u[s];
        a[t] = sum;
    }
}

double sq_long_conv_balance(double most, double other)
{
    return most > 0 && other > 0 ? ldexp(1, ilogb(most) - ilogb(other)) : 0;
}

/* z: the filter, in its real part, becomes u + i filter, u multiplied by what is returned. */
static double pack_input(const sq_call *call, const sq_long_conv_row *row, int64_t n, sq_c64 *z)
{
    const int64_t length = call->out[0].dim[1];
    double filter = 0, input = 0;
    for (int64_t t = 0; t < n; t++) {
        z[t] = sq_c64_of(t < length ? sq_long_conv_input(call, row, t) : 0, z[t].re);
        input = fmax(input, fabs(z[t].re));
        filter = fmax(filter, fabs(z[t].im));
    }
    const double factor = sq_long_conv_balance(filter, input);
    for (int64_t t = 0; t < length; t++)
        z[t].re *= factor;
    return factor;
}

/* u and the filter are the real and imaginary part of one row z of n points, so with Z its
 * transform U H = (Z_k^2 - conj(Z_{n-k})^2) / 4i; z: scratch of n. */
static void convolve_transformed(const sq_call *call, const sq_long_conv_row *row,
                                 const sq_fft *fft, sq_c64 *z, double *a)
{
    const int64_t length = call->out[0].dim[1], n = fft->n;
    sq_long_conv_filter(call, row->h, n, z);
    const double factor = pack_input(call, row, n, z);
    sq_fft_forward(fft, z);
    for (int64_t k = 0; k <= n / 2; k++) {
        const sq_c64 p = z[k], q = z[(n - k) % n];
        /* Z_k^2 - conj(Z_{n-k}^2) = re + i im; divided by 4i: (im - i re) / 4. */
        const double re = (p.re * p.re - p.im * p.im) - (q.re * q.re - q.im * q.im);
        const double im = 2 * p.re * p.im + 2 * q.re * q.im;
        z[k] = sq_c64_of(im / 4, -re / 4);
        z[(n - k) % n] = sq_c64_of(im / 4, re / 4);
    }
    sq_fft_inverse(fft, z);
    for (int64_t t = 0; t < length; t++)
        a[t] = (factor > 0 ? z[t].re / factor : 0) +
               sq_load1(&call->in[IN_BIAS], row->h) * sq_long_conv_input(call, row, t);
}

/* One channel of the output: the sum over i of a head's products with channel j. */
static void run_channel(const sq_call *call, sq_long_conv_row row, const sq_fft *fft,
                        sq_c64 *scratch, double *a, double *y)
{
    const int64_t length = call->out[0].dim[1], width = sq_axis_int(call->axis, AXIS_HEAD);
    const int64_t channel = row.j * (call->out[0].dim[2] / width) + row.h;
    for (int64_t t = 0; t < length; t++)
        y[t] = 0;
    for (row.i = 0; row.i < width; row.i++) {
        if (length <= DIRECT_MAX)
            convolve_direct(call, &row, &scratch[0].re, a);
        else
            convolve_transformed(call, &row, fft, scratch, a);
        for (int64_t t = 0; t < length; t++) {
            const double value = activated(call, a[t]);
            y[t] += call->in[IN_X0].data
                        ? value * sq_load3(&call->in[IN_X0], row.b, t, row.h * width + row.i)
                        : value;
        }
    }
    for (int64_t t = 0; t < length; t++)
        sq_store3(&call->out[0], row.b, t, channel, y[t]);
}

/* The last token's channel c: the sum over the prefix. */
static void run_last(const sq_call *call, sq_long_conv_row row, int64_t c)
{
    const int64_t length = call->in[IN_V].dim[1], width = sq_axis_int(call->axis, AXIS_HEAD);
    double y = 0;
    for (row.i = 0; row.i < width; row.i++) {
        double a = sq_load1(&call->in[IN_BIAS], row.h) * sq_long_conv_input(call, &row, length - 1);
        for (int64_t s = 0; s < length; s++)
            a += tap(&call->in[IN_H], row.h, s) * sq_long_conv_input(call, &row, length - 1 - s);
        a = activated(call, a);
        if (call->in[IN_X0].data)
            a *= sq_load3(&call->in[IN_X0], row.b, 0, row.h * width + row.i);
        y += a;
    }
    sq_store3(&call->out[0], row.b, 0, c, y);
}

static void run_step(const sq_call *call)
{
    const int64_t heads = call->in[IN_H].dim[0];
#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < call->out[0].dim[0]; b++)
        for (int64_t c = 0; c < call->out[0].dim[2]; c++)
            run_last(call, (sq_long_conv_row){.b = b, .h = c % heads, .j = c / heads}, c);
}

sq_status sq_long_conv_reference(const sq_call *call, sq_error *err)
{
    const int64_t batch = call->out[0].dim[0], length = call->out[0].dim[1];
    const int64_t heads = call->in[IN_H].dim[0], channels = call->out[0].dim[2];
    const size_t row_bytes = (size_t)(2 * length) * sizeof(double);
    bool is_short = false;
    if (call->pass == SQ_PASS_STEP) {
        run_step(call);
        return SQ_OK;
    }
    sq_fft fft = {.root = NULL};
    SQ_TRY(sq_fft_init(&fft, sq_fft_points(2 * length), err));
#pragma omp parallel for collapse(2) schedule(dynamic) reduction(|| : is_short)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t c = 0; c < channels; c++) {
            sq_c64 *scratch = malloc((size_t)fft.n * sizeof *scratch + row_bytes);
            double *a = scratch ? (double *)(scratch + fft.n) : NULL;
            is_short = is_short || !scratch;
            if (scratch)
                run_channel(call, (sq_long_conv_row){.b = b, .h = c % heads, .j = c / heads}, &fft,
                            scratch, a, a + length);
            free(scratch);
        }
    sq_fft_free(&fft);
    return is_short
               ? sq_fail(err, SQ_OUT_OF_MEMORY, "long_conv: rows of %lld steps", (long long)length)
               : SQ_OK;
}

double sq_long_conv_row_work(int64_t length)
{
    const double l = (double)length, n = (double)sq_fft_points(2 * length);
    return length <= DIRECT_MAX ? l * l / 2 + 30 * l : 6 * n * log2(n) + 30 * l;
}
