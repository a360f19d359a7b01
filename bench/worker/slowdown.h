/* slowdown: for tests of the nightly gate alone, cells that are slower than their provider is.
 *
 * $SEQMARK_TEST_SLOW is "PERCENT:TEXT", or several of them with a ';' between: every launch of a cell
 * whose key holds TEXT is followed, within its time, by PERCENT of what it takes. */
#ifndef SQ_BENCH_WORKER_SLOWDOWN_H
#define SQ_BENCH_WORKER_SLOWDOWN_H

#include "bench/worker/job.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    sq_job *job;
    double extra_ns; /* of a launch; 0: the cell is not slowed */
} sq_slowdown;

/* The share that $SEQMARK_TEST_SLOW (`told`, may be NULL) adds to a cell: 0.03; 0: none. */
double sq_slowdown_share(const char *told, const char *key);
/* Looks the cell up, and times it where it is to be slowed. The job has been launched before. */
sq_status sq_slowdown_begin(sq_job *job, const sq_cell *cell, sq_slowdown *out, sq_error *err);
/* As sq_job_launch_copy; `arg` is the sq_slowdown. */
sq_status sq_slowdown_launch(void *arg, int copy, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
