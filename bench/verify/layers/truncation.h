/* truncation: C~ = C (1 - dA^L), which makes the generating function of S4's filter one of its
 * first L taps alone.
 *
 * dA: the bilinear discretisation of diag(a) - P P*, a = -exp(a_real) +- i a_imag. Of each pair of
 * conjugate states one is stored.
 *
 * Source    Gu et al.: Efficiently Modeling Long Sequences with Structured State Spaces
 *           (2111.00396), algorithm 1, step 1
 */
#ifndef SQ_BENCH_VERIFY_LAYERS_TRUNCATION_H
#define SQ_BENCH_VERIFY_LAYERS_TRUNCATION_H

#include "bench/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shapes: dt (D) its logarithm, a_real, a_imag (S, N/2), p (R, S, N/2, 2), c (C, D, N/2, 2);
 * channel d has copy d mod S. */
typedef struct {
    const sq_stored_tensor *dt, *a_real, *a_imag, *p, *c;
    bool is_conjugate; /* a_imag is stored negated */
    int64_t length;
} sq_truncation;

/* SQ_BAD_ARGUMENT where the shapes do not agree; `out` has c's. */
sq_status sq_truncate(const sq_truncation *of, double *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
