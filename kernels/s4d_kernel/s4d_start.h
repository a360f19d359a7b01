/* s4d_start: where the parameters of s4d_kernel (and of s4_scan without low rank) start: poles a and
 * input weights b of N/2 modes, one of each pair of conjugates.
 *
 *   lin    a_n = -1/2 + i pi n                      b_n = 1
 *   inv    a_n = -1/2 + i N/pi (N/(2n+1) - 1)       b_n = 1
 *   real   a_n = -(n + 1)                           b_n = 1
 *   legs   a and b of HiPPO-LegS in the basis where it is normal, without its low rank
 *
 * in units of 1/dt. Of lin and inv the papers give the mode above the axis, the authors' program its
 * conjugate, as legs has it: here all are below, a.im <= 0; conjugate pairs count the same. The kernel
 * stores them as a_real = log(-re a), a_imag = im a (conjugate = 1: -im a).
 *
 * Source    Gu et al.: On the Parameterization and Initialization of Diagonal State Space Models
 *           (2206.11893), section 4: S4D-LegS, S4D-Inv, S4D-Lin, S4D-Real
 */
#ifndef SQ_KERNELS_S4D_KERNEL_S4D_START_H
#define SQ_KERNELS_S4D_KERNEL_S4D_START_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "kernels/shared/c64.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SQ_S4D_LIN, SQ_S4D_INV, SQ_S4D_REAL, SQ_S4D_LEGS, SQ_S4D_STARTS } sq_s4d_start;

const char *sq_s4d_start_name(sq_s4d_start start);
/* SQ_BAD_ARGUMENT with the names that there are. */
sq_status sq_s4d_start_find(const char *name, sq_s4d_start *out, sq_error *err);

/* states (even, 2 to 1024): a and b of states/2 modes. SQ_BAD_SHAPE; SQ_OUT_OF_MEMORY (legs). */
sq_status sq_s4d_start_modes(sq_s4d_start start, int64_t states, sq_c64 *a, sq_c64 *b,
                             sq_error *err);
/* What the kernel stores of a pole: a_real, a_imag. */
void sq_s4d_start_store(sq_c64 a, bool is_conjugate, double *a_real, double *a_imag);

#ifdef __cplusplus
}
#endif
#endif
