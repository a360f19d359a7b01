/* job_op: an operator cell. */
#include "bench/worker/job.h"

#include <stdlib.h>

typedef struct {
    sq_job job; /* first: a sq_job * is an op_job * */
    sq_place place;
    const sq_provider *provider;
    size_t workspace_bytes;
    void *plan;
    bool is_prepared;
} op_job;

static sq_status prepare(sq_job *job, uint64_t seed, double *setup_ns, sq_error *err)
{
    op_job *self = (op_job *)job;
    const sq_rig *rig = job->rig;
    SQ_TRY(sq_place_fill(&self->place, seed, self->workspace_bytes, err));
    SQ_TRY(rig->backend->sync(rig->device, err));
    *setup_ns = 0;
    if (!self->provider->prepare)
        return SQ_OK;
    double start = sq_job_clock();
    SQ_TRY(self->provider->prepare(&self->place.call, &self->plan, err));
    self->is_prepared = true;
    SQ_TRY(rig->backend->sync(rig->device, err));
    *setup_ns = 1e9 * (sq_job_clock() - start);
    return SQ_OK;
}

static sq_status launch(sq_job *job, sq_error *err)
{
    op_job *self = (op_job *)job;
    return self->provider->launch(&self->place.call, self->plan, err);
}

static sq_status prove(sq_job *job, double max_work, sq_proof *proof, sq_error *err)
{
    const sq_place *place = &((op_job *)job)->place;
    return sq_prove_place(place, max_work, place->seed, proof, err);
}

static sq_status checksum(sq_job *job, uint64_t *sum, sq_error *err)
{
    return sq_place_checksum(&((op_job *)job)->place, sum, err);
}

static void release(sq_job *job)
{
    op_job *self = (op_job *)job;
    if (self->is_prepared && self->provider->release)
        self->provider->release(self->plan);
    sq_place_free(&self->place);
    free(self);
}

sq_place *sq_job_place(sq_job *job) { return &((op_job *)job)->place; }

static const sq_job_ops ops = {prepare, launch, prove, checksum, release};

sq_status sq_job_new_op(const sq_rig *rig, const sq_call *call, const sq_provider *provider,
                        sq_layout layout, sq_job **job, sq_error *err)
{
    *job = NULL;
    op_job self = {.job = {.ops = &ops, .rig = rig}, .provider = provider};
    SQ_TRY(sq_place_plan(rig, call, layout, &self.place, err));
    const sq_call *planned = &self.place.call;
    SQ_TRY(provider->supports(planned, rig->backend->facts(rig->device), err));
    self.workspace_bytes = provider->workspace ? provider->workspace(planned) : 0;
    self.job.bytes = sq_place_bytes(&self.place) + self.workspace_bytes;
    self.job.cost = call->op->cost(call->pass, call->dtype, call->axis);
    self.job.tokens = call->axis[SQ_AXIS_B] * call->axis[SQ_AXIS_L];
    op_job *made = malloc(sizeof *made);
    if (!made)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the job", call->op->name);
    *made = self;
    *job = &made->job;
    return SQ_OK;
}
