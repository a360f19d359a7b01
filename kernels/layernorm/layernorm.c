/* layernorm: each row brought to mean 0 and variance 1, with optional residual, weight and bias.
 *
 *   s = x + r                                                residual; s is handed on.  Else s = x
 *   y = (s - mean(s)) / sqrt(mean((s - mean(s))^2) + eps) * w + b
 *
 * Source    Ba, Kiros, Hinton, 1607.06450, eq. 4
 * Symbols   B: batch;  L: sequence length;  D: channels
 * in[0]     x  (B, L, D)  dtype             in[1]  w  (D)  f32, if weight
 * in[3]     b  (D)  f32, if bias            in[4]  r  (B, L, D)  if residual: dtype (same) or f32
 * out[0]    y  (B, L, D)  dtype             accumulates in f32 (reference: f64)
 * out[1]    s  (B, L, D)  if residual: as r; y is of s before it is rounded
 * Needs     eps > 0
 * Errors    SQ_OUT_OF_MEMORY (reference)
 * Cost      fwd: B L D (5 + weight + bias + residual) flop, one root a row; every input read once,
 *           every output written once. bwd: about two and a half times the flop; reads s and not x
 *           and r. The core is kernels/norm_core
 */
#include "kernels/layernorm/layernorm.h"

#include "kernels/shared/channels.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_WEIGHT, AXIS_BIAS, AXIS_RESIDUAL, AXIS_EPS };

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"D", "channels", "channels", SQ_AXIS_INT, 2048, 1, 1 << 22, NULL},
    {"weight", "weight", "1: a weight for each channel", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"bias", "bias", "1: a bias for each channel", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"residual", "residual", "x + r is normalised and handed on, in the type of x or in f32",
     SQ_AXIS_CHOICE, 0, 0, 2, sq_norm_residuals},
    {"eps", "eps", "added to the variance", SQ_AXIS_REAL, 1e-5, 1e-12, 1, NULL},
    {.name = NULL},
};

sq_norm sq_layernorm_norm(sq_pass pass, const sq_axis_value *axis)
{
    return (sq_norm){.batch = sq_axis_int(axis, AXIS_B),
                     .length = pass == SQ_PASS_STEP ? 1 : sq_axis_int(axis, AXIS_L),
                     .groups = 1,
                     .width = sq_axis_int(axis, AXIS_D),
                     .is_centred = true,
                     .has_weight = axis[AXIS_WEIGHT] != 0,
                     .has_bias = axis[AXIS_BIAS] != 0,
                     .residual = (int)axis[AXIS_RESIDUAL],
                     .eps = axis[AXIS_EPS]};
}

SQ_NORM_FUNCTIONS(sq_layernorm_norm)

static const char *const test_shapes[] = {
    "B=1,L=1,D=64",
    "B=2,L=3,D=2048",
    "B=1,L=7,D=3,eps=0.1",
    "B=1,L=1,D=1",
    "B=1,L=37,D=96,bias=0",
    "B=2,L=13,D=130,weight=0,bias=0",
    "B=1,L=5,D=4096,weight=0",
    "B=2,L=11,D=1000,residual=same",
    "B=3,L=9,D=99,residual=f32",
    "B=1,L=17,D=520,residual=f32,bias=0",
    "B=1,L=2,D=16384,eps=0.1",
    "B=1,L=3,D=20008",
    "B=1,L=1031,D=256",
    NULL,
};

const sq_op sq_op_layernorm = {
    .name = "layernorm",
    .source = "Ba, Kiros, Hinton, arXiv 1607.06450, eq. 4",
    .doc = "y = (x - mean(x)) / sqrt(var(x) + eps) * w + b",
    .is_mixer = false,
    .axes = axes,
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
