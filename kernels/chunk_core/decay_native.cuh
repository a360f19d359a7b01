/* decay_native: the chunkwise form of the recurrence on Hopper's tensor cores (wgmma, operands T of
 * 16 bits, f32 sums), tiles by TMA. The mathematics is that of decay_mma.cuh; the plan and what it
 * should cost is in docs/kernels/recurrence.md.
 *
 * A warpgroup owns 64 columns of one state, transposed: S^T (64 x KEYS) in f32 in its registers, for
 * a whole sequence or segment. Per chunk of 64 steps (i, j: steps; v: columns; n: keys):
 *
 *   scores (i, j)  = Q K^T            Q, K in shared memory
 *   O^T (v, i)     = S^T Q^T          S^T rounded to T, from registers: S never leaves them
 *   P (i, j)       = scores 2^(c_i - c_j) w_j, j <= i; through shared memory
 *   O^T (v, i)     = diag(2^c_i) O^T + skip V^T + V^T P^T      V^T from registers
 *   S^T (v, n)     = 2^c_last S^T + (V o 2^(c_last - c_j) w_j)^T K
 *
 * GROUPS such warpgroups make a block: neighbouring heads that share Q and K, or neighbouring
 * columns of one head; so they share the tiles of Q and K. One more warpgroup makes a stage (a chunk's
 * Q, K, V and gates): its first warp starts the copies, the others fill the gates. It hands most of
 * its registers to the consumers.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_CUH

#include "kernels/chunk_core/decay_native_stages.cuh"
#include "kernels/chunk_core/decay_native_tiles.cuh"

/* --- the consumers: a warpgroup each --- */

/* Starts the scores Q K^T of a stage: all, or a warpgroup's part of them. */
template <typename T, int KEYS>
__device__ __forceinline__ void sq_native_start_scores(uint32_t q, uint32_t k, int part,
                                                       float (&score)[32])
{
    const uint64_t queries = sq_wgmma_rows(q), keys = sq_wgmma_rows(k);
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
        sq_wgmma_64<T>(score, queries + sq_wgmma_rows_step(n), keys + sq_wgmma_rows_step(n), n > 0);
    }
}

template <typename T, int KEYS>
__device__ __forceinline__ void sq_native_start_scores(uint32_t q, uint32_t k, int part,
                                                       float (&score)[16])
{
    const uint64_t queries = sq_wgmma_rows(q), keys = sq_wgmma_every_other_rows(k, part);
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
        sq_wgmma_32<T>(score, queries + sq_wgmma_rows_step(n), keys + sq_wgmma_rows_step(n), n > 0);
    }
}

/* What a chunk's first products need of the state and the stage: S rounded (128 keys; with 256 there
 * are no registers for all of it), S decayed, and the weighed values. */
template <typename T, int KEYS>
struct sq_native_ready {
    static constexpr int steps = KEYS / 16, batch = KEYS == 128 ? steps : 2;
    uint32_t seen[KEYS == 128 ? 1 : 2][batch][4];
    uint32_t weighed[4][4];

    __device__ __forceinline__ void weigh(const sq_chunk_gates *gates, sq_native_lane at,
                                          uint32_t tile)
    {
        uint32_t v[4][4];
        sq_native_load_values(tile, at, v);
        sq_native_weigh<T>(gates->key, at, v, weighed);
    }

    /* Starts O^T = S^T Q^T. With 256 keys two steps at a time, the next two rounded while they run. */
    __device__ __forceinline__ void query(const sq_native_state<T, KEYS> &state, uint32_t q,
                                          float (&out)[32])
    {
        const uint64_t queries = sq_wgmma_rows(q);
#pragma unroll
        for (int first = 0; first < steps; first += batch) {
            uint32_t(&now)[batch][4] = seen[batch < steps ? first / batch % 2 : 0];
            if constexpr (batch < steps) {
                if (first >= 2 * batch) {
                    sq_wgmma_wait<1>();
                    sq_wgmma_pin(now);
                }
                state.round(first, now);
            }
            sq_wgmma_pin(now);
            sq_wgmma_fence();
#pragma unroll
            for (int n = 0; n < batch; n++) {
                sq_wgmma_64<T>(out, now[n], queries + sq_wgmma_rows_step(first + n), first + n > 0);
            }
            sq_wgmma_commit();
        }
    }
};

/* One thread of a group: O's tile is free once O of the chunk before has left it; z comes there. */
template <int KEYS, int GROUPS>
__device__ __forceinline__ void
sq_native_free_out(const sq_native_maps &maps, const sq_native_shared<KEYS, GROUPS, false> &shared,
                   const sq_decay_unit &u, int group, bool has_z, int first)
{
    sq_tma_wait_read();
    if (!has_z)
        return;
    sq_barrier_expect(shared.z(group), SQ_TMA_TILE_BYTES);
    sq_tma_load(shared.o(group), &maps.z, u.column, u.head, first, u.batch, shared.z(group));
    sq_barrier_arrive(shared.z(group));
}

/* Starts O^T = diag(row) O^T + skip V^T + V^T P^T. */
template <typename T>
__device__ __forceinline__ void sq_native_add_values(const sq_chunk_gates *gates, uint32_t values,
                                                     uint32_t scores, sq_native_lane at,
                                                     float2 skip, float (&out)[32])
{
    uint32_t v[4][4];
    sq_native_load_values(values, at, v);
    sq_native_scale_out<T>(gates, at, v, skip, out);
    sq_wgmma_pin(out);
    sq_wgmma_pin(v);
    sq_wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sq_wgmma_64<T>(out, v[j], sq_wgmma_rows(scores) + sq_wgmma_rows_step(j), 1);
    }
}

/* Writes O of a chunk, gated by z. */
template <typename T, int KEYS, int GROUPS>
__device__ __forceinline__ void
sq_native_put_out(const sq_native_maps &maps, const sq_native_shared<KEYS, GROUPS, false> &shared,
                  const sq_decay_unit &u, int group, bool has_z, int chunk, sq_native_lane at,
                  float (&out)[32])
{
    if (has_z)
        sq_barrier_wait(shared.z(group), chunk & 1);
    sq_native_store_out<T>(shared.o(group), has_z, at, out);
    sq_async_fence();
    sq_named_sync(1 + group, SQ_WARPGROUP); /* O is there, P is free */
    if (threadIdx.x % SQ_WARPGROUP == 0)
        sq_tma_store(&maps.o, u.column, u.head, u.first + chunk * SQ_CHUNK, u.batch,
                     shared.o(group));
}

/* A warp, once what it started has read the tiles: they may be filled anew. */
__device__ __forceinline__ void sq_native_release(uint32_t empty)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        sq_barrier_arrive(empty);
}

/* A chunk's products, in the order in which the tensor cores get them: O^T = S^T Q^T, the update of
 * S, O^T += V^T P^T, the next chunk's scores. So they have work while a warp makes P (under the first
 * two) and stores O (under the last). */
template <typename T, int KEYS, int GROUPS, bool IS_STATE_ONLY>
__device__ __forceinline__ void
sq_native_consume(const sq_native_maps &maps, const sq_decay_params &p,
                  const sq_native_shared<KEYS, GROUPS, IS_STATE_ONLY> &shared,
                  const sq_decay_unit &block, int heads)
{
    using shape = sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>;
    sq_chain_wait(); /* for the states of segments; the producer reads the call's inputs alone */
    const sq_native_lane at = sq_native_lane_of();
    const int group = __shfl_sync(0xffffffffu, (int)threadIdx.x / SQ_WARPGROUP, 0);
    const int set = heads > 1 ? group : 0; /* of gates */
    const bool is_first = threadIdx.x % SQ_WARPGROUP == 0, has_z = p.z.data != nullptr;
    const sq_decay_unit u = sq_native_unit_of(block, heads, group);
    const int column = u.column + 16 * at.warp + at.g;
    const float2 skip =
        make_float2(column < p.values ? sq_decay_skip(p, u.head, column) : 0.0f,
                    column + 8 < p.values ? sq_decay_skip(p, u.head, column + 8) : 0.0f);
    sq_native_state<T, KEYS> state = {};
    const sq_decay_matrix from = sq_decay_state_before(p, u);
    if (!IS_STATE_ONLY && from.data)
        state.each(p, u.column, at, [&](int row, int column, float *sum) {
            *sum = sq_decay_row(from, u.batch, u.head, row)[column];
        });

    constexpr int sharers = shape::sharers;
    /* Before the wait for the next stage, not after the next scores have begun: with two stages only
     * one would be on its way else. */
    constexpr bool releases_early = IS_STATE_ONLY || KEYS > 128;
    float score[32 / sharers];
    sq_native_ready<T, KEYS> ready;
    int stage = 0;
    uint32_t phase = 0;
    float left = 0.0f; /* log2 of what the chunks leave of the state before them */
    auto prepare = [&](int stage, bool exists) {
        if constexpr (KEYS == 128) {
            const sq_chunk_gates *gates = shared.gates(stage, set);
            ready.weigh(gates, at, shared.v(stage, group));
            if constexpr (!IS_STATE_ONLY) {
                state.round(0, ready.seen[0]);
            }
            state.decay(exists ? gates->decay : 1.0f);
            state.pin();
            sq_wgmma_pin(ready.weighed);
        }
    };
    auto store_scores = [&](int stage, int chunk) {
        sq_wgmma_pin(score);
        sq_native_store_scores<T, sharers>(shared.p(sharers > 1 ? chunk % 2 : group),
                                           shared.gates(stage, set), at, sharers > 1 ? group : 0,
                                           score);
        sq_async_fence();
    };
    sq_barrier_wait(shared.full(0), 0);
    if constexpr (!IS_STATE_ONLY) {
        sq_wgmma_fence();
        sq_native_start_scores<T, KEYS>(shared.q(0), shared.k(0), group, score);
        sq_wgmma_commit();
    }
    prepare(0, true);
    sq_wgmma_wait<0>();
    if constexpr (!IS_STATE_ONLY && sharers > 1) {
        store_scores(0, 0);
    }
    for (int first = u.first, chunk = 0; first < u.last; first += SQ_CHUNK, chunk++) {
        const sq_chunk_gates *gates = shared.gates(stage, set);
        const int next = stage + 1 == shape::stages ? 0 : stage + 1;
        const uint32_t next_phase = next == 0 ? phase ^ 1 : phase;
        const bool has_next = first + SQ_CHUNK < u.last;
        float out[32];
        if constexpr (!IS_STATE_ONLY) {
            ready.query(state, shared.q(stage), out);
        }
        if constexpr (KEYS != 128) {
            ready.weigh(gates, at, shared.v(stage, group));
            state.decay(gates->decay);
        }
        state.pin();
        sq_wgmma_pin(ready.weighed);
        sq_wgmma_fence();
        state.update(ready.weighed, shared.k(stage));
        sq_wgmma_commit();
        if constexpr (!IS_STATE_ONLY) {
            if (is_first)
                sq_native_free_out(maps, shared, u, group, has_z, first);
            __syncwarp();
            if constexpr (sharers == 1) {
                store_scores(stage, chunk);
            }
            if (sharers > 1) /* P is there, O's tile is free */
                sq_named_sync(1 + GROUPS, SQ_WARPGROUP * GROUPS);
            else
                sq_named_sync(1 + group, SQ_WARPGROUP);
            sq_wgmma_wait<1>();
            sq_wgmma_pin(out);
            if constexpr (shape::frees_queries) {
                sq_native_release(shared.queries_empty(stage));
            }
            sq_native_add_values<T>(gates, shared.v(stage, group),
                                    shared.p(sharers > 1 ? chunk % 2 : group), at, skip, out);
            sq_wgmma_commit();
        } else {
            left += gates->left;
        }
        if constexpr (releases_early) {
            sq_wgmma_wait<IS_STATE_ONLY ? 0 : 1>();
            sq_wgmma_pin(ready.weighed);
            sq_native_release(shared.empty(stage));
        }
        if (has_next)
            sq_barrier_wait(shared.full(next), next_phase);
        if constexpr (!IS_STATE_ONLY) {
            sq_wgmma_pin(score);
            sq_wgmma_fence();
            sq_native_start_scores<T, KEYS>(shared.q(next), shared.k(next), group, score);
            sq_wgmma_commit();
            sq_wgmma_wait<1>();
            sq_wgmma_pin(out);
        }
        state.pin();
        if constexpr (!releases_early) {
            sq_native_release(shared.empty(stage));
        }
        if constexpr (!IS_STATE_ONLY) {
            sq_native_put_out<T>(maps, shared, u, group, has_z, chunk, at, out);
        }
        prepare(next, has_next);
        sq_wgmma_wait<0>();
        if constexpr (!IS_STATE_ONLY && sharers > 1) {
            store_scores(next, chunk + 1);
        }
        stage = next;
        phase = next_phase;
    }

    if (IS_STATE_ONLY && is_first)
        p.decay[sq_decay_segment_index(p, u, u.segment)] = left;
    const sq_decay_matrix to = sq_decay_state_after(p, u, IS_STATE_ONLY);
    if (to.data)
        state.each(p, u.column, at, [&](int row, int column, float *sum) {
            sq_decay_row(to, u.batch, u.head, row)[column] = *sum;
        });
    if (is_first)
        sq_tma_wait_read();
}

/* --- the kernel --- */

template <typename T, int KEYS, int GROUPS, bool IS_STATE_ONLY>
static __global__ void
    __launch_bounds__((sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>::threads),
                      (sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>::blocks_per_sm))
        sq_native_kernel(const __grid_constant__ sq_native_maps maps,
                         const __grid_constant__ sq_decay_params p, int heads, int merged)
{
#if SQ_HAS_WGMMA
    using shape = sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>;
    sq_chain_begin_next();
    const auto shared = sq_tma_shared<sq_native_shared<KEYS, GROUPS, IS_STATE_ONLY>>();
    const sq_decay_unit u =
        sq_native_locate(p, SQ_TMA_SIDE * GROUPS / heads, heads, IS_STATE_ONLY ? 1 : merged);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < shape::stages; stage++) {
            sq_barrier_init(shared.full(stage), heads > 1 ? 1 + GROUPS : 2);
            sq_barrier_init(shared.empty(stage), 4 * GROUPS);
            if (shape::frees_queries)
                sq_barrier_init(shared.queries_empty(stage), 4 * GROUPS);
        }
        for (int group = 0; group < GROUPS; group++) {
            sq_barrier_init(shared.z(group), 1);
        }
        sq_barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x >= SQ_WARPGROUP * GROUPS) {
        sq_release_registers<shape::producer_registers>();
        sq_native_produce<T>(maps, p, shared, u, heads);
    } else {
        sq_claim_registers<shape::consumer_registers>();
        sq_native_consume<T>(maps, p, shared, u, heads);
    }
#endif
}

#endif
