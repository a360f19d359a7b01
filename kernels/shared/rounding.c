/* rounding: see rounding.h. */
#include "kernels/shared/rounding.h"

static sq_rounding current;

sq_rounding sq_rounding_set(sq_rounding rounding)
{
    const sq_rounding before = current;
    current = rounding;
    return before;
}

bool sq_is_rounding(void)
{
    return current.grid != 0;
}

double sq_named(double x)
{
    if (!sq_is_rounding() || sq_round_to(current.dtype, x) == x)
        return x;
    return sq_round_to(current.dtype, current.grid * x) / current.grid;
}

double sq_named_factor(double factor, double x)
{
    return sq_is_rounding() && factor != 0 ? sq_named(factor * x) / factor : x;
}

const double *sq_named_row(const double *row, int64_t n, double *room)
{
    if (!sq_is_rounding())
        return row;
    for (int64_t i = 0; i < n; i++)
        room[i] = sq_named(row[i]);
    return room;
}
