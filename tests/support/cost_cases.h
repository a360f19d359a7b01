/* cost_cases: large calls whose cost() is compared with what a GPU counts: each operator in each
 * pass it has, bf16, by its best kernels. Every call moves far more than an L2 holds, and its shape
 * is whole tiles, so that what is counted is the kernel's own doing.
 */
#ifndef SQ_TESTS_SUPPORT_COST_CASES_H
#define SQ_TESTS_SUPPORT_COST_CASES_H

#include <stdbool.h>

#include "core/cell.h"

typedef struct {
    const char *op;
    sq_pass pass;
    const char *provider, *shape;
    /* The kernel is made to move the compulsory bytes and no others. */
    bool is_compulsory;
    /* Tensor operations that the kernel is made to do over the compulsory ones; 0: they are done
     * elsewhere, or depend on more than the shape. */
    double tensor;
    const char *why; /* what moves, or is done, besides; "" nothing */
} sq_cost_case;

extern const sq_cost_case sq_cost_cases[]; /* ended by op NULL */

#endif
