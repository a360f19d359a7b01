/* group_norm: each head's vector normalised on its own, as RetNet does after retention.
 *
 *   y = c / sqrt(mean(c^2) + eps) * w + b      c = x            norm = rms
 *                                              c = x - mean(x)  norm = layer
 *
 * The means run over the D channels of a head.
 *
 * Source    Sun et al., 2307.08621, eq. 8 (GroupNorm); the authors' code has norm = rms and no
 *           weight; Wu, He, 1803.08494, eq. 2 and 3, over the channels alone, has norm = layer
 * Symbols   B: batch;  L: sequence length;  H: heads;  D: channels of a head
 * in[0]     x  (B, L, H, D)  dtype          in[1]  w  (H D)  f32, if weight
 * in[3]     b  (H D)  f32, if bias
 * out[0]    y  (B, L, H, D)  dtype          accumulates in f32 (reference: f64)
 * Needs     eps > 0
 * Errors    SQ_BAD_SHAPE (width); SQ_OUT_OF_MEMORY (reference)
 * Cost      fwd: B L H D (3 + weight + bias, and 2 for layer) flop, one root a head; x read once,
 *           y written once. bwd: about three times the flop. The core is kernels/norm_core
 */
#include "kernels/group_norm/group_norm.h"

enum { AXIS_B, AXIS_L, AXIS_H, AXIS_D, AXIS_NORM, AXIS_WEIGHT, AXIS_BIAS, AXIS_EPS };

static const char *const norms[] = {"rms", "layer", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "steps of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"H", "heads", "heads", SQ_AXIS_INT, 8, 1, 1 << 16, NULL},
    {"D", "head-dim", "channels of a head", SQ_AXIS_INT, 512, 1, 1 << 20, NULL},
    {"norm", "norm", "layer: the mean is taken off first", SQ_AXIS_CHOICE, 0, 0, 1, norms},
    {"weight", "weight", "1: a weight for each channel", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"bias", "bias", "1: a bias for each channel", SQ_AXIS_INT, 0, 0, 1, NULL},
    {"eps", "eps", "added to the mean square", SQ_AXIS_REAL, 1e-6, 1e-12, 1, NULL},
    {.name = NULL},
};

sq_norm sq_group_norm_norm(sq_pass pass, const sq_axis_value *axis)
{
    return (sq_norm){.batch = sq_axis_int(axis, AXIS_B),
                     .length = pass == SQ_PASS_STEP ? 1 : sq_axis_int(axis, AXIS_L),
                     .groups = sq_axis_int(axis, AXIS_H),
                     .width = sq_axis_int(axis, AXIS_D),
                     .is_by_head = true,
                     .is_centred = axis[AXIS_NORM] != 0,
                     .has_weight = axis[AXIS_WEIGHT] != 0,
                     .has_bias = axis[AXIS_BIAS] != 0,
                     .eps = axis[AXIS_EPS]};
}

/* RetNet's: heads of 512 values for each 256 channels of the model. */
static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    if (width % 256 != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "width %lld is no multiple of 256", (long long)width);
    axis[AXIS_H] = (double)(width / 256);
    axis[AXIS_D] = 512;
    return SQ_OK;
}

SQ_NORM_FUNCTIONS(sq_group_norm_norm)

static const char *const test_shapes[] = {
    "B=1,L=1,H=2,D=64",
    "B=2,L=3,H=8,D=512",
    "B=1,L=7,H=3,D=24",
    "B=1,L=5,H=4,D=1,eps=0.1",
    "B=2,L=13,H=2,D=65,norm=layer",
    "B=1,L=37,H=1,D=96,weight=1",
    "B=2,L=9,H=5,D=40,norm=layer,weight=1,bias=1",
    "B=1,L=3,H=2,D=1024,norm=layer,bias=1",
    "B=1,L=259,H=4,D=32,weight=1,bias=1",
    NULL,
};

const sq_op sq_op_group_norm = {
    .name = "group_norm",
    .source = "Sun et al., arXiv 2307.08621, eq. 8; Wu, He, arXiv 1803.08494",
    .doc = "y = x / sqrt(mean(x^2) + eps) * w + b of each head; layer: less its mean first",
    .is_mixer = false,
    .axes = axes,
    .at_width = at_width,
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
