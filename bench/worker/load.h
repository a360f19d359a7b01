/* load: a prepared job back to back, to keep the device busy. */
#ifndef SQ_BENCH_WORKER_LOAD_H
#define SQ_BENCH_WORKER_LOAD_H

#include "bench/worker/job.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    sq_job *job;
    int chunk;          /* launches between two waits */
    void *graph;        /* NULL: plain calls */
    int graph_launches; /* launches of one replay, of which a chunk is a multiple */
} sq_job_load;

/* Plain calls of launch_seconds each, in chunks of about `seconds`, with the copies of the inputs
 * in turn. */
sq_job_load sq_load_plain(sq_job *job, double launch_seconds, double seconds);
/* The same; where launches are so short that the pace would be the host's, replays of a graph of
 * them, if the backend has graphs and the launch can be captured. The job has been launched before.
 * sq_load_close is due only after SQ_OK. */
sq_status sq_load_open(sq_job *job, double launch_seconds, double seconds, sq_job_load *out,
                       sq_error *err);
/* One chunk, and waits. */
sq_status sq_load_run(const sq_job_load *load, sq_error *err);
void sq_load_close(sq_job_load *load);

#ifdef __cplusplus
}
#endif
#endif
