/* fusion: a run of calls, one after the other, that one launch does as well.
 *
 * What the calls hand on to each other is then written nowhere. A mixer's providers may have
 * fusions: a graph that runs the mixer's node by the provider named takes the run
 * (models/graph_run.c), and goes node by node where it cannot. The result is that of the calls, rounded where they round.
 */
#ifndef SQ_KERNELS_FUSION_H
#define SQ_KERNELS_FUSION_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_RUN = 4 };

/* The functions are those of sq_provider, over the calls of the run. Workspace, its bytes and
 * stream are calls[0]'s. */
typedef struct {
    const char *provider;   /* that runs the mixer */
    const char *const *ops; /* of the run, in order; NULL-ended, 2 to SQ_MAX_RUN */
    int mixer;              /* which of them it is */
    /* The tensors lie at addresses that are none: they may be compared, and looked at for their
     * alignment, but not followed. */
    sq_status (*supports)(const sq_call *const *calls, const sq_device *device, sq_error *why);
    size_t (*workspace)(const sq_call *const *calls);
    sq_status (*prepare)(const sq_call *const *calls, void **plan, sq_error *err);
    sq_status (*launch)(const sq_call *const *calls, void *plan, sq_error *err);
    void (*release)(void *plan);
} sq_fusion;

/* The fusions of a mixer, ended by a NULL provider; NULL: none. */
typedef const sq_fusion *(*sq_fusions_fn)(const sq_op *mixer);
#if defined(SQ_WITH_CUDA)
const sq_fusion *sq_fusions_cuda(const sq_op *mixer); /* kernels/registry_cuda.c */
#endif

#ifdef __cplusplus
}
#endif
#endif
