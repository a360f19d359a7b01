/* selective_scan: the recurrence of Mamba, one state vector per channel, decays set by the input.
 *
 *   d_t  = softplus(delta_t + delta_bias)                       (softplus(x) = x above 20)
 *   h_t  = exp(d_t A) h_{t-1} + d_t B_t u_t       N values a batch row and channel
 *   y_t  = (C_t . h_t + D u_t) * silu(z_t)
 *   h_{-1} = initial_state, or 0;  final_state = h_{L-1}
 *
 * Source    Gu, Dao: Mamba (2312.00752), eq. 2a-2b with A by zero-order hold and B by Euler's rule,
 *           as in the authors' program; algorithm 2
 * Symbols   B: batch;  L: sequence length;  D: channels;  N: states of a channel;
 *           G: groups, channel d reads B and C of group d / (D / G)
 * in[0]     u      (B, L, D)     dtype      in[1]  delta       (B, L, D)     dtype
 * in[2]     A      (D, N)        f32, < 0   in[3]  B           (B, L, G, N)  dtype
 * in[4]     C      (B, L, G, N)  dtype      in[5]  D           (D)           f32, if skip
 * in[6]     z      (B, L, D)     dtype, if gate                in[7]  delta_bias  (D)  f32, if bias
 * in[8]     initial_state  (B, D, N)  f32, if initial
 *           with constB, constC: B, C are constant in time, (D, N) f32, of each channel
 * out[0]    y      (B, L, D)     dtype      state accumulates in f32 (reference: f64)
 * out[1]    final_state    (B, D, N)  f32, if final
 * Needs     D divisible by G
 * Errors    SQ_BAD_SHAPE
 * Cost      fwd: B L D (6 N + 1 + bias + 2 skip + 2 gate) flop, B L D (N + 2 softplus + 2 gate)
 *           special functions; reads u, delta, z, B, C, the state and the parameters once, writes y
 *           and the state once. step: the same at L = 1
 *           bwd: B L D (18 N + 4 + 2 bias + softplus + 4 skip + gate (2 N + 8 + 2 skip)) flop (the
 *           states are made once more), the same special functions and one more of softplus; reads
 *           the inputs, dy and the gradient of the final state once, writes every gradient once
 */
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>

#include "kernels/selective_scan/selective_scan.h"
#include "kernels/shared/function_cost.h"
#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { MAX_STATES = 256 };

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 4096, 1, 1 << 18, NULL},
    {"N", "state", "states of a channel", SQ_AXIS_INT, 16, 1, MAX_STATES, NULL},
    {"G", "groups", "groups that share B and C", SQ_AXIS_INT, 1, 1, 1 << 18, NULL},
    {"bias", "bias", "1: delta_bias is added to delta", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"softplus", "softplus", "1: softplus makes delta positive", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"skip", "skip", "1: D u is added", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"gate", "gate", "1: y is multiplied by silu(z)", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"constB", "const-b", "1: B is constant in time", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"constC", "const-c", "1: C is constant in time", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"initial", "initial", "1: the scan goes on from an earlier state", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"final", "final", "1: the last state is handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    int64_t d = sq_axis_int(axis, AXIS_D), g = sq_axis_int(axis, AXIS_G);
    if (d % g != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "D=%lld channels do not divide into G=%lld groups",
                       (long long)d, (long long)g);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    (void)err;
    axis[AXIS_D] = (double)(2 * width);
    axis[AXIS_N] = 16;
    return SQ_OK;
}

/* How delta is drawn, so that the step d_t lies in about [1e-3, 1e-1] (the range that Mamba
 * initialises) for every combination of bias and softplus. */
static sq_draw draw_delta(bool has_bias, bool has_softplus)
{
    if (has_softplus && has_bias)
        return (sq_draw){SQ_DRAW_NORMAL, 0.0f, 0.5f, 0};
    if (has_softplus)
        return (sq_draw){SQ_DRAW_UNIFORM, -6.9f, -2.3f, 0};
    if (has_bias)
        return (sq_draw){SQ_DRAW_UNIFORM, 0.0005f, 0.05f, 0};
    return (sq_draw){SQ_DRAW_UNIFORM, 0.001f, 0.1f, 0};
}

/* B or C. */
static sq_tensor_spec projection_spec(const char *name, bool is_constant, sq_dtype dtype, int64_t l,
                                      const sq_axis_value *axis)
{
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    int64_t b = sq_axis_int(axis, AXIS_B), d = sq_axis_int(axis, AXIS_D);
    int64_t n = sq_axis_int(axis, AXIS_N), g = sq_axis_int(axis, AXIS_G);
    if (is_constant)
        return (sq_tensor_spec){name, SQ_DTYPE_F32, 2, {d, n}, -1, normal};
    return (sq_tensor_spec){name, dtype, 4, {b, l, g, n}, 1, normal};
}

/* D and delta_bias. */
static void channel_specs(const sq_axis_value *axis, sq_tensor_list *list)
{
    const int64_t d = sq_axis_int(axis, AXIS_D);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw bias = axis[AXIS_SOFTPLUS] != 0 ? (sq_draw){SQ_DRAW_UNIFORM, -6.9f, -2.3f, 0}
                                                  : (sq_draw){SQ_DRAW_UNIFORM, 0.0005f, 0.05f, 0};
    if (axis[AXIS_SKIP] != 0)
        list->in[IN_SKIP] = (sq_tensor_spec){"D", SQ_DTYPE_F32, 1, {d}, -1, normal};
    if (axis[AXIS_BIAS] != 0)
        list->in[IN_BIAS] = (sq_tensor_spec){"delta_bias", SQ_DTYPE_F32, 1, {d}, -1, bias};
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const bool is_step = pass == SQ_PASS_STEP;
    int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    int64_t d = sq_axis_int(axis, AXIS_D), n = sq_axis_int(axis, AXIS_N);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    /* Every channel has decays of its own (not Mamba's -1..-N for all): a wrong channel index
     * shows. */
    const sq_draw decay = {SQ_DRAW_UNIFORM, -(float)n, -0.5f, 0};
    sq_draw delta = draw_delta(axis[AXIS_BIAS] != 0, axis[AXIS_SOFTPLUS] != 0);
    const bool has_final = is_step || axis[AXIS_FINAL] != 0;
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = OUT_COUNT};
    list->in[IN_U] = (sq_tensor_spec){"u", dtype, 3, {b, l, d}, 1, normal};
    list->in[IN_DELTA] = (sq_tensor_spec){"delta", dtype, 3, {b, l, d}, 1, delta};
    list->in[IN_A] = (sq_tensor_spec){"A", SQ_DTYPE_F32, 2, {d, n}, -1, decay};
    list->in[IN_B] = projection_spec("B", axis[AXIS_CONST_B] != 0, dtype, l, axis);
    list->in[IN_C] = projection_spec("C", axis[AXIS_CONST_C] != 0, dtype, l, axis);
    channel_specs(axis, list);
    if (axis[AXIS_GATE] != 0)
        list->in[IN_Z] = (sq_tensor_spec){"z", dtype, 3, {b, l, d}, 1, normal};
    if (is_step || axis[AXIS_INITIAL] != 0)
        list->in[IN_INITIAL] =
            (sq_tensor_spec){"initial_state", SQ_DTYPE_F32, 3, {b, d, n}, -1, normal};
    list->out[OUT_Y] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    if (has_final)
        list->out[OUT_FINAL] = (sq_tensor_spec){"final_state", SQ_DTYPE_F32, 3, {b, d, n}, -1, {0}};
    return SQ_OK;
}

/* Elements of B and C that the axes make, in dtype or, constant in time, in f32. */
static double projection_bytes(double size, double tokens, const sq_axis_value *axis)
{
    double constant = axis[AXIS_CONST_B] + axis[AXIS_CONST_C], n = axis[AXIS_N];
    return (2 - constant) * size * tokens * n * axis[AXIS_G] + constant * 4 * axis[AXIS_D] * n;
}

/* Per state: d A, (d u) B, h = a h + x (2), y += C h (2), and the exp, which is special. Per
 * element: d u, bias, skip (2), gate (2: products with z and y); special are softplus' exp and log
 * and sigmoid's exp and reciprocal.
 * bwd, per state: d A, (d u) B, h (2) once more; g = e C + carried (2), carried = a g, dB += g x
 * (2), dC += e h (2), s = g . B (2), p = carried h, A . p (2), dA += d p (2). Per element: d u, d s,
 * dd = A . p + u s (2); the bias and its gradient; softplus' slope; skip: e D and dD (4); gate:
 * silu(z), e, y = C . h + D u (2, 2), dz, a product of three with silu' (4). */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_bwd = pass == SQ_PASS_BWD, is_step = pass == SQ_PASS_STEP;
    double tokens = axis[AXIS_B] * (is_step ? 1 : axis[AXIS_L]), d = axis[AXIS_D];
    double size = (double)sq_dtype_size(dtype), n = axis[AXIS_N], gate = axis[AXIS_GATE];
    double bias = axis[AXIS_BIAS], softplus = axis[AXIS_SOFTPLUS], skip = axis[AXIS_SKIP];
    double inputs = size * tokens * d * (2 + gate) + projection_bytes(size, tokens, axis) +
                    4 * d * (n + skip + bias);
    double state = 4 * axis[AXIS_B] * d * n;
    double initial = is_step ? state : state * axis[AXIS_INITIAL];
    double final = is_step ? state : state * axis[AXIS_FINAL];
    double of_gate = 2 * n + 2 * skip + SQ_SILU_FLOPS + 1 + SQ_SILU_SLOPE_FLOPS + 2;
    if (is_bwd)
        return (sq_cost){
            .flops = tokens * d * (18 * n + 4 + 2 * bias + softplus + 4 * skip + gate * of_gate),
            .special = tokens * d *
                       (n + (SQ_SOFTPLUS_SPECIAL + SQ_SOFTPLUS_SLOPE_SPECIAL) * softplus +
                        SQ_SILU_SPECIAL * gate),
            .bytes_read = inputs + size * tokens * d + initial + final,
            .bytes_written = inputs + initial,
        };
    return (sq_cost){
        .flops = tokens * d * (6 * n + 1 + bias + 2 * skip + (SQ_SILU_FLOPS + 1) * gate),
        .special = tokens * d * (n + SQ_SOFTPLUS_SPECIAL * softplus + SQ_SILU_SPECIAL * gate),
        .bytes_read = inputs + initial,
        .bytes_written = size * tokens * d + final,
    };
}

/* f32: every step multiplies the state by a decay that is off by a few ulp (ex2.approx: 2^-22.5,
 * its argument: 2^-24); after the memory of 1/(1-a) <= 2000 steps these add up as a random walk to
 * sqrt(2000) * 2e-7 = 1e-5 at worst and far less for most states.
 * 16 bit: inputs are exact, so only the rounding of the results remains: at most 2^-8 (bf16) or
 * 2^-11 (f16) of every element, the largest of which are D u silu(z), a product of three normals:
 * 60 rms. bwd: the same errors, of the states and of the gradients that run back; sums over steps
 * and channels gain more than their roundings do. Products of up to five normals: 250 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    const double largest = pass == SQ_PASS_BWD ? 4 : 1;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 3e-4 * largest};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.03 * largest};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.25 * largest};
}

/* --- reference --- */

sq_tensor sq_selective_scan_projection(const sq_call *call, const sq_tensor *t)
{
    const sq_tensor *u = &call->in[IN_U];
    if (t->rank != 2)
        return *t;
    return (sq_tensor){.data = t->data,
                       .dtype = t->dtype,
                       .rank = 4,
                       .dim = {u->dim[0], u->dim[1], t->dim[0], t->dim[1]},
                       .stride = {0, 0, t->stride[0], t->stride[1]}};
}

/* b, c: B and C as (B, L, groups, N). */
typedef struct {
    const sq_call *call;
    sq_tensor b, c;
} scan;

/* Row (b, t) of a projection for channel d: N values, stride[3] apart. */
static const char *row_of(const scan *s, const sq_tensor *projection, int64_t b, int64_t t,
                          int64_t d)
{
    const int64_t g = d / (s->call->in[IN_U].dim[2] / projection->dim[2]);
    return (const char *)projection->data +
           sq_offset3(projection, b, t, g) * (int64_t)sq_dtype_size(projection->dtype);
}

static double step_size(const sq_call *call, int64_t b, int64_t t, int64_t d)
{
    double delta = sq_load3(&call->in[IN_DELTA], b, t, d);
    if (call->in[IN_BIAS].data)
        delta += sq_load1(&call->in[IN_BIAS], d);
    if (call->axis[AXIS_SOFTPLUS] != 0 && delta <= 20)
        delta = log1p(exp(delta));
    return delta;
}

/* One step of one channel: updates h, returns C . h. */
static double step_state(const scan *s, int64_t b, int64_t t, int64_t d, double input, double *h)
{
    const sq_tensor *a = &s->call->in[IN_A];
    const char *b_t = row_of(s, &s->b, b, t, d), *c_t = row_of(s, &s->c, b, t, d);
    const double delta = step_size(s->call, b, t, d);
    double y = 0;
    input = sq_named_factor(delta, input);
    for (int64_t n = 0; n < a->dim[1]; n++) {
        double decay = exp(delta * sq_load3(a, d, n, 0));
        h[n] = decay * h[n] + delta * sq_load(b_t, s->b.dtype, n * s->b.stride[3]) * input;
        y += sq_load(c_t, s->c.dtype, n * s->c.stride[3]) * h[n];
    }
    return y;
}

static void scan_channel(const scan *s, int64_t b, int64_t d)
{
    const sq_call *call = s->call;
    const sq_tensor *u = &call->in[IN_U], *initial = &call->in[IN_INITIAL];
    const sq_tensor *final = &call->out[OUT_FINAL];
    const int64_t states = call->in[IN_A].dim[1];
    double h[MAX_STATES] = {0};
    for (int64_t n = 0; initial->data && n < states; n++)
        h[n] = sq_load3(initial, b, d, n);
    for (int64_t t = 0; t < u->dim[1]; t++) {
        double input = sq_load3(u, b, t, d);
        double value = step_state(s, b, t, d, input, h);
        if (call->in[IN_SKIP].data)
            value += sq_load1(&call->in[IN_SKIP], d) * input;
        if (call->in[IN_Z].data) {
            double z = sq_load3(&call->in[IN_Z], b, t, d);
            value = sq_named(value) * sq_named(z / (1 + exp(-z)));
        }
        sq_store3(&call->out[OUT_Y], b, t, d, value);
    }
    for (int64_t n = 0; final->data && n < states; n++)
        sq_store3(final, b, d, n, h[n]);
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    (void)err;
    int64_t batch = call->in[IN_U].dim[0], channels = call->in[IN_U].dim[2];
    const scan s = {call, sq_selective_scan_projection(call, &call->in[IN_B]),
                    sq_selective_scan_projection(call, &call->in[IN_C])};
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t d = 0; d < channels; d++)
            scan_channel(&s, b, d);
    return SQ_OK;
}

/* An exp or log costs about ten multiply-adds. */
static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_D] * (13 * axis[AXIS_N] + 30);
}

/* Which dim of a tensor counts batch rows, channels, groups; -1: none. */
typedef struct {
    int batch, channel, group;
} cut_dims;

static cut_dims input_dims(int i, const sq_tensor *t)
{
    const bool is_projection = i == IN_B || i == IN_C;
    if (is_projection && t->rank == 4)
        return (cut_dims){0, -1, 2};
    if (i == IN_A || i == IN_SKIP || i == IN_BIAS || is_projection)
        return (cut_dims){-1, 0, -1};
    return i == IN_INITIAL ? (cut_dims){0, 1, -1} : (cut_dims){0, 2, -1};
}

static void cut(sq_tensor *t, cut_dims dims, int64_t b, int64_t g, int64_t d, int64_t channels)
{
    if (t->rank == 0)
        return;
    if (dims.batch >= 0)
        *t = sq_tensor_slice(t, dims.batch, b, 1);
    if (dims.channel >= 0)
        *t = sq_tensor_slice(t, dims.channel, d, channels);
    if (dims.group >= 0)
        *t = sq_tensor_slice(t, dims.group, g, 1);
}

/* One batch row, all steps, some neighbouring channels of one group. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    int64_t per_group = sq_axis_int(axis, AXIS_D) / sq_axis_int(axis, AXIS_G);
    double channel_work = axis[AXIS_L] * (13 * axis[AXIS_N] + 30);
    int64_t count = (int64_t)fmax(1, fmin((double)per_group, pick.max_work / channel_work));
    int64_t b = sq_pick_start(pick, 0, sq_axis_int(axis, AXIS_B), 1);
    int64_t g = sq_pick_start(pick, 1, sq_axis_int(axis, AXIS_G), 1);
    int64_t d = g * per_group + sq_pick_start(pick, 2, per_group, count);
    *sub = *whole;
    sub->axis[AXIS_B] = sub->axis[AXIS_G] = 1;
    sub->axis[AXIS_D] = (double)count;
    for (int i = 0; i < IN_COUNT; i++)
        cut(&sub->in[i], input_dims(i, &whole->in[i]), b, g, d, count);
    for (int i = 0; i < OUT_COUNT; i++)
        cut(&sub->out[i], i == OUT_Y ? (cut_dims){0, 2, -1} : (cut_dims){0, 1, -1}, b, g, d, count);
    snprintf(what, size, "b=%lld d=%lld..%lld", (long long)b, (long long)d, (long long)(d + count));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,D=8,N=16",
    "B=1,L=2,D=3,N=5",
    "B=3,L=3,D=64,N=16",
    "B=2,L=127,D=96,N=16",
    "B=1,L=257,D=130,N=16,skip=0",
    "B=2,L=257,D=64,N=16,gate=0",
    "B=1,L=1000,D=33,N=5",
    "B=1,L=131,D=40,N=8,bias=0",
    "B=2,L=100,D=64,N=16,softplus=0",
    "B=1,L=75,D=64,N=16,softplus=0,bias=0,skip=0,gate=0",
    "B=2,L=130,D=64,N=16,G=2",
    "B=5,L=2,D=150,N=16,G=2",
    "B=1,L=97,D=66,N=12,G=3",
    "B=1,L=70,D=32,N=64",
    "B=1,L=40,D=24,N=256,G=2",
    "B=1,L=4099,D=64,N=16",
    "B=1,L=2500,D=72,N=32",
    "B=2,L=1,D=40,N=16,initial=1,final=1",
    "B=2,L=130,D=40,N=16,initial=1,final=1",
    "B=1,L=1030,D=24,N=5,initial=1,final=1,skip=0",
    "B=2,L=67,D=9,N=40,G=3,final=1,gate=0",
    "B=1,L=2600,D=40,N=16,initial=1",
    "B=1,L=29,D=6,N=5,initial=1,final=1",
    "B=2,L=9,D=4100,N=3,G=100,final=1",
    "B=80,L=35,D=24,N=16,initial=1,final=1",
    "B=67,L=3,D=68,N=16",
    "B=2,L=67,D=16,N=7,constB=1,constC=1,final=1",
    "B=1,L=33,D=12,N=16,G=2,constC=1,initial=1",
    "B=2,L=33,D=10,N=4,G=5,constB=1",
    "B=2,L=66,D=6,N=20,G=2,constB=1,final=1",
    "B=1,L=2900,D=7,N=3,initial=1,final=1",
    /* On CUDA: runs of two segments (36 blocks), a second turn of the carry (250 runs), one run of
     * whole blocks where there are enough of them. */
    "B=1,L=2030,D=36,N=3,G=36,initial=1,final=1",
    "B=3,L=2800,D=24,N=15,G=12",
    "B=1,L=40000,D=2,N=2",
    "B=2,L=40,D=1400,N=16,G=35",
    "B=140,L=70,D=35,N=5,gate=0,initial=1,final=1",
    NULL,
};

const sq_op sq_op_selective_scan = {
    .name = "selective_scan",
    .source = "Gu, Dao: Mamba, arXiv 2312.00752, eq. 2 and algorithm 2",
    .doc = "h_t = exp(d_t A) h_{t-1} + d_t B_t u_t; y_t = (C_t . h_t + D u_t) silu(z_t)",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_selective_scan_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
