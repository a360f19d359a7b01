#include "core/stats.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const double *sorted, int n)
{
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

/* Largest r with P(X < r) <= 2.5 % for X ~ Binomial(n, 1/2): the interval from the r-th smallest to
 * the r-th largest sample covers the median with at least 95 %. 0 where there is none (n < 6).
 * The terms are taken relative to the middle one, so that 2^-n cannot underflow. */
static int interval_rank(int n)
{
    int mid = n / 2;
    double term = 1, half = 0;
    for (int k = mid; k >= 0; k--) {
        half += term;
        term *= k / (n - k + 1.0);
    }
    double limit = 0.025 * (n % 2 ? 2 * half : 2 * half - 1);
    double tail = half; /* P(X <= k), scaled */
    int k = mid;
    for (term = 1; k >= 0 && tail > limit; k--) {
        tail -= term;
        term *= k / (n - k + 1.0);
    }
    return k + 1;
}

static sq_stats of_sorted(double *value, int n)
{
    int rank = interval_rank(n);
    int first = rank > 0 ? rank - 1 : 0;
    sq_stats stats = {.n = n, .median = middle(value, n), .lo = value[first],
                      .hi = value[n - 1 - first], .min = value[0]};
    for (int i = 0; i < n; i++)
        value[i] = fabs(value[i] - stats.median);
    qsort(value, (size_t)n, sizeof *value, by_value);
    stats.mad = middle(value, n);
    return stats;
}

sq_stats sq_stats_of(const int32_t *samples, int n)
{
    sq_stats none = {0};
    if (n <= 0)
        return none;
    double *value = malloc((size_t)n * sizeof *value);
    if (!value)
        return none;
    for (int i = 0; i < n; i++)
        value[i] = samples[i];
    qsort(value, (size_t)n, sizeof *value, by_value);
    sq_stats stats = of_sorted(value, n);
    free(value);
    return stats;
}
