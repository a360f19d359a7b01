/* rmsnorm: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_RMSNORM_RMSNORM_H
#define SQ_KERNELS_RMSNORM_RMSNORM_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_GROUPS, AXIS_WEIGHT, AXIS_GATE, AXIS_EPS };
enum { IN_X, IN_W, IN_Z, IN_COUNT };
enum { GATE_NONE, GATE_PRE, GATE_POST };

#ifdef __cplusplus
extern "C" {
#endif
/* rmsnorm_bwd.c: the reference of pass bwd. */
sq_status sq_rmsnorm_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
