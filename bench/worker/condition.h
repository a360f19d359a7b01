/* condition: how far the last bits of its inputs move a call's results, by the reference.
 *
 * A kernel in f32 rounds between its inputs and a result, so its result is that of inputs which are
 * off by some roundings, and no bound says it better: a gradient that is one number, left of
 * thousands of terms of both signs, or behind a sine of a large argument, moves by more than any
 * bound that suits the others.
 */
#ifndef SQ_BENCH_WORKER_CONDITION_H
#define SQ_BENCH_WORKER_CONDITION_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The reference of a host call and of all that its list names. */
typedef sq_status (*sq_reference_fn)(const sq_tensor_list *list, sq_call *host, sq_error *err);

/* By tensor, in the units of tolerances; zeros: not measured. */
typedef struct {
    sq_tolerance in[SQ_MAX_IN], out[SQ_MAX_OUT];
} sq_condition;

/* Runs the reference of `host`, which has run, some times more, every drawn number of its inputs an
 * f32 rounding away. */
sq_status sq_condition_measure(const sq_tensor_list *list, const sq_call *host,
                               sq_reference_fn reference, sq_condition *out, sq_error *err);

/* The operator's tolerance, or some dozen of the moves, whichever is more; never more than 1 %. */
sq_tolerance sq_condition_widen(sq_tolerance tolerance, sq_tolerance moved);

#ifdef __cplusplus
}
#endif
#endif
