/* long_conv: Hyena's long convolution, a filter as long as the sequence, between two gates.
 *
 *   u_t = x1_t v_t                                                     (gate = 0: u = v)
 *   a_t = sum_{s <= t} h_s u_{t-s} + bias u_t                          (+ sum_{s >= t} r_{s-t} u_s
 *                                                                       where causal = 0)
 *   y_t = x0_t act(a_t)                                                (gate = 0, 2: without x0)
 *
 * act is the identity, or gelu(a) = a (1 + erf(a / sqrt 2)) / 2. A Hyena of order N is N - 1 calls:
 * gate = 2 for all but the last, gate = 1 for that; its short filter is causal_conv1d.
 *
 * head = P > 1 is H3's outer product: D / P heads of P channels, channel h P + i is channel i of
 * head h, and a head's one filter convolves all P P products:
 *   y_{t, j D/P + h} = sum_i x0_{t,hP+i} act(a_t(h,i,j)),   u_t(h,i,j) = v_{t,hP+i} x1_{t,hP+j}
 *
 * Source    Poli et al.: Hyena Hierarchy (2302.10866), definition 3.1 and algorithm 3; Fu et al.:
 *           Hungry Hungry Hippos (2212.14052), section 3.1 and algorithm 1; the skip "bias", the
 *           filter r that looks ahead and the order of H3's channels as in the authors' programs
 * Symbols   B: batch;  L: sequence length;  D: channels;  P: channels of a head;  F = D / P:
 *           filters
 * in[0]     v   (B, L, D)  dtype            in[1]  x1  (B, L, D)  dtype, if gate
 * in[2]     x0  (B, L, D)  dtype, gate = 1  in[3]  h   (F, L)     f32: one filter per channel
 * in[4]     bias  (F)      f32              in[5]  r   (F, L)     f32, if not causal
 * out[0]    y   (B, L, D)  dtype            u, a and the sum stay in f32 (reference: f64)
 * Needs     P divides D; P > 1 only with gate = 1
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for pass step where not causal: the token that comes next
 *           changes the outputs of all before it, so there is no step; SQ_OUT_OF_MEMORY (reference)
 * Cost      counted as real transforms of n = 2 L points (2.5 n log2 n each): B D P of u, as many
 *           back and F of the filters (h and r in one), 6 (L + 1) a product of spectra, and the
 *           gates, the skip and gelu of each element. A direct sum would do B D P L (L + 1). Reads
 *           v, x1, x0, h, bias, r once; writes y once
 */
#include "kernels/long_conv/long_conv.h"
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/function_cost.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence, and taps of a filter", SQ_AXIS_INT, 2048, 1, 1 << 24,
     NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 18, NULL},
    {"gate", "gate", "1: multiplied by x1 before and x0 after; 2: by x1 before alone", SQ_AXIS_INT,
     1, 0, 2, NULL},
    {"gelu", "gelu", "1: GELU of the convolution", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"causal", "causal", "0: a second filter looks ahead", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"head", "head", "channels of a head, all products of which share a filter", SQ_AXIS_INT, 1, 1,
     1024, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (axis[AXIS_L] < 1)
        return sq_fail(err, SQ_BAD_SHAPE, "L=%g: at least one step", axis[AXIS_L]);
    if (fmod(axis[AXIS_D], axis[AXIS_HEAD]) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "head=%g does not divide D=%g", axis[AXIS_HEAD],
                       axis[AXIS_D]);
    if (axis[AXIS_HEAD] > 1 && axis[AXIS_GATE] != 1)
        return sq_fail(err, SQ_BAD_SHAPE, "head=%g: products of heads need gate=1",
                       axis[AXIS_HEAD]);
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    const bool is_step = pass == SQ_PASS_STEP;
    if (is_step && axis[AXIS_CAUSAL] == 0)
        return sq_fail(err, SQ_UNSUPPORTED, "no step of a filter that looks ahead");
    int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L), now = is_step ? 1 : l;
    int64_t d = sq_axis_int(axis, AXIS_D), filters = d / sq_axis_int(axis, AXIS_HEAD);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    /* The sum over the filter is then as large as the skip, at every length. */
    const sq_draw filter = {SQ_DRAW_NORMAL, 0.0f, (float)(1 / sqrt((double)l)), 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 3, {b, l, d}, 1, normal};
    if (axis[AXIS_GATE] != 0)
        list->in[IN_X1] = (sq_tensor_spec){"x1", dtype, 3, {b, l, d}, 1, normal};
    if (axis[AXIS_GATE] == 1)
        list->in[IN_X0] = (sq_tensor_spec){"x0", dtype, 3, {b, now, d}, 1, normal};
    list->in[IN_H] = (sq_tensor_spec){"h", SQ_DTYPE_F32, 2, {filters, l}, 1, filter};
    list->in[IN_BIAS] = (sq_tensor_spec){"bias", SQ_DTYPE_F32, 1, {filters}, -1, normal};
    if (axis[AXIS_CAUSAL] == 0)
        list->in[IN_R] = (sq_tensor_spec){"r", SQ_DTYPE_F32, 2, {filters, l}, 1, filter};
    list->out[0] = (sq_tensor_spec){"y", dtype, 3, {b, now, d}, 1, {0}};
    return SQ_OK;
}

/* Of an element beside the convolution: the skip, x0 and with heads the sum over them, gelu. */
static double output_flops(const sq_axis_value *axis)
{
    const double after = axis[AXIS_GATE] == 1, sum = axis[AXIS_HEAD] > 1;
    return 2 + after * (1 + sum) + SQ_GELU_FLOPS * axis[AXIS_GELU];
}

/* Of an element: u again; what convolves backward, g = dy x0 act'(a), and dx0 = dy act(a), for which
 * a gets its skip; the skip's du and dbias (2 each); dv and dx1. With heads, sums over them. */
static double gradient_flops(const sq_axis_value *axis)
{
    const double before = axis[AXIS_GATE] != 0, after = axis[AXIS_GATE] == 1;
    const double sum = axis[AXIS_HEAD] > 1, gelu = axis[AXIS_GELU];
    const double values = after != 0 || gelu != 0;
    return 4 + 2 * values + before * (1 + 2 * (1 + sum)) + after * (1 + 1 + sum) +
           gelu * (SQ_GELU_SLOPE_FLOPS + 1 + after * SQ_GELU_FLOPS);
}

/* bwd: u, g, du and, where dx0 or the slope need them, the values again; the products of their
 * spectra, and the sum over rows of that of dh, a complex multiply-add. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const double b = axis[AXIS_B], l = axis[AXIS_L], d = axis[AXIS_D], p = axis[AXIS_HEAD];
    const double before = axis[AXIS_GATE] != 0, after = axis[AXIS_GATE] == 1;
    const double gelu = axis[AXIS_GELU], rows = b * d * p;
    const double filters = d / p, taps = filters * l * (axis[AXIS_CAUSAL] != 0 ? 1 : 2);
    const double size = (double)sq_dtype_size(dtype), transform = 2.5 * 2 * l * log2(2 * l);
    const double weights = 4 * (taps + filters), tokens = size * b * l * d;
    const double values = after != 0 || gelu != 0;
    if (pass == SQ_PASS_STEP)
        return (sq_cost){.flops = rows * (l * (2 + before) + output_flops(axis)),
                         .special = SQ_GELU_SPECIAL * gelu * rows,
                         .bytes_read = tokens * (1 + before) + size * b * d * after + weights,
                         .bytes_written = size * b * d};
    if (pass == SQ_PASS_BWD)
        return (sq_cost){.flops =
                             (3 + values) * rows * transform + 2 * filters * transform +
                             rows * ((6 * (1 + values) + 8) * (l + 1) + gradient_flops(axis) * l),
                         .special = SQ_GELU_SLOPE_SPECIAL * gelu * rows * l,
                         .bytes_read = tokens * (2 + before + after) + weights,
                         .bytes_written = tokens * (1 + before + after) + weights};
    return (sq_cost){
        .flops = (2 * rows + filters) * transform +
                 rows * (6 * (l + 1) + (before + output_flops(axis)) * l),
        .special = SQ_GELU_SPECIAL * gelu * rows * l,
        .bytes_read = tokens * (1 + before + after) + weights,
        .bytes_written = tokens,
    };
}

/* f32: a transform errs by about 6e-8 log2 n relative to the rms of its row, a direct f32 sum of L
 * terms by 3e-8 sqrt(L / 2); both stay below 2e-6 where a provider uses them, the worst element at
 * five times that, times a gate of up to 3.5. bwd goes through three of them.
 * 16 bit: inputs are exact and u is not rounded, so only the rounding of y remains: at most 2^-8
 * (bf16) or 2^-11 (f16) of every element, the largest of which are x0 bias x1 v, a product of four
 * normals: up to 70 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return pass == SQ_PASS_BWD ? (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 1e-4}
                                   : (sq_tolerance){.rel_l2 = 5e-6, .max_abs = 5e-5};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.04};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.3};
}

static double row_work(const sq_axis_value *axis)
{
    return sq_long_conv_row_work((int64_t)axis[AXIS_L]) * axis[AXIS_HEAD];
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_D] * row_work(axis);
}

/* One batch row, all steps, some neighbouring channels. (Of heads all: their output channels are
 * not neighbours.) */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    double rows = axis[AXIS_HEAD] > 1 ? axis[AXIS_D] : floor(pick.max_work / row_work(axis));
    int64_t count = (int64_t)fmax(1, fmin(axis[AXIS_D], rows));
    const sq_channel_part part = sq_channel_part_pick(whole, pick, count, 1, sub, what, size);
    sq_tensor *const rows_of[] = {&sub->in[IN_V], &sub->in[IN_X1], &sub->in[IN_X0], &sub->out[0]};
    for (size_t i = 0; i < sizeof rows_of / sizeof rows_of[0]; i++)
        sq_channel_cut(rows_of[i], 0, 2, part);
    sq_tensor *const filter_of[] = {&sub->in[IN_H], &sub->in[IN_BIAS], &sub->in[IN_R]};
    for (size_t i = 0; axis[AXIS_HEAD] == 1 && i < sizeof filter_of / sizeof filter_of[0]; i++)
        sq_channel_cut(filter_of[i], -1, 0, part);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,D=8",
    "B=1,L=2,D=3",
    "B=3,L=3,D=33,gate=0",
    "B=2,L=127,D=40",
    "B=1,L=256,D=64",
    "B=2,L=257,D=65",
    "B=1,L=513,D=34,gate=0",
    "B=3,L=1000,D=16",
    "B=2,L=2048,D=5",
    "B=1,L=4099,D=8",
    "B=2,L=8192,D=3",
    "B=1,L=8193,D=4",
    "B=2,L=20011,D=3",
    "B=1,L=3,D=8300", /* channels, and then the batch, in more than one
                         chunk of scratch */
    "B=800,L=2,D=33",
    "B=1,L=131072,D=2",
    "B=2,L=37,D=5,gate=2",
    "B=2,L=65,D=33,gate=0,gelu=1",
    "B=1,L=129,D=7,gelu=1,gate=2",
    "B=2,L=1,D=4,causal=0",
    "B=2,L=67,D=35,gate=0,causal=0",
    "B=1,L=600,D=9,gelu=1,causal=0",
    "B=1,L=9001,D=3,causal=0",
    "B=2,L=16500,D=4,head=2,gelu=1",
    "B=1,L=24577,D=2,causal=0", /* one step is all that the last part has */
    "B=2,L=3,D=8,head=2",
    "B=2,L=65,D=36,head=4",
    "B=1,L=700,D=9,head=3,gelu=1,causal=0",
    NULL,
};

/* causality_bound: a transform's rounding spreads over its whole row, from the future into the past
 * too: 6e-8 log2 n of the row's rms, about 1e-6, and ten times that at the worst of 10^5 positions.
 * It holds for f32; a 16-bit output may move by one ulp besides. */
const sq_op sq_op_long_conv = {
    .name = "long_conv",
    .source = "Poli et al.: Hyena Hierarchy, arXiv 2302.10866, definition 3.1 and algorithm 3",
    .doc = "y_t = x0_t act(sum_{s <= t} h_s u_{t-s} + bias u_t), u = x1 v",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = sq_channels_at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = sq_long_conv_reference,
    .backward = sq_long_conv_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 1e-5,
};
