/* warmup: unmeasured launches until their times no longer drift. Internal to bench/time. */
#ifndef SQ_BENCH_TIME_WARMUP_H
#define SQ_BENCH_TIME_WARMUP_H

#include <stdbool.h>

#include "bench/time/launcher.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds of the sampling's clock. */
double sq_sampling_clock(const sq_sampling *what);
/* Adds what a rest after `busy_seconds` of work is to *owed, and takes it once it is worth a sleep:
 * 0.1 s at most, which is as long as the controller of the power limit remembers. */
void sq_sampling_rest(const sq_sampling *what, const sqt_policy *policy, double busy_seconds,
                      double *owed);
/* Calls what->alive where the last call is a second ago; *last: when that was. */
void sq_sampling_beat(const sq_sampling *what, double *last);

/* Launches and waits, one by one: at least the policy's launches and seconds, then until
 * stationary, at most 4 times the policy's seconds. Fills warmup_launches, warmup_drift,
 * launch_seconds and is_too_long of the result. */
sq_status sq_warm_up(sq_launcher *launcher, const sqt_policy *policy, sqt_result *result,
                     sq_error *err);

/* Whether the last third of n times in a row has the level of the third before: their medians
 * within 1 %, or their 95 % intervals (of fewer than 6: smallest to largest) in touch. *drift:
 * the ratio of the medians minus 1; NAN, and false, for fewer than 3 times. */
bool sq_is_stationary(const int32_t *ns, int n, double *drift);

#ifdef __cplusplus
}
#endif
#endif
