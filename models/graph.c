#include "models/graph_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

sq_graph *sq_graph_new(sq_dtype dtype)
{
    sq_graph *graph = calloc(1, sizeof *graph);
    if (graph)
        graph->dtype = dtype;
    return graph;
}

void sq_graph_free(sq_graph *graph)
{
    if (!graph)
        return;
    sq_graph_release_plans(graph);
    free(graph);
}

/* --- building --- */

void sq_graph_begin(sq_graph *graph, sq_pass pass, int64_t batch, int64_t seqlen)
{
    graph->pass = pass;
    graph->batch = batch;
    graph->seqlen = seqlen;
}

/* Remembers the first failure; building goes on with ids that are never dereferenced. */
#define build_fail(graph, ...)                                                                     \
    do {                                                                                           \
        if ((graph)->status == SQ_OK)                                                              \
            (graph)->status = sq_fail(&(graph)->error, SQ_INTERNAL, __VA_ARGS__);                  \
    } while (0)

static bool is_tensor(const sq_graph *graph, sq_tid t)
{
    return t >= 0 && t < graph->n_tensors;
}

static sq_tid add_tensor(sq_graph *graph, const char *name, sq_tensor_kind kind,
                         const sq_tensor_spec *spec)
{
    if (graph->n_tensors == SQ_GRAPH_TENSORS) {
        build_fail(graph, "graph: more than %d tensors at %s", SQ_GRAPH_TENSORS, name);
        return SQ_TID_NONE;
    }
    sq_tid id = graph->n_tensors++;
    sq_slot *t = &graph->tensors[id];
    *t = (sq_slot){
        .pub = {.kind = kind, .spec = *spec}, .base = id, .first_use = -1, .last_use = -1};
    snprintf(t->pub.name, sizeof t->pub.name, "%s", name);
    t->pub.spec.name = t->pub.name;
    t->shape = sq_tensor_dense(NULL, spec->dtype, spec->rank, spec->dim);
    return id;
}

static bool is_step(const sq_graph *graph)
{
    return graph->pass == SQ_PASS_STEP;
}

static sq_tensor_spec token_spec(const sq_graph *graph, int64_t width, sq_draw draw)
{
    return (sq_tensor_spec){.dtype = graph->dtype,
                            .rank = 3,
                            .dim = {graph->batch, is_step(graph) ? 1 : graph->seqlen, width},
                            .time_dim = 1,
                            .draw = draw};
}

sq_tid sq_graph_input(sq_graph *graph, const char *name, int64_t width, sq_draw draw)
{
    sq_tensor_spec spec = token_spec(graph, width, draw);
    return add_tensor(graph, name, SQ_TENSOR_INPUT, &spec);
}

sq_tid sq_graph_output(sq_graph *graph, const char *name, int64_t width)
{
    sq_tensor_spec spec = token_spec(graph, width, (sq_draw){.kind = SQ_DRAW_CONSTANT});
    return add_tensor(graph, name, SQ_TENSOR_OUTPUT, &spec);
}

static sq_tid add_view(sq_graph *graph, sq_tid of, const sq_tensor *shape, int64_t offset)
{
    sq_tensor_spec spec = graph->tensors[of].pub.spec;
    sq_tid id = add_tensor(graph, graph->tensors[of].pub.name, graph->tensors[of].pub.kind, &spec);
    if (id < 0)
        return id;
    sq_slot *view = &graph->tensors[id];
    view->base = graph->tensors[of].base;
    view->view_offset = graph->tensors[of].view_offset + offset;
    view->shape = *shape;
    return id;
}

sq_tid sq_graph_view(sq_graph *graph, sq_tid t, int64_t start, int64_t count, int64_t heads)
{
    if (!is_tensor(graph, t))
        return SQ_TID_NONE;
    sq_tensor shape = graph->tensors[t].shape;
    int last = shape.rank - 1;
    bool is_split = heads > 0;
    if (start < 0 || count < 1 || start + count > shape.dim[last] ||
        (is_split && (count % heads || shape.rank == SQ_MAX_RANK))) {
        build_fail(graph, "graph: no view %lld+%lld in %lld heads of %s", (long long)start,
                   (long long)count, (long long)heads, graph->tensors[t].pub.name);
        return SQ_TID_NONE;
    }
    int64_t offset = start * shape.stride[last];
    shape.dim[last] = is_split ? heads : count;
    if (is_split) {
        shape.stride[last] = count / heads;
        shape.dim[last + 1] = count / heads;
        shape.stride[last + 1] = 1;
        shape.rank++;
    }
    return add_view(graph, t, &shape, offset);
}

sq_tid sq_graph_join(sq_graph *graph, sq_tid t)
{
    if (!is_tensor(graph, t))
        return SQ_TID_NONE;
    const sq_tensor *shape = &graph->tensors[t].shape;
    if (!sq_tensor_is_dense(shape) || shape->rank < 3) {
        build_fail(graph, "graph: %s cannot be joined", graph->tensors[t].pub.name);
        return SQ_TID_NONE;
    }
    int64_t dim[3] = {shape->dim[0], shape->dim[1],
                      sq_tensor_count(shape) / (shape->dim[0] * shape->dim[1])};
    sq_tensor joined = sq_tensor_dense(NULL, shape->dtype, 3, dim);
    return add_view(graph, t, &joined, 0);
}

static bool has_shape(const sq_tensor *t, const sq_tensor_spec *spec)
{
    if (t->dtype != spec->dtype || t->rank != spec->rank)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] != spec->dim[i])
            return false;
    return true;
}

/* A tensor of the node's own, "<node>.<tensor>". */
static sq_tid add_own(sq_graph *graph, const sq_node *n, sq_tensor_kind kind,
                      const sq_tensor_spec *spec)
{
    char name[SQ_NAME_MAX];
    snprintf(name, sizeof name, "%.40s.%.20s", n->name, spec->name);
    return add_tensor(graph, name, kind, spec);
}

/* Resolves one input id of a node: makes parameters, refuses what does not fit the operator. */
static sq_tid take_input(sq_graph *graph, const sq_node *n, const sq_tensor_spec *spec, sq_tid id)
{
    if (!spec->name || id == SQ_TID_NONE) {
        if (spec->name || id != SQ_TID_NONE)
            build_fail(graph, "graph: node %s: operator %s %s tensor %s", n->name, n->call.op->name,
                       spec->name ? "needs" : "has no", spec->name ? spec->name : "there");
        return SQ_TID_NONE;
    }
    if (id == SQ_TID_PARAM)
        return add_own(graph, n, SQ_TENSOR_PARAM, spec);
    if (!is_tensor(graph, id) || !has_shape(&graph->tensors[id].shape, spec))
        build_fail(graph, "graph: node %s: %s does not have the shape of %s.%s", n->name,
                   is_tensor(graph, id) ? graph->tensors[id].pub.name : "(absent)",
                   n->call.op->name, spec->name);
    return id;
}

static sq_tid take_output(sq_graph *graph, const sq_node *n, const sq_tensor_spec *spec, sq_tid id)
{
    if (id == SQ_TID_NONE)
        return add_tensor(graph, n->name, SQ_TENSOR_ACTIVATION, spec);
    if (!is_tensor(graph, id) || !has_shape(&graph->tensors[id].shape, spec))
        build_fail(graph, "graph: node %s: the output given does not have the shape of %s.%s",
                   n->name, n->call.op->name, spec->name);
    return id;
}

static bool parse_call(sq_graph *graph, sq_node *n, const char *op_name, const char *axes,
                       va_list args)
{
    char shape[256];
    int used = snprintf(shape, sizeof shape, "B=%lld,L=%lld", (long long)graph->batch,
                        (long long)graph->seqlen);
    if (*axes) {
        shape[used++] = ',';
        vsnprintf(shape + used, sizeof shape - (size_t)used, axes, args);
    }
    const sq_op *op = sq_op_find(op_name);
    if (!op) {
        build_fail(graph, "graph: node %s: no operator %s", n->name, op_name);
        return false;
    }
    sq_error why;
    sq_status s = sq_call_parse(op, graph->pass, graph->dtype, shape, &n->call, &why);
    if (s == SQ_OK)
        return true;
    if (graph->status == SQ_OK)
        graph->status = sq_fail(&graph->error, s, "%s: %s", n->name, why.message);
    return false;
}

/* Resolves all ids of a node. list: its tensors; plain: those of pass fwd. What pass step has
 * beyond them is state: it comes from outside the graph and is handed on to it. */
static void take_tensors(sq_graph *graph, sq_node *n, const sq_tensor_list *list,
                         const sq_tensor_list *plain, sq_tid out, int n_in, const sq_tid *in)
{
    int n_out = 0;
    for (int i = 0; i < plain->n_out; i++)
        n_out += plain->out[i].name != NULL; /* an output that these axes leave out has no name */
    if (n_out != 1 || !plain->out[0].name || n_in > list->n_in)
        build_fail(graph, "graph: node %s: %s takes at most %d inputs and has %d outputs", n->name,
                   n->call.op->name, list->n_in, n_out);
    for (int i = 0; i < SQ_MAX_IN; i++) {
        const sq_tensor_spec *spec = &list->in[i];
        const sq_tid given = i < n_in ? in[i] : SQ_TID_NONE;
        n->in[i] = SQ_TID_NONE;
        if (i < list->n_in && spec->name && !plain->in[i].name && given == SQ_TID_NONE)
            n->in[i] = add_own(graph, n, SQ_TENSOR_INPUT, spec);
        else if (i < list->n_in)
            n->in[i] = take_input(graph, n, spec, given);
    }
    n->out[0] = take_output(graph, n, &list->out[0], out);
    for (int i = 1; i < SQ_MAX_OUT; i++) {
        const bool is_there = i < list->n_out && list->out[i].name;
        n->out[i] = is_there ? add_own(graph, n, SQ_TENSOR_OUTPUT, &list->out[i]) : SQ_TID_NONE;
    }
}

sq_tid sq_graph_node(sq_graph *graph, const char *name, const char *op, sq_tid out, int n_in,
                     const sq_tid *in, const char *axes, ...)
{
    if (graph->status != SQ_OK)
        return SQ_TID_NONE;
    if (graph->n_nodes == SQ_GRAPH_NODES) {
        build_fail(graph, "graph: more than %d nodes at %s", SQ_GRAPH_NODES, name);
        return SQ_TID_NONE;
    }
    sq_node *n = &graph->nodes[graph->n_nodes];
    *n = (sq_node){.plan = NULL};
    snprintf(n->name, sizeof n->name, "%s", name);
    va_list args;
    va_start(args, axes);
    bool is_parsed = parse_call(graph, n, op, axes, args);
    va_end(args);
    sq_tensor_list list, plain;
    if (!is_parsed || sq_call_shape(&n->call, &list, NULL) != SQ_OK ||
        sq_op_tensors(n->call.op, SQ_PASS_FWD, graph->dtype, n->call.axis, &plain, NULL) != SQ_OK)
        return SQ_TID_NONE;
    take_tensors(graph, n, &list, &plain, out, n_in, in);
    graph->n_nodes++;
    return n->out[0];
}
