/* attention_mma: the portable kernel for 16-bit types, sm_80 instructions (mma.sync, ldmatrix,
 * cp.async).
 *
 * FlashAttention-2's plan (Dao, 2307.08691, sec. 3): a block holds a tile of query rows and walks
 * over the key tiles from the last to the first; scores stay in registers, the softmax is online,
 * the probabilities are rounded to 16 bits and are the A operand of P V where they are.
 * Each warp owns 16 * MT whole rows, so warps meet only to share the key and value tiles: one
 * barrier a tile, the next tile loads behind it.
 *
 * A row's running maximum is raised only when it falls behind by 2^8 (any base within f32's range
 * gives the same quotient), so the accumulators are seldom rescaled. The decision is each row's
 * own: no later position changes one bit of an earlier row.
 */
#ifndef SQ_KERNELS_ATTENTION_MMA_CUH
#define SQ_KERNELS_ATTENTION_MMA_CUH

#include "kernels/attention/attention_tile.cuh"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/mma_sm80.cuh"
#include "kernels/hw/reduce.cuh"

/* One build of the kernel: D padded head dim, MT m16 tiles a warp, WARPS warps, BN keys a tile;
 * HAS_BIAS: something is added to the scores, which are then in powers of two before the maxima. */
template <typename Element, int D_, int MT_, int WARPS_, int BN_, int BLOCKS_PER_SM_,
          bool HAS_BIAS_>
struct attention_shape {
    using T = Element;
    static constexpr bool HAS_BIAS = HAS_BIAS_;
    static constexpr int D = D_, MT = MT_, WARPS = WARPS_, BN = BN_, BLOCKS_PER_SM = BLOCKS_PER_SM_;
    static constexpr int BM = 16 * MT * WARPS, THREADS = 32 * WARPS, CHUNKS = D / 8, STAGES = 2;
    static constexpr int Q_BYTES = BM * D * 2, TILE_BYTES = BN * D * 2;
    static constexpr int SHARED_BYTES = Q_BYTES + 2 * STAGES * TILE_BYTES;
};

/* A warp's registers. Row r (0, 1) of m16 tile m is row 16 m + 8 r + lane / 4 of the warp. */
template <typename S>
struct attention_state {
    float o[S::MT][S::D / 8][4];
    float max[S::MT][2]; /* base of the exponent, in units of raw scores */
    float sum[S::MT][2]; /* this lane's share */
};

/* Tiles of one head's keys and values into one stage. */
template <typename S>
__device__ __forceinline__ void attention_copy_kv(const attention_params &p, const typename S::T *k,
                                                  const typename S::T *v, uint32_t stage, int key)
{
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(stage, k + key * p.k_l, p.k_l, p.keys - key,
                                                     p.d / 8);
    sq_tile_copy_async<S::BN, S::CHUNKS, S::THREADS>(stage + S::TILE_BYTES, v + key * p.v_l, p.v_l,
                                                     p.keys - key, p.d / 8);
}

/* s = Q K^T for the warp's rows and one key tile. q, k: the lane's addresses (sq_address_...) of
 * the warp's rows and of the tile. */
template <typename S>
__device__ __forceinline__ void attention_scores(float (&s)[S::MT][S::BN / 8][4], uint32_t q,
                                                 uint32_t k)
{
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::BN / 8; n++)
            s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0.0f;
#pragma unroll
    for (int d = 0; d < S::D; d += 16) {
        uint32_t a[S::MT][4];
#pragma unroll
        for (int m = 0; m < S::MT; m++)
            sq_ldmatrix(a[m], sq_address_step<S::CHUNKS>(q, 16 * m, d));
#pragma unroll
        for (int n = 0; n < S::BN / 16; n++) {
            uint32_t b[4];
            sq_ldmatrix(b, sq_address_step<S::CHUNKS>(k, 16 * n, d));
#pragma unroll
            for (int m = 0; m < S::MT; m++) {
                sq_mma<typename S::T>(s[m][2 * n], a[m], b[0], b[1]);
                sq_mma<typename S::T>(s[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* Scores of keys that a row does not see become -inf.
 * warp_row: the warp's first row in the sequence; key: the tile's first key. */
template <typename S>
__device__ __forceinline__ void attention_mask(float (&s)[S::MT][S::BN / 8][4],
                                               const attention_params &p, int h, int warp_row,
                                               int lane, int key)
{
    asm volatile("" : "+r"(warp_row)); /* edge tiles only: not to be prepared for every tile */
    key += (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const attention_keys seen =
                attention_visible(p, h, warp_row + 16 * m + 8 * r + lane / 4);
            const int first = seen.first - key, last = seen.last - key;
#pragma unroll
            for (int n = 0; n < S::BN / 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    if (8 * n + i < first || 8 * n + i >= last)
                        s[m][n][2 * r + i] = -INFINITY;
        }
}

/* Scores in powers of two, with what their distance adds. Arguments as for attention_mask. */
template <typename S>
__device__ __forceinline__ void attention_add_bias(float (&s)[S::MT][S::BN / 8][4],
                                                   const attention_params &p, int h, int warp_row,
                                                   int lane, int key)
{
    const attention_head_bias bias = attention_bias_of(p, h);
    key += lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int own = warp_row + 16 * m + 8 * r + lane / 4 + p.keys - p.queries;
            const float before = (float)(own - key);
#pragma unroll
            for (int n = 0; n < S::BN / 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float &x = s[m][n][2 * r + i];
                    x *= p.scale_log2;
                    if (bias.table)
                        x += attention_bias_at(bias, own, key + 8 * n + i);
                    else
                        x = fmaf(bias.slope, fabsf(before - (float)(8 * n + i)), x);
                }
        }
}

/* Raises the bases that the tile's scores have left 2^8 behind, and rescales those rows. */
template <typename S>
__device__ __forceinline__ void
attention_raise(attention_state<S> &state, const float (&s)[S::MT][S::BN / 8][4], float scale_log2)
{
    float top[S::MT][2];
    bool is_behind = false;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float x = fmaxf(s[m][0][2 * r], s[m][0][2 * r + 1]);
#pragma unroll
            for (int n = 1; n < S::BN / 8; n++)
                x = fmaxf(x, fmaxf(s[m][n][2 * r], s[m][n][2 * r + 1]));
            top[m][r] = sq_warp_max<4>(x);
            is_behind |= (top[m][r] - state.max[m][r]) * scale_log2 > 8.0f;
        }
    if (!__any_sync(0xffffffffu, is_behind))
        return;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            /* NaN (both -inf) compares false: a row without keys keeps -inf. */
            const bool is_raised = (top[m][r] - state.max[m][r]) * scale_log2 > 8.0f;
            const float factor =
                is_raised ? sq_exp2((state.max[m][r] - top[m][r]) * scale_log2) : 1.0f;
            state.max[m][r] = is_raised ? top[m][r] : state.max[m][r];
            state.sum[m][r] *= factor;
#pragma unroll
            for (int n = 0; n < S::D / 8; n++) {
                state.o[m][n][2 * r] *= factor;
                state.o[m][n][2 * r + 1] *= factor;
            }
        }
}

/* Scores become probabilities relative to the row's base. */
template <typename S>
__device__ __forceinline__ void attention_exponentials(float (&s)[S::MT][S::BN / 8][4],
                                                       attention_state<S> &state, float scale_log2)
{
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float max = state.max[m][r];
            const float base = max == -INFINITY ? 0.0f : max * scale_log2;
#pragma unroll
            for (int n = 0; n < S::BN / 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float &x = s[m][n][2 * r + i];
                    x = sq_exp2(fmaf(x, scale_log2, -base));
                    state.sum[m][r] += x;
                }
        }
}

/* o += P V; v: the lane's address of the tile. Two neighbouring score tiles are one A operand (see
 * mma_sm80.cuh). */
template <typename S>
__device__ __forceinline__ void attention_values(attention_state<S> &state,
                                                 const float (&s)[S::MT][S::BN / 8][4], uint32_t v)
{
    using T = typename S::T;
#pragma unroll
    for (int k = 0; k < S::BN / 16; k++) {
        uint32_t a[S::MT][4];
#pragma unroll
        for (int m = 0; m < S::MT; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] =
                    sq_pack2<T>(s[m][2 * k + i / 2][i % 2 * 2], s[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < S::D / 16; n++) {
            uint32_t b[4];
            sq_ldmatrix_trans(b, sq_address_step<S::CHUNKS>(v, 16 * k, 16 * n));
#pragma unroll
            for (int m = 0; m < S::MT; m++) {
                sq_mma<T>(state.o[m][2 * n], a[m], b[0], b[1]);
                sq_mma<T>(state.o[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

template <typename S>
__device__ __forceinline__ void attention_store_lse(const attention_params &p,
                                                    const attention_state<S> &state,
                                                    const attention_tile &t, int warp_row)
{
    const int lane = (int)threadIdx.x % 32;
    float *lse = p.lse + ((int64_t)t.b * p.heads + t.h) * p.queries + t.row;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = warp_row + 16 * m + 8 * r + lane / 4;
            const float base = state.max[m][r] * (S::HAS_BIAS ? 1.0f : p.scale_log2);
            if (lane % 4 == 0 && row < t.count)
                lse[row] = state.sum[m][r] > 0.0f ? base + sq_log2(state.sum[m][r]) : INFINITY;
        }
}

/* Stores value(o, o') of neighbouring outputs, packed, of the warp's rows through its own (now
 * unused) rows of the query tile, so that global stores are whole 16-byte chunks. */
template <typename S, typename Value>
__device__ __forceinline__ void
attention_store_rows(const attention_params &p, const attention_state<S> &state,
                     const float (&factor)[S::MT][2], int count, unsigned char *q_tile,
                     typename S::T *to, int64_t to_l, Value value)
{
    constexpr int rows_per_step = 32 / S::CHUNKS > 0 ? 32 / S::CHUNKS : 1;
    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * 16 * S::MT;
    __syncwarp(); /* the warp has read the tile for the last time */
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = warp_row + 16 * m + 8 * r + lane / 4;
#pragma unroll
            for (int n = 0; n < S::D / 8; n++)
                *(uint32_t *)(q_tile + sq_tile_offset<S::CHUNKS>(row, n) + lane % 4 * 4) = value(
                    state.o[m][n][2 * r] * factor[m][r], state.o[m][n][2 * r + 1] * factor[m][r]);
        }
    __syncwarp();
    const int chunk = lane % S::CHUNKS;
#pragma unroll
    for (int i = 0; i < 16 * S::MT; i += rows_per_step) {
        const int row = warp_row + i + lane / S::CHUNKS;
        if (row < count && chunk < p.d / 8)
            sq_store16(to + row * to_l + chunk * 8,
                       sq_load16(q_tile + sq_tile_offset<S::CHUNKS>(row, chunk)));
    }
}

/* Divides by the sums and stores o and, for a pass bwd to come, what it is made of. */
template <typename S>
__device__ __forceinline__ void attention_store(const attention_params &p,
                                                attention_state<S> &state, unsigned char *q_tile)
{
    using T = typename S::T;
    const int warp_row = (int)threadIdx.x / 32 * 16 * S::MT;
    float factor[S::MT][2];
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float sum = state.sum[m][r] = sq_warp_sum<4>(state.sum[m][r]);
            factor[m][r] = sum > 0.0f ? 1.0f / sum : 0.0f;
        }
    const attention_tile t = attention_block_tile(p, S::BM);
    attention_store_rows<S>(p, state, factor, t.count, q_tile,
                            (T *)p.o + t.b * p.o_b + t.row * p.o_l + t.h * p.o_h, p.o_l,
                            [](float x, float y) { return sq_pack2<T>(x, y); });
    if (!p.lse)
        return;
    attention_store_lse(p, state, t, warp_row);
    const int64_t first = ((int64_t)t.b * p.heads + t.h) * p.queries + t.row;
    attention_store_rows<S>(p, state, factor, t.count, q_tile, (T *)p.rest + first * p.d, p.d,
                            [](float x, float y) {
                                const float2 o = sq_unpack2<T>(sq_pack2<T>(x, y));
                                return sq_pack2<T>((x - o.x) * attention_rest_factor,
                                                   (y - o.y) * attention_rest_factor);
                            });
}

/* The loop has no register to spare at D = 128 (o 128, s 64, operands): what it needs of thread and
 * tile numbers is made again in each round, from an opaque copy, where it would else be kept and
 * spilled. */
template <typename S>
__global__ void __launch_bounds__(S::THREADS, S::BLOCKS_PER_SM)
    attention_mma(const __grid_constant__ attention_params p)
{
    using T = typename S::T;
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t q_tile = sq_shared_address(shared), stages = q_tile + S::Q_BYTES;
    const attention_tile t = attention_block_tile(p, S::BM);
    const attention_range range = attention_key_tiles(p, t, S::BN);
    const int h_kv = t.h / p.heads_per_kv;
    const T *const k_head = (const T *)p.k + t.b * p.k_b + h_kv * p.k_h;
    const T *const v_head = (const T *)p.v + t.b * p.v_b + h_kv * p.v_h;

    attention_state<S> state;
#pragma unroll
    for (int m = 0; m < S::MT; m++) {
        state.max[m][0] = state.max[m][1] = -INFINITY;
        state.sum[m][0] = state.sum[m][1] = 0.0f;
#pragma unroll
        for (int n = 0; n < S::D / 8; n++)
            state.o[m][n][0] = state.o[m][n][1] = state.o[m][n][2] = state.o[m][n][3] = 0.0f;
    }
    if (range.first < range.last) {
        const T *q = (const T *)p.q + t.b * p.q_b + t.row * p.q_l + t.h * p.q_h;
        sq_tile_copy_async<S::BM, S::CHUNKS, S::THREADS>(q_tile, q, p.q_l, t.count, p.d / 8);
        attention_copy_kv<S>(p, k_head, v_head, stages, (range.last - 1) * S::BN);
        sq_copy_commit();
    }
    uint32_t stage_offset = 0;
    for (int tile = range.last - 1; tile >= range.first; tile--) {
        int thread = (int)threadIdx.x;
        asm volatile("" : "+r"(thread));
        const int lane = thread % 32, warp_row = thread / 32 * 16 * S::MT;
        const uint32_t stage = stages + stage_offset;
        stage_offset = 2 * S::TILE_BYTES - stage_offset;

        sq_copy_wait<0>();
        __syncthreads(); /* the tile is here, and everybody is done with the other stage */
        if (tile > range.first)
            attention_copy_kv<S>(p, k_head, v_head, stages + stage_offset, (tile - 1) * S::BN);
        sq_copy_commit();

        float s[S::MT][S::BN / 8][4];
        const uint32_t at = sq_address_a<S::CHUNKS>(0, 0, 0, lane); /* and of the transposed B */
        attention_scores<S>(s, sq_address_step<S::CHUNKS>(q_tile + at, warp_row, 0),
                            sq_address_b<S::CHUNKS>(stage, 0, 0, lane));
        if constexpr (S::HAS_BIAS) {
            const attention_tile now = attention_block_tile(p, S::BM);
            attention_add_bias<S>(s, p, now.h, now.row + warp_row, lane, tile * S::BN);
        }
        if (tile < range.full_first || tile >= range.full_last) {
            const attention_tile now = attention_block_tile(p, S::BM);
            attention_mask<S>(s, p, now.h, now.row + warp_row, lane, tile * S::BN);
        }
        attention_raise<S>(state, s, S::HAS_BIAS ? 1.0f : p.scale_log2);
        attention_exponentials<S>(s, state, S::HAS_BIAS ? 1.0f : p.scale_log2);
        attention_values<S>(state, s, stage + S::TILE_BYTES + at);
    }
    attention_store<S>(p, state, shared);
}

#endif
