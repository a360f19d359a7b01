/* linear: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_LINEAR_LINEAR_H
#define SQ_KERNELS_LINEAR_LINEAR_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_K, AXIS_N, AXIS_BIAS, AXIS_RESIDUAL };
enum { IN_X, IN_W, IN_BIAS, IN_R, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
/* linear_bwd.c: the reference of pass bwd. */
sq_status sq_linear_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
