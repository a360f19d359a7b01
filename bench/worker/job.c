/* job: see job.h. */
#include "bench/worker/job.h"

#include <time.h>

sq_status sq_job_new(const sq_rig *rig, const sq_subject *subject, const sq_cell *cell,
                     sq_job **job, sq_error *err)
{
    *job = NULL;
    if (subject->kind == SQ_KIND_BLOCK)
        return sq_job_new_block(rig, subject->family, cell, job, err);
    const sq_provider *provider = sq_provider_find(rig->providers, subject->op, cell->provider);
    if (!provider)
        return sq_fail(err, SQ_UNSUPPORTED, "%s has no provider %s on backend %s",
                       subject->op->name, cell->provider, rig->backend->name);
    sq_call call = {.op = subject->op, .pass = cell->pass, .dtype = cell->dtype};
    for (int i = 0; i < SQ_MAX_AXES; i++)
        call.axis[i] = cell->value[i];
    return sq_job_new_op(rig, &call, provider, SQ_LAYOUT_DENSE, job, err);
}

void sq_job_free(sq_job *job)
{
    if (job)
        job->ops->free(job);
}

sq_status sq_job_launch(void *arg, sq_error *err)
{
    sq_job *job = arg;
    return job->ops->launch(job, err);
}

sq_status sq_job_run_once(sq_job *job, sq_error *err)
{
    SQ_TRY(job->ops->launch(job, err));
    return job->rig->backend->sync(job->rig->device, err);
}

double sq_job_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
