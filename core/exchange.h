/* exchange: how often the noise of cells alone reaches a p, whatever its distribution. Half of the runs
 * of a cell's side change places with half of the other's; what nothing happened to cannot be told from
 * that, and what changed is on both sides. The p of all cells that result are those of no change
 * (pooled as by Tusher, Tibshirani and Chu, PNAS 98, 2001, 5116, whose permutations are balanced too).
 */
#ifndef SQ_CORE_EXCHANGE_H
#define SQ_CORE_EXCHANGE_H

#include <stdint.h>

#include "core/moderate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Those p of all exchanges drawn that are at most `most`. */
typedef struct {
    double *p, most;
    int n;
    int64_t drawn;
    double df, least_t; /* the t of `most` at these degrees of freedom, which many cells share */
} sq_exchanges;
/* Room for so many cells. SQ_OUT_OF_MEMORY or SQ_OK; to be closed in either case. */
sq_status sq_exchanges_open(sq_exchanges *exchanges, int cells, double most);
void sq_exchanges_close(sq_exchanges *exchanges);

/* Adds one cell: logarithms of its runs, n_a, n_b >= 1, and the prior that its test had. `index` makes
 * its draws those of no other cell. */
void sq_exchanges_add(sq_exchanges *exchanges, const double *a, int n_a, const double *b, int n_b,
                      const sq_variance_prior *prior, uint64_t seed, int64_t index);
void sq_exchanges_sort(sq_exchanges *exchanges); /* after the last one */

/* p as often as it is reached: the larger of p and the share of exchanges whose p is at most that. One
 * above `most` stays. */
double sq_exchanges_p(const sq_exchanges *exchanges, double p);

#ifdef __cplusplus
}
#endif
#endif
