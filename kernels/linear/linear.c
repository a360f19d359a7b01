/* linear: a projection, y = x W^T, with optional bias, activation and residual.
 *
 *   y_bln = act(sum_k x_blk w_nk  [+ b_n])  [+ r_bln]
 *   act(a) = a;  relu: max(a, 0);  gelu: a (1 + erf(a / sqrt 2)) / 2;  silu: a / (1 + e^-a)
 *            gelu_tanh: a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2
 *
 * Source    definition; gelu and gelu_tanh: Hendrycks, Gimpel, 1606.08415, section 2
 * Symbols   B: batch;  L: sequence length;  K: input features;  N: output features
 * in[0]     x  (B, L, K)  dtype             in[1]  w  (N, K)     dtype
 * in[2]     b  (N)        dtype, if bias    in[3]  r  (B, L, N)  dtype, if residual
 * out[0]    y  (B, L, N)  dtype             accumulates in f32, never TF32 (reference: f64)
 * Needs     all axes >= 1
 * Errors    SQ_OUT_OF_MEMORY (reference)
 * Cost      fwd: 2 B L K N flop (+ B L N for bias and residual, and act's function_cost.h); reads x,
 *           w, b, r once, writes y once. bwd: twice the products; reads dy, x, w (and what fwd kept
 *           of act), writes the gradients of x, w, b, r once
 */
#include "kernels/linear/linear.h"
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/shared/function_cost.h"
#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { BLOCK = 64, UNROLL = 4 }; /* rows of x unpacked at once, and multiplied at once */

static const char *const acts[] = {"none", "relu", "gelu", "gelu_tanh", "silu", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"K", "in-features", "input features", SQ_AXIS_INT, 2048, 1, 1 << 22, NULL},
    {"N", "out-features", "output features", SQ_AXIS_INT, 2048, 1, 1 << 22, NULL},
    {"bias", "bias", "1: a bias is added", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"residual", "residual", "1: a residual is added", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"act", "act", "activation, before the residual", SQ_AXIS_CHOICE, 0, 0, 4, acts},
    {.name = NULL},
};

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    (void)err;
    axis[AXIS_K] = axis[AXIS_N] = (double)width;
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const int64_t b = sq_axis_int(axis, AXIS_B);
    const int64_t l = pass == SQ_PASS_STEP ? 1 : sq_axis_int(axis, AXIS_L);
    const int64_t k = sq_axis_int(axis, AXIS_K), n = sq_axis_int(axis, AXIS_N);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw weight = {SQ_DRAW_NORMAL, 0.0f, (float)(1 / sqrt((double)k)), 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_X] = (sq_tensor_spec){"x", dtype, 3, {b, l, k}, 1, normal};
    list->in[IN_W] = (sq_tensor_spec){"w", dtype, 2, {n, k}, -1, weight};
    if (axis[AXIS_BIAS] != 0)
        list->in[IN_BIAS] = (sq_tensor_spec){"b", dtype, 1, {n}, -1, normal};
    if (axis[AXIS_RESIDUAL] != 0)
        list->in[IN_R] = (sq_tensor_spec){"r", dtype, 3, {b, l, n}, 1, normal};
    list->out[0] = (sq_tensor_spec){"y", dtype, 3, {b, l, n}, 1, {0}};
    return SQ_OK;
}

/* Of one output, act; backward its slope and the product with dy, a choice for relu. */
static sq_cost act_cost(sq_pass pass, const sq_axis_value *axis)
{
    const bool is_bwd = pass == SQ_PASS_BWD;
    switch ((int)axis[AXIS_ACT]) {
    case LINEAR_ACT_GELU:
        return (sq_cost){.flops = is_bwd ? SQ_GELU_SLOPE_FLOPS + 1 : SQ_GELU_FLOPS,
                         .special = is_bwd ? SQ_GELU_SLOPE_SPECIAL : SQ_GELU_SPECIAL};
    case LINEAR_ACT_GELU_TANH:
        return (sq_cost){.flops = is_bwd ? SQ_GELU_TANH_SLOPE_FLOPS + 1 : SQ_GELU_TANH_FLOPS,
                         .special = SQ_GELU_TANH_SPECIAL};
    case LINEAR_ACT_SILU:
        return (sq_cost){.flops = is_bwd ? SQ_SILU_SLOPE_FLOPS + 1 : SQ_SILU_FLOPS,
                         .special = SQ_SILU_SPECIAL};
    default:
        return (sq_cost){.flops = 0};
    }
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const double size = (double)sq_dtype_size(dtype), bias = axis[AXIS_BIAS];
    const double m = sq_op_tokens(pass, axis), k = axis[AXIS_K], n = axis[AXIS_N];
    const double residual = axis[AXIS_RESIDUAL], act = axis[AXIS_ACT] != LINEAR_ACT_NONE;
    const sq_cost of_act = act_cost(pass, axis);
    if (pass == SQ_PASS_BWD)
        return (sq_cost){
            .flops = m * n * (4 * k + bias + of_act.flops),
            .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : 4 * m * n * k,
            .special = m * n * of_act.special,
            .bytes_read = size * (m * k + n * k + (1 + act) * m * n),
            .bytes_written = size * (m * k + n * k + bias * n + residual * m * n),
        };
    return (sq_cost){
        .flops = m * n * (2 * k + bias + residual + of_act.flops),
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : 2 * m * n * k,
        .special = m * n * of_act.special,
        .bytes_read = size * (m * k + n * k + bias * n + residual * m * n),
        .bytes_written = size * m * n,
    };
}

/* f32: a sum of `terms` products in any order: rounding grows as sqrt(terms), about 2e-8 of it; an
 * activation adds a few ulp of its special functions (a vendor's tanh: 2e-6, measured).
 * 16 bit: products are exact in f32, so what remains is the rounding of y, an rms of 1.7e-3 (bf16)
 * or 2.1e-4 (f16), in the reference's result too; the worst element is one ulp of the largest |y|,
 * which stays below 16 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_bwd = pass == SQ_PASS_BWD;
    const double rows = sq_op_tokens(pass, axis);
    const double terms = is_bwd ? fmax(axis[AXIS_N], fmax(axis[AXIS_K], rows)) : axis[AXIS_K];
    const double act = axis[AXIS_ACT] == LINEAR_ACT_GELU_TANH ? 4e-6 : axis[AXIS_ACT] ? 1e-6 : 5e-7;
    const double f32 = fmin(1e-5, act + 6e-8 * sqrt(terms));
    /* A vendor's epilogue may round the product before it adds the bias and the residual, or
     * activates it; bwd rounds what the products of an activation's gradient start from. */
    const bool is_rounded =
        axis[AXIS_ACT] != 0 || (!is_bwd && (axis[AXIS_BIAS] != 0 || axis[AXIS_RESIDUAL] != 0));
    const double roundings = 1 + 0.5 * is_rounded;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = f32, .max_abs = 12 * f32};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 4e-4 * roundings + f32, .max_abs = 0.009};
    return (sq_tolerance){.rel_l2 = 3e-3 * roundings, .max_abs = 0.07};
}

/* --- activation --- */

static double sigmoid(double a)
{
    return 1 / (1 + exp(-a));
}

static const double gelu_scale = 0.79788456080286535588, gelu_cube = 0.044715; /* sqrt(2 / pi) */

double sq_linear_act(int act, double a)
{
    switch (act) {
    case LINEAR_ACT_RELU:
        return a > 0 ? a : 0;
    case LINEAR_ACT_GELU:
        return a * 0.5 * erfc(-a * sqrt(0.5));
    case LINEAR_ACT_GELU_TANH:
        return a * sigmoid(2 * gelu_scale * (a + gelu_cube * a * a * a));
    case LINEAR_ACT_SILU:
        return a * sigmoid(a);
    default:
        return a;
    }
}

double sq_linear_act_slope(int act, double a)
{
    const double s =
        sigmoid(act == LINEAR_ACT_SILU ? a : 2 * gelu_scale * (a + gelu_cube * a * a * a));
    switch (act) {
    case LINEAR_ACT_RELU:
        return a > 0;
    case LINEAR_ACT_GELU:
        return 0.5 * erfc(-a * sqrt(0.5)) + a * exp(-a * a / 2) * 0.5 * gelu_scale;
    case LINEAR_ACT_GELU_TANH:
        return s + a * s * (1 - s) * 2 * gelu_scale * (1 + 3 * gelu_cube * a * a);
    case LINEAR_ACT_SILU:
        return s * (1 + a * (1 - s));
    default:
        return 1;
    }
}

/* --- reference --- */

/* sums[i] = w . x[i] for UNROLL neighbouring rows of x: w is read once for all of them. */
static void dots(const double *w, const double *x, int64_t k, double sums[UNROLL])
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < k; i++) {
        s0 += w[i] * x[i];
        s1 += w[i] * x[k + i];
        s2 += w[i] * x[2 * k + i];
        s3 += w[i] * x[3 * k + i];
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* act(a): what y is made of, or y itself. */
static double activated(const sq_call *call, double a)
{
    const int act = (int)call->axis[AXIS_ACT];
    const double value = act == LINEAR_ACT_NONE ? a : sq_linear_act(act, sq_named(a));
    return call->in[IN_R].data ? sq_named(value) : value;
}

/* y[first .. first + count, n] from the unpacked rows x and the unpacked row w of W. */
static void column(const sq_call *call, int64_t first, int64_t count, int64_t n, const double *x,
                   const double *w)
{
    const sq_tensor *b = &call->in[IN_BIAS], *r = &call->in[IN_R], *y = &call->out[0];
    const int64_t k = call->in[IN_X].dim[2];
    const double bias = b->data ? sq_load(b->data, b->dtype, n * b->stride[0]) : 0;
    for (int64_t m = 0; m < count; m += UNROLL) {
        double sums[UNROLL];
        dots(w, x + m * k, k, sums);
        for (int64_t i = 0; i < UNROLL && m + i < count; i++) {
            const int64_t row = first + m + i;
            const double add = r->data ? sq_load(r->data, r->dtype, sq_row_offset(r, row) + n) : 0;
            const double value = activated(call, sums[i] + bias);
            sq_store(y->data, y->dtype, sq_row_offset(y, row) + n, value + add);
        }
    }
}

/* y[first .. first + count, :]; false when out of memory. */
static bool columns(const sq_call *call, int64_t first, int64_t count, const double *x)
{
    const sq_tensor *w = &call->in[IN_W];
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *row = malloc((size_t)w->dim[1] * sizeof *row);
        is_ok = row != NULL;
#pragma omp for
        for (int64_t n = 0; n < w->dim[0]; n++)
            if (row) {
                sq_row_read(w, n * w->stride[0], w->dim[1], row);
                column(call, first, count, n, x, row);
            }
        free(row);
    }
    return is_ok;
}

/* Blocks of rows, so that an unpacked row of W serves many rows of x out of the cache. */
static sq_status reference(const sq_call *call, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X];
    const int64_t rows = x->dim[0] * x->dim[1], k = x->dim[2];
    double *block = calloc((size_t)(BLOCK * k), sizeof *block);
    bool is_ok = block != NULL;
    for (int64_t m = 0; m < rows && is_ok; m += BLOCK) {
        const int64_t count = rows - m < BLOCK ? rows - m : BLOCK;
        for (int64_t i = 0; i < count; i++)
            sq_row_read(x, sq_row_offset(x, m + i), k, block + i * k);
        is_ok = columns(call, m, count, block);
    }
    free(block);
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "linear reference: K=%lld", (long long)k);
    return SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_N] * axis[AXIS_K];
}

/* Some neighbouring rows of one sequence and some neighbouring output features, all of K. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t l = whole->in[IN_X].dim[1], n = sq_axis_int(axis, AXIS_N);
    const double fit = fmax(1, pick.max_work / axis[AXIS_K]);
    const int64_t rows = (int64_t)fmin((double)l, fmax(1, fmin(BLOCK, sqrt(fit))));
    const int64_t cols = (int64_t)fmin((double)n, fmax(1, fit / (double)rows));
    const int64_t b = sq_pick_start(pick, 0, whole->in[IN_X].dim[0], 1);
    const int64_t row = sq_pick_start(pick, 1, l, rows), col = sq_pick_start(pick, 2, n, cols);

    *sub = *whole;
    sub->axis[AXIS_B] = 1;
    sub->axis[AXIS_L] = (double)rows;
    sub->axis[AXIS_N] = (double)cols;
    sq_tensor *const by_row[3] = {&sub->in[IN_X], &sub->in[IN_R], &sub->out[0]};
    for (int i = 0; i < 3; i++)
        if (by_row[i]->rank) {
            *by_row[i] = sq_tensor_slice(by_row[i], 0, b, 1);
            *by_row[i] = sq_tensor_slice(by_row[i], 1, row, rows);
        }
    sub->in[IN_W] = sq_tensor_slice(&sub->in[IN_W], 0, col, cols);
    if (sub->in[IN_BIAS].rank)
        sub->in[IN_BIAS] = sq_tensor_slice(&sub->in[IN_BIAS], 0, col, cols);
    if (sub->in[IN_R].rank)
        sub->in[IN_R] = sq_tensor_slice(&sub->in[IN_R], 2, col, cols);
    sub->out[0] = sq_tensor_slice(&sub->out[0], 2, col, cols);
    snprintf(what, size, "b=%lld rows=%lld..%lld n=%lld..%lld", (long long)b, (long long)row,
             (long long)(row + rows), (long long)col, (long long)(col + cols));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,K=64,N=64",
    "B=2,L=1,K=128,N=136,bias=1",
    "B=1,L=128,K=32,N=128",
    "B=2,L=67,K=96,N=200,residual=1",
    "B=1,L=131,K=257,N=61",
    "B=1,L=3,K=1,N=5,bias=1,residual=1",
    "B=1,L=260,K=520,N=264,bias=1,residual=1",
    "B=3,L=43,K=200,N=1000",
    "B=1,L=129,K=1024,N=384",
    "B=2,L=17,K=24,N=144,bias=1,act=gelu_tanh",
    "B=1,L=33,K=64,N=96,act=relu",
    "B=1,L=50,K=32,N=136,act=silu",
    "B=2,L=19,K=40,N=77,bias=1,act=gelu,residual=1",
    "B=1,L=150,K=64,N=136,bias=1,act=silu,residual=1",
    NULL,
};

const sq_op sq_op_linear = {
    .name = "linear",
    .source = "definition",
    .doc = "y = act(x W^T [+ b]) [+ r]",
    .is_mixer = false,
    .axes = axes,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_linear_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
