/* s4d_start: see s4d_start.h. */
#include "kernels/s4d_kernel/s4d_start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shared/hippo.h"

static const double pi = 3.14159265358979323846;

static const char *const names[SQ_S4D_STARTS] = {
    [SQ_S4D_LIN] = "lin", [SQ_S4D_INV] = "inv", [SQ_S4D_REAL] = "real", [SQ_S4D_LEGS] = "legs"};

const char *sq_s4d_start_name(sq_s4d_start start)
{
    return names[start];
}

sq_status sq_s4d_start_find(const char *name, sq_s4d_start *out, sq_error *err)
{
    for (int i = 0; i < SQ_S4D_STARTS; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (sq_s4d_start)i;
            return SQ_OK;
        }
    return sq_fail(err, SQ_BAD_ARGUMENT, "S4D does not start as \"%.40s\": lin, inv, real or legs",
                   name);
}

static sq_c64 pole(sq_s4d_start start, double states, double n)
{
    if (start == SQ_S4D_REAL)
        return sq_c64_of(-(n + 1), 0);
    return sq_c64_of(-0.5,
                     start == SQ_S4D_LIN ? -pi * n : -states / pi * (states / (2 * n + 1) - 1));
}

static sq_status legs(int64_t states, sq_c64 *a, sq_c64 *b, sq_error *err)
{
    sq_c64 *room = malloc((size_t)(states / 2 * (states + 1)) * sizeof *room); /* P and V */
    if (!room)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "LegS of %lld states", (long long)states);
    const sq_status s = sq_hippo_legs(states, a, room, b, room + states / 2, err);
    for (int64_t n = 0; s == SQ_OK && n < states / 2; n++)
        b[n] = sq_hippo_clip(b[n]);
    free(room);
    return s;
}

sq_status sq_s4d_start_modes(sq_s4d_start start, int64_t states, sq_c64 *a, sq_c64 *b,
                             sq_error *err)
{
    if (states < 2 || states % 2 != 0 || states > SQ_HIPPO_MOST_STATES)
        return sq_fail(err, SQ_BAD_SHAPE, "S4D of %lld states: an even number from 2 to %d",
                       (long long)states, SQ_HIPPO_MOST_STATES);
    if (start == SQ_S4D_LEGS)
        return legs(states, a, b, err);
    for (int64_t n = 0; n < states / 2; n++) {
        a[n] = pole(start, (double)states, (double)n);
        b[n] = sq_c64_of(1, 0);
    }
    return SQ_OK;
}

void sq_s4d_start_store(sq_c64 a, bool is_conjugate, double *a_real, double *a_imag)
{
    *a_real = log(-a.re);
    *a_imag = is_conjugate ? -a.im : a.im;
}
