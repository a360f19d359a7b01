/* rope: rotary positions: pairs of channels of every head turn by an angle proportional to the
 * position.
 *
 *   (y_a, y_b) = (x_a cos t - x_b sin t, x_b cos t + x_a sin t),   t = (offset + l) f_i
 *   i = 0 .. n-1, n = rotary / 2;  pairs = half: (a, b) = (i, i + n); interleaved: (2 i, 2 i + 1)
 *   angles = rope: f_i = base^(-i / n);  retnet: base^(-i / (n - 1))
 *   channels from `rotary` on stay as they are
 *
 * Source    Su et al.: RoFormer, 2104.09864, eq. 34 (half: the order of GPT-NeoX); retnet: Sun et
 *           al., 2307.08621, eq. 3, and theta_shift of the authors' code
 * Symbols   B: batch;  L: sequence length;  H: heads;  D: head dim
 * in[0]     x  (B, L, H, D)  dtype          out[0]  y  (B, L, H, D)  dtype
 *           computes in f32, angles in f64 (reference: f64)
 * Step      one token, the last of L
 * Needs     rotary is even, at most D and 256
 * Errors    SQ_BAD_SHAPE
 * Cost      6 flop a pair; an angle, its sine and cosine for each position and pair of channels;
 *           reads x, writes y once
 */
#include "kernels/rope/rope.h"

#include <stddef.h>

static const char *const pairs[] = {"half", "interleaved", NULL};
static const char *const angles[] = {"rope", "retnet", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 16, 1, 4096, NULL},
    {"D", "head-dim", "channels of a head", SQ_AXIS_INT, 128, 1, ROTARY_MAX_D, NULL},
    {"rotary", "rotary", "channels of a head that turn (0: all)", SQ_AXIS_INT, 0, 0,
     2 * ROTARY_MAX_PAIRS, NULL},
    {"offset", "offset", "position of the first step", SQ_AXIS_INT, 0, -(1 << 24), 1 << 24, NULL},
    {"pairs", "pairs", "which channels turn together", SQ_AXIS_CHOICE, 0, 0, 1, pairs},
    {"angles", "angles", "whose angles: rope's, or retnet's, which reach 1/base", SQ_AXIS_CHOICE, 0,
     0, 1, angles},
    {"base", "rope-base", "base of the angles", SQ_AXIS_REAL, 10000, 1, 1e9, NULL},
    {.name = NULL},
};

sq_rotation sq_rope_rotation_of(const sq_axis_value *axis)
{
    return (sq_rotation){
        .dims = sq_axis_int(axis, ROTARY_DIMS),
        .is_interleaved = axis[AXIS_PAIRS] != 0,
        .has_end_point = axis[AXIS_ANGLES] == ANGLES_RETNET,
        .base = axis[AXIS_BASE],
    };
}

/* f32: sine and cosine of an angle that was reduced in f64, two products and a sum: an ulp each.
 * 16 bit: the rounding of y and of the reference's (rms 1.7e-3 each for bf16), mostly the same. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    (void)pass;
    (void)axis;
    const double relative = dtype == SQ_DTYPE_F32 ? 5e-7 : dtype == SQ_DTYPE_BF16 ? 2.5e-3 : 3.5e-4;
    return (sq_tolerance){.rel_l2 = relative, .max_abs = 16 * relative};
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    (void)err;
    const sq_rotation rotation = sq_rope_rotation_of(call->axis);
    return sq_rotary_run(call, &rotation);
}

static const char *const test_shapes[] = {
    "B=1,L=1,H=1,D=2",
    "B=2,L=37,H=3,D=64",
    "B=1,L=131,H=5,D=128,offset=70000",
    "B=2,L=29,H=2,D=80,rotary=20",
    "B=1,L=67,H=4,D=64,rotary=16,pairs=interleaved",
    "B=1,L=33,H=1,D=37,rotary=14,pairs=interleaved",
    "B=2,L=19,H=2,D=64,pairs=interleaved,angles=retnet",
    "B=1,L=17,H=9,D=256,base=500000,offset=-5",
    "B=1,L=11,H=1,D=2,angles=retnet",
    NULL,
};

const sq_op sq_op_rope = {
    .name = "rope",
    .source = "Su et al., arXiv 2104.09864, eq. 34",
    .doc = "pairs of channels turn by position * base^(-i/n)",
    .axes = axes,
    .check = sq_rotary_check,
    .at_width = sq_rotary_at_width,
    .tensors = sq_rotary_tensors,
    .cost = sq_rotary_cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_rope_backward,
    .reference_work = sq_rotary_work,
    .slice = sq_rotary_slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
