#include "core/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_int32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Largest k >= 1 such that [x_(k), x_(n+1-k)] (1-based order statistics) covers the median with at
 * least 95 %: P(Binomial(n, 1/2) < k) <= 2.5 %. 0 where even the extremes do not reach it (n < 6). */
static int interval_rank(int n)
{
    if (n > 1000)
        return (int)floor(n / 2.0 - 1.959963985 * sqrt(n) / 2.0); /* normal approximation */
    double term = exp2(-n), below = 0; /* term = C(n, k) 2^-n; exact down to 2^-1000 */
    int k = 0;
    while (below + term <= 0.025) {
        below += term;
        term *= (double)(n - k) / (double)(k + 1);
        k++;
    }
    return k;
}

static double median_of_sorted(const int32_t *sorted, int n)
{
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + (double)sorted[n / 2]) / 2;
}

static double deviation(const int32_t *samples, int n, double median)
{
    double *distance = (double *)malloc((size_t)n * sizeof *distance);
    if (!distance)
        return NAN;
    for (int i = 0; i < n; i++)
        distance[i] = fabs(samples[i] - median);
    qsort(distance, (size_t)n, sizeof *distance, compare_double);
    double mad = n % 2 ? distance[n / 2] : (distance[n / 2 - 1] + distance[n / 2]) / 2;
    free(distance);
    return mad;
}

sq_stats sq_stats_of(const int32_t *samples, int n)
{
    sq_stats stats = {.n = 0};
    int32_t *sorted = n > 0 ? (int32_t *)malloc((size_t)n * sizeof *sorted) : NULL;
    if (!sorted)
        return stats;
    memcpy(sorted, samples, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_int32);
    int k = interval_rank(n);
    if (k < 1)
        k = 1;
    stats.n = n;
    stats.median = median_of_sorted(sorted, n);
    stats.lo = sorted[k - 1];
    stats.hi = sorted[n - k];
    stats.min = sorted[0];
    stats.mad = deviation(sorted, n, stats.median);
    free(sorted);
    return stats;
}
