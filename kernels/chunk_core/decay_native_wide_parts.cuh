/* decay_native_wide_parts: shared memory and the producer of decay_native_wide.cuh, and what its two
 * consumers have in common.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_PARTS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_PARTS_CUH

#include "kernels/chunk_core/decay_native_bwd.cuh"

enum {
    SQ_WIDE_HALVES = 2, /* of the keys: 128 each */
    SQ_WIDE_STAGES = 3, /* of states */
    SQ_WIDE_KEY_TILES = 4,
    SQ_WIDE_COLUMNS = 2, /* stages of values */
    SQ_WIDE_COLUMN_TILES = 3,
    SQ_WIDE_FIRST_COLUMN = SQ_WIDE_STAGES * SQ_WIDE_KEY_TILES,
    SQ_WIDE_FIRST_KEY = SQ_WIDE_FIRST_COLUMN + SQ_WIDE_COLUMNS * SQ_WIDE_COLUMN_TILES,
    SQ_WIDE_TILES = SQ_WIDE_FIRST_KEY + 2 * SQ_WIDE_KEY_TILES + 1,
    SQ_WIDE_BOTH = 3, /* named barriers, beside those of decay_native_grads.cuh */
    SQ_WIDE_HANDED = 4
};

/* Of the pair's other chunk: if that is the second, row, if it is the first, key; 2^c_last. */
typedef struct __align__(16)
{
    float factor[SQ_CHUNK], decay;
}
sq_wide_other;

/* totals[warp][j]: the sum over the warp's i of N_ij. */
typedef struct __align__(16)
{
    sq_chunk_gates gates;
    sq_wide_other other;
    sq_grads_sums sums;
    float totals[4][SQ_CHUNK];
    float skip[SQ_WIDE_COLUMNS][SQ_TMA_SIDE], skip_sums[4][SQ_TMA_SIDE];
    uint64_t full[SQ_WIDE_STAGES], empty[SQ_WIDE_STAGES];
    uint64_t columns_full[SQ_WIDE_COLUMNS], columns_empty[SQ_WIDE_COLUMNS];
    uint64_t keys_full, keys_empty;
}
sq_wide_small;

constexpr int sq_wide_shared_bytes =
    1024 + SQ_WIDE_TILES * SQ_TMA_TILE_BYTES + (int)sizeof(sq_wide_small);

/* Where a role stands in a ring of stages. */
template <int STAGES>
struct sq_wide_ring {
    int stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void step()
    {
        stage = stage + 1 < STAGES ? stage + 1 : 0;
        parity ^= stage == 0;
    }
};

typedef sq_wide_ring<SQ_WIDE_STAGES> sq_wide_states;
typedef sq_wide_ring<SQ_WIDE_COLUMNS> sq_wide_columns;

/* Shared memory: of each stage of states S^T, G^T (two tiles each), or Q or K of the pair's other chunk;
 * of each stage of values V, dO, and of the other chunk dO or V; Q; K; dv, or W; the rest. */
struct sq_wide_shared {
    unsigned char *memory;
    uint32_t base;

    __device__ uint32_t tile(int i) const { return base + i * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t other_keys(int stage) const { return tile(stage * SQ_WIDE_KEY_TILES); }
    __device__ uint32_t before(int stage) const { return other_keys(stage); }
    __device__ uint32_t after(int stage) const { return before(stage) + 2 * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t v(int column) const
    {
        return tile(SQ_WIDE_FIRST_COLUMN + column * SQ_WIDE_COLUMN_TILES);
    }
    __device__ uint32_t d_o(int column) const { return v(column) + SQ_TMA_TILE_BYTES; }
    __device__ uint32_t other_values(int column) const { return v(column) + 2 * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t q() const { return tile(SQ_WIDE_FIRST_KEY); }
    __device__ uint32_t k() const { return tile(SQ_WIDE_FIRST_KEY + SQ_WIDE_KEY_TILES); }
    __device__ uint32_t d_v() const { return tile(SQ_WIDE_TILES - 1); }
    __device__ unsigned char *at(uint32_t address) const { return memory + (address - base); }
    __device__ sq_wide_small *small() const
    {
        return (sq_wide_small *)(memory + SQ_WIDE_TILES * SQ_TMA_TILE_BYTES);
    }
    __device__ uint32_t full(int stage) const { return sq_shared_address(&small()->full[stage]); }
    __device__ uint32_t empty(int stage) const { return sq_shared_address(&small()->empty[stage]); }
    __device__ uint32_t columns_full(int column) const
    {
        return sq_shared_address(&small()->columns_full[column]);
    }
    __device__ uint32_t columns_empty(int column) const
    {
        return sq_shared_address(&small()->columns_empty[column]);
    }
    __device__ uint32_t keys_full() const { return sq_shared_address(&small()->keys_full); }
    __device__ uint32_t keys_empty() const { return sq_shared_address(&small()->keys_empty); }
};

/* --- the walk --- */

/* Is the step's chunk the second of its pair? */
__device__ __forceinline__ bool sq_wide_is_second(const sq_grads_step &s)
{
    return s.chunk % 2 > 0;
}

/* Calls f(step) for the block's steps. Of pairs of chunks two neighbouring blocks have one chunk each, at
 * the same time, so that one of them finds S and G in L2; from head to head in turn the first and
 * the second, for the last pair may have no second. */
template <bool IS_PAIRED, typename F>
__device__ __forceinline__ void sq_wide_each(const sq_decay_tiled &c, F f)
{
    if constexpr (IS_PAIRED) {
        const int block = (int)blockIdx.x / 2, blocks = (int)gridDim.x / 2;
        sq_grads_each_of(c, (c.chunks + 1) / 2, block, blocks, [&](sq_grads_step s, int) {
            const int first = (int)blockIdx.x + s.batch * c.p.heads + s.head;
            s.chunk = 2 * s.chunk + first % 2;
            if (s.chunk < c.chunks)
                f(s);
        });
    } else {
        sq_grads_each(c, [&](const sq_grads_step &s, int) { f(s); });
    }
}

/* --- the producer --- */

/* Q of the pair's second chunk, or K of its first, in a stage of states. */
__device__ __forceinline__ void sq_wide_copy_other(const sq_grads_maps &maps,
                                                   const sq_grads_step &s,
                                                   const sq_wide_shared &shared,
                                                   sq_wide_states &states)
{
    const bool is_second = sq_wide_is_second(s);
    const int first = (s.chunk + (is_second ? -1 : 1)) * SQ_CHUNK;
    const CUtensorMap *map = is_second ? &maps.k : &maps.q;
    const uint32_t full = shared.full(states.stage);
    sq_barrier_wait(shared.empty(states.stage), states.parity ^ 1);
    sq_barrier_expect(full, SQ_WIDE_KEY_TILES * SQ_TMA_TILE_BYTES);
#pragma unroll
    for (int i = 0; i < SQ_WIDE_KEY_TILES; i++) {
        sq_tma_load(shared.other_keys(states.stage) + i * SQ_TMA_TILE_BYTES, map, i * SQ_TMA_SIDE,
                    s.group, first, s.batch, full);
    }
    sq_barrier_arrive(full);
    states.step();
}

/* V, dO, and of the pair's other chunk dO or V: past the end of the sequence zeros. */
template <bool IS_PAIRED>
__device__ __forceinline__ void
sq_wide_copy_values(const sq_grads_maps &maps, const sq_grads_step &s, const sq_wide_shared &shared,
                    sq_wide_columns &columns)
{
    const bool is_second = sq_wide_is_second(s);
    const int stage = columns.stage, first = s.chunk * SQ_CHUNK;
    const uint32_t full = shared.columns_full(stage);
    sq_barrier_wait(shared.columns_empty(stage), columns.parity ^ 1);
    sq_barrier_expect(full, (IS_PAIRED ? 3 : 2) * SQ_TMA_TILE_BYTES);
    sq_tma_load(shared.v(stage), &maps.v, s.column, s.head, first, s.batch, full);
    sq_tma_load(shared.d_o(stage), &maps.d_o, s.column, s.head, first, s.batch, full);
    if (IS_PAIRED)
        sq_tma_load(shared.other_values(stage), is_second ? &maps.v : &maps.d_o, s.column, s.head,
                    first + (is_second ? -SQ_CHUNK : SQ_CHUNK), s.batch, full);
    sq_barrier_arrive(full);
    columns.step();
}

/* One thread: the stages. Of an item, in this order: a first chunk's Q of the second; of each 64
 * columns the values, the states of each half of the keys; of the other chunk Q or K. All that read
 * the stages go through them in that order, what they have no use for too. */
template <bool IS_PAIRED>
__device__ __forceinline__ void sq_wide_copy(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                             const sq_wide_shared &shared)
{
    sq_wide_states states;
    sq_wide_columns columns;
    bool has_waited = false;
    sq_grads_begin_copy(maps, c);
    sq_wide_each<IS_PAIRED>(c, [&](const sq_grads_step &s) {
        const sq_grads_matrices m = sq_grads_matrices_of(c, s, IS_PAIRED ? 2 : 1);
        if (IS_PAIRED && s.is_first_tile && !sq_wide_is_second(s))
            sq_wide_copy_other(maps, s, shared, states);
        sq_wide_copy_values<IS_PAIRED>(maps, s, shared, columns);
        if (!has_waited)
            sq_chain_wait();
        has_waited = true;
#pragma unroll 1
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            const int stage = states.stage;
            const uint32_t full = shared.full(stage);
            sq_barrier_wait(shared.empty(stage), states.parity ^ 1);
            sq_barrier_expect(full, SQ_WIDE_KEY_TILES * SQ_TMA_TILE_BYTES);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int to = i * SQ_TMA_TILE_BYTES, x = (2 * half + i) * SQ_TMA_SIDE;
                sq_tma_load(shared.before(stage) + to, &maps.before, x, 0, s.column, m.before,
                            full);
                sq_tma_load(shared.after(stage) + to, &maps.after, x, 0, s.column, m.after, full);
            }
            sq_barrier_arrive(full);
            states.step();
        }
        if (IS_PAIRED && s.is_last_tile)
            sq_wide_copy_other(maps, s, shared, states);
    });
}

/* One warp: the factors of the pair's other chunk. Decays are constant. */
__device__ __forceinline__ void sq_wide_fill_other(const sq_decay_params &p,
                                                   const sq_decay_head &head,
                                                   const sq_grads_step &s, sq_wide_other *other)
{
    const bool is_second = sq_wide_is_second(s);
    const int lane = (int)threadIdx.x % 32, next = (s.chunk + 1) * SQ_CHUNK;
    const int steps = is_second ? SQ_CHUNK : min(max(p.length - next, 0), (int)SQ_CHUNK);
#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int i = 2 * lane + e, decays = is_second ? SQ_CHUNK - 1 - i : min(i + 1, steps);
        const float scale =
            is_second ? 1.0f : sq_decay_output_scale(p, head, s.batch, s.head, next + i);
        other->factor[i] = scale * sq_exp2((float)decays * head.rate);
    }
    if (lane == 0)
        other->decay = sq_exp2((float)steps * head.rate);
}

/* One warp: Q, K and the gates of each item. */
template <typename T, bool IS_PAIRED>
__device__ __forceinline__ void
sq_wide_fill_keys(const sq_grads_maps &maps, const sq_decay_tiled &c, const sq_wide_shared &shared)
{
    const bool is_first = threadIdx.x % 32 == 0;
    const uint32_t full = shared.keys_full();
    uint32_t parity = 1;
    sq_wide_each<IS_PAIRED>(c, [&](const sq_grads_step &s) {
        if (!s.is_first_tile)
            return;
        const int first = s.chunk * SQ_CHUNK;
        const sq_decay_unit u = {0, s.batch, s.head, 0, 0, c.p.length};
        const float2 dt = sq_chunk_load_dt<T>(c.p, u, first);
        const sq_decay_head head = sq_decay_load_head(c.p, s.head);
        sq_barrier_wait(shared.keys_empty(), parity);
        parity ^= 1;
        if (is_first) {
            sq_barrier_expect(full, 2 * SQ_WIDE_KEY_TILES * SQ_TMA_TILE_BYTES);
#pragma unroll
            for (int i = 0; i < SQ_WIDE_KEY_TILES; i++) {
                const int to = i * SQ_TMA_TILE_BYTES, x = i * SQ_TMA_SIDE;
                sq_tma_load(shared.q() + to, &maps.q, x, s.group, first, s.batch, full);
                sq_tma_load(shared.k() + to, &maps.k, x, s.group, first, s.batch, full);
            }
        }
        __syncwarp();
        sq_chunk_fill_gates<double>(c.p, u, head, dt, first, &shared.small()->gates);
        if (IS_PAIRED)
            sq_wide_fill_other(c.p, head, s, &shared.small()->other);
        __syncwarp();
        if (is_first)
            sq_barrier_arrive(full);
    });
}

/* One warp: `skip` of each stage's columns. */
template <bool IS_PAIRED>
__device__ __forceinline__ void sq_wide_fill_skip(const sq_decay_tiled &c,
                                                  const sq_wide_shared &shared)
{
    const int lane = (int)threadIdx.x % 32;
    sq_wide_columns columns;
    sq_wide_each<IS_PAIRED>(c, [&](const sq_grads_step &s) {
        const float2 skip = sq_grads_load_skip(c.p, s);
        float *own = shared.small()->skip[columns.stage];
        sq_barrier_wait(shared.columns_empty(columns.stage), columns.parity ^ 1);
        own[lane] = skip.x;
        own[lane + 32] = skip.y;
        __syncwarp();
        if (lane == 0)
            sq_barrier_arrive(shared.columns_full(columns.stage));
        columns.step();
    });
}

/* --- the consumers --- */

/* All of a warp have read the stage. */
__device__ __forceinline__ void sq_wide_release(uint32_t empty)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        sq_barrier_arrive(empty);
}

__device__ __forceinline__ void sq_wide_wait(const sq_wide_shared &shared,
                                             const sq_wide_states &states)
{
    sq_barrier_wait(shared.full(states.stage), states.parity);
}

__device__ __forceinline__ void sq_wide_leave(const sq_wide_shared &shared, sq_wide_states &states)
{
    sq_wide_release(shared.empty(states.stage));
    states.step();
}

__device__ __forceinline__ void sq_wide_wait(const sq_wide_shared &shared,
                                             const sq_wide_columns &columns)
{
    sq_barrier_wait(shared.columns_full(columns.stage), columns.parity);
}

__device__ __forceinline__ void sq_wide_leave(const sq_wide_shared &shared,
                                              sq_wide_columns &columns)
{
    sq_wide_release(shared.columns_empty(columns.stage));
    columns.step();
}

/* The queries hand W to the keys, once dv has left its tile and W before this one is read; what the
 * queries wrote for the keys before is there, too. */
__device__ __forceinline__ void sq_wide_hand(const sq_wide_shared &shared, sq_native_lane at,
                                             const uint32_t (&w)[4][4])
{
    sq_roles_sync(SQ_WIDE_BOTH, 2 * SQ_WARPGROUP);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sq_stmatrix(sq_address_a<8>(shared.d_v(), 16 * at.warp, 16 * k), w[k]);
    }
    sq_async_fence(); /* their own products read it, too */
    sq_roles_sync(SQ_WIDE_HANDED, 2 * SQ_WARPGROUP);
}

/* x o row o column of each (row, column), rounded; factors by row and by column. */
template <typename T>
__device__ __forceinline__ void sq_wide_weigh_across(const float *rows, const float *columns,
                                                     sq_native_lane at, const float (&x)[32],
                                                     uint32_t (&w)[4][4])
{
    const int row = 16 * at.warp + at.g;
    const float factor[2] = {rows[row], rows[row + 8]};
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const float2 column = *(const float2 *)&columns[8 * n + 2 * at.q];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float *pair = &x[4 * n + 2 * r];
            w[n / 2][n % 2 * 2 + r] =
                sq_pack2<T>(pair[0] * factor[r] * column.x, pair[1] * factor[r] * column.y);
        }
    }
}

/* sum o factor of the row o the factor of all. */
__device__ __forceinline__ void sq_wide_scale_rows(const float *rows, float all, sq_native_lane at,
                                                   sq_grads_sum (&sum)[SQ_WIDE_HALVES])
{
    const int row = 16 * at.warp + at.g;
    const float factor[2] = {rows[row] * all, rows[row + 8] * all};
#pragma unroll
    for (int half = 0; half < SQ_WIDE_HALVES; half++) {
        sq_grads_scale_rows(factor, sum[half]);
    }
}

/* sum += A B over 64 steps, of both halves of the keys; waits. */
template <typename T>
__device__ __forceinline__ void sq_wide_add_pairs(uint32_t (&w)[4][4], uint32_t tiles,
                                                  sq_grads_sum (&sum)[SQ_WIDE_HALVES])
{
    sum[0].pin();
    sum[1].pin();
    sq_wgmma_pin(w);
    sq_wgmma_fence();
    sum[0].update(w, tiles);
    sum[1].update(w, tiles + 2 * SQ_TMA_TILE_BYTES);
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sum[0].pin();
    sum[1].pin();
}

/* The same with A in a tile, by rows: for sums that leave no registers for it. */
template <typename T>
__device__ __forceinline__ void sq_wide_add_handed(uint32_t w, uint32_t tiles,
                                                   sq_grads_sum (&sum)[SQ_WIDE_HALVES])
{
    sum[0].pin();
    sum[1].pin();
    sq_wgmma_fence();
    sq_grads_start_sum<T>(w, tiles, sum[0], true);
    sq_grads_start_sum<T>(w, tiles + 2 * SQ_TMA_TILE_BYTES, sum[1], true);
    sq_wgmma_commit();
    sq_wgmma_wait<0>();
    sum[0].pin();
    sum[1].pin();
}

/* dq or dk of an item, by way of the tiles that Q or K leaves; then the next Q and K may come. */
template <typename T>
__device__ __forceinline__ void
sq_wide_flush(const sq_decay_tiled &c, const sq_grads_step &s, const CUtensorMap *map, float *parts,
              const sq_wide_shared &shared, uint32_t tiles, int sync, sq_native_lane at,
              sq_grads_sum (&sum)[SQ_WIDE_HALVES])
{
#pragma unroll
    for (int half = 0; half < SQ_WIDE_HALVES; half++) {
        sq_grads_flush<T>(c, s, map, parts, tiles + 2 * half * SQ_TMA_TILE_BYTES,
                          half * SQ_GRADS_KEYS, sync, at, sum[half]);
    }
    sq_named_sync(sync, SQ_WARPGROUP);
    if (threadIdx.x % SQ_WARPGROUP == 0) {
        sq_tma_wait_read();
        sq_barrier_arrive(shared.keys_empty());
    }
}

#endif
