/* job: a cell made ready to launch, whatever it is about.
 *
 * Operators and blocks differ in how they lay out memory, launch and are proved; the harness sees
 * only this. Order of use: new (no device memory yet), prepare, launch, prove, launch ..., free.
 */
#ifndef SQ_BENCH_WORKER_JOB_H
#define SQ_BENCH_WORKER_JOB_H

#include "bench/subject.h"
#include "bench/worker/place.h"
#include "bench/worker/prove.h"
#include "bench/worker/rig.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_job sq_job;

typedef struct {
    /* Allocates, draws the inputs by seed, poisons the rest, and makes the provider's plans;
     * *setup_ns: time of the plans alone. */
    sq_status (*prepare)(sq_job *job, uint64_t seed, double *setup_ns, sq_error *err);
    sq_status (*launch)(sq_job *job, sq_error *err);
    /* The outputs of the launches so far against the reference. */
    sq_status (*prove)(sq_job *job, double max_work, sq_proof *proof, sq_error *err);
    /* One number over all outputs. */
    sq_status (*checksum)(sq_job *job, uint64_t *sum, sq_error *err);
    void (*free)(sq_job *job);
} sq_job_ops;

struct sq_job {
    const sq_job_ops *ops;
    const sq_rig *rig;
    size_t bytes;      /* tensors and workspace, of all copies */
    size_t copy_bytes; /* what one more set of inputs takes, and one launch of it reads */
    char kernel_hash[SQ_HASH_TEXT]; /* of the code that can run; "" unknown */
    int copies; /* sets of inputs with the same contents; more than 1 where the cell rotates */
    int copy;          /* the set that launch() uses; prove and checksum look at its outputs */
    sq_cost cost;
    double tokens; /* B * L */
    void *surplus; /* for tests of the gate alone (slowdown.h); NULL: none */
    size_t surplus_bytes; /* of all SQ_SURPLUS_PARTS */
};

enum { SQ_SURPLUS_PARTS = 16 };

/* SQ_UNSUPPORTED with the reason where the provider refuses. *job is NULL after a failure. */
sq_status sq_job_new(const sq_rig *rig, const sq_subject *subject, const sq_cell *cell,
                     sq_job **job, sq_error *err);
/* Before prepare: as many copies as make 5 times the L2 cache, at least 2. SQ_UNSUPPORTED where
 * that would be too many: inputs so small cannot be kept out of the cache by turns. */
sq_status sq_job_rotate(sq_job *job, sq_error *err);
/* The hash of the build for `name` of `kind` (core/code.h); "" where the build had no such code. */
const char *sq_code_of(const char *kind, const char *name);
sq_status sq_job_new_op(const sq_rig *rig, const sq_call *call, const sq_provider *provider,
                        sq_layout layout, sq_job **job, sq_error *err);
sq_status sq_job_new_block(const sq_rig *rig, const sq_family *family, const sq_cell *cell,
                           sq_job **job, sq_error *err);
void sq_job_free(sq_job *job); /* accepts NULL */

/* The placed call of a job made by sq_job_new_op, for tests that look at single tensors. */
sq_place *sq_job_place(sq_job *job);

/* Launches and waits. */
sq_status sq_job_run_once(sq_job *job, sq_error *err);
/* ops->launch as a sq_launch_fn, with the current copy; `arg` is the job. */
sq_status sq_job_launch(void *arg, sq_error *err);
/* The same as a sq_turn_fn: makes `copy` the current one. */
sq_status sq_job_launch_copy(void *arg, int copy, sq_error *err);
/* The same with the next copy in turn, where there is more than one; what a counted launch is. */
sq_status sq_job_launch_next(void *arg, sq_error *err);

/* Seconds of the monotonic clock. */
double sq_job_clock(void);

#ifdef __cplusplus
}
#endif
#endif
