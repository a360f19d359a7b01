/* decay_native_walk: the kernel of decay_native_bwd.cuh for heads that have queries and keys of their
 * own (dq and dk are no sums over heads), up to 128 keys and 64 values (nor over columns of these). A
 * block walks over the chunks of a head, from the last to the first, with G in the registers of the
 * warpgroup of queries,
 *
 *   G^T = decay G^T + (dO o row)^T Q
 *
 * so that G is neither written to memory nor read. For the warpgroup of keys, and for <G, S>, each
 * chunk's G is rounded into shared memory: one chunk ahead, into two buffers in turn.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WALK_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WALK_CUH

#include "kernels/chunk_core/decay_native_bwd.cuh"

enum {
    SQ_WALK_STAGE_TILES = 8,
    SQ_WALK_GRADIENTS = 2, /* of this and the next step; two tiles each */
    SQ_WALK_FIRST_GRADIENT = SQ_GRADS_STAGES * SQ_WALK_STAGE_TILES
};

static_assert(SQ_WALK_FIRST_GRADIENT + 2 * SQ_WALK_GRADIENTS + 5 == SQ_GRADS_TILES,
              "dv, dq and dk, and what follows the tiles, lie where they lie for sq_grads_kernel");

typedef struct {
    sq_grads_small common;
    uint64_t gradient_full[SQ_WALK_GRADIENTS], gradient_empty[SQ_WALK_GRADIENTS];
} sq_walk_small;

constexpr int sq_walk_shared_bytes =
    1024 + SQ_GRADS_TILES * SQ_TMA_TILE_BYTES + (int)sizeof(sq_walk_small);

/* Calls f(step, number of the step) for the block's steps. Neighbouring blocks walk over
 * neighbouring heads at the same time: those lie side by side in memory. The last heads come first:
 * what the states' kernel has read and written last, their last chunks, is in L2 still. */
template <typename F>
__device__ __forceinline__ void sq_walk_each(const sq_decay_tiled &c, F f)
{
    int n = 0;
    for (int unit = c.p.batch * c.p.heads - 1 - (int)blockIdx.x; unit >= 0;
         unit -= (int)gridDim.x) {
        const int batch = unit / c.p.heads, head = unit % c.p.heads;
        for (int chunk = c.chunks - 1; chunk >= 0; chunk--) {
            f(sq_grads_step{batch, head, chunk, 0, head, 0, true, true, true, true}, n++);
        }
    }
}

/* Shared memory: of each stage Q, K, S^T (two tiles each), V, dO; G^T of two steps; dv; dq; dk; the
 * rest. */
struct sq_walk_shared : sq_grads_shared {
    static constexpr bool has_sums = false;

    __device__ uint32_t in(int stage, int i) const { return tile(stage * SQ_WALK_STAGE_TILES + i); }
    __device__ uint32_t q(int stage) const { return in(stage, 0); }
    __device__ uint32_t k(int stage) const { return in(stage, 2); }
    __device__ uint32_t before(int stage) const { return in(stage, 4); }
    __device__ uint32_t after(int stage) const = delete;
    __device__ uint32_t v(int stage) const { return in(stage, 6); }
    __device__ uint32_t d_o(int stage) const { return in(stage, 7); }
    __device__ sq_walk_small *all() const { return (sq_walk_small *)small(); }
    __device__ uint32_t gradient_full(int n) const
    {
        return sq_shared_address(&all()->gradient_full[n % SQ_WALK_GRADIENTS]);
    }
    __device__ uint32_t gradient_empty(int n) const
    {
        return sq_shared_address(&all()->gradient_empty[n % SQ_WALK_GRADIENTS]);
    }

    template <typename F>
    __device__ __forceinline__ void each(const sq_decay_tiled &c, F f) const
    {
        sq_walk_each(c, f);
    }
    __device__ uint32_t gradient(int n) const
    {
        return tile(SQ_WALK_FIRST_GRADIENT + n % SQ_WALK_GRADIENTS * 2);
    }
    /* The keys, before products with it: G of step n is there. */
    __device__ void wait_gradient(int n) const
    {
        sq_barrier_wait(gradient_full(n), n / SQ_WALK_GRADIENTS & 1);
        sq_wgmma_fence();
    }
    /* A warp of the keys, in step: it has read it. */
    __device__ void release_gradient(int n) const
    {
        if (threadIdx.x % 32 == 0)
            sq_barrier_arrive(gradient_empty(n));
    }
};

/* --- the producer --- */

/* Nobody reads a head's Q, K and S again, nor soon what leaves: V and dO alone stay in L2 beside what the
 * states' kernel has left there. */
__device__ __forceinline__ void sq_walk_copy(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                             const sq_walk_shared &shared)
{
    sq_grads_begin_copy(maps, c);
    shared.each(c, [&](const sq_grads_step &s, int n) {
        const int stage = n % SQ_GRADS_STAGES, round = n / SQ_GRADS_STAGES;
        const int first = s.chunk * SQ_CHUNK, before = sq_grads_matrices_of(c, s).before;
        const uint32_t full = shared.full(stage);
        sq_barrier_wait(shared.empty(stage), (round & 1) ^ 1);
        sq_barrier_expect(full, SQ_WALK_STAGE_TILES * SQ_TMA_TILE_BYTES);
        sq_tma_load(shared.v(stage), &maps.v, 0, s.head, first, s.batch, full);
        sq_tma_load(shared.d_o(stage), &maps.d_o, 0, s.head, first, s.batch, full);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int to = i * SQ_TMA_TILE_BYTES, x = i * SQ_TMA_SIDE;
            sq_tma_load_once(shared.q(stage) + to, &maps.q, x, s.group, first, s.batch, full);
            sq_tma_load_once(shared.k(stage) + to, &maps.k, x, s.group, first, s.batch, full);
        }
        if (n == 0)
            sq_chain_wait();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int to = i * SQ_TMA_TILE_BYTES, x = i * SQ_TMA_SIDE;
            sq_tma_load_once(shared.before(stage) + to, &maps.before, x, 0, 0, before, full);
        }
        sq_barrier_arrive(full);
    });
}

/* --- the warpgroup of queries --- */

/* Calls f(address of the element, sum) for the elements of G that exist, in `matrix`. By running
 * addresses, made where they are used: this is done once for many chunks. */
template <typename F>
__device__ __forceinline__ void
sq_walk_each_sum(const sq_decay_params &p, const sq_decay_matrix &matrix, const sq_grads_step &s,
                 sq_native_lane at, sq_grads_sum &gradient, F f)
{
    const int column = 16 * at.warp + at.g;
    int row = 2 * at.q;
    int64_t stride = matrix.row;
    /* Keeps addresses from being made before the walk. */
    asm volatile("" : "+r"(row), "+l"(stride));
    float *own = sq_decay_row(matrix, s.batch, s.head, 0) + row * stride + column;
#pragma unroll
    for (int n = 0; n < SQ_GRADS_KEYS / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if (row + e % 2 < p.keys && column + e / 2 * 8 < p.values)
                f(own + e % 2 * stride + e / 2 * 8, &gradient.sum[0][4 * n + e]);
        }
        own += 8 * stride;
        row += 8;
    }
}

/* G after the last chunk. */
__device__ __forceinline__ void sq_walk_begin(const sq_decay_tiled &c, const sq_grads_step &s,
                                              sq_native_lane at, sq_grads_sum &gradient)
{
    gradient = {};
    if (c.g.d_final.data)
        sq_walk_each_sum(c.p, c.g.d_final, s, at, gradient,
                         [](const float *from, float *sum) { *sum = *from; });
}

/* G before the first chunk, where it is wanted. */
__device__ __forceinline__ void sq_walk_end(const sq_decay_tiled &c, const sq_grads_step &s,
                                            sq_native_lane at, sq_grads_sum &gradient)
{
    if (c.g.d_initial.data)
        sq_walk_each_sum(c.p, c.g.d_initial, s, at, gradient,
                         [](float *to, const float *sum) { *to = *sum; });
}

/* Rounds G of step n into its place, once the keys have read what was there. */
__device__ __forceinline__ void sq_walk_hand(const sq_walk_shared &shared, int n, sq_native_lane at,
                                             const sq_grads_sum &gradient)
{
    sq_barrier_wait(shared.gradient_empty(n), (n / SQ_WALK_GRADIENTS & 1) ^ 1);
    gradient.store(shared.gradient(n), at);
    sq_async_fence();
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        sq_barrier_arrive(shared.gradient_full(n));
}

/* To dot[r], of the thread's two rows: its share of do . (Q S). */
template <typename T>
__device__ __forceinline__ void sq_walk_dot_queries(uint32_t tile, sq_native_lane at,
                                                    const float (&seen)[32], float (&dot)[2])
{
    uint32_t d_o[4][4];
    sq_grads_load_rows(tile, at, d_o);
    sq_grads_dot_rows<T>(d_o, seen, dot);
}

/* Keeps bits in their register: the compiler would make a predicate, and a register, of each. */
__device__ __forceinline__ void sq_walk_keep(uint32_t &bits)
{
    asm volatile("" : "+r"(bits));
}

/* The rest of what the warpgroup adds up for the gates in step n. */
__device__ __forceinline__ void sq_walk_end_sums(const sq_walk_shared &shared, int n,
                                                 const sq_chunk_gates *gates, sq_native_lane at,
                                                 const float (&factor)[2], float (&query)[2],
                                                 float dot, float skip)
{
    const int row = 16 * at.warp + at.g;
    sq_grads_sums *sums = &shared.small()->sums[n % SQ_GRADS_SUMS];
    sq_grads_sum_lanes(query);
    if (at.q == 0) {
        sums->queries[row] = factor[0] * query[0];
        sums->queries[row + 8] = factor[1] * query[1];
    }
    sums->dots[threadIdx.x] = dot;
    sums->skips[threadIdx.x] = skip;
    if (threadIdx.x == 0)
        sums->decay = gates->decay;
    sq_grads_hand_sums(shared, n);
}

/* dq, G, the pairs' and the queries' parts of d(ln a), dskip. G takes 64 registers all the time, so
 * that dO S^T and Q S begin when the pairs have been summed. */
template <typename T>
__device__ __forceinline__ void sq_walk_queries(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                                const sq_walk_shared &shared)
{
    const sq_native_lane at = sq_native_uniform_lane();
    sq_grads_small *small = shared.small();
    sq_grads_sum gradient = {};
    uint32_t before_now = sq_grads_seen_of(at, false);
    sq_walk_keep(before_now);
    shared.each(c, [&](const sq_grads_step &s, int n) {
        const int stage = n % SQ_GRADS_STAGES, row = 16 * at.warp + at.g;
        const sq_chunk_gates *gates = &small->gates[n % SQ_GRADS_GATES];
        float dp[32], score[32], skip = 0.0f, dot = 0.0f, query[2] = {0.0f, 0.0f};
        uint32_t d_o[4][4], weighed[4][4], w[4][4];
        sq_grads_sum dq;
        if (s.chunk + 1 == c.chunks) {
            sq_walk_begin(c, s, at, gradient);
            sq_walk_hand(shared, n, at, gradient);
        }
        sq_grads_wait(shared, n);
        sq_wgmma_fence();
        sq_grads_start_rows<T, 4>(shared.d_o(stage), shared.v(stage), false, dp);
        sq_grads_start_rows<T, 8>(shared.q(stage), shared.k(stage), false, score);
        sq_wgmma_commit();
        sq_native_load_values(shared.d_o(stage), at, d_o);
        sq_native_weigh<T>(gates->row, at, d_o, weighed);
        gradient.decay(gates->decay);
        gradient.pin();
        sq_wgmma_pin(weighed);
        sq_wgmma_fence();
        gradient.update(weighed, shared.q(stage));
        sq_wgmma_commit();
        if (c.d_log)
            dot = sq_grads_dot_tiles<T>(shared.before(stage), shared.gradient(n), at);
        if (c.p.skip && c.skip_values > 1)
            sq_grads_skip_sums<T>(c, s, shared.memory + (shared.d_o(stage) - shared.base),
                                  shared.memory + (shared.v(stage) - shared.base),
                                  small->skip_sums);
        sq_wgmma_wait<1>();
        sq_wgmma_pin(dp);
        sq_wgmma_pin(score);
        if (c.p.skip && c.skip_values == 1)
            skip = sq_grads_skip_of(dp, at);
        uint32_t own = sq_grads_seen_in<false>(c.p, gates, at, before_now);
        sq_walk_keep(own);
        sq_grads_weigh_queries<T, true>(gates, at, own, score, dp, w);
        if (c.d_log)
            sq_grads_sum_pairs<true>(dp, at, before_now, sq_grads_begin_sums(shared, n));
        sq_wgmma_wait<0>();
        gradient.pin();
        sq_wgmma_pin(weighed);
        const float factor[2] = {gates->row[row], gates->row[row + 8]};
        float seen[32];
        dq.pin();
        sq_wgmma_fence();
        sq_grads_start_sum<T>(shared.d_o(stage), shared.before(stage), dq);
        sq_wgmma_commit();
        sq_grads_start_rows<T, 8>(shared.q(stage), shared.before(stage), false, seen);
        sq_wgmma_commit();
        if (s.chunk > 0)
            sq_walk_hand(shared, n + 1, at, gradient);
        sq_wgmma_wait<1>();
        dq.pin();
        sq_grads_scale_rows(factor, dq);
        dq.pin();
        sq_wgmma_pin(w);
        sq_wgmma_fence();
        dq.update(w, shared.k(stage));
        sq_wgmma_commit();
        sq_wgmma_wait<1>();
        sq_wgmma_pin(seen);
        if (c.d_log) {
            sq_walk_dot_queries<T>(shared.d_o(stage), at, seen, query);
            sq_walk_end_sums(shared, n, gates, at, factor, query, dot, skip);
        }
        sq_wgmma_wait<0>();
        dq.pin();
        sq_wgmma_pin(w);
        sq_grads_release(shared, n);
        sq_grads_flush<T, false>(c, s, &maps.d_q, c.d_q, shared.d_q(), 0, SQ_GRADS_QUERIES, at, dq);
        if (s.chunk == 0)
            sq_walk_end(c, s, at, gradient);
    });
    if (threadIdx.x % SQ_WARPGROUP == 0)
        sq_tma_wait_read();
}

/* --- the kernel --- */

/* maps.after is not used. c: splits and value_tiles are 1. */
template <typename T>
static __global__ void __launch_bounds__(SQ_GRADS_THREADS, 1)
    sq_walk_kernel(const __grid_constant__ sq_grads_maps maps,
                   const __grid_constant__ sq_decay_tiled c)
{
#if SQ_HAS_WGMMA
    sq_chain_begin_next();
    const sq_walk_shared shared = sq_tma_shared<sq_walk_shared>();
    if (threadIdx.x == 0) {
        sq_grads_init_barriers(shared);
        for (int n = 0; n < SQ_WALK_GRADIENTS; n++) {
            sq_barrier_init(shared.gradient_full(n), 4);
            sq_barrier_init(shared.gradient_empty(n), 4);
        }
        sq_barrier_init_fence();
    }
    __syncthreads();
    sq_grads_play<T>(
        maps, c, shared, [&] { sq_walk_copy(maps, c, shared); },
        [&] { sq_walk_queries<T>(maps, c, shared); });
#endif
}

#endif
