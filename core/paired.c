/* paired: see paired.h. */
#include "core/paired.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

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

double sq_sign_flip_p(const double *differences, int n)
{
    if (n < 1 || n > SQ_SIGN_FLIP_EXACT)
        return NAN;
    double seen = 0, slack = slack_of(differences, n);
    for (int i = 0; i < n; i++)
        seen += differences[i];
    uint32_t all = UINT32_C(1) << n, reached = 0;
    for (uint32_t signs = 0; signs < all; signs++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += signs >> i & 1 ? -differences[i] : differences[i];
        reached += sum >= seen - slack;
    }
    return (double)reached / all;
}

sq_interval sq_paired_interval(const double *differences, int n, double level)
{
    double mean = sq_mean(differences, n);
    if (n < 2)
        return (sq_interval){mean, NAN, NAN};
    double half = sq_t_quantile((1 + level) / 2, n - 1) * sq_deviation(differences, n) / sqrt(n);
    return (sq_interval){mean, mean - half, mean + half};
}
