/* attention_bwd_simt: the portable backward kernels for f32. True f32 products (no TF32).
 *
 * The form of attention_bwd_mma.cuh with 64 rows, 32 columns a tile and 128 threads. Thread (x, y),
 * x < 16, y < 8, computes rows y + 8 i (i < 8): scores and dP of columns x + 16 j (j < 2),
 * gradients of chunks x + 16 j (j < D / 64) of four channels. A half-warp owns whole rows, so
 * probabilities and dS pass through shared memory behind a barrier of the warp alone.
 */
#ifndef SQ_KERNELS_ATTENTION_BWD_SIMT_CUH
#define SQ_KERNELS_ATTENTION_BWD_SIMT_CUH

#include "kernels/attention/attention_bwd_tile.cuh"
#include "kernels/attention/attention_simt.cuh"

template <int D_, bool IS_DQ_, bool HAS_BIAS_ = false>
struct attention_bwd_simt_shape {
    static constexpr int D = D_, BM = 64, BN = 32, THREADS = 128, CHUNKS = D / 4;
    static constexpr bool IS_DQ = IS_DQ_, HAS_BIAS = HAS_BIAS_;
    static constexpr int BIAS_PARTS = HAS_BIAS ? 1 : 0; /* of biases numbers each, behind */
    static constexpr int ROW_BYTES = BM * D * 4, COLUMN_BYTES = BN * D * 4;
    static constexpr int P_CHUNKS = BN / 4, P_BYTES = BM * BN * 4;
    static constexpr int SHARED_BYTES = 2 * (ROW_BYTES + COLUMN_BYTES + P_BYTES);
};

template <typename S>
__device__ __forceinline__ void attention_bwd_simt_put(unsigned char *tile, int row, int column,
                                                       float value)
{
    *(float *)(tile + sq_tile_offset<S::P_CHUNKS>(row, column / 4) + column % 4 * 4) = value;
}

/* Scores and dP of row y + 8 i become probabilities and dS in shared memory. row: its position. */
template <typename S>
__device__ __forceinline__ void
attention_bwd_simt_row(const attention_bwd_params &p, const attention_walk &w,
                       const attention_head_bias &bias, int b, int row, int in_tile, int x,
                       const float (&s)[2], const float (&dp)[2], unsigned char *prob,
                       unsigned char *ds)
{
    const attention_keys seen = attention_bwd_seen<S::IS_DQ>(p.f, w.head, row);
#pragma unroll
    for (int j = 0; j < 2; j++) {
        const int column = w.tile * S::BN + x + 16 * j;
        const int query = S::IS_DQ ? row : column, key = S::IS_DQ ? column : row;
        const attention_row_facts facts = attention_facts_of(p, b, w.head, query);
        float score = s[j] * p.f.scale_log2;
        if (p.f.has_alibi || p.f.bias)
            score += attention_bias_at(bias, query + p.f.keys - p.f.queries, key);
        const bool is_seen = column >= seen.first && column < seen.last;
        const float e = is_seen ? sq_exp2(score - facts.lse) : 0.0f;
        attention_bwd_simt_put<S>(prob, in_tile, x + 16 * j, e);
        attention_bwd_simt_put<S>(ds, in_tile, x + 16 * j, e * (dp[j] - facts.delta));
    }
}

/* Sums the block's dS by distance. */
template <typename S>
__device__ __forceinline__ float
attention_bwd_simt_sum_bias(const attention_bwd_params &p, const attention_tile &t,
                            const attention_walk &w, const unsigned char *ds, float *sums,
                            float beyond)
{
    const int base = t.row + p.f.keys - p.f.queries - w.tile * S::BN;
    return attention_add_diagonals<S::BM, S::BN, S::THREADS>(
        sums, p.f.biases - 1, base, (int)threadIdx.x, beyond, [&](int row, int column) {
            return *(const float *)(ds + sq_tile_offset<S::P_CHUNKS>(row, column / 4) +
                                    column % 4 * 4);
        });
}

template <typename S>
__device__ __forceinline__ void attention_bwd_simt_store(const float4 (&sum)[8][S::D / 64],
                                                         float scale, float *to, int64_t to_l,
                                                         int count, int chunks, int x, int y)
{
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < S::D / 64; j++)
            if (y + 8 * i < count && x + 16 * j < chunks)
                *(float4 *)(to + (y + 8 * i) * to_l + 4 * (x + 16 * j)) =
                    make_float4(sum[i][j].x * scale, sum[i][j].y * scale, sum[i][j].z * scale,
                                sum[i][j].w * scale);
}

template <typename S>
__device__ __forceinline__ void
attention_bwd_simt_copy(uint32_t tile, const attention_bwd_side<float> &side, int chunks)
{
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(tile, side.first, side.first_l, side.count,
                                                     chunks);
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(tile + S::COLUMN_BYTES, side.second,
                                                     side.second_l, side.count, chunks);
}

template <typename S>
__global__ void __launch_bounds__(S::THREADS, 2)
    attention_bwd_simt(const __grid_constant__ attention_bwd_params p)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    unsigned char *const rows = shared, *const columns = rows + 2 * S::ROW_BYTES;
    unsigned char *const prob = columns + 2 * S::COLUMN_BYTES, *const ds = prob + S::P_BYTES;
    const attention_tile t = attention_bwd_tile<S::IS_DQ>(p, S::BM);
    const int x = (int)threadIdx.x % 16, y = (int)threadIdx.x / 16, chunks = p.f.d / 4;
    float *const bias_sums = (float *)(shared + S::SHARED_BYTES);
    float beyond[1] = {0.0f};
    if constexpr (S::HAS_BIAS)
        for (int i = (int)threadIdx.x; i < p.f.biases; i += S::THREADS)
            bias_sums[i] = 0.0f; /* a barrier stands before the first sum */
    attention_walk w = attention_walk_start<S::IS_DQ>(p, t, S::BN);

    float4 from_ds[8][S::D / 64] = {}, from_p[8][S::D / 64] = {};
    if (w.head < w.end) {
        const auto kept = attention_bwd_rows<S::IS_DQ, float>(p, t);
        const uint32_t to = sq_shared_address(rows);
        sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(to, kept.first, kept.first_l, t.count,
                                                         chunks);
        sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(to + S::ROW_BYTES, kept.second,
                                                         kept.second_l, t.count, chunks);
    }
    for (; w.head < w.end; w = attention_walk_next<S::IS_DQ>(p, t, S::BN, w)) {
        attention_bwd_simt_copy<S>(sq_shared_address(columns),
                                   attention_bwd_columns<S::IS_DQ, float>(p, t.b, w, S::BN),
                                   chunks);
        sq_copy_commit();
        sq_copy_wait<0>();
        __syncthreads(); /* the tiles are here */
        float s[8][2], dp[8][2];
        attention_simt_products<S>(s, rows, columns, x, y);
        attention_simt_products<S>(dp, rows + S::ROW_BYTES, columns + S::COLUMN_BYTES, x, y);
        const attention_head_bias bias = attention_bias_of(p.f, w.head);
#pragma unroll
        for (int i = 0; i < 8; i++)
            attention_bwd_simt_row<S>(p, w, bias, t.b, t.row + y + 8 * i, y + 8 * i, x, s[i], dp[i],
                                      prob, ds);
        __syncwarp();
        attention_simt_values<S>(from_ds, ds, columns, x, y);
        if constexpr (!S::IS_DQ)
            attention_simt_values<S>(from_p, prob, columns + S::COLUMN_BYTES, x, y);
        if constexpr (S::HAS_BIAS) {
            __syncthreads(); /* dS of all rows is here */
            beyond[0] = attention_bwd_simt_sum_bias<S>(p, t, w, ds, bias_sums, beyond[0]);
        }
        __syncthreads(); /* everybody is done with the tiles */
    }
    if constexpr (S::HAS_BIAS) {
        sq_lanes_sum<S::THREADS>(beyond, (float *)prob);
        if (threadIdx.x == 0)
            bias_sums[p.f.biases - 1] += beyond[0];
        __syncthreads();
        attention_store_bias_part<1, S::THREADS>(p, t, S::BM, bias_sums);
    }
    float *const first = (float *)(S::IS_DQ ? p.dq : p.dk);
    const int64_t first_b = S::IS_DQ ? p.dq_b : p.dk_b, first_h = S::IS_DQ ? p.dq_h : p.dk_h;
    const int64_t first_l = S::IS_DQ ? p.dq_l : p.dk_l;
    attention_bwd_simt_store<S>(from_ds, p.scale,
                                first + t.b * first_b + t.h * first_h + t.row * first_l, first_l,
                                t.count, chunks, x, y);
    if constexpr (!S::IS_DQ)
        attention_bwd_simt_store<S>(from_p, 1.0f,
                                    (float *)p.dv + t.b * p.dv_b + t.h * p.dv_h + t.row * p.dv_l,
                                    p.dv_l, t.count, chunks, x, y);
}

#endif
