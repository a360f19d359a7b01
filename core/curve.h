/* curve: numbers over time, as a profile brings them back. */
#ifndef SQ_CORE_CURVE_H
#define SQ_CORE_CURVE_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_CURVE_COLUMNS = 48, SQ_CURVE_ROWS = 1000000 };

/* column[0] is "seconds". cell: row after row, NAN where a number is absent. */
typedef struct {
    char (*column)[96]; /* owned */
    int n_columns, n_rows;
    double *cell;       /* owned */
    double interval_ns; /* between rows where it is fixed, else NAN */
    int n_dropped;      /* rows that were not kept, since they lie long before all others */
    char reason[320];   /* why there are no rows; else empty */
} sq_curve;

/* Room for rows of these columns, all NAN. SQ_BAD_ARGUMENT: too many columns or rows. Free with
 * sq_curve_free, also after a failure. */
sq_status sq_curve_new(sq_curve *out, const char *const *columns, int n_columns, int n_rows,
                       sq_error *err);
void sq_curve_free(sq_curve *curve);

double *sq_curve_row(const sq_curve *curve, int row);

#ifdef __cplusplus
}
#endif
#endif
