/* job_op: an operator cell. */
#include "bench/worker/job.h"

#include <stdlib.h>

/* One set of inputs, with the plan that the provider made for it. */
typedef struct {
    sq_place_copy inputs; /* of [0] only the call: the buffers are the place's */
    void *plan;
    bool is_prepared;
} turn;

typedef struct {
    sq_job job; /* first: a sq_job * is an op_job * */
    sq_place place;
    const sq_provider *provider;
    size_t workspace_bytes;
    turn *turns; /* job.copies of them; [0] is the place's own call */
} op_job;

static sq_status make_plan(op_job *self, turn *t, sq_error *err)
{
    if (!self->provider->prepare)
        return SQ_OK;
    SQ_TRY(self->provider->prepare(&t->inputs.call, &t->plan, err));
    t->is_prepared = true;
    return self->job.rig->backend->sync(self->job.rig->device, err);
}

static sq_status prepare(sq_job *job, uint64_t seed, double *setup_ns, sq_error *err)
{
    op_job *self = (op_job *)job;
    const sq_rig *rig = job->rig;
    self->turns = calloc((size_t)job->copies, sizeof *self->turns);
    if (!self->turns)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d copies", job->copies);
    SQ_TRY(sq_place_fill(&self->place, seed, self->workspace_bytes, err));
    SQ_TRY(rig->backend->sync(rig->device, err));
    self->turns[0].inputs.call = self->place.call;
    double start = sq_job_clock();
    SQ_TRY(make_plan(self, &self->turns[0], err));
    *setup_ns = self->provider->prepare ? 1e9 * (sq_job_clock() - start) : 0;
    for (int i = 1; i < job->copies; i++) {
        SQ_TRY(sq_place_fill_copy(&self->place, &self->turns[i].inputs, err));
        SQ_TRY(make_plan(self, &self->turns[i], err));
    }
    return rig->backend->sync(rig->device, err);
}

static sq_status launch(sq_job *job, sq_error *err)
{
    op_job *self = (op_job *)job;
    turn *t = &self->turns[job->copy];
    return self->provider->launch(&t->inputs.call, t->plan, err);
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
    for (int i = 0; self->turns && i < job->copies; i++) {
        if (self->turns[i].is_prepared && self->provider->release)
            self->provider->release(self->turns[i].plan);
        sq_place_free_copy(&self->place, &self->turns[i].inputs);
    }
    free(self->turns);
    sq_place_free(&self->place);
    free(self);
}

sq_place *sq_job_place(sq_job *job) { return &((op_job *)job)->place; }

static const sq_job_ops ops = {prepare, launch, prove, checksum, release};

sq_status sq_job_new_op(const sq_rig *rig, const sq_call *call, const sq_provider *provider,
                        sq_layout layout, sq_job **job, sq_error *err)
{
    *job = NULL;
    op_job self = {.job = {.ops = &ops, .rig = rig, .copies = 1}, .provider = provider};
    SQ_TRY(sq_place_plan(rig, call, layout, &self.place, err));
    const sq_call *planned = &self.place.call;
    SQ_TRY(provider->supports(planned, rig->backend->facts(rig->device), err));
    self.workspace_bytes = provider->workspace ? provider->workspace(planned) : 0;
    self.job.bytes = sq_place_bytes(&self.place) + self.workspace_bytes;
    self.job.copy_bytes = sq_place_input_bytes(&self.place);
    self.job.cost = call->op->cost(call->pass, call->dtype, call->axis);
    self.job.tokens = call->axis[SQ_AXIS_B] * call->axis[SQ_AXIS_L];
    op_job *made = malloc(sizeof *made);
    if (!made)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the job", call->op->name);
    *made = self;
    *job = &made->job;
    return SQ_OK;
}
