/* transformer: the attention sublayer of a pre-norm decoder.
 *
 *   y = x + W_o attention(W_q h, W_k h, W_v h),   h = RMSNorm(x)
 *
 * Source   Vaswani et al. 2017 (arXiv 1706.03762), eq. 1; pre-norm, RMSNorm, no biases, one fused
 *          QKV projection as in Llama (arXiv 2302.13971); no positional encoding (NoPE, as Jamba's
 *          attention layers, arXiv 2403.19887). window > 0: sliding window (arXiv 2310.06825).
 * Shapes   x, y (B, L, D); head dim D / H; grouped queries with Hkv < H
 */
#include "models/parts.h"

enum { AX_H = SQ_BLOCK_OWN, AX_HKV, AX_WINDOW };

static const sq_axis axes[] = {
    SQ_BLOCK_AXES(2048),
    {"H", "heads", "query heads; 0: D / 128", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {"Hkv", "kv-heads", "key/value heads; 0: as H", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {"window", "window", "keys a query sees; 0: all before it", SQ_AXIS_INT, 0, 0, 16777216, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    return sq_part_check_heads(sq_axis_int(axis, SQ_BLOCK_D), &axis[AX_H], &axis[AX_HKV], err);
}

static sq_status build(sq_graph *graph, sq_pass pass, const sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_part_check_pass(pass, SQ_PART_NO_CACHE, err));
    sq_tid x = sq_part_input(graph, pass, axis);
    sq_tid y = sq_graph_output(graph, "y", sq_axis_int(axis, SQ_BLOCK_D));
    sq_part_attention(graph, "", x, y, sq_axis_int(axis, SQ_BLOCK_D), sq_axis_int(axis, AX_H),
                      sq_axis_int(axis, AX_HKV), sq_axis_int(axis, AX_WINDOW));
    return SQ_OK;
}

const sq_family sq_family_transformer = {
    .name = "transformer",
    .source = "Vaswani et al. 2017, eq. 1; pre-norm as Llama",
    .doc = "y = x + W_o attention(W_qkv RMSNorm(x))",
    .axes = axes,
    .check = check,
    .at_width = sq_part_at_width,
    .build = build,
    .tolerance = sq_part_tolerance,
};
