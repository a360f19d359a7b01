/* linear_mma: y = x W^T for 16-bit types, sm_80 instructions: 128 x 128 tiles of y, K in steps of
 * 64, three stages of cp.async, 8 warps of 64 x 32.
 */
#ifndef SQ_KERNELS_LINEAR_MMA_CUH
#define SQ_KERNELS_LINEAR_MMA_CUH

#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/mma_sm80.cuh"

#include "kernels/linear/linear_params.cuh"

struct linear_mma_shape {
    static constexpr int BM = 128, BN = 128, BK = 64, CHUNKS = BK / 8, STAGES = 3, THREADS = 256;
    static constexpr int X_BYTES = BM * BK * 2, STAGE_BYTES = X_BYTES + BN * BK * 2;
    static constexpr int SHARED_BYTES = STAGES * STAGE_BYTES;
    static constexpr int WM = 64, WN = 32; /* a warp's part: 2 x 4 warps */
};

template <typename T>
__device__ __forceinline__ void linear_copy_stage(const linear_params &p, uint32_t stage,
                                                  int64_t row, int col, int k)
{
    using S = linear_mma_shape;
    const int chunks = min(S::CHUNKS, (p.k - k) / 8);
    const int rows = (int)min((int64_t)S::BM, p.m - row);
    sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(stage, (const T *)p.x + row * p.x_m + k, p.x_m,
                                                     rows, chunks);
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(
        stage + S::X_BYTES, (const T *)p.w + col * p.w_n + k, p.w_n, p.n - col, chunks);
}

/* acc += the warp's part of one stage. */
template <typename T>
__device__ __forceinline__ void linear_multiply(float (&acc)[4][4][4], uint32_t stage, int warp_m,
                                                int warp_n)
{
    using S = linear_mma_shape;
#pragma unroll
    for (int k = 0; k < S::BK; k += 16) {
        uint32_t a[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            sq_load_a<S::CHUNKS>(a[i], stage, warp_m + 16 * i, k);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            uint32_t b[4];
            sq_load_b<S::CHUNKS>(b, stage + S::X_BYTES, warp_n + 16 * j, k);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sq_mma<T>(acc[i][2 * j], a[i], b[0], b[1]);
                sq_mma<T>(acc[i][2 * j + 1], a[i], b[2], b[3]);
            }
        }
    }
}

/* Two neighbouring outputs (row, col), (row, col + 1), col even. */
template <typename T, bool HAS_ACT>
__device__ __forceinline__ void linear_store_pair(const linear_params &p, int64_t row, int col,
                                                  float first, float second)
{
    if (row >= p.m || col >= p.n)
        return;
    if (p.bias) {
        const float2 b = sq_unpack2<T>(*(const uint32_t *)((const T *)p.bias + col));
        first += b.x;
        second += b.y;
    }
    if constexpr (HAS_ACT) {
        if (p.pre)
            *(uint32_t *)((T *)p.pre + row * p.n + col) = sq_pack2<T>(first, second);
        first = linear_act(p.act, first);
        second = linear_act(p.act, second);
    }
    if (p.r) {
        const float2 r = sq_unpack2<T>(*(const uint32_t *)((const T *)p.r + row * p.r_m + col));
        first += r.x;
        second += r.y;
    }
    *(uint32_t *)((T *)p.y + row * p.y_m + col) = sq_pack2<T>(first, second);
}

/* Needs K and N multiples of 8, 16-byte aligned rows, evenly spaced rows. Blocks: the row tiles of
 * one column tile follow each other, so that a column tile of W stays in the L2. */
template <typename T, bool HAS_ACT>
__global__ void __launch_bounds__(linear_mma_shape::THREADS, 2)
    linear_mma(const __grid_constant__ linear_params p)
{
    using S = linear_mma_shape;
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t stages = sq_shared_address(shared);
    const unsigned row_tiles = (unsigned)((p.m + S::BM - 1) / S::BM);
    const int64_t row = (int64_t)(blockIdx.x % row_tiles) * S::BM;
    const int col = (int)(blockIdx.x / row_tiles) * S::BN;
    const int steps = (p.k + S::BK - 1) / S::BK;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int warp_m = warp / 4 * S::WM, warp_n = warp % 4 * S::WN;

    float acc[4][4][4] = {};
#pragma unroll
    for (int s = 0; s < S::STAGES - 1; s++) {
        if (s < steps)
            linear_copy_stage<T>(p, stages + s * S::STAGE_BYTES, row, col, s * S::BK);
        sq_copy_commit();
    }
    for (int step = 0; step < steps; step++) {
        sq_copy_wait<S::STAGES - 2>();
        __syncthreads(); /* this step's stage is here, and the stage before it is free */
        const int next = step + S::STAGES - 1;
        if (next < steps)
            linear_copy_stage<T>(p, stages + next % S::STAGES * S::STAGE_BYTES, row, col,
                                 next * S::BK);
        sq_copy_commit();
        linear_multiply<T>(acc, stages + step % S::STAGES * S::STAGE_BYTES, warp_m, warp_n);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int64_t at = row + warp_m + 16 * i + lane / 4;
            const int c = col + warp_n + 8 * j + lane % 4 * 2;
            linear_store_pair<T, HAS_ACT>(p, at, c, acc[i][j][0], acc[i][j][1]);
            linear_store_pair<T, HAS_ACT>(p, at + 8, c, acc[i][j][2], acc[i][j][3]);
        }
}

#endif
