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

#include "kernels/shared/qkv_recurrence.h"
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

static const sq_decay_cut cuts[IN_COUNT] = {[IN_Q] = {0, 2, -1},
                                            [IN_K] = {0, 2, -1},
                                            [IN_V] = {0, 2, 3},
                                            [IN_G] = {0, 2, -1},
                                            [IN_INITIAL] = {0, 1, 3}};

const sq_decay_layout sq_simple_gla_layout = {
    .axis = {AXIS_H, AXIS_K, AXIS_V, AXIS_SCALE, AXIS_CHUNK, AXIS_INITIAL, AXIS_FINAL},
    .in = {IN_Q, IN_K, IN_V, IN_G, IN_INITIAL, IN_COUNT},
    .cuts = cuts,
};

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    return sq_qkv_at_width(width, 128, 128, axis, err);
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    SQ_TRY(sq_qkv_tensors("simple_gla", &sq_simple_gla_layout, pass, dtype, axis, list, err));
    const int64_t *dim = list->in[IN_K].dim;
    const sq_draw decay = {SQ_DRAW_UNIFORM, -0.25f, -0.001f, 0};
    list->in[IN_G] = (sq_tensor_spec){"g", dtype, 3, {dim[0], dim[1], dim[2]}, 1, decay};
    return SQ_OK;
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    return sq_qkv_cost(&sq_simple_gla_layout, pass, dtype, axis, 1);
}

/* --- reference --- */

static sq_scan_gate gate_of(const sq_call *call, int64_t b, int64_t t, int64_t h)
{
    return (sq_scan_gate){.log_decay = sq_load3(&call->in[IN_G], b, t, h), .weight = 1};
}

sq_decay_scan sq_simple_gla_scan(const sq_call *call)
{
    sq_decay_scan scan = sq_decay_scan_of(call, &sq_simple_gla_layout);
    scan.gate = gate_of;
    return scan;
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    return sq_decay_layout_reference(call, sq_simple_gla_scan(call), err);
}

static double reference_work(const sq_axis_value *axis)
{
    return sq_decay_layout_work(&sq_simple_gla_layout, axis);
}

static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    sq_decay_slice(&sq_simple_gla_layout, whole, pick, sub, what, size);
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
    "B=140,L=5,H=1,K=136,V=72,initial=1,final=1",
    "B=1,L=1031,H=2,K=64,V=128,initial=1,final=1",
    "B=1,L=1157,H=1,K=8,V=8,initial=1,final=1",
    "B=1,L=67,H=84,K=128,V=64,initial=1,final=1",
    "B=82,L=70,H=2,K=72,V=40",
    "B=27,L=323,H=3,K=8,V=16,initial=1,final=1",
    NULL,
};

const sq_op sq_op_simple_gla = {
    .name = "simple_gla",
    .source = "Yang et al.: Gated Linear Attention, arXiv 2312.06635, table 1; "
              "fla-org/flash-linear-attention",
    .doc = "S_t = exp(g_t) S_{t-1} + k_t v_t^T; o_t = scale S_t^T q_t",
    .is_mixer = true,
    .axes = axes,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = sq_qkv_tolerance,
    .reference = reference,
    .backward = sq_simple_gla_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
