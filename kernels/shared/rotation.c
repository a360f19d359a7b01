/* rotation: see rotation.h. */
#include "kernels/shared/rotation.h"

#include <math.h>

double sq_rotation_angle(const sq_rotation *r, int64_t i)
{
    const double pairs = (double)(r->dims / 2), last = r->has_end_point ? pairs - 1 : pairs;
    return i == 0 ? 1 : pow(r->base, -(double)i / last);
}

double sq_rotation_growth(const sq_rotation *r, int64_t i)
{
    const double dims = (double)r->dims;
    if (r->scale_base == 0)
        return 0;
    return log2((2 * (double)i + 0.4 * dims) / (1.4 * dims)) / r->scale_base;
}

void sq_rotate(const sq_rotation *r, double position, bool is_gradient, double *x)
{
    const int64_t pairs = r->dims / 2;
    for (int64_t i = 0; i < pairs; i++) {
        const double angle = position * sq_rotation_angle(r, i);
        const double growth = exp2((position - r->center) * sq_rotation_growth(r, i));
        const double c = growth * cos(angle), s = growth * (is_gradient ? -sin(angle) : sin(angle));
        double *a = x + (r->is_interleaved ? 2 * i : i), *b = a + (r->is_interleaved ? 1 : pairs);
        const double first = *a, second = *b;
        *a = first * c - second * s;
        *b = second * c + first * s;
    }
}
