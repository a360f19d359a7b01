/* rope: positions of its axes, for the files of this folder alone. */
#ifndef SQ_KERNELS_ROPE_ROPE_H
#define SQ_KERNELS_ROPE_ROPE_H

#include "kernels/rope/rotary.h"

enum { AXIS_PAIRS = ROTARY_OWN, AXIS_ANGLES, AXIS_BASE };
enum { ANGLES_ROPE, ANGLES_RETNET };

#ifdef __cplusplus
extern "C" {
#endif
sq_rotation sq_rope_rotation_of(const sq_axis_value *axis);

/* rope_bwd.c: the reference of pass bwd. */
sq_status sq_rope_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
