/* measure: a job timed by bench/time, and what came of it put on its record. */
#ifndef SQ_BENCH_WORKER_MEASURE_H
#define SQ_BENCH_WORKER_MEASURE_H

#include "bench/policy.h"
#include "bench/worker/job.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called now and then while samples are taken: the sign of life. */
typedef void (*sq_alive_fn)(void *arg);

/* Times a prepared and proved job; the launch mode is that of the record's cell. Fills samples,
 * stats and sm_mhz of the record, values (docs/methodology.md names them), and its status: OK,
 * NOISY (cap reached with a wide interval; the time is kept), THROTTLED (more samples were dropped
 * than kept; what is left is) or SKIPPED (one launch is too long). An error is a launch or device
 * failure; SQ_UNSUPPORTED a launch that cannot be captured. */
sq_status sq_measure(sq_job *job, const sq_policy *policy, sq_cache cache, sq_alive_fn alive,
                     void *alive_arg, sq_record *record, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
