/* session: one cell asked of one worker (bench/wire.h), with the worker started anew where needed. */
#ifndef SQ_BENCH_SESSION_H
#define SQ_BENCH_SESSION_H

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
    uint64_t seed;
    sq_client *client; /* NULL: none running */
    int cells;         /* cells it has been given */
} sq_session;

/* Both end the worker; NULL-safe on client. */
void sq_session_stop(sq_session *session);
void sq_session_kill(sq_session *session);

/* Checks and runs one cell into `record` (initialised for the cell). Every failure of cell or worker is
 * told in record->status and reason and returns SQ_OK. SQ_INTERRUPTED: stop at once. Another error: no
 * worker can be started at all. */
sq_status sq_session_run(sq_session *session, const sq_plan_item *item, sq_record *record,
                         sq_error *err);

/* Counters and kernel trace of one cell, added to `record`. A failure leaves one value "profile" whose
 * validity says why. */
sq_status sq_session_profile(sq_session *session, const sq_plan_item *item, sq_record *record,
                             sq_error *err);

/* The device's measured ceilings, each given to `take`. A worker that fails at it gives none and the
 * reason in `note`. */
sq_status sq_session_ceilings(sq_session *session,
                              sq_status (*take)(void *arg, const sq_ceiling *, sq_error *),
                              void *arg, char *note, size_t size, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
