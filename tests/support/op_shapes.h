/* op_shapes: shapes beside the operators' own test shapes: axes at 1. */
#ifndef SQ_TESTS_SUPPORT_OP_SHAPES_H
#define SQ_TESTS_SUPPORT_OP_SHAPES_H

#include "kernels/op.h"

/* The i-th shape that every provider of `op` is tested on: the operator's own, then those of axes
 * at 1 that these lack; NULL behind the last. */
const char *sq_case_shape(const sq_op *op, int i);

#endif
