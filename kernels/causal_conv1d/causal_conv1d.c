/* causal_conv1d: short depthwise convolution along the sequence, with bias and SiLU.
 *
 *   y_t = act(b + sum_{i < W} w_{W-1-i} x_{t-i})
 *         x_t for t < 0: initial, or 0;  act(a) = a, or a / (1 + e^-a) with silu
 *   final = x_{L-W+1} .. x_{L-1}, oldest first: what a sequence that goes on needs as initial
 *
 * Source    Gu, Dao: Mamba (2312.00752), figure 3 ("Conv"); the authors' causal-conv1d: the last
 *           tap multiplies the current input
 * Symbols   B: batch;  L: sequence length;  D: channels;  W: taps of the filter
 * in[0]     x  (B, L, D)  dtype             in[1]  w  (D, W)  dtype
 * in[2]     b  (D)        dtype, if bias    in[3]  initial  (B, W-1, D)  dtype, if initial
 * out[0]    y  (B, L, D)  dtype             accumulates in f32 (reference: f64)
 * out[1]    final  (B, W-1, D)  dtype, if final
 * Needs     2 <= W <= 4
 * Errors    SQ_BAD_SHAPE
 * Cost      fwd: B L D (2 W + bias + silu) flop, 2 B L D special functions with silu; reads x and
 *           initial, writes y and final once. step: the same at L = 1
 *           bwd: B L D (4 W + bias + silu (2 W + bias + 5)) flop (the sum before SiLU is made
 *           once more), the same special functions; reads the inputs, dy and dfinal once, writes
 *           every gradient once
 */
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/op.h"

#include <math.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/function_cost.h"
#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 4096, 1, 1 << 18, NULL},
    {"W", "taps", "taps of the filter", SQ_AXIS_INT, 4, 2, 4, NULL},
    {"silu", "silu", "1: SiLU follows", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"bias", "bias", "1: a bias is added", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"initial", "initial", "1: the sequence goes on from earlier inputs", SQ_AXIS_INT, 0, 0, 1,
     NULL},
    {"final", "final", "1: the last inputs are handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (axis[AXIS_W] < 2 || axis[AXIS_W] > 4)
        return sq_fail(err, SQ_BAD_SHAPE, "W=%g taps: 2, 3 or 4", axis[AXIS_W]);
    return SQ_OK;
}

/* Mamba's: on the expanded channels. */
static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    return sq_channels_at_width(2 * width, axis, err);
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const bool is_step = pass == SQ_PASS_STEP, has_final = is_step || axis[AXIS_FINAL] != 0;
    int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    int64_t d = sq_axis_int(axis, AXIS_D), w = sq_axis_int(axis, AXIS_W);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0}, half = {SQ_DRAW_NORMAL, 0.0f, 0.5f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = OUT_COUNT};
    list->in[IN_X] = (sq_tensor_spec){"x", dtype, 3, {b, l, d}, 1, normal};
    list->in[IN_W] = (sq_tensor_spec){"w", dtype, 2, {d, w}, -1, half};
    if (axis[AXIS_BIAS] != 0)
        list->in[IN_BIAS] = (sq_tensor_spec){"b", dtype, 1, {d}, -1, half};
    if (is_step || axis[AXIS_INITIAL] != 0)
        list->in[IN_INITIAL] = (sq_tensor_spec){"initial", dtype, 3, {b, w - 1, d}, -1, normal};
    list->out[OUT_Y] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    if (has_final)
        list->out[OUT_FINAL] = (sq_tensor_spec){"final", dtype, 3, {b, w - 1, d}, -1, {0}};
    return SQ_OK;
}

/* bwd, per element: dx and dw (2 W each), db; of SiLU the sum (2 W + bias) once more, its slope and
 * the product with dy. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_bwd = pass == SQ_PASS_BWD, is_step = pass == SQ_PASS_STEP;
    double d = axis[AXIS_D], w = axis[AXIS_W], silu = axis[AXIS_SILU], bias = axis[AXIS_BIAS];
    double elements = axis[AXIS_B] * (is_step ? 1 : axis[AXIS_L]) * d;
    double size = (double)sq_dtype_size(dtype), state = axis[AXIS_B] * (w - 1) * d;
    double initial = is_step ? state : state * axis[AXIS_INITIAL];
    double final = is_step ? state : state * axis[AXIS_FINAL];
    double inputs = elements + d * (w + bias) + initial, sum = 2 * w + bias;
    double back = 2 * w + sum + silu * (sum + SQ_SILU_SLOPE_FLOPS + 1);
    return (sq_cost){
        .flops = elements * (is_bwd ? back : sum + silu * SQ_SILU_FLOPS),
        .special = elements * silu * SQ_SILU_SPECIAL,
        .bytes_read = size * (is_bwd ? inputs + elements + final : inputs),
        .bytes_written = size * (is_bwd ? inputs : elements + final),
    };
}

/* f32: four products summed in f32 and a SiLU of two approximate special functions: a few ulp of
 * 6e-8. Gradients of weights sum over B L rows in f32, 64 at a time and then the sums: a random
 * walk of their roundings beside one of the rows, a few ulp again. 16 bit: inputs are exact, so
 * only the rounding of the results remains: at most 2^-8 (bf16) or 2^-11 (f16) of every element,
 * the largest of which stay below 20 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return pass == SQ_PASS_BWD ? (sq_tolerance){.rel_l2 = 2e-6, .max_abs = 2e-5}
                                   : (sq_tolerance){.rel_l2 = 1e-6, .max_abs = 1e-5};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.0125};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.1};
}

/* x_t of one channel; t down to 1 - W. */
static double input_at(const sq_call *call, int64_t b, int64_t t, int64_t d)
{
    const sq_tensor *x = &call->in[IN_X], *initial = &call->in[IN_INITIAL];
    if (t >= 0)
        return sq_load3(x, b, t, d);
    return initial->data ? sq_load3(initial, b, initial->dim[1] + t, d) : 0;
}

static double convolve(const sq_call *call, int64_t b, int64_t t, int64_t d)
{
    const sq_tensor *w = &call->in[IN_W], *bias = &call->in[IN_BIAS];
    double sum = bias->data ? sq_load(bias->data, bias->dtype, d * bias->stride[0]) : 0;
    for (int64_t i = 0; i < w->dim[1]; i++) {
        int64_t tap = d * w->stride[0] + (w->dim[1] - 1 - i) * w->stride[1];
        sum += sq_load(w->data, w->dtype, tap) * input_at(call, b, t - i, d);
    }
    if (call->axis[AXIS_SILU] == 0)
        return sum;
    sum = sq_named(sum);
    return sum / (1 + exp(-sum));
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    (void)err;
    const sq_tensor *y = &call->out[OUT_Y], *final = &call->out[OUT_FINAL];
#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < y->dim[0]; b++)
        for (int64_t t = 0; t < y->dim[1]; t++)
            for (int64_t d = 0; d < y->dim[2]; d++)
                sq_store3(y, b, t, d, convolve(call, b, t, d));
    for (int64_t b = 0; final->data && b < y->dim[0]; b++)
        for (int64_t i = 0; i < final->dim[1]; i++)
            for (int64_t d = 0; d < y->dim[2]; d++)
                sq_store3(final, b, i, d, input_at(call, b, y->dim[1] - final->dim[1] + i, d));
    return SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    double silu = 15 * axis[AXIS_SILU];
    return axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_D] * (4 * axis[AXIS_W] + 4 + silu);
}

/* One batch row, all steps, some neighbouring channels. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const double work = reference_work(axis) / (axis[AXIS_B] * axis[AXIS_D]);
    const int64_t count = sq_channels_within(whole, pick, work, 1);
    const sq_channel_part part = sq_channel_part_pick(whole, pick, count, 1, sub, what, size);
    sq_tensor *const by_row[] = {&sub->in[IN_X], &sub->in[IN_INITIAL], &sub->out[OUT_Y],
                                 &sub->out[OUT_FINAL]};
    for (size_t i = 0; i < sizeof by_row / sizeof by_row[0]; i++)
        sq_channel_cut(by_row[i], 0, 2, part);
    sq_channel_cut(&sub->in[IN_W], -1, 0, part);
    sq_channel_cut(&sub->in[IN_BIAS], -1, 0, part);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,D=8",
    "B=1,L=2,D=5,W=4",
    "B=3,L=3,D=64,W=2",
    "B=2,L=127,D=96,W=3",
    "B=1,L=257,D=130",
    "B=1,L=1000,D=33,silu=0",
    "B=2,L=131,D=256,bias=0",
    "B=1,L=64,D=1032,W=2,silu=0,bias=0",
    "B=5,L=65,D=72,W=3,bias=0",
    "B=1,L=2049,D=512",
    "B=2,L=1,D=9,initial=1,final=1",
    "B=3,L=2,D=64,final=1",
    "B=2,L=3,D=40,W=3,initial=1",
    "B=1,L=127,D=260,initial=1,final=1",
    "B=2,L=67,D=31,W=2,silu=0,initial=1,final=1",
    NULL,
};

const sq_op sq_op_causal_conv1d = {
    .name = "causal_conv1d",
    .source = "Gu, Dao: Mamba, arXiv 2312.00752, figure 3; github.com/Dao-AILab/causal-conv1d",
    .doc = "y_t = silu(b + sum_{i < W} w_{W-1-i} x_{t-i})",
    .is_mixer = false,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_causal_conv1d_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
