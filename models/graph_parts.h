/* graph_parts: what a graph is made of, for the files of the graph alone: graph.c builds it,
 * graph_plan.c gives its tensors room, graph_run.c chooses providers and runs it.
 */
#ifndef SQ_MODELS_GRAPH_PARTS_H
#define SQ_MODELS_GRAPH_PARTS_H

#include "models/graph.h"

enum { SQ_GRAPH_TENSORS = 96, SQ_GRAPH_NODES = 32, SQ_GRAPH_ALIGN = 256 };

/* A tensor, or a view of one. */
typedef struct {
    sq_graph_tensor pub;
    sq_tensor shape;         /* data is NULL until bound */
    sq_tid base;             /* the tensor that owns the memory; itself where this is no view */
    int64_t view_offset;     /* elements from the base */
    int first_use, last_use; /* node indices; activations only */
} sq_slot;

typedef struct {
    char name[SQ_NAME_MAX];
    sq_call call;
    sq_tid in[SQ_MAX_IN], out[SQ_MAX_OUT];
    const sq_provider *provider;
    /* Of the first node of a run that is done at once; length: its nodes. The run's other nodes have
     * length 0, every node that is not in one has 1. */
    const sq_fusion *fusion;
    int length;
    void *plan; /* the fusion's, or the provider's */
} sq_node;

struct sq_graph {
    sq_dtype dtype;
    sq_pass pass;
    int64_t batch, seqlen;
    sq_slot tensors[SQ_GRAPH_TENSORS];
    int n_tensors;
    sq_node nodes[SQ_GRAPH_NODES];
    int n_nodes;
    size_t arena_bytes, workspace_bytes;
    sq_status status; /* of building */
    sq_error error;
};

/* graph_run.c */
void sq_graph_release_plans(sq_graph *graph);

static inline bool sq_graph_owns_memory(const sq_graph *graph, sq_tid id)
{
    return graph->tensors[id].base == id;
}

#endif
