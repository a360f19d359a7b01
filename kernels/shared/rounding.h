/* rounding: what references do to their named intermediates (docs/intermediates.md). Like the
 * rounding mode of a processor it is one setting of the process: `verify` asks what a straightforward
 * implementation in a 16-bit type would lose, nobody else does.
 */
#ifndef SQ_KERNELS_SHARED_ROUNDING_H
#define SQ_KERNELS_SHARED_ROUNDING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An intermediate x that is no number of `dtype` becomes round(grid x) / grid. Grids in (1/2, 1] are
 * equally fine: each makes other errors of the same size. grid 0: all stay f64. */
typedef struct {
    sq_dtype dtype;
    double grid;
} sq_rounding;

/* Of references that start from now on. Returns what was set; at first {grid = 0}. */
sq_rounding sq_rounding_set(sq_rounding rounding);
bool sq_is_rounding(void);

/* A named intermediate. */
double sq_named(double x);
/* `x` such that factor * x is the named intermediate. */
double sq_named_factor(double factor, double x);
/* A row of them: itself, or its rounded form in `room`. */
const double *sq_named_row(const double *row, int64_t n, double *room);

#ifdef __cplusplus
}
#endif
#endif
