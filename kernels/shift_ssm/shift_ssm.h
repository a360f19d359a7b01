/* shift_ssm: positions of its axes and tensors, and its parts, for the files of this folder alone.
 */
#ifndef SQ_KERNELS_SHIFT_SSM_SHIFT_SSM_H
#define SQ_KERNELS_SHIFT_SSM_SHIFT_SSM_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_N, AXIS_INITIAL, AXIS_FINAL };
enum { IN_U, IN_GAIN, IN_C, IN_SKIP, IN_INITIAL, IN_COUNT };
enum { OUT_Y, OUT_FINAL, OUT_COUNT };

#ifdef __cplusplus
extern "C" {
#endif

/* taps[j] = sum_i b_i c_{i+j} of channel d; b and c: rows of N that it fills. */
void sq_shift_ssm_taps(const sq_call *call, int64_t d, double *b, double *c, double *taps);

/* shift_ssm_bwd.c: the reference of pass bwd. */
sq_status sq_shift_ssm_backward(const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif

#endif
