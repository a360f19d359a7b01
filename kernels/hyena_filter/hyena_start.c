/* hyena_start: see hyena_start.h. */
#include "kernels/hyena_filter/hyena_start.h"

#include <math.h>
#include <stddef.h>

static const double pi = 3.14159265358979323846;

/* Number i of `count` at equal distances. */
static double between(double from, double to, int64_t i, int64_t count)
{
    return count > 1 ? from + (to - from) * (double)i / (double)(count - 1) : from;
}

sq_status sq_hyena_positions(int64_t length, int64_t features, double *z, double *t, sq_error *err)
{
    const int64_t bands = (features - 1) / 2;
    if (length < 1)
        return sq_fail(err, SQ_BAD_SHAPE, "%lld positions: at least one", (long long)length);
    if (features < 3 || features % 2 == 0)
        return sq_fail(err, SQ_BAD_SHAPE, "%lld features of a position: an odd number from 3 on",
                       (long long)features);
    for (int64_t l = 0; l < length; l++) {
        const double time = between(0, 1, l, length), w = 2 * pi * (double)l / (double)length;
        if (t)
            t[l] = time;
        if (!z)
            continue;
        double *row = z + l * features;
        row[0] = time;
        for (int64_t k = 0; k < bands; k++) {
            const double angle = between(1e-4, (double)(bands - 1), k, bands) * w;
            row[1 + k] = cos(angle);
            row[1 + bands + k] = -sin(angle);
        }
    }
    return SQ_OK;
}

sq_status sq_hyena_rates(int64_t count, double fast, double slow, double target, double *delta,
                         sq_error *err)
{
    if (count < 1)
        return sq_fail(err, SQ_BAD_SHAPE, "%lld windows: at least one", (long long)count);
    if (!(fast > 0 && slow > 0 && target > 0 && target < 1))
        return sq_fail(
            err, SQ_BAD_ARGUMENT,
            "a window of fast=%g, slow=%g, target=%g: times above 0, a target inside (0, 1)", fast,
            slow, target);
    for (int64_t d = 0; d < count; d++)
        delta[d] = between(log(target) / slow, log(target) / fast, d, count);
    return SQ_OK;
}
