/* decay_native_sums: of the kernels of decay_native_bwd.cuh and decay_native_wide.cuh: what they add up
 * for the gradients of the gates and of `skip`.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_SUMS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_SUMS_CUH

#include "kernels/chunk_core/decay_native_grads.cuh"
#include "kernels/hw/reduce.cuh"

/* --- the gates' gradients --- */

/* The lane's half of 2 HALF numbers, each summed with those of the lane 2 HALF away. */
template <int HALF>
__device__ __forceinline__ void sq_grads_halve(float (&x)[16])
{
    const bool is_upper = ((int)threadIdx.x & 2 * HALF) != 0;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
        const float lower = x[i], upper = x[i + HALF];
        x[i] = (is_upper ? upper : lower) +
               __shfl_xor_sync(0xffffffffu, is_upper ? lower : upper, 2 * HALF);
    }
}

/* Sums of 16 numbers each over the eight lanes of the same q; the lane gets those of 2 g, 2 g + 1. */
__device__ __forceinline__ float2 sq_grads_scatter(float (&x)[16])
{
    sq_grads_halve<8>(x);
    sq_grads_halve<4>(x);
    sq_grads_halve<2>(x);
    return make_float2(x[0], x[1]);
}

/* later[warp][t]: the sum over the warp's i >= t of the sums over j < t of pairs (i, j). seen: of
 * sq_grads_seen_of, of t in the place of j. SKIPS: columns that the warp does not see are left out. */
template <bool SKIPS = false>
__device__ __forceinline__ void sq_grads_sum_pairs(const float (&pairs)[32], sq_native_lane at,
                                                   uint32_t seen, sq_grads_sums *sums)
{
    const float is_second = at.q & 1 ? 1.0f : 0.0f, is_upper = at.q & 2 ? 1.0f : 0.0f;
    float before[2] = {0.0f, 0.0f}, columns[16] = {};
#pragma unroll
    for (int n = 0; n < 8; n++) {
        if (SKIPS && n % 2 == 0 && n / 2 > at.warp)
            break;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int at = 4 * n + 2 * r;
            const float lo = pairs[at], own = lo + pairs[at + 1];
            const float next = __shfl_xor_sync(0xffffffffu, own, 1), two = own + next;
            const float others = __shfl_xor_sync(0xffffffffu, two, 2);
            const float sum = before[r] + is_second * next + is_upper * others;
            columns[2 * n] += seen >> at & 1 ? sum : 0.0f;
            columns[2 * n + 1] += seen >> (at + 1) & 1 ? sum + lo : 0.0f;
            before[r] += two + others;
        }
    }
    *(float2 *)&sums->later[at.warp][8 * at.g + 2 * at.q] = sq_grads_scatter(columns);
}

/* d(ln a) of the chunk's steps; one warp. */
__device__ __forceinline__ void sq_grads_store_log(const sq_grads_sums *sums, float *d_log)
{
    const int lane = (int)threadIdx.x % 32, t = 2 * lane;
    const float key[2] = {sums->keys[t], sums->keys[t + 1]};
    const float query[2] = {sums->queries[t], sums->queries[t + 1]};
    float keys = key[0] + key[1], queries = query[0] + query[1], whole = 0.0f;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const float left = __shfl_up_sync(0xffffffffu, keys, distance);
        const float right = __shfl_down_sync(0xffffffffu, queries, distance);
        keys += lane >= distance ? left : 0.0f;
        queries += lane + distance < 32 ? right : 0.0f;
    }
    const float before = __shfl_up_sync(0xffffffffu, keys, 1);
    const float after = __shfl_down_sync(0xffffffffu, queries, 1);
#pragma unroll
    for (int w = 0; w < 8; w++) {
        whole += sums->dots[32 * w + lane];
    }
    whole = sums->decay * sq_warp_sum<32>(whole);
    float from_keys = lane > 0 ? before : 0.0f;
    float from_queries = (lane < 31 ? after : 0.0f) + query[1];
    float d[2];
#pragma unroll
    for (int x = 0; x < 2; x++) {
        d[x] = whole + from_keys + from_queries + (x == 0 ? query[0] : 0.0f);
        from_keys += key[0];
#pragma unroll
        for (int w = 0; w < 4; w++) {
            d[x] += sums->later[w][t + x];
        }
    }
    *(float2 *)&d_log[t] = make_float2(d[0], d[1]);
}

/* Of a head's chunk in d_skip. */
__device__ __forceinline__ int64_t sq_grads_skip_row(const sq_decay_tiled &c,
                                                     const sq_grads_step &s)
{
    return (s.batch * (int64_t)c.chunks + s.chunk) * c.p.heads + s.head;
}

/* One warp: ends the sums of each head's chunk. */
template <typename SHARED>
__device__ __forceinline__ void sq_grads_end_sums(const sq_decay_tiled &c, const SHARED &shared)
{
    const int lane = (int)threadIdx.x % 32;
    int head = 0;
    shared.each(c, [&](const sq_grads_step &s, int) {
        if (!s.is_last_tile)
            return;
        const int set = head % SQ_GRADS_SUMS;
        const sq_grads_sums *sums = &shared.small()->sums[set];
        sq_barrier_wait(shared.sums_full(set), head / SQ_GRADS_SUMS & 1);
        sq_grads_store_log(sums, c.d_log + sq_tile_gate_index(c, 0, sq_grads_unit(c, s)));
        if (c.p.skip && c.skip_values == 1) {
            const float *skips = &sums->skips[lane];
            const float skip = sq_warp_sum<32>(skips[0] + skips[32] + skips[64] + skips[96]);
            if (lane == 0)
                c.d_skip[sq_grads_skip_row(c, s)] = skip;
        }
        __syncwarp();
        if (lane == 0)
            sq_barrier_arrive(shared.sums_empty(set));
        head++;
    });
}

/* The thread's share of the sum over a chunk's steps of do . v: the diagonal of dP. */
__device__ __forceinline__ float sq_grads_skip_of(const float (&dp)[32], sq_native_lane at)
{
    float even = 0.0f, odd = 0.0f;
#pragma unroll
    for (int warp = 0; warp < 4; warp++) {
        if (at.warp == warp) {
            even = dp[8 * warp] + dp[8 * warp + 6];
            odd = dp[8 * warp + 1] + dp[8 * warp + 7];
        }
    }
    return sq_grads_diagonal(at, even, odd);
}

/* Sums over the chunk of do o v by column, to d_skip; a warp takes 16 steps, a lane two columns. */
template <typename T>
__device__ __forceinline__ void sq_grads_skip_sums(const sq_decay_tiled &c, const sq_grads_step &s,
                                                   const unsigned char *d_o, const unsigned char *v,
                                                   float (*scratch)[SQ_TMA_SIDE])
{
    const int own = (int)threadIdx.x % SQ_WARPGROUP, lane = own % 32, warp = own / 32;
    float2 sum = {0.0f, 0.0f};
#pragma unroll 4
    for (int i = 16 * warp; i < 16 * warp + 16; i++) {
        const int at = sq_tile_offset<8>(i, lane / 4) + lane % 4 * 4;
        const float2 x = sq_unpack2<T>(*(const uint32_t *)(d_o + at));
        const float2 y = sq_unpack2<T>(*(const uint32_t *)(v + at));
        sum.x += x.x * y.x;
        sum.y += x.y * y.y;
    }
    sq_named_sync(SQ_GRADS_QUERIES, SQ_WARPGROUP); /* the sums before have been read */
    *(float2 *)&scratch[warp][2 * lane] = sum;
    sq_named_sync(SQ_GRADS_QUERIES, SQ_WARPGROUP);
    if (own >= SQ_TMA_SIDE || s.column + own >= c.p.values)
        return;
    c.d_skip[sq_grads_skip_row(c, s) * c.p.values + s.column + own] =
        scratch[0][own] + scratch[1][own] + scratch[2][own] + scratch[3][own];
}

#endif
