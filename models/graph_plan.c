/* graph_plan: room for every tensor in one arena, and what a graph costs. */
#include "models/graph_parts.h"

static void note_use(sq_graph *graph, sq_tid id, int at)
{
    if (id < 0)
        return;
    sq_slot *t = &graph->tensors[graph->tensors[id].base];
    if (t->first_use < 0)
        t->first_use = at;
    t->last_use = at;
}

static size_t align_up(size_t bytes)
{
    return (bytes + SQ_GRAPH_ALIGN - 1) & ~(size_t)(SQ_GRAPH_ALIGN - 1);
}

/* True where two activations may not share memory: their lifetimes meet. */
static bool lifetimes_meet(const sq_slot *a, const sq_slot *b)
{
    return a->first_use <= b->last_use && b->first_use <= a->last_use;
}

/* First fit: the lowest offset at or above `floor` that no placed, living activation overlaps. */
static size_t place_activation(const sq_graph *graph, sq_tid id, size_t floor)
{
    const sq_slot *t = &graph->tensors[id];
    size_t bytes = align_up(sq_tensor_bytes(&t->shape)), offset = floor;
    for (bool is_moved = true; is_moved;) {
        is_moved = false;
        for (sq_tid other = 0; other < id; other++) {
            const sq_slot *o = &graph->tensors[other];
            if (!sq_graph_owns_memory(graph, other) || o->pub.kind != SQ_TENSOR_ACTIVATION ||
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
        sq_slot *t = &graph->tensors[id];
        if (!sq_graph_owns_memory(graph, id) || t->pub.kind == SQ_TENSOR_ACTIVATION)
            continue;
        t->pub.offset = fixed;
        fixed += align_up(sq_tensor_bytes(&t->shape));
    }
    graph->arena_bytes = fixed;
    for (sq_tid id = 0; id < graph->n_tensors; id++) {
        sq_slot *t = &graph->tensors[id];
        if (!sq_graph_owns_memory(graph, id) || t->pub.kind != SQ_TENSOR_ACTIVATION)
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
        for (int k = 0; k < SQ_MAX_OUT; k++)
            note_use(graph, graph->nodes[i].out[k], i);
    }
    assign_offsets(graph);
    for (sq_tid id = 0; id < graph->n_tensors; id++) /* the base keeps its own first and last use */
        graph->tensors[id].pub.offset =
            graph->tensors[graph->tensors[id].base].pub.offset +
            (size_t)graph->tensors[id].view_offset * sq_dtype_size(graph->tensors[id].shape.dtype);
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
        for (int k = 0; k < SQ_MAX_IN; k++)
            if (n->in[k] >= 0)
                n->call.in[k] = graph->tensors[n->in[k]].shape;
        for (int k = 0; k < SQ_MAX_OUT; k++)
            if (n->out[k] >= 0)
                n->call.out[k] = graph->tensors[n->out[k]].shape;
    }
    return SQ_OK;
}

size_t sq_graph_arena_bytes(const sq_graph *graph)
{
    return graph->arena_bytes;
}
size_t sq_graph_workspace_bytes(const sq_graph *graph)
{
    return graph->workspace_bytes;
}
int sq_graph_node_count(const sq_graph *graph)
{
    return graph->n_nodes;
}
const sq_call *sq_graph_call_at(const sq_graph *graph, int i)
{
    return &graph->nodes[i].call;
}

/* The i-th tensor that owns memory: views are how nodes see tensors, not tensors of their own. */
static sq_tid owner_at(const sq_graph *graph, int i)
{
    for (sq_tid id = 0; id < graph->n_tensors; id++)
        if (sq_graph_owns_memory(graph, id) && i-- == 0)
            return id;
    return SQ_TID_NONE;
}

int sq_graph_tensor_count(const sq_graph *graph)
{
    int count = 0;
    for (sq_tid id = 0; id < graph->n_tensors; id++)
        count += sq_graph_owns_memory(graph, id);
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
        if (sq_graph_owns_memory(graph, id) && graph->tensors[id].pub.kind == kind)
            bytes += sq_tensor_bytes(&graph->tensors[id].shape);
    return bytes;
}

size_t sq_graph_param_bytes(const sq_graph *graph)
{
    return bytes_of_kind(graph, SQ_TENSOR_PARAM);
}

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
