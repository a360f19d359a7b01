/* job_op: an operator cell. */
#include "bench/worker/job.h"

#include <stdlib.h>
#include <string.h>

/* A call of one pass with the plan that the provider made for it. */
typedef struct {
    sq_call call;
    void *plan;
    bool is_prepared;
} stage;

/* One set of inputs. forward: of passes bwd and fwdbwd. */
typedef struct {
    sq_place_copy inputs; /* of [0] only the call: the buffers are the place's */
    stage forward, main;
} turn;

typedef struct {
    sq_job job; /* first: a sq_job * is an op_job * */
    sq_place place;
    const sq_provider *provider;
    bool is_backward;
    size_t workspace_bytes, saved_bytes;
    turn *turns; /* job.copies of them; [0] is the place's own call */
} op_job;

static sq_status make_plan(op_job *self, stage *s, sq_error *err)
{
    if (!self->provider->prepare)
        return SQ_OK;
    SQ_TRY(self->provider->prepare(&s->call, &s->plan, err));
    s->is_prepared = true;
    return self->job.rig->backend->sync(self->job.rig->device, err);
}

static sq_status make_plans(op_job *self, turn *t, sq_error *err)
{
    t->main.call = t->inputs.call;
    if (!self->is_backward)
        return make_plan(self, &t->main, err);
    t->forward.call = sq_call_forward(&t->inputs.call, &self->place.list);
    t->main.call.pass = SQ_PASS_BWD;
    SQ_TRY(make_plan(self, &t->forward, err));
    return make_plan(self, &t->main, err);
}

static sq_status launch_stage(const op_job *self, const stage *s, sq_error *err)
{
    return self->provider->launch(&s->call, s->plan, err);
}

static sq_status prepare(sq_job *job, uint64_t seed, double *setup_ns, sq_error *err)
{
    op_job *self = (op_job *)job;
    const sq_rig *rig = job->rig;
    self->turns = calloc((size_t)job->copies, sizeof *self->turns);
    if (!self->turns)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d copies", job->copies);
    SQ_TRY(sq_place_fill(&self->place, seed, self->workspace_bytes, self->saved_bytes, err));
    SQ_TRY(rig->backend->sync(rig->device, err));
    self->turns[0].inputs.call = self->place.call;
    double start = sq_job_clock();
    SQ_TRY(make_plans(self, &self->turns[0], err));
    *setup_ns = self->provider->prepare ? 1e9 * (sq_job_clock() - start) : 0;
    for (int i = 1; i < job->copies; i++) {
        SQ_TRY(sq_place_fill_copy(&self->place, &self->turns[i].inputs, err));
        SQ_TRY(make_plans(self, &self->turns[i], err));
    }
    for (int i = 0; self->is_backward && i < job->copies; i++)
        SQ_TRY(launch_stage(self, &self->turns[i].forward, err));
    return rig->backend->sync(rig->device, err);
}

static sq_status launch(sq_job *job, sq_error *err)
{
    op_job *self = (op_job *)job;
    const turn *t = &self->turns[job->copy];
    if (self->place.call.pass == SQ_PASS_FWDBWD)
        SQ_TRY(launch_stage(self, &t->forward, err));
    return launch_stage(self, &t->main, err);
}

static sq_status prove(sq_job *job, double max_work, sq_proof *proof, sq_error *err)
{
    const sq_place *place = &((op_job *)job)->place;
    return sq_prove_place(place, sq_job_launch, job, max_work, place->seed, proof, err);
}

static sq_status checksum(sq_job *job, uint64_t *sum, sq_error *err)
{
    return sq_place_checksum(&((op_job *)job)->place, sum, err);
}

static void release_stage(const op_job *self, const stage *s)
{
    if (s->is_prepared && self->provider->release)
        self->provider->release(s->plan);
}

static void release(sq_job *job)
{
    op_job *self = (op_job *)job;
    for (int i = 0; self->turns && i < job->copies; i++) {
        release_stage(self, &self->turns[i].main);
        release_stage(self, &self->turns[i].forward);
        sq_place_free_copy(&self->place, &self->turns[i].inputs);
    }
    free(self->turns);
    sq_place_free(&self->place);
    free(self);
}

sq_place *sq_job_place(sq_job *job)
{
    return &((op_job *)job)->place;
}

static const sq_job_ops ops = {prepare, launch, prove, checksum, release};

sq_status sq_job_new_op(const sq_rig *rig, const sq_call *call, const sq_provider *provider,
                        sq_layout layout, sq_job **job, sq_error *err)
{
    *job = NULL;
    op_job self = {.job = {.ops = &ops, .rig = rig, .copies = 1}, .provider = provider};
    self.is_backward = call->pass == SQ_PASS_BWD || call->pass == SQ_PASS_FWDBWD;
    SQ_TRY(sq_place_plan(rig, call, layout, &self.place, err));
    SQ_TRY(sq_provider_supports(provider, &self.place.call, &self.place.list,
                                rig->backend->facts(rig->device), err));
    sq_place_private_bytes(provider, &self.place.call, &self.place.list, &self.workspace_bytes,
                           &self.saved_bytes);
    self.job.bytes = sq_place_bytes(&self.place) + self.workspace_bytes + self.saved_bytes;
    self.job.copy_bytes = sq_place_input_bytes(&self.place) + self.saved_bytes;
    self.job.cost = sq_op_cost(call->op, call->pass, call->dtype, call->axis);
    self.job.tokens = sq_op_tokens(call->pass, call->axis);
    strcpy(self.job.kernel_hash, sq_code_of(rig->backend->name, call->op->name));
    op_job *made = malloc(sizeof *made);
    if (!made)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the job", call->op->name);
    *made = self;
    *job = &made->job;
    return SQ_OK;
}
