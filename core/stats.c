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

void sq_sort(double *values, int n)
{
    if (n > 1)
        qsort(values, (size_t)n, sizeof *values, by_value);
}

/* Largest r with P(X < r) <= (1 - level) / 2 for X ~ Binomial(n, 1/2). The terms are taken relative to
 * the middle one, so that 2^-n cannot underflow. */
int sq_median_rank(int n, double level)
{
    int mid = n / 2;
    double term = 1, half = 0;
    for (int k = mid; k >= 0; k--) {
        half += term;
        term *= k / (n - k + 1.0);
    }
    double limit = (1 - level) / 2 * (n % 2 ? 2 * half : 2 * half - 1);
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
    int rank = sq_median_rank(n, 0.95);
    int first = rank > 0 ? rank - 1 : 0;
    sq_stats stats = {.n = n,
                      .median = middle(value, n),
                      .lo = value[first],
                      .hi = value[n - 1 - first],
                      .min = value[0]};
    for (int i = 0; i < n; i++)
        value[i] = fabs(value[i] - stats.median);
    sq_sort(value, n);
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
    sq_sort(value, n);
    sq_stats stats = of_sorted(value, n);
    free(value);
    return stats;
}

double sq_quantile(const double *sorted, int n, double p)
{
    if (n < 1 || !(p >= 0 && p <= 1))
        return NAN;
    double place = p * (n - 1);
    int below = (int)place;
    int above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

double sq_median(double *values, int n)
{
    if (n < 1)
        return NAN;
    sq_sort(values, n);
    return middle(values, n);
}

double sq_mean(const double *values, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += values[i];
    return n > 0 ? sum / n : NAN;
}

/* Sum of products of the deviations from the mean of values `lag` apart. */
static double products(const double *values, int n, int lag)
{
    double mean = sq_mean(values, n), sum = 0;
    for (int i = 0; i + lag < n; i++)
        sum += (values[i] - mean) * (values[i + lag] - mean);
    return sum;
}

double sq_deviation(const double *values, int n)
{
    return n >= 2 ? sqrt(products(values, n, 0) / (n - 1)) : NAN;
}

/* Rounding of the mean gives equal values a deviation, so that one is not asked. */
static int is_constant(const double *values, int n)
{
    for (int i = 1; i < n; i++)
        if (values[i] != values[0])
            return 0;
    return 1;
}

double sq_lag1(const double *values, int n)
{
    if (n < 3 || is_constant(values, n))
        return NAN;
    return products(values, n, 1) / products(values, n, 0);
}

double sq_effective_size(const double *values, int n)
{
    double r = sq_lag1(values, n);
    if (isnan(r) || r <= 0)
        return n;
    return fmax(1, n * (1 - r) / (1 + r));
}
