/* ssd: the state-space dual recurrence of Mamba-2, one matrix state per head, one decay a step.
 *
 *   d_t = softplus(dt_t + dt_bias)                         (softplus(x) = x above 20)
 *   S_t = exp(d_t A) S_{t-1} + d_t x_t B_t^T               S_{-1} = 0, a (P, N) matrix
 *   y_t = S_t C_t + D x_t                                  per batch row and head
 *
 * Source    Dao, Gu: Transformers are SSMs (2405.21060), eq. 1-2 with a scalar A per head
 *           (section 2.4); the chunkwise algorithm of section 6 (listing 1)
 * Symbols   B: batch;  L: sequence length;  H: heads;  P: head dim;  N: states;
 *           G: groups, head h reads B and C of group h / (H / G);  Q: chunk
 * in[0]     x   (B, L, H, P)  dtype         in[1]  dt       (B, L, H)     dtype
 * in[2]     A   (H)           f32, < 0      in[3]  B        (B, L, G, N)  dtype
 * in[4]     C   (B, L, G, N)  dtype         in[5]  D        (H)           f32, if skip
 * in[6]     dt_bias  (H)      f32, if bias
 * out[0]    y   (B, L, H, P)  dtype         state accumulates in f32 (reference: f64)
 * Needs     H divisible by G
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for every pass but fwd
 * Cost      4 B L H P N + (small) flop: the recurrence without its chunks, see cost(); reads x, dt,
 *           B, C once, writes y once
 */
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>

#include "kernels/ssd/ssd.h"
#include "kernels/shared/decay_scan.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 64, 1, 4096, NULL},
    {"P", "head-dim", "channels of a head", SQ_AXIS_INT, 64, 1, 4096, NULL},
    {"N", "state", "states of a channel", SQ_AXIS_INT, 128, 1, 4096, NULL},
    {"G", "groups", "groups that share B and C", SQ_AXIS_INT, 1, 1, 4096, NULL},
    {"bias", "bias", "1: dt_bias is added to dt", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"softplus", "softplus", "1: softplus makes dt positive", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"skip", "skip", "1: D x is added", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"chunk", "chunk", "steps of a chunk; 0: as the provider likes", SQ_AXIS_INT, 0, 0, 65536,
     NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    int64_t h = sq_axis_int(axis, AXIS_H), g = sq_axis_int(axis, AXIS_G);
    if (h % g != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "H=%lld heads do not divide into G=%lld groups",
                       (long long)h, (long long)g);
    return SQ_OK;
}

/* Mamba-2 expands the model twice and cuts it into heads of 64. */
static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    if (width < 32 || width % 32 != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "width %lld: 2 width is not a multiple of P=64",
                       (long long)width);
    axis[AXIS_H] = (double)(2 * width / 64);
    axis[AXIS_P] = 64;
    axis[AXIS_N] = 128;
    axis[AXIS_G] = 1;
    return SQ_OK;
}

/* With softplus and bias, or without softplus, steps lie in about [1e-3, 1e-1], the range that
 * Mamba-2 initialises. Softplus without bias gives steps near 0.7: decays down to e^-20 a step. */
static sq_draw draw_dt(bool has_softplus)
{
    return has_softplus ? (sq_draw){SQ_DRAW_NORMAL, 0.0f, 0.5f, 0}
                        : (sq_draw){SQ_DRAW_UNIFORM, 0.001f, 0.1f, 0};
}

static sq_draw draw_bias(bool has_softplus)
{
    return has_softplus ? (sq_draw){SQ_DRAW_UNIFORM, -6.9f, -2.2f, 0}
                        : (sq_draw){SQ_DRAW_UNIFORM, 0.0005f, 0.05f, 0};
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "ssd has no pass %s", sq_pass_name(pass));
    int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    int64_t h = sq_axis_int(axis, AXIS_H), p = sq_axis_int(axis, AXIS_P);
    int64_t n = sq_axis_int(axis, AXIS_N), g = sq_axis_int(axis, AXIS_G);
    bool has_softplus = axis[AXIS_SOFTPLUS] != 0;
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw decay = {SQ_DRAW_UNIFORM, -16.0f, -1.0f, 0};
    sq_draw dt = draw_dt(has_softplus), bias = draw_bias(has_softplus);
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_X] = (sq_tensor_spec){"x", dtype, 4, {b, l, h, p}, 1, normal};
    list->in[IN_DT] = (sq_tensor_spec){"dt", dtype, 3, {b, l, h}, 1, dt};
    list->in[IN_A] = (sq_tensor_spec){"A", SQ_DTYPE_F32, 1, {h}, -1, decay};
    list->in[IN_B] = (sq_tensor_spec){"B", dtype, 4, {b, l, g, n}, 1, normal};
    list->in[IN_C] = (sq_tensor_spec){"C", dtype, 4, {b, l, g, n}, 1, normal};
    if (axis[AXIS_SKIP] != 0)
        list->in[IN_D] = (sq_tensor_spec){"D", SQ_DTYPE_F32, 1, {h}, -1, normal};
    if (axis[AXIS_BIAS] != 0)
        list->in[IN_BIAS] = (sq_tensor_spec){"dt_bias", SQ_DTYPE_F32, 1, {h}, -1, bias};
    list->out[0] = (sq_tensor_spec){"y", dtype, 4, {b, l, h, p}, 1, {0}};
    return SQ_OK;
}

/* Two multiply-adds per state element and step (update, read-out), both matrix products in the
 * chunkwise form. That is the limit of small chunks: the T (H P + G N) Q flop of the products
 * inside chunks of Q, and the decay of S at every step of the plain recurrence, are each avoidable
 * by the other form, so neither is compulsory. The rest: d_t x_t; D x_t; d_t A and the bias. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    double tokens = axis[AXIS_B] * axis[AXIS_L], h = axis[AXIS_H], p = axis[AXIS_P];
    double n = axis[AXIS_N], g = axis[AXIS_G], size = (double)sq_dtype_size(dtype);
    double bias = axis[AXIS_BIAS], skip = axis[AXIS_SKIP], softplus = axis[AXIS_SOFTPLUS];
    double matrix = 4 * tokens * h * p * n;
    return (sq_cost){
        .flops = matrix + tokens * h * (p * (1 + 2 * skip) + 1 + bias),
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : matrix,
        .special = tokens * h * (1 + 2 * softplus),
        .bytes_read = size * tokens * (h * p + h + 2 * g * n) + 4 * h * (1 + skip + bias),
        .bytes_written = size * tokens * h * p,
    };
}

/* f32: a step's decay is off by a few 2^-23 (its argument and ex2.approx), sums of logarithms over
 * a chunk by 2^-24 of a sum that is large only where the decay has made the term small; both add up
 * as a random walk over a memory of at most 1/(1 - a) = 1000 steps: below 1e-5.
 *
 * bf16: rounding of y is 1.7e-3 rms. A chunkwise provider also rounds the weighted scores (1.7e-3
 * of the part from inside the chunk), or the state and the weighted keys (2.4e-3 of the part
 * carried in), independently per element: sqrt(1.7^2 + 2.4^2) = 2.9e-3 for many steps; a single
 * step's one rounded score is off by up to 2^-9 for its whole row: with y's rounding 4.3e-3 at
 * worst. Single elements: 5 such deviations of a |y| of up to 10 rms. f16 has 3 bits more. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 2e-4};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.02};
    return (sq_tolerance){.rel_l2 = 4.5e-3, .max_abs = 0.15};
}

/* --- reference --- */

static double of_head(const sq_tensor *t, int64_t h)
{
    return t->data ? sq_load(t->data, t->dtype, h * t->stride[0]) : 0;
}

sq_scan_gate sq_ssd_gate(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    const sq_tensor *dt = &call->in[IN_DT];
    double step =
        sq_load(dt->data, dt->dtype, b * dt->stride[0] + t * dt->stride[1] + h * dt->stride[2]);
    step += of_head(&call->in[IN_BIAS], h);
    if (call->axis[AXIS_SOFTPLUS] != 0 && step <= 20)
        step = log1p(exp(step));
    return (sq_scan_gate){.log_decay = step * of_head(&call->in[IN_A], h), .weight = step};
}

double sq_ssd_skip(const sq_call *call, int64_t h)
{
    return of_head(&call->in[IN_D], h);
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    sq_decay_scan scan = {.q = &call->in[IN_C],
                          .k = &call->in[IN_B],
                          .v = &call->in[IN_X],
                          .o = &call->out[0],
                          .scale = 1,
                          .gate = sq_ssd_gate,
                          .skip = sq_ssd_skip};
    scan.chunk = sq_axis_int(call->axis, AXIS_CHUNK);
    return sq_decay_scan_reference(call, &scan, err);
}

static double reference_work(const sq_axis_value *axis)
{
    return sq_decay_scan_work(axis[AXIS_B], axis[AXIS_L], axis[AXIS_H], axis[AXIS_N], axis[AXIS_P],
                              axis[AXIS_CHUNK]);
}

/* One batch row and head, all steps, as many columns of the head as the work allows (at least one).
 */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    int64_t heads = sq_axis_int(axis, AXIS_H), channels = sq_axis_int(axis, AXIS_P);
    int64_t per_group = heads / sq_axis_int(axis, AXIS_G);
    *sub = *whole;
    sub->axis[AXIS_B] = sub->axis[AXIS_H] = sub->axis[AXIS_G] = 1;
    int64_t count = sq_decay_scan_columns(axis[AXIS_L], axis[AXIS_N], channels, axis[AXIS_CHUNK],
                                          pick.max_work);
    sub->axis[AXIS_P] = (double)count;
    int64_t b = sq_pick_start(pick, 0, sq_axis_int(axis, AXIS_B), 1);
    int64_t h = sq_pick_start(pick, 1, heads, 1);
    int64_t p = sq_pick_start(pick, 2, channels, count);
    static const struct {
        int batch_dim, head_dim;
    } cuts[IN_COUNT] = {
        [IN_X] = {0, 2}, [IN_DT] = {0, 2}, [IN_A] = {-1, 0},    [IN_B] = {0, 2},
        [IN_C] = {0, 2}, [IN_D] = {-1, 0}, [IN_BIAS] = {-1, 0},
    };
    for (int i = 0; i < IN_COUNT; i++) {
        sq_tensor *t = &sub->in[i];
        if (t->rank == 0)
            continue;
        if (cuts[i].batch_dim >= 0)
            *t = sq_tensor_slice(t, cuts[i].batch_dim, b, 1);
        *t = sq_tensor_slice(t, cuts[i].head_dim, i == IN_B || i == IN_C ? h / per_group : h, 1);
    }
    sub->in[IN_X] = sq_tensor_slice(&sub->in[IN_X], 3, p, count);
    sq_tensor y = sq_tensor_slice(&sub->out[0], 0, b, 1);
    y = sq_tensor_slice(&y, 2, h, 1);
    sub->out[0] = sq_tensor_slice(&y, 3, p, count);
    snprintf(what, size, "b=%lld h=%lld p=%lld..%lld", (long long)b, (long long)h, (long long)p,
             (long long)(p + count));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,H=4,P=8,N=16",
    "B=1,L=2,H=1,P=3,N=5",
    "B=3,L=7,H=2,P=8,N=8",
    "B=1,L=63,H=2,P=64,N=64",
    "B=1,L=64,H=2,P=64,N=128",
    "B=2,L=65,H=4,P=16,N=128,G=2",
    "B=2,L=127,H=6,P=64,N=128,G=3",
    "B=1,L=257,H=2,P=72,N=256",
    "B=1,L=191,H=2,P=136,N=40,skip=0",
    "B=2,L=131,H=3,P=24,N=16,bias=0",
    "B=2,L=300,H=2,P=64,N=128,bias=0",
    "B=1,L=200,H=4,P=64,N=64,softplus=0",
    "B=1,L=75,H=2,P=32,N=24,softplus=0,bias=0,skip=0",
    "B=1,L=130,H=2,P=16,N=16,chunk=64",
    "B=1,L=97,H=2,P=8,N=8,chunk=16",
    "B=1,L=97,H=2,P=20,N=12,chunk=256",
    "B=1,L=600,H=2,P=64,N=256",
    "B=1,L=2053,H=4,P=64,N=128",
    "B=1,L=4096,H=2,P=64,N=128,bias=0",
    NULL,
};

const sq_op sq_op_ssd = {
    .name = "ssd",
    .source = "Dao, Gu: Transformers are SSMs (Mamba-2), arXiv 2405.21060, eq. 1-2, section 6",
    .doc = "S_t = exp(d_t A) S_{t-1} + d_t x_t B_t^T; y_t = S_t C_t + D x_t",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_ssd_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
