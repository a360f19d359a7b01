/* xpos: rotary positions whose pairs also grow, in queries, or shrink, in keys, so that scores
 * decay with the distance.
 *
 *   (y_a, y_b) = g (x_a cos t - x_b sin t, x_b cos t + x_a sin t),   p = offset + l,
 *   t = p base^(-i / n),   g = s_i^(+-(p - center) / S),   s_i = (2 i + 0.4 rotary) / (1.4 rotary)
 *   i = 0 .. n-1, n = rotary / 2;  pairs = half: (a, b) = (i, i + n); interleaved: (2 i, 2 i + 1)
 *   the sign is + for queries, - with keys = 1; channels from `rotary` on stay as they are
 *
 * g of a query times g of a key depends on their distance alone, whatever `center` is; it keeps
 * both within the range of the type: g leaves that of f32 about 35 S positions from it (16 bit: f16
 * 4 S).
 *
 * Source    Sun et al.: A length-extrapolatable transformer, 2212.10554, eq. 14 and alg. 1; the
 *           authors' TorchScale has center = ceil(length / 2), S = 512, interleaved pairs
 * Symbols   B: batch;  L: sequence length;  H: heads;  D: head dim;  S: scale-base
 * in[0]     x  (B, L, H, D)  dtype          out[0]  y  (B, L, H, D)  dtype
 *           computes in f32, angles and powers in f64 (reference: f64)
 * Step      one token, the last of L
 * Needs     rotary is even, at most D and 256
 * Errors    SQ_BAD_SHAPE
 * Cost      6 flop a pair; an angle, its sine and cosine, and g and its products with them for each
 *           position and pair of channels; reads x, writes y once
 */
#include "kernels/xpos/xpos.h"

#include <stddef.h>

static const char *const pairs[] = {"half", "interleaved", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 16, 1, 4096, NULL},
    {"D", "head-dim", "channels of a head", SQ_AXIS_INT, 128, 1, ROTARY_MAX_D, NULL},
    {"rotary", "rotary", "channels of a head that turn (0: all)", SQ_AXIS_INT, 0, 0,
     2 * ROTARY_MAX_PAIRS, NULL},
    {"offset", "offset", "position of the first step", SQ_AXIS_INT, 0, -(1 << 24), 1 << 24, NULL},
    {"pairs", "pairs", "which channels turn together", SQ_AXIS_CHOICE, 1, 0, 1, pairs},
    {"base", "rope-base", "base of the angles", SQ_AXIS_REAL, 10000, 1, 1e9, NULL},
    {"S", "scale-base", "positions over which a pair grows by its factor", SQ_AXIS_REAL, 512, 1,
     1e9, NULL},
    {"center", "center", "position where nothing has grown", SQ_AXIS_INT, 0, -(1 << 24), 1 << 24,
     NULL},
    {"keys", "keys", "1: x are keys, which shrink", SQ_AXIS_INT, 0, 0, 1, NULL},
    {.name = NULL},
};

sq_rotation sq_xpos_rotation_of(const sq_axis_value *axis)
{
    return (sq_rotation){
        .dims = sq_axis_int(axis, ROTARY_DIMS),
        .is_interleaved = axis[AXIS_PAIRS] != 0,
        .base = axis[AXIS_BASE],
        .scale_base = axis[AXIS_KEYS] != 0 ? -axis[AXIS_SCALE_BASE] : axis[AXIS_SCALE_BASE],
        .center = axis[AXIS_CENTER],
    };
}

static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const double length = pass == SQ_PASS_STEP ? 1 : axis[ROTARY_L];
    const double powers = length * axis[ROTARY_DIMS] / 2;
    sq_cost c = sq_rotary_cost(pass, dtype, axis);
    c.flops += 3 * powers; /* the exponent, g cos, g sin */
    c.special += powers;
    return c;
}

/* As rope's, and one product more. The largest outputs have grown: 16 times their error above the
 * root mean square of all. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)axis;
    const double relative = dtype == SQ_DTYPE_F32 ? 5e-7 : dtype == SQ_DTYPE_BF16 ? 2.5e-3 : 3.5e-4;
    return (sq_tolerance){.rel_l2 = relative, .max_abs = 256 * relative};
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    (void)err;
    const sq_rotation rotation = sq_xpos_rotation_of(call->axis);
    return sq_rotary_run(call, &rotation);
}

static const char *const test_shapes[] = {
    "B=1,L=1,H=1,D=2",
    "B=2,L=37,H=3,D=64",
    "B=1,L=300,H=2,D=128,center=150,keys=1",
    "B=2,L=29,H=2,D=80,rotary=20,pairs=half",
    "B=1,L=67,H=4,D=64,offset=600,center=640,pairs=half,keys=1",
    "B=1,L=33,H=1,D=37,rotary=14,S=100",
    NULL,
};

const sq_op sq_op_xpos = {
    .name = "xpos",
    .source = "Sun et al., arXiv 2212.10554, eq. 14",
    .doc = "rotary positions; pairs also grow by s_i^(position / S), or shrink in keys",
    .axes = axes,
    .check = sq_rotary_check,
    .at_width = sq_rotary_at_width,
    .tensors = sq_rotary_tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_xpos_backward,
    .reference_work = sq_rotary_work,
    .slice = sq_rotary_slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
