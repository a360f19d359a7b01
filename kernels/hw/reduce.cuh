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

/* Sum over a block of THREADS (a multiple of 32, up to 1024), received by every thread. `scratch`:
 * THREADS / 32 floats of shared memory, free again after the caller's next __syncthreads(). */
template <int THREADS>
__device__ __forceinline__ float sq_block_sum(float x, float *scratch)
{
    x = sq_warp_sum(x);
    if (threadIdx.x % 32 == 0)
        scratch[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < THREADS / 32; w++)
        sum += scratch[w];
    return sum;
}

#endif
