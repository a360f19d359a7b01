/* exp2_fma: 2^x without the special-function unit, for kernels that are bound by it.
 */
#ifndef SQ_KERNELS_HW_EXP2_FMA_CUH
#define SQ_KERNELS_HW_EXP2_FMA_CUH

#include <stdint.h>

/* 2^(x y), -126 <= x y < 127, on the FMA pipe: x y = k + f with k whole and |f| <= 1/2 (what is
 * added is 1.5 2^23, so that the sum's last bits are k), 1 + f q(f), k into the exponent. q
 * interpolates (2^f - 1) / f at the four Chebyshev points of [-1/2, 1/2]: relative error 7.1e-6,
 * and of the distance to 1, which is what many decays add up, 5.8e-5 however small. */
__device__ __forceinline__ float sq_exp2_fma(float x, float y)
{
    const float shifted = fmaf(x, y, 12582912.0f);
    const float f = fmaf(x, y, 12582912.0f - shifted);
    float q = fmaf(0.00965671029f, f, 0.0558382829f);
    q = fmaf(q, f, 0.240225301f);
    q = fmaf(q, f, 0.693136734f);
    q = fmaf(q, f, 1.0f);
    return __uint_as_float(__float_as_uint(q) + (__float_as_uint(shifted) << 23));
}

#endif
