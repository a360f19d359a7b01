/* hyena: the Hyena operator of order 2 with its projections.
 *
 *   [x0, x1, v] = conv3(W_in h + b_in),  y = x + W_out (x0 (f * (x1 v) + b (x1 v))) + b_out
 *
 * Source   Poli et al. 2023 (arXiv 2302.10866), definition 3.1 and algorithm 3; order 2 has one
 *          long convolution. The filter f (D, L) is a parameter here: the implicit MLP that makes
 *          it is an operator of its own, and at inference its result is a constant.
 * Shapes   x, y (B, L, D)
 */
#include "models/parts.h"

enum { AX_W = SQ_BLOCK_OWN };

static const sq_axis axes[] = {
    SQ_BLOCK_AXES(2048),
    {"W", "conv", "taps of the short convolution", SQ_AXIS_INT, 3, 2, 4, NULL},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    (void)axis;
    (void)err;
    return SQ_OK;
}

static sq_status build(sq_graph *graph, sq_pass pass, const sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_part_check_pass(
        pass, "the long convolution needs all its inputs, and no operator keeps them", err));
    const int64_t width = sq_axis_int(axis, SQ_BLOCK_D);
    sq_tid x = sq_part_input(graph, pass, axis);
    sq_tid y = sq_graph_output(graph, "y", width);
    sq_tid h = sq_part_norm(graph, "norm", x, width);
    const sq_tid proj_in[] = {h, SQ_TID_PARAM, SQ_TID_PARAM};
    sq_tid p = sq_graph_node(graph, "in_proj", "linear", SQ_TID_NONE, 3, proj_in,
                             "K=%lld,N=%lld,bias=1", (long long)width, (long long)(3 * width));
    const sq_tid conv_in[] = {p, SQ_TID_PARAM, SQ_TID_PARAM};
    sq_tid c = sq_graph_node(graph, "conv", "causal_conv1d", SQ_TID_NONE, 3, conv_in,
                             "D=%lld,W=%.0f,silu=0,bias=1", (long long)(3 * width), axis[AX_W]);
    const sq_tid long_in[] = {sq_graph_view(graph, c, 2 * width, width, 0), /* v */
                              sq_graph_view(graph, c, width, width, 0),     /* x1 */
                              sq_graph_view(graph, c, 0, width, 0),         /* x0 */
                              SQ_TID_PARAM, SQ_TID_PARAM};
    sq_tid f = sq_graph_node(graph, "long_conv", "long_conv", SQ_TID_NONE, 5, long_in,
                             "D=%lld,gate=1", (long long)width);
    const sq_tid out_in[] = {f, SQ_TID_PARAM, SQ_TID_PARAM, x};
    sq_graph_node(graph, "out_proj", "linear", y, 4, out_in, "K=%lld,N=%lld,bias=1,residual=1",
                  (long long)width, (long long)width);
    return SQ_OK;
}

const sq_family sq_family_hyena = {
    .name = "hyena",
    .source = "Poli et al. 2023, definition 3.1 (order 2)",
    .doc = "y = x + W_out (x0 (f * (x1 v) + b (x1 v))), [x0, x1, v] = conv(W_in RMSNorm(x))",
    .axes = axes,
    .check = check,
    .at_width = sq_part_at_width,
    .build = build,
    .tolerance = sq_part_tolerance,
    .causality_bound = 1e-4, /* FFT rounding, 1e-5 of the convolution's rms, projected */
};
