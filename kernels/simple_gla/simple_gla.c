/* simple_gla: linear attention whose state decays by a factor for each head and step.
 *
 *   S_t = exp(g_t) S_{t-1} + k_t v_t^T               S_{-1} = initial_state, or 0; a (K, V) matrix
 *   o_t = scale S_t^T q_t                            final_state = S_{L-1}
 *
 * Source    Yang et al.: Gated Linear Attention Transformers (2312.06635), table 1 (scalar decay);
 *           fla-org/flash-linear-attention, ops/simple_gla
 * Symbols   B: batch;  L: sequence length;  H: heads;  K: key dim;  V: value dim;  Q: chunk
 * in[0]     q  (B, L, H, K)  dtype          in[1]  k  (B, L, H, K)  dtype
 * in[2]     v  (B, L, H, V)  dtype          in[3]  g  (B, L, H)     dtype, <= 0, natural log
 * in[4]     initial_state  (B, H, K, V)  f32, if initial
 * out[0]    o  (B, L, H, V)  dtype          state accumulates in f32 (reference: f64)
 * out[1]    final_state  (B, H, K, V)  f32, if final
 * Needs     nothing beyond the ranges of the axes
 * Errors    none of its own
 * Cost      4 B L H K V + (small) flop forward, 10 B L H K V backward: the recurrence without its
 *           chunks, see cost(); reads q, k, v, g once, writes o once
 */
#include "kernels/simple_gla/simple_gla.h"
#include "kernels/op.h"

#include <math.h>

#include "kernels/shared/decay_scan.h"
#include "kernels/shared/decay_slice.h"
#include "kernels/shared/rows.h"

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 65536, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 16, 1, 4096, NULL},
    {"K", "key-dim", "query and key channels of a head", SQ_AXIS_INT, 128, 1, 4096, NULL},
    {"V", "value-dim", "value channels of a head", SQ_AXIS_INT, 128, 1, 8192, NULL},
    {"scale", "scale", "factor of the output; 0: 1 / sqrt(K)", SQ_AXIS_REAL, 0, 0, 1e6, NULL},
    {"chunk", "chunk", "steps of a chunk; 0: as the provider likes", SQ_AXIS_INT, 0, 0, 65536,
     NULL},
    {"initial", "initial", "1: the state starts from a given one", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"final", "final", "1: the last state is handed on", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    (void)axis;
    (void)err;
    return SQ_OK;
}

/* Heads of 128 channels. */
static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    if (width < 128 || width % 128 != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "width %lld is not a multiple of K=128",
                       (long long)width);
    axis[AXIS_H] = (double)(width / 128);
    axis[AXIS_K] = axis[AXIS_V] = 128;
    return SQ_OK;
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    const bool is_step = pass == SQ_PASS_STEP;
    if (pass != SQ_PASS_FWD && !is_step)
        return sq_fail(err, SQ_UNSUPPORTED, "simple_gla has no pass %s", sq_pass_name(pass));
    int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    int64_t h = sq_axis_int(axis, AXIS_H), k = sq_axis_int(axis, AXIS_K);
    int64_t v = sq_axis_int(axis, AXIS_V);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    const sq_draw decay = {SQ_DRAW_UNIFORM, -0.25f, -0.001f, 0};
    const sq_tensor_spec state = {"initial_state", SQ_DTYPE_F32, 4, {b, h, k, v}, -1, normal};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = OUT_COUNT};
    list->in[IN_Q] = (sq_tensor_spec){"q", dtype, 4, {b, l, h, k}, 1, normal};
    list->in[IN_K] = (sq_tensor_spec){"k", dtype, 4, {b, l, h, k}, 1, normal};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 4, {b, l, h, v}, 1, normal};
    list->in[IN_G] = (sq_tensor_spec){"g", dtype, 3, {b, l, h}, 1, decay};
    list->out[OUT_O] = (sq_tensor_spec){"o", dtype, 4, {b, l, h, v}, 1, {0}};
    if (is_step || axis[AXIS_INITIAL] != 0)
        list->in[IN_INITIAL] = state;
    if (is_step || axis[AXIS_FINAL] != 0) {
        list->out[OUT_FINAL] = state;
        list->out[OUT_FINAL].name = "final_state";
    }
    return SQ_OK;
}

/* Two multiply-adds per state element and step (update, read-out), both matrix products in the
 * chunkwise form; backward five: the state again, its gradient, and the products that give dq, dk
 * and dv. That is the limit of small chunks, see ssd. The rest: one exponential for each decay, the
 * scale of o. */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_step = pass == SQ_PASS_STEP, is_backward = pass == SQ_PASS_BWD;
    const double states = axis[AXIS_B] * axis[AXIS_H];
    const double initial = is_step || axis[AXIS_INITIAL] != 0;
    const double final = is_step || axis[AXIS_FINAL] != 0;
    const sq_decay_scan_shape shape = {
        .tokens = axis[AXIS_B] * (is_step ? 1 : axis[AXIS_L]),
        .heads = axis[AXIS_H],
        .groups = axis[AXIS_H],
        .keys = axis[AXIS_K],
        .values = axis[AXIS_V],
        .states_read = states * (initial + (is_backward ? final : 0)),
        .states_written = states * (is_backward ? initial : final),
    };
    const double gates = shape.tokens * shape.heads;
    sq_cost c = sq_decay_scan_cost(pass, dtype, &shape);
    c.flops += shape.tokens * shape.heads * shape.values;
    c.special = gates;
    c.bytes_read += (double)sq_dtype_size(dtype) * gates;
    if (is_backward)
        c.bytes_written += (double)sq_dtype_size(dtype) * gates;
    return c;
}

/* f32: a step's decay is off by a few 2^-23 (its argument and ex2.approx), sums of logarithms over
 * a chunk by 2^-24 of a sum that is large only where the decay has made the term small; both add up
 * as a random walk over a memory of at most 1000 steps: below 1e-5.
 * 16 bit: sq_decay_scan_tolerance. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)axis;
    return sq_decay_scan_tolerance(pass, dtype, false);
}

/* --- reference --- */

static sq_scan_gate gate_of(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    return (sq_scan_gate){.log_decay = sq_load3(&call->in[IN_G], b, t, h), .weight = 1};
}

sq_decay_scan sq_simple_gla_scan(const sq_call *call)
{
    const double scale = call->axis[AXIS_SCALE];
    return (sq_decay_scan){.q = &call->in[IN_Q],
                           .k = &call->in[IN_K],
                           .v = &call->in[IN_V],
                           .initial = &call->in[IN_INITIAL],
                           .scale = scale > 0 ? scale : 1 / sqrt(call->axis[AXIS_K]),
                           .chunk = sq_axis_int(call->axis, AXIS_CHUNK),
                           .gate = gate_of};
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    sq_decay_scan scan = sq_simple_gla_scan(call);
    scan.o = &call->out[OUT_O];
    scan.final = &call->out[OUT_FINAL];
    return sq_decay_scan_reference(call, &scan, err);
}

static double reference_work(const sq_axis_value *axis)
{
    return sq_decay_scan_work(axis[AXIS_B], axis[AXIS_L], axis[AXIS_H], axis[AXIS_K], axis[AXIS_V],
                              axis[AXIS_CHUNK]);
}

/* One batch row and head, all steps, as many value columns as the work allows (at least one). */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    static const sq_decay_cut in_cuts[IN_COUNT] = {[IN_Q] = {0, 2, -1},
                                                   [IN_K] = {0, 2, -1},
                                                   [IN_V] = {0, 2, 3},
                                                   [IN_G] = {0, 2, -1},
                                                   [IN_INITIAL] = {0, 1, 3}};
    static const sq_decay_cut out_cuts[OUT_COUNT] = {[OUT_O] = {0, 2, 3}, [OUT_FINAL] = {0, 1, 3}};
    const sq_axis_value *axis = whole->axis;
    const int64_t heads = sq_axis_int(axis, AXIS_H), columns = sq_axis_int(axis, AXIS_V);
    const int64_t count =
        sq_decay_scan_columns(axis[AXIS_L], axis[AXIS_K], columns, axis[AXIS_CHUNK], pick.max_work);
    const sq_decay_part part =
        sq_decay_part_pick(pick, sq_axis_int(axis, AXIS_B), heads, columns, count, what, size);
    *sub = *whole;
    sub->axis[AXIS_B] = sub->axis[AXIS_H] = 1;
    sub->axis[AXIS_V] = (double)count;
    sq_decay_cut_tensors(sub->in, in_cuts, IN_COUNT, part, heads);
    sq_decay_cut_tensors(sub->out, out_cuts, OUT_COUNT, part, heads);
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=2,L=1,H=2,K=16,V=32",
    "B=1,L=2,H=1,K=5,V=3",
    "B=3,L=7,H=3,K=8,V=8",
    "B=1,L=63,H=2,K=64,V=64",
    "B=2,L=65,H=3,K=16,V=72,scale=1",
    "B=2,L=127,H=2,K=128,V=128,initial=1,final=1",
    "B=2,L=1,H=2,K=8,V=8,initial=1,final=1",
    "B=1,L=129,H=2,K=64,V=64,initial=1",
    "B=2,L=40,H=2,K=8,V=16,final=1",
    "B=1,L=130,H=2,K=16,V=16,chunk=64",
    "B=2,L=97,H=2,K=8,V=8,initial=1,final=1,chunk=16",
    "B=1,L=257,H=2,K=256,V=136",
    "B=1,L=1031,H=2,K=64,V=128,initial=1,final=1",
    NULL,
};

const sq_op sq_op_simple_gla = {
    .name = "simple_gla",
    .source = "Yang et al.: Gated Linear Attention, arXiv 2312.06635, table 1; "
              "fla-org/flash-linear-attention",
    .doc = "S_t = exp(g_t) S_{t-1} + k_t v_t^T; o_t = scale S_t^T q_t",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_simple_gla_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
