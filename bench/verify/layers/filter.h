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

/* Taps (filters of a channel, D, L) of S4D's filter. dt (D), or (D, N/2): a step for each state. */
sq_var sq_diagonal_filter(sq_tape *tape, const sq_filter_form *form, int64_t length);
/* Taps (filters of a channel, D, L) of S4's filter. */
sq_var sq_low_rank_filter(sq_tape *tape, const sq_golden *golden, const sq_filter_form *form,
                          int64_t length);
/* The first `length` taps of a filter, zeros behind its last one. */
sq_var sq_filter_taps(sq_tape *tape, sq_var filter, int64_t length);
/* How many filters of a channel the form's c has. */
int64_t sq_filter_count(sq_tape *tape, const sq_filter_form *form);

/* A diagonal space whose states have a step each: every state counts as a channel, of one state. */
typedef struct {
    int64_t channels, states, copies;
} sq_untied;
/* False where all states of a channel share its step. */
bool sq_is_untied(sq_tape *tape, const sq_filter_form *form, sq_untied *out);
/* A parameter (copies, states, ..) as (channels * states, 1, ..), `last` the rest. */
sq_var sq_untie(sq_tape *tape, const sq_untied *of, const char *name, int64_t last);

/* act(filter * u + skip u), u (B, L, D). */
sq_var sq_filtered(sq_tape *tape, sq_var u, sq_var filter, sq_var skip, bool has_gelu);

#ifdef __cplusplus
}
#endif
#endif
