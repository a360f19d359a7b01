/* hippo: where the state spaces of S4 and S4D start.
 *
 *   LegS    A_nk = -sqrt((2n+1)(2k+1)) below the diagonal, -(n+1) on it, 0 above; B_n = sqrt(2n+1)
 *           A = V (diag(a) - P P*) V*, P_n = sqrt(n + 1/2) before the change of basis
 *   S4D     Lin a_n = -1/2 - i pi n;  Inv a_n = -1/2 - i N/pi (N/(2n+1) - 1);
 *           Real a_n = -(n+1);  b = 1;  LegS: a and b of LegS without P
 *
 * Of each pair of conjugate modes the one with the negative imaginary part is given, the largest
 * first. Vectors of V have a free phase: here V_0n > 0; P and b turn with it. Imaginary parts of b
 * are clipped to [-2, 2], as in the authors' program.
 *
 * Source    Gu et al.: S4 (2111.00396), theorem 1 and appendix C.1; S4D (2206.11893), section 4
 */
#ifndef SQ_BENCH_VERIFY_LAYERS_HIPPO_H
#define SQ_BENCH_VERIFY_LAYERS_HIPPO_H

#include <stdint.h>

#include "core/status.h"
#include "kernels/shared/c64.h"

#ifdef __cplusplus
extern "C" {
#endif

double sq_hippo_legs_a(int64_t n, int64_t k);
double sq_hippo_legs_b(int64_t n);

/* n (even) states: a, p, b of n/2 modes, v (n, n/2). SQ_OUT_OF_MEMORY. */
sq_status sq_hippo_legs(int64_t n, sq_c64 *a, sq_c64 *p, sq_c64 *b, sq_c64 *v, sq_error *err);

typedef enum { SQ_S4D_LIN, SQ_S4D_INV, SQ_S4D_REAL } sq_s4d_start;

/* n states: a of n/2 modes. */
void sq_hippo_diagonal(sq_s4d_start start, int64_t n, sq_c64 *a);

#ifdef __cplusplus
}
#endif
#endif
