/* judge: what a sampling loop says beside its samples (bench/time/seqmark_time.h), put on the
 * record of the run: one rule for our worker and for peers.
 */
#ifndef SQ_BENCH_JUDGE_H
#define SQ_BENCH_JUDGE_H

#include "bench/policy.h"
#include "bench/time/seqmark_time.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The status of a record that has its samples: OK, THROTTLED (more were dropped than kept; what is
 * left stays) or NOISY (the interval is wider than allowed; the time stays). */
void sq_judge_samples(const sq_policy *policy, const sqt_result *result, sq_record *record);

/* Warm-up, launches of a batch, and what makes a time doubtful (dropped_samples, late_samples,
 * unheld_samples: absent where there are none) as values. SQ_OUT_OF_MEMORY. */
sq_status sq_judge_add_numbers(const sqt_result *result, sq_record *record);

#ifdef __cplusplus
}
#endif
#endif
