/* stats: order statistics of one run's samples, and the descriptions of a series that need no test.
 * No distribution is assumed. Tests and intervals over runs are in core/infer.h. */
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

/* The interval from the r-th smallest to the r-th largest of n values covers the median of what they
 * were drawn from with at least `level`, whatever its distribution; the largest such r. 0: none. */
int sq_median_rank(int n, double level);

/* Below, a series with too few values for the question gives NAN. */

void sq_sort(double *values, int n); /* ascending; no NAN among them */
/* Quantile 0 <= p <= 1 of sorted values, linear between neighbours (type 7 of Hyndman and Fan). */
double sq_quantile(const double *sorted, int n, double p);
double sq_median(double *values, int n); /* sorts them */
double sq_mean(const double *values, int n);
/* Standard deviation of the sample (n - 1), by two passes; n >= 2. */
double sq_deviation(const double *values, int n);

/* Correlation of each value with the next; n >= 3, NAN where all are equal. */
double sq_lag1(const double *values, int n);
/* How many independent values know the mean as well as n of this series do, were it an AR(1):
 * n (1 - r) / (1 + r), between 1 and n. Where all values are equal: n. */
double sq_effective_size(const double *values, int n);

#ifdef __cplusplus
}
#endif
#endif
