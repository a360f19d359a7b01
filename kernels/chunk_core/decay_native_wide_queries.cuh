/* decay_native_wide_queries: of decay_native_wide.cuh the warpgroup of queries. */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_QUERIES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_QUERIES_CUH

#include "kernels/chunk_core/decay_native_wide_parts.cuh"

/* Scores of the warpgroup's queries and 32 keys, from 32 part on. */
template <typename T>
__device__ __forceinline__ void sq_wide_score_queries(const sq_wide_shared &shared, int part,
                                                      float (&score)[16])
{
    const uint64_t queries = sq_wgmma_rows(shared.q());
    const uint64_t keys = sq_wgmma_rows(shared.k() + part * SQ_TMA_TILE_BYTES / 2);
    sq_wgmma_pin(score);
    sq_wgmma_fence();
#pragma unroll
    for (int n = 0; n < SQ_WIDE_KEY_TILES * 4; n++) {
        sq_wgmma_32<T>(score, queries + sq_wgmma_rows_step(n), keys + sq_wgmma_rows_step(n), n > 0);
    }
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(score);
}

/* Of 32 keys: W, rounded, from dP; dP becomes the pairs N w, and the sums of N over the warp's
 * queries go to totals. As in sq_grads_weigh_queries. */
template <typename T>
__device__ __forceinline__ void sq_wide_weigh_queries(const sq_decay_tiled &c, sq_wide_small *small,
                                                      sq_native_lane at, bool has_log, int part,
                                                      const float (&score)[16], float (&dp)[32],
                                                      uint32_t (&w)[4][4])
{
    const sq_chunk_gates *gates = &small->gates;
    const int i = 16 * at.warp + at.g;
    const float out[2] = {gates->out[i], gates->out[i + 8]};
    const float low[2] = {gates->low[i], gates->low[i + 8]};
    const int start[2] = {gates->start[i], gates->start[i + 8]};
#pragma unroll
    for (int m = 0; m < 4; m++) {
        const int n = 4 * part + m, j = 8 * n + 2 * at.q;
        const float2 sum = *(const float2 *)&gates->sum[j], rest = *(const float2 *)&gates->low[j];
        const float2 weight = *(const float2 *)&gates->weight[j];
        float total[2] = {0.0f, 0.0f};
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float *pair = &dp[4 * n + 2 * r];
            const float *s = &score[4 * m + 2 * r];
            const float lo = sq_exp2(out[r] - sum.x + (low[r] - rest.x)) * pair[0];
            const float hi = sq_exp2(out[r] - sum.y + (low[r] - rest.y)) * pair[1];
            pair[0] = j <= i + 8 * r && j >= start[r] ? lo : 0.0f;
            pair[1] = j + 1 <= i + 8 * r && j + 1 >= start[r] ? hi : 0.0f;
            total[0] += c.p.scale * pair[0] * s[0];
            total[1] += c.p.scale * pair[1] * s[1];
            pair[0] *= weight.x;
            pair[1] *= weight.y;
            w[n / 2][n % 2 * 2 + r] = sq_pack2<T>(pair[0], pair[1]);
            pair[0] *= s[0];
            pair[1] *= s[1];
        }
        if (!has_log)
            continue;
#pragma unroll
        for (int x = 0; x < 2; x++) {
#pragma unroll
            for (int distance = 4; distance < 32; distance *= 2) {
                total[x] += __shfl_xor_sync(0xffffffffu, total[x], distance);
            }
            if (at.g == 0)
                small->totals[at.warp][j + x] = total[x];
        }
    }
}

/* To dot[r], of the thread's two rows: its share of q . dq. */
template <typename T>
__device__ __forceinline__ void sq_wide_dot_queries(uint32_t q, sq_native_lane at,
                                                    const sq_grads_sum (&dq)[SQ_WIDE_HALVES],
                                                    float (&dot)[2])
{
#pragma unroll
    for (int tile = 0; tile < SQ_WIDE_KEY_TILES; tile++) {
        uint32_t a[4][4];
        sq_grads_load_rows(q + tile * SQ_TMA_TILE_BYTES, at, a);
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float *sum = &dq[tile / 2].sum[0][tile % 2 * 32 + 8 * k + 2 * e];
                const float2 x = sq_unpack2<T>(a[k][e]);
                dot[e % 2] += x.x * sum[0] + x.y * sum[1];
            }
    }
}

/* The gates' sums of an item that the warpgroup of queries makes; dP becomes the pairs. */
template <typename T>
__device__ __forceinline__ void sq_wide_sum_queries(const sq_wide_shared &shared, sq_native_lane at,
                                                    const sq_grads_sum (&dq)[SQ_WIDE_HALVES],
                                                    const float (&pairs)[32], float dot)
{
    sq_grads_sums *sums = &shared.small()->sums;
    const int row = 16 * at.warp + at.g;
    float query[2] = {0.0f, 0.0f};
    sq_grads_sum_pairs(pairs, at, sq_grads_seen_of(at, false), sums);
    sq_wide_dot_queries<T>(shared.q(), at, dq, query);
    sq_grads_sum_lanes(query);
    if (at.q == 0) {
        sums->queries[row] = query[0];
        sums->queries[row + 8] = query[1];
    }
    sums->dots[threadIdx.x] = dot;
    if (threadIdx.x == 0)
        sums->decay = shared.small()->gates.decay;
}

/* What follows the last column: W, handed over, dq, and d(ln a). */
template <typename T>
__device__ __forceinline__ void
sq_wide_finish_queries(const sq_grads_maps &maps, const sq_decay_tiled &c, const sq_grads_step &s,
                       const sq_wide_shared &shared, sq_native_lane at, bool has_log, float dot,
                       float (&dp)[32], sq_grads_sum (&dq)[SQ_WIDE_HALVES])
{
    sq_wide_small *small = shared.small();
    uint32_t w[4][4];
#pragma unroll
    for (int part = 0; part < 2; part++) {
        float score[16] = {};
        if (has_log)
            sq_wide_score_queries<T>(shared, part, score);
        sq_wide_weigh_queries<T>(c, small, at, has_log, part, score, dp, w);
    }
    if (has_log)
        sq_wide_sum_queries<T>(shared, at, dq, dp, dot);
    sq_wide_hand(shared, at, w);
    if (has_log && at.warp == 0)
        sq_grads_store_log(&small->sums, c.d_log + sq_tile_gate_index(c, 0, sq_grads_unit(c, s)));
    sq_wide_add_pairs<T>(w, shared.k(), dq);
    sq_wide_flush<T>(c, s, &maps.d_q, c.d_q, shared, shared.k(), SQ_GRADS_QUERIES, at, dq);
}

/* What comes before that of a pair: W of both chunks, which the keys have use for in the first chunk
 * and the queries in the second. */
template <typename T>
__device__ __forceinline__ void
sq_wide_finish_across(const sq_grads_step &s, const sq_wide_shared &shared, sq_native_lane at,
                      sq_wide_states &states, const float (&dp)[32],
                      sq_grads_sum (&dq)[SQ_WIDE_HALVES])
{
    const bool is_second = sq_wide_is_second(s);
    const sq_wide_small *small = shared.small();
    const float *other = small->other.factor;
    uint32_t w[4][4];
    sq_wide_weigh_across<T>(is_second ? small->gates.row : other,
                            is_second ? other : small->gates.key, at, dp, w);
    sq_wide_hand(shared, at, w);
    sq_wide_wait(shared, states);
    if (is_second)
        sq_wide_add_handed<T>(shared.d_v(), shared.other_keys(states.stage), dq);
    sq_wide_leave(shared, states);
}

/* The warpgroup of queries: dq, W, and what of d(ln a) comes from them. */
template <typename T, bool IS_PAIRED>
__device__ __forceinline__ void sq_wide_queries(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                                const sq_wide_shared &shared)
{
    const sq_native_lane at = sq_native_lane_of();
    const bool has_log = !IS_PAIRED && c.d_log;
    sq_wide_small *small = shared.small();
    sq_grads_sum dq[SQ_WIDE_HALVES] = {};
    float dp[32], across[32], dot = 0.0f;
    uint32_t parity = 0;
    sq_wide_states states;
    sq_wide_columns columns;
    sq_wide_each<IS_PAIRED>(c, [&](const sq_grads_step &s) {
        const int column = columns.stage;
        const bool is_second = IS_PAIRED && sq_wide_is_second(s);
        if (s.is_first_tile) {
            sq_barrier_wait(shared.keys_full(), parity);
            parity ^= 1;
            dq[0] = {};
            dq[1] = {};
            dot = 0.0f;
            if (IS_PAIRED && !is_second) {
                sq_wide_wait(shared, states); /* the keys' */
                sq_wide_leave(shared, states);
            }
        }
        sq_wide_wait(shared, columns);
#pragma unroll
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            sq_wide_wait(shared, states);
            dq[half].pin();
            sq_wgmma_pin(dp);
            if (IS_PAIRED)
                sq_wgmma_pin(across);
            sq_wgmma_fence();
            if (half == 0)
                sq_grads_start_rows<T, 4>(shared.d_o(column), shared.v(column), !s.is_first_tile,
                                          dp);
            if (IS_PAIRED && half == 0)
                sq_grads_start_rows<T, 4>(
                    is_second ? shared.d_o(column) : shared.other_values(column),
                    is_second ? shared.other_values(column) : shared.v(column), !s.is_first_tile,
                    across);
            sq_grads_start_sum<T>(shared.d_o(column), shared.before(states.stage), dq[half],
                                  !s.is_first_tile);
            sq_wgmma_commit();
            if (has_log)
                dot += sq_grads_dot_tiles<T>(shared.before(states.stage),
                                             shared.after(states.stage), at);
            if (half == 0 && !IS_PAIRED && c.p.skip)
                sq_grads_skip_sums<T>(c, s, shared.at(shared.d_o(column)),
                                      shared.at(shared.v(column)), small->skip_sums);
            sq_wgmma_wait<0>();
            sq_wgmma_pin(dp);
            if (IS_PAIRED)
                sq_wgmma_pin(across);
            dq[half].pin();
            sq_wide_leave(shared, states);
        }
        sq_wide_leave(shared, columns);
        if (!s.is_last_tile)
            return;
        sq_wide_scale_rows(small->gates.row, is_second ? small->other.decay : 1.0f, at, dq);
        if (IS_PAIRED)
            sq_wide_finish_across<T>(s, shared, at, states, across, dq);
        sq_wide_finish_queries<T>(maps, c, s, shared, at, has_log, dot, dp, dq);
    });
}

#endif
