/* truncation: see truncation.h. */
#include "bench/verify/layers/truncation.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef double complex c64;

static c64 stored(const sq_stored_tensor *t, int64_t pair)
{
    return sq_stored_number(t, 2 * pair) + I * sq_stored_number(t, 2 * pair + 1);
}

/* out = a b, all n x n, out apart from both. */
static void multiply(int n, const c64 *a, const c64 *b, c64 *out)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            c64 sum = 0;
            for (int k = 0; k < n; k++)
                sum += a[i * n + k] * b[k * n + j];
            out[i * n + j] = sum;
        }
}

/* b = a^-1 b by elimination with row pivots; a is lost. */
static void solve(int n, c64 *a, c64 *b)
{
    for (int k = 0; k < n; k++) {
        int pivot = k;
        for (int i = k + 1; i < n; i++)
            pivot = cabs(a[i * n + k]) > cabs(a[pivot * n + k]) ? i : pivot;
        for (int j = 0; j < n; j++) {
            const c64 x = a[k * n + j], y = b[k * n + j];
            a[k * n + j] = a[pivot * n + j], a[pivot * n + j] = x;
            b[k * n + j] = b[pivot * n + j], b[pivot * n + j] = y;
        }
        for (int i = 0; i < n; i++) {
            if (i == k)
                continue;
            const c64 factor = a[i * n + k] / a[k * n + k];
            for (int j = 0; j < n; j++) {
                a[i * n + j] -= factor * a[k * n + j];
                b[i * n + j] -= factor * b[k * n + j];
            }
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            b[i * n + j] /= a[i * n + i];
}

/* State m of all n: the stored half, then its conjugates. */
static c64 state_of(c64 half, bool is_second)
{
    return is_second ? conj(half) : half;
}

/* diag(a) - P P* of copy s. */
static void state_matrix(const sq_truncation *of, int64_t s, int n, c64 *out)
{
    const int half = n / 2;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            c64 sum = 0;
            for (int64_t r = 0; r < of->p->dim[0]; r++) {
                const int64_t row = (r * of->p->dim[1] + s) * half;
                sum -= state_of(stored(of->p, row + i % half), i >= half) *
                       conj(state_of(stored(of->p, row + j % half), j >= half));
            }
            if (i == j) {
                const int64_t at = s * half + i % half;
                const double imag = sq_stored_number(of->a_imag, at);
                sum += state_of(-exp(sq_stored_number(of->a_real, at)) +
                                    I * (of->is_conjugate ? -imag : imag),
                                i >= half);
            }
            out[i * n + j] = sum;
        }
}

/* a = (1 - dt/2 a)^-1 (1 + dt/2 a); left: room for one more. */
static void discretise(int n, double dt, c64 *a, c64 *left)
{
    for (int i = 0; i < n * n; i++) {
        const double one = i % (n + 1) == 0;
        left[i] = one - dt / 2 * a[i];
        a[i] = one + dt / 2 * a[i];
    }
    solve(n, left, a);
}

/* power = a^count, by squares; a and room are lost. */
static void raise(int n, c64 *a, int64_t count, c64 *power, c64 *room)
{
    const size_t bytes = (size_t)n * (size_t)n * sizeof *a;
    for (int i = 0; i < n * n; i++)
        power[i] = i % (n + 1) == 0;
    for (; count > 0; count /= 2) {
        if (count % 2) {
            multiply(n, power, a, room);
            memcpy(power, room, bytes);
        }
        multiply(n, a, a, room);
        memcpy(a, room, bytes);
    }
}

static bool agrees(const sq_truncation *of)
{
    const sq_stored_tensor *p = of->p, *c = of->c, *a = of->a_real;
    return a->rank == 2 && of->a_imag->count == a->count && p->rank == 4 && c->rank == 4 &&
           p->dim[1] == a->dim[0] && p->dim[2] == a->dim[1] && c->dim[2] == a->dim[1] &&
           c->dim[1] == of->dt->count && p->dim[3] == 2 && c->dim[3] == 2 && a->dim[1] >= 1 &&
           a->dim[1] <= 512;
}

/* c - c power of the n/2 stored states from `start` on. */
static void truncate_row(const sq_stored_tensor *c, int64_t start, int half, const c64 *power,
                         double *out)
{
    const int n = 2 * half;
    for (int j = 0; j < half; j++) {
        c64 sum = stored(c, start + j);
        for (int i = 0; i < n; i++)
            sum -= state_of(stored(c, start + i % half), i >= half) * power[i * n + j];
        out[2 * (start + j)] = creal(sum);
        out[2 * (start + j) + 1] = cimag(sum);
    }
}

sq_status sq_truncate(const sq_truncation *of, double *out, sq_error *err)
{
    if (!agrees(of))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%.80s: its shape is not that of the options",
                       of->c->name);
    const int half = (int)of->a_real->dim[1], n = 2 * half;
    c64 *room = malloc(3 * (size_t)n * (size_t)n * sizeof *room);
    if (!room)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a state matrix");
    c64 *a = room, *power = a + n * n, *more = power + n * n;
    for (int64_t d = 0; d < of->dt->count; d++) {
        state_matrix(of, d % of->a_real->dim[0], n, a);
        discretise(n, exp(sq_stored_number(of->dt, d)), a, more);
        raise(n, a, of->length, power, more);
        for (int64_t filter = 0; filter < of->c->dim[0]; filter++)
            truncate_row(of->c, (filter * of->dt->count + d) * half, half, power, out);
    }
    free(room);
    return SQ_OK;
}
