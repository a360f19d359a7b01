/* mamba2: the Mamba-2 block.
 *
 *   [z, x', B, C, dt] = W_in h,  [x', B, C] = SiLU(conv([x', B, C]))
 *   y = x + W_out RMSNorm(ssd(x', dt, A, B, C) SiLU(z)),   h = RMSNorm(x)
 *
 * Source   Dao and Gu 2024 (arXiv 2405.21060), section 7 and figure 6; inner width 2 D, norm after
 *          the gate in G groups
 * Shapes   x, y (B, L, D); 2 D / P heads of dim P, state N, G groups of B and C
 */
#include "models/parts.h"

enum { AX_P = SQ_BLOCK_OWN, AX_N, AX_G, AX_W };

static const sq_axis axes[] = {
    SQ_BLOCK_AXES(2048),
    {"P", "head-dim", "head dim", SQ_AXIS_INT, 64, 1, 1024, NULL},
    {"N", "state", "state per head channel", SQ_AXIS_INT, 128, 1, 1024, NULL},
    {"G", "groups", "groups of B and C", SQ_AXIS_INT, 1, 1, 1024, NULL},
    {"W", "conv", "taps of the short convolution", SQ_AXIS_INT, 4, 2, 4, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    int64_t inner = 2 * sq_axis_int(axis, SQ_BLOCK_D), head = sq_axis_int(axis, AX_P);
    if (inner % head)
        return sq_fail(err, SQ_BAD_SHAPE, "2 D = %lld does not divide into heads of P = %lld",
                       (long long)inner, (long long)head);
    if (inner / head % sq_axis_int(axis, AX_G))
        return sq_fail(err, SQ_BAD_SHAPE, "%lld heads are no multiple of G = %.0f",
                       (long long)(inner / head), axis[AX_G]);
    return SQ_OK;
}

static sq_status build(sq_graph *graph, sq_pass pass, const sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_part_check_pass(pass, NULL, err));
    const int64_t width = sq_axis_int(axis, SQ_BLOCK_D), inner = 2 * width;
    const int64_t head = sq_axis_int(axis, AX_P), heads = inner / head;
    const int64_t groups = sq_axis_int(axis, AX_G), bc = groups * sq_axis_int(axis, AX_N);
    const int64_t conv = inner + 2 * bc;

    sq_tid x = sq_part_input(graph, pass, axis);
    sq_tid y = sq_graph_output(graph, "y", width);
    sq_tid h = sq_part_norm(graph, "norm", x, width);
    sq_tid all = sq_part_linear(graph, "in_proj", h, width, inner + conv + heads);
    const sq_tid conv_in[] = {sq_graph_view(graph, all, inner, conv, 0), SQ_TID_PARAM,
                              SQ_TID_PARAM};
    sq_tid xbc = sq_graph_node(graph, "conv", "causal_conv1d", SQ_TID_NONE, 3, conv_in,
                               "D=%lld,W=%.0f,silu=1,bias=1", (long long)conv, axis[AX_W]);
    const sq_tid ssd_in[] = {sq_graph_view(graph, xbc, 0, inner, heads),
                             sq_graph_view(graph, all, inner + conv, heads, 0),
                             SQ_TID_PARAM, /* A */
                             sq_graph_view(graph, xbc, inner, bc, groups),
                             sq_graph_view(graph, xbc, inner + bc, bc, groups),
                             SQ_TID_PARAM, /* D */
                             SQ_TID_PARAM /* dt bias */};
    sq_tid s = sq_graph_node(graph, "ssd", "ssd", SQ_TID_NONE, 7, ssd_in,
                             "H=%lld,P=%lld,N=%.0f,G=%lld,bias=1,softplus=1,skip=1",
                             (long long)heads, (long long)head, axis[AX_N], (long long)groups);
    const sq_tid gate_in[] = {sq_graph_join(graph, s), SQ_TID_PARAM,
                              sq_graph_view(graph, all, 0, inner, 0)};
    sq_tid g = sq_graph_node(graph, "gate_norm", "rmsnorm", SQ_TID_NONE, 3, gate_in,
                             "D=%lld,groups=%lld,weight=1,gate=pre", (long long)inner,
                             (long long)groups);
    sq_part_linear_residual(graph, "out_proj", g, x, y, inner, width);
    return SQ_OK;
}

const sq_family sq_family_mamba2 = {
    .name = "mamba2",
    .source = "Dao and Gu 2024, section 7",
    .doc = "y = x + W_out RMSNorm(ssd(SiLU(conv([x', B, C])), dt) SiLU(z)), from W_in RMSNorm(x)",
    .axes = axes,
    .check = check,
    .at_width = sq_part_at_width,
    .build = build,
    .tolerance = sq_part_tolerance,
};
