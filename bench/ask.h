/* ask: one cell asked of one worker (bench/wire.h), with the worker started anew where needed. */
#ifndef SQ_BENCH_ASK_H
#define SQ_BENCH_ASK_H

#include "bench/plan.h"
#include "bench/target.h"
#include "core/curve.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A worker that lives over several cells. */
typedef struct {
    const sq_target *target;
    const sq_policy *policy;
    const char *counters; /* sets to count (profile/sets.h); NULL: basic */
    uint64_t seed;
    const sq_ceiling *ceilings; /* told to every new worker, for its floors */
    int n_ceilings;
    sq_client *client; /* NULL: none running */
    int cells;         /* cells it has been given */
} sq_asker;

/* Both end the worker; NULL-safe on client. */
void sq_asker_stop(sq_asker *asker);
void sq_asker_kill(sq_asker *asker);

/* Checks and runs one cell into `record` (initialised for the cell). proved: checksum of its output
 * as proved before, "" where it was not. Every failure of cell or worker is told in record->status
 * and reason and returns SQ_OK. SQ_INTERRUPTED: stop at once. Another error: no worker can be started
 * at all. */
sq_status sq_ask_run(sq_asker *asker, const sq_plan_item *item, const char *proved,
                     sq_record *record, sq_error *err);

/* Counters and kernel trace of one cell, added to `record`. A failure leaves every metric of the
 * sets without a value and with the reason in its validity. */
sq_status sq_ask_profile(sq_asker *asker, const sq_plan_item *item, sq_record *record,
                         sq_error *err);

/* One launch of the cell with nothing of ours attached, for other profilers (the worker's verb
 * "launch"). SQ_BAD_ARGUMENT: the worker refuses, and says why. */
sq_status sq_ask_launch(sq_asker *asker, const sq_plan_item *item, sq_error *err);

/* The device's measured ceilings, each given to `take`. A worker that fails at it gives none and
 * the reason in `note`. */
sq_status sq_ask_ceilings(sq_asker *asker,
                          sq_status (*take)(void *arg, const sq_ceiling *, sq_error *), void *arg,
                          char *note, size_t size, sq_error *err);

/* The cell back to back for so many seconds: columns seconds, launches_per_s, sm_mhz, power_w,
 * temperature_c. A failure leaves a curve without rows and the reason in it. sq_curve_free(out). */
sq_status sq_ask_sustain(sq_asker *asker, const sq_plan_item *item, double seconds, sq_curve *out,
                         sq_error *err);
/* The device's counters sampled while the cell is repeated: seconds, then a column a metric. The
 * rest as sq_ask_sustain. */
sq_status sq_ask_timeline(sq_asker *asker, const sq_plan_item *item, sq_curve *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
