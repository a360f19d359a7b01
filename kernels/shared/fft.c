/* fft: see fft.h. */
#include "kernels/shared/fft.h"

#include <stdlib.h>

#define PI 3.141592653589793238462643

int64_t sq_fft_points(int64_t least)
{
    int64_t n = 2;
    while (n < least)
        n *= 2;
    return n;
}

sq_status sq_fft_init(sq_fft *fft, int64_t n, sq_error *err)
{
    const double step = 2 * PI / (double)n;
    *fft = (sq_fft){.n = n, .root = malloc((size_t)(n / 2 + 1) * sizeof *fft->root)};
    if (!fft->root)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%lld roots of unity", (long long)n / 2);
    for (int64_t j = 0; j < n / 2; j++)
        fft->root[j] = sq_c64_of(cos(step * (double)j), -sin(step * (double)j));
    return SQ_OK;
}

void sq_fft_free(sq_fft *fft)
{
    free(fft->root);
    *fft = (sq_fft){.root = NULL};
}

static void permute_bit_reversed(sq_c64 *z, int64_t n)
{
    for (int64_t i = 1, j = 0; i < n; i++) {
        int64_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            const sq_c64 swapped = z[i];
            z[i] = z[j];
            z[j] = swapped;
        }
    }
}

void sq_fft_forward(const sq_fft *fft, sq_c64 *z)
{
    const int64_t n = fft->n;
    permute_bit_reversed(z, n);
    for (int64_t half = 1; half < n; half *= 2)
        for (int64_t start = 0; start < n; start += 2 * half)
            for (int64_t j = 0; j < half; j++) {
                sq_c64 *lo = &z[start + j], *hi = &z[start + j + half];
                const sq_c64 x = sq_c64_mul(*hi, fft->root[j * (n / (2 * half))]);
                *hi = sq_c64_sub(*lo, x);
                *lo = sq_c64_add(*lo, x);
            }
}

/* The inverse of z is the conjugate of the transform of conj(z), divided by n. */
void sq_fft_inverse(const sq_fft *fft, sq_c64 *z)
{
    const double scale = 1 / (double)fft->n;
    for (int64_t k = 0; k < fft->n; k++)
        z[k] = sq_c64_conj(z[k]);
    sq_fft_forward(fft, z);
    for (int64_t k = 0; k < fft->n; k++)
        z[k] = sq_c64_scale(sq_c64_conj(z[k]), scale);
}

/* --- any number of points --- */

sq_status sq_any_fft_init(sq_any_fft *any, int64_t n, sq_error *err)
{
    *any = (sq_any_fft){.n = n};
    SQ_TRY(sq_fft_init(&any->fft, sq_fft_points(2 * n - 1), err));
    any->chirp = malloc((size_t)n * sizeof *any->chirp);
    any->spectrum = calloc((size_t)any->fft.n, sizeof *any->spectrum);
    if (!any->chirp || !any->spectrum)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "a chirp of %lld points", (long long)n);
    for (int64_t t = 0; t < n; t++) {
        /* t^2 modulo 2n: the angle stays small, and its cosine exact. */
        const double angle =
            PI * (double)((uint64_t)t * (uint64_t)t % (uint64_t)(2 * n)) / (double)n;
        any->chirp[t] = sq_c64_of(cos(angle), -sin(angle));
        any->spectrum[t] = any->spectrum[(any->fft.n - t) % any->fft.n] =
            sq_c64_conj(any->chirp[t]);
    }
    sq_fft_forward(&any->fft, any->spectrum);
    return SQ_OK;
}

void sq_any_fft_free(sq_any_fft *any)
{
    sq_fft_free(&any->fft);
    free(any->chirp);
    free(any->spectrum);
    *any = (sq_any_fft){.chirp = NULL};
}

/* -2 k t = (k - t)^2 - k^2 - t^2. */
void sq_any_fft_forward(const sq_any_fft *any, sq_c64 *z, sq_c64 *scratch)
{
    for (int64_t t = 0; t < any->fft.n; t++)
        scratch[t] = t < any->n ? sq_c64_mul(z[t], any->chirp[t]) : sq_c64_of(0, 0);
    sq_fft_forward(&any->fft, scratch);
    for (int64_t k = 0; k < any->fft.n; k++)
        scratch[k] = sq_c64_mul(scratch[k], any->spectrum[k]);
    sq_fft_inverse(&any->fft, scratch);
    for (int64_t k = 0; k < any->n; k++)
        z[k] = sq_c64_mul(scratch[k], any->chirp[k]);
}
