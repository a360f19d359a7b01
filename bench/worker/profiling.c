/* profiling: see profiling.h. */
#include "bench/worker/profiling.h"

#include <stdlib.h>
#include <string.h>

#include "bench/worker/slowdown.h"

/* --- launches as the profiler wants them --- */

static sq_status cool(void *arg, sq_error *err)
{
    sq_job *job = arg;
    return job->rig->backend->cool(job->rig->device, err);
}

static sq_status wait(void *arg, sq_error *err)
{
    sq_job *job = arg;
    return job->rig->backend->sync(job->rig->device, err);
}

static sq_status launch_nothing(void *arg, sq_error *err)
{
    (void)arg;
    (void)err;
    return SQ_OK;
}

/* The state before a sample, without one. */
static sq_status soil(void *arg, sq_error *err)
{
    sq_job *job = arg;
    sq_sample ignored;
    const sq_sample_request request = {
        .cache = SQ_CACHE_DIRTY_COLD, .launches = 1, .launch = launch_nothing};
    return job->rig->backend->sample(job->rig->device, &request, &ignored, err);
}

/* A hot launch follows another one; a rotating one follows those of the other copies. */
static const sq_launch_fn resets[SQ_CACHE_COUNT] = {
    [SQ_CACHE_CLEAN_COLD] = cool, [SQ_CACHE_DIRTY_COLD] = soil};

static sq_launches launches_of(const sq_task *task, sq_job *job)
{
    return (sq_launches){
        .launch = sq_job_launch_next, .reset = resets[task->cell.cache], .sync = wait, .arg = job};
}

static sq_status open_profiler(sq_session *session, sq_error *err)
{
    const sq_device *device = session->rig.backend->facts(session->rig.device);
    if (session->profiler)
        return SQ_OK;
    if (strcmp(device->backend, "cuda") != 0)
        return sq_fail(err, SQ_UNSUPPORTED, "backend %s has no counters", device->backend);
    return sq_profiler_open(device->index, &session->profiler, err);
}

/* Allocates, draws, plans and launches once: what loads kernels must not be counted. */
static sq_status prepare(sq_session *session, const sq_task *task, const sq_rig *rig, sq_job **job,
                         sq_error *err)
{
    double setup_ns;
    SQ_TRY(sq_job_new(rig, &task->subject, &task->cell, job, err));
    session->on_stage(session->arg, "prepare");
    SQ_TRY(sq_session_check_memory(*job, false, err));
    return (*job)->ops->prepare(*job, task->seed, &setup_ns, err);
}

/* --- counters --- */

static sq_status profile(sq_session *session, const sq_task *task, const char *sets, sq_job **job,
                         sq_record *record, sq_error *err)
{
    SQ_TRY(open_profiler(session, err));
    SQ_TRY(prepare(session, task, &session->rig, job, err));
    SQ_TRY(sq_surplus_add(*job, &task->cell, err));
    SQ_TRY(sq_job_run_once(*job, err));
    session->on_stage(session->arg, "counters");
    const sq_launches launches = launches_of(task, *job);
    SQ_TRY(sq_profiler_measure(session->profiler, sets, &launches, record, err));
    record->status = SQ_RUN_OK;
    return SQ_OK;
}

void sq_session_profile(sq_session *session, const sq_task *task, const char *sets,
                        sq_record *record)
{
    char key[SQ_KEY_MAX];
    sq_error err = {.status = SQ_OK};
    sq_job *job = NULL;
    sq_session_start(task, record);
    sq_cell_key(&task->cell, key);
    sq_nvtx_push(key);
    sq_status status = profile(session, task, sets, &job, record, &err);
    if (status != SQ_OK)
        sq_session_fail(record, status, &err);
    sq_job_free(job);
    sq_nvtx_pop();
}

/* --- timeline --- */

static sq_status sample(sq_session *session, const sq_task *task, sq_job **job,
                        sq_timeline *timeline, sq_error *err)
{
    SQ_TRY(open_profiler(session, err));
    SQ_TRY(prepare(session, task, &session->rig, job, err));
    SQ_TRY(sq_job_run_once(*job, err));
    session->on_stage(session->arg, "timeline");
    const sq_launches launches = launches_of(task, *job);
    return sq_profiler_timeline(session->profiler, &launches, timeline, err);
}

sq_status sq_session_timeline(sq_session *session, const sq_task *task, sq_timeline *timeline,
                              sq_error *err)
{
    char key[SQ_KEY_MAX];
    sq_job *job = NULL;
    *timeline = (sq_timeline){.n_rows = 0};
    sq_cell_key(&task->cell, key);
    sq_nvtx_push(key);
    sq_status status = sample(session, task, &job, timeline, err);
    if (status != SQ_OK)
        sq_timeline_free(timeline);
    sq_job_free(job);
    sq_nvtx_pop();
    return status;
}

/* --- a bare launch --- */

/* The backend whose `fill` draws by the host; a device has no place to keep it. */
static const sq_backend *device_backend;

/* Whole tensors alone: views are drawn only for a proof. */
static sq_status fill_by_host(sq_backend_device *device, const sq_tensor *tensor, int64_t base,
                              sq_draw draw, uint64_t seed, uint32_t id, sq_error *err)
{
    sq_tensor host = *tensor;
    size_t bytes = sq_tensor_bytes(tensor);
    if (!sq_tensor_is_dense(tensor))
        return sq_fail(err, SQ_INTERNAL, "a view is not drawn by the host");
    host.data = malloc(bytes ? bytes : 1);
    if (!host.data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %zu bytes of inputs", bytes);
    sq_rng_fill(&host, base, draw, seed, id);
    sq_status status = device_backend->upload(device, tensor->data, host.data, bytes, err);
    free(host.data);
    return status;
}

static sq_status launch_bare(sq_session *session, const sq_task *task, const sq_rig *rig,
                             sq_job **job, sq_error *err)
{
    char key[SQ_KEY_MAX];
    SQ_TRY(prepare(session, task, rig, job, err));
    if (resets[task->cell.cache])
        SQ_TRY(resets[task->cell.cache](*job, err));
    SQ_TRY(wait(*job, err));
    session->on_stage(session->arg, "launch");
    sq_cell_key(&task->cell, key);
    sq_nvtx_push(key);
    sq_nvtx_push("seqmark.launch");
    sq_status status = sq_job_run_once(*job, err);
    sq_nvtx_pop();
    sq_nvtx_pop();
    return status;
}

sq_status sq_session_launch(sq_session *session, const sq_task *task, sq_error *err)
{
    sq_backend backend = *session->rig.backend;
    sq_rig rig = session->rig;
    sq_job *job = NULL;
    device_backend = session->rig.backend;
    backend.fill = fill_by_host;
    rig.backend = &backend;
    sq_status status = launch_bare(session, task, &rig, &job, err);
    sq_job_free(job);
    return status;
}
