/* s4_scan: a state space of S4, S4D or H3 as a recurrence, one step after the other.
 *
 *   x_t = dA x_{t-1} + dB u_t        y_t = 2 Re sum_{n < N/2} c_n x_t[n] + skip u_t
 *          x_{-1}: initial_state, or 0;  final_state = x_{L-1}
 *
 * of x' = (diag(a) - p p*) x + b u with p of R columns, a = -exp(a_real) + i a_imag, discretised
 * with step dt = exp(log_dt) by zero-order hold or bilinearly (kernels/shared/ssm.h). With R > 0:
 *   (1 - dt/2 A) x_t = (1 + dt/2 A) x_{t-1} + dt b u_t,  solved by Woodbury's identity in O(N R)
 * The same function as long_conv by the filter of s4d_kernel (R = 0) or s4_kernel. Of each pair of
 * conjugate states one is stored: p* x = 2 Re sum conj(p_n) x_n.
 *
 * Source    Gu et al.: S4 (2111.00396), equations 3 and 5 and appendix C.2; S4D (2206.11893)
 * Symbols   B: batch;  L: sequence length;  D: channels;  N: states;  R: rank;  S: copies of the
 *           state space, channel d has copy d mod S
 * in[0]     u  (B, L, D)  dtype             in[1]  log_dt  (D)         f32
 * in[2]     a_real  (S, N/2)  f32           in[3]  a_imag  (S, N/2)    f32
 * in[4]     b  (S, N/2, 2)    f32           in[5]  p  (R, S, N/2, 2)   f32, if R > 0
 * in[6]     c  (D, N/2, 2)    f32           in[7]  skip  (D)           f32
 * in[8]     initial_state  (B, D, N/2, 2)  f32, if initial
 * out[0]    y  (B, L, D)  dtype             states in f32 (reference: f64)
 * out[1]    final_state  (B, D, N/2, 2)  f32, if final
 * Needs     N even; S divides D (0 stands for D); R <= 2; R > 0 only with disc = bilinear
 * Errors    SQ_BAD_SHAPE; SQ_OUT_OF_MEMORY (reference)
 * Cost      B L D (N/2 (12 + 8 R) + 2) flop; reads u, the parameters and initial_state, writes y
 *           and final_state once. bwd: B L D (N/2 (32 + 24 R) + 4). step: the same at L = 1
 */
#include "kernels/s4_scan/s4_scan.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 1024, 1, 1 << 18, NULL},
    {"N", "states", "states, half of them stored", SQ_AXIS_INT, 64, 2, 256, NULL},
    {"R", "rank", "rank of the correction; 0: diagonal", SQ_AXIS_INT, 0, 0, MAX_RANK, NULL},
    {"S", "copies", "state spaces that the channels share in turn; 0: one for each", SQ_AXIS_INT, 0,
     0, 1 << 18, NULL},
    {"disc", "discretisation", "zero-order hold or bilinear", SQ_AXIS_CHOICE, 1, 0, 1,
     sq_ssm_rules},
    {"conjugate", "conjugate", "1: the stored imaginary parts are negated", SQ_AXIS_INT, 0, 0, 1,
     NULL},
    {"initial", "initial", "1: the sequence goes on from a state", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"final", "final", "1: the last state is handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_ssm_check(axis[AXIS_N], axis[AXIS_D], &axis[AXIS_S], err));
    if (axis[AXIS_R] > 0 && axis[AXIS_DISC] != SQ_SSM_BILINEAR)
        return sq_fail(err, SQ_BAD_SHAPE, "R=%g: a low rank is discretised bilinearly alone",
                       axis[AXIS_R]);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    axis[AXIS_S] = 0;
    return sq_channels_at_width(width, axis, err);
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const bool is_step = pass == SQ_PASS_STEP;
    const int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    const int64_t d = sq_axis_int(axis, AXIS_D), s = sq_axis_int(axis, AXIS_S);
    const int64_t n = sq_axis_int(axis, AXIS_N) / 2, r = sq_axis_int(axis, AXIS_R);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0}, gain = {SQ_DRAW_NORMAL, 1, 0.2f, 0};
    const sq_draw weight = {SQ_DRAW_NORMAL, 0.0f, 0.7f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = OUT_COUNT};
    list->in[IN_U] = (sq_tensor_spec){"u", dtype, 3, {b, l, d}, 1, normal};
    sq_ssm_list(&list->in[IN_LOG_DT], d, s, n);
    list->in[IN_GAIN] = (sq_tensor_spec){"b", SQ_DTYPE_F32, 3, {s, n, 2}, -1, gain};
    if (r > 0)
        list->in[IN_P] = (sq_tensor_spec){"p", SQ_DTYPE_F32, 4, {r, s, n, 2}, -1, weight};
    list->in[IN_C] = (sq_tensor_spec){"c", SQ_DTYPE_F32, 3, {d, n, 2}, -1, weight};
    list->in[IN_SKIP] = (sq_tensor_spec){"skip", SQ_DTYPE_F32, 1, {d}, -1, normal};
    if (is_step || axis[AXIS_INITIAL] != 0)
        list->in[IN_INITIAL] =
            (sq_tensor_spec){"initial_state", SQ_DTYPE_F32, 4, {b, d, n, 2}, -1, weight};
    list->out[OUT_Y] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    if (is_step || axis[AXIS_FINAL] != 0)
        list->out[OUT_FINAL] =
            (sq_tensor_spec){"final_state", SQ_DTYPE_F32, 4, {b, d, n, 2}, -1, {0}};
    return SQ_OK;
}

/* Of what is discretised once: dA is diagonal but for R columns, states x / (f b) have u itself for
 * input, and c takes that factor. For each mode z x + u and Re c x (8, 4), the columns Re q* x, p
 * times that (8 R). bwd: the states again, X = conj(z) X + dy with its columns (8 + 8 R each), the
 * gradients of z, c, u (8, 4, 4) and of p and q (8 R); of the skip 2, and 4. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_step = pass == SQ_PASS_STEP, is_bwd = pass == SQ_PASS_BWD;
    const double b = axis[AXIS_B], d = axis[AXIS_D], n = axis[AXIS_N] / 2, s = axis[AXIS_S];
    const double r = axis[AXIS_R], state = 4 * 2 * b * d * n, size = (double)sq_dtype_size(dtype);
    const double initial = is_step ? state : state * axis[AXIS_INITIAL];
    const double final = is_step ? state : state * axis[AXIS_FINAL];
    const double steps = b * d * (is_step ? 1 : axis[AXIS_L]), tokens = size * steps;
    const double inputs = tokens + 4 * (2 * d + s * n * (4 + 2 * r) + 2 * d * n) + initial;
    const double flops = is_bwd ? n * (32 + 24 * r) + 4 : n * (12 + 8 * r) + 2;
    return (sq_cost){
        .flops = steps * flops,
        .bytes_read = is_bwd ? inputs + tokens + final : inputs,
        .bytes_written = is_bwd ? inputs : tokens + final,
    };
}

/* f32: a state remembers 1 / (dt/2) steps at most, some thousand, each with a rounding of 6e-8 of
 * the state in a random direction: 3e-6 of it, and y is a sum of N/2 such states, of both signs. 16
 * bit: inputs are exact, so only the rounding of y remains.
 * bwd: gradients of parameters are sums over steps, that of ln dt over modes too, of products of a
 * state and a gradient, together 5e-6 off; where their terms, of both signs, leave less than half of
 * that to be right, so do the last bits of the inputs. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = pass == SQ_PASS_BWD ? 5e-4 : 1e-4};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.0125};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.1};
}

/* --- reference --- */

void sq_s4_scan_channel_read(const sq_call *call, int64_t d, sq_s4_scan_mode *mode,
                             sq_s4_scan_channel *out)
{
    const sq_tensor *in = call->in;
    const int64_t s = d % in[IN_A_REAL].dim[0];
    const double sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    *out = (sq_s4_scan_channel){.call = call, .d = d, .modes = in[IN_C].dim[1], .mode = mode};
    out->rank = (int)call->axis[AXIS_R];
    out->dt = exp(sq_load1(&in[IN_LOG_DT], d));
    out->skip = sq_load1(&in[IN_SKIP], d);
    for (int64_t n = 0; n < out->modes; n++) {
        sq_s4_scan_mode *m = &mode[n];
        m->a = sq_ssm_load_pole(&in[IN_LOG_DT], s, n, sign);
        m->b = sq_pair_load(&in[IN_GAIN], s, n, 0);
        m->c = sq_pair_load(&in[IN_C], d, n, 0);
        m->step = sq_ssm_discretise((int)call->axis[AXIS_DISC], out->dt, m->a);
        m->r = sq_c64_inv(sq_c64_of(1 - out->dt / 2 * m->a.re, -out->dt / 2 * m->a.im));
        for (int k = 0; k < out->rank; k++)
            m->p[k] = sq_pair_load(&in[IN_P], k, s, n);
        for (int i = 0; i < out->rank; i++)
            for (int k = 0; k < out->rank; k++)
                out->gram.at[i][k] += sq_s4_scan_dot(m->p[i], sq_c64_mul(m->r, m->p[k]));
    }
    out->inverse = sq_s4_scan_invert(&out->gram, out->dt / 2);
}

void sq_s4_scan_step(const sq_s4_scan_channel *p, double u, const sq_c64 *x, sq_c64 *next)
{
    double before[MAX_RANK] = {0}, after[MAX_RANK] = {0}; /* p* x, p* w */
    const double half = p->dt / 2;
    for (int64_t n = 0; n < p->modes; n++)
        for (int k = 0; k < p->rank; k++)
            before[k] += sq_s4_scan_dot(p->mode[n].p[k], x[n]);
    for (int64_t n = 0; n < p->modes; n++) {
        const sq_s4_scan_mode *m = &p->mode[n];
        if (p->rank == 0) {
            next[n] = sq_c64_mul_add(sq_c64_scale(sq_c64_mul(m->step.f, m->b), u), m->step.z, x[n]);
            continue;
        }
        sq_c64 slope = sq_c64_mul_add(sq_c64_scale(m->b, 2 * u), m->a, x[n]);
        for (int k = 0; k < p->rank; k++)
            slope = sq_c64_sub(slope, sq_c64_scale(m->p[k], before[k]));
        next[n] = sq_c64_mul(m->r, sq_c64_add(x[n], sq_c64_scale(slope, half)));
        for (int k = 0; k < p->rank; k++)
            after[k] += sq_s4_scan_dot(m->p[k], next[n]);
    }
    for (int i = 0; i < p->rank; i++) {
        double s = 0;
        for (int k = 0; k < p->rank; k++)
            s += p->inverse.at[i][k] * after[k];
        for (int64_t n = 0; n < p->modes; n++)
            next[n] = sq_c64_sub(next[n],
                                 sq_c64_scale(sq_c64_mul(p->mode[n].r, p->mode[n].p[i]), half * s));
    }
}

static void run_sequence(const sq_s4_scan_channel *p, int64_t batch, sq_c64 *x)
{
    const sq_tensor *u = &p->call->in[IN_U], *initial = &p->call->in[IN_INITIAL];
    const sq_tensor *final = &p->call->out[OUT_FINAL];
    for (int64_t n = 0; n < p->modes; n++)
        x[n] = initial->data ? sq_pair_load(initial, batch, p->d, n) : sq_c64_of(0, 0);
    for (int64_t t = 0; t < u->dim[1]; t++) {
        const double in = sq_load3(u, batch, t, p->d);
        double sum = p->skip * in;
        sq_s4_scan_step(p, in, x, x);
        for (int64_t n = 0; n < p->modes; n++)
            sum += 2 * sq_c64_mul(p->mode[n].c, x[n]).re;
        sq_store3(&p->call->out[OUT_Y], batch, t, p->d, sum);
    }
    for (int64_t n = 0; final->data && n < p->modes; n++)
        sq_pair_store(final, batch, p->d, n, x[n]);
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    const int64_t modes = call->in[IN_C].dim[1];
    bool is_short = false;
#pragma omp parallel for collapse(2) reduction(|| : is_short)
    for (int64_t batch = 0; batch < call->in[IN_U].dim[0]; batch++)
        for (int64_t d = 0; d < call->in[IN_U].dim[2]; d++) {
            sq_s4_scan_mode *mode =
                malloc((size_t)modes * (sizeof(sq_s4_scan_mode) + sizeof(sq_c64)));
            sq_s4_scan_channel channel;
            is_short = is_short || !mode;
            if (mode) {
                sq_s4_scan_channel_read(call, d, mode, &channel);
                run_sequence(&channel, batch, (sq_c64 *)(mode + modes));
            }
            free(mode);
        }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "s4_scan: %lld modes", (long long)modes)
                    : SQ_OK;
}

static double reference_work(const sq_axis_value *axis)
{
    const double n = axis[AXIS_N] / 2;
    return axis[AXIS_B] * axis[AXIS_D] * n * (axis[AXIS_L] * (14 + 16 * axis[AXIS_R]) + 200);
}

/* One batch row, all steps, some neighbouring channels; whole turns of the copies. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t copies = sq_axis_int(axis, AXIS_S), channels = sq_axis_int(axis, AXIS_D);
    const double work = reference_work(axis) / (axis[AXIS_B] * axis[AXIS_D]);
    const bool is_own = copies == channels;
    const int64_t turn = is_own ? 1 : copies, count = sq_channels_within(whole, pick, work, turn);
    const sq_channel_part part = sq_channel_part_pick(whole, pick, count, turn, sub, what, size);
    sub->axis[AXIS_S] = (double)(is_own ? count : copies);
    sq_channel_cut(&sub->in[IN_U], 0, 2, part);
    sq_channel_cut(&sub->out[OUT_Y], 0, 2, part);
    sq_channel_cut(&sub->in[IN_INITIAL], 0, 1, part);
    sq_channel_cut(&sub->out[OUT_FINAL], 0, 1, part);
    static const int by_channel[] = {IN_LOG_DT, IN_C, IN_SKIP};
    for (size_t i = 0; i < sizeof by_channel / sizeof by_channel[0]; i++)
        sq_channel_cut(&sub->in[by_channel[i]], -1, 0, part);
    for (int i = IN_A_REAL; i <= IN_P && is_own; i++)
        sq_channel_cut(&sub->in[i], -1, i == IN_P, part);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,D=3,N=2,disc=zoh",
    "B=1,L=37,D=6,N=16,conjugate=1",
    "B=2,L=65,D=4,N=8,R=1,S=1,initial=1,final=1",
    "B=3,L=5,D=6,N=64,disc=zoh,initial=1,final=1,S=2",
    "B=1,L=20,D=5,N=6,R=2,final=1",
    "B=2,L=700,D=9,N=64",
    "B=1,L=300,D=3,N=70,R=2,S=3,conjugate=1",
    "B=1,L=128,D=3,N=6,R=1,S=1,final=1",
    "B=2,L=66,D=96,N=4,S=1,initial=1",
    NULL,
};

const sq_op sq_op_s4_scan = {
    .name = "s4_scan",
    .source = "Gu et al.: S4, arXiv 2111.00396, equations 3 and 5",
    .doc = "y_t = 2 Re sum_n c_n x_t[n] + skip u_t, x_t = dA x_{t-1} + dB u_t",
    .is_mixer = false,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_s4_scan_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
