/* paired: two binaries run in turn, A B B A: what drifts in a straight line cancels within a block,
 * and what one night has of its own is on both sides. */
#ifndef SQ_CORE_PAIRED_H
#define SQ_CORE_PAIRED_H

#include "core/infer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Run medians of one block: two runs a side. Those of A are the first and the last of four. */
typedef struct {
    double a[2], b[2];
} sq_block;

/* log(b) - log(a) of a block, mean of the two. NAN where a number is missing or not positive. */
double sq_block_difference(const sq_block *block);

enum { SQ_SIGN_FLIP_EXACT = 16 };

/* p of "the mean is at most 0", exact: the share of all 2^n ways to choose the signs of n differences
 * whose mean is at least as large. Needs symmetric differences and no distribution. Swap the sign of
 * the values for the other side. NAN where n < 1 or n > SQ_SIGN_FLIP_EXACT. The least p is 2^-n. */
double sq_sign_flip_p(const double *differences, int n);

/* Mean of n >= 2 differences with Student's interval at `level`. */
sq_interval sq_paired_interval(const double *differences, int n, double level);

#ifdef __cplusplus
}
#endif
#endif
