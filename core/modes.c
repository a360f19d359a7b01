/* modes: see modes.h. */
#include "core/modes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"

static double limit_for(int n)
{
    return 4 * fmax(1, pow(20.0 / n, 1.6));
}

/* Where to cut n >= 2 sorted values. The squares within both sets are least where those between
 * their means are most. */
static int best_cut(const double *sorted, int n)
{
    double total = 0, sum = 0, most = -1;
    int cut = 1;
    for (int i = 0; i < n; i++)
        total += sorted[i] - sorted[0];
    for (int k = 1; k < n; k++) {
        sum += sorted[k - 1] - sorted[0];
        double apart = (total - sum) / (n - k) - sum / k;
        double between = apart * apart * k * (n - k);
        if (between > most)
            most = between, cut = k;
    }
    return cut;
}

static double middle(const double *sorted, int n)
{
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static sq_modes split(double *sorted, int n)
{
    int cut = best_cut(sorted, n);
    sq_modes modes = {.n_low = cut,
                      .n_high = n - cut,
                      .low = middle(sorted, cut),
                      .high = middle(sorted + cut, n - cut),
                      .gap = sorted[cut] - sorted[cut - 1],
                      .limit = limit_for(n)};
    for (int i = 0; i < n; i++)
        sorted[i] = fabs(sorted[i] - (i < cut ? modes.low : modes.high));
    modes.within = sq_median(sorted, n);
    modes.is_bimodal = n >= SQ_MODES_RUNS && modes.n_low >= SQ_MODES_IN_MODE &&
                       modes.n_high >= SQ_MODES_IN_MODE && modes.gap > modes.limit * modes.within;
    return modes;
}

sq_status sq_modes_of(const double *values, int n, sq_modes *out)
{
    *out = (sq_modes){.is_bimodal = false};
    if (n < 2)
        return SQ_OK;
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted)
        return SQ_OUT_OF_MEMORY;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    sq_sort(sorted, n);
    *out = split(sorted, n);
    free(sorted);
    return SQ_OK;
}
