/* op_shapes: shapes beside the operators' own test shapes: axes at 1, long sequences, tensors beyond
 * 2^31 elements.
 */
#ifndef SQ_TESTS_SUPPORT_OP_SHAPES_H
#define SQ_TESTS_SUPPORT_OP_SHAPES_H

#include "kernels/op.h"

/* The i-th shape that every provider of `op` is tested on: the operator's own, then those of axes
 * at 1 that these lack; NULL behind the last. */
const char *sq_case_shape(const sq_op *op, int i);

/* The i-th small shape that cuda/native cuts into segments in passes fwd and bwd, with each of its
 * kernels but those of one warpgroup, which the operators' own shapes have; NULL behind the last. For
 * what a sanitizer watches: its launches are short, its reference is not. */
const char *sq_segmented_shape(const sq_op *op, int i);

/* One sequence of 2^20 steps at a small width, in one type: of every operator one or two, ended by
 * a NULL op. */
typedef struct {
    const char *op, *shape;
    sq_dtype dtype;
} sq_op_shape;

extern const sq_op_shape sq_million_shapes[];

/* One sequence of 2^18 steps of a recurrence, with states before and after it; NULL of other
 * operators. */
const char *sq_drift_shape(const sq_op *op);

/* B=1 and a largest tensor of more than 2^31 elements. */
const char *sq_sequence_shape(const sq_op *op);
/* What to set, ",NAME=VALUE...", besides B for a step of as many; "" where the defaults do. */
const char *sq_step_widths(const sq_op *op);

#endif
