/* ssd: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_SSD_SSD_H
#define SQ_KERNELS_SSD_SSD_H

#include "kernels/op.h"
#include "kernels/shared/decay_scan.h"

enum {
    AXIS_B,
    AXIS_L,
    AXIS_H,
    AXIS_P,
    AXIS_N,
    AXIS_G,
    AXIS_BIAS,
    AXIS_SOFTPLUS,
    AXIS_SKIP,
    AXIS_CHUNK
};
enum { IN_X, IN_DT, IN_A, IN_B, IN_C, IN_D, IN_BIAS, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
sq_scan_gate sq_ssd_gate(const sq_call *call, int64_t b, int64_t t, int64_t h);
double sq_ssd_skip(const sq_call *call, int64_t h);
/* ssd_bwd.c: the reference of pass bwd. */
sq_status sq_ssd_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
