/* modes: see modes.h. */
#include "core/modes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"

/* Of one level, one series in a hundred at most has such a gap (tests/gate/gate_night_rates.c). */
static const double gap_limit = 7;

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

static double mean_distance(const double *values, int n, double from)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs(values[i] - from);
    return sum / n;
}

static sq_modes split(const double *sorted, int n)
{
    int cut = best_cut(sorted, n), least = (n + 4) / 5;
    const double *above = sorted + cut;
    sq_modes modes = {.n_low = cut,
                      .n_high = n - cut,
                      .low = middle(sorted, cut),
                      .high = middle(above, n - cut),
                      .gap = sorted[cut] - sorted[cut - 1]};
    modes.within =
        fmax(mean_distance(sorted, cut, modes.low), mean_distance(above, n - cut, modes.high));
    least = least > SQ_MODES_IN_MODE ? least : SQ_MODES_IN_MODE;
    modes.is_bimodal = n >= SQ_MODES_RUNS && modes.n_low >= least && modes.n_high >= least &&
                       modes.gap > gap_limit * modes.within;
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
