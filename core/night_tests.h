/* night_tests: one quantity (time, cycles, set-up time) of all cells of a night, tested together. */
#ifndef SQ_CORE_NIGHT_TESTS_H
#define SQ_CORE_NIGHT_TESTS_H

#include "core/night.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills results[i].test[quantity] of every cell, and the level that single tests had. */
sq_status sq_night_test_quantity(const sq_night_cell *cells, int n, const sq_night_policy *policy,
                                 sq_night_quantity quantity, sq_night_result *results,
                                 double *level);

/* The smallest change, a difference of logarithms, that the policy asks of a quantity. */
double sq_night_least(const sq_night_policy *policy, sq_night_quantity quantity);

#ifdef __cplusplus
}
#endif
#endif
