/* reduce: sums and maxima over the lanes of a warp (or an aligned power-of-two part of it) and over
 * a block. Fixed order: the same inputs give the same bits.
 */
#ifndef SQ_KERNELS_HW_REDUCE_CUH
#define SQ_KERNELS_HW_REDUCE_CUH

/* Every one of the LANES lanes receives the result. All 32 lanes of the warp must call. */
template <int LANES = 32>
__device__ __forceinline__ float sq_warp_sum(float x)
{
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

template <int LANES = 32>
__device__ __forceinline__ float sq_warp_max(float x)
{
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

/* COUNT sums over LANES threads of a block at once, received by each of them: aligned parts of a
 * warp, or the block. All threads of the block must call. `scratch`: COUNT * LANES / 32 floats of
 * shared memory where LANES > 32, free again after the caller's next __syncthreads(). */
template <int LANES, int COUNT>
__device__ __forceinline__ void sq_lanes_sum(float (&x)[COUNT], float *scratch)
{
    constexpr int WARPS = LANES / 32;
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        x[i] = sq_warp_sum<(LANES < 32 ? LANES : 32)>(x[i]);
    if constexpr (WARPS > 1) {
#pragma unroll
        for (int i = 0; i < COUNT; i++)
            if (threadIdx.x % 32 == 0)
                scratch[i * WARPS + threadIdx.x / 32] = x[i];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            x[i] = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS; w++)
                x[i] += scratch[i * WARPS + w];
        }
    }
}

#endif
