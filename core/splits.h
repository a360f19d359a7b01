/* splits: a side split at random into two, which differ by noise alone (A/A). */
#ifndef SQ_CORE_SPLITS_H
#define SQ_CORE_SPLITS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In how many ways n runs split into two sides as equal as can be; at most INT32_MAX. 0 for n < 2. */
int32_t sq_splits(int n);

/* Sum of `chosen` of the n values, each choice as likely: number `draw` under a seed. The same places
 * are chosen of every series of n values. */
double sq_split_sum(const double *values, int n, int chosen, uint64_t seed, int64_t draw);

/* Difference of the means of the two sides, split number `draw` under a seed: the same runs are on
 * the same side for every series of n values. NAN for n < 2. */
double sq_split_difference(const double *values, int n, uint64_t seed, int64_t draw);

#ifdef __cplusplus
}
#endif
#endif
