/* job_block: a block cell, i.e. a family's graph of operator calls.
 *
 * Proof: blocks are causal, so the first tokens of one batch row depend on those tokens alone. The
 * same family is built on the host at B = 1 and a length whose references fit the work limit, with
 * the same parameters and that row's inputs, and the outputs are compared over those tokens. In pass
 * step that is the row's one token and its states.
 */
#include "bench/worker/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

enum { LEAST_TOKENS = 65 };

/* A graph over tensors of its own. */
typedef struct {
    sq_graph *graph;
    sq_guarded arena;
} replica;

typedef struct {
    sq_job job; /* first: a sq_job * is a block_job * */
    const sq_family *family;
    sq_cell cell;
    replica *replicas; /* job.copies of them; [0] is the one that is proved */
    sq_graph *graph;   /* of replicas[0] */
    sq_guarded workspace;
    uint64_t seed;
} block_job;

/* A dense view of graph tensor `t` over `arena` (which may be NULL). */
static sq_tensor tensor_of(const sq_graph_tensor *t, const void *arena)
{
    char *data = arena ? (char *)arena + t->offset : NULL;
    return sq_tensor_dense(data, t->spec.dtype, t->spec.rank, t->spec.dim);
}

static bool is_drawn(const sq_graph_tensor *t)
{
    return t->kind == SQ_TENSOR_INPUT || t->kind == SQ_TENSOR_PARAM;
}

static sq_status build(const sq_family *family, sq_dtype dtype, sq_pass pass,
                       const sq_axis_value *axis, sq_graph **out, sq_error *err)
{
    *out = sq_graph_new(dtype);
    if (!*out)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the graph", family->name);
    SQ_TRY(family->build(*out, pass, axis, err));
    return sq_graph_plan(*out, err);
}

/* The family's graph at the cell's axes, with its providers. */
static sq_status make_graph(const block_job *self, sq_graph **out, sq_error *err)
{
    const sq_cell *cell = &self->cell;
    const sq_rig *rig = self->job.rig;
    SQ_TRY(build(self->family, cell->dtype, cell->pass, cell->value, out, err));
    return sq_graph_select(*out, rig->providers, rig->fusions, cell->provider,
                           rig->backend->facts(rig->device), err);
}

static sq_status draw_replica(const block_job *self, replica *r, sq_error *err)
{
    const sq_rig *rig = self->job.rig;
    SQ_TRY(sq_guarded_alloc(rig, sq_graph_arena_bytes(r->graph), &r->arena, err));
    for (int i = 0; i < sq_graph_tensor_count(r->graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(r->graph, i);
        sq_tensor dense = tensor_of(t, r->arena.data);
        if (is_drawn(t))
            SQ_TRY(rig->backend->fill(rig->device, &dense, 0, t->spec.draw, self->seed,
                                      (uint32_t)i, err));
    }
    return rig->backend->sync(rig->device, err);
}

static sq_status bind_replica(const block_job *self, replica *r, sq_error *err)
{
    const sq_rig *rig = self->job.rig;
    SQ_TRY(sq_graph_bind(r->graph, r->arena.data, self->workspace.data,
                         rig->backend->stream(rig->device), err));
    return rig->backend->sync(rig->device, err);
}

static sq_status prepare(sq_job *job, uint64_t seed, double *setup_ns, sq_error *err)
{
    block_job *self = (block_job *)job;
    const sq_rig *rig = job->rig;
    self->seed = seed;
    self->replicas = calloc((size_t)job->copies, sizeof *self->replicas);
    if (!self->replicas)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d copies", job->copies);
    self->replicas[0].graph = self->graph;
    SQ_TRY(draw_replica(self, &self->replicas[0], err));
    SQ_TRY(sq_guarded_alloc(rig, sq_graph_workspace_bytes(self->graph), &self->workspace, err));
    double start = sq_job_clock();
    SQ_TRY(bind_replica(self, &self->replicas[0], err));
    *setup_ns = 1e9 * (sq_job_clock() - start);
    for (int i = 1; i < job->copies; i++) {
        SQ_TRY(make_graph(self, &self->replicas[i].graph, err));
        SQ_TRY(draw_replica(self, &self->replicas[i], err));
        SQ_TRY(bind_replica(self, &self->replicas[i], err));
    }
    return SQ_OK;
}

static sq_status launch(sq_job *job, sq_error *err)
{
    return sq_graph_launch(((block_job *)job)->replicas[job->copy].graph, err);
}

static sq_status checksum(sq_job *job, uint64_t *sum, sq_error *err)
{
    block_job *self = (block_job *)job;
    *sum = 0;
    for (int i = 0; i < sq_graph_tensor_count(self->graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(self->graph, i);
        if (t->kind != SQ_TENSOR_OUTPUT)
            continue;
        uint64_t one = 0;
        sq_tensor dense = tensor_of(t, self->replicas[job->copy].arena.data);
        SQ_TRY(job->rig->backend->checksum(job->rig->device, &dense, &one, err));
        *sum = sq_rng_mix(*sum ^ one);
    }
    return SQ_OK;
}

/* --- proof --- */

static void *proved_arena(const block_job *self)
{
    return self->replicas[0].arena.data;
}

/* The small graph on the host, and where it lies in the big one. */
typedef struct {
    sq_graph *graph;
    int64_t row, length; /* batch row of the big run; tokens from its start */
    void *arena, *workspace;
} prefix;

static double graph_work(const sq_graph *graph)
{
    double work = 0;
    for (int i = 0; i < sq_graph_node_count(graph); i++) {
        const sq_call *call = sq_graph_call_at(graph, i);
        work += call->op->reference_work(call->axis);
    }
    return work;
}

/* In pass step L is where the one token stands, and nothing to cut. */
static bool is_prefix_short(const block_job *self, const prefix *p, double max_work)
{
    return self->cell.pass == SQ_PASS_STEP || p->length / 2 < LEAST_TOKENS ||
           graph_work(p->graph) <= max_work;
}

/* Builds the longest prefix, of the lengths L, L/2, L/4 .., whose references fit max_work; but one
 * of at least LEAST_TOKENS (or L), because a block whose projections alone exceed the limit would
 * otherwise be proved without its recurrence and without an edge of its tiles of 64 steps. */
static sq_status build_prefix(const block_job *self, double max_work, prefix *p, sq_error *err)
{
    p->length = sq_axis_int(self->cell.value, SQ_AXIS_L);
    for (;; p->length /= 2) {
        sq_axis_value axis[SQ_MAX_AXES];
        memcpy(axis, self->cell.value, sizeof axis);
        axis[SQ_AXIS_B] = 1;
        axis[SQ_AXIS_L] = (double)p->length;
        SQ_TRY(build(self->family, self->cell.dtype, self->cell.pass, axis, &p->graph, err));
        if (is_prefix_short(self, p, max_work))
            return SQ_OK;
        sq_graph_free(p->graph);
        p->graph = NULL;
    }
}

/* The part of the big run's tensor that the prefix's tensor `small` stands for: inputs and outputs
 * are cut to one batch row; every dim is cut to the small one's (the time of activations, and of
 * parameters that have one, such as Hyena's filter). */
static sq_tensor corresponding(const sq_tensor *big, sq_tensor_kind kind,
                               const sq_graph_tensor *small, int64_t row)
{
    sq_tensor part = *big;
    if (kind != SQ_TENSOR_PARAM)
        part = sq_tensor_slice(&part, 0, row, 1);
    for (int d = 0; d < part.rank; d++)
        part = sq_tensor_slice(&part, d, 0, small->spec.dim[d]);
    return part;
}

static void draw_prefix(const block_job *self, const prefix *p)
{
    for (int i = 0; i < sq_graph_tensor_count(p->graph); i++) {
        const sq_graph_tensor *small = sq_graph_tensor_at(p->graph, i);
        const sq_graph_tensor *big = sq_graph_tensor_at(self->graph, i);
        if (!is_drawn(small))
            continue;
        sq_tensor whole = tensor_of(big, proved_arena(self));
        sq_tensor part = corresponding(&whole, small->kind, small, p->row);
        int64_t shift = (const char *)part.data - (const char *)whole.data;
        sq_draw_view(&part, shift / (int64_t)sq_dtype_size(part.dtype), big->spec.draw, self->seed,
                     (uint32_t)i, (char *)p->arena + small->offset);
    }
}

static sq_status run_prefix(const block_job *self, prefix *p, sq_error *err)
{
    SQ_TRY(sq_graph_select(p->graph, sq_providers_cpu, NULL, "cpu/ref", NULL, err));
    p->arena = malloc(sq_graph_arena_bytes(p->graph) + 1);
    p->workspace = malloc(sq_graph_workspace_bytes(p->graph) + 1);
    if (!p->arena || !p->workspace)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "proof: no host memory for the reference");
    draw_prefix(self, p);
    SQ_TRY(sq_graph_bind(p->graph, p->arena, p->workspace, NULL, err));
    return sq_graph_launch(p->graph, err);
}

static sq_status compare_prefix(const block_job *self, const prefix *p, sq_proof *proof,
                                sq_error *err)
{
    sq_tolerance tolerance = self->family->tolerance(self->cell.dtype, self->cell.value);
    char what[64];
    if (self->cell.pass == SQ_PASS_STEP)
        snprintf(what, sizeof what, "b=%lld", (long long)p->row);
    else
        snprintf(what, sizeof what, "b=%lld tokens=0..%lld", (long long)p->row,
                 (long long)p->length);
    for (int i = 0; i < sq_graph_tensor_count(p->graph); i++) {
        const sq_graph_tensor *small = sq_graph_tensor_at(p->graph, i);
        if (small->kind != SQ_TENSOR_OUTPUT)
            continue;
        sq_tensor whole = tensor_of(sq_graph_tensor_at(self->graph, i), proved_arena(self));
        sq_tensor got = corresponding(&whole, small->kind, small, p->row);
        sq_tensor want = tensor_of(small, p->arena);
        SQ_TRY(sq_prove_tensor(self->job.rig, small->name, &got, &want, tolerance, what, proof,
                               err));
    }
    return SQ_OK;
}

static sq_status check_guards(const block_job *self, sq_error *err)
{
    SQ_TRY(sq_guarded_check(self->job.rig, &self->replicas[0].arena, "the block's tensors", err));
    return sq_guarded_check(self->job.rig, &self->workspace, "its workspace", err);
}

static sq_status prove(sq_job *job, double max_work, sq_proof *proof, sq_error *err)
{
    block_job *self = (block_job *)job;
    sq_error overrun;
    sq_proof_init(proof);
    sq_status status = check_guards(self, &overrun);
    if (status != SQ_OK) {
        proof->is_ok = false;
        snprintf(proof->reason, sizeof proof->reason, "%.300s", overrun.message);
        return status == SQ_MISMATCH ? SQ_OK : sq_fail(err, status, "%s", overrun.message);
    }
    uint64_t rows = (uint64_t)self->cell.value[SQ_AXIS_B];
    prefix p = {.row = (int64_t)(sq_rng_mix(self->seed) % rows)};
    if ((status = build_prefix(self, max_work, &p, err)) != SQ_OK)
        goto done;
    if ((status = run_prefix(self, &p, err)) != SQ_OK)
        goto done;
    status = compare_prefix(self, &p, proof, err);
done:
    sq_graph_free(p.graph);
    free(p.arena);
    free(p.workspace);
    return status;
}

/* --- life --- */

static void release(sq_job *job)
{
    block_job *self = (block_job *)job;
    for (int i = 0; self->replicas && i < job->copies; i++) {
        if (i > 0)
            sq_graph_free(self->replicas[i].graph);
        sq_guarded_free(job->rig, &self->replicas[i].arena);
    }
    free(self->replicas);
    sq_graph_free(self->graph);
    sq_guarded_free(job->rig, &self->workspace);
    free(self);
}

static const sq_job_ops ops = {prepare, launch, prove, checksum, release};

/* Of the family and of the operators that its nodes call, in their order. */
static void hash_code(const block_job *self, char out[SQ_HASH_TEXT])
{
    sq_text text = {.data = NULL};
    const char *kind = self->job.rig->backend->name;
    const char *family = sq_code_of("model", self->family->name);
    bool is_known = *family != 0;
    sq_text_add(&text, family);
    for (int i = 0; i < sq_graph_node_count(self->graph); i++) {
        const char *code = sq_code_of(kind, sq_graph_call_at(self->graph, i)->op->name);
        is_known &= *code != 0;
        sq_text_add(&text, code);
    }
    out[0] = 0;
    if (is_known && !text.is_failed)
        sq_hash_text(text.data, out);
    sq_text_free(&text);
}

sq_status sq_job_new_block(const sq_rig *rig, const sq_family *family, const sq_cell *cell,
                           sq_job **job, sq_error *err)
{
    *job = NULL;
    block_job *self = calloc(1, sizeof *self);
    if (!self)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the job", family->name);
    *self =
        (block_job){.job = {.ops = &ops, .rig = rig, .copies = 1}, .family = family, .cell = *cell};
    sq_status status = make_graph(self, &self->graph, err);
    if (status != SQ_OK) {
        release(&self->job);
        return status;
    }
    self->job.bytes = sq_graph_arena_bytes(self->graph) + sq_graph_workspace_bytes(self->graph);
    self->job.copy_bytes = sq_graph_arena_bytes(self->graph);
    self->job.cost = sq_graph_cost(self->graph);
    self->job.tokens = sq_op_tokens(cell->pass, cell->value);
    hash_code(self, self->job.kernel_hash);
    *job = &self->job;
    return SQ_OK;
}
