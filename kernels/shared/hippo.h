/* hippo: the state matrix that S4 and S4D remember the past with, HiPPO-LegS, and its normal plus
 * low-rank form.
 *
 *   A_nk = -sqrt((2n+1)(2k+1)) below the diagonal, -(n+1) on it, 0 above;   B_n = sqrt(2n+1)
 *   A = V (diag(a) - P P*) V*,  V unitary,  P = V* (sqrt(n + 1/2))_n,  b = V* B
 *
 * of x' = A x + B u, in the time that the step dt counts. Of each pair of conjugate modes the one with
 * the negative imaginary part is given, the largest first. Vectors of V have a free phase: here
 * V_0n > 0; P and b turn with it.
 *
 * Source    Gu et al.: Efficiently Modeling Long Sequences with Structured State Spaces (2111.00396),
 *           equation 2, theorem 1 and appendix C.1; the clip of b as in the authors' program
 */
#ifndef SQ_KERNELS_SHARED_HIPPO_H
#define SQ_KERNELS_SHARED_HIPPO_H

#include <stdint.h>

#include "core/status.h"
#include "kernels/shared/c64.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_HIPPO_MOST_STATES = 1024 };

/* Elements of A and B. */
double sq_hippo_legs_a(int64_t n, int64_t k);
double sq_hippo_legs_b(int64_t n);

/* states (even, 2 to SQ_HIPPO_MOST_STATES): a, p, b of states/2 modes, v (states, states/2). SQ_BAD_SHAPE;
 * SQ_OUT_OF_MEMORY. */
sq_status sq_hippo_legs(int64_t states, sq_c64 *a, sq_c64 *p, sq_c64 *b, sq_c64 *v, sq_error *err);
/* b as it is trained from: its imaginary part cut to [-2, 2]. */
sq_c64 sq_hippo_clip(sq_c64 b);

#ifdef __cplusplus
}
#endif
#endif
