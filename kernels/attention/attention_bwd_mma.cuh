/* attention_bwd_mma: the portable backward kernels for 16-bit types, sm_80 instructions.
 *
 * FlashAttention-2's plan (Dao, 2307.08691, alg. 2) without its atomic additions to dQ: two kernels
 * of one form (attention_bwd_tile.cuh). Four warps own 16 rows each; scores and dP stay in
 * registers and, rounded to 16 bits, are the A operand of the products that add to the gradients.
 * The columns' next tiles load behind the products.
 */
#ifndef SQ_KERNELS_ATTENTION_BWD_MMA_CUH
#define SQ_KERNELS_ATTENTION_BWD_MMA_CUH

#include "kernels/attention/attention_bwd_tile.cuh"
#include "kernels/attention/attention_mma.cuh"
#include "kernels/hw/f16_range.cuh"

/* P is about 1/L, from L = 2^14 on subnormal in f16: as an operand it takes a factor that leaves
 * it normal down to 2^-28. */
template <typename T>
constexpr float attention_p_factor = 1.0f;
template <>
constexpr float attention_p_factor<__half> = 16384.0f;

/* D padded head dim, BN columns a tile. Rows' first tensor gets a gradient from dS, the second
 * (keys: V) from P; a build has one or both, since at D = 256 the sums fill the registers. */
template <typename Element, int D_, int BN_, int BLOCKS_PER_SM_, bool IS_DQ_, bool HAS_DS_,
          bool HAS_P_, bool HAS_BIAS_ = false>
struct attention_bwd_shape {
    using T = Element;
    static constexpr int D = D_, BN = BN_, BLOCKS_PER_SM = BLOCKS_PER_SM_, MT = 1, WARPS = 4;
    static constexpr bool IS_DQ = IS_DQ_, HAS_DS = HAS_DS_, HAS_P = HAS_P_, HAS_BIAS = HAS_BIAS_;
    static constexpr int BM = 16 * WARPS, THREADS = 32 * WARPS, CHUNKS = D / 8;
    static constexpr int ROW_BYTES = BM * D * 2, COLUMN_BYTES = BN * D * 2;
    static constexpr int FACTS_BYTES = IS_DQ ? 0 : 2 * BN * (int)sizeof(float);
    static constexpr int STAGE_BYTES = 2 * COLUMN_BYTES;
    static constexpr int DS_ROW = BN + 1, DS_WARP = 16 * DS_ROW; /* numbers */
    static constexpr int DS_BYTES = HAS_BIAS ? WARPS * DS_WARP * (int)sizeof(float) : 0;
    static constexpr int SHARED_BYTES = 2 * ROW_BYTES + 2 * (STAGE_BYTES + FACTS_BYTES) + DS_BYTES;
    static constexpr int BIAS_PARTS = HAS_BIAS ? WARPS : 0; /* of biases numbers each, behind */
};

template <typename S>
__device__ __forceinline__ void attention_bwd_copy(const attention_bwd_params &p, int b,
                                                   const attention_walk &w, uint32_t stage)
{
    const auto side = attention_bwd_columns<S::IS_DQ, typename S::T>(p, b, w, S::BN);
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(stage, side.first, side.first_l, side.count,
                                                     p.f.d / 8);
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(stage + S::COLUMN_BYTES, side.second,
                                                     side.second_l, side.count, p.f.d / 8);
}

/* Scores become powers of two with their bias; returns the factor that is left to apply. */
template <typename S>
__device__ __forceinline__ float attention_bwd_bias(float (&s)[1][S::BN / 8][4],
                                                    const attention_bwd_params &p, int head,
                                                    int row, int column)
{
    if (!p.f.has_alibi && !p.f.bias)
        return p.f.scale_log2;
    const attention_head_bias bias = attention_bias_of(p.f, head);
    const int shift = p.f.keys - p.f.queries;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int n = 0; n < S::BN / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float &x = s[0][n][2 * r + i];
                const int own = (S::IS_DQ ? row + 8 * r : column + 8 * n + i) + shift;
                const int key = S::IS_DQ ? column + 8 * n + i : row + 8 * r;
                x = fmaf(x, p.f.scale_log2, attention_bias_at(bias, own, key));
            }
    return 1.0f;
}

/* Scores become probabilities. row, column: of this lane's first element. facts: this lane's rows'
 * (dQ), or the columns' in shared memory from the tile's first on. */
template <typename S>
__device__ __forceinline__ void
attention_bwd_probabilities(float (&s)[1][S::BN / 8][4], const attention_bwd_params &p,
                            const attention_walk &w, int row, int column,
                            const attention_row_facts (&facts)[2], const float *lse)
{
    const float scale = attention_bwd_bias<S>(s, p, w.head, row, column);
    const int pair = (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < S::BN / 8; n++) {
        float2 base = make_float2(0.0f, 0.0f);
        if constexpr (!S::IS_DQ)
            base = *(const float2 *)(lse + 8 * n + pair);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            if constexpr (S::IS_DQ)
                base = make_float2(facts[r].lse, facts[r].lse);
            s[0][n][2 * r] = sq_exp2(fmaf(s[0][n][2 * r], scale, -base.x));
            s[0][n][2 * r + 1] = sq_exp2(fmaf(s[0][n][2 * r + 1], scale, -base.y));
        }
    }
    if (w.tile >= w.range.full_first && w.tile < w.range.full_last)
        return;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const attention_keys seen = attention_bwd_seen<S::IS_DQ>(p.f, w.head, row + 8 * r);
#pragma unroll
        for (int n = 0; n < S::BN / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                if (column + 8 * n + i < seen.first || column + 8 * n + i >= seen.last)
                    s[0][n][2 * r + i] = 0.0f;
    }
}

/* dp becomes dS = P (dP - delta). */
template <typename S>
__device__ __forceinline__ void
attention_bwd_ds(float (&dp)[1][S::BN / 8][4], const float (&prob)[1][S::BN / 8][4],
                 const attention_row_facts (&facts)[2], const float *delta)
{
    const int pair = (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < S::BN / 8; n++) {
        float2 mean = make_float2(0.0f, 0.0f);
        if constexpr (!S::IS_DQ)
            mean = *(const float2 *)(delta + 8 * n + pair);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            if constexpr (S::IS_DQ)
                mean = make_float2(facts[r].delta, facts[r].delta);
            dp[0][n][2 * r] = prob[0][n][2 * r] * (dp[0][n][2 * r] - mean.x);
            dp[0][n][2 * r + 1] = prob[0][n][2 * r + 1] * (dp[0][n][2 * r + 1] - mean.y);
        }
    }
}

/* Sums the warp's dS by distance; tile: its own memory. row, column: of the lane's first element.
 */
template <typename S>
__device__ __forceinline__ float
attention_bwd_sum_bias(const attention_bwd_params &p, const float (&ds)[1][S::BN / 8][4],
                       float *tile, float *sums, int row, int column, float beyond)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, pair = lane % 4 * 2;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int n = 0; n < S::BN / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                tile[(g + 8 * r) * S::DS_ROW + 8 * n + pair + i] = ds[0][n][2 * r + i];
    __syncwarp();
    const int base = row - g + p.f.keys - p.f.queries - (column - pair);
    beyond = attention_add_diagonals<16, S::BN, 32>(
        sums, p.f.biases - 1, base, lane, beyond,
        [&](int at, int of) { return tile[at * S::DS_ROW + of]; });
    __syncwarp(); /* the tile may be written again */
    return beyond;
}

/* Multiplies what a lane has of a sum's two rows. */
template <typename S>
__device__ __forceinline__ void attention_bwd_scale_rows(float (&sum)[S::D / 8][4], float first,
                                                         float second)
{
#pragma unroll
    for (int n = 0; n < S::D / 8; n++) {
        sum[n][0] *= first, sum[n][1] *= first;
        sum[n][2] *= second, sum[n][3] *= second;
    }
}

/* dS is as small as the probabilities beside a larger one, and then everything that a gradient is
 * made of: in f16 each row has a factor of its own, which shrinks as the row's largest dS grows, and
 * the sum has the same. */
template <typename S>
__device__ __forceinline__ void attention_bwd_range(const float (&ds)[1][S::BN / 8][4],
                                                    float (&sum)[S::D / 8][4], float (&factor)[2])
{
    float change[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float largest = 0.0f;
#pragma unroll
        for (int n = 0; n < S::BN / 8; n++)
            largest = fmaxf(largest, fmaxf(fabsf(ds[0][n][2 * r]), fabsf(ds[0][n][2 * r + 1])));
        const float next = fminf(factor[r], sq_f16_factor(sq_warp_max<4>(largest)));
        change[r] = next * sq_inverse_power(factor[r]);
        factor[r] = next;
    }
    if (__any_sync(0xffffffffu, change[0] != 1.0f || change[1] != 1.0f))
        attention_bwd_scale_rows<S>(sum, change[0], change[1]);
}

/* sum += factor X B for the warp's rows; b: the lane's address of the columns' tile, transposed.
 * factor: of the lane's two rows. */
template <typename S>
__device__ __forceinline__ void attention_bwd_add(float (&sum)[S::D / 8][4],
                                                  const float (&x)[1][S::BN / 8][4],
                                                  const float (&factor)[2], uint32_t b)
{
    using T = typename S::T;
#pragma unroll
    for (int k = 0; k < S::BN / 16; k++) {
        uint32_t a[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = sq_pack2<T>(x[0][2 * k + i / 2][i % 2 * 2] * factor[i % 2],
                               x[0][2 * k + i / 2][i % 2 * 2 + 1] * factor[i % 2]);
#pragma unroll
        for (int n = 0; n < S::D / 16; n++) {
            uint32_t r[4];
            sq_ldmatrix_trans(r, sq_address_step<S::CHUNKS>(b, 16 * k, 16 * n));
            sq_mma<T>(sum[2 * n], a, r[0], r[1]);
            sq_mma<T>(sum[2 * n + 1], a, r[2], r[3]);
        }
    }
}

/* Stores the warp's rows of a gradient through its own rows of a tile that nobody reads any more.
 */
template <typename S>
__device__ __forceinline__ void attention_bwd_store(const float (&sum)[S::D / 8][4], float scale,
                                                    unsigned char *tile, typename S::T *to,
                                                    int64_t to_l, int count, int chunks)
{
    constexpr int rows_per_step = 32 / S::CHUNKS > 0 ? 32 / S::CHUNKS : 1;
    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * 16;
    __syncwarp();
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int n = 0; n < S::D / 8; n++)
            *(uint32_t *)(tile + sq_tile_offset<S::CHUNKS>(warp_row + 8 * r + lane / 4, n) +
                          lane % 4 * 4) =
                sq_pack2<typename S::T>(sum[n][2 * r] * scale, sum[n][2 * r + 1] * scale);
    __syncwarp();
    const int chunk = lane % S::CHUNKS;
#pragma unroll
    for (int i = 0; i < 16; i += rows_per_step) {
        const int row = warp_row + i + lane / S::CHUNKS;
        if (row < count && chunk < chunks)
            sq_store16(to + row * to_l + chunk * 8,
                       sq_load16(tile + sq_tile_offset<S::CHUNKS>(row, chunk)));
    }
}

template <typename S>
__device__ __forceinline__ void
attention_bwd_finish(const attention_bwd_params &p, const attention_tile &t,
                     const float (&from_ds)[S::HAS_DS ? S::D / 8 : 1][4],
                     const float (&from_p)[S::HAS_P ? S::D / 8 : 1][4], unsigned char *tiles)
{
    using T = typename S::T;
    if constexpr (S::HAS_DS && S::IS_DQ)
        attention_bwd_store<S>(from_ds, p.scale, tiles,
                               (T *)p.dq + t.b * p.dq_b + t.h * p.dq_h + t.row * p.dq_l, p.dq_l,
                               t.count, p.f.d / 8);
    if constexpr (S::HAS_DS && !S::IS_DQ)
        attention_bwd_store<S>(from_ds, p.scale, tiles,
                               (T *)p.dk + t.b * p.dk_b + t.h * p.dk_h + t.row * p.dk_l, p.dk_l,
                               t.count, p.f.d / 8);
    if constexpr (S::HAS_P)
        attention_bwd_store<S>(from_p, 1.0f / attention_p_factor<T>, tiles + S::ROW_BYTES,
                               (T *)p.dv + t.b * p.dv_b + t.h * p.dv_h + t.row * p.dv_l, p.dv_l,
                               t.count, p.f.d / 8);
}

template <typename S>
__global__ void __launch_bounds__(S::THREADS, S::BLOCKS_PER_SM)
    attention_bwd_mma(const __grid_constant__ attention_bwd_params p)
{
    using T = typename S::T;
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t rows = sq_shared_address(shared), stages = rows + 2 * S::ROW_BYTES;
    float *const column_facts = (float *)(shared + 2 * S::ROW_BYTES + 2 * S::STAGE_BYTES);
    const attention_tile t = attention_bwd_tile<S::IS_DQ>(p, S::BM);
    const int thread = (int)threadIdx.x, lane = thread % 32, warp_row = thread / 32 * 16;
    float *const ds_tile = (float *)(shared + S::SHARED_BYTES - S::DS_BYTES);
    float *const bias_sums = (float *)(shared + S::SHARED_BYTES);
    float beyond = 0.0f;
    if constexpr (S::HAS_BIAS) {
        for (int i = lane; i < p.f.biases; i += 32)
            bias_sums[thread / 32 * p.f.biases + i] = 0.0f;
        __syncwarp();
    }
    attention_walk w = attention_walk_start<S::IS_DQ>(p, t, S::BN);

    float from_ds[S::HAS_DS ? S::D / 8 : 1][4] = {}, from_p[S::HAS_P ? S::D / 8 : 1][4] = {};
    const float p_factor[2] = {attention_p_factor<T>, attention_p_factor<T>};
    const float most = sq_is_f16<T> ? sq_f16_factor(0.0f) : 1.0f;
    float ds_factor[2] = {most, most};
    attention_row_facts facts[2] = {}, next_facts = {};
    auto facts_of_next = [&](const attention_walk &at) {
        if (!S::IS_DQ && thread < S::BN)
            next_facts = attention_facts_of(p, t.b, at.head, at.tile * S::BN + thread);
    };
    auto keep_facts = [&](int stage) {
        if (!S::IS_DQ && thread < S::BN) {
            column_facts[stage * 2 * S::BN + thread] = next_facts.lse;
            column_facts[stage * 2 * S::BN + S::BN + thread] = next_facts.delta;
        }
    };
    if (w.head < w.end) {
        const auto kept = attention_bwd_rows<S::IS_DQ, T>(p, t);
        sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(rows, kept.first, kept.first_l, t.count,
                                                         p.f.d / 8);
        sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(rows + S::ROW_BYTES, kept.second,
                                                         kept.second_l, t.count, p.f.d / 8);
        attention_bwd_copy<S>(p, t.b, w, stages);
        sq_copy_commit();
        facts_of_next(w);
        keep_facts(0);
        if (S::IS_DQ)
            for (int r = 0; r < 2; r++)
                facts[r] = attention_facts_of(p, t.b, t.h, t.row + warp_row + 8 * r + lane / 4);
    }
    for (int at = 0; w.head < w.end; at ^= 1) {
        const attention_walk next = attention_walk_next<S::IS_DQ>(p, t, S::BN, w);
        const uint32_t stage = stages + at * S::STAGE_BYTES;
        sq_copy_wait<0>();
        __syncthreads(); /* the tiles are here, and everybody is done with the other stage */
        if (next.head < next.end) {
            attention_bwd_copy<S>(p, t.b, next, stages + (at ^ 1) * S::STAGE_BYTES);
            facts_of_next(next);
        }
        sq_copy_commit();

        const float *const lse = column_facts + at * 2 * S::BN;
        const uint32_t in_a = sq_address_a<S::CHUNKS>(0, 0, 0, lane);
        const uint32_t in_b = sq_address_b<S::CHUNKS>(0, 0, 0, lane);
        const uint32_t own = sq_address_step<S::CHUNKS>(rows + in_a, warp_row, 0);
        float prob[1][S::BN / 8][4];
        attention_scores<S>(prob, own, stage + in_b);
        attention_bwd_probabilities<S>(prob, p, w, t.row + warp_row + lane / 4,
                                       w.tile * S::BN + lane % 4 * 2, facts, lse);
        if constexpr (S::HAS_P)
            attention_bwd_add<S>(from_p, prob, p_factor, stage + S::COLUMN_BYTES + in_a);
        if constexpr (S::HAS_DS) {
            float ds[1][S::BN / 8][4];
            attention_scores<S>(ds, own + S::ROW_BYTES, stage + S::COLUMN_BYTES + in_b);
            attention_bwd_ds<S>(ds, prob, facts, lse + S::BN);
            if constexpr (sq_is_f16<T>)
                attention_bwd_range<S>(ds, from_ds, ds_factor);
            attention_bwd_add<S>(from_ds, ds, ds_factor, stage + in_a);
            if constexpr (S::HAS_BIAS)
                beyond = attention_bwd_sum_bias<S>(
                    p, ds, ds_tile + thread / 32 * S::DS_WARP, bias_sums + thread / 32 * p.f.biases,
                    t.row + warp_row + lane / 4, w.tile * S::BN + lane % 4 * 2, beyond);
        }
        if (next.head < next.end)
            keep_facts(at ^ 1);
        w = next;
    }
    if constexpr (S::HAS_DS && sq_is_f16<T>)
        attention_bwd_scale_rows<S>(from_ds, sq_inverse_power(ds_factor[0]),
                                    sq_inverse_power(ds_factor[1]));
    attention_bwd_finish<S>(p, t, from_ds, from_p, shared);
    if constexpr (S::HAS_BIAS) {
        beyond = sq_warp_sum(beyond);
        __syncwarp();
        if (lane == 0)
            bias_sums[thread / 32 * p.f.biases + p.f.biases - 1] += beyond;
        __syncthreads();
        attention_store_bias_part<S::WARPS, S::THREADS>(p, t, S::BM, bias_sums);
    }
}

#endif
