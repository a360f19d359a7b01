/* decay_native_wide: decay_native_grads.cuh for 129 to 256 keys. A block goes through (chunk, head);
 * Q and K stay for all of its columns, S^T and G^T come for 64 columns and 128 keys at a time, a
 * stage each. The two warpgroups share the work so that dq and dk, 128 registers of a thread each,
 * leave room for the rest: one has rows of queries,
 *
 *   dP = dO V^T          dq = row o (dO S^T) + W K          W (i, j) = dP e w, once, after all columns
 *
 * the other rows of keys, with P^T made once, before the first column, and W^T from the first:
 *
 *   dv = key o (K G) + P^T dO + skip dO          dk = key o (V G^T) + W^T Q
 *
 * At the end dq lies where K was and dk where Q was: nobody else reads those any more. An item has
 * one head: with several of a group dq and dk are parts, one for each head.
 *
 * Where decays are constant S and G are those around a pair of chunks (IS_PAIRED). With a block's factors
 * counted from there, what S before the second chunk b and G after the first chunk a have more is
 *
 *   dq_b += W K_a          W (i, j) = row_i key_j (dO_b V_a^T), i of b, j of a
 *   dk_a += W^T Q_b        dv_a += P^T dO_b          P^T (j, i) = key_j row_i (K_a Q_b^T)
 *
 * Both items make W, in the warpgroup of queries, which has the registers.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_CUH

#include "kernels/chunk_core/decay_native_wide_queries.cuh"

/* --- the warpgroup of keys --- */

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

/* Of a pair's first chunk, P^T of its keys and the other chunk's queries, whose stage it leaves. */
template <typename T>
__device__ __forceinline__ void sq_wide_score_across(const sq_wide_shared &shared,
                                                     sq_native_lane at, sq_wide_states &states,
                                                     uint32_t (&p)[4][4])
{
    const sq_wide_small *small = shared.small();
    float score[32];
    sq_wide_wait(shared, states);
    sq_wgmma_fence();
    sq_grads_start_rows<T, SQ_WIDE_KEY_TILES * 4>(shared.k(), shared.other_keys(states.stage),
                                                  false, score);
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(score);
    sq_wide_leave(shared, states);
    sq_wide_weigh_across<T>(small->gates.key, small->other.factor, at, score, p);
}

/* d_v += pairs dO, waits. */
template <typename T>
__device__ __forceinline__ void sq_wide_add_values(uint32_t (&pairs)[4][4], uint32_t d_o,
                                                   float (&d_v)[32])
{
    sq_wgmma_pin(d_v);
    sq_wgmma_pin(pairs);
    sq_wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sq_wgmma_64_columns<T>(d_v, pairs[k], sq_wgmma_columns(d_o) + sq_wgmma_columns_step(k), 1);
    }
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sq_wgmma_pin(d_v);
}

/* Of a stage whose K G is there: dv without what other chunks add, and its part of k . (G v). */
template <typename T>
__device__ __forceinline__ void
sq_wide_end_values(const sq_wide_shared &shared, int column, bool has_log, const float (&factor)[2],
                   sq_native_lane at, uint32_t (&pairs)[4][4], float (&d_v)[32], float (&key)[2])
{
    if (has_log) {
        uint32_t v[4][4];
        sq_grads_load_rows(shared.v(column), at, v);
        sq_grads_dot_rows<T>(v, d_v, key);
    }
    sq_grads_begin_values<T>(shared.d_o(column), shared.small()->skip[column], factor, at, d_v);
    sq_wide_add_values<T>(pairs, shared.d_o(column), d_v);
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
                    bool has_log, float dot, float (&key)[2], sq_grads_sum (&dk)[SQ_WIDE_HALVES])
{
    uint32_t w[4][4];
    if (has_log)
        sq_wide_sum_keys(shared.small(), factor, at, dot, key);
    sq_roles_sync(SQ_WIDE_BOTH, 2 * SQ_WARPGROUP);
    if (has_log)
        sq_wide_store_step(shared.small(), at, key,
                           c.d_step + sq_tile_gate_index(c, 0, sq_grads_unit(c, s)));
    sq_roles_sync(SQ_WIDE_HANDED, 2 * SQ_WARPGROUP);
    sq_native_load_values(shared.d_v(), at, w); /* W^T */
    sq_wide_add_pairs<T>(w, shared.q(), dk);
    sq_wide_flush<T>(c, s, &maps.d_k, c.d_k, shared, shared.q(), SQ_GRADS_KEYS_SYNC, at, dk);
}

/* What comes before that of a pair: see sq_wide_finish_across. */
template <typename T>
__device__ __forceinline__ void
sq_wide_take_across(const sq_grads_step &s, const sq_wide_shared &shared, sq_native_lane at,
                    sq_wide_states &states, sq_grads_sum (&dk)[SQ_WIDE_HALVES])
{
    sq_roles_sync(SQ_WIDE_BOTH, 2 * SQ_WARPGROUP);
    sq_roles_sync(SQ_WIDE_HANDED, 2 * SQ_WARPGROUP);
    sq_wide_wait(shared, states);
    if (!sq_wide_is_second(s)) {
        uint32_t w[4][4];
        sq_native_load_values(shared.d_v(), at, w);
        sq_wide_add_pairs<T>(w, shared.other_keys(states.stage), dk);
    }
    sq_wide_leave(shared, states);
}

/* The warpgroup of keys: dk, dv, dw, and what of d(ln a) comes from them. */
template <typename T, bool IS_PAIRED>
__device__ __forceinline__ void sq_wide_keys(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                             const sq_wide_shared &shared)
{
    const sq_native_lane at = sq_native_lane_of();
    const bool has_log = !IS_PAIRED && c.d_log;
    const sq_wide_small *small = shared.small();
    sq_grads_sum dk[SQ_WIDE_HALVES] = {};
    float key[2] = {0.0f, 0.0f}, dot = 0.0f;
    uint32_t pairs[4][4], across[4][4], parity = 0;
    sq_wide_states states;
    sq_wide_columns columns;
    sq_wide_each<IS_PAIRED>(c, [&](const sq_grads_step &s) {
        const int row = 16 * at.warp + at.g, column = columns.stage;
        const bool is_before = IS_PAIRED && !sq_wide_is_second(s);
        float d_v[32];
        if (s.is_first_tile) {
            sq_barrier_wait(shared.keys_full(), parity);
            parity ^= 1;
            sq_wide_score_keys<T>(shared, at, pairs);
            if (is_before)
                sq_wide_score_across<T>(shared, at, states, across);
            dk[0] = {};
            dk[1] = {};
            key[0] = key[1] = dot = 0.0f;
        }
        const float later = is_before ? small->other.decay : 1.0f;
        const float factor[2] = {small->gates.key[row] * later, small->gates.key[row + 8] * later};
        sq_wide_wait(shared, columns);
#pragma unroll
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            const uint32_t after = shared.after(states.stage);
            sq_wide_wait(shared, states);
            dk[half].pin();
            sq_wgmma_pin(d_v);
            sq_wgmma_fence();
            sq_grads_start_rows<T, 8>(shared.k() + 2 * half * SQ_TMA_TILE_BYTES, after, half > 0,
                                      d_v);
            sq_grads_start_sum<T>(shared.v(column), after, dk[half], !s.is_first_tile);
            sq_wgmma_commit();
            if (has_log)
                dot += sq_grads_dot_tiles<T>(shared.before(states.stage) + SQ_TMA_TILE_BYTES,
                                             after + SQ_TMA_TILE_BYTES, at);
            sq_wgmma_wait<0>();
            sq_wgmma_pin(d_v);
            dk[half].pin();
            sq_wide_leave(shared, states);
        }
        sq_wide_end_values<T>(shared, column, has_log, factor, at, pairs, d_v, key);
        if (is_before)
            sq_wide_add_values<T>(across, shared.other_values(column), d_v);
        sq_wide_leave(shared, columns);
        sq_grads_store_values<T>(maps, s, shared.d_v(), at, d_v);
        if (!s.is_last_tile)
            return;
        if (threadIdx.x % SQ_WARPGROUP == 0)
            sq_tma_wait_read();
        sq_wide_scale_rows(small->gates.key, later, at, dk);
        if (IS_PAIRED)
            sq_wide_take_across<T>(s, shared, at, states, dk);
        sq_wide_finish_keys<T>(maps, c, s, shared, factor, at, has_log, dot, key, dk);
    });
}

/* --- the kernel --- */

template <typename T, bool IS_PAIRED>
static __global__ void __launch_bounds__(SQ_GRADS_THREADS, 1)
    sq_wide_kernel(const __grid_constant__ sq_grads_maps maps,
                   const __grid_constant__ sq_decay_tiled c)
{
#if SQ_HAS_WGMMA
    sq_chain_begin_next();
    const sq_wide_shared shared = sq_tma_shared<sq_wide_shared>();
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < SQ_WIDE_STAGES; stage++) {
            sq_barrier_init(shared.full(stage), 1);
            sq_barrier_init(shared.empty(stage), 8);
        }
        for (int column = 0; column < SQ_WIDE_COLUMNS; column++) {
            sq_barrier_init(shared.columns_full(column), 2);
            sq_barrier_init(shared.columns_empty(column), 8);
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
            sq_wide_fill_keys<T, IS_PAIRED>(maps, c, shared);
        else if (warp == 2)
            sq_wide_fill_skip<IS_PAIRED>(c, shared);
        else if (threadIdx.x % SQ_WARPGROUP == 0)
            sq_wide_copy<IS_PAIRED>(maps, c, shared);
    } else {
        sq_claim_registers<SQ_GRADS_CONSUMER_REGISTERS>();
        if (role < 4)
            sq_wide_queries<T, IS_PAIRED>(maps, c, shared);
        else
            sq_wide_keys<T, IS_PAIRED>(maps, c, shared);
    }
#endif
}

#endif
