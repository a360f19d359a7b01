/* s4_kernel: the convolution filter of S4, a state matrix that is normal plus low rank.
 *
 *   sum_t h_{b,d,t} w^t = 2/(1 + w) [ (c~ b) - (c~ p) (1 + (p* p))^-1 (p* b) ]  where w^L = 1,
 *   (x y) = sum_n x_n y_n / (z - a_n),  over all N states,   z = (2/dt) (1 - w)/(1 + w)
 *
 * of the state space x' = (diag(a) - p p*) x + b u, y = c x, discretised bilinearly with step dt to
 * (dA, dB): h_t = c dA^t dB where c~ = c (1 - dA^L). c~ is the parameter, as in official code. Both
 * sides are multiplied by (1 + w)/2 here, so that w = -1 is no exception. Of each pair of conjugate
 * states one is stored; a = -exp(a_real) + i a_imag (conjugate = 1: - i a_imag).
 *
 * pairs = 0: every sum (x y) is over the N/2 stored states alone. The right side V(w) is then no
 * transform of a real filter; h is the inverse real transform of its half with w = e^(-2 pi i j/L),
 * 0 <= j <= L/2, to which the imaginary parts of V(1) and V(-1) add nothing:
 *   L h_t = Re V(1) + 2 Re sum_{0 < j < L/2} V(w_j) w_j^-t + (L even) (-1)^t Re V(-1)
 *
 * Source    Gu et al.: Efficiently Modeling Long Sequences with Structured State Spaces
 *           (2111.00396), algorithm 1 and appendix C.3; pairs = 0: what the code of SPADE (Zuo et
 *           al., 2212.08136) computes where its extensions are not built
 * Symbols   B: filters of a channel;  L: taps of a filter;  D: channels;  N: states;  R: rank;  S:
 *           copies of the state space, channel d has copy d mod S
 * in[0]     log_dt  (D)        f32          in[1]  a_real  (S, N/2)     f32
 * in[2]     a_imag  (S, N/2)   f32          in[3]  b  (S, N/2, 2)       f32
 * in[4]     p  (R, S, N/2, 2)  f32          in[5]  c  (B, D, N/2, 2)    f32: c~
 * out[0]    h  (B, D, L)       f32          last dims of 2: real and imaginary part; sums in f64
 * Needs     N even; S divides D (0 stands for D); R = 1 or 2
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for pass step; SQ_OUT_OF_MEMORY (reference)
 * Cost      D N/2 (L/2 + 1) points of modes: 30 flop for the two resolvents (pairs = 0: one, 13) and
 *           8 for each of (B + R) (1 + R) sums, a reciprocal for each resolvent; B D transforms of L
 *           points (2.5 L log2 L); reads the parameters once, writes h once. bwd: 74 (33) and 24
 */
#include "kernels/s4_kernel/s4_kernel.h"

#include <math.h>

#include "kernels/shared/channels.h"

static const sq_axis axes[] = {
    {"B", "batch", "filters of a channel", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "taps of a filter", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 1024, 1, 1 << 18, NULL},
    {"N", "states", "states, half of them stored", SQ_AXIS_INT, 64, 2, 1024, NULL},
    {"R", "rank", "rank of the correction", SQ_AXIS_INT, 1, 1, MAX_RANK, NULL},
    {"S", "copies", "state spaces that the channels share in turn; 0: one for each", SQ_AXIS_INT, 1,
     0, 1 << 18, NULL},
    {"conjugate", "conjugate", "1: the stored imaginary parts are negated", SQ_AXIS_INT, 0, 0, 1,
     NULL},
    {"pairs", "pairs", "0: the stored states count alone, without their conjugates", SQ_AXIS_INT, 1,
     0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    return sq_ssm_check(axis[AXIS_N], axis[AXIS_D], &axis[AXIS_S], err);
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    axis[AXIS_S] = 1;
    return sq_channels_at_width(width, axis, err);
}

/* p and b of order 1, as S4 starts. */
static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)dtype;
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "s4_kernel has no pass %s", sq_pass_name(pass));
    const int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    const int64_t d = sq_axis_int(axis, AXIS_D), s = sq_axis_int(axis, AXIS_S);
    const int64_t n = sq_axis_int(axis, AXIS_N) / 2, r = sq_axis_int(axis, AXIS_R);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 0.7f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    sq_ssm_list(&list->in[IN_LOG_DT], d, s, n);
    list->in[IN_GAIN] = (sq_tensor_spec){"b", SQ_DTYPE_F32, 3, {s, n, 2}, -1, normal};
    list->in[IN_P] = (sq_tensor_spec){"p", SQ_DTYPE_F32, 4, {r, s, n, 2}, -1, normal};
    list->in[IN_C] = (sq_tensor_spec){"c", SQ_DTYPE_F32, 4, {b, d, n, 2}, -1, normal};
    list->out[0] = (sq_tensor_spec){"h", SQ_DTYPE_F32, 3, {b, d, l}, 2, {0}};
    return SQ_OK;
}

/* Of a mode at a point: the resolvent 1 / (q - g dt a), a complex multiply-add (8), its square (3)
 * and the quotient (2 and a reciprocal); the factor dt is its parameters'. Of a pair two, with their
 * sum and difference (4), so that a sum is two real products of complex numbers, as one complex
 * multiply-add (8). bwd: those again, of each sum the gradients of its parameters and of the
 * resolvent (8 each), of each resolvent r^2, that times its gradient, times g into that of dt a (6,
 * 6, 8), of a pair once more sum and difference. The correction of a point, once for all modes, is
 * not counted. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)dtype;
    const double b = axis[AXIS_B], l = axis[AXIS_L], d = axis[AXIS_D], n = axis[AXIS_N] / 2;
    const double s = axis[AXIS_S], r = axis[AXIS_R], points = floor(l / 2) + 1;
    const bool has_pairs = axis[AXIS_PAIRS] != 0;
    const double resolvents = has_pairs ? 2 : 1, both = has_pairs ? 4 : 0;
    const double sums = (b + r) * (1 + r), special = d * n * points * resolvents;
    const double parameters = 4 * (d + s * n * (4 + 2 * r) + 2 * b * d * n);
    const double transform = b * d * 2.5 * l * log2(l);
    if (pass == SQ_PASS_BWD)
        return (sq_cost){.flops =
                             d * n * points * (33 * resolvents + 2 * both + 24 * sums) + transform,
                         .special = special,
                         .bytes_read = parameters + 4 * b * d * l,
                         .bytes_written = parameters};
    return (sq_cost){
        .flops = d * n * points * (13 * resolvents + both + 8 * sums) + transform,
        .special = special,
        .bytes_read = parameters,
        .bytes_written = 4 * b * d * l,
    };
}

/* The spectrum is f64, rounded once; its transform errs by 6e-8 log2 L relative to the row's rms,
 * and at the worst of many taps ten times that. bwd: the transform of dh errs by as much, and the
 * sums over its points, in f64, have terms of both signs that are some times larger than their
 * result. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)dtype;
    (void)axis;
    if (pass == SQ_PASS_BWD)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 2e-4};
    return (sq_tolerance){.rel_l2 = 5e-6, .max_abs = 1e-4};
}

static double reference_work(const sq_axis_value *axis)
{
    const double r = axis[AXIS_R], n = (double)sq_fft_points(2 * (int64_t)axis[AXIS_L]);
    const double mode = 150 + 10 * (1 + r) * (1 + r);
    return axis[AXIS_B] * axis[AXIS_D] *
           ((axis[AXIS_N] / 2) * (axis[AXIS_L] / 2 + 1) * mode + 12 * n * log2(n));
}

/* One filter of some neighbouring channels; whole turns of the copies. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t copies = sq_axis_int(axis, AXIS_S);
    const double work = reference_work(axis) / (axis[AXIS_B] * axis[AXIS_D]);
    const int64_t count = sq_channels_within(whole, pick, work, copies);
    const sq_channel_part part = sq_channel_part_pick(whole, pick, count, copies, sub, what, size);
    sq_channel_cut(&sub->in[IN_LOG_DT], -1, 0, part);
    sq_channel_cut(&sub->in[IN_C], 0, 1, part);
    sq_channel_cut(&sub->out[0], 0, 1, part);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,D=1,N=2",
    "B=2,L=2,D=3,N=4,R=2",
    "B=1,L=37,D=4,N=16,conjugate=1",
    "B=2,L=64,D=4,N=8,R=2,S=2",
    "B=1,L=127,D=3,N=64,S=0",
    "B=1,L=1,D=2,N=4,pairs=0",
    "B=2,L=36,D=4,N=8,R=2,S=2,conjugate=1,pairs=0",
    "B=1,L=401,D=3,N=70,pairs=0",
    "B=3,L=401,D=2,N=16",
    "B=1,L=4096,D=2,N=32",
    NULL,
};

const sq_op sq_op_s4_kernel = {
    .name = "s4_kernel",
    .source = "Gu et al.: S4, arXiv 2111.00396, algorithm 1",
    .doc = "sum_t h_t w^t = 2/(1+w) [c~ R b - c~ R p (1 + p* R p)^-1 p* R b], R = 1/(z(w) - a)",
    .is_mixer = false,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = sq_s4_kernel_reference,
    .backward = sq_s4_kernel_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
