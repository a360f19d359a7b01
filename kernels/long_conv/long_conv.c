/* long_conv: Hyena's long convolution, a filter as long as the sequence, between two gates.
 *
 *   u_t = x1_t v_t                                                     (gate = 0: u = v)
 *   y_t = x0_t (sum_{s <= t} h_s u_{t-s} + bias u_t)                   (gate = 0: without x0)
 *
 * Source    Poli et al.: Hyena Hierarchy (2302.10866), definition 3.1 at order 2 and algorithm 3;
 *           the skip "bias" as in the authors' program
 * Symbols   B: batch;  L: sequence length;  D: channels
 * in[0]     v   (B, L, D)  dtype            in[1]  x1  (B, L, D)  dtype, if gate
 * in[2]     x0  (B, L, D)  dtype, if gate   in[3]  h   (D, L)     f32: one filter per channel
 * in[4]     bias  (D)      f32
 * out[0]    y   (B, L, D)  dtype            u and the sum stay in f32 (reference: f64)
 * Errors    SQ_UNSUPPORTED for every pass but fwd; SQ_OUT_OF_MEMORY (reference)
 * Cost      counted as real transforms of n = 2 L points (2.5 n log2 n each): B D of u, B D back
 *           and D of the filter, 6 (L + 1) a product of spectra, 4 an element for gates and skip. A
 *           direct sum would do B D L (L + 1). Reads v, x1, x0, h, bias once; writes y once
 */
#include "kernels/long_conv/long_conv.h"
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { DIRECT_MAX = 512 }; /* longer sequences: the reference transforms */

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence, and taps of a filter", SQ_AXIS_INT, 2048, 1, 1 << 24,
     NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 18, NULL},
    {"gate", "gate", "1: multiplied by x1 before and x0 after", SQ_AXIS_INT, 1, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (axis[AXIS_L] < 1)
        return sq_fail(err, SQ_BAD_SHAPE, "L=%g: at least one step", axis[AXIS_L]);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    (void)err;
    axis[AXIS_D] = (double)width;
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "long_conv has no pass %s", sq_pass_name(pass));
    int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    int64_t d = sq_axis_int(axis, AXIS_D);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    /* The sum over the filter is then as large as the skip, at every length. */
    const sq_draw filter = {SQ_DRAW_NORMAL, 0.0f, (float)(1 / sqrt((double)l)), 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 3, {b, l, d}, 1, normal};
    if (axis[AXIS_GATE] != 0) {
        list->in[IN_X1] = (sq_tensor_spec){"x1", dtype, 3, {b, l, d}, 1, normal};
        list->in[IN_X0] = (sq_tensor_spec){"x0", dtype, 3, {b, l, d}, 1, normal};
    }
    list->in[IN_H] = (sq_tensor_spec){"h", SQ_DTYPE_F32, 2, {d, l}, 1, filter};
    list->in[IN_BIAS] = (sq_tensor_spec){"bias", SQ_DTYPE_F32, 1, {d}, -1, normal};
    list->out[0] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    return SQ_OK;
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    double b = axis[AXIS_B], l = axis[AXIS_L], d = axis[AXIS_D], gate = axis[AXIS_GATE];
    double size = (double)sq_dtype_size(dtype), transform = 2.5 * 2 * l * log2(2 * l);
    return (sq_cost){
        .flops = d * ((2 * b + 1) * transform + b * (6 * (l + 1) + (2 + 2 * gate) * l)),
        .bytes_read = size * b * l * d * (1 + 2 * gate) + 4 * d * (l + 1),
        .bytes_written = size * b * l * d,
    };
}

/* f32: a transform errs by about 6e-8 log2 n relative to the rms of its row, a direct f32 sum of L
 * terms by 3e-8 sqrt(L / 2); both stay below 2e-6 where a provider uses them, the worst element at
 * five times that, times a gate of up to 3.5.
 * 16 bit: inputs are exact and u is not rounded, so only the rounding of y remains: at most 2^-8
 * (bf16) or 2^-11 (f16) of every element, the largest of which are x0 bias x1 v, a product of four
 * normals: up to 70 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 5e-6, .max_abs = 5e-5};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.04};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.3};
}

/* --- reference --- */

typedef struct {
    double re, im;
} complex_f64;

static double gated_input(const sq_call *call, int64_t b, int64_t t, int64_t d)
{
    double u = sq_load3(&call->in[IN_V], b, t, d);
    return call->in[IN_X1].data ? u * sq_load3(&call->in[IN_X1], b, t, d) : u;
}

static double filter_tap(const sq_call *call, int64_t d, int64_t s)
{
    const sq_tensor *h = &call->in[IN_H];
    return sq_load(h->data, h->dtype, d * h->stride[0] + s * h->stride[1]);
}

/* y_t from the convolution's value at t. */
static void store_output(const sq_call *call, int64_t b, int64_t t, int64_t d, double sum)
{
    const sq_tensor *bias = &call->in[IN_BIAS], *y = &call->out[0];
    sum += sq_load(bias->data, bias->dtype, d * bias->stride[0]) * gated_input(call, b, t, d);
    if (call->in[IN_X0].data)
        sum *= sq_load3(&call->in[IN_X0], b, t, d);
    sq_store(y->data, y->dtype, b * y->stride[0] + t * y->stride[1] + d * y->stride[2], sum);
}

/* scratch: u and h of this row, 2 L doubles. */
static void convolve_direct(const sq_call *call, int64_t b, int64_t d, double *scratch)
{
    int64_t length = call->out[0].dim[1];
    double *u = scratch, *h = scratch + length;
    for (int64_t t = 0; t < length; t++) {
        u[t] = gated_input(call, b, t, d);
        h[t] = filter_tap(call, d, t);
    }
    for (int64_t t = 0; t < length; t++) {
        double sum = 0;
        for (int64_t s = 0; s <= t; s++)
            sum += h[s] * u[t - s];
        store_output(call, b, t, d, sum);
    }
}

static void permute_bit_reversed(complex_f64 *z, int64_t n)
{
    for (int64_t i = 1, j = 0; i < n; i++) {
        int64_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            complex_f64 swapped = z[i];
            z[i] = z[j];
            z[j] = swapped;
        }
    }
}

/* In-place radix-2 transform of n = 2^k points (Cooley, Tukey 1965); root[j]: e^(-2 pi i j/n). */
static void transform(complex_f64 *z, int64_t n, const complex_f64 *root)
{
    permute_bit_reversed(z, n);
    for (int64_t half = 1; half < n; half *= 2)
        for (int64_t start = 0; start < n; start += 2 * half)
            for (int64_t j = 0; j < half; j++) {
                complex_f64 w = root[j * (n / (2 * half))];
                complex_f64 *lo = &z[start + j], *hi = &z[start + j + half];
                double re = hi->re * w.re - hi->im * w.im, im = hi->re * w.im + hi->im * w.re;
                *hi = (complex_f64){lo->re - re, lo->im - im};
                *lo = (complex_f64){lo->re + re, lo->im + im};
            }
}

/* u and h are the real and imaginary part of one row z of n >= 2 L - 1 points, so with Z its
 * transform U H = (Z_k^2 - conj(Z_{n-k})^2) / 4i; z: scratch of n. */
static void convolve_transformed(const sq_call *call, int64_t b, int64_t d, int64_t n,
                                 const complex_f64 *root, complex_f64 *z)
{
    int64_t length = call->out[0].dim[1];
    for (int64_t t = 0; t < n; t++)
        z[t] = t < length ? (complex_f64){gated_input(call, b, t, d), filter_tap(call, d, t)}
                          : (complex_f64){0, 0};
    transform(z, n, root);
    for (int64_t k = 0; k <= n / 2; k++) {
        complex_f64 p = z[k], q = z[(n - k) % n];
        /* Z_k^2 - conj(Z_{n-k}^2) = re + i im; divided by 4i: (im - i re) / 4. */
        double re = (p.re * p.re - p.im * p.im) - (q.re * q.re - q.im * q.im);
        double im = 2 * p.re * p.im + 2 * q.re * q.im;
        /* Conjugated: a second forward transform is then the inverse one of a real row. */
        z[k] = (complex_f64){im / 4, re / 4};
        z[(n - k) % n] = (complex_f64){im / 4, -re / 4};
    }
    transform(z, n, root);
    for (int64_t t = 0; t < length; t++)
        store_output(call, b, t, d, z[t].re / (double)n);
}

static complex_f64 *roots_new(int64_t n)
{
    const double step = 6.283185307179586476925 / (double)n;
    complex_f64 *root = malloc((size_t)(n / 2 + 1) * sizeof *root);
    for (int64_t j = 0; root && j < n / 2; j++)
        root[j] = (complex_f64){cos(step * (double)j), -sin(step * (double)j)};
    return root;
}

static int64_t transform_points(int64_t length)
{
    int64_t n = 2;
    while (n < 2 * length - 1)
        n *= 2;
    return n;
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    int64_t batch = call->out[0].dim[0], length = call->out[0].dim[1];
    int64_t channels = call->out[0].dim[2], n = transform_points(length);
    bool is_direct = length <= DIRECT_MAX, is_short_of_memory = false;
    complex_f64 *root = roots_new(n);
    if (!root)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "long_conv: %lld roots of unity", (long long)n / 2);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t d = 0; d < channels; d++) {
            complex_f64 *scratch = malloc((size_t)n * sizeof *scratch);
            if (!scratch) {
#pragma omp atomic write
                is_short_of_memory = true;
                continue;
            }
            if (is_direct)
                convolve_direct(call, b, d, &scratch[0].re);
            else
                convolve_transformed(call, b, d, n, root, scratch);
            free(scratch);
        }
    free(root);
    if (is_short_of_memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "long_conv: a row of %lld points", (long long)n);
    return SQ_OK;
}

static double row_work(double length)
{
    double n = (double)transform_points((int64_t)length);
    return length <= DIRECT_MAX ? length * length / 2 + 30 * length : 6 * n * log2(n) + 30 * length;
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_D] * row_work(axis[AXIS_L]);
}

/* One batch row, all steps, some neighbouring channels. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    double rows = floor(pick.max_work / row_work(axis[AXIS_L]));
    int64_t count = (int64_t)fmax(1, fmin(axis[AXIS_D], rows));
    int64_t b = sq_pick_start(pick, 0, sq_axis_int(axis, AXIS_B), 1);
    int64_t d = sq_pick_start(pick, 1, sq_axis_int(axis, AXIS_D), count);
    *sub = *whole;
    sub->axis[AXIS_B] = 1;
    sub->axis[AXIS_D] = (double)count;
    sq_tensor *rows_of[] = {&sub->in[IN_V], &sub->in[IN_X1], &sub->in[IN_X0], &sub->out[0]};
    for (size_t i = 0; i < sizeof rows_of / sizeof rows_of[0]; i++)
        if (rows_of[i]->rank) {
            sq_tensor one = sq_tensor_slice(rows_of[i], 0, b, 1);
            *rows_of[i] = sq_tensor_slice(&one, 2, d, count);
        }
    sub->in[IN_H] = sq_tensor_slice(&whole->in[IN_H], 0, d, count);
    sub->in[IN_BIAS] = sq_tensor_slice(&whole->in[IN_BIAS], 0, d, count);
    snprintf(what, size, "b=%lld d=%lld..%lld", (long long)b, (long long)d, (long long)(d + count));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,D=8",           "B=1,L=2,D=3",      "B=3,L=3,D=33,gate=0",
    "B=2,L=127,D=40",        "B=1,L=256,D=64",   "B=2,L=257,D=65",
    "B=1,L=513,D=34,gate=0", "B=3,L=1000,D=16",  "B=2,L=2048,D=5",
    "B=1,L=4099,D=8",        "B=2,L=8192,D=3",   "B=1,L=8193,D=4",
    "B=2,L=20011,D=3",       "B=1,L=3,D=8300", /* channels, and then the batch, in more than one
                                                  chunk of scratch */
    "B=800,L=2,D=33",        "B=1,L=131072,D=2", NULL,
};

/* causality_bound: a transform's rounding spreads over its whole row, from the future into the past
 * too: 6e-8 log2 n of the row's rms, about 1e-6, and ten times that at the worst of 10^5 positions.
 * It holds for f32; a 16-bit output may move by one ulp besides. */
const sq_op sq_op_long_conv = {
    .name = "long_conv",
    .source = "Poli et al.: Hyena Hierarchy, arXiv 2302.10866, definition 3.1 and algorithm 3",
    .doc = "y_t = x0_t (sum_{s <= t} h_s u_{t-s} + bias u_t), u = x1 v",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_long_conv_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 1e-5,
};
