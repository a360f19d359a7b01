/* decay_native_states: for the backward pass on Hopper, the states S before all chunks and the
 * gradients G of the states after them, as decay_tile_states.cuh makes them, by the means of
 * decay_native.cuh: a warpgroup owns 64 columns of one matrix, transposed, in f32 in its registers,
 * and walks over the chunks,
 *
 *   S: from the first on,   S^T = decay S^T + (V o key)^T K
 *   G: from the last on,    G^T = decay G^T + (dO o row)^T Q
 *
 * and writes it, rounded, before each update; not the first if it is 0, which readers know. Of a span of
 * chunks S before the first and G after the last are enough for some readers. One launch makes both:
 * half of the blocks each.
 * In memory a matrix is transposed too: (spans B H, values, keys).
 *
 * Where states are few the chunks are cut into segments, of each walk in its own order. A first launch
 * takes the states from 0 through all segments but the last run's and writes nothing else, a chain adds
 * them up, and then a block for each run of `merged` segments walks from the state before it.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_STATES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_STATES_CUH

#include "kernels/chunk_core/decay_native_parts.cuh"

/* Of one direction. left: K or Q, right: V or dO, to: the matrices. */
typedef struct {
    CUtensorMap left, right, to;
} sq_states_maps;

typedef struct {
    sq_states_maps forward, reverse;
} sq_states_all_maps;

template <int KEYS, int GROUPS>
struct sq_states_shape {
    static constexpr int key_tiles = KEYS / SQ_TMA_SIDE;
    static constexpr int stages = 3;
    static constexpr int stage_tiles = key_tiles + GROUPS;
    static constexpr int tiles = stages * stage_tiles + GROUPS * key_tiles;
    static constexpr int gates_bytes = (int)sizeof(sq_chunk_gates) * stages * GROUPS;
    static constexpr int barriers = 2 * stages;
    static constexpr int shared_bytes =
        1024 + tiles * SQ_TMA_TILE_BYTES + gates_bytes + 8 * barriers;
    static constexpr int threads = SQ_WARPGROUP * (GROUPS + 1);
    static constexpr int blocks_per_sm = GROUPS == 1 ? 2 : 1;
    static constexpr int consumer_registers = GROUPS == 1 ? 200 : 224, producer_registers = 56;
};

/* Shared memory: the stages' tiles (left, right), the rounded matrices, gates, barriers. */
template <int KEYS, int GROUPS>
struct sq_states_shared {
    using shape = sq_states_shape<KEYS, GROUPS>;
    unsigned char *memory;
    uint32_t base;

    __device__ uint32_t tile(int i) const { return base + i * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t left(int stage) const { return tile(stage * shape::stage_tiles); }
    __device__ uint32_t right(int stage, int group) const
    {
        return tile(stage * shape::stage_tiles + shape::key_tiles + group);
    }
    __device__ uint32_t rounded(int group) const
    {
        return tile(shape::stages * shape::stage_tiles + group * shape::key_tiles);
    }
    __device__ sq_chunk_gates *gates(int stage, int set) const
    {
        unsigned char *first = memory + shape::tiles * SQ_TMA_TILE_BYTES;
        return (sq_chunk_gates *)first + stage * GROUPS + set;
    }
    __device__ uint32_t full(int stage) const
    {
        return tile(shape::tiles) + shape::gates_bytes + 8 * stage;
    }
    __device__ uint32_t empty(int stage) const { return full(stage) + 8 * shape::stages; }
};

/* Both walks, forward first: their segments, and where the states go that they end with. merged: 0
 * where a block makes the state of a segment and nothing else. span: 1 or 2 chunks. */
typedef struct {
    sq_decay_walks from;
    sq_decay_matrix to[2];
    int merged, span;
} sq_states_plan;

/* What a block works on; chunks are counted in the order of the walk, `first` is its own first of
 * `all`. segment: with which the block begins. updates: one for each chunk, but for the last ones if
 * nobody wants what comes after them. */
typedef struct {
    sq_decay_unit u;
    int heads, segment, first, chunks, all, updates, span;
    bool is_reverse, is_state_only;
} sq_states_block;

__device__ __forceinline__ int sq_states_chunk(const sq_states_block &block, int i)
{
    return block.is_reverse ? block.all - 1 - block.first - i : block.first + i;
}

/* Does the walk write what it has when it comes to its i-th chunk? A last span may be one chunk. */
__device__ __forceinline__ bool sq_states_is_written(const sq_states_block &block, int i)
{
    const int chunk = sq_states_chunk(block, i);
    const bool is_second = (chunk & (block.span - 1)) > 0;
    if (!block.is_reverse)
        return !is_second;
    return is_second || block.span == 1 || chunk + 1 == block.all;
}

/* The grid's segments are runs or segments, of both walks in turn. */
__device__ __forceinline__ sq_states_block sq_states_block_of(const sq_decay_params &p,
                                                              const sq_states_plan &plan,
                                                              int columns, int heads)
{
    const int per_segment = p.segment_length / SQ_CHUNK;
    sq_states_block block;
    block.u = sq_decay_locate(p, columns, heads);
    block.heads = heads;
    block.is_reverse = block.u.segment % 2 > 0;
    block.is_state_only = plan.merged == 0;
    block.segment = block.u.segment / 2 * max(plan.merged, 1);
    block.first = block.segment * per_segment;
    block.all = (p.length + SQ_CHUNK - 1) / SQ_CHUNK;
    block.chunks = min(max(plan.merged, 1) * per_segment, block.all - block.first);
    const bool is_last = block.segment + 1 == p.segments;
    const bool has_end = is_last && plan.to[block.is_reverse].data;
    block.span = plan.span;
    block.updates = block.chunks;
    if (!block.is_state_only && !has_end)
        block.updates =
            max(block.chunks - (sq_states_is_written(block, block.chunks - 1) ? 1 : 2), 0);
    return block;
}

/* What a block starts from; data is NULL: from 0. */
__device__ __forceinline__ sq_decay_matrix sq_states_before(const sq_decay_params &p,
                                                            const sq_states_plan &plan,
                                                            const sq_states_block &block)
{
    const sq_decay_walk &walk = plan.from.walk[block.is_reverse];
    if (block.is_state_only)
        return {nullptr, 0, 0, 0};
    return block.segment > 0 ? sq_decay_states_at(p, walk.state, block.segment - 1) : walk.from;
}

/* Where it leaves its state; data is NULL: nowhere. */
__device__ __forceinline__ sq_decay_matrix sq_states_after(const sq_decay_params &p,
                                                           const sq_states_plan &plan,
                                                           const sq_states_block &block)
{
    if (block.is_state_only)
        return sq_decay_states_at(p, plan.from.walk[block.is_reverse].state, block.segment);
    return block.segment + 1 == p.segments ? plan.to[block.is_reverse]
                                           : sq_decay_matrix{nullptr, 0, 0, 0};
}

template <int KEYS, int GROUPS>
__device__ __forceinline__ void sq_states_copy(const sq_states_maps &maps, const sq_decay_params &p,
                                               const sq_states_shared<KEYS, GROUPS> &shared,
                                               const sq_states_block &block)
{
    using shape = sq_states_shape<KEYS, GROUPS>;
    const sq_decay_unit &u = block.u;
    if (block.is_reverse && p.z.data) /* then dO is of the chain; all else is the call's inputs */
        sq_chain_wait();
    for (int i = 0; i < block.updates; i++) {
        const int stage = i % shape::stages, round = i / shape::stages;
        const int first = sq_states_chunk(block, i) * SQ_CHUNK;
        const uint32_t full = shared.full(stage);
        sq_barrier_wait(shared.empty(stage), (round & 1) ^ 1);
        sq_barrier_expect(full, shape::stage_tiles * SQ_TMA_TILE_BYTES);
#pragma unroll
        for (int n = 0; n < shape::key_tiles; n++) {
            sq_tma_load(shared.left(stage) + n * SQ_TMA_TILE_BYTES, &maps.left, n * SQ_TMA_SIDE,
                        u.head / p.heads_per_group, first, u.batch, full);
        }
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            const sq_decay_unit own = sq_native_unit_of(u, block.heads, g);
            sq_tma_load(shared.right(stage, g), &maps.right, own.column, own.head, first, u.batch,
                        full);
        }
        sq_barrier_arrive(full);
    }
}

/* Writes the matrix, rounded, to its place; all threads of the group. */
template <typename T, int KEYS>
__device__ __forceinline__ void sq_states_store(const CUtensorMap *map, uint32_t rounded, int group,
                                                sq_native_lane at, int column, int unit,
                                                const sq_native_state<T, KEYS> &state)
{
    const bool is_first = threadIdx.x % SQ_WARPGROUP == 0;
    if (is_first)
        sq_tma_wait_read(); /* the one before */
    sq_named_sync(1 + group, SQ_WARPGROUP);
    state.store(rounded, at);
    sq_async_fence();
    sq_named_sync(1 + group, SQ_WARPGROUP);
    if (is_first) {
#pragma unroll
        for (int n = 0; n < KEYS / SQ_TMA_SIDE; n++) {
            sq_tma_store(map, n * SQ_TMA_SIDE, 0, column, unit, rounded + n * SQ_TMA_TILE_BYTES);
        }
    }
}

template <typename T, int KEYS, int GROUPS>
__device__ __forceinline__ void
sq_states_consume(const sq_states_maps &maps, const sq_decay_params &p, const sq_states_plan &plan,
                  const sq_states_shared<KEYS, GROUPS> &shared, const sq_states_block &block)
{
    using shape = sq_states_shape<KEYS, GROUPS>;
    sq_chain_wait(); /* for the states of segments */
    const sq_native_lane at = sq_native_lane_of();
    const int group = __shfl_sync(0xffffffffu, (int)threadIdx.x / SQ_WARPGROUP, 0);
    const int set = block.heads > 1 ? group : 0;
    const sq_decay_unit u = sq_native_unit_of(block.u, block.heads, group);
    sq_native_state<T, KEYS> state = {};
    const sq_decay_matrix from = sq_states_before(p, plan, block);
    const int stored = block.is_state_only ? block.chunks : from.data ? 0 : 1; /* from which on */
    float left = 0.0f; /* log2 of what the chunks leave of the state before them */
    if (from.data)
        state.each(p, u.column, at, [&](int row, int column, float *sum) {
            *sum = sq_decay_row(from, u.batch, u.head, row)[column];
        });
    for (int i = 0; i < block.chunks; i++) {
        const int stage = i % shape::stages, chunk = sq_states_chunk(block, i);
        const sq_chunk_gates *gates = shared.gates(stage, set);
        uint32_t v[4][4], weighed[4][4];
        if (i >= stored && sq_states_is_written(block, i))
            sq_states_store<T, KEYS>(
                &maps.to, shared.rounded(group), group, at, u.column,
                ((chunk >> (block.span - 1)) * p.batch + u.batch) * p.heads + u.head, state);
        if (i == block.updates)
            break;
        sq_barrier_wait(shared.full(stage), i / shape::stages & 1);
        sq_native_load_values(shared.right(stage, group), at, v);
        sq_native_weigh<T>(block.is_reverse ? gates->row : gates->key, at, v, weighed);
        state.decay(gates->decay);
        left += gates->left;
        state.pin();
        sq_wgmma_pin(weighed);
        sq_wgmma_fence();
        state.update(weighed, shared.left(stage));
        sq_wgmma_commit();
        sq_wgmma_wait<0>();
        state.pin();
        __syncwarp();
        if (threadIdx.x % 32 == 0)
            sq_barrier_arrive(shared.empty(stage));
    }
    if (block.is_state_only && threadIdx.x % SQ_WARPGROUP == 0)
        plan.from.walk[block.is_reverse].decay[sq_decay_segment_index(p, u, block.segment)] = left;
    const sq_decay_matrix to = sq_states_after(p, plan, block);
    if (to.data)
        state.each(p, u.column, at, [&](int row, int column, float *sum) {
            sq_decay_row(to, u.batch, u.head, row)[column] = *sum;
        });
    if (threadIdx.x % SQ_WARPGROUP == 0)
        sq_tma_wait_read();
}

template <typename T, int KEYS, int GROUPS>
static __global__ void __launch_bounds__((sq_states_shape<KEYS, GROUPS>::threads),
                                         (sq_states_shape<KEYS, GROUPS>::blocks_per_sm))
    sq_states_kernel(const __grid_constant__ sq_states_all_maps maps,
                     const __grid_constant__ sq_decay_params p,
                     const __grid_constant__ sq_states_plan plan, int heads)
{
#if SQ_HAS_WGMMA
    using shape = sq_states_shape<KEYS, GROUPS>;
    sq_chain_begin_next();
    const auto shared = sq_tma_shared<sq_states_shared<KEYS, GROUPS>>();
    const sq_states_block block = sq_states_block_of(p, plan, SQ_TMA_SIDE * GROUPS / heads, heads);
    const sq_states_maps &own = block.is_reverse ? maps.reverse : maps.forward;
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < shape::stages; stage++) {
            sq_barrier_init(shared.full(stage), heads > 1 ? 1 + GROUPS : 2);
            sq_barrier_init(shared.empty(stage), 4 * GROUPS);
        }
        sq_barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x >= SQ_WARPGROUP * GROUPS) {
        sq_release_registers<shape::producer_registers>();
        const int worker = (int)threadIdx.x / 32 % 4 - 1;
        if (worker >= 0)
            sq_native_fill_gates<T, shape::stages, shape::stages>(
                p, shared, block.u, heads, block.updates, worker,
                [&](int i) { return sq_states_chunk(block, i) * SQ_CHUNK; });
        else if (threadIdx.x % 32 == 0)
            sq_states_copy<KEYS, GROUPS>(own, p, shared, block);
    } else {
        sq_claim_registers<shape::consumer_registers>();
        sq_states_consume<T, KEYS, GROUPS>(own, p, plan, shared, block);
    }
#endif
}

#endif
