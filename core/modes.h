/* modes: does a cell have two levels that its runs choose from (two clocks, two layouts)? */
#ifndef SQ_CORE_MODES_H
#define SQ_CORE_MODES_H

#include <stdbool.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Below these numbers nothing is called bimodal: one slow run is no mode. Nor are less than a fifth of
 * the runs, which spikes are often enough. */
enum { SQ_MODES_RUNS = 8, SQ_MODES_IN_MODE = 2 };

/* The split of the values into two sets whose squared deviations from their means are least (k-means
 * with k = 2, exact: in one dimension the sets are intervals). */
typedef struct {
    bool is_bimodal; /* the gap is more than seven times the deviation within */
    int n_low, n_high;
    double low, high; /* medians of the two sets */
    double gap;       /* from the largest low one to the smallest high one */
    double within; /* mean distance of a set's values from its median: of the set that has more */
} sq_modes;

/* values: logarithms of run medians, not modified. Less than two: all zero. SQ_OUT_OF_MEMORY or
 * SQ_OK. */
sq_status sq_modes_of(const double *values, int n, sq_modes *out);

#ifdef __cplusplus
}
#endif
#endif
