/* ask: one cell asked of one worker (bench/wire.h), with the worker started anew where needed. */
#ifndef SQ_BENCH_ASK_H
#define SQ_BENCH_ASK_H

#include "bench/plan.h"
#include "bench/target.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A worker that lives over several cells. */
typedef struct {
    const sq_target *target;
    const sq_policy *policy;
    const sq_metric_def *metrics; /* to know what a failed profile leaves uncounted */
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

/* Counters and kernel trace of one cell, added to `record`. A failure leaves every
 * counted metric without a value and with the reason in its validity. */
sq_status sq_ask_profile(sq_asker *asker, const sq_plan_item *item, sq_record *record,
                         sq_error *err);

/* The device's measured ceilings, each given to `take`. A worker that fails at it gives none and
 * the reason in `note`. */
sq_status sq_ask_ceilings(sq_asker *asker,
                          sq_status (*take)(void *arg, const sq_ceiling *, sq_error *), void *arg,
                          char *note, size_t size, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
