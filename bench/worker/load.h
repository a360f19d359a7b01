/* load: a prepared job back to back, to keep the device busy. */
#ifndef SQ_BENCH_WORKER_LOAD_H
#define SQ_BENCH_WORKER_LOAD_H

#include "bench/worker/job.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many launches of launch_seconds take about `seconds`; at least 1. */
int sq_load_chunk(double launch_seconds, double seconds);
/* So many plain calls back to back, with the copies of the inputs in turn, and waits. */
sq_status sq_load_run(sq_job *job, int launches, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
