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

/* Prepares counters and kernel trace on the current CUDA device; the context must exist. Succeeds
 * even where counters are refused: the reason then becomes the validity of every counter value. */
sq_status sq_profiler_open(int device_index, sq_profiler **out, sq_error *err);
void sq_profiler_close(sq_profiler *profiler); /* accepts NULL */

/* Runs `launch` under the kernel trace once and under each counter pass, adding kernels and values
 * to the record. `reset` (may be NULL) is called before each launch, outside the range: cache
 * state. `sync` waits for the launch. */
sq_status sq_profiler_measure(sq_profiler *profiler, sq_launch_fn launch, sq_launch_fn reset,
                              sq_launch_fn sync, void *arg, sq_record *record, sq_error *err);

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
