/* convert: element types of the kernels (float, __nv_bfloat16, __half) to and from f32, one at a
 * time, in pairs (one 32-bit register) and in 16-byte vectors; exponentials built on ex2.approx.
 */
#ifndef SQ_KERNELS_HW_CONVERT_CUH
#define SQ_KERNELS_HW_CONVERT_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define SQ_LOG2E 1.4426950408889634f

__device__ __forceinline__ float sq_to_f32(float x) { return x; }
__device__ __forceinline__ float sq_to_f32(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float sq_to_f32(__half x) { return __half2float(x); }

/* Rounds to nearest even. */
template <typename T>
__device__ __forceinline__ T sq_from_f32(float x);
template <>
__device__ __forceinline__ float sq_from_f32<float>(float x)
{
    return x;
}
template <>
__device__ __forceinline__ __nv_bfloat16 sq_from_f32<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half sq_from_f32<__half>(float x)
{
    return __float2half_rn(x);
}

/* Two 16-bit elements in one register, `lo` in the low half (the lower address). */
template <typename T>
__device__ __forceinline__ uint32_t sq_pack2(float lo, float hi);
template <>
__device__ __forceinline__ uint32_t sq_pack2<__nv_bfloat16>(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
template <>
__device__ __forceinline__ uint32_t sq_pack2<__half>(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

template <typename T>
__device__ __forceinline__ float2 sq_unpack2(uint32_t packed);
template <>
__device__ __forceinline__ float2 sq_unpack2<__nv_bfloat16>(uint32_t packed)
{
    return make_float2(__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u));
}
template <>
__device__ __forceinline__ float2 sq_unpack2<__half>(uint32_t packed)
{
    __half2 h;
    *(uint32_t *)&h = packed;
    return __half22float2(h);
}

/* Elements of T in 16 bytes. */
template <typename T>
constexpr int sq_per_vector = 16 / (int)sizeof(T);

/* A 16-byte vector in registers <-> f32. */
template <typename T>
__device__ __forceinline__ void sq_unpack_vector(uint4 raw, float (&x)[sq_per_vector<T>])
{
    const uint32_t word[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (sizeof(T) == 4) {
            x[i] = __uint_as_float(word[i]);
        } else {
            float2 pair = sq_unpack2<T>(word[i]);
            x[2 * i] = pair.x;
            x[2 * i + 1] = pair.y;
        }
    }
}

template <typename T>
__device__ __forceinline__ uint4 sq_pack_vector(const float (&x)[sq_per_vector<T>])
{
    uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (sizeof(T) == 4)
            word[i] = __float_as_uint(x[i]);
        else
            word[i] = sq_pack2<T>(x[2 * i], x[2 * i + 1]);
    }
    return make_uint4(word[0], word[1], word[2], word[3]);
}

/* 2^x, one MUFU operation, relative error 2^-22; 2^-inf = 0. */
__device__ __forceinline__ float sq_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* log2 of a positive normal x, one MUFU operation. */
__device__ __forceinline__ float sq_log2(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float sq_exp(float x) { return sq_exp2(x * SQ_LOG2E); }

/* x * sigmoid(x); -0 at -inf's side (x / inf), never NaN for finite x. */
__device__ __forceinline__ float sq_silu(float x) { return __fdividef(x, 1.0f + sq_exp(-x)); }

#endif
