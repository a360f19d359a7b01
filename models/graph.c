#include "models/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

enum { MAX_TENSORS = 96, MAX_NODES = 32, ARENA_ALIGN = 256 };

typedef struct {
    sq_graph_tensor pub;
    sq_tensor shape; /* data is NULL until bound */
    sq_tid base;     /* the tensor that owns the memory; itself where this is no view */
    int64_t view_offset; /* elements from the base */
    int first_use, last_use; /* node indices; activations only */
} tensor;

typedef struct {
    char name[SQ_NAME_MAX];
    sq_call call;
    sq_tid in[SQ_MAX_IN], out;
    const sq_provider *provider;
    void *plan;
} node;

struct sq_graph {
    sq_dtype dtype;
    int64_t batch, seqlen;
    tensor tensors[MAX_TENSORS];
    int n_tensors;
    node nodes[MAX_NODES];
    int n_nodes;
    size_t arena_bytes, workspace_bytes;
    sq_status status; /* of building */
    sq_error error;
};

sq_graph *sq_graph_new(sq_dtype dtype)
{
    sq_graph *graph = calloc(1, sizeof *graph);
    if (graph)
        graph->dtype = dtype;
    return graph;
}

static void release_plans(sq_graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        node *n = &graph->nodes[i];
        if (n->plan && n->provider->release)
            n->provider->release(n->plan);
        n->plan = NULL;
    }
}

void sq_graph_free(sq_graph *graph)
{
    if (!graph)
        return;
    release_plans(graph);
    free(graph);
}

/* --- building --- */

void sq_graph_set_extent(sq_graph *graph, int64_t batch, int64_t seqlen)
{
    graph->batch = batch;
    graph->seqlen = seqlen;
}

/* Remembers the first failure; building goes on with ids that are never dereferenced. */
#define build_fail(graph, ...)                                                                     \
    do {                                                                                           \
        if ((graph)->status == SQ_OK)                                                              \
            (graph)->status = sq_fail(&(graph)->error, SQ_INTERNAL, __VA_ARGS__);                  \
    } while (0)

static bool is_tensor(const sq_graph *graph, sq_tid t) { return t >= 0 && t < graph->n_tensors; }

static sq_tid add_tensor(sq_graph *graph, const char *name, sq_tensor_kind kind,
                         const sq_tensor_spec *spec)
{
    if (graph->n_tensors == MAX_TENSORS) {
        build_fail(graph, "graph: more than %d tensors at %s", MAX_TENSORS, name);
        return SQ_TID_NONE;
    }
    sq_tid id = graph->n_tensors++;
    tensor *t = &graph->tensors[id];
    *t = (tensor){
        .pub = {.kind = kind, .spec = *spec}, .base = id, .first_use = -1, .last_use = -1};
    snprintf(t->pub.name, sizeof t->pub.name, "%s", name);
    t->pub.spec.name = t->pub.name;
    t->shape = sq_tensor_dense(NULL, spec->dtype, spec->rank, spec->dim);
    return id;
}

static sq_tensor_spec token_spec(const sq_graph *graph, int64_t width, sq_draw draw)
{
    return (sq_tensor_spec){.dtype = graph->dtype,
                            .rank = 3,
                            .dim = {graph->batch, graph->seqlen, width},
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
    tensor *view = &graph->tensors[id];
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

/* Resolves one input id of a node: makes parameters, refuses what does not fit the operator. */
static sq_tid take_input(sq_graph *graph, const node *n, const sq_tensor_spec *spec, sq_tid id)
{
    if (!spec->name || id == SQ_TID_NONE) {
        if (spec->name || id != SQ_TID_NONE)
            build_fail(graph, "graph: node %s: operator %s %s tensor %s", n->name, n->call.op->name,
                       spec->name ? "needs" : "has no", spec->name ? spec->name : "there");
        return SQ_TID_NONE;
    }
    if (id == SQ_TID_PARAM) {
        char name[SQ_NAME_MAX];
        snprintf(name, sizeof name, "%.40s.%.20s", n->name, spec->name);
        return add_tensor(graph, name, SQ_TENSOR_PARAM, spec);
    }
    if (!is_tensor(graph, id) || !has_shape(&graph->tensors[id].shape, spec))
        build_fail(graph, "graph: node %s: %s does not have the shape of %s.%s", n->name,
                   is_tensor(graph, id) ? graph->tensors[id].pub.name : "(absent)",
                   n->call.op->name, spec->name);
    return id;
}

static sq_tid take_output(sq_graph *graph, const node *n, const sq_tensor_spec *spec, sq_tid id)
{
    if (id == SQ_TID_NONE)
        return add_tensor(graph, n->name, SQ_TENSOR_ACTIVATION, spec);
    if (!is_tensor(graph, id) || !has_shape(&graph->tensors[id].shape, spec))
        build_fail(graph, "graph: node %s: the output given does not have the shape of %s.%s",
                   n->name, n->call.op->name, spec->name);
    return id;
}

static bool parse_call(sq_graph *graph, node *n, const char *op_name, const char *axes,
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
    sq_status s = sq_call_parse(op, SQ_PASS_FWD, graph->dtype, shape, &n->call, &why);
    if (s == SQ_OK)
        return true;
    if (graph->status == SQ_OK)
        graph->status = sq_fail(&graph->error, s, "%s: %s", n->name, why.message);
    return false;
}

sq_tid sq_graph_node(sq_graph *graph, const char *name, const char *op, sq_tid out, int n_in,
                     const sq_tid *in, const char *axes, ...)
{
    if (graph->status != SQ_OK)
        return SQ_TID_NONE;
    if (graph->n_nodes == MAX_NODES) {
        build_fail(graph, "graph: more than %d nodes at %s", MAX_NODES, name);
        return SQ_TID_NONE;
    }
    node *n = &graph->nodes[graph->n_nodes];
    *n = (node){.out = SQ_TID_NONE};
    snprintf(n->name, sizeof n->name, "%s", name);
    va_list args;
    va_start(args, axes);
    bool is_parsed = parse_call(graph, n, op, axes, args);
    va_end(args);
    sq_tensor_list list;
    if (!is_parsed || sq_call_shape(&n->call, &list, NULL) != SQ_OK)
        return SQ_TID_NONE;
    int n_out = 0;
    for (int i = 0; i < list.n_out; i++)
        n_out += list.out[i].name != NULL; /* an output that these axes leave out has no name */
    if (n_out != 1 || !list.out[0].name || n_in > list.n_in)
        build_fail(graph, "graph: node %s: %s takes at most %d inputs and has %d outputs", name, op,
                   list.n_in, n_out);
    for (int i = 0; i < SQ_MAX_IN; i++)
        n->in[i] = i < list.n_in
                       ? take_input(graph, n, &list.in[i], i < n_in ? in[i] : SQ_TID_NONE)
                       : SQ_TID_NONE;
    n->out = take_output(graph, n, &list.out[0], out);
    graph->n_nodes++;
    return n->out;
}

/* --- planning --- */

static void note_use(sq_graph *graph, sq_tid id, int at)
{
    if (id < 0)
        return;
    tensor *t = &graph->tensors[graph->tensors[id].base];
    if (t->first_use < 0)
        t->first_use = at;
    t->last_use = at;
}

static size_t align_up(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

static bool owns_memory(const sq_graph *graph, sq_tid id) { return graph->tensors[id].base == id; }

/* True where two activations may not share memory: their lifetimes meet. */
static bool lifetimes_meet(const tensor *a, const tensor *b)
{
    return a->first_use <= b->last_use && b->first_use <= a->last_use;
}

/* First fit: the lowest offset at or above `floor` that no placed, living activation overlaps. */
static size_t place_activation(const sq_graph *graph, sq_tid id, size_t floor)
{
    const tensor *t = &graph->tensors[id];
    size_t bytes = align_up(sq_tensor_bytes(&t->shape)), offset = floor;
    for (bool is_moved = true; is_moved;) {
        is_moved = false;
        for (sq_tid other = 0; other < id; other++) {
            const tensor *o = &graph->tensors[other];
            if (!owns_memory(graph, other) || o->pub.kind != SQ_TENSOR_ACTIVATION ||
                !lifetimes_meet(t, o))
                continue;
            size_t end = o->pub.offset + align_up(sq_tensor_bytes(&o->shape));
            if (offset < end && o->pub.offset < offset + bytes) {
                offset = end;
                is_moved = true;
            }
        }
    }
    return offset;
}

static void assign_offsets(sq_graph *graph)
{
    size_t fixed = 0;
    for (sq_tid id = 0; id < graph->n_tensors; id++) {
        tensor *t = &graph->tensors[id];
        if (!owns_memory(graph, id) || t->pub.kind == SQ_TENSOR_ACTIVATION)
            continue;
        t->pub.offset = fixed;
        fixed += align_up(sq_tensor_bytes(&t->shape));
    }
    graph->arena_bytes = fixed;
    for (sq_tid id = 0; id < graph->n_tensors; id++) {
        tensor *t = &graph->tensors[id];
        if (!owns_memory(graph, id) || t->pub.kind != SQ_TENSOR_ACTIVATION)
            continue;
        t->pub.offset = place_activation(graph, id, fixed);
        size_t end = t->pub.offset + align_up(sq_tensor_bytes(&t->shape));
        if (end > graph->arena_bytes)
            graph->arena_bytes = end;
    }
}

sq_status sq_graph_plan(sq_graph *graph, sq_error *err)
{
    if (graph->status != SQ_OK)
        return sq_fail(err, graph->status, "%s", graph->error.message);
    for (int i = 0; i < graph->n_nodes; i++) {
        for (int k = 0; k < SQ_MAX_IN; k++)
            note_use(graph, graph->nodes[i].in[k], i);
        note_use(graph, graph->nodes[i].out, i);
    }
    assign_offsets(graph);
    for (sq_tid id = 0; id < graph->n_tensors; id++) /* the base keeps its own first and last use */
        graph->tensors[id].pub.offset = graph->tensors[graph->tensors[id].base].pub.offset +
                                        (size_t)graph->tensors[id].view_offset *
                                            sq_dtype_size(graph->tensors[id].shape.dtype);
    for (int i = 0; i < graph->n_nodes; i++) {
        node *n = &graph->nodes[i];
        for (int k = 0; k < SQ_MAX_IN; k++)
            if (n->in[k] >= 0)
                n->call.in[k] = graph->tensors[n->in[k]].shape;
        n->call.out[0] = graph->tensors[n->out].shape;
    }
    return SQ_OK;
}

size_t sq_graph_arena_bytes(const sq_graph *graph) { return graph->arena_bytes; }
size_t sq_graph_workspace_bytes(const sq_graph *graph) { return graph->workspace_bytes; }
int sq_graph_node_count(const sq_graph *graph) { return graph->n_nodes; }
const sq_call *sq_graph_call_at(const sq_graph *graph, int i) { return &graph->nodes[i].call; }

/* The i-th tensor that owns memory: views are how nodes see tensors, not tensors of their own. */
static sq_tid owner_at(const sq_graph *graph, int i)
{
    for (sq_tid id = 0; id < graph->n_tensors; id++)
        if (owns_memory(graph, id) && i-- == 0)
            return id;
    return SQ_TID_NONE;
}

int sq_graph_tensor_count(const sq_graph *graph)
{
    int count = 0;
    for (sq_tid id = 0; id < graph->n_tensors; id++)
        count += owns_memory(graph, id);
    return count;
}

const sq_graph_tensor *sq_graph_tensor_at(const sq_graph *graph, int i)
{
    return &graph->tensors[owner_at(graph, i)].pub;
}

static size_t bytes_of_kind(const sq_graph *graph, sq_tensor_kind kind)
{
    size_t bytes = 0;
    for (sq_tid id = 0; id < graph->n_tensors; id++)
        if (owns_memory(graph, id) && graph->tensors[id].pub.kind == kind)
            bytes += sq_tensor_bytes(&graph->tensors[id].shape);
    return bytes;
}

size_t sq_graph_param_bytes(const sq_graph *graph) { return bytes_of_kind(graph, SQ_TENSOR_PARAM); }

sq_cost sq_graph_cost(const sq_graph *graph)
{
    sq_cost total = {.bytes_read = (double)(bytes_of_kind(graph, SQ_TENSOR_PARAM) +
                                            bytes_of_kind(graph, SQ_TENSOR_INPUT)),
                     .bytes_written = (double)bytes_of_kind(graph, SQ_TENSOR_OUTPUT)};
    for (int i = 0; i < graph->n_nodes; i++) {
        const sq_call *call = &graph->nodes[i].call;
        sq_cost cost = call->op->cost(call->pass, call->dtype, call->axis);
        total.flops += cost.flops;
        total.matrix_flops += cost.matrix_flops;
        total.special += cost.special;
    }
    return total;
}

/* --- running --- */

static bool is_vendor(const sq_provider *p) { return strchr(p->name, '/') == NULL; }

/* 0 is tried first. See sq_graph_select. */
static int rank_provider(const sq_op *op, const sq_provider *p, const char *wanted)
{
    if (!op->is_mixer && is_vendor(p))
        return 0;
    if (strcmp(p->name, wanted) == 0)
        return 1;
    return strcmp(p->name, "cuda/naive") == 0 ? 3 : 2;
}

static sq_status select_provider(node *n, sq_providers_fn providers, const char *wanted,
                                 const sq_device *device, sq_error *err)
{
    sq_error why = {.message = "no provider"};
    for (int rank = 0; rank <= 3; rank++) {
        for (const sq_provider *p = providers(n->call.op); p->name; p++) {
            if (rank_provider(n->call.op, p, wanted) == rank &&
                p->supports(&n->call, device, &why) == SQ_OK) {
                n->provider = p;
                return SQ_OK;
            }
        }
    }
    return sq_fail(err, SQ_UNSUPPORTED, "node %s (%s): %s", n->name, n->call.op->name, why.message);
}

sq_status sq_graph_select(sq_graph *graph, sq_providers_fn providers, const char *provider,
                          const sq_device *device, sq_error *err)
{
    graph->workspace_bytes = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        node *n = &graph->nodes[i];
        SQ_TRY(select_provider(n, providers, provider, device, err));
        n->call.workspace_bytes = n->provider->workspace ? n->provider->workspace(&n->call) : 0;
        if (n->call.workspace_bytes > graph->workspace_bytes)
            graph->workspace_bytes = n->call.workspace_bytes;
    }
    return SQ_OK;
}

static void bind_tensor(const sq_graph *graph, sq_tensor *t, sq_tid id, void *arena)
{
    if (id >= 0)
        t->data = (char *)arena + graph->tensors[id].pub.offset;
}

sq_status sq_graph_bind(sq_graph *graph, void *arena, void *workspace, void *stream, sq_error *err)
{
    release_plans(graph);
    for (int i = 0; i < graph->n_nodes; i++) {
        node *n = &graph->nodes[i];
        for (int k = 0; k < SQ_MAX_IN; k++)
            bind_tensor(graph, &n->call.in[k], n->in[k], arena);
        bind_tensor(graph, &n->call.out[0], n->out, arena);
        n->call.workspace = workspace;
        n->call.stream = stream;
        if (n->provider->prepare)
            SQ_TRY(n->provider->prepare(&n->call, &n->plan, err));
    }
    return SQ_OK;
}

sq_status sq_graph_launch(sq_graph *graph, sq_error *err)
{
    for (int i = 0; i < graph->n_nodes; i++)
        SQ_TRY(graph->nodes[i].provider->launch(&graph->nodes[i].call, graph->nodes[i].plan, err));
    return SQ_OK;
}
