/* mamba: the Mamba block.
 *
 *   [u, z] = W_in h,  u = SiLU(conv(u)),  [r, B, C] = W_x u,  dt = softplus(W_dt r + b)
 *   y = x + W_out (scan(u, dt, A, B, C) + D u) SiLU(z),   h = RMSNorm(x)
 *
 * Source   Gu and Dao 2023 (arXiv 2312.00752), section 3.4 and algorithm 2; inner width 2 D,
 *          rank of dt ceil(D / 16), convolution of 4 taps
 * Shapes   x, y (B, L, D); state N per inner channel
 */
#include "models/parts.h"

enum { AX_N = SQ_BLOCK_OWN, AX_W };

static const sq_axis axes[] = {
    SQ_BLOCK_AXES(2048),
    {"N", "state", "state per channel", SQ_AXIS_INT, 16, 1, 256, NULL},
    {"W", "conv", "taps of the short convolution", SQ_AXIS_INT, 4, 2, 4, NULL},
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
    SQ_TRY(sq_part_check_pass(pass, NULL, err));
    sq_tid x = sq_part_input(graph, pass, axis);
    sq_tid y = sq_graph_output(graph, "y", sq_axis_int(axis, SQ_BLOCK_D));
    sq_part_mamba(graph, "", x, y, sq_axis_int(axis, SQ_BLOCK_D), sq_axis_int(axis, AX_N),
                  sq_axis_int(axis, AX_W));
    return SQ_OK;
}

const sq_family sq_family_mamba = {
    .name = "mamba",
    .source = "Gu and Dao 2023, section 3.4",
    .doc = "y = x + W_out (scan(SiLU(conv(u))) SiLU(z)), [u, z] = W_in RMSNorm(x)",
    .axes = axes,
    .check = check,
    .at_width = sq_part_at_width,
    .build = build,
    .tolerance = sq_part_tolerance,
};
