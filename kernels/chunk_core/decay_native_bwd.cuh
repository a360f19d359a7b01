/* decay_native_bwd: the kernel of decay_native_grads.cuh: its two consumers.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_BWD_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_BWD_CUH

#include "kernels/chunk_core/decay_native_grads.cuh"
#include "kernels/chunk_core/decay_native_sums.cuh"

__device__ __forceinline__ void sq_grads_clear(uint32_t (&a)[4][4])
{
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            a[k][e] = 0;
        }
}

/* W of the warpgroup's rows, rounded, from dP; dP becomes the pairs dP e w (q . k). seen: see
 * sq_grads_seen_of. SKIPS: 16 columns of which the warp sees none are left out, their pairs as they
 * were; at.warp is then one for the compiler, too. */
template <typename T, bool SKIPS = false>
__device__ __forceinline__ void
sq_grads_weigh_queries(const sq_chunk_gates *gates, sq_native_lane at, uint32_t seen,
                       const float (&score)[32], float (&dp)[32], uint32_t (&w)[4][4])
{
    const int i = 16 * at.warp + at.g;
    const float out[2] = {gates->out[i], gates->out[i + 8]};
    const float low[2] = {gates->low[i], gates->low[i + 8]};
    if (SKIPS)
        sq_grads_clear(w);
#pragma unroll
    for (int n = 0; n < 8; n++) {
        if (SKIPS && n % 2 == 0 && n / 2 > at.warp)
            break;
        const int j = 8 * n + 2 * at.q;
        const float2 sum = *(const float2 *)&gates->sum[j], rest = *(const float2 *)&gates->low[j];
        const float2 weight = *(const float2 *)&gates->weight[j];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int at = 4 * n + 2 * r;
            float *pair = &dp[at];
            const float lo = sq_exp2(out[r] - sum.x + (low[r] - rest.x)) * weight.x * pair[0];
            const float hi = sq_exp2(out[r] - sum.y + (low[r] - rest.y)) * weight.y * pair[1];
            pair[0] = seen >> at & 1 ? lo : 0.0f;
            pair[1] = seen >> (at + 1) & 1 ? hi : 0.0f;
            w[n / 2][n % 2 * 2 + r] = sq_pack2<T>(pair[0], pair[1]);
            pair[0] *= score[at];
            pair[1] *= score[at + 1];
        }
    }
}

/* P^T and W^T of the warpgroup's rows, rounded; to sum[r], of the thread's two rows, its share of
 * the sum over i of N_ij / scale. SKIPS: as above. */
template <typename T, bool SKIPS = false>
__device__ __forceinline__ void sq_grads_weigh_keys(const sq_chunk_gates *gates, sq_native_lane at,
                                                    uint32_t seen, const float (&score)[32],
                                                    const float (&dp)[32], uint32_t (&p)[4][4],
                                                    uint32_t (&w)[4][4], float (&total)[2])
{
    const int j = 16 * at.warp + at.g;
    const float sum[2] = {gates->sum[j], gates->sum[j + 8]};
    const float low[2] = {gates->low[j], gates->low[j + 8]};
    const float weight[2] = {gates->weight[j], gates->weight[j + 8]};
    if (SKIPS) {
        sq_grads_clear(p);
        sq_grads_clear(w);
    }
#pragma unroll
    for (int m = 7; m >= 0; m--) {
        const int n = SKIPS ? m : 7 - m;
        if (SKIPS && n % 2 == 1 && n / 2 < at.warp)
            break;
        const int i = 8 * n + 2 * at.q;
        const float2 out = *(const float2 *)&gates->out[i], rest = *(const float2 *)&gates->low[i];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int at = 4 * n + 2 * r;
            const float any[2] = {sq_exp2(out.x - sum[r] + (rest.x - low[r])),
                                  sq_exp2(out.y - sum[r] + (rest.y - low[r]))};
            const float lo = seen >> at & 1 ? any[0] : 0.0f;
            const float hi = seen >> (at + 1) & 1 ? any[1] : 0.0f;
            const float pair[2] = {score[at] * lo, score[at + 1] * hi};
            total[r] += pair[0] * dp[at] + pair[1] * dp[at + 1];
            p[n / 2][n % 2 * 2 + r] = sq_pack2<T>(pair[0] * weight[r], pair[1] * weight[r]);
            w[n / 2][n % 2 * 2 + r] =
                sq_pack2<T>(dp[at] * lo * weight[r], dp[at + 1] * hi * weight[r]);
        }
    }
}

/* The rows' sums of four lanes. */
__device__ __forceinline__ void sq_grads_sum_lanes(float (&x)[2])
{
    x[0] = sq_warp_sum<4>(x[0]);
    x[1] = sq_warp_sum<4>(x[1]);
}

/* The sums of the block's `head`-th head's chunk, once those before in their place are ended. */
__device__ __forceinline__ sq_grads_sums *sq_grads_begin_sums(const sq_grads_shared &shared,
                                                              int head)
{
    const int set = head % SQ_GRADS_SUMS;
    sq_barrier_wait(shared.sums_empty(set), (head / SQ_GRADS_SUMS & 1) ^ 1);
    return &shared.small()->sums[set];
}

/* The warp has written its part of them. */
__device__ __forceinline__ void sq_grads_hand_sums(const sq_grads_shared &shared, int head)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        sq_barrier_arrive(shared.sums_full(head % SQ_GRADS_SUMS));
}

/* The warpgroup of queries: dq, the pairs' and the queries' parts of d(ln a), dskip. */
template <typename T>
__device__ __forceinline__ void sq_grads_queries(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                                 const sq_grads_shared &shared)
{
    const sq_native_lane at = sq_native_lane_of();
    sq_grads_small *small = shared.small();
    sq_grads_sum dq = {};
    const uint32_t before_now = sq_grads_seen_of(at, false);
    float dp[32], query[2] = {0.0f, 0.0f}, dot = 0.0f;
    int head = 0;
    sq_grads_each(c, [&](const sq_grads_step &s, int n) {
        const int stage = n % SQ_GRADS_STAGES, row = 16 * at.warp + at.g;
        const sq_chunk_gates *gates = &small->gates[n % SQ_GRADS_GATES];
        float score[32], seen[32];
        uint32_t d_o[4][4], weighed[4][4], w[4][4];
        sq_grads_wait(shared, n);
        const float factor[2] = {gates->row[row], gates->row[row + 8]};
        sq_wgmma_pin(dp);
        sq_wgmma_fence();
        sq_grads_start_rows<T, 4>(shared.d_o(stage), shared.v(stage), !s.is_first_tile, dp);
        sq_grads_start_rows<T, 8>(shared.q(stage), shared.k(stage), false, score);
        sq_wgmma_commit();
        sq_grads_start_rows<T, 8>(shared.q(stage), shared.before(stage), false, seen);
        sq_wgmma_commit();
        sq_grads_load_rows(shared.d_o(stage), at, d_o);
        sq_grads_weigh_rows<T>(d_o, factor, weighed);
        dq.pin();
        sq_wgmma_pin(weighed);
        sq_wgmma_fence();
        dq.update(weighed, shared.before(stage), !(s.is_first_head && s.is_first_tile));
        sq_wgmma_commit();
        if (c.d_log)
            dot += sq_grads_dot_tiles<T>(shared.before(stage), shared.after(stage), at);
        if (c.p.skip && c.skip_values > 1)
            sq_grads_skip_sums<T>(c, s, shared.memory + (shared.d_o(stage) - shared.base),
                                  shared.memory + (shared.v(stage) - shared.base),
                                  small->skip_sums);
        sq_wgmma_wait<2>();
        sq_wgmma_pin(dp);
        sq_wgmma_pin(score);
        const float skip = c.p.skip && c.skip_values == 1 ? sq_grads_skip_of(dp, at) : 0.0f;
        if (s.is_last_tile)
            sq_grads_weigh_queries<T>(
                gates, at, sq_grads_seen_in<false>(c.p, gates, at, before_now), score, dp, w);
        else
            sq_grads_clear(w);
        sq_wgmma_pin(w);
        sq_wgmma_fence();
        dq.update(w, shared.k(stage));
        sq_wgmma_commit();
        sq_wgmma_wait<1>();
        sq_wgmma_pin(seen);
        sq_wgmma_pin(weighed);
        sq_grads_dot_rows<T>(weighed, seen, query);
        if (s.is_last_tile && c.d_log) {
            sq_grads_sums *sums = sq_grads_begin_sums(shared, head);
            sq_grads_sum_pairs(dp, at, before_now, sums);
            sq_grads_sum_lanes(query);
            if (at.q == 0) {
                sums->queries[row] = query[0];
                sums->queries[row + 8] = query[1];
            }
            sums->dots[threadIdx.x] = dot;
            sums->skips[threadIdx.x] = skip;
            if (threadIdx.x == 0)
                sums->decay = gates->decay;
            sq_grads_hand_sums(shared, head++);
            query[0] = query[1] = dot = 0.0f;
        }
        sq_wgmma_wait<0>();
        dq.pin();
        sq_grads_release(shared, n);
        if (s.is_last_head && s.is_last_tile)
            sq_grads_flush<T>(c, s, &maps.d_q, c.d_q, shared.d_q(), 0, SQ_GRADS_QUERIES, at, dq);
    });
    if (threadIdx.x % SQ_WARPGROUP == 0)
        sq_tma_wait_read();
}

/* dv of a stage, by TMA. */
template <typename T>
__device__ __forceinline__ void sq_grads_store_values(const sq_grads_maps &maps,
                                                      const sq_grads_step &s, uint32_t tile,
                                                      sq_native_lane at, const float (&d_v)[32])
{
    const bool is_first = threadIdx.x % SQ_WARPGROUP == 0;
    if (is_first)
        sq_tma_wait_read();
    sq_named_sync(SQ_GRADS_KEYS_SYNC, SQ_WARPGROUP);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t packed[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            packed[e] = sq_pack2<T>(d_v[8 * k + 2 * e], d_v[8 * k + 2 * e + 1]);
        }
        sq_stmatrix(sq_address_a<8>(tile, 16 * at.warp, 16 * k), packed);
    }
    sq_async_fence();
    sq_named_sync(SQ_GRADS_KEYS_SYNC, SQ_WARPGROUP);
    if (is_first)
        sq_tma_store_once(&maps.d_v, s.column, s.head, s.chunk * SQ_CHUNK, s.batch, tile);
}

/* dv = key o (K G) + skip dO, of a stage. */
template <typename T>
__device__ __forceinline__ void sq_grads_begin_values(uint32_t tile, const float *skip,
                                                      const float (&factor)[2], sq_native_lane at,
                                                      float (&d_v)[32])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t d_o[4];
        sq_load_a<8>(d_o, tile, 16 * at.warp, 16 * k);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 d = *(const float2 *)&skip[16 * k + 8 * (e / 2) + 2 * at.q];
            const float2 x = sq_unpack2<T>(d_o[e]);
            float *own = &d_v[8 * k + 2 * e];
            own[0] = own[0] * factor[e % 2] + d.x * x.x;
            own[1] = own[1] * factor[e % 2] + d.y * x.y;
        }
    }
}

/* dw of the thread's two steps. key: summed; step: the thread's share. */
__device__ __forceinline__ void sq_grads_store_step(const sq_decay_tiled &c, const sq_grads_step &s,
                                                    const sq_chunk_gates *gates, sq_native_lane at,
                                                    const float (&key)[2], float (&step)[2])
{
    const int row = 16 * at.warp + at.g;
    float *d_step = c.d_step + sq_tile_gate_index(c, 0, sq_grads_unit(c, s));
    sq_grads_sum_lanes(step);
    if (at.q != 0)
        return;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        d_step[row + 8 * r] = c.p.scale * step[r] + gates->tail[row + 8 * r] * key[r];
    }
}

/* The warpgroup of keys: dk, dv, dw, the keys' part of d(ln a). */
template <typename T, typename SHARED>
__device__ __forceinline__ void sq_grads_keys(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                              const SHARED &shared)
{
    const sq_native_lane at = SHARED::has_sums ? sq_native_lane_of() : sq_native_uniform_lane();
    sq_grads_small *small = shared.small();
    sq_grads_sum dk = {};
    const uint32_t now_after = sq_grads_seen_of(at, true);
    float dp[32], key[2] = {0.0f, 0.0f}, dot = 0.0f;
    int head = 0;
    shared.each(c, [&](const sq_grads_step &s, int n) {
        const int stage = n % SQ_GRADS_STAGES, row = 16 * at.warp + at.g;
        const sq_chunk_gates *gates = &small->gates[n % SQ_GRADS_GATES];
        float score[32], d_v[32], step[2] = {0.0f, 0.0f};
        uint32_t v[4][4], weighed[4][4], pairs[4][4], w[4][4];
        sq_grads_wait(shared, n);
        const float factor[2] = {gates->key[row], gates->key[row + 8]};
        sq_wgmma_pin(dp);
        sq_wgmma_fence();
        sq_grads_start_rows<T, 4>(shared.v(stage), shared.d_o(stage), !s.is_first_tile, dp);
        sq_grads_start_rows<T, 8>(shared.k(stage), shared.q(stage), false, score);
        sq_wgmma_commit();
        shared.wait_gradient(n);
        sq_grads_start_rows<T, 8>(shared.k(stage), shared.gradient(n), false, d_v);
        sq_wgmma_commit();
        if constexpr (SHARED::has_sums) {
            sq_grads_load_rows(shared.v(stage), at, v);
            sq_grads_weigh_rows<T>(v, factor, weighed);
            dk.pin();
            sq_wgmma_pin(weighed);
            sq_wgmma_fence();
            dk.update(weighed, shared.gradient(n), !(s.is_first_head && s.is_first_tile));
        } else {
            sq_grads_start_sum<T>(shared.v(stage), shared.gradient(n), dk);
        }
        sq_wgmma_commit();
        if (c.d_log)
            dot += sq_grads_dot_tiles<T>(shared.before(stage) + SQ_TMA_TILE_BYTES,
                                         shared.gradient(n) + SQ_TMA_TILE_BYTES, at);
        sq_wgmma_wait<2>();
        sq_wgmma_pin(dp);
        sq_wgmma_pin(score);
        sq_grads_weigh_keys<T, !SHARED::has_sums>(gates, at,
                                                  sq_grads_seen_in<true>(c.p, gates, at, now_after),
                                                  score, dp, pairs, w, step);
        sq_wgmma_wait<1>();
        sq_wgmma_pin(d_v);
        sq_grads_load_rows(shared.v(stage), at, v); /* again: 32 registers fewer */
        sq_grads_dot_rows<T>(v, d_v, key);
        sq_grads_begin_values<T>(shared.d_o(stage), small->skip[n % SQ_GRADS_GATES], factor, at,
                                 d_v);
        if (!s.is_last_tile)
            sq_grads_clear(w);
        sq_wgmma_pin(d_v);
        sq_wgmma_pin(pairs);
        sq_wgmma_pin(w);
        sq_wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; k++) {
            sq_wgmma_64_columns<T>(
                d_v, pairs[k], sq_wgmma_columns(shared.d_o(stage)) + sq_wgmma_columns_step(k), 1);
        }
        sq_wgmma_commit();
        if constexpr (!SHARED::has_sums) {
            sq_wgmma_wait<1>();
            dk.pin();
            sq_grads_scale_rows(factor, dk);
            dk.pin();
            sq_wgmma_fence();
        }
        dk.update(w, shared.q(stage));
        sq_wgmma_commit();
        if (s.is_last_tile && c.d_log) {
            sq_grads_sums *sums = sq_grads_begin_sums(shared, head);
            sq_grads_sum_lanes(key);
            if (at.q == 0) {
                sums->keys[row] = factor[0] * key[0];
                sums->keys[row + 8] = factor[1] * key[1];
            }
            if (c.p.kind == SQ_DECAY_STEP) /* else w is 1 */
                sq_grads_store_step(c, s, gates, at, key, step);
            sums->dots[threadIdx.x] = dot;
            sq_grads_hand_sums(shared, head++);
            key[0] = key[1] = dot = 0.0f;
        }
        sq_wgmma_wait<1>();
        sq_wgmma_pin(d_v);
        sq_grads_store_values<T>(maps, s, shared.d_v(), at, d_v);
        sq_wgmma_wait<0>();
        dk.pin();
        sq_grads_release(shared, n);
        shared.release_gradient(n);
        if (s.is_last_head && s.is_last_tile)
            sq_grads_flush<T, SHARED::has_sums>(c, s, &maps.d_k, c.d_k, shared.d_k(), 0,
                                                SQ_GRADS_KEYS_SYNC, at, dk);
    });
    if (threadIdx.x % SQ_WARPGROUP == 0)
        sq_tma_wait_read();
}

/* --- the kernel --- */

/* One thread, before the others use them. */
__device__ __forceinline__ void sq_grads_init_barriers(const sq_grads_shared &shared)
{
    for (int stage = 0; stage < SQ_GRADS_STAGES; stage++) {
        sq_barrier_init(shared.full(stage), 1);
        sq_barrier_init(shared.empty(stage), 8);
    }
    for (int set = 0; set < SQ_GRADS_GATES; set++) {
        sq_barrier_init(shared.gates_full(set), 1);
        sq_barrier_init(shared.gates_empty(set), 8);
    }
    for (int set = 0; set < SQ_GRADS_SUMS; set++) {
        sq_barrier_init(shared.sums_full(set), 8);
        sq_barrier_init(shared.sums_empty(set), 1);
    }
}

/* The warps' work; that of copying and of the queries: copy(), queries(). */
template <typename T, typename SHARED, typename COPY, typename QUERIES>
__device__ __forceinline__ void sq_grads_play(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                              const SHARED &shared, COPY copy, QUERIES queries)
{
    /* From a shuffle, so that the compiler sees that a warp has one role: descriptors and barriers
     * are then made once for a warp. */
    const int role = __shfl_sync(0xffffffffu, (int)threadIdx.x / 32, 0), warp = role % 4;
    if (role >= 8) {
        sq_release_registers<SQ_GRADS_PRODUCER_REGISTERS>();
        if (warp > 0 && warp <= SQ_GRADS_MAKERS)
            sq_grads_fill_gates<T>(c, shared, warp - 1);
        else if (warp > SQ_GRADS_MAKERS && c.d_log)
            sq_grads_end_sums(c, shared);
        else if (threadIdx.x % SQ_WARPGROUP == 0)
            copy();
    } else {
        sq_claim_registers<SQ_GRADS_CONSUMER_REGISTERS>();
        if (role < 4)
            queries();
        else
            sq_grads_keys<T>(maps, c, shared);
    }
}

template <typename T>
static __global__ void __launch_bounds__(SQ_GRADS_THREADS, 1)
    sq_grads_kernel(const __grid_constant__ sq_grads_maps maps,
                    const __grid_constant__ sq_decay_tiled c)
{
#if SQ_HAS_WGMMA
    sq_chain_begin_next();
    const sq_grads_shared shared = sq_tma_shared<sq_grads_shared>();
    if (threadIdx.x == 0) {
        sq_grads_init_barriers(shared);
        sq_barrier_init_fence();
    }
    __syncthreads();
    sq_grads_play<T>(
        maps, c, shared, [&] { sq_grads_copy(maps, c, shared); },
        [&] { sq_grads_queries<T>(maps, c, shared); });
#endif
}

#endif
