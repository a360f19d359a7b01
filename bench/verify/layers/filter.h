/* filter: filters of linear state spaces, S4's and S4D's, and the convolution by them.
 */
#ifndef SQ_BENCH_VERIFY_LAYERS_FILTER_H
#define SQ_BENCH_VERIFY_LAYERS_FILTER_H

#include "bench/verify/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The names of a filter's parameters, and what of the state space the case says. Complex tensors
 * have a last dim of 2. p NULL: diagonal. */
typedef struct {
    const char *dt, *a_real, *a_imag, *b, *c, *p;
    bool is_bilinear, is_conjugate; /* conjugate: imaginary parts are stored negated */
    bool is_single;                 /* low rank: the conjugates of the stored states do not count */
} sq_filter_form;

/* Taps (1, D, L) of S4D's filter. */
sq_var sq_diagonal_filter(sq_tape *tape, const sq_filter_form *form, int64_t length);
/* Taps (1, D, L) of S4's filter. */
sq_var sq_low_rank_filter(sq_tape *tape, const sq_golden *golden, const sq_filter_form *form,
                          int64_t length);
/* act(filter * u + skip u), u (B, L, D). */
sq_var sq_filtered(sq_tape *tape, sq_var u, sq_var filter, sq_var skip, bool has_gelu);

#ifdef __cplusplus
}
#endif
#endif
