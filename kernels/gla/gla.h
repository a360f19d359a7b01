/* gla: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_GLA_GLA_H
#define SQ_KERNELS_GLA_GLA_H

#include "kernels/op.h"
#include "kernels/shared/decay_layout.h"

enum { AXIS_B, AXIS_L, AXIS_H, AXIS_K, AXIS_V, AXIS_SCALE, AXIS_INITIAL, AXIS_FINAL };
enum { IN_Q, IN_K, IN_V, IN_G, IN_INITIAL, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
extern const sq_decay_layout sq_gla_layout;
/* The recurrence of a call whose tensors are those of pass fwd (or begin with them). */
sq_decay_scan sq_gla_scan(const sq_call *call);
/* gla_bwd.c: the reference of pass bwd. */
sq_status sq_gla_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
