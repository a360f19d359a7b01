/* discovery: many tests at once, and how often they were wrong. */
#ifndef SQ_CORE_DISCOVERY_H
#define SQ_CORE_DISCOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/infer.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* q[i]: the smallest share of false discoveries (expected) among those that would be called with
 * test i (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995, 289). A NAN among p is no test; its q
 * is NAN. SQ_OUT_OF_MEMORY or SQ_OK. */
sq_status sq_false_discovery(const double *p, int n, double *q);

/* The level that single tests had at this share of false discoveries: the largest p whose q is at
 * most `share`; where there is none, the one that the smallest p would have needed. NAN without
 * tests. */
double sq_discovery_level(const double *p, const double *q, int n, double share);

/* Share of `of` trials in which something happened `times`, with the exact 95 % interval (Clopper
 * and Pearson, Biometrika 26, 1934, 404): the rate of false alarms over the A/A cells of many
 * nights. NAN where of = 0. */
sq_interval sq_rate(int64_t times, int64_t of);

/* Which of n cells are measured as both sides on one night: a share of them, rounded up, by the
 * order of their hashes under the night's seed, so that every cell has its turn. SQ_OUT_OF_MEMORY or
 * SQ_OK. */
sq_status sq_pick_sentinels(const uint64_t *hash, int n, uint64_t seed, double share,
                            bool *is_sentinel);

#ifdef __cplusplus
}
#endif
#endif
