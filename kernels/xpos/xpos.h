/* xpos: positions of its axes, for the files of this folder alone. */
#ifndef SQ_KERNELS_XPOS_XPOS_H
#define SQ_KERNELS_XPOS_XPOS_H

#include "kernels/rope/rotary.h"

enum { AXIS_PAIRS = ROTARY_OWN, AXIS_BASE, AXIS_SCALE_BASE, AXIS_CENTER, AXIS_KEYS };

#ifdef __cplusplus
extern "C" {
#endif
sq_rotation sq_xpos_rotation_of(const sq_axis_value *axis);

/* xpos_bwd.c: the reference of pass bwd. */
sq_status sq_xpos_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
