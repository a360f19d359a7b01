/* stats: order statistics of one run's samples. No distribution is assumed. */
#ifndef SQ_CORE_STATS_H
#define SQ_CORE_STATS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int n;
    double median, lo, hi; /* hi, lo: 95 % order-statistic interval of the median (binomial) */
    double min, mad;       /* mad: median absolute deviation from the median, unscaled */
} sq_stats;

/* Statistics of n >= 1 samples (not modified). Fewer than 6 samples have no 95 % interval: lo and
 * hi are then the smallest and the largest. n == 0, or no memory for a sorted copy, gives all
 * zero. */
sq_stats sq_stats_of(const int32_t *samples, int n);

#ifdef __cplusplus
}
#endif
#endif
