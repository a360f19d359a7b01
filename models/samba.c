/* samba: a Mamba sublayer, then a sliding-window attention sublayer.
 *
 *   h = x + mamba(RMSNorm(x)),   y = h + attention_W(RMSNorm(h))
 *
 * Source   Ren et al. 2024 (arXiv 2406.07522), section 2: the two mixers of the repeat unit,
 *          without the MLPs between them
 * Shapes   x, y (B, L, D); Mamba with state N; H heads of dim D / H over a window of 2048 keys
 */
#include "models/parts.h"

enum { AX_N = SQ_BLOCK_OWN, AX_W, AX_H, AX_HKV, AX_WINDOW };

static const sq_axis axes[] = {
    SQ_BLOCK_AXES(2048),
    {"N", "state", "Mamba state per channel", SQ_AXIS_INT, 16, 1, 256, NULL},
    {"W", "conv", "taps of the short convolution", SQ_AXIS_INT, 4, 2, 4, NULL},
    {"H", "heads", "query heads; 0: D / 128", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {"Hkv", "kv-heads", "key/value heads; 0: as H", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {"window", "window", "keys a query sees", SQ_AXIS_INT, 2048, 1, 16777216, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    return sq_part_check_heads(sq_axis_int(axis, SQ_BLOCK_D), &axis[AX_H], &axis[AX_HKV], err);
}

static sq_status build(sq_graph *graph, sq_pass pass, const sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_part_check_pass(pass, SQ_PART_NO_CACHE, err));
    const int64_t width = sq_axis_int(axis, SQ_BLOCK_D);
    sq_tid x = sq_part_input(graph, pass, axis);
    sq_tid y = sq_graph_output(graph, "y", width);
    sq_tid h = sq_part_mamba(graph, "mamba.", x, SQ_TID_NONE, width, sq_axis_int(axis, AX_N),
                             sq_axis_int(axis, AX_W));
    sq_part_attention(graph, "attn.", h, y, width, sq_axis_int(axis, AX_H),
                      sq_axis_int(axis, AX_HKV), sq_axis_int(axis, AX_WINDOW));
    return SQ_OK;
}

const sq_family sq_family_samba = {
    .name = "samba",
    .source = "Ren et al. 2024, section 2",
    .doc = "h = x + mamba(RMSNorm(x)); y = h + attention_W(RMSNorm(h))",
    .axes = axes,
    .check = check,
    .at_width = sq_part_at_width,
    .build = build,
    .tolerance = sq_part_tolerance,
};
