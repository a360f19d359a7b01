/* rmsnorm: root-mean-square normalisation of each row, with optional residual, weight, bias, groups
 * and gate (gated_rmsnorm: gate = pre or post).
 *
 *   s = x + r                                            residual; s is handed on.  Else s = x
 *   y = u / sqrt(mean(u^2) + eps) * w + b                u = s            gate = none
 *                                                        u = s * silu(z)  gate = pre
 *   y = (s / sqrt(mean(s^2) + eps) * w + b) * silu(z)    gate = post
 *
 * The mean runs over each of `groups` equal contiguous parts of a row; silu(z) = z / (1 + e^-z).
 *
 * Source    Zhang, Sennrich, 1910.07467, eq. 4; gated and grouped: Dao, Gu, 2405.21060, and
 *           RMSNormGated in the authors' code (pre: norm_before_gate = False)
 * Symbols   B: batch;  L: sequence length;  D: channels
 * in[0]     x  (B, L, D)  dtype             in[1]  w  (D)  f32, if weight
 * in[2]     z  (B, L, D)  dtype, if gate    in[3]  b  (D)  f32, if bias
 * in[4]     r  (B, L, D)  if residual: dtype (same) or f32
 * out[0]    y  (B, L, D)  dtype             accumulates in f32 (reference: f64)
 * out[1]    s  (B, L, D)  if residual: as r; y is of s before it is rounded
 * Needs     groups divides D; eps > 0
 * Errors    SQ_BAD_SHAPE; SQ_OUT_OF_MEMORY (reference)
 * Cost      fwd: B L D (3 + weight + bias + 2 gate + residual) flop, 2 B L D special functions with
 *           a gate, one root a group; every input read once, every output written once. bwd: about
 *           three times the flop; reads s and not x and r. The core is kernels/norm_core
 */
#include "kernels/rmsnorm/rmsnorm.h"

#include "kernels/shared/channels.h"

enum {
    AXIS_B,
    AXIS_L,
    AXIS_D,
    AXIS_GROUPS,
    AXIS_WEIGHT,
    AXIS_GATE,
    AXIS_EPS,
    AXIS_BIAS,
    AXIS_RESIDUAL
};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 22, NULL},
    {"groups", "groups", "parts of a row normalised on their own", SQ_AXIS_INT, 1, 1, 1 << 22,
     NULL},
    {"weight", "weight", "1: a weight for each channel", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"gate", "gate", "where silu(z) multiplies: before or after the norm", SQ_AXIS_CHOICE, 0, 0, 2,
     sq_norm_gates},
    {"eps", "eps", "added to the mean square", SQ_AXIS_REAL, 1e-5, 1e-12, 1, NULL},
    {"bias", "bias", "1: a bias for each channel", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"residual", "residual", "x + r is normalised and handed on, in the type of x or in f32",
     SQ_AXIS_CHOICE, 0, 0, 2, sq_norm_residuals},
    {.name = NULL},
};

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (sq_axis_int(axis, AXIS_D) % sq_axis_int(axis, AXIS_GROUPS) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "D=%g is no multiple of groups=%g", axis[AXIS_D],
                       axis[AXIS_GROUPS]);
    return SQ_OK;
}

sq_norm sq_rmsnorm_norm(sq_pass pass, const sq_axis_value *axis)
{
    const int64_t groups = sq_axis_int(axis, AXIS_GROUPS);
    return (sq_norm){.batch = sq_axis_int(axis, AXIS_B),
                     .length = pass == SQ_PASS_STEP ? 1 : sq_axis_int(axis, AXIS_L),
                     .groups = groups,
                     .width = sq_axis_int(axis, AXIS_D) / groups,
                     .has_weight = axis[AXIS_WEIGHT] != 0,
                     .has_bias = axis[AXIS_BIAS] != 0,
                     .gate = (int)axis[AXIS_GATE],
                     .residual = (int)axis[AXIS_RESIDUAL],
                     .eps = axis[AXIS_EPS]};
}

SQ_NORM_FUNCTIONS(sq_rmsnorm_norm)

static const char *const test_shapes[] = {
    "B=1,L=1,D=64",
    "B=2,L=3,D=2048",
    "B=1,L=7,D=1,eps=0.1",
    "B=1,L=37,D=96",
    "B=2,L=13,D=130,weight=0",
    "B=1,L=5,D=4096,gate=pre",
    "B=2,L=11,D=1000,gate=post",
    "B=1,L=17,D=2048,groups=16",
    "B=3,L=9,D=96,groups=4,gate=pre",
    "B=1,L=4,D=4096,groups=8,gate=post,weight=0",
    "B=1,L=2,D=16384,eps=0.1",
    "B=1,L=3,D=20008",
    "B=1,L=1031,D=256",
    "B=2,L=19,D=320,bias=1",
    "B=2,L=7,D=1536,residual=same",
    "B=1,L=11,D=264,residual=f32,bias=1",
    "B=2,L=5,D=99,residual=same,weight=0",
    "B=1,L=6,D=192,groups=3,gate=post,bias=1,residual=f32",
    "B=2,L=67,D=128,groups=2,gate=pre,bias=1,residual=same",
    NULL,
};

const sq_op sq_op_rmsnorm = {
    .name = "rmsnorm",
    .source = "Zhang, Sennrich, arXiv 1910.07467, eq. 4; gate: Dao, Gu, arXiv 2405.21060",
    .doc = "y = x / sqrt(mean(x^2) + eps) * w; gated_rmsnorm: by silu(z) before or after",
    .is_mixer = false,
    .axes = axes,
    .check = check,
    .at_width = sq_channels_at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
