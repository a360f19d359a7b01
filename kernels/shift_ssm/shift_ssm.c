/* shift_ssm: H3's shift state space, whose states are the last inputs: a learned short filter.
 *
 *   x_t[n] = x_{t-1}[n-1] + b_n u_t        y_t = sum_n c_n x_t[n] + skip u_t        n < N
 *          x_t[-1] = 0;  x_{-1}: initial_state, or 0;  final_state = x_{L-1}
 *   so that y_t = sum_{j < N} k_j u_{t-j} + skip u_t,  k_j = sum_i b_i c_{i+j}
 *
 * Source    Fu et al.: Hungry Hungry Hippos (2212.14052), section 3.1; b learned as in the authors'
 *           program
 * Symbols   B: batch;  L: sequence length;  D: channels;  N: states
 * in[0]     u  (B, L, D)  dtype             in[1]  b  (D, N)  f32
 * in[2]     c  (D, N)     f32               in[3]  skip  (D)  f32
 * in[4]     initial_state  (B, D, N)  f32, if initial
 * out[0]    y  (B, L, D)  dtype             accumulates in f32 (reference: f64)
 * out[1]    final_state  (B, D, N)  f32, if final
 * Needs     N <= 256
 * Errors    SQ_OUT_OF_MEMORY (reference)
 * Cost      B L D (2 N + 2) flop, less what the sums of a beginning lack, D N (N + 1) for the
 *           filter, and the final state's sums; reads u, b, c, skip and initial_state, writes y and
 *           final_state once. bwd: two such filters, see cost(). step: B D (4 N + 2)
 */
#include "kernels/shift_ssm/shift_ssm.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 18, NULL},
    {"N", "states", "states: taps of the filter", SQ_AXIS_INT, 64, 1, 256, NULL},
    {"initial", "initial", "1: the sequence goes on from a state", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"final", "final", "1: the last state is handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const bool is_step = pass == SQ_PASS_STEP;
    const int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    const int64_t d = sq_axis_int(axis, AXIS_D), n = sq_axis_int(axis, AXIS_N);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw weight = {SQ_DRAW_NORMAL, 0.0f, (float)(1 / sqrt((double)n)), 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = OUT_COUNT};
    list->in[IN_U] = (sq_tensor_spec){"u", dtype, 3, {b, l, d}, 1, normal};
    list->in[IN_GAIN] = (sq_tensor_spec){"b", SQ_DTYPE_F32, 2, {d, n}, -1, weight};
    list->in[IN_C] = (sq_tensor_spec){"c", SQ_DTYPE_F32, 2, {d, n}, -1, weight};
    list->in[IN_SKIP] = (sq_tensor_spec){"skip", SQ_DTYPE_F32, 1, {d}, -1, normal};
    if (is_step || axis[AXIS_INITIAL] != 0)
        list->in[IN_INITIAL] =
            (sq_tensor_spec){"initial_state", SQ_DTYPE_F32, 3, {b, d, n}, -1, normal};
    list->out[OUT_Y] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    if (is_step || axis[AXIS_FINAL] != 0)
        list->out[OUT_FINAL] = (sq_tensor_spec){"final_state", SQ_DTYPE_F32, 3, {b, d, n}, -1, {0}};
    return SQ_OK;
}

/* Terms of the sums over the last `most` of t = 0 .. count - 1. */
static double window_terms(double count, double most)
{
    const double begin = fmin(count, most);
    return begin * (begin + 1) / 2 + (count - begin) * most;
}

/* Of a sequence and channel. The states before the first step fill the windows of the first N - 1
 * outputs, and stay in the final state where L < N. */
static double forward_flops(const sq_axis_value *axis)
{
    const double l = axis[AXIS_L], n = axis[AXIS_N], initial = axis[AXIS_INITIAL];
    const double outputs = initial != 0 ? n * l : window_terms(l, n);
    const double states = 2 * window_terms(n, l) + initial * fmax(0, n - l);
    return 2 * outputs + 2 * l + axis[AXIS_FINAL] * states;
}

/* du and dk, windows that end with the sequence; from dfinal to u and b; to the initial state and,
 * from it, to c; the skip's. */
static double backward_flops(const sq_axis_value *axis)
{
    const double l = axis[AXIS_L], n = axis[AXIS_N];
    return 4 * window_terms(l, n) + 4 * axis[AXIS_FINAL] * window_terms(n, l) +
           4 * axis[AXIS_INITIAL] * window_terms(n - 1, l) + 4 * l;
}

/* The filter k, N (N + 1) flop, backward with the gradients of b and c. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_step = pass == SQ_PASS_STEP, is_bwd = pass == SQ_PASS_BWD;
    const double b = axis[AXIS_B], d = axis[AXIS_D], n = axis[AXIS_N];
    const double size = (double)sq_dtype_size(dtype), state = 4 * b * d * n;
    const double initial = is_step ? state : state * axis[AXIS_INITIAL];
    const double final = is_step ? state : state * axis[AXIS_FINAL];
    const double tokens = size * b * (is_step ? 1 : axis[AXIS_L]) * d;
    const double inputs = tokens + 4 * d * (2 * n + 1) + initial;
    if (is_step)
        return (sq_cost){
            .flops = b * d * (4 * n + 2), .bytes_read = inputs, .bytes_written = tokens + final};
    return (sq_cost){
        .flops = b * d * (is_bwd ? backward_flops(axis) : forward_flops(axis)) +
                 d * n * (n + 1) * (is_bwd ? 3 : 1),
        .bytes_read = is_bwd ? inputs + tokens + final : inputs,
        .bytes_written = is_bwd ? inputs : tokens + final,
    };
}

/* f32: sums of N products of two orders: a few ulp, 6e-8 sqrt(N). bwd: gradients of b, c and skip
 * are sums over the whole batch of terms of both signs, in parts of 64 steps: of n parts about
 * 2e-8 sqrt(n), which would need more steps than memory holds to get to 5e-6. 16 bit: inputs are
 * exact, so only the rounding of y (and du) remains: at most 2^-8 (bf16) or 2^-11 (f16) of every
 * element, the largest of which stay below 16 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return pass == SQ_PASS_BWD ? (sq_tolerance){.rel_l2 = 5e-6, .max_abs = 5e-5}
                                   : (sq_tolerance){.rel_l2 = 2e-6, .max_abs = 2e-5};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.0125};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.1};
}

/* --- reference --- */

void sq_shift_ssm_taps(const sq_call *call, int64_t d, double *b, double *c, double *taps)
{
    const int64_t n = call->in[IN_C].dim[1];
    sq_row_read(&call->in[IN_GAIN], d * call->in[IN_GAIN].stride[0], n, b);
    sq_row_read(&call->in[IN_C], d * call->in[IN_C].stride[0], n, c);
    for (int64_t j = 0; j < n; j++)
        taps[j] = sq_row_dot(b, c + j, n - j);
}

/* x_{L-1}[n]; b: the channel's. */
static double last_state(const sq_call *call, int64_t batch, int64_t d, int64_t n, const double *b)
{
    const sq_tensor *u = &call->in[IN_U], *initial = &call->in[IN_INITIAL];
    const int64_t length = u->dim[1];
    double x = initial->data && n >= length ? sq_load3(initial, batch, d, n - length) : 0;
    for (int64_t j = 0; j <= n && j < length; j++)
        x += b[n - j] * sq_load3(u, batch, length - 1 - j, d);
    return x;
}

static void run_channel(const sq_call *call, int64_t batch, int64_t d, double *b, double *c,
                        double *taps)
{
    const sq_tensor *u = &call->in[IN_U], *initial = &call->in[IN_INITIAL];
    const int64_t states = call->in[IN_C].dim[1];
    sq_shift_ssm_taps(call, d, b, c, taps);
    for (int64_t t = 0; t < u->dim[1]; t++) {
        double sum = sq_load1(&call->in[IN_SKIP], d) * sq_load3(u, batch, t, d);
        for (int64_t j = 0; j < states && j <= t; j++)
            sum += taps[j] * sq_load3(u, batch, t - j, d);
        for (int64_t n = t + 1; initial->data && n < states; n++)
            sum += c[n] * sq_load3(initial, batch, d, n - t - 1);
        sq_store3(&call->out[OUT_Y], batch, t, d, sum);
    }
    for (int64_t n = 0; call->out[OUT_FINAL].data && n < states; n++)
        sq_store3(&call->out[OUT_FINAL], batch, d, n, last_state(call, batch, d, n, b));
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    const int64_t states = call->in[IN_C].dim[1];
    bool is_short = false;
#pragma omp parallel for collapse(2) reduction(|| : is_short)
    for (int64_t batch = 0; batch < call->in[IN_U].dim[0]; batch++)
        for (int64_t d = 0; d < call->in[IN_U].dim[2]; d++) {
            double *memory = malloc((size_t)(3 * states) * sizeof *memory);
            is_short = is_short || !memory;
            if (memory)
                run_channel(call, batch, d, memory, memory + states, memory + 2 * states);
            free(memory);
        }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "shift_ssm: %lld states", (long long)states)
                    : SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    const double n = axis[AXIS_N];
    return axis[AXIS_B] * axis[AXIS_D] * (axis[AXIS_L] * (4 * n + 10) + 5 * n * n);
}

/* One batch row, all steps, some neighbouring channels. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const double work = reference_work(axis) / (axis[AXIS_B] * axis[AXIS_D]);
    const int64_t count = sq_channels_within(whole, pick, work, 1);
    const sq_channel_part part = sq_channel_part_pick(whole, pick, count, 1, sub, what, size);
    sq_channel_cut(&sub->in[IN_U], 0, 2, part);
    sq_channel_cut(&sub->out[OUT_Y], 0, 2, part);
    sq_channel_cut(&sub->in[IN_INITIAL], 0, 1, part);
    sq_channel_cut(&sub->out[OUT_FINAL], 0, 1, part);
    for (int i = IN_GAIN; i <= IN_SKIP; i++)
        sq_channel_cut(&sub->in[i], -1, 0, part);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,D=3,N=1",
    "B=1,L=37,D=16,N=16",
    "B=2,L=65,D=33,N=8,initial=1,final=1",
    "B=3,L=5,D=40,N=64,initial=1,final=1",
    "B=2,L=1,D=34,N=5,initial=1,final=1",
    "B=1,L=1001,D=65,N=100,final=1",
    "B=2,L=700,D=9,N=256",
    NULL,
};

const sq_op sq_op_shift_ssm = {
    .name = "shift_ssm",
    .source = "Fu et al.: Hungry Hungry Hippos, arXiv 2212.14052, section 3.1",
    .doc = "y_t = sum_n c_n x_t[n] + skip u_t, x_t[n] = x_{t-1}[n-1] + b_n u_t",
    .is_mixer = false,
    .axes = axes,
    .at_width = sq_channels_at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_shift_ssm_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
