/* paired: see paired.h. */
#include "core/paired.h"

#include <float.h>
#include <math.h>

#include "core/special.h"
#include "core/stats.h"

double sq_block_difference(const sq_block *block)
{
    for (int i = 0; i < 2; i++)
        if (!(block->a[i] > 0 && block->b[i] > 0))
            return NAN;
    return (log(block->b[0]) + log(block->b[1]) - log(block->a[0]) - log(block->a[1])) / 2;
}

/* Sums of chosen signs that are equal but for rounding count as reached. */
static double slack_of(const double *differences, int n)
{
    double size = 0;
    for (int i = 0; i < n; i++)
        size += fabs(differences[i]);
    return 4 * n * DBL_EPSILON * size;
}

enum { HALF = SQ_SIGN_FLIP_EXACT / 2, HALF_WAYS = 1 << HALF };

/* All sums of n <= HALF values with either sign; how many. */
static int signed_sums(const double *values, int n, double *sums)
{
    int ways = 1;
    sums[0] = 0;
    for (int i = 0; i < n; i++, ways *= 2)
        for (int k = 0; k < ways; k++) {
            sums[ways + k] = sums[k] - values[i];
            sums[k] += values[i];
        }
    return ways;
}

double sq_sign_flip_p(const double *differences, int n)
{
    if (n < 1 || n > SQ_SIGN_FLIP_EXACT)
        return NAN;
    int first = n < HALF ? n : HALF;
    double lo[HALF_WAYS], hi[HALF_WAYS], slack = slack_of(differences, n);
    int ways_lo = signed_sums(differences, first, lo);
    int ways_hi = signed_sums(differences + first, n - first, hi);
    double seen = lo[0] + hi[0]; /* no sign changed */
    long reached = 0;
    for (int i = 0; i < ways_lo; i++)
        for (int k = 0; k < ways_hi; k++)
            reached += lo[i] + hi[k] >= seen - slack;
    return (double)reached / ways_lo / ways_hi;
}

sq_interval sq_paired_interval(const double *differences, int n, double level)
{
    double mean = sq_mean(differences, n);
    if (n < 2)
        return (sq_interval){mean, NAN, NAN};
    double half = sq_t_quantile((1 + level) / 2, n - 1) * sq_deviation(differences, n) / sqrt(n);
    return (sq_interval){mean, mean - half, mean + half};
}
