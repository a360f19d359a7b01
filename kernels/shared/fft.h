/* fft: discrete Fourier transforms of the references, in f64.
 *
 *   Z_k = sum_t z_t e^(-2 pi i k t / n)
 *
 * of n = 2^k points in place (Cooley, Tukey 1965), and of any number of points through a
 * convolution of such ones (Bluestein 1970).
 */
#ifndef SQ_KERNELS_SHARED_FFT_H
#define SQ_KERNELS_SHARED_FFT_H

#include <stdint.h>

#include "core/status.h"
#include "kernels/shared/c64.h"

#ifdef __cplusplus
extern "C" {
#endif

/* root[j] = e^(-2 pi i j/n), j < n/2. Read only once made: threads share it. */
typedef struct {
    int64_t n;
    sq_c64 *root;
} sq_fft;

/* The smallest power of two that is at least `least` and 2. */
int64_t sq_fft_points(int64_t least);

/* SQ_OUT_OF_MEMORY. sq_fft_free also after a failure. */
sq_status sq_fft_init(sq_fft *fft, int64_t n, sq_error *err);
void sq_fft_free(sq_fft *fft);

void sq_fft_forward(const sq_fft *fft, sq_c64 *z);
/* Undoes forward, the factor 1/n included. */
void sq_fft_inverse(const sq_fft *fft, sq_c64 *z);

/* Transforms of any n >= 1 points. */
typedef struct {
    int64_t n;
    sq_fft fft;
    sq_c64 *chirp;    /* e^(-pi i t^2 / n), t < n */
    sq_c64 *spectrum; /* of the chirp's conjugate on the circle of fft.n points */
} sq_any_fft;

sq_status sq_any_fft_init(sq_any_fft *any, int64_t n, sq_error *err);
void sq_any_fft_free(sq_any_fft *any);
/* z: n points in, n points out; scratch: any->fft.n points. */
void sq_any_fft_forward(const sq_any_fft *any, sq_c64 *z, sq_c64 *scratch);

#ifdef __cplusplus
}
#endif
#endif
