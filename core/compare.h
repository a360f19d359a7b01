/* compare: is `got` what `want` says? NaN-safe: a NaN where a number belongs is a mismatch. */
#ifndef SQ_CORE_COMPARE_H
#define SQ_CORE_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rel_l2: bound of ||got - want|| / ||want||. max_abs: bound of the worst |got - want| as a
 * multiple of the root mean square of want. Both must hold. Where want is below the normal numbers
 * of got's type, but not all zero, the least of them stands for its root mean square. */
typedef struct {
    double rel_l2, max_abs;
} sq_tolerance;

/* rel_l2 and max_abs in the same units as the tolerance; both INFINITY where got has a non-finite
 * element that want has not, or NaN. worst: row-major index of the worst element. */
typedef struct {
    double rel_l2, max_abs;
    int64_t worst;
    double got_worst, want_worst;
    bool is_ok;
} sq_compare_result;

/* Compares two host tensors of equal dims (dtypes may differ, strides may differ). Where want is
 * all zero, got must be all zero. Equal infinities agree; a NaN in want proves nothing and is a
 * mismatch, as are unequal dims. */
sq_compare_result sq_compare(const sq_tensor *got, const sq_tensor *want, sq_tolerance tolerance);

#ifdef __cplusplus
}
#endif
#endif
