/* retention: positions of its axes and tensors, and its parts, for the files of this folder alone.
 */
#ifndef SQ_KERNELS_RETENTION_RETENTION_H
#define SQ_KERNELS_RETENTION_RETENTION_H

#include "kernels/op.h"
#include "kernels/shared/decay_layout.h"

enum {
    AXIS_B,
    AXIS_L,
    AXIS_H,
    AXIS_K,
    AXIS_V,
    AXIS_FIRST,
    AXIS_CHUNK,
    AXIS_NORM,
    AXIS_PAST,
    AXIS_INITIAL,
    AXIS_FINAL
};
enum { IN_Q, IN_K, IN_V, IN_INITIAL, IN_COUNT };
enum { NORM_NONE, NORM_DECAY, NORM_PAPER, NORM_TORCHSCALE };

#ifdef __cplusplus
extern "C" {
#endif
extern const sq_decay_layout sq_retention_layout;

/* Does the normaliser look at all scores? */
static inline bool sq_retention_needs_scores(const sq_axis_value *axis)
{
    return axis[AXIS_NORM] == NORM_PAPER || axis[AXIS_NORM] == NORM_TORCHSCALE;
}

/* Steps before the first of the call's tensors. */
static inline double sq_retention_past(const sq_call *call)
{
    return call->pass == SQ_PASS_STEP ? call->axis[AXIS_L] - 1 : call->axis[AXIS_PAST];
}

/* The recurrence of a call whose tensors are those of pass fwd (or begin with them). row: room for
 * one number of each (b, t, h), which becomes the scan's; not used without a normaliser. */
sq_decay_scan sq_retention_scan(const sq_call *call, double *row);
/* ln gamma of head h. */
double sq_retention_log_gamma(const sq_call *call, int64_t h);
/* 1 / sqrt(1 + gamma + ... ) over the steps up to t, those before the call included. */
double sq_retention_decay_norm(const sq_call *call, int64_t t, int64_t h);
/* retention_bwd.c: the reference of pass bwd. */
sq_status sq_retention_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
