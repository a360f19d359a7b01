/* selective_scan: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SELECTIVE_SCAN_H
#define SQ_KERNELS_SELECTIVE_SCAN_SELECTIVE_SCAN_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_N, AXIS_G, AXIS_BIAS, AXIS_SOFTPLUS, AXIS_SKIP, AXIS_GATE };
enum { IN_U, IN_DELTA, IN_A, IN_B, IN_C, IN_SKIP, IN_Z, IN_BIAS, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
/* selective_scan_bwd.c: the reference of pass bwd. */
sq_status sq_selective_scan_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
