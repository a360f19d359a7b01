/* c64: complex numbers in f64 as pairs (real, imaginary), the same on host and device: a filter's
 * powers and resolvents lose too much in f32, and few of them are needed.
 */
#ifndef SQ_KERNELS_SHARED_C64_H
#define SQ_KERNELS_SHARED_C64_H

#include <math.h>

#ifdef __CUDACC__
#define SQ_C64_FN static __host__ __device__ __forceinline__
#else
#define SQ_C64_FN static inline
#endif

typedef struct {
    double re, im;
} sq_c64;

SQ_C64_FN sq_c64 sq_c64_of(double re, double im)
{
    sq_c64 z;
    z.re = re;
    z.im = im;
    return z;
}

SQ_C64_FN sq_c64 sq_c64_add(sq_c64 a, sq_c64 b)
{
    return sq_c64_of(a.re + b.re, a.im + b.im);
}
SQ_C64_FN sq_c64 sq_c64_sub(sq_c64 a, sq_c64 b)
{
    return sq_c64_of(a.re - b.re, a.im - b.im);
}
SQ_C64_FN sq_c64 sq_c64_scale(sq_c64 a, double x)
{
    return sq_c64_of(a.re * x, a.im * x);
}
SQ_C64_FN sq_c64 sq_c64_conj(sq_c64 a)
{
    return sq_c64_of(a.re, -a.im);
}

SQ_C64_FN sq_c64 sq_c64_mul(sq_c64 a, sq_c64 b)
{
    return sq_c64_of(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re);
}

/* a + b c */
SQ_C64_FN sq_c64 sq_c64_mul_add(sq_c64 a, sq_c64 b, sq_c64 c)
{
    return sq_c64_of(a.re + b.re * c.re - b.im * c.im, a.im + b.re * c.im + b.im * c.re);
}

/* conj(a) b */
SQ_C64_FN sq_c64 sq_c64_conj_mul(sq_c64 a, sq_c64 b)
{
    return sq_c64_mul(sq_c64_conj(a), b);
}

/* 1 / a; a must be far from the ends of the exponent range. */
SQ_C64_FN sq_c64 sq_c64_inv(sq_c64 a)
{
    const double scale = 1 / (a.re * a.re + a.im * a.im);
    return sq_c64_of(a.re * scale, -a.im * scale);
}

SQ_C64_FN sq_c64 sq_c64_exp(sq_c64 a)
{
    const double r = exp(a.re);
    return sq_c64_of(r * cos(a.im), r * sin(a.im));
}

#endif
