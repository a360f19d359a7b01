/* decay_native_stages: of decay_native.cuh what lies where in shared memory, which part of the problem
 * a block has, and the warpgroup that fills the stages.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_STAGES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_STAGES_CUH

#include "kernels/chunk_core/decay_native_parts.cuh"

/* IS_STATE_ONLY: without Q, P and O, whose place more stages have. */
template <int KEYS, int GROUPS, bool IS_STATE_ONLY>
struct sq_native_shape {
    static constexpr int key_tiles = KEYS / SQ_TMA_SIDE;
    static constexpr int query_tiles = IS_STATE_ONLY ? 0 : key_tiles;
    static constexpr int stages = IS_STATE_ONLY ? 4 : KEYS == 128 && GROUPS == 2 ? 3 : 2;
    static constexpr int stage_tiles = query_tiles + key_tiles + GROUPS;
    static constexpr int tiles = stages * stage_tiles + (IS_STATE_ONLY ? 0 : 2 * GROUPS);
    /* With 256 keys there is no room for a third stage: instead the next but one chunk's Q comes as
     * soon as the first products have read this one's. */
    static constexpr bool frees_queries = KEYS > 128 && !IS_STATE_ONLY;
    static constexpr int gate_warps = stages < 3 ? stages : 3;
    static constexpr int gates_bytes = (int)sizeof(sq_chunk_gates) * stages * GROUPS;
    /* Warpgroups that make P together, for they have a head in common: one of two P is then the
     * chunk's, the other the next one's. */
    static constexpr int sharers = KEYS == 128 ? 1 : 2;
    static constexpr int barriers = (frees_queries ? 3 : 2) * stages + GROUPS;
    static constexpr int shared_bytes =
        1024 + tiles * SQ_TMA_TILE_BYTES + gates_bytes + 8 * barriers;
    static constexpr int threads = SQ_WARPGROUP * (GROUPS + 1);
    static constexpr int blocks_per_sm = GROUPS == 1 ? 2 : 1;
    /* A thread's: of a consumer, of the producer; the sum over the block's warpgroups is what it
     * starts with, 65536 / blocks_per_sm / threads rounded down to 8, times their number. */
    static constexpr int consumer_registers = GROUPS == 1 ? 208 : 224;
    static constexpr int producer_registers = GROUPS == 1 ? 48 : 56;
};

/* Shared memory: the stages' tiles (q, k, v), then of each group P and O, then gates, barriers. */
template <int KEYS, int GROUPS, bool IS_STATE_ONLY>
struct sq_native_shared {
    using shape = sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>;
    unsigned char *memory; /* a multiple of 1024 */
    uint32_t base;         /* the same as a shared address */

    __device__ uint32_t tile(int i) const { return base + i * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t q(int stage) const { return tile(stage * shape::stage_tiles); }
    __device__ uint32_t k(int stage) const
    {
        return tile(stage * shape::stage_tiles + shape::query_tiles);
    }
    __device__ uint32_t v(int stage, int group) const
    {
        return k(stage) + (shape::key_tiles + group) * SQ_TMA_TILE_BYTES;
    }
    __device__ uint32_t p(int group) const
    {
        return tile(shape::stages * shape::stage_tiles + group);
    }
    __device__ uint32_t o(int group) const { return p(group) + GROUPS * SQ_TMA_TILE_BYTES; }
    __device__ sq_chunk_gates *gates(int stage, int group) const
    {
        unsigned char *first = memory + shape::tiles * SQ_TMA_TILE_BYTES;
        return (sq_chunk_gates *)first + stage * GROUPS + group;
    }
    __device__ uint32_t barrier(int i) const
    {
        return tile(shape::tiles) + shape::gates_bytes + 8 * i;
    }
    __device__ uint32_t full(int stage) const { return barrier(stage); }
    __device__ uint32_t empty(int stage) const { return barrier(shape::stages + stage); }
    __device__ uint32_t z(int group) const { return barrier(2 * shape::stages + group); }
    __device__ uint32_t queries_empty(int stage) const { return z(GROUPS) + 8 * stage; }
};

/* A block's: of the main pass `merged` segments, the last one of what is left. */
__device__ __forceinline__ sq_decay_unit sq_native_locate(const sq_decay_params &p, int columns,
                                                          int heads, int merged)
{
    sq_decay_unit u = sq_decay_locate(p, columns, heads);
    u.segment *= merged;
    u.first = u.segment * p.segment_length;
    u.last = min(u.first + merged * p.segment_length, p.length);
    return u;
}

/* --- the producer --- */

/* One thread. Q is not read where only states are wanted. */
template <int KEYS, int GROUPS, bool IS_STATE_ONLY>
__device__ __forceinline__ void
sq_native_copy(const sq_native_maps &maps, const sq_decay_params &p,
               const sq_native_shared<KEYS, GROUPS, IS_STATE_ONLY> &shared, const sq_decay_unit &u,
               int heads)
{
    using shape = sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>;
    const int group_of_keys = u.head / p.heads_per_group;
    for (int first = u.first, chunk = 0; first < u.last; first += SQ_CHUNK, chunk++) {
        const int stage = chunk % shape::stages, parity = (chunk / shape::stages & 1) ^ 1;
        const uint32_t full = shared.full(stage);
        auto load_keys = [&](uint32_t tiles, const CUtensorMap *map) {
#pragma unroll
            for (int i = 0; i < shape::key_tiles; i++) {
                sq_tma_load(tiles + i * SQ_TMA_TILE_BYTES, map, i * SQ_TMA_SIDE, group_of_keys,
                            first, u.batch, full);
            }
        };
        sq_barrier_wait(shape::frees_queries ? shared.queries_empty(stage) : shared.empty(stage),
                        parity);
        if (!IS_STATE_ONLY) {
            sq_barrier_expect(full, shape::query_tiles * SQ_TMA_TILE_BYTES);
            load_keys(shared.q(stage), &maps.q);
        }
        if (shape::frees_queries)
            sq_barrier_wait(shared.empty(stage), parity);
        sq_barrier_expect(full, (shape::key_tiles + GROUPS) * SQ_TMA_TILE_BYTES);
        load_keys(shared.k(stage), &maps.k);
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            const sq_decay_unit own = sq_native_unit_of(u, heads, g);
            sq_tma_load(shared.v(stage, g), &maps.v, own.column, own.head, first, u.batch, full);
        }
        sq_barrier_arrive(full);
    }
}

template <typename T, int KEYS, int GROUPS, bool IS_STATE_ONLY>
__device__ __forceinline__ void
sq_native_produce(const sq_native_maps &maps, const sq_decay_params &p,
                  const sq_native_shared<KEYS, GROUPS, IS_STATE_ONLY> &shared,
                  const sq_decay_unit &u, int heads)
{
    using shape = sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>;
    const int worker = (int)threadIdx.x / 32 % 4 - 1;
    if (worker < 0) {
        if (threadIdx.x % 32 == 0)
            sq_native_copy(maps, p, shared, u, heads);
    } else if (worker < shape::gate_warps) {
        sq_native_fill_gates<T, shape::stages, shape::gate_warps>(
            p, shared, u, heads, (u.last - u.first + SQ_CHUNK - 1) / SQ_CHUNK, worker,
            [&](int chunk) { return u.first + chunk * SQ_CHUNK; });
    }
}

#endif
