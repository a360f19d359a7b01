/* error_rule: how far a result may be off, relatively (L2), whatever the operator: what is proved
 * against the reference (worker/condition.h) and what is verified against official results
 * (verify/verify.h) is judged by the same numbers. docs/intermediates.md has their reasons.
 */
#ifndef SQ_BENCH_ERROR_RULE_H
#define SQ_BENCH_ERROR_RULE_H

#include <math.h>
#include <stdbool.h>

#define SQ_RULE_F32 1e-5
#define SQ_RULE_FACTOR_F32 4.0 /* of what the official code itself loses in f32 */
/* In 16 bit: of the error of the reference whose named intermediates are rounded. */
#define SQ_RULE_FACTOR 2.0
#define SQ_RULE_GRADIENT 5e-3

/* What rounding costs a result at most: half a unit in the last place of a power of two. */
#define SQ_RULE_ROUNDING_BF16 0x1p-9
#define SQ_RULE_ROUNDING_F16 0x1p-12

/* error: that of the reference. A type that does not hold a gradient within SQ_RULE_GRADIENT asks
 * that of no provider either. */
static inline double sq_rule_of_16_bit(double error, bool is_gradient)
{
    const double bound = SQ_RULE_FACTOR * error;
    return is_gradient && error <= SQ_RULE_GRADIENT ? fmin(bound, SQ_RULE_GRADIENT) : bound;
}

/* The root mean square of few numbers' roundings is itself a matter of chance: by how much one in
 * 10^4 is larger than expected (chi-square with `count` degrees, after Wilson and Hilferty). */
static inline double sq_rule_of_few(double count)
{
    const double part = 2 / (9 * count);
    return pow(1 - part + 3.72 * sqrt(part), 1.5);
}

#endif
