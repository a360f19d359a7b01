/* linear: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_LINEAR_LINEAR_H
#define SQ_KERNELS_LINEAR_LINEAR_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_K, AXIS_N, AXIS_BIAS, AXIS_RESIDUAL, AXIS_ACT };
enum { IN_X, IN_W, IN_BIAS, IN_R, IN_COUNT };
enum { IN_DY = IN_COUNT }; /* pass bwd */
enum { LINEAR_ACT_NONE, LINEAR_ACT_RELU, LINEAR_ACT_GELU, LINEAR_ACT_GELU_TANH, LINEAR_ACT_SILU };

#ifdef __cplusplus
extern "C" {
#endif
/* act(a) and its derivative; act: one of LINEAR_ACT. */
double sq_linear_act(int act, double a);
double sq_linear_act_slope(int act, double a);
/* linear_bwd.c: the reference of pass bwd. */
sq_status sq_linear_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
