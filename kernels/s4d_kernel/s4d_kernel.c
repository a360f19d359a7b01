/* s4d_kernel: the convolution filter of a diagonal state space (S4D, and the diagonal half of H3).
 *
 *   h_{b,d,t} = 2 Re sum_{n < N/2} c_{bdn} b_{sn} f_{dn} z_{dn}^t        s = d mod S
 *   (z, f) = discretise(dt_d, a_{sn})        a = -exp(a_real) + i a_imag        dt = exp(log_dt)
 *
 * disc = zoh: z = e^(dt a), f = (z - 1)/a;  bilinear: z = (1 + dt a/2)/(1 - dt a/2), f = dt/(1 - dt
 * a/2). Of each pair of conjugate modes one is stored. conjugate = 1: a = -exp(a_real) - i a_imag,
 * as later official code stores it; input = 0: b = 1, merged into c.
 *
 * Source    Gu et al.: On the Parameterization and Initialization of Diagonal State Space Models
 *           (2206.11893), equations 2 and 4, table 1
 * Symbols   B: filters of a channel;  L: taps of a filter;  D: channels;  N: states;  S: copies of
 *           the state space, S divides D
 * in[0]     log_dt  (D)          f32        in[1]  a_real  (S, N/2)  f32
 * in[2]     a_imag  (S, N/2)     f32        in[3]  b  (S, N/2, 2)    f32, if input
 * in[4]     c  (B, D, N/2, 2)    f32        last dims of 2: real and imaginary part
 * out[0]    h  (B, D, L)         f32        modes and powers are f64 in every provider
 * Needs     N even; S divides D; S = 0 stands for D
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for pass step
 * Cost      for each mode and tap a complex product and half of one more for each filter: D N/2 L
 *           (6 + 4 B) flop (recurrent powers); reads the parameters once, writes h once. bwd: two
 *           sums over the taps, 8 B, and B D L for t dh; reads dh too, writes a gradient of each
 *           parameter
 */
#include "kernels/s4d_kernel/s4d_kernel.h"

#include <math.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "filters of a channel", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "taps of a filter", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 1024, 1, 1 << 18, NULL},
    {"N", "states", "states, half of them stored", SQ_AXIS_INT, 64, 2, 1024, NULL},
    {"S", "copies", "state spaces that the channels share in turn; 0: one for each", SQ_AXIS_INT, 0,
     0, 1 << 18, NULL},
    {"disc", "discretisation", "zero-order hold or bilinear", SQ_AXIS_CHOICE, 0, 0, 1,
     sq_ssm_rules},
    {"conjugate", "conjugate", "1: the stored imaginary parts are negated", SQ_AXIS_INT, 0, 0, 1,
     NULL},
    {"input", "input", "1: the input has weights b of its own", SQ_AXIS_INT, 1, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    return sq_ssm_check(axis[AXIS_N], axis[AXIS_D], &axis[AXIS_S], err);
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    axis[AXIS_S] = 0;
    return sq_channels_at_width(width, axis, err);
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)dtype;
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "s4d_kernel has no pass %s", sq_pass_name(pass));
    const int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    const int64_t d = sq_axis_int(axis, AXIS_D), s = sq_axis_int(axis, AXIS_S);
    const int64_t n = sq_axis_int(axis, AXIS_N) / 2;
    const sq_draw gain = {SQ_DRAW_NORMAL, 1.0f, 0.2f, 0}, normal = {SQ_DRAW_NORMAL, 0.0f, 0.7f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    sq_ssm_list(&list->in[IN_LOG_DT], d, s, n);
    if (axis[AXIS_INPUT] != 0)
        list->in[IN_GAIN] = (sq_tensor_spec){"b", SQ_DTYPE_F32, 3, {s, n, 2}, -1, gain};
    list->in[IN_C] = (sq_tensor_spec){"c", SQ_DTYPE_F32, 4, {b, d, n, 2}, -1, normal};
    list->out[0] = (sq_tensor_spec){"h", SQ_DTYPE_F32, 3, {b, d, l}, 2, {0}};
    return SQ_OK;
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)dtype;
    const double b = axis[AXIS_B], l = axis[AXIS_L], d = axis[AXIS_D], n = axis[AXIS_N] / 2;
    const double s = axis[AXIS_S];
    const double parameters = 4 * (d + s * n * (2 + 2 * axis[AXIS_INPUT]) + 2 * b * d * n);
    if (pass == SQ_PASS_BWD)
        return (sq_cost){.flops = d * l * (n * (6 + 8 * b) + b),
                         .bytes_read = parameters + 4 * b * d * l,
                         .bytes_written = parameters};
    return (sq_cost){
        .flops = d * n * l * (6 + 4 * b),
        .bytes_read = parameters,
        .bytes_written = 4 * b * d * l,
    };
}

/* Powers come from f64 and are rounded once or a few times, and N/2 products are summed in f32: a
 * few ulp of the largest terms, which oscillate against each other: 1e-6 of the row's rms, and the
 * worst of many taps ten times that. The same in every dtype: nothing here is of 16 bits. bwd sums
 * in f64 and rounds once, a last bit of the largest of a tensor's gradients. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)dtype;
    (void)axis;
    return (sq_tolerance){.rel_l2 = 5e-6, .max_abs = 1e-4};
}

sq_s4d_mode sq_s4d_mode_of(const sq_call *call, int64_t d, int64_t n)
{
    const sq_tensor *b = &call->in[IN_GAIN];
    const int64_t s = d % call->in[IN_A_REAL].dim[0];
    sq_s4d_mode m = {.dt = exp(sq_load1(&call->in[IN_LOG_DT], d)), .b = {1, 0}};
    m.sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    m.a = sq_ssm_load_pole(&call->in[IN_LOG_DT], s, n, m.sign);
    if (b->data)
        m.b = sq_pair_load(b, s, n, 0);
    m.step = sq_ssm_discretise((int)call->axis[AXIS_DISC], m.dt, m.a);
    return m;
}

/* A row of h, 64 taps at a time: powers start anew from z^t, so that their rounding does not grow.
 */
static void run_row(const sq_call *call, int64_t b, int64_t d, const sq_tensor *h)
{
    const int64_t length = h->dim[2], modes = call->in[IN_C].dim[2];
    for (int64_t start = 0; start < length; start += 64) {
        double sum[64] = {0};
        const int64_t end = length - start < 64 ? length - start : 64;
        for (int64_t n = 0; n < modes; n++) {
            const sq_s4d_mode m = sq_s4d_mode_of(call, d, n);
            const sq_c64 log_z =
                sq_c64_of(log(hypot(m.step.z.re, m.step.z.im)), atan2(m.step.z.im, m.step.z.re));
            const sq_c64 c =
                sq_c64_mul(sq_pair_load(&call->in[IN_C], b, d, n), sq_c64_mul(m.b, m.step.f));
            sq_c64 power =
                start == 0 ? c : sq_c64_mul(c, sq_c64_exp(sq_c64_scale(log_z, (double)start)));
            for (int64_t i = 0; i < end; i++, power = sq_c64_mul(power, m.step.z))
                sum[i] += 2 * power.re;
        }
        for (int64_t i = 0; i < end; i++)
            sq_store3(h, b, d, start + i, sum[i]);
    }
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    (void)err;
    const sq_tensor *h = &call->out[0];
#pragma omp parallel for collapse(2)
    for (int64_t b = 0; b < h->dim[0]; b++)
        for (int64_t d = 0; d < h->dim[1]; d++)
            run_row(call, b, d, h);
    return SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_D] * (axis[AXIS_N] / 2) * (6 * axis[AXIS_L] + 300);
}

/* One filter of some neighbouring channels; whole turns of the copies. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t copies = sq_axis_int(axis, AXIS_S), channels = sq_axis_int(axis, AXIS_D);
    const double work = reference_work(axis) / (axis[AXIS_B] * axis[AXIS_D]);
    const bool is_shared = copies < channels;
    const int64_t turn = is_shared ? copies : 1;
    const int64_t count = is_shared ? copies : sq_channels_within(whole, pick, work, turn);
    const sq_channel_part part = sq_channel_part_pick(whole, pick, count, turn, sub, what, size);
    sub->axis[AXIS_S] = (double)count;
    sq_channel_cut(&sub->in[IN_LOG_DT], -1, 0, part);
    for (int i = IN_A_REAL; i <= IN_GAIN && !is_shared; i++)
        sq_channel_cut(&sub->in[i], -1, 0, part);
    sq_channel_cut(&sub->in[IN_C], 0, 1, part);
    sq_channel_cut(&sub->out[0], 0, 1, part);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,D=1,N=2",
    "B=2,L=37,D=3,N=16",
    "B=1,L=64,D=4,N=64,disc=bilinear,conjugate=1",
    "B=1,L=129,D=6,N=32,S=2,input=0",
    "B=3,L=257,D=5,N=6,S=1,disc=bilinear",
    "B=1,L=2049,D=3,N=64,S=1",
    "B=1,L=70001,D=1,N=8,disc=bilinear",
    NULL,
};

const sq_op sq_op_s4d_kernel = {
    .name = "s4d_kernel",
    .source = "Gu et al.: S4D, arXiv 2206.11893, equations 2 and 4",
    .doc = "h_t = 2 Re sum_n c_n b_n f_n z_n^t, (z, f) = discretise(dt, a)",
    .is_mixer = false,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_s4d_kernel_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
