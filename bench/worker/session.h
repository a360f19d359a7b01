/* session: what a worker holds between requests, and the three things it does to a cell. */
#ifndef SQ_BENCH_WORKER_SESSION_H
#define SQ_BENCH_WORKER_SESSION_H

#include "bench/worker/ceilings.h"
#include "bench/worker/cooldown.h"
#include "bench/worker/energy.h"
#include "bench/worker/job.h"
#include "bench/worker/measure.h"
#include "bench/worker/phases.h"
#include "bench/worker/sustain.h"
#include "bench/worker/vitals.h"
#include "profile/profile.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    sq_rig rig;
    sq_ceilings ceilings; /* n == 0 until measured or set: then there are no floors */
    sq_profiler *profiler; /* opened by the first profile */
    sq_vitals vitals;      /* opened by the first run */
    bool has_vitals;
    sq_power idle;        /* measured once, by the first run that wants energy */
    bool has_idle;
    sq_stopwatch watch; /* of the run in hand */
    bool gave_up_cooling; /* a whole wait was not enough: this process waits no more */
    void (*on_stage)(void *arg, const char *stage); /* sign of life */
    void *arg;
} sq_session;

/* One cell to be run. */
typedef struct {
    sq_cell cell;
    sq_subject subject;
    uint64_t seed;
    sq_policy policy;
    char proved[SQ_HASH_TEXT]; /* checksum of the output as proved before; "" not yet */
} sq_task;

/* supports, bytes needed, bytes free. */
typedef struct {
    bool is_supported;
    char reason[SQ_REASON_MAX];
    double bytes, free_bytes; /* NAN unknown */
} sq_fit;

void sq_session_check(sq_session *session, const sq_task *task, sq_fit *fit);

/* Proves and times a cell; every outcome is a status of `record`, which is initialised here. */
void sq_session_run(sq_session *session, const sq_task *task, sq_record *record);

/* Runs a cell back to back (bench/worker/sustain.h); nothing is proved and no time is stored. */
sq_status sq_session_sustain(sq_session *session, const sq_task *task, double seconds,
                             sq_sustain_point *points, int *n, sq_error *err);

/* Proves what another program left in files, n paths in the order of the outputs; no time is taken.
 * device: the one that measured, for the floors. */
void sq_session_prove(sq_session *session, const sq_task *task, const char *const *paths, int n,
                      const sq_device *device, sq_record *record);

/* Parts of what a session does to a cell, for its other files: an initialised record with the time of
 * day; the row that a failure of the library becomes; SQ_OUT_OF_MEMORY where a job cannot fit. */
void sq_session_start(const sq_task *task, sq_record *record);
void sq_session_fail(sq_record *record, sq_status status, const sq_error *err);
sq_status sq_session_check_memory(const sq_job *job, bool try_oom, sq_error *err);

void sq_session_close(sq_session *session);

#ifdef __cplusplus
}
#endif
#endif
