/* graph_run: which provider runs each node, and running them. */
#include "models/graph_parts.h"

#include <string.h>

void sq_graph_release_plans(sq_graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
        if (!n->plan)
            continue;
        void (*release)(void *) = n->fusion ? n->fusion->release : n->provider->release;
        if (release)
            release(n->plan);
        n->plan = NULL;
    }
}

static bool is_vendor(const sq_provider *p)
{
    return strchr(p->name, '/') == NULL;
}

/* 0 is tried first. See sq_graph_select. */
static int rank_provider(const sq_op *op, const sq_provider *p, const char *wanted)
{
    if (!op->is_mixer && is_vendor(p))
        return 0;
    if (strcmp(p->name, wanted) == 0)
        return 1;
    return strcmp(p->name, "cuda/naive") == 0 ? 3 : 2;
}

static sq_status select_provider(sq_node *n, sq_providers_fn providers, const char *wanted,
                                 const sq_device *device, sq_error *err)
{
    sq_error why = {.message = "no provider"};
    for (int rank = 0; rank <= 3; rank++) {
        for (const sq_provider *p = providers(n->call.op); p->name; p++) {
            if (rank_provider(n->call.op, p, wanted) == rank &&
                sq_provider_supports(p, &n->call, NULL, device, &why) == SQ_OK) {
                n->provider = p;
                return SQ_OK;
            }
        }
    }
    return sq_fail(err, SQ_UNSUPPORTED, "node %s (%s): %s", n->name, n->call.op->name, why.message);
}

static void bind_tensor(const sq_graph *graph, sq_tensor *t, sq_tid id, void *arena)
{
    if (id >= 0)
        t->data = (char *)arena + graph->tensors[id].pub.offset;
}

static void bind_call(const sq_graph *graph, const sq_node *n, void *arena, sq_call *call)
{
    for (int k = 0; k < SQ_MAX_IN; k++)
        bind_tensor(graph, &call->in[k], n->in[k], arena);
    for (int k = 0; k < SQ_MAX_OUT; k++)
        bind_tensor(graph, &call->out[k], n->out[k], arena);
}

/* --- runs of nodes --- */

static int length_of(const sq_fusion *fusion)
{
    int length = 0;
    while (fusion->ops[length])
        length++;
    return length;
}

/* Are they the operators of the nodes from `first` on, none of which is in another run? */
static bool is_run(const sq_graph *graph, const sq_fusion *fusion, int first)
{
    const int length = length_of(fusion);
    if (first < 0 || first + length > graph->n_nodes)
        return false;
    for (int i = 0; i < length; i++) {
        const sq_node *n = &graph->nodes[first + i];
        if (n->length != 1 || n->fusion || strcmp(n->call.op->name, fusion->ops[i]) != 0)
            return false;
    }
    return true;
}

/* Nothing else reads what the run hands on inside, and what comes from before it lives until its
 * end: else an output of the run may lie where one of its inputs was, which is right node by node
 * only. */
static bool is_closed(const sq_graph *graph, int first, int last)
{
    for (sq_tid id = 0; id < graph->n_tensors; id++) {
        const sq_slot *t = &graph->tensors[id];
        if (!sq_graph_owns_memory(graph, id) || t->pub.kind != SQ_TENSOR_ACTIVATION ||
            t->last_use < first || t->first_use >= last)
            continue;
        if (t->first_use >= first ? t->last_use > last : t->last_use < last)
            return false;
    }
    return true;
}

/* Asks with an arena that is not there yet, but aligned as it will be. */
static bool supports_run(const sq_graph *graph, const sq_fusion *fusion, int first,
                         const sq_device *device)
{
    sq_call copy[SQ_MAX_RUN];
    const sq_call *calls[SQ_MAX_RUN];
    sq_error why;
    for (int i = 0; fusion->ops[i]; i++) {
        copy[i] = graph->nodes[first + i].call;
        bind_call(graph, &graph->nodes[first + i], (void *)(uintptr_t)SQ_GRAPH_ALIGN, &copy[i]);
        calls[i] = &copy[i];
    }
    return fusion->supports(calls, device, &why) == SQ_OK;
}

static void calls_of(const sq_graph *graph, int first, const sq_call **calls)
{
    for (int i = 0; i < graph->nodes[first].length; i++)
        calls[i] = &graph->nodes[first + i].call;
}

static void take_run(sq_graph *graph, const sq_fusion *fusion, int first)
{
    sq_node *n = &graph->nodes[first];
    const sq_call *calls[SQ_MAX_RUN];
    n->fusion = fusion;
    n->length = length_of(fusion);
    for (int i = 1; i < n->length; i++)
        graph->nodes[first + i].length = 0;
    calls_of(graph, first, calls);
    n->call.workspace_bytes = fusion->workspace ? fusion->workspace(calls) : 0;
}

static void fuse(sq_graph *graph, sq_fusions_fn fusions, const sq_device *device)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const sq_node *n = &graph->nodes[i];
        for (const sq_fusion *f = fusions(n->call.op); f && f->provider; f++) {
            const int first = i - f->mixer;
            if (strcmp(f->provider, n->provider->name) != 0 || !is_run(graph, f, first) ||
                !is_closed(graph, first, first + length_of(f) - 1) ||
                !supports_run(graph, f, first, device))
                continue;
            take_run(graph, f, first);
            break;
        }
    }
}

/* --- choosing, binding, running --- */

sq_status sq_graph_select(sq_graph *graph, sq_providers_fn providers, sq_fusions_fn fusions,
                          const char *provider, const sq_device *device, sq_error *err)
{
    sq_graph_release_plans(graph);
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
        SQ_TRY(select_provider(n, providers, provider, device, err));
        n->fusion = NULL;
        n->length = 1;
        n->call.workspace_bytes = n->provider->workspace ? n->provider->workspace(&n->call) : 0;
    }
    if (fusions)
        fuse(graph, fusions, device);
    graph->workspace_bytes = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].length && graph->nodes[i].call.workspace_bytes > graph->workspace_bytes)
            graph->workspace_bytes = graph->nodes[i].call.workspace_bytes;
    return SQ_OK;
}

static sq_status prepare(const sq_graph *graph, int i, void **plan, sq_error *err)
{
    const sq_node *n = &graph->nodes[i];
    const sq_call *calls[SQ_MAX_RUN];
    calls_of(graph, i, calls);
    if (n->fusion)
        return n->fusion->prepare ? n->fusion->prepare(calls, plan, err) : SQ_OK;
    return n->provider->prepare ? n->provider->prepare(&n->call, plan, err) : SQ_OK;
}

sq_status sq_graph_bind(sq_graph *graph, void *arena, void *workspace, void *stream, sq_error *err)
{
    sq_graph_release_plans(graph);
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
        bind_call(graph, n, arena, &n->call);
        n->call.workspace = workspace;
        n->call.stream = stream;
    }
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].length)
            SQ_TRY(prepare(graph, i, &graph->nodes[i].plan, err));
    return SQ_OK;
}

static sq_status launch(const sq_graph *graph, int i, sq_error *err)
{
    const sq_node *n = &graph->nodes[i];
    const sq_call *calls[SQ_MAX_RUN];
    if (!n->fusion)
        return n->provider->launch(&n->call, n->plan, err);
    calls_of(graph, i, calls);
    return n->fusion->launch(calls, n->plan, err);
}

sq_status sq_graph_launch(sq_graph *graph, sq_error *err)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].length)
            SQ_TRY(launch(graph, i, err));
    return SQ_OK;
}
