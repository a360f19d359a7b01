/* profile: hardware counters, kernel traces, clocks and ranges. Every part may be absent and
 * says why.
 *
 * CUPTI and NVML are loaded at run time, so a machine without them runs everything else. Nothing
 * here knows operators or suites.
 */
#ifndef SQ_PROFILE_PROFILE_H
#define SQ_PROFILE_PROFILE_H

#include <stdbool.h>

#include "core/backend/backend.h"
#include "core/record.h"
#include "core/status.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Every metric the store may hold: derived, counted (`source` has the CUPTI name). NULL-ended. */
extern const sq_metric_def sq_metrics[];
const sq_metric_def *sq_metric_find(const char *name);

/* --- counters and trace (CUPTI), for a process that times nothing --- */

typedef struct sq_profiler sq_profiler;

/* A launch that may be repeated: it reads its inputs and writes its outputs, nothing is saved or
 * restored. reset (may be NULL) puts the cache into its state and is not counted; sync waits. */
typedef struct {
    sq_launch_fn launch, reset, sync;
    void *arg;
} sq_launches;

/* Prepares counters and kernel trace on the current CUDA device; the context must exist. Succeeds
 * even where they are refused: the reason then becomes the validity of every value. */
sq_status sq_profiler_open(int device_index, sq_profiler **out, sq_error *err);
void sq_profiler_close(sq_profiler *profiler); /* accepts NULL */

/* Runs the launch under the kernel trace and under each counter pass of the sets (profile/sets.h),
 * adding kernels, activity_ns and a value for every metric to the record. */
sq_status sq_profiler_measure(sq_profiler *profiler, const char *sets, const sq_launches *launches,
                              sq_record *record, sq_error *err);

/* Passes that the sets measured last took on this device, by CUPTI's word; 0 where it counted none. */
int sq_profiler_passes(const sq_profiler *profiler);

/* Metrics of the device sampled over time while launches run. rows: n_rows of 1 + n_metrics: start
 * of the sample in ns since the first, then the metrics in order. */
typedef struct {
    double interval_ns;
    int n_metrics, n_rows, n_launches;
    int n_dropped; /* samples not kept: taken long before all others */
    char (*metrics)[96];
    double *rows;
    char validity[96]; /* "ok", or why there are no rows */
} sq_timeline;

/* Samples while the launch is repeated, at least three times, with no reset between (so hot, unless
 * the launch itself takes sets of inputs in turn). Refusals are in
 * timeline->validity. Release with sq_timeline_free, also after a failure. */
sq_status sq_profiler_timeline(sq_profiler *profiler, const sq_launches *launches,
                               sq_timeline *timeline, sq_error *err);
void sq_timeline_free(sq_timeline *timeline);

/* Offline check of a metric list for a chip ("GH100"): passes needed, no GPU or driver used; for
 * counting ranges, or for sampling over time. SQ_UNSUPPORTED where CUPTI's host library is absent
 * or knows a name not (named in err). */
sq_status sq_counters_offline_passes(const char *chip, bool is_sampled,
                                     const char *const *cupti_names, int count, int *passes,
                                     sq_error *err);

/* --- what doctor asks --- */

/* One line each on CUPTI (version, permission) and NVML; "absent: why" where it is not there. */
void sq_profile_describe_cupti(char *out, size_t size);
void sq_profile_describe_nvml(char *out, size_t size);

/* --- NVTX: no-ops where the header was absent at build time --- */
void sq_nvtx_push(const char *name);
void sq_nvtx_pop(void);

#ifdef __cplusplus
}
#endif
#endif
