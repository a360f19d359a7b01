/* retention: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_RETENTION_RETENTION_H
#define SQ_KERNELS_RETENTION_RETENTION_H

#include "kernels/op.h"
#include "kernels/shared/decay_scan.h"

enum { AXIS_B, AXIS_L, AXIS_H, AXIS_K, AXIS_V, AXIS_FIRST, AXIS_CHUNK };
enum { IN_Q, IN_K, IN_V, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
sq_scan_gate sq_retention_gate(const sq_call *call, int64_t b, int64_t t, int64_t h);
/* retention_bwd.c: the reference of pass bwd. */
sq_status sq_retention_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
