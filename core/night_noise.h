/* night_noise: what the runs of all cells say together of the noise of one quantity, beside its
 * variance: whether runs resemble their neighbours, and what no change at all looks like. The order of
 * the runs is asked for the first alone. */
#ifndef SQ_CORE_NIGHT_NOISE_H
#define SQ_CORE_NIGHT_NOISE_H

#include "core/moderate.h"
#include "core/night.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One quantity of all cells: both sides of each, and the prior of each group, as of independent runs. */
typedef struct {
    const sq_night_cell *cells;
    const sq_two_sides *sides; /* df = 0: not tested */
    const sq_variance_prior *prior;
    int n, groups;
    sq_night_quantity quantity;
    const sq_night_policy *policy;
} sq_quantity;

/* similar: the policy's quantile of |difference| when the baseline of a cell is split at random into two
 * sides, in standard errors by tonight's runs, over the cells of a group. Those are other runs: a spike
 * among them is not in the error as well, so new splits exceed it no more often than they should. Of
 * cells in per cent a few with two far modes, or the noisy half of a group, would set the floor of the
 * quiet ones. NAN: too few cells.
 * own: the same quantile of one cell alone, as a difference; 0 where its splits are too few. */
typedef struct {
    double correlation; /* of a run with the next */
    double *similar, *own;
} sq_run_noise;

/* SQ_OUT_OF_MEMORY or SQ_OK; to be freed in either case. */
sq_status sq_run_noise_of(const sq_quantity *quantity, sq_run_noise *out);
void sq_run_noise_free(sq_run_noise *noise);

/* Raises p where it is at most `level` to how often exchanges of runs reach it, of all cells but those
 * that changed as it seems: whose p is at most `level`. SQ_OUT_OF_MEMORY or SQ_OK. */
sq_status sq_raise_to_exchanges(const sq_quantity *quantity, double level, double *p);

#ifdef __cplusplus
}
#endif
#endif
