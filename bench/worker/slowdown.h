/* slowdown: for tests of the nightly gate alone, cells that are slower, or take more memory, than
 * their provider does.
 *
 * $SEQMARK_TEST_SLOW is "PERCENT:TEXT", or several of them with a ';' between: every launch of a cell
 * whose key holds TEXT is followed, within its time, by PERCENT of what it takes.
 * $SEQMARK_TEST_LARGER has the same form: PERCENT more memory, and launches that are counted first
 * copy all of that to its beginning, part by part: so they read PERCENT of the cell's memory more, and
 * what they write is in the cache but for one part. */
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

/* The share that one of the two (`told`, may be NULL) adds to a cell: 0.03; 0: none. */
double sq_slowdown_share(const char *told, const char *key);
/* Looks the cell up, and times it where it is to be slowed. The job has been launched before. */
sq_status sq_slowdown_begin(sq_job *job, const sq_cell *cell, sq_slowdown *out, sq_error *err);
/* As sq_job_launch_copy; `arg` is the sq_slowdown. */
sq_status sq_slowdown_launch(void *arg, int copy, sq_error *err);

/* Allocates what $SEQMARK_TEST_LARGER adds to a new job, and counts it among the job's bytes;
 * sq_job_free frees it. */
sq_status sq_surplus_add(sq_job *job, const sq_cell *cell, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
