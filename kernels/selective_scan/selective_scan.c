/* selective_scan: the recurrence of Mamba, one state vector per channel, decays set by the input.
 *
 *   d_t  = softplus(delta_t + delta_bias)                       (softplus(x) = x above 20)
 *   h_t  = exp(d_t A) h_{t-1} + d_t B_t u_t       h_{-1} = 0;  N values a batch row and channel
 *   y_t  = (C_t . h_t + D u_t) * silu(z_t)
 *
 * Source    Gu, Dao: Mamba (2312.00752), eq. 2a-2b with A by zero-order hold and B by Euler's rule,
 *           as in the authors' program; algorithm 2
 * Symbols   B: batch;  L: sequence length;  D: channels;  N: states of a channel;
 *           G: groups, channel d reads B and C of group d / (D / G)
 * in[0]     u      (B, L, D)     dtype      in[1]  delta       (B, L, D)     dtype
 * in[2]     A      (D, N)        f32, < 0   in[3]  B           (B, L, G, N)  dtype
 * in[4]     C      (B, L, G, N)  dtype      in[5]  D           (D)           f32, if skip
 * in[6]     z      (B, L, D)     dtype, if gate                in[7]  delta_bias  (D)  f32, if bias
 * out[0]    y      (B, L, D)     dtype      state accumulates in f32 (reference: f64)
 * Needs     D divisible by G
 * Errors    SQ_BAD_SHAPE; SQ_UNSUPPORTED for every pass but fwd
 * Cost      B L D (6 N + 1 + bias + 2 skip + 2 gate) flop, B L D (N + 2 softplus + 2 gate) special
 *           functions; reads u, delta, z, B, C and the parameters once, writes y once
 */
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>

#include "kernels/selective_scan/selective_scan.h"
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

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD)
        return sq_fail(err, SQ_UNSUPPORTED, "selective_scan has no pass %s", sq_pass_name(pass));
    int64_t b = sq_axis_int(axis, AXIS_B), l = sq_axis_int(axis, AXIS_L);
    int64_t d = sq_axis_int(axis, AXIS_D), n = sq_axis_int(axis, AXIS_N);
    int64_t g = sq_axis_int(axis, AXIS_G);
    bool has_bias = axis[AXIS_BIAS] != 0, has_softplus = axis[AXIS_SOFTPLUS] != 0;
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    /* Every channel has decays of its own (not Mamba's -1..-N for all): a wrong channel index
     * shows. */
    const sq_draw decay = {SQ_DRAW_UNIFORM, -(float)n, -0.5f, 0};
    const sq_draw bias = has_softplus ? (sq_draw){SQ_DRAW_UNIFORM, -6.9f, -2.3f, 0}
                                      : (sq_draw){SQ_DRAW_UNIFORM, 0.0005f, 0.05f, 0};
    sq_draw delta = draw_delta(has_bias, has_softplus);
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_U] = (sq_tensor_spec){"u", dtype, 3, {b, l, d}, 1, normal};
    list->in[IN_DELTA] = (sq_tensor_spec){"delta", dtype, 3, {b, l, d}, 1, delta};
    list->in[IN_A] = (sq_tensor_spec){"A", SQ_DTYPE_F32, 2, {d, n}, -1, decay};
    list->in[IN_B] = (sq_tensor_spec){"B", dtype, 4, {b, l, g, n}, 1, normal};
    list->in[IN_C] = (sq_tensor_spec){"C", dtype, 4, {b, l, g, n}, 1, normal};
    if (axis[AXIS_SKIP] != 0)
        list->in[IN_SKIP] = (sq_tensor_spec){"D", SQ_DTYPE_F32, 1, {d}, -1, normal};
    if (axis[AXIS_GATE] != 0)
        list->in[IN_Z] = (sq_tensor_spec){"z", dtype, 3, {b, l, d}, 1, normal};
    if (has_bias)
        list->in[IN_BIAS] = (sq_tensor_spec){"delta_bias", SQ_DTYPE_F32, 1, {d}, -1, bias};
    list->out[0] = (sq_tensor_spec){"y", dtype, 3, {b, l, d}, 1, {0}};
    return SQ_OK;
}

/* Per state: d A, (d u) B, h = a h + x (2), y += C h (2), and the exp, which is special. Per
 * element: d u, bias, skip (2), gate (2: products with z and y); special are softplus' exp and log
 * and sigmoid's exp and reciprocal. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    double tokens = axis[AXIS_B] * axis[AXIS_L], d = axis[AXIS_D], n = axis[AXIS_N];
    double size = (double)sq_dtype_size(dtype), gate = axis[AXIS_GATE], skip = axis[AXIS_SKIP];
    double bias = axis[AXIS_BIAS], softplus = axis[AXIS_SOFTPLUS];
    double parameters = 4 * d * (n + skip + bias);
    return (sq_cost){
        .flops = tokens * d * (6 * n + 1 + bias + 2 * skip + 2 * gate),
        .special = tokens * d * (n + 2 * softplus + 2 * gate),
        .bytes_read = size * tokens * (d * (2 + gate) + 2 * n * axis[AXIS_G]) + parameters,
        .bytes_written = size * tokens * d,
    };
}

/* f32: every step multiplies the state by a decay that is off by a few ulp (ex2.approx: 2^-22.5,
 * its argument: 2^-24); after the memory of 1/(1-a) <= 2000 steps these add up as a random walk to
 * sqrt(2000) * 2e-7 = 1e-5 at worst and far less for most states.
 * 16 bit: inputs are exact, so only the rounding of y remains: at most 2^-8 (bf16) or 2^-11 (f16)
 * of every element, the largest of which are D u silu(z), a product of three normals: 60 rms. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)axis;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 2e-5, .max_abs = 3e-4};
    if (dtype == SQ_DTYPE_F16)
        return (sq_tolerance){.rel_l2 = 5e-4, .max_abs = 0.03};
    return (sq_tolerance){.rel_l2 = 4e-3, .max_abs = 0.25};
}

/* --- reference --- */

static const char *at(const sq_tensor *t, int64_t offset)
{
    return (const char *)t->data + offset * (int64_t)sq_dtype_size(t->dtype);
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
static double step_state(const sq_call *call, int64_t b, int64_t t, int64_t d, double delta,
                         double input, double *h)
{
    const sq_tensor *a = &call->in[IN_A], *bt = &call->in[IN_B], *ct = &call->in[IN_C];
    int64_t g = d / (call->in[IN_U].dim[2] / bt->dim[2]);
    const char *a_d = at(a, d * a->stride[0]);
    const char *b_t = at(bt, b * bt->stride[0] + t * bt->stride[1] + g * bt->stride[2]);
    const char *c_t = at(ct, b * ct->stride[0] + t * ct->stride[1] + g * ct->stride[2]);
    double y = 0;
    for (int64_t n = 0; n < a->dim[1]; n++) {
        double decay = exp(delta * sq_load(a_d, a->dtype, n * a->stride[1]));
        h[n] = decay * h[n] + delta * sq_load(b_t, bt->dtype, n * bt->stride[3]) * input;
        y += sq_load(c_t, ct->dtype, n * ct->stride[3]) * h[n];
    }
    return y;
}

static void scan_channel(const sq_call *call, int64_t b, int64_t d)
{
    const sq_tensor *u = &call->in[IN_U], *y = &call->out[0];
    double h[MAX_STATES] = {0};
    for (int64_t t = 0; t < u->dim[1]; t++) {
        double input = sq_load3(u, b, t, d);
        double value = step_state(call, b, t, d, step_size(call, b, t, d), input, h);
        if (call->in[IN_SKIP].data)
            value += sq_load1(&call->in[IN_SKIP], d) * input;
        if (call->in[IN_Z].data) {
            double z = sq_load3(&call->in[IN_Z], b, t, d);
            value *= z / (1 + exp(-z));
        }
        sq_store(y->data, y->dtype, b * y->stride[0] + t * y->stride[1] + d * y->stride[2], value);
    }
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    (void)err;
    int64_t batch = call->in[IN_U].dim[0], channels = call->in[IN_U].dim[2];
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t d = 0; d < channels; d++)
            scan_channel(call, b, d);
    return SQ_OK;
}

/* An exp or log costs about ten multiply-adds. */
static double reference_work(const sq_axis_value *axis)
{
    return axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_D] * (13 * axis[AXIS_N] + 30);
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
    static const struct {
        int index, batch_dim, channel_dim, group_dim;
    } cuts[] = {
        {IN_U, 0, 2, -1}, {IN_DELTA, 0, 2, -1}, {IN_A, -1, 0, -1}, {IN_B, 0, -1, 2},
        {IN_C, 0, -1, 2}, {IN_SKIP, -1, 0, -1}, {IN_Z, 0, 2, -1},  {IN_BIAS, -1, 0, -1},
    };
    for (int i = 0; i < IN_COUNT; i++) {
        sq_tensor *t = &sub->in[cuts[i].index];
        if (t->rank == 0)
            continue;
        if (cuts[i].batch_dim >= 0)
            *t = sq_tensor_slice(t, cuts[i].batch_dim, b, 1);
        if (cuts[i].channel_dim >= 0)
            *t = sq_tensor_slice(t, cuts[i].channel_dim, d, count);
        if (cuts[i].group_dim >= 0)
            *t = sq_tensor_slice(t, cuts[i].group_dim, g, 1);
    }
    sq_tensor y = sq_tensor_slice(&sub->out[0], 0, b, 1);
    sub->out[0] = sq_tensor_slice(&y, 2, d, count);
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
    "B=1,L=97,D=66,N=12,G=3",
    "B=1,L=70,D=32,N=64",
    "B=1,L=40,D=24,N=256,G=2",
    "B=1,L=4099,D=64,N=16",
    "B=1,L=2500,D=72,N=32",
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
