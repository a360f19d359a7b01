/* norm: see norm.h. Tensors, cost, tolerance, slices and the reference of pass fwd. */
#include "kernels/norm_core/norm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/shared/function_cost.h"
#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

const char *const sq_norm_gates[] = {"none", "pre", "post", NULL};
const char *const sq_norm_residuals[] = {"none", "same", "f32", NULL};

sq_status sq_norm_tensors(const sq_norm *norm, sq_dtype dtype, sq_tensor_list *list)
{
    const int64_t b = norm->batch, l = norm->length, h = norm->groups, d = norm->width;
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw around_one = {SQ_DRAW_UNIFORM, 0.5f, 1.5f, 0};
    const sq_dtype kept = norm->residual == SQ_NORM_RESIDUAL_F32 ? SQ_DTYPE_F32 : dtype;
    const sq_tensor_spec x = norm->is_by_head
                                 ? (sq_tensor_spec){"x", dtype, 4, {b, l, h, d}, 1, normal}
                                 : (sq_tensor_spec){"x", dtype, 3, {b, l, h * d}, 1, normal};
    const sq_tensor_spec w = {"w", SQ_DTYPE_F32, 1, {h * d}, -1, around_one};
    *list = (sq_tensor_list){.n_in = SQ_NORM_IN, .n_out = SQ_NORM_OUT};
    list->in[SQ_NORM_X] = list->out[SQ_NORM_Y] = x;
    list->out[SQ_NORM_Y].name = "y";
    if (norm->has_weight)
        list->in[SQ_NORM_W] = w;
    if (norm->gate) {
        list->in[SQ_NORM_Z] = x;
        list->in[SQ_NORM_Z].name = "z";
    }
    if (norm->has_bias) {
        list->in[SQ_NORM_B] = w;
        list->in[SQ_NORM_B].name = "b";
        list->in[SQ_NORM_B].draw = normal;
    }
    if (norm->residual) {
        list->in[SQ_NORM_R] = list->out[SQ_NORM_S] = x;
        list->in[SQ_NORM_R].name = "r";
        list->out[SQ_NORM_S].name = "s";
        list->in[SQ_NORM_R].dtype = list->out[SQ_NORM_S].dtype = kept;
    }
    return SQ_OK;
}

/* --- cost --- */

/* Of an element backward, from s: the square (2), n, the sum of dn n (2), dn less n times its mean
 * (2), times r; centred: two sums and differences; a weight's dn and dw (2), a bias's sum; ds. The
 * gate: silu and its slope, dz of three factors; before the norm u and its part of ds, after it that
 * of dy and n w + b. */
static double backward_flops(const sq_norm *norm)
{
    const double gate = SQ_SILU_FLOPS + SQ_SILU_SLOPE_FLOPS + 2;
    const double post = 1 + norm->has_weight + norm->has_bias;
    return 8 + 4 * norm->is_centred + 3 * norm->has_weight + norm->has_bias +
           (norm->residual != 0) +
           (norm->gate == 0 ? 0 : gate + (norm->gate == SQ_NORM_GATE_POST ? post : 2));
}

/* bwd reads s in the place of x and r, and z and the gradients of y and s. */
sq_cost sq_norm_cost(const sq_norm *norm, sq_pass pass, sq_dtype dtype)
{
    const double channels = (double)(norm->groups * norm->width);
    const double rows = (double)(norm->batch * norm->length), elements = rows * channels;
    const double size = (double)sq_dtype_size(dtype), gate = norm->gate != 0;
    const double kept = norm->residual == SQ_NORM_RESIDUAL_NONE   ? 0
                        : norm->residual == SQ_NORM_RESIDUAL_SAME ? size
                                                                  : 4;
    const double residual = norm->residual != 0, centred = norm->is_centred;
    const double vectors = norm->has_weight + norm->has_bias;
    const double roots = rows * (double)norm->groups;
    if (pass != SQ_PASS_BWD)
        return (sq_cost){
            .flops = elements * (3 + vectors + (SQ_SILU_FLOPS + 1) * gate + residual + 2 * centred),
            .special = SQ_SILU_SPECIAL * gate * elements + roots,
            .bytes_read = elements * (size * (1 + gate) + kept) + 4 * vectors * channels,
            .bytes_written = elements * (size + kept),
        };
    const double bias = norm->has_bias && norm->gate == SQ_NORM_GATE_POST;
    return (sq_cost){
        .flops = elements * backward_flops(norm),
        .special = SQ_SILU_SPECIAL * gate * elements + roots,
        .bytes_read = elements * (size * (1 + gate) + (residual ? 2 * kept : size)) +
                      4 * (norm->has_weight + bias) * channels,
        .bytes_written = elements * (size * (1 + gate) + kept) + 4 * vectors * channels,
    };
}

/* --- tolerance --- */

/* The share of a gradient that is left once its mean and its part along n are taken off: what is
 * taken off leaves its rounding. */
static double share_left(const sq_norm *norm)
{
    const double taken = (1 + norm->is_centred) / (double)norm->width;
    return fmax(1 - taken, fmin(norm->eps, 1));
}

/* f32: a sum over a row in f32 (relative error far below sqrt(D) ulp, whatever the order) and a few
 * roundings; gradients of w and b are sums over all rows. Beyond 1e-5 is only what is left of a
 * gradient of rows of one or two channels.
 * 16 bit: only the rounding of y, rms 1.7e-3 (bf16) or 2.1e-4 (f16), in the reference too; bwd may
 * read the rounded s, once more as much. The worst element is one ulp of the largest |y|: 5 rms, or
 * 28 rms with a gate, whose product of two drawn numbers has a long tail; 60 for a product of
 * three. */
sq_tolerance sq_norm_tolerance(const sq_norm *norm, sq_pass pass, sq_dtype dtype)
{
    const bool is_bwd = pass == SQ_PASS_BWD;
    const double tail = (norm->gate ? 5 : 1) * (is_bwd ? 2 : 1);
    const double rows = (double)(norm->batch * norm->length);
    const double cancelled = 2e-6 / share_left(norm), sums = 6e-8 * sqrt(rows);
    const double f32 = is_bwd ? fmax(cancelled, fmin(1e-5, cancelled + sums)) : 1e-6;
    const double roundings = is_bwd && norm->residual ? 2 : 1;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = f32, .max_abs = fmax(6e-6, 6 * f32) * tail};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = f32 + 4e-4 * roundings, .max_abs = 0.005 * tail};
    return (sq_tolerance){.rel_l2 = f32 + 3e-3 * roundings, .max_abs = 0.04 * tail};
}

/* --- reference --- */

static double silu(double z)
{
    return z / (1 + exp(-z));
}

/* One group, unpacked; s becomes y. w, z and b: NULL where absent. */
typedef struct {
    double *s, *w, *z, *b, *r;
} group;

static void normalise(const sq_norm *norm, const group *v)
{
    const int64_t n = norm->width;
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        if (norm->gate == SQ_NORM_GATE_PRE)
            v->s[i] = sq_named(v->s[i] * sq_named(silu(v->z[i])));
        mean += v->s[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        v->s[i] -= norm->is_centred ? mean : 0;
        squares += v->s[i] * v->s[i];
    }
    const double scale = 1 / sqrt(squares / (double)n + norm->eps);
    const bool is_output = !v->w && !v->b && norm->gate != SQ_NORM_GATE_POST;
    for (int64_t i = 0; i < n; i++) {
        v->s[i] = is_output ? v->s[i] * scale : sq_named(v->s[i] * scale);
        v->s[i] = v->s[i] * (v->w ? v->w[i] : 1) + (v->b ? v->b[i] : 0);
        if (norm->gate == SQ_NORM_GATE_POST)
            v->s[i] = sq_named(v->s[i]) * sq_named(silu(v->z[i]));
    }
}

/* Group g of row m; scratch: room for 5 widths. */
static void run_group(const sq_norm *norm, const sq_call *call, int64_t m, int64_t g,
                      double *scratch)
{
    const int64_t n = norm->width;
    const sq_tensor *x = &call->in[SQ_NORM_X], *w = &call->in[SQ_NORM_W], *z = &call->in[SQ_NORM_Z];
    const sq_tensor *b = &call->in[SQ_NORM_B], *r = &call->in[SQ_NORM_R];
    const sq_tensor *y = &call->out[SQ_NORM_Y], *s = &call->out[SQ_NORM_S];
    const group v = {.s = scratch,
                     .w = w->data ? scratch + n : NULL,
                     .z = z->data ? scratch + 2 * n : NULL,
                     .b = b->data ? scratch + 3 * n : NULL,
                     .r = scratch + 4 * n};
    sq_row_read(x, sq_norm_offset(norm, x, m, g), n, v.s);
    if (v.w)
        sq_row_read(w, g * n, n, v.w);
    if (v.z)
        sq_row_read(z, sq_norm_offset(norm, z, m, g), n, v.z);
    if (v.b)
        sq_row_read(b, g * n, n, v.b);
    if (r->data) {
        sq_row_read(r, sq_norm_offset(norm, r, m, g), n, v.r);
        for (int64_t i = 0; i < n; i++)
            v.s[i] += v.r[i];
        sq_row_write(s, sq_norm_offset(norm, s, m, g), n, v.s);
        if (norm->residual == SQ_NORM_RESIDUAL_SAME)
            sq_named_row(v.s, n, v.s);
    }
    normalise(norm, &v);
    sq_row_write(y, sq_norm_offset(norm, y, m, g), n, v.s);
}

sq_status sq_norm_forward(const sq_norm *norm, const sq_call *call, sq_error *err)
{
    const int64_t rows = call->in[SQ_NORM_X].dim[0] * call->in[SQ_NORM_X].dim[1];
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *scratch = malloc((size_t)(5 * norm->width) * sizeof *scratch);
        is_ok = scratch != NULL;
#pragma omp for
        for (int64_t m = 0; m < rows; m++)
            for (int64_t g = 0; g < norm->groups && scratch; g++)
                run_group(norm, call, m, g, scratch);
        free(scratch);
    }
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s reference: groups of %lld", call->op->name,
                       (long long)norm->width);
    return SQ_OK;
}

double sq_norm_reference_work(const sq_norm *norm)
{
    const double elements = (double)(norm->batch * norm->length * norm->groups * norm->width);
    return elements * (6 + 2 * norm->is_centred + 20 * (norm->gate != 0));
}

sq_status sq_norm_slice(const sq_norm *norm, const sq_call *whole, sq_pick pick, sq_call *sub,
                        char *what, size_t size)
{
    const int64_t l = whole->in[SQ_NORM_X].dim[1];
    const double row_work = sq_norm_reference_work(norm) / (double)(norm->batch * norm->length);
    const int64_t rows = (int64_t)fmax(1, fmin((double)l, pick.max_work / row_work));
    const int64_t b = sq_pick_start(pick, 0, norm->batch, 1);
    const int64_t first = sq_pick_start(pick, 1, l, rows);

    *sub = *whole;
    sub->axis[SQ_AXIS_B] = 1;
    sub->axis[SQ_AXIS_L] = (double)rows;
    for (int i = 0; i < SQ_MAX_IN + SQ_MAX_OUT; i++) {
        sq_tensor *t = i < SQ_MAX_IN ? &sub->in[i] : &sub->out[i - SQ_MAX_IN];
        if (t->rank < 3) /* weights are of every row */
            continue;
        *t = sq_tensor_slice(t, 0, b, 1);
        *t = sq_tensor_slice(t, 1, first, rows);
    }
    snprintf(what, size, "b=%lld rows=%lld..%lld", (long long)b, (long long)first,
             (long long)(first + rows));
    return SQ_OK;
}
