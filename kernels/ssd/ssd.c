/* ssd: the state-space dual recurrence of Mamba-2, one matrix state per head, one decay a step.
 *
 *   d_t = limit(softplus(dt_t + dt_bias))                  (softplus(x) = x above 20)
 *   S_t = exp(d_t A) S_{t-1} + d_t B_t x_t^T               S_{-1} = initial_state, or 0
 *   y_t = (C_t^T S_t + D x_t) silu(z_t)                    per batch row and head; S is (N, P)
 *
 * limit(d) lies in [dtmin, dtmax]. Where seq_idx_t differs from seq_idx_{t-1} a document starts:
 * S_{t-1} counts as 0. final_state = S_{L-1}.
 *
 * Source    Dao, Gu: Transformers are SSMs (2405.21060), eq. 1-2 with a scalar A per head
 *           (section 2.4); the chunkwise algorithm of section 6 (listing 1)
 * Symbols   B: batch;  L: sequence length;  H: heads;  P: head dim;  N: states;
 *           G: groups, head h reads B and C of group h / (H / G);  Q: chunk
 * in[0]     x   (B, L, H, P)  dtype         in[1]  dt       (B, L, H)     dtype
 * in[2]     A   (H)           f32, < 0      in[3]  B        (B, L, G, N)  dtype
 * in[4]     C   (B, L, G, N)  dtype         in[5]  D        (H) or (H, P) f32, if skip
 * in[6]     dt_bias  (H)      f32, if bias  in[7]  z        (B, L, H, P)  dtype, if gate
 * in[8]     initial_state  (B, H, N, P)  f32, if initial
 * in[9]     seq_idx  (B, L)   i32, if documents
 * out[0]    y   (B, L, H, P)  dtype         state accumulates in f32 (reference: f64)
 * out[1]    final_state  (B, H, N, P)  f32, if final
 * Needs     H divisible by G; dtmin <= dtmax
 * Errors    SQ_BAD_SHAPE
 * Cost      4 B L H P N + (small) flop forward, 10 B L H P N backward (12 with a gate): the
 *           recurrence without its chunks, see cost(); reads x, dt, B, C once, writes y once
 */
#include "kernels/op.h"

#include <math.h>

#include "kernels/ssd/ssd.h"
#include "kernels/shared/function_cost.h"
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
    {"skip", "skip", "1: D x is added; 2: with a D for each channel", SQ_AXIS_INT, 1, 0, 2, NULL},
    {"chunk", "chunk", "steps of a chunk; 0: as the provider likes", SQ_AXIS_INT, 0, 0, 65536,
     NULL},
    {"gate", "gate", "1: y is gated by silu(z)", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"dtmin", "dt-min", "least step", SQ_AXIS_REAL, 0, 0, 1e6, NULL},
    {"dtmax", "dt-max", "largest step; 0: no limit", SQ_AXIS_REAL, 0, 0, 1e6, NULL},
    {"initial", "initial", "1: the state starts from a given one", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"final", "final", "1: the last state is handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"documents", "documents", "1: the state restarts where seq_idx changes", SQ_AXIS_INT, 0, 0, 1,
     NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    int64_t h = sq_axis_int(axis, AXIS_H), g = sq_axis_int(axis, AXIS_G);
    if (h % g != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "H=%lld heads do not divide into G=%lld groups",
                       (long long)h, (long long)g);
    if (axis[AXIS_DT_MAX] > 0 && axis[AXIS_DT_MAX] < axis[AXIS_DT_MIN])
        return sq_fail(err, SQ_BAD_SHAPE, "dtmax=%g is less than dtmin=%g", axis[AXIS_DT_MAX],
                       axis[AXIS_DT_MIN]);
    return SQ_OK;
}

static const sq_decay_cut cuts[IN_COUNT] = {
    [IN_X] = {0, 2, 3},         [IN_DT] = {0, 2, -1}, [IN_A] = {-1, 0, -1},
    [IN_B] = {0, 2, -1},        [IN_C] = {0, 2, -1},  [IN_D] = {-1, 0, 1},
    [IN_BIAS] = {-1, 0, -1},    [IN_Z] = {0, 2, 3},   [IN_INITIAL] = {0, 1, 3},
    [IN_SEQ_IDX] = {0, -1, -1},
};

const sq_decay_layout sq_ssd_layout = {
    .axis = {AXIS_G, AXIS_N, AXIS_P, -1, AXIS_CHUNK, AXIS_INITIAL, AXIS_FINAL},
    .in = {IN_C, IN_B, IN_X, IN_DT, IN_INITIAL, IN_COUNT},
    .cuts = cuts,
};

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

/* What only some calls have. */
static void optional_tensors(bool is_step, sq_dtype dtype, const sq_axis_value *axis,
                             sq_tensor_list *list)
{
    int64_t b = sq_axis_int(axis, AXIS_B), l = list->in[IN_X].dim[1], h = sq_axis_int(axis, AXIS_H);
    int64_t p = sq_axis_int(axis, AXIS_P), n = sq_axis_int(axis, AXIS_N);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw documents = {SQ_DRAW_STAIR, 0.0f, 1.0f, l / 3 + 1};
    if (axis[AXIS_SKIP] != SKIP_NONE)
        list->in[IN_D] = (sq_tensor_spec){
            "D", SQ_DTYPE_F32, axis[AXIS_SKIP] == SKIP_CHANNEL ? 2 : 1, {h, p}, -1, normal};
    if (axis[AXIS_BIAS] != 0)
        list->in[IN_BIAS] = (sq_tensor_spec){
            "dt_bias", SQ_DTYPE_F32, 1, {h}, -1, draw_bias(axis[AXIS_SOFTPLUS] != 0)};
    if (axis[AXIS_GATE] != 0)
        list->in[IN_Z] = (sq_tensor_spec){"z", dtype, 4, {b, l, h, p}, 1, normal};
    if (is_step || axis[AXIS_INITIAL] != 0)
        list->in[IN_INITIAL] =
            (sq_tensor_spec){"initial_state", SQ_DTYPE_F32, 4, {b, h, n, p}, -1, normal};
    if (!is_step && axis[AXIS_DOCUMENTS] != 0)
        list->in[IN_SEQ_IDX] = (sq_tensor_spec){"seq_idx", SQ_DTYPE_I32, 2, {b, l}, 1, documents};
    if (is_step || axis[AXIS_FINAL] != 0)
        list->out[SQ_DECAY_OUT_FINAL] =
            (sq_tensor_spec){"final_state", SQ_DTYPE_F32, 4, {b, h, n, p}, -1, {0}};
}

/* A step is a sequence of one token that goes on from a state and hands one on; a document that
 * starts with it is the caller's zero state. */
static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    if (pass != SQ_PASS_FWD && pass != SQ_PASS_STEP)
        return sq_fail(err, SQ_UNSUPPORTED, "ssd has no pass %s", sq_pass_name(pass));
    const bool is_step = pass == SQ_PASS_STEP;
    int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    int64_t h = sq_axis_int(axis, AXIS_H), p = sq_axis_int(axis, AXIS_P);
    int64_t n = sq_axis_int(axis, AXIS_N), g = sq_axis_int(axis, AXIS_G);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw decay = {SQ_DRAW_UNIFORM, -16.0f, -1.0f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = SQ_DECAY_OUT_COUNT};
    list->in[IN_X] = (sq_tensor_spec){"x", dtype, 4, {b, l, h, p}, 1, normal};
    list->in[IN_DT] =
        (sq_tensor_spec){"dt", dtype, 3, {b, l, h}, 1, draw_dt(axis[AXIS_SOFTPLUS] != 0)};
    list->in[IN_A] = (sq_tensor_spec){"A", SQ_DTYPE_F32, 1, {h}, -1, decay};
    list->in[IN_B] = (sq_tensor_spec){"B", dtype, 4, {b, l, g, n}, 1, normal};
    list->in[IN_C] = (sq_tensor_spec){"C", dtype, 4, {b, l, g, n}, 1, normal};
    list->out[SQ_DECAY_OUT_O] = (sq_tensor_spec){"y", dtype, 4, {b, l, h, p}, 1, {0}};
    optional_tensors(is_step, dtype, axis, list);
    return SQ_OK;
}

/* Beside the recurrence, for each head's step: the bias, softplus, d A, e^(d A); of each value d x,
 * D x, silu(z) and its product with y. */
static sq_cost forward_steps(const sq_axis_value *axis)
{
    const double skip = axis[AXIS_SKIP] != 0, gate = axis[AXIS_GATE];
    return (sq_cost){
        .flops = axis[AXIS_P] * (1 + 2 * skip + (SQ_SILU_FLOPS + 1) * gate) + axis[AXIS_BIAS] + 1,
        .special =
            1 + SQ_SOFTPLUS_SPECIAL * axis[AXIS_SOFTPLUS] + SQ_SILU_SPECIAL * gate * axis[AXIS_P],
    };
}

/* Backward: d, e^(d A) and d x again. Of each value w times dx, d_w (2), the skip's dx and dD (4);
 * with a gate e = dy silu(z), y once more (the product with C is the recurrence's, the skip 2), and
 * dz, a product of three. Of the decay q . dq and k . dk (2 N + 2); of d: A d(ln a) and dA (4),
 * softplus' slope, dbias. */
static sq_cost backward_steps(const sq_axis_value *axis)
{
    const double skip = axis[AXIS_SKIP] != 0, gate = axis[AXIS_GATE], bias = axis[AXIS_BIAS];
    const double softplus = axis[AXIS_SOFTPLUS];
    const double of_gate = SQ_SILU_FLOPS + 1 + 2 * skip + SQ_SILU_SLOPE_FLOPS + 2;
    return (sq_cost){
        .flops = axis[AXIS_P] * (4 + 4 * skip + of_gate * gate) + 2 * axis[AXIS_N] + 7 + 2 * bias +
                 softplus,
        .special = 1 + (SQ_SOFTPLUS_SPECIAL + SQ_SOFTPLUS_SLOPE_SPECIAL) * softplus +
                   SQ_SILU_SPECIAL * gate * axis[AXIS_P],
    };
}

/* The state times C, which dz needs, beside the five products of the recurrence; and <dfinal,
 * final_state>, where the gradient of the decays begins. */
static sq_cost backward_states(sq_dtype dtype, const sq_axis_value *axis)
{
    const double state = axis[AXIS_H] * axis[AXIS_N] * axis[AXIS_P];
    const double outputs = 2 * axis[AXIS_B] * axis[AXIS_L] * axis[AXIS_GATE] * state;
    return (sq_cost){
        .flops = outputs + 2 * axis[AXIS_B] * axis[AXIS_FINAL] * state,
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : outputs,
    };
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_step = pass == SQ_PASS_STEP, is_backward = pass == SQ_PASS_BWD;
    const double tokens = sq_op_tokens(pass, axis), h = axis[AXIS_H];
    const double p = axis[AXIS_P], size = (double)sq_dtype_size(dtype);
    const double bias = axis[AXIS_BIAS], skip = axis[AXIS_SKIP] != 0, gate = axis[AXIS_GATE];
    const double weights = h * (1 + bias + (axis[AXIS_SKIP] == SKIP_CHANNEL ? p : skip));
    sq_cost c = sq_decay_layout_cost(&sq_ssd_layout, pass, dtype, axis);
    const sq_cost steps = is_backward ? backward_steps(axis) : forward_steps(axis);
    c.flops += tokens * h * steps.flops;
    c.special = tokens * h * steps.special;
    c.bytes_read += size * tokens * h * (1 + gate * p) + 4 * weights +
                    (is_step ? 0 : 4 * tokens * axis[AXIS_DOCUMENTS]);
    if (is_backward) {
        const sq_cost states = backward_states(dtype, axis);
        c.flops += states.flops;
        c.matrix_flops += states.matrix_flops;
        c.bytes_written += size * tokens * h * (1 + gate * p) + 4 * weights;
    }
    return c;
}

/* f32: a step's decay is off by a few 2^-23 (its argument and ex2.approx), sums of logarithms over
 * a chunk by 2^-24 of a sum that is large only where the decay has made the term small; both add up
 * as a random walk over a memory of at most 1/(1 - a) = 1000 steps: below 1e-5.
 * 16 bit: sq_decay_scan_tolerance. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    return sq_decay_scan_tolerance(pass, dtype, axis[AXIS_GATE] != 0);
}

/* --- reference --- */

double sq_ssd_raw_step(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    const sq_tensor *bias = &call->in[IN_BIAS];
    return sq_load3(&call->in[IN_DT], b, t, h) + (bias->data ? sq_load1(bias, h) : 0);
}

double sq_ssd_softplus(const sq_call *call, double raw)
{
    return call->axis[AXIS_SOFTPLUS] != 0 && raw <= 20 ? log1p(exp(raw)) : raw;
}

double sq_ssd_limit(const sq_call *call, double step)
{
    const double most = call->axis[AXIS_DT_MAX];
    step = step < call->axis[AXIS_DT_MIN] ? call->axis[AXIS_DT_MIN] : step;
    return most > 0 && step > most ? most : step;
}

static bool starts_document(const sq_tensor *seq_idx, int64_t b, int64_t t)
{
    if (!seq_idx->data || t == 0)
        return false;
    const int64_t at = b * seq_idx->stride[0] + t * seq_idx->stride[1];
    return sq_load(seq_idx->data, seq_idx->dtype, at) !=
           sq_load(seq_idx->data, seq_idx->dtype, at - seq_idx->stride[1]);
}

static sq_scan_gate gate_of(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    const double step = sq_ssd_limit(call, sq_ssd_softplus(call, sq_ssd_raw_step(call, b, t, h)));
    return (sq_scan_gate){.log_decay = step * sq_load1(&call->in[IN_A], h),
                          .weight = step,
                          .is_start = starts_document(&call->in[IN_SEQ_IDX], b, t)};
}

static double skip_of(const sq_call *call, int64_t h, int64_t p)
{
    const sq_tensor *d = &call->in[IN_D];
    const int64_t column = d->rank == 2 ? p * d->stride[1] : 0;
    return d->data ? sq_load(d->data, d->dtype, h * d->stride[0] + column) : 0;
}

sq_decay_scan sq_ssd_scan(const sq_call *call)
{
    sq_decay_scan scan = sq_decay_scan_of(call, &sq_ssd_layout);
    scan.z = &call->in[IN_Z];
    scan.scale = 1;
    scan.gate = gate_of;
    scan.skip = skip_of;
    return scan;
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    return sq_decay_layout_reference(call, sq_ssd_scan(call), err);
}

static double reference_work(const sq_axis_value *axis)
{
    return sq_decay_layout_work(&sq_ssd_layout, axis);
}

static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    sq_decay_slice(&sq_ssd_layout, whole, pick, sub, what, size);
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
    "B=3,L=2880,H=4,P=8,N=16",
    "B=1,L=70,H=2,P=8,N=8,skip=2,gate=1",
    "B=2,L=33,H=2,P=8,N=16,dtmin=0.01,dtmax=0.05,final=1",
    "B=1,L=129,H=2,P=16,N=8,initial=1,final=1",
    "B=2,L=50,H=4,P=8,N=8,G=2,documents=1,gate=1,initial=1,final=1",
    "B=1,L=97,H=1,P=8,N=16,chunk=64,documents=1,final=1",
    "B=2,L=1,H=2,P=8,N=8,gate=1,initial=1,final=1",
    "B=2,L=323,H=4,P=64,N=128,G=2,gate=1,skip=2,dtmin=0.005,initial=1,final=1,documents=1",
    "B=1,L=2050,H=2,P=72,N=64,gate=1,initial=1,final=1,documents=1",
    "B=70,L=3,H=4,P=72,N=136,G=2,gate=1,skip=2,initial=1,final=1",
    "B=1,L=200,H=2,P=64,N=256,gate=1,documents=1",
    "B=1,L=1157,H=1,P=8,N=8,initial=1,final=1",
    "B=1,L=1100,H=1,P=8,N=8,gate=1,initial=1,final=1,documents=1",
    "B=1,L=3601,H=64,P=8,N=8,initial=1,final=1",
    "B=24,L=193,H=4,P=24,N=40,G=4,skip=2,initial=1,final=1,documents=1",
    "B=42,L=75,H=2,P=64,N=16,G=2,gate=1,dtmin=0.005",
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
