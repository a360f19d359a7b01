/* ranks: the Mann-Whitney test, the Hodges-Lehmann shift and the Mann-Kendall test of infer.h. */
#include "core/infer.h"

#include <math.h>
#include <stdlib.h>

#include "core/special.h"
#include "core/stats.h"

enum { MAX_EXACT_PAIRS = 400 };

static int min_of(int a, int b)
{
    return a < b ? a : b;
}

static double sign_of(double x)
{
    return (x > 0) - (x < 0);
}

/* One past the last value equal to the i-th of a sorted series. */
static int end_of_ties(const double *sorted, int n, int i)
{
    int end = i + 1;
    while (end < n && sorted[end] == sorted[i])
        end++;
    return end;
}

/* Sum of t^3 - t over the groups of t equal values of a sorted series. */
static double tie_term(const double *sorted, int n)
{
    double sum = 0;
    for (int i = 0, end; i < n; i = end) {
        end = end_of_ties(sorted, n, i);
        double t = end - i;
        sum += t * t * t - t;
    }
    return sum;
}

/* --- the null distribution of the rank sum --- */

/* Twice the mid-ranks of a sorted series: whole numbers, ties or not. */
static void double_ranks(const double *sorted, int n, int *rank)
{
    for (int i = 0, end; i < n; i = end) {
        end = end_of_ties(sorted, n, i);
        for (int k = i; k < end; k++)
            rank[k] = i + 1 + end;
    }
}

/* count[s]: how many of the choices of `size` of the n ranks have the sum s, for s = 0 ... *top.
 * The choices of k ranks with a sum s are those without the last rank r, and those of k - 1 others
 * with the sum s - r. At most C(40, 20): whole in a double. The caller frees it; NULL: no memory.
 */
static double *count_sums(const int *rank, int n, int size, int *top)
{
    int most = 0;
    for (int i = n - size; i < n; i++)
        most += rank[i];
    size_t row = (size_t)most + 1;
    double *count = calloc((size_t)(size + 1) * row, sizeof *count);
    *top = most;
    if (!count)
        return NULL;
    count[0] = 1;
    for (int i = 0; i < n; i++)
        for (int k = min_of(size, i + 1); k >= 1; k--)
            for (int s = rank[i]; s <= most; s++)
                count[(size_t)k * row + (size_t)s] +=
                    count[(size_t)(k - 1) * row + (size_t)(s - rank[i])];
    for (size_t s = 0; s < row; s++)
        count[s] = count[(size_t)size * row + s];
    return count;
}

/* Twice the smaller tail at `sum`, at most 1. */
static double two_sided(const double *count, int top, int sum)
{
    double all = 0, below = 0, above = 0;
    for (int s = 0; s <= top; s++) {
        all += count[s];
        below += s <= sum ? count[s] : 0;
        above += s >= sum ? count[s] : 0;
    }
    return fmin(1, 2 * fmin(below, above) / all);
}

/* p of a side of `size` values whose doubled ranks add up to `sum`, among `n` sorted ones. */
static double exact_p(const double *sorted, int n, int size, int sum)
{
    int top;
    double p = NAN, *count = NULL;
    int *rank = malloc((size_t)n * sizeof *rank);
    if (rank) {
        double_ranks(sorted, n, rank);
        count = count_sums(rank, n, size, &top);
    }
    if (count)
        p = two_sided(count, top, sum);
    free(count);
    free(rank);
    return p;
}

/* --- Mann-Whitney --- */

static double normal_p(const double *sorted, int n_a, int n_b, double u)
{
    double n = n_a + n_b, pairs = (double)n_a * n_b;
    double variance = pairs / 12 * (n + 1 - tie_term(sorted, n_a + n_b) / (n * (n - 1)));
    if (variance <= 0)
        return 1;
    double z = fmax(0, fabs(u - pairs / 2) - 0.5) / sqrt(variance);
    return fmin(1, 2 * sq_normal_cdf(-z));
}

static double pairs_above(const double *a, int n_a, const double *b, int n_b)
{
    double u = 0;
    for (int i = 0; i < n_a; i++)
        for (int k = 0; k < n_b; k++)
            u += (1 + sign_of(b[k] - a[i])) / 2;
    return u;
}

sq_rank_test sq_mann_whitney(const double *a, int n_a, const double *b, int n_b)
{
    sq_rank_test test = {NAN, NAN, NAN, false};
    int n = n_a + n_b;
    double *all = n_a > 0 && n_b > 0 ? malloc((size_t)n * sizeof *all) : NULL;
    if (!all)
        return test;
    for (int i = 0; i < n; i++)
        all[i] = i < n_a ? a[i] : b[i - n_a];
    sq_sort(all, n);
    test.u = pairs_above(a, n_a, b, n_b);
    test.superiority = test.u / n_a / n_b;
    test.is_exact = (double)n_a * n_b <= MAX_EXACT_PAIRS;
    /* The sum of a side's mid-ranks is its pairs above, plus its own pairs. */
    int size = min_of(n_a, n_b);
    double above = n_b <= n_a ? test.u : (double)n_a * n_b - test.u;
    test.p = test.is_exact ? exact_p(all, n, size, (int)(2 * above) + size * (size + 1))
                           : normal_p(all, n_a, n_b, test.u);
    free(all);
    return test;
}

/* --- Hodges-Lehmann --- */

/* The largest k with P(U < k) <= 2.5 % without ties: the interval is from the k-th smallest to the
 * k-th largest difference. 0: there is none. */
static int shift_rank(int n_a, int n_b)
{
    int n = n_a + n_b, size = min_of(n_a, n_b), top, k = 0;
    double pairs = (double)n_a * n_b;
    if (pairs > MAX_EXACT_PAIRS)
        return (int)(pairs / 2 - sq_normal_quantile(0.975) * sqrt(pairs * (n + 1) / 12));
    int rank[MAX_EXACT_PAIRS + 1]; /* n_a + n_b <= n_a n_b + 1 */
    for (int i = 0; i < n; i++)
        rank[i] = i + 1;
    double *count = count_sums(rank, n, size, &top), all = 0, below = 0;
    if (!count)
        return 0;
    for (int s = 0; s <= top; s++)
        all += count[s];
    for (int least = size * (size + 1) / 2; k <= pairs / 2; k++) {
        below += count[least + k];
        if (below > 0.025 * all)
            break;
    }
    free(count);
    return k;
}

sq_interval sq_hodges_lehmann(const double *a, int n_a, const double *b, int n_b)
{
    sq_interval shift = {NAN, NAN, NAN};
    int pairs = n_a > 0 && n_b > 0 ? n_a * n_b : 0;
    double *difference = pairs ? malloc((size_t)pairs * sizeof *difference) : NULL;
    if (!difference)
        return shift;
    for (int i = 0; i < pairs; i++)
        difference[i] = b[i % n_b] - a[i / n_b];
    shift.estimate = sq_median(difference, pairs);
    int k = shift_rank(n_a, n_b);
    if (k > 0) {
        shift.lo = difference[k - 1];
        shift.hi = difference[pairs - k];
    }
    free(difference);
    return shift;
}

/* --- Mann-Kendall --- */

sq_trend sq_mann_kendall(const double *values, int n)
{
    sq_trend trend = {NAN, NAN};
    double *sorted = n >= 4 ? malloc((size_t)n * sizeof *sorted) : NULL;
    if (!sorted)
        return trend;
    trend.s = 0;
    for (int i = 0; i < n; i++) {
        sorted[i] = values[i];
        for (int k = 0; k < i; k++)
            trend.s += sign_of(values[i] - values[k]);
    }
    sq_sort(sorted, n);
    double size = n, variance = size * (size - 1) * (2 * size + 5);
    for (int i = 0, end; i < n; i = end) {
        end = end_of_ties(sorted, n, i);
        double t = end - i;
        variance -= t * (t - 1) * (2 * t + 5);
    }
    variance /= 18;
    double z = variance > 0 ? fmax(0, fabs(trend.s) - 1) / sqrt(variance) : 0;
    trend.p = fmin(1, 2 * sq_normal_cdf(-z));
    free(sorted);
    return trend;
}
