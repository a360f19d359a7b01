/* condition: how far the last bits of its inputs move a call's results, by the reference.
 *
 * A kernel in f32 rounds between its inputs and a result, so its result is that of inputs which are
 * off by some roundings, and no bound says it better: a gradient that is one number, left of
 * thousands of terms of both signs, or behind a sine of a large argument, moves by more than any
 * bound that suits the others. A kernel in 16 bit rounds its intermediates to that, too.
 */
#ifndef SQ_BENCH_WORKER_CONDITION_H
#define SQ_BENCH_WORKER_CONDITION_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The reference of a host call and of all that its list names. */
typedef sq_status (*sq_reference_fn)(const sq_tensor_list *list, sq_call *host, sq_error *err);

/* In the units of tolerances; zeros: not measured. `moved` by roundings of inputs to f32, `rounded`
 * by those of named intermediates to the call's 16-bit type. */
typedef struct {
    sq_tolerance moved, rounded;
} sq_move;

typedef struct {
    sq_move in[SQ_MAX_IN], out[SQ_MAX_OUT]; /* by tensor */
} sq_condition;

/* Draws that measure a call of that type: in 16 bit some with its named intermediates and results
 * rounded (docs/intermediates.md), then some with every drawn number of its inputs an f32 rounding
 * away. */
int sq_condition_draws(sq_dtype dtype);

/* Runs the reference of `host`, which has run into results of f64, once more; *out, zeros at first,
 * grows by what draw number `draw` moves. */
sq_status sq_condition_add(const sq_tensor_list *list, const sq_call *host,
                           sq_reference_fn reference, int draw, sq_condition *out, sq_error *err);

/* What is allowed: the operator's tolerance, of which rel_l2 is at most `least`; or, if larger, some
 * dozen of what inputs move, but no more than 1 %, and what the rule gives for what intermediates
 * do, but no more than half (bench/error_rule.h). Where they alone move a result by half and more,
 * the type does not hold it (what is made of f16 below 6e-8): all that is asked then is that no more
 * than that is lost. */
sq_tolerance sq_condition_bound(sq_tolerance tolerance, double least, bool is_gradient,
                                sq_move move);

#ifdef __cplusplus
}
#endif
#endif
