/* parts: the pieces that several families share. Internal to models/. */
#ifndef SQ_MODELS_PARTS_H
#define SQ_MODELS_PARTS_H

#include "models/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The axes every block begins with, in this order. */
enum { SQ_BLOCK_B, SQ_BLOCK_L, SQ_BLOCK_D, SQ_BLOCK_OWN };

#define SQ_BLOCK_AXES(width)                                                                       \
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1048576, NULL},                                 \
        {"L", "seqlen", "tokens per sequence", SQ_AXIS_INT, 1024, 1, 16777216, NULL},              \
    {                                                                                              \
        "D", "width", "model width", SQ_AXIS_INT, width, 1, 65536, NULL                            \
    }

/* Blocks run forward, and by one token where their states are all they keep. no_step: why this one
 * does not, or NULL. */
sq_status sq_part_check_pass(sq_pass pass, const char *no_step, sq_error *err);
#define SQ_PART_NO_CACHE                                                                           \
    "attention needs keys and values of its context, and no operator adds to them"

/* Begins a block: says its pass and (B, L) and makes its input x, tokens of unit variance. */
sq_tid sq_part_input(sq_graph *graph, sq_pass pass, const sq_axis_value *axis);

/* y = x W^T (+ residual); W (n_out, n_in). Names its parameter "<name>.w". */
sq_tid sq_part_linear(sq_graph *graph, const char *name, sq_tid x, int64_t n_in, int64_t n_out);
sq_tid sq_part_linear_residual(sq_graph *graph, const char *name, sq_tid x, sq_tid residual,
                               sq_tid out, int64_t n_in, int64_t n_out);
/* RMSNorm with weight over the last axis of width D. */
sq_tid sq_part_norm(sq_graph *graph, const char *name, sq_tid x, int64_t width);

/* Whole sublayers: out = x + mixer(norm(x)); out SQ_TID_NONE makes an activation. */
sq_tid sq_part_attention(sq_graph *graph, const char *prefix, sq_tid x, sq_tid out, int64_t width,
                         int64_t heads, int64_t kv_heads, int64_t window);
sq_tid sq_part_mamba(sq_graph *graph, const char *prefix, sq_tid x, sq_tid out, int64_t width,
                     int64_t state, int64_t conv);

/* Resolves H (0: width / 128, or 1) and Hkv (0: H), and refuses heads that do not divide. */
sq_status sq_part_check_heads(int64_t width, sq_axis_value *heads, sq_axis_value *kv_heads,
                              sq_error *err);

/* Default at_width: D = width and nothing else. */
sq_status sq_part_at_width(int64_t width, sq_axis_value *axis, sq_error *err);
/* Every node rounds its output to the dtype, and both sides of a proof round at the same places:
 * what is left is the difference of a few roundings per node, carried through the block. */
sq_tolerance sq_part_tolerance(sq_dtype dtype, const sq_axis_value *axis);

#ifdef __cplusplus
}
#endif
#endif
