/* attention_simt: the portable kernel for f32. True f32 products (no TF32): FMA lanes do the work.
 *
 * The tiling and the online softmax of attention_mma.cuh with 64 query rows and 64 keys a tile and
 * 128 threads. Thread (x, y), x < 16, y < 8, computes rows y + 8 i (i < 8): scores of keys x + 16 j
 * (j < 4) and outputs of chunks x + 16 j (j < D / 64) of four channels. A half-warp owns whole
 * rows, so probabilities pass through shared memory without a barrier.
 */
#ifndef SQ_KERNELS_ATTENTION_SIMT_CUH
#define SQ_KERNELS_ATTENTION_SIMT_CUH

#include "kernels/attention/attention_tile.cuh"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/reduce.cuh"

template <int D_>
struct attention_simt_shape {
    static constexpr int D = D_, BM = 64, BN = 64, THREADS = 128, CHUNKS = D / 4;
    static constexpr int TILE_BYTES = 64 * D * 4, P_CHUNKS = BN / 4, P_BYTES = BM * BN * 4;
    static constexpr int SHARED_BYTES = 3 * TILE_BYTES + P_BYTES;
};

__device__ __forceinline__ float4 attention_read4(const unsigned char *at)
{
    return *(const float4 *)at;
}

/* acc[i][j] = row (y + 8 i) . column (x + 16 j) */
template <typename S, int N>
__device__ __forceinline__ void attention_simt_products(float (&acc)[8][N],
                                                        const unsigned char *rows,
                                                        const unsigned char *columns, int x, int y)
{
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
            acc[i][j] = 0.0f;
#pragma unroll 2
    for (int c = 0; c < S::CHUNKS; c++) {
        float4 b[N];
#pragma unroll
        for (int j = 0; j < N; j++)
            b[j] = attention_read4(columns + sq_tile_offset<S::CHUNKS>(x + 16 * j, c));
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float4 a = attention_read4(rows + sq_tile_offset<S::CHUNKS>(y + 8 * i, c));
#pragma unroll
            for (int j = 0; j < N; j++) {
                acc[i][j] = fmaf(a.x, b[j].x, acc[i][j]);
                acc[i][j] = fmaf(a.y, b[j].y, acc[i][j]);
                acc[i][j] = fmaf(a.z, b[j].z, acc[i][j]);
                acc[i][j] = fmaf(a.w, b[j].w, acc[i][j]);
            }
        }
    }
}

/* Scores of row i in powers of two, with what is added to them; -inf where the key is not seen.
 * key: the tile's first key. */
__device__ __forceinline__ void attention_simt_finish(float (&score)[4], const attention_params &p,
                                                      const attention_head_bias &bias, int h,
                                                      int row, int key, int x)
{
    const attention_keys seen = attention_visible(p, h, row);
    const bool has_bias = p.has_alibi || p.bias;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const int at = key + x + 16 * j;
        score[j] *= p.scale_log2;
        if (has_bias)
            score[j] += attention_bias_at(bias, row + p.keys - p.queries, at);
        if (at < seen.first || at >= seen.last)
            score[j] = -INFINITY;
    }
}

/* Turns the scores of a row into probabilities in `prob`, returns the factor for what was
 * accumulated before. */
template <typename S>
__device__ __forceinline__ float attention_simt_softmax(const float (&s)[4], float &max, float &sum,
                                                        unsigned char *prob, int row, int x)
{
    float top = max;
#pragma unroll
    for (int j = 0; j < 4; j++)
        top = fmaxf(top, s[j]);
    top = sq_warp_max<16>(top);
    const float base = top == -INFINITY ? 0.0f : top;
    const float factor = sq_exp2(max - base);
    max = top;
    sum *= factor;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float e = sq_exp2(s[j] - base);
        sum += e;
        *(float *)(prob + sq_tile_offset<S::P_CHUNKS>(row, x / 4 + 4 * j) + x % 4 * 4) = e;
    }
    return factor;
}

__device__ __forceinline__ void attention_fma4(float4 &o, float p, float4 v)
{
    o.x = fmaf(p, v.x, o.x);
    o.y = fmaf(p, v.y, o.y);
    o.z = fmaf(p, v.z, o.z);
    o.w = fmaf(p, v.w, o.w);
}

/* o += P V */
template <typename S>
__device__ __forceinline__ void attention_simt_values(float4 (&o)[8][S::D / 64],
                                                      const unsigned char *prob,
                                                      const unsigned char *v, int x, int y)
{
#pragma unroll 1
    for (int c = 0; c < S::P_CHUNKS; c++) {
        float4 value[4][S::D / 64];
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int j = 0; j < S::D / 64; j++)
                value[k][j] = attention_read4(v + sq_tile_offset<S::CHUNKS>(4 * c + k, x + 16 * j));
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float4 e = attention_read4(prob + sq_tile_offset<S::P_CHUNKS>(y + 8 * i, c));
#pragma unroll
            for (int j = 0; j < S::D / 64; j++) {
                attention_fma4(o[i][j], e.x, value[0][j]);
                attention_fma4(o[i][j], e.y, value[1][j]);
                attention_fma4(o[i][j], e.z, value[2][j]);
                attention_fma4(o[i][j], e.w, value[3][j]);
            }
        }
    }
}

template <typename S>
__global__ void __launch_bounds__(S::THREADS, 2)
    attention_simt(const __grid_constant__ attention_params p)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    unsigned char *const q_tile = shared, *const k_tile = q_tile + S::TILE_BYTES;
    unsigned char *const v_tile = k_tile + S::TILE_BYTES, *const prob = v_tile + S::TILE_BYTES;
    const attention_tile t = attention_block_tile(p, S::BM);
    const attention_range range = attention_key_tiles(p, t, S::BN);
    const int x = (int)threadIdx.x % 16, y = (int)threadIdx.x / 16, h = t.h / p.heads_per_kv;
    const float *k = (const float *)p.k + t.b * p.k_b + h * p.k_h;
    const float *v = (const float *)p.v + t.b * p.v_b + h * p.v_h;

    const attention_head_bias bias = attention_bias_of(p, t.h);
    float4 o[8][S::D / 64];
    float max[8], sum[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        max[i] = -INFINITY;
        sum[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < S::D / 64; j++)
            o[i][j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
    auto copy = [&](unsigned char *tile, const float *from, int64_t stride, int at) {
        sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(sq_shared_address(tile),
                                                         from + at * S::BN * stride, stride,
                                                         p.keys - at * S::BN, p.d / 4);
        sq_copy_commit();
    };
    if (range.first < range.last) {
        const float *q = (const float *)p.q + t.b * p.q_b + t.row * p.q_l + t.h * p.q_h;
        sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(sq_shared_address(q_tile), q, p.q_l,
                                                         t.count, p.d / 4);
        copy(k_tile, k, p.k_l, range.last - 1);
    }
    for (int tile = range.last - 1; tile >= range.first; tile--) {
        sq_copy_wait<0>();
        __syncthreads(); /* keys are here; everybody is done with the values before */
        copy(v_tile, v, p.v_l, tile);
        float s[8][4];
        attention_simt_products<S>(s, q_tile, k_tile, x, y);
        __syncthreads(); /* everybody is done with the keys */
        if (tile > range.first)
            copy(k_tile, k, p.k_l, tile - 1);
        else
            sq_copy_commit(); /* an empty group keeps the count below right */
#pragma unroll
        for (int i = 0; i < 8; i++) {
            attention_simt_finish(s[i], p, bias, t.h, t.row + y + 8 * i, tile * S::BN, x);
            const float factor =
                attention_simt_softmax<S>(s[i], max[i], sum[i], prob, y + 8 * i, x);
#pragma unroll
            for (int j = 0; j < S::D / 64; j++) {
                o[i][j].x *= factor;
                o[i][j].y *= factor;
                o[i][j].z *= factor;
                o[i][j].w *= factor;
            }
        }
        sq_copy_wait<1>();
        __syncthreads(); /* values are here */
        attention_simt_values<S>(o, prob, v_tile, x, y);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = y + 8 * i;
        const float total = sq_warp_sum<16>(sum[i]);
        const float factor = total > 0.0f ? 1.0f / total : 0.0f;
        float *to = (float *)p.o + t.b * p.o_b + (t.row + row) * p.o_l + t.h * p.o_h;
        if (p.lse && x == 0 && row < t.count)
            p.lse[((int64_t)t.b * p.heads + t.h) * p.queries + t.row + row] =
                total > 0.0f ? max[i] + sq_log2(total) : INFINITY;
#pragma unroll
        for (int j = 0; j < S::D / 64; j++)
            if (row < t.count && x + 16 * j < p.d / 4)
                *(float4 *)(to + 4 * (x + 16 * j)) = make_float4(
                    o[i][j].x * factor, o[i][j].y * factor, o[i][j].z * factor, o[i][j].w * factor);
    }
}

#endif
