/* f16_range: f16 keeps its 11 bits between 2^-14 and 2^16 only. What is rounded to it on its way
 * into a product is multiplied by a power of two before, and the f32 sum by its inverse after.
 */
#ifndef SQ_KERNELS_HW_F16_RANGE_CUH
#define SQ_KERNELS_HW_F16_RANGE_CUH

#include <cuda_fp16.h>
#include <stdint.h>

template <typename T>
constexpr bool sq_is_f16 = false;
template <>
constexpr bool sq_is_f16<__half> = true;

/* The power of two that brings largest >= 0 to [2^14, 2^15), so that numbers 2^28 times smaller are
 * normal ones of f16 still. */
__device__ __forceinline__ float sq_f16_factor(float largest)
{
    const uint32_t exponent = min(max(__float_as_uint(largest) >> 23, 15u), 254u);
    return __uint_as_float((127u + 14u + 127u - exponent) << 23);
}

/* 1 / x of a power of two between 2^-126 and 2^126, exactly. */
__device__ __forceinline__ float sq_inverse_power(float x)
{
    return __uint_as_float((254u << 23) - __float_as_uint(x));
}

#endif
