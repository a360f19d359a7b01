#include "core/curve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

double *sq_curve_row(const sq_curve *curve, int row)
{
    return curve->cell + (size_t)row * (size_t)curve->n_columns;
}

sq_status sq_curve_new(sq_curve *out, const char *const *columns, int n_columns, int n_rows,
                       sq_error *err)
{
    *out = (sq_curve){.interval_ns = NAN};
    if (n_columns < 1 || n_columns > SQ_CURVE_COLUMNS || n_rows < 0 || n_rows > SQ_CURVE_ROWS)
        return sq_fail(err, SQ_BAD_ARGUMENT, "a curve of %d columns and %d rows: at most %d and %d",
                       n_columns, n_rows, SQ_CURVE_COLUMNS, SQ_CURVE_ROWS);
    out->n_columns = n_columns;
    out->n_rows = n_rows;
    out->column = calloc((size_t)n_columns, sizeof *out->column);
    out->cell = calloc((size_t)n_columns * (size_t)n_rows + 1, sizeof *out->cell);
    if (!out->column || !out->cell) {
        sq_curve_free(out);
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a curve of %d rows", n_rows);
    }
    for (int i = 0; i < n_columns; i++)
        snprintf(out->column[i], sizeof out->column[i], "%s", columns[i]);
    for (size_t i = 0; i < (size_t)n_columns * (size_t)n_rows; i++)
        out->cell[i] = NAN;
    return SQ_OK;
}

void sq_curve_free(sq_curve *curve)
{
    free(curve->column);
    free(curve->cell);
    *curve = (sq_curve){.n_rows = 0};
}
