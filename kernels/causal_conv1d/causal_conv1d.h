/* causal_conv1d: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_CAUSAL_CONV1D_CAUSAL_CONV1D_H
#define SQ_KERNELS_CAUSAL_CONV1D_CAUSAL_CONV1D_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_W, AXIS_SILU, AXIS_BIAS, AXIS_INITIAL, AXIS_FINAL };
enum { IN_X, IN_W, IN_BIAS, IN_INITIAL, IN_COUNT };
enum { OUT_Y, OUT_FINAL, OUT_COUNT };
enum { IN_DY = IN_COUNT, IN_DFINAL }; /* of pass bwd */

#ifdef __cplusplus
extern "C" {
#endif
/* causal_conv1d_bwd.c: the reference of pass bwd. */
sq_status sq_causal_conv1d_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
