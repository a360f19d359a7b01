/* graph: a static list of operator calls over planned buffers.
 *
 * A family builds a graph for (axes, pass, dtype): tensors (inputs, parameters, activations,
 * outputs), views of them, and nodes (one operator call each, in execution order). The planner
 * gives every tensor an offset in one arena, reusing the room of activations whose last reader has
 * run, so the peak is known before anything is allocated. The executor is a loop over the nodes and
 * runs on any backend; it allocates nothing, so on CUDA it can be captured.
 *
 * Nodes know their operator, pass and tensors by id, and parameters are apart from activations:
 * what reverse-mode differentiation needs. It is not here yet.
 */
#ifndef SQ_MODELS_GRAPH_H
#define SQ_MODELS_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rng.h"
#include "core/status.h"
#include "core/tensor.h"
#include "kernels/fusion.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_graph sq_graph;
typedef int sq_tid; /* tensor id; negative: absent */

typedef enum {
    SQ_TENSOR_INPUT,
    SQ_TENSOR_PARAM,
    SQ_TENSOR_ACTIVATION,
    SQ_TENSOR_OUTPUT
} sq_tensor_kind;

typedef struct {
    char name[SQ_NAME_MAX]; /* "in_proj.w" */
    sq_tensor_kind kind;
    sq_tensor_spec spec;
    size_t offset; /* into the arena; valid after sq_graph_plan */
} sq_graph_tensor;

sq_graph *sq_graph_new(sq_dtype dtype); /* NULL on out of memory */
void sq_graph_free(sq_graph *graph);    /* accepts NULL */

/* --- building: a failure is kept for sq_graph_plan to return, so families read as a list --- */

/* The pass and the (B, L) of every node; a family's build() says it first of all. In pass step, which
 * is of one token, L is the context's. */
void sq_graph_begin(sq_graph *graph, sq_pass pass, int64_t batch, int64_t seqlen);
/* A (B, L, width) tensor in the graph's dtype; in pass step (B, 1, width). */
sq_tid sq_graph_input(sq_graph *graph, const char *name, int64_t width, sq_draw draw);
sq_tid sq_graph_output(sq_graph *graph, const char *name, int64_t width);
/* A view of `t`: its last axis cut to [start, start + count), then that axis split into `heads`
 * when heads > 0: (B, L, W) -> (B, L, heads, count / heads). heads == 0 keeps (B, L, count). */
sq_tid sq_graph_view(sq_graph *graph, sq_tid t, int64_t start, int64_t count, int64_t heads);
/* All of `t` with everything behind (B, L) joined: (B, L, H, P) -> (B, L, H*P). `t`: dense. */
sq_tid sq_graph_join(sq_graph *graph, sq_tid t);

#define SQ_TID_NONE (-1)  /* an optional tensor that is absent, or an output to be made */
#define SQ_TID_PARAM (-2) /* a parameter, shaped and drawn as the operator's list says */

/* One operator call: `in` by position of the operator's tensor list, `axes` a printf format of
 * sq_call_parse's form ("D=%lld,causal=1"; B and L are the graph's). Parameters are named
 * "<name>.<tensor>". out == SQ_TID_NONE makes an activation; returns the output's id. In pass step
 * what the operator has beyond its pass fwd is state: inputs and outputs of the graph, named as
 * parameters are ("ssd.initial_state", "ssd.final_state"). */
sq_tid sq_graph_node(sq_graph *graph, const char *name, const char *op, sq_tid out, int n_in,
                     const sq_tid *in, const char *axes, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 7, 8)))
#endif
    ;

/* --- planning and running --- */

/* Checks every node's shapes against its operator and assigns offsets. Call once. */
sq_status sq_graph_plan(sq_graph *graph, sq_error *err);
size_t sq_graph_arena_bytes(const sq_graph *graph);
size_t sq_graph_param_bytes(const sq_graph *graph);
int sq_graph_tensor_count(const sq_graph *graph);
const sq_graph_tensor *sq_graph_tensor_at(const sq_graph *graph, int i);
int sq_graph_node_count(const sq_graph *graph);
const sq_call *sq_graph_call_at(const sq_graph *graph, int i);
/* Sum of the nodes' compulsory flops; bytes are the block's: parameters, inputs, outputs once. */
sq_cost sq_graph_cost(const sq_graph *graph);

/* Picks each node's provider, the first that supports the call of: the vendor library for what is
 * no mixer (blocks are compared by their mixers, so projections run as fast as they can),
 * `provider`, any other of the operator's. SQ_UNSUPPORTED names the node. Then the runs of nodes
 * that the mixers' providers do at once; fusions: may be NULL. Afterwards workspace_bytes is known.
 */
sq_status sq_graph_select(sq_graph *graph, sq_providers_fn providers, sq_fusions_fn fusions,
                          const char *provider, const sq_device *device, sq_error *err);
size_t sq_graph_workspace_bytes(const sq_graph *graph);
/* Binds memory (arena and workspace, device or host) and a stream, and prepares library plans. */
sq_status sq_graph_bind(sq_graph *graph, void *arena, void *workspace, void *stream, sq_error *err);
/* Runs all nodes once; asynchronous where the providers are. */
sq_status sq_graph_launch(sq_graph *graph, sq_error *err);

/* --- families --- */

typedef struct {
    const char *name, *source, *doc;
    const sq_axis *axes; /* axis 0 is B, axis 1 is L, "D" is the model width */
    sq_status (*check)(sq_axis_value *axis, sq_error *err);
    sq_status (*at_width)(int64_t width, sq_axis_value *axis, sq_error *err);
    sq_status (*build)(sq_graph *graph, sq_pass pass, const sq_axis_value *axis, sq_error *err);
    sq_tolerance (*tolerance)(sq_dtype dtype, const sq_axis_value *axis);
    double causality_bound; /* as in sq_op */
} sq_family;

#define SQ_FAMILY(name) extern const sq_family sq_family_##name;
#include "models/registry.def"
#undef SQ_FAMILY

extern const sq_family *const sq_families[]; /* NULL-ended */
const sq_family *sq_family_find(const char *name);
const char *const *sq_family_names(void);

#ifdef __cplusplus
}
#endif
#endif
