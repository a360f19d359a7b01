/* graph_run: which provider runs each node, and running them. */
#include "models/graph_parts.h"

#include <string.h>

void sq_graph_release_plans(sq_graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
        if (n->plan && n->provider->release)
            n->provider->release(n->plan);
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

sq_status sq_graph_select(sq_graph *graph, sq_providers_fn providers, const char *provider,
                          const sq_device *device, sq_error *err)
{
    graph->workspace_bytes = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
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
    sq_graph_release_plans(graph);
    for (int i = 0; i < graph->n_nodes; i++) {
        sq_node *n = &graph->nodes[i];
        for (int k = 0; k < SQ_MAX_IN; k++)
            bind_tensor(graph, &n->call.in[k], n->in[k], arena);
        for (int k = 0; k < SQ_MAX_OUT; k++)
            bind_tensor(graph, &n->call.out[k], n->out[k], arena);
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
