/* decay_native_wide: decay_native_grads.cuh for 129 to 256 keys. A block goes through (chunk, head);
 * Q and K stay for all of its columns, S^T and G^T come for 64 columns and 128 keys at a time, a
 * stage each. The two warpgroups share the work so that dq and dk, 128 registers of a thread each,
 * leave room for the rest: one has rows of queries,
 *
 *   dP = dO V^T          dq = (row o dO) S^T + W K          W (i, j) = dP e w, once, after all columns
 *
 * the other rows of keys, with P^T made once, before the first column, and W^T from the first:
 *
 *   dv = key o (K G) + P^T dO + skip dO          dk = (key o V) G^T + W^T Q
 *
 * At the end dq lies where K was and dk where Q was: nobody else reads those any more. An item has
 * one head: with several of a group dq and dk are parts, one for each head.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_CUH

#include "kernels/chunk_core/decay_native_wide_parts.cuh"

/* --- the consumers --- */

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
__device__ __forceinline__ void
sq_wide_weigh_queries(const sq_decay_tiled &c, sq_wide_small *small, sq_native_lane at, int part,
                      const float (&score)[16], float (&dp)[32], uint32_t (&w)[4][4])
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
        if (!c.d_log)
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
                       const sq_wide_shared &shared, sq_native_lane at, float dot, float (&dp)[32],
                       sq_grads_sum (&dq)[SQ_WIDE_HALVES])
{
    sq_wide_small *small = shared.small();
    uint32_t w[4][4];
#pragma unroll
    for (int part = 0; part < 2; part++) {
        float score[16] = {};
        if (c.d_log)
            sq_wide_score_queries<T>(shared, part, score);
        sq_wide_weigh_queries<T>(c, small, at, part, score, dp, w);
    }
    if (c.d_log)
        sq_wide_sum_queries<T>(shared, at, dq, dp, dot);
    sq_roles_sync(SQ_WIDE_BOTH, 2 * SQ_WARPGROUP); /* dv has left its tile; the sums are there */
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sq_stmatrix(sq_address_a<8>(shared.d_v(), 16 * at.warp, 16 * k), w[k]);
    }
    sq_roles_sync(SQ_WIDE_HANDED, 2 * SQ_WARPGROUP);
    if (c.d_log && at.warp == 0)
        sq_grads_store_log(&small->sums, c.d_log + sq_tile_gate_index(c, 0, sq_grads_unit(c, s)));
    sq_wide_add_pairs<T>(w, shared.k(), dq);
    sq_wide_flush<T>(c, s, &maps.d_q, c.d_q, shared, shared.k(), SQ_GRADS_QUERIES, at, dq);
}

/* The warpgroup of queries: dq, W, and what of d(ln a) comes from them. */
template <typename T>
__device__ __forceinline__ void sq_wide_queries(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                                const sq_wide_shared &shared)
{
    const sq_native_lane at = sq_native_lane_of();
    sq_wide_small *small = shared.small();
    sq_grads_sum dq[SQ_WIDE_HALVES] = {};
    float dp[32], dot = 0.0f;
    uint32_t parity = 0;
    sq_grads_each(c, [&](const sq_grads_step &s, int n) {
        const int row = 16 * at.warp + at.g;
        if (s.is_first_tile) {
            sq_barrier_wait(shared.keys_full(), parity);
            parity ^= 1;
            dq[0] = {};
            dq[1] = {};
            dot = 0.0f;
        }
        const float factor[2] = {small->gates.row[row], small->gates.row[row + 8]};
#pragma unroll
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            const int step = SQ_WIDE_HALVES * n + half, stage = step % SQ_WIDE_STAGES;
            uint32_t d_o[4][4], weighed[4][4];
            sq_barrier_wait(shared.full(stage), step / SQ_WIDE_STAGES & 1);
            sq_grads_load_rows(shared.d_o(stage), at, d_o);
            sq_grads_weigh_rows<T>(d_o, factor, weighed);
            dq[half].pin();
            sq_wgmma_pin(dp);
            sq_wgmma_pin(weighed);
            sq_wgmma_fence();
            if (half == 0)
                sq_grads_start_rows<T, 4>(shared.d_o(stage), shared.v(stage), !s.is_first_tile, dp);
            dq[half].update(weighed, shared.before(stage));
            sq_wgmma_commit();
            if (c.d_log)
                dot += sq_grads_dot_tiles<T>(shared.before(stage), shared.after(stage), at);
            if (half == 0 && c.p.skip)
                sq_grads_skip_sums<T>(c, s, shared.at(shared.d_o(stage)),
                                      shared.at(shared.v(stage)), small->skip_sums);
            sq_wgmma_wait<0>();
            sq_wgmma_pin(dp);
            dq[half].pin();
            sq_wide_release(shared.empty(stage));
        }
        if (s.is_last_tile)
            sq_wide_finish_queries<T>(maps, c, s, shared, at, dot, dp, dq);
    });
}

/* P^T of the warpgroup's keys, rounded. */
template <typename T>
__device__ __forceinline__ void sq_wide_score_keys(const sq_wide_shared &shared, sq_native_lane at,
                                                   uint32_t (&p)[4][4])
{
    const sq_chunk_gates *gates = &shared.small()->gates;
    const int j = 16 * at.warp + at.g;
    const float sum[2] = {gates->sum[j], gates->sum[j + 8]};
    const float low[2] = {gates->low[j], gates->low[j + 8]};
    const float weight[2] = {gates->weight[j], gates->weight[j + 8]};
    float score[32];
    sq_wgmma_fence();
    sq_grads_start_rows<T, SQ_WIDE_KEY_TILES * 4>(shared.k(), shared.q(), false, score);
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(score);
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const int i = 8 * n + 2 * at.q;
        const float2 out = *(const float2 *)&gates->out[i], rest = *(const float2 *)&gates->low[i];
        const int2 start = *(const int2 *)&gates->start[i];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int own = j + 8 * r, at = 4 * n + 2 * r;
            const float lo = score[at] * sq_exp2(out.x - sum[r] + (rest.x - low[r])) * weight[r];
            const float hi =
                score[at + 1] * sq_exp2(out.y - sum[r] + (rest.y - low[r])) * weight[r];
            p[n / 2][n % 2 * 2 + r] = sq_pack2<T>(own <= i && own >= start.x ? lo : 0.0f,
                                                  own <= i + 1 && own >= start.y ? hi : 0.0f);
        }
    }
}

/* Of a stage that has K G: dv, and its part of k . (G v). */
template <typename T>
__device__ __forceinline__ void
sq_wide_end_values(const sq_decay_tiled &c, const sq_wide_shared &shared, int stage,
                   const float (&factor)[2], sq_native_lane at, uint32_t (&pairs)[4][4],
                   float (&d_v)[32], float (&key)[2])
{
    if (c.d_log) {
        uint32_t v[4][4];
        sq_grads_load_rows(shared.v(stage), at, v);
        sq_grads_dot_rows<T>(v, d_v, key);
    }
    sq_grads_begin_values<T>(shared.d_o(stage), shared.small()->skip[stage], factor, at, d_v);
    sq_wgmma_pin(d_v);
    sq_wgmma_pin(pairs);
    sq_wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sq_wgmma_64_columns<T>(d_v, pairs[k],
                               sq_wgmma_columns(shared.d_o(stage)) + sq_wgmma_columns_step(k), 1);
    }
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(d_v);
}

/* The gates' sums of an item that the warpgroup of keys makes. */
__device__ __forceinline__ void sq_wide_sum_keys(sq_wide_small *small, const float (&factor)[2],
                                                 sq_native_lane at, float dot, float (&key)[2])
{
    const int row = 16 * at.warp + at.g;
    sq_grads_sum_lanes(key);
    if (at.q == 0) {
        small->sums.keys[row] = factor[0] * key[0];
        small->sums.keys[row + 8] = factor[1] * key[1];
    }
    small->sums.dots[threadIdx.x] = dot;
}

/* dw of the thread's two steps. */
__device__ __forceinline__ void sq_wide_store_step(const sq_wide_small *small, sq_native_lane at,
                                                   const float (&key)[2], float *d_step)
{
    if (at.q != 0)
        return;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int j = 16 * at.warp + at.g + 8 * r;
        float sum = small->gates.tail[j] * key[r];
#pragma unroll
        for (int warp = 0; warp < 4; warp++) {
            sum += small->totals[warp][j];
        }
        d_step[j] = sum;
    }
}

/* What follows the last column: dk, and dw. */
template <typename T>
__device__ __forceinline__ void
sq_wide_finish_keys(const sq_grads_maps &maps, const sq_decay_tiled &c, const sq_grads_step &s,
                    const sq_wide_shared &shared, const float (&factor)[2], sq_native_lane at,
                    float dot, float (&key)[2], sq_grads_sum (&dk)[SQ_WIDE_HALVES])
{
    uint32_t w[4][4];
    if (c.d_log)
        sq_wide_sum_keys(shared.small(), factor, at, dot, key);
    if (threadIdx.x % SQ_WARPGROUP == 0)
        sq_tma_wait_read();
    sq_roles_sync(SQ_WIDE_BOTH, 2 * SQ_WARPGROUP);
    if (c.d_log)
        sq_wide_store_step(shared.small(), at, key,
                           c.d_step + sq_tile_gate_index(c, 0, sq_grads_unit(c, s)));
    sq_roles_sync(SQ_WIDE_HANDED, 2 * SQ_WARPGROUP);
    sq_native_load_values(shared.d_v(), at, w); /* W^T */
    sq_wide_add_pairs<T>(w, shared.q(), dk);
    sq_wide_flush<T>(c, s, &maps.d_k, c.d_k, shared, shared.q(), SQ_GRADS_KEYS_SYNC, at, dk);
}

/* The warpgroup of keys: dk, dv, dw, and what of d(ln a) comes from them. */
template <typename T>
__device__ __forceinline__ void sq_wide_keys(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                             const sq_wide_shared &shared)
{
    const sq_native_lane at = sq_native_lane_of();
    const sq_chunk_gates *gates = &shared.small()->gates;
    sq_grads_sum dk[SQ_WIDE_HALVES] = {};
    float key[2] = {0.0f, 0.0f}, dot = 0.0f;
    uint32_t pairs[4][4], parity = 0;
    sq_grads_each(c, [&](const sq_grads_step &s, int n) {
        const int row = 16 * at.warp + at.g;
        float d_v[32];
        if (s.is_first_tile) {
            sq_barrier_wait(shared.keys_full(), parity);
            parity ^= 1;
            sq_wide_score_keys<T>(shared, at, pairs);
            dk[0] = {};
            dk[1] = {};
            key[0] = key[1] = dot = 0.0f;
        }
        const float factor[2] = {gates->key[row], gates->key[row + 8]};
#pragma unroll
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            const int step = SQ_WIDE_HALVES * n + half, stage = step % SQ_WIDE_STAGES;
            uint32_t v[4][4], weighed[4][4];
            sq_barrier_wait(shared.full(stage), step / SQ_WIDE_STAGES & 1);
            sq_grads_load_rows(shared.v(stage), at, v);
            sq_grads_weigh_rows<T>(v, factor, weighed);
            dk[half].pin();
            sq_wgmma_pin(d_v);
            sq_wgmma_pin(weighed);
            sq_wgmma_fence();
            sq_grads_start_rows<T, 8>(shared.k() + 2 * half * SQ_TMA_TILE_BYTES,
                                      shared.after(stage), half > 0, d_v);
            dk[half].update(weighed, shared.after(stage));
            sq_wgmma_commit();
            if (c.d_log)
                dot += sq_grads_dot_tiles<T>(shared.before(stage) + SQ_TMA_TILE_BYTES,
                                             shared.after(stage) + SQ_TMA_TILE_BYTES, at);
            sq_wgmma_wait<0>();
            sq_wgmma_pin(d_v);
            dk[half].pin();
            if (half + 1 == SQ_WIDE_HALVES)
                sq_wide_end_values<T>(c, shared, stage, factor, at, pairs, d_v, key);
            sq_wide_release(shared.empty(stage));
        }
        sq_grads_store_values<T>(maps, s, shared.d_v(), at, d_v);
        if (s.is_last_tile)
            sq_wide_finish_keys<T>(maps, c, s, shared, factor, at, dot, key, dk);
    });
}

/* --- the kernel --- */

template <typename T>
static __global__ void __launch_bounds__(SQ_GRADS_THREADS, 1)
    sq_wide_kernel(const __grid_constant__ sq_grads_maps maps,
                   const __grid_constant__ sq_decay_tiled c)
{
#if SQ_HAS_WGMMA
    sq_chain_begin_next();
    const sq_wide_shared shared = sq_tma_shared<sq_wide_shared>();
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < SQ_WIDE_STAGES; stage++) {
            sq_barrier_init(shared.full(stage), 2);
            sq_barrier_init(shared.empty(stage), 8);
        }
        sq_barrier_init(shared.keys_full(), 1);
        sq_barrier_init(shared.keys_empty(), 2);
        sq_barrier_init_fence();
    }
    __syncthreads();
    /* From a shuffle, so that the compiler sees that a warp has one role: descriptors and barriers
     * are then made once for a warp. */
    const int role = __shfl_sync(0xffffffffu, (int)threadIdx.x / 32, 0), warp = role % 4;
    if (role >= 8) {
        sq_release_registers<SQ_GRADS_PRODUCER_REGISTERS>();
        if (warp == 1)
            sq_wide_fill_keys<T>(maps, c, shared);
        else if (warp == 2)
            sq_wide_fill_skip(c, shared);
        else if (threadIdx.x % SQ_WARPGROUP == 0)
            sq_wide_copy(maps, c, shared);
    } else {
        sq_claim_registers<SQ_GRADS_CONSUMER_REGISTERS>();
        if (role < 4)
            sq_wide_queries<T>(maps, c, shared);
        else
            sq_wide_keys<T>(maps, c, shared);
    }
#endif
}

#endif
