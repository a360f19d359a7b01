/* specimen: see specimen.h. */
#include "tests/support/specimen.h"

#include <stdlib.h>
#include <string.h>

#include "bench/worker/job.h"

/* --- making --- */

static sq_status parse_axes(const sq_axis *axes, const char *shape, const sq_specimen_axis *set,
                            sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_axis_parse_assignments(axes, shape, axis, err));
    for (; set && set->name; set++) {
        const int at = sq_axis_find(axes, set->name);
        if (at >= 0)
            axis[at] = set->value;
    }
    return SQ_OK;
}

static sq_status add_tensor(const sq_tensor_spec *spec, bool is_batched, sq_specimen_tensor *list,
                            int *count, int most, sq_error *err)
{
    if (*count == most)
        return sq_fail(err, SQ_INTERNAL, "specimen: more than %d tensors", most);
    sq_specimen_tensor *t = &list[(*count)++];
    *t = (sq_specimen_tensor){.spec = *spec, .is_batched = is_batched};
    if (!spec->name)
        return SQ_OK;
    t->host = sq_tensor_dense(NULL, spec->dtype, spec->rank, spec->dim);
    t->host.data = calloc(1, sq_tensor_bytes(&t->host));
    return t->host.data ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "specimen: no memory");
}

static sq_status add_op_tensors(sq_specimen *s, sq_error *err)
{
    sq_tensor_list list = {.n_in = 0}, larger = {.n_in = 0};
    sq_axis_value axis[SQ_MAX_AXES];
    memcpy(axis, s->axis, sizeof axis);
    axis[SQ_AXIS_B]++; /* what grows with the batch is batched; Hyena's filter (D, L) is not */
    SQ_TRY(s->op->tensors(s->pass, s->dtype, s->axis, &list, err));
    SQ_TRY(s->op->tensors(s->pass, s->dtype, axis, &larger, err));
    for (int i = 0; i < list.n_in; i++) {
        const sq_tensor_spec *spec = &list.in[i];
        SQ_TRY(add_tensor(spec, spec->name && spec->dim[0] != larger.in[i].dim[0], s->in, &s->n_in,
                          SQ_SPECIMEN_MAX, err));
    }
    for (int i = 0; i < list.n_out; i++)
        SQ_TRY(add_tensor(&list.out[i], true, s->out, &s->n_out, SQ_MAX_OUT, err));
    return SQ_OK;
}

sq_status sq_specimen_new_op(const sq_op *op, const sq_provider *provider, sq_pass pass,
                             sq_dtype dtype, const char *shape, const sq_specimen_axis *set,
                             sq_specimen *out, sq_error *err)
{
    *out = (sq_specimen){.op = op,
                         .provider = provider,
                         .provider_name = provider->name,
                         .dtype = dtype,
                         .pass = pass,
                         .causality_bound = op->causality_bound};
    SQ_TRY(parse_axes(op->axes, shape, set, out->axis, err));
    SQ_TRY(sq_op_check(op, out->axis, err));
    out->tolerance = op->tolerance(pass, dtype, out->axis);
    return add_op_tensors(out, err);
}

static sq_status build(const sq_specimen *s, sq_graph **graph, sq_error *err)
{
    *graph = sq_graph_new(s->dtype);
    if (!*graph)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "specimen: no memory for the graph");
    SQ_TRY(s->family->build(*graph, SQ_PASS_FWD, s->axis, err));
    return sq_graph_plan(*graph, err);
}

static bool is_drawn(const sq_graph_tensor *t)
{
    return t->kind == SQ_TENSOR_INPUT || t->kind == SQ_TENSOR_PARAM;
}

static sq_status add_block_tensors(sq_specimen *s, const sq_graph *graph, sq_error *err)
{
    for (int i = 0; i < sq_graph_tensor_count(graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(graph, i);
        if (is_drawn(t))
            SQ_TRY(add_tensor(&t->spec, t->kind == SQ_TENSOR_INPUT, s->in, &s->n_in,
                              SQ_SPECIMEN_MAX, err));
        else if (t->kind == SQ_TENSOR_OUTPUT)
            SQ_TRY(add_tensor(&t->spec, true, s->out, &s->n_out, SQ_MAX_OUT, err));
    }
    return SQ_OK;
}

sq_status sq_specimen_new_block(const sq_family *family, const char *provider, sq_dtype dtype,
                                const char *shape, const sq_specimen_axis *set, sq_specimen *out,
                                sq_error *err)
{
    sq_graph *graph = NULL;
    *out = (sq_specimen){.family = family,
                         .provider_name = provider,
                         .dtype = dtype,
                         .causality_bound = family->causality_bound};
    SQ_TRY(parse_axes(family->axes, shape, set, out->axis, err));
    SQ_TRY(family->check(out->axis, err));
    out->tolerance = family->tolerance(dtype, out->axis);
    sq_status status = build(out, &graph, err);
    if (status == SQ_OK)
        status = add_block_tensors(out, graph, err);
    sq_graph_free(graph);
    return status;
}

void sq_specimen_free(sq_specimen *s)
{
    for (int i = 0; i < s->n_in; i++)
        free(s->in[i].host.data);
    for (int i = 0; i < s->n_out; i++)
        free(s->out[i].host.data);
    s->n_in = s->n_out = 0;
}

void sq_specimen_draw(sq_specimen *s, uint64_t seed)
{
    for (int i = 0; i < s->n_in; i++)
        if (s->in[i].host.data)
            sq_rng_fill(&s->in[i].host, 0, s->in[i].spec.draw, seed, (uint32_t)i);
}

/* --- running --- */

static sq_status upload(const sq_rig *rig, const sq_specimen_tensor *t, void *to, sq_error *err)
{
    return rig->backend->upload(rig->device, to, t->host.data, sq_tensor_bytes(&t->host), err);
}

static sq_status run_op(const sq_rig *rig, sq_specimen *s, sq_job *job, sq_error *err)
{
    double setup_ns;
    SQ_TRY(job->ops->prepare(job, 0, &setup_ns, err));
    const sq_place *place = sq_job_place(job);
    for (int i = 0; i < s->n_in; i++)
        if (s->in[i].host.data)
            SQ_TRY(upload(rig, &s->in[i], place->buffer[i].data, err));
    SQ_TRY(sq_job_run_once(job, err));
    for (int i = 0; i < s->n_out; i++)
        if (s->out[i].host.data)
            SQ_TRY(
                rig->backend->gather(rig->device, &place->call.out[i], s->out[i].host.data, err));
    return SQ_OK;
}

static sq_status run_block(const sq_rig *rig, sq_specimen *s, sq_graph *graph, char *arena,
                           void *workspace, sq_error *err)
{
    int in = 0, out = 0;
    SQ_TRY(rig->backend->poison(rig->device, arena, sq_graph_arena_bytes(graph), err));
    for (int i = 0; i < sq_graph_tensor_count(graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(graph, i);
        if (is_drawn(t))
            SQ_TRY(upload(rig, &s->in[in++], arena + t->offset, err));
    }
    SQ_TRY(sq_graph_bind(graph, arena, workspace, rig->backend->stream(rig->device), err));
    SQ_TRY(sq_graph_launch(graph, err));
    SQ_TRY(rig->backend->sync(rig->device, err));
    for (int i = 0; i < sq_graph_tensor_count(graph); i++) {
        const sq_graph_tensor *t = sq_graph_tensor_at(graph, i);
        if (t->kind != SQ_TENSOR_OUTPUT)
            continue;
        sq_tensor view = s->out[out].host;
        view.data = arena + t->offset;
        SQ_TRY(rig->backend->gather(rig->device, &view, s->out[out++].host.data, err));
    }
    return SQ_OK;
}

static sq_status place_block(const sq_rig *rig, sq_specimen *s, sq_graph *graph, sq_error *err)
{
    void *arena = NULL, *workspace = NULL;
    sq_status status = sq_graph_select(graph, rig->providers, rig->fusions, s->provider_name,
                                       rig->backend->facts(rig->device), err);
    if (status == SQ_OK)
        status = rig->backend->alloc(rig->device, sq_graph_arena_bytes(graph), &arena, err);
    if (status == SQ_OK)
        status = rig->backend->alloc(rig->device, sq_graph_workspace_bytes(graph), &workspace, err);
    if (status == SQ_OK)
        status = run_block(rig, s, graph, arena, workspace, err);
    rig->backend->free(rig->device, arena);
    rig->backend->free(rig->device, workspace);
    return status;
}

sq_status sq_specimen_run(const sq_rig *rig, sq_specimen *s, sq_error *err)
{
    sq_status status;
    if (s->family) {
        sq_graph *graph = NULL;
        status = build(s, &graph, err);
        if (status == SQ_OK)
            status = place_block(rig, s, graph, err);
        sq_graph_free(graph);
        return status;
    }
    sq_call call = {.op = s->op, .pass = s->pass, .dtype = s->dtype};
    sq_job *job = NULL;
    memcpy(call.axis, s->axis, sizeof call.axis);
    SQ_TRY(sq_job_new_op(rig, &call, s->provider, SQ_LAYOUT_DENSE, &job, err));
    status = run_op(rig, s, job, err);
    sq_job_free(job);
    return status;
}
