/* retnet: the multi-scale retention sublayer.
 *
 *   y = x + W_o (swish(G) HeadNorm(retention(Q, K, V))),   [Q, K, V, G] = W RMSNorm(x)
 *
 * Source   Sun et al. 2023 (arXiv 2307.08621), eq. 8; HeadNorm is RMSNorm per head without weight,
 *          as in the released code; value width 2 D. The rotation of Q and K is not applied.
 * Shapes   x, y (B, L, D); heads of key dim D / H and value dim 2 D / H
 */
#include "models/parts.h"

enum { AX_H = SQ_BLOCK_OWN };

static const sq_axis axes[] = {
    SQ_BLOCK_AXES(2048),
    {"H", "heads", "heads; 0: D / 256", SQ_AXIS_INT, 0, 0, 4096, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    int64_t width = sq_axis_int(axis, SQ_BLOCK_D);
    if (axis[AX_H] == 0)
        axis[AX_H] = width % 256 ? 1 : (sq_axis_value)(width / 256);
    if (width % sq_axis_int(axis, AX_H))
        return sq_fail(err, SQ_BAD_SHAPE, "D = %lld does not divide into H = %.0f heads",
                       (long long)width, axis[AX_H]);
    return SQ_OK;
}

static sq_status build(sq_graph *graph, sq_pass pass, const sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_part_check_pass(pass, NULL, err));
    const int64_t width = sq_axis_int(axis, SQ_BLOCK_D), heads = sq_axis_int(axis, AX_H);
    sq_tid x = sq_part_input(graph, pass, axis);
    sq_tid y = sq_graph_output(graph, "y", width);
    sq_tid h = sq_part_norm(graph, "norm", x, width);
    sq_tid p = sq_part_linear(graph, "qkvg_proj", h, width, 6 * width);
    const sq_tid in[] = {sq_graph_view(graph, p, 0, width, heads),
                         sq_graph_view(graph, p, width, width, heads),
                         sq_graph_view(graph, p, 2 * width, 2 * width, heads)};
    sq_tid o = sq_graph_node(graph, "retention", "retention", SQ_TID_NONE, 3, in,
                             "H=%lld,K=%lld,V=%lld", (long long)heads, (long long)(width / heads),
                             (long long)(2 * width / heads));
    const sq_tid gate_in[] = {sq_graph_join(graph, o), SQ_TID_NONE,
                              sq_graph_view(graph, p, 4 * width, 2 * width, 0)};
    sq_tid g = sq_graph_node(graph, "head_norm", "rmsnorm", SQ_TID_NONE, 3, gate_in,
                             "D=%lld,groups=%lld,weight=0,gate=post", (long long)(2 * width),
                             (long long)heads);
    sq_part_linear_residual(graph, "out_proj", g, x, y, 2 * width, width);
    return SQ_OK;
}

const sq_family sq_family_retnet = {
    .name = "retnet",
    .source = "Sun et al. 2023, eq. 8",
    .doc = "y = x + W_o (swish(G) HeadNorm(retention(Q, K, V)))",
    .axes = axes,
    .check = check,
    .at_width = sq_part_at_width,
    .build = build,
    .tolerance = sq_part_tolerance,
};
