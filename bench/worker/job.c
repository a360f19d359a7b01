/* job: see job.h. */
#include "bench/worker/job.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "core/code.h"

/* flashinfer's figure: at 5 times the L2 nothing is left of a copy when its turn comes again. */
enum { ROTATE_CACHES = 5, MAX_COPIES = 256 };

/* Where the cache's size is unknown: as much as a small one. */
static const double least_cache_bytes = 1 << 20;

static sq_status new_job(const sq_rig *rig, const sq_subject *subject, const sq_cell *cell,
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

sq_status sq_job_rotate(sq_job *job, sq_error *err)
{
    double l2 = (double)job->rig->backend->facts(job->rig->device)->l2_bytes;
    double wanted = ROTATE_CACHES * fmax(l2, least_cache_bytes);
    double copies = fmax(2, ceil(wanted / fmax((double)job->copy_bytes, 1)));
    if (copies > MAX_COPIES)
        return sq_fail(err, SQ_UNSUPPORTED,
                       "rotate: %.0f copies of %zu bytes would make 5 times the cache; at most %d",
                       copies, job->copy_bytes, MAX_COPIES);
    job->copies = (int)copies;
    job->bytes += (size_t)(job->copies - 1) * job->copy_bytes;
    return SQ_OK;
}

sq_status sq_job_new(const sq_rig *rig, const sq_subject *subject, const sq_cell *cell,
                     sq_job **job, sq_error *err)
{
    SQ_TRY(new_job(rig, subject, cell, job, err));
    if (cell->cache != SQ_CACHE_ROTATE)
        return SQ_OK;
    sq_status status = sq_job_rotate(*job, err);
    if (status != SQ_OK) {
        sq_job_free(*job);
        *job = NULL;
    }
    return status;
}

void sq_job_free(sq_job *job)
{
    if (!job)
        return;
    job->rig->backend->free(job->rig->device, job->surplus);
    job->ops->free(job);
}

const char *sq_code_of(const char *kind, const char *name)
{
    for (const sq_code *code = sq_code_table; code->kind; code++)
        if (strcmp(code->kind, kind) == 0 && strcmp(code->name, name) == 0)
            return code->hash;
    return "";
}

sq_status sq_job_launch(void *arg, sq_error *err)
{
    sq_job *job = arg;
    return job->ops->launch(job, err);
}

sq_status sq_job_launch_copy(void *arg, int copy, sq_error *err)
{
    sq_job *job = arg;
    job->copy = copy;
    return job->ops->launch(job, err);
}

static sq_status move_surplus(const sq_job *job, sq_error *err)
{
    size_t part = job->surplus_bytes / SQ_SURPLUS_PARTS;
    char *to = job->surplus;
    for (int i = 1; part && i < SQ_SURPLUS_PARTS; i++)
        SQ_TRY(job->rig->backend->copy(job->rig->device, to, to + (size_t)i * part, part, err));
    return SQ_OK;
}

sq_status sq_job_launch_next(void *arg, sq_error *err)
{
    const sq_job *job = arg;
    SQ_TRY(move_surplus(job, err));
    return sq_job_launch_copy(arg, (job->copy + 1) % job->copies, err);
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
