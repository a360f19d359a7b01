/* long_conv: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_LONG_CONV_LONG_CONV_H
#define SQ_KERNELS_LONG_CONV_LONG_CONV_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_GATE };
enum { IN_V, IN_X1, IN_X0, IN_H, IN_BIAS, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
/* long_conv_bwd.c: the reference of pass bwd. */
sq_status sq_long_conv_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
