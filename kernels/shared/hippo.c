/* hippo: see hippo.h. */
#include "kernels/shared/hippo.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_SWEEPS = 60 };

double sq_hippo_legs_a(int64_t n, int64_t k)
{
    if (n < k)
        return 0;
    return n == k ? -(double)(n + 1) : -sqrt((double)((2 * n + 1) * (2 * k + 1)));
}

double sq_hippo_legs_b(int64_t n)
{
    return sqrt((double)(2 * n + 1));
}

sq_c64 sq_hippo_clip(sq_c64 b)
{
    return sq_c64_of(b.re, fmax(-2, fmin(2, b.im)));
}

/* --- eigenvectors of a Hermitian matrix --- */

/* Columns p and q of an (n, n) matrix turned: p' = c p - s conj(e) q, q' = s e p + c q, |e| = 1. */
static void turn_columns(sq_c64 *m, int64_t n, int64_t p, int64_t q, double c, double s, sq_c64 e)
{
    for (int64_t i = 0; i < n; i++) {
        const sq_c64 x = m[i * n + p], y = m[i * n + q];
        m[i * n + p] =
            sq_c64_sub(sq_c64_scale(x, c), sq_c64_scale(sq_c64_mul(sq_c64_conj(e), y), s));
        m[i * n + q] = sq_c64_add(sq_c64_scale(sq_c64_mul(e, x), s), sq_c64_scale(y, c));
    }
}

/* The same of rows, by the adjoint rotation. */
static void turn_rows(sq_c64 *m, int64_t n, int64_t p, int64_t q, double c, double s, sq_c64 e)
{
    for (int64_t i = 0; i < n; i++) {
        const sq_c64 x = m[p * n + i], y = m[q * n + i];
        m[p * n + i] = sq_c64_sub(sq_c64_scale(x, c), sq_c64_scale(sq_c64_mul(e, y), s));
        m[q * n + i] =
            sq_c64_add(sq_c64_scale(sq_c64_mul(sq_c64_conj(e), x), s), sq_c64_scale(y, c));
    }
}

/* Jacobi's method: h becomes diagonal, the columns of v its eigenvectors. */
static void diagonalise(sq_c64 *h, sq_c64 *v, int64_t n)
{
    for (int64_t i = 0; i < n * n; i++)
        v[i] = sq_c64_of(i % (n + 1) == 0 ? 1 : 0, 0);
    double off = 1, all = 1;
    for (int sweep = 0; sweep < MOST_SWEEPS && off > 1e-32 * all; sweep++) {
        off = all = 0;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                const sq_c64 x = h[p * n + q];
                const double r = hypot(x.re, x.im), between = h[q * n + q].re - h[p * n + p].re;
                off += r * r;
                all += between * between + r * r;
                if (r == 0)
                    continue;
                const double tau = between / (2 * r);
                const double t = (tau < 0 ? -1 : 1) / (fabs(tau) + sqrt(1 + tau * tau));
                const double c = 1 / sqrt(1 + t * t), s = t * c;
                const sq_c64 e = sq_c64_scale(x, 1 / r);
                turn_columns(h, n, p, q, c, s, e);
                turn_rows(h, n, p, q, c, s, e);
                turn_columns(v, n, p, q, c, s, e);
            }
    }
}

/* Column `from` of the eigenvectors as mode k: first element positive, and P and b in its basis. */
static void take_mode(const sq_c64 *vectors, int64_t n, int64_t from, int64_t k, sq_c64 *p,
                      sq_c64 *b, sq_c64 *v)
{
    const sq_c64 first = vectors[from];
    const sq_c64 phase = sq_c64_scale(sq_c64_conj(first), 1 / hypot(first.re, first.im));
    p[k] = b[k] = sq_c64_of(0, 0);
    for (int64_t i = 0; i < n; i++) {
        const sq_c64 x = sq_c64_mul(vectors[i * n + from], phase);
        v[i * (n / 2) + k] = x;
        p[k] = sq_c64_add(p[k], sq_c64_scale(sq_c64_conj(x), sqrt((double)i + 0.5)));
        b[k] = sq_c64_add(b[k], sq_c64_scale(sq_c64_conj(x), sq_hippo_legs_b(i)));
    }
}

/* A + P P^T = S - 1/2 with S antisymmetric, so -i S is Hermitian: its eigenvalues are the imaginary
 * parts. */
sq_status sq_hippo_legs(int64_t n, sq_c64 *a, sq_c64 *p, sq_c64 *b, sq_c64 *v, sq_error *err)
{
    if (n < 2 || n % 2 != 0 || n > SQ_HIPPO_MOST_STATES)
        return sq_fail(err, SQ_BAD_SHAPE, "LegS of %lld states: an even number from 2 to %d",
                       (long long)n, SQ_HIPPO_MOST_STATES);
    sq_c64 *h = malloc((size_t)(2 * n * n) * sizeof *h);
    if (!h)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "eigenvectors of %lld states", (long long)n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < n; k++) {
            const double half = sqrt(((double)i + 0.5) * ((double)k + 0.5));
            h[i * n + k] = sq_c64_of(0, i == k ? 0 : i > k ? half : -half);
        }
    sq_c64 *vectors = h + n * n;
    diagonalise(h, vectors, n);
    for (int64_t k = 0; k < n / 2; k++) {
        int64_t least = 0;
        for (int64_t i = 1; i < n; i++)
            if (h[i * n + i].re < h[least * n + least].re)
                least = i;
        a[k] = sq_c64_of(-0.5, h[least * n + least].re);
        take_mode(vectors, n, least, k, p, b, v);
        h[least * n + least].re = INFINITY;
    }
    free(h);
    return SQ_OK;
}
