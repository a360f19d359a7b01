/* selective_scan: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SELECTIVE_SCAN_H
#define SQ_KERNELS_SELECTIVE_SCAN_SELECTIVE_SCAN_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_N, AXIS_G, AXIS_BIAS, AXIS_SOFTPLUS, AXIS_SKIP, AXIS_GATE };
enum { AXIS_CONST_B = AXIS_GATE + 1, AXIS_CONST_C, AXIS_INITIAL, AXIS_FINAL };
enum { IN_U, IN_DELTA, IN_A, IN_B, IN_C, IN_SKIP, IN_Z, IN_BIAS, IN_INITIAL, IN_COUNT };
enum { OUT_Y, OUT_FINAL, OUT_COUNT };
enum { IN_DY = IN_COUNT, IN_DFINAL }; /* of pass bwd */

#ifdef __cplusplus
extern "C" {
#endif
/* B or C (or its gradient) as (B, L, groups, N): one that is constant in time has a group for each
 * channel, and strides of 0. */
sq_tensor sq_selective_scan_projection(const sq_call *call, const sq_tensor *t);
/* selective_scan_bwd.c: the reference of pass bwd. */
sq_status sq_selective_scan_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
