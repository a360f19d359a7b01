/* cost_walk: cost() against a walk of the definition: loops over all indices of the equations, which
 * count each operation where it is met. What counts:
 *
 *  - an addition, subtraction or product 1, a multiply-add 2, also where its sum starts from 0; a
 *    complex product 6, a complex multiply-add four real ones; comparisons and choices nothing;
 *  - of special functions (exponential, logarithm, sine, reciprocal, root, power, erf) the function
 *    alone: constants that are added to or multiply its argument and its value, the 1 + of a sigmoid
 *    and the sign before an exponential, belong to it. A softplus is two of them and no flop; a
 *    sigmoid is two; silu(z) is z times that, a flop more;
 *  - nothing for what is done once for a parameter, or once for a row of many elements, beside the
 *    work of its elements, unless the operator's docstring counts it.
 */
#ifndef SQ_TESTS_OPS_COST_WALK_H
#define SQ_TESTS_OPS_COST_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/op.h"

/* Passes of a sq_walk_case. */
enum {
    FORWARD = SQ_HAS_PASS(SQ_PASS_FWD),
    BACKWARD = SQ_HAS_PASS(SQ_PASS_BWD),
    STEP = SQ_HAS_PASS(SQ_PASS_STEP),
    ALL = FORWARD | BACKWARD | STEP
};

/* length: the tokens of a sequence, 1 in pass step. */
typedef struct {
    const sq_call *call;
    int64_t batch, length;
    bool is_bwd;
    double flops, matrix, special;
} sq_walk;

/* shapes: NULL-ended. */
typedef struct {
    const sq_op *op; /* NULL ends a table */
    unsigned passes;
    void (*walk)(sq_walk *w);
    const char *shapes[6];
} sq_walk_case;

/* An axis of the call; 0 where the operator has none of that name. */
int64_t sq_walk_axis(const sq_walk *w, const char *name);
/* Calls visit for each of `count` elements of every token. */
void sq_walk_each(sq_walk *w, int64_t count, void (*visit)(sq_walk *w));
/* Fails the test at the first cost() that is not as counted, in f32 and bf16. */
void sq_walk_check(const sq_walk_case *cases);

static inline void flop(sq_walk *w, int count)
{
    w->flops += count;
}

static inline void multiply_add(sq_walk *w)
{
    w->flops += 2;
}

static inline void complex_product(sq_walk *w)
{
    w->flops += 6;
}

static inline void complex_multiply_add(sq_walk *w)
{
    w->flops += 8;
}

/* One that tensor cores can do. */
static inline void matrix_multiply_add(sq_walk *w)
{
    w->flops += 2;
    w->matrix += 2;
}

/* s(z) (1 + z (1 - s(z))), where s(z) is known. */
static inline void silu_slope(sq_walk *w)
{
    flop(w, 1);      /* 1 - s */
    multiply_add(w); /* 1 + z that */
    flop(w, 1);      /* s that */
}

static inline void special(sq_walk *w, int count)
{
    w->special += count;
}

#endif
