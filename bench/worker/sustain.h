/* sustain: a launch back to back for seconds: how throughput, clock, power and heat settle. */
#ifndef SQ_BENCH_WORKER_SUSTAIN_H
#define SQ_BENCH_WORKER_SUSTAIN_H

#include "bench/worker/measure.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_SUSTAIN_MAX_POINTS = 6000 }; /* 10 minutes */

/* The state over the interval that ends at `seconds` from the first launch; NAN unknown. */
typedef struct {
    double seconds, launches_per_s;
    double sm_mhz; /* cycle counter over time, as the device counts both */
    double power_w, temperature_c;
} sq_sustain_point;

/* Runs a prepared job for `seconds`, plain calls without a rest before, hot (copies in turn, where
 * the job has more than one); a point about every
 * `interval` seconds, or every launch that is longer. `points` has room for SQ_SUSTAIN_MAX_POINTS;
 * a longer run keeps the first ones. nvml may be NULL. An error is a failed launch. */
sq_status sq_sustain_run(sq_job *job, sq_nvml *nvml, double seconds, double interval,
                         sq_alive_fn alive, void *alive_arg, sq_sustain_point *points, int *n,
                         sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
