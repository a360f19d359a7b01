/* mma_tf32_sm80: the tensor-core instructions of sm_80 for f32 operands, mma.sync m16n8k8 and m16n8k4
 * in tf32.
 *
 * D(16 x 8) += A(16 x K) * B(K x 8), K = 8 or 4, sums in f32; of an operand the sign, the exponent
 * and ten bits of the mantissa are looked at. With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix
 * fragments for mma.m16n8k8" and "m16n8k4"), a lane holds
 *   A (row, k): a0 = (g, t)  a1 = (g+8, t)  K = 8: a2 = (g, t+4)  a3 = (g+8, t+4)
 *   B (k, col): b0 = (t, g)                 K = 8: b1 = (t+4, g)
 *   D (row, col): d[0], d[1] = (g, 2t..2t+1)  d[2], d[3] = (g+8, 2t..2t+1)
 */
#ifndef SQ_KERNELS_HW_MMA_TF32_SM80_CUH
#define SQ_KERNELS_HW_MMA_TF32_SM80_CUH

#include <stdint.h>

__device__ __forceinline__ void sq_mma_tf32(float (&d)[4], float a0, float a1, float a2, float a3,
                                            float b0, float b1)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a0)), "r"(__float_as_uint(a1)), "r"(__float_as_uint(a2)),
          "r"(__float_as_uint(a3)), "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}

/* K = 4. */
__device__ __forceinline__ void sq_mma_tf32(float (&d)[4], float a0, float a1, float b0)
{
    asm("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a0)), "r"(__float_as_uint(a1)), "r"(__float_as_uint(b0)));
}

/* What these look at of x. */
__device__ __forceinline__ float sq_tf32_of(float x)
{
    return __uint_as_float(__float_as_uint(x) & 0xffffe000u);
}

/* x, scaled by what these drop on average (2^-11 / (2 ln 2) of it): the error of sq_tf32_of it has no
 * bias. What they see the whole of stays as it is, NaN too. */
__device__ __forceinline__ float sq_tf32_centred(float x)
{
    return x * 1.000352f;
}

#endif
