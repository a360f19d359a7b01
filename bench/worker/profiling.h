/* profiling: what a session does to a cell besides proving and timing it: counters and kernel trace,
 * a timeline, and a bare launch for other profilers. */
#ifndef SQ_BENCH_WORKER_PROFILING_H
#define SQ_BENCH_WORKER_PROFILING_H

#include "bench/worker/session.h"
#include "profile/profile.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Counts and traces a cell, by the sets named (profile/sets.h); no time is taken. Every outcome is a
 * status of `record`, which is initialised here. */
void sq_session_profile(sq_session *session, const sq_task *task, const char *sets,
                        sq_record *record);

/* Samples counters over time while the cell is launched again and again. Free the timeline. */
sq_status sq_session_timeline(sq_session *session, const sq_task *task, sq_timeline *timeline,
                              sq_error *err);

/* Launches the cell once, in NVTX range "seqmark.launch" within one of its key, with nothing of ours
 * attached, for ncu and nsys. Inputs are drawn by the host; the one other kernel is that which puts
 * the cache of a cold cell into its state. */
sq_status sq_session_launch(sq_session *session, const sq_task *task, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
