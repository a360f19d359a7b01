/* s4d_kernel: positions of its axes and tensors, and its parts, for the files of this folder alone.
 */
#ifndef SQ_KERNELS_S4D_KERNEL_S4D_KERNEL_H
#define SQ_KERNELS_S4D_KERNEL_S4D_KERNEL_H

#include "kernels/op.h"
#include "kernels/shared/ssm_op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_N, AXIS_S, AXIS_DISC, AXIS_CONJUGATE, AXIS_INPUT };
enum { IN_LOG_DT, IN_A_REAL, IN_A_IMAG, IN_GAIN, IN_C, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif

/* Mode n of channel d: its parameters and what follows from them. */
typedef struct {
    double dt, sign;
    sq_c64 a, b;
    sq_ssm_mode step;
} sq_s4d_mode;

sq_s4d_mode sq_s4d_mode_of(const sq_call *call, int64_t d, int64_t n);

/* s4d_kernel_bwd.c: the reference of pass bwd. */
sq_status sq_s4d_kernel_backward(const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif

#endif
