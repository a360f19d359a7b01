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
 * attached, for ncu and nsys. No other kernel of ours runs in the process: inputs are drawn by the
 * host, and the cache of a cold cell is swept by copies. */
sq_status sq_session_launch(sq_session *session, const sq_task *task, sq_error *err);

/* Puts the cache into the clean-cold state as well as copies to the host alone can, without a kernel:
 * they read four times its size. */
sq_status sq_session_sweep(const sq_rig *rig, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
