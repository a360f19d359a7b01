/* decay_native_grads: the gradients of q, k, v and of the gates' parts on Hopper, from the states
 * and gradients of decay_native_states.cuh. Names and formulas are those of decay_tiles.cuh and
 * decay_tile_keys.cuh; up to 128 keys.
 *
 * A block goes through (chunk, head, 64 value columns), a stage each, and sums dq and dk over the
 * heads of a group (or of a split of them) in registers. One warpgroup works with rows of queries:
 *
 *   W (i, j) = (dO V^T) e w            dq = (row o dO) S^T + W K            from_queries = row dO . (Q S)
 *
 * the other with rows of keys, so that neither hands the other a matrix:
 *
 *   P^T, W^T (j, i)    dv = key o (K G) + P^T dO + skip dO    dk = (key o V) G^T + W^T Q    dw, from_keys
 *
 * A third copies, makes the gates and ends the sums for d(ln a), so that the two need not wait for each
 * other.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_GRADS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_GRADS_CUH

#include "kernels/chunk_core/decay_native_parts.cuh"
#include "kernels/chunk_core/decay_tile_keys.cuh"

typedef struct {
    CUtensorMap q, k, v, d_o, before, after, d_q, d_k, d_v;
} sq_grads_maps;

/* What the warpgroups add up for d(ln a) of a head's chunk, and for its `skip`; dots, skips: of each
 * thread. */
typedef struct __align__(16)
{
    float later[4][SQ_CHUNK], queries[SQ_CHUNK], keys[SQ_CHUNK];
    float dots[2 * SQ_WARPGROUP], skips[SQ_WARPGROUP], decay;
}
sq_grads_sums;

enum {
    SQ_GRADS_KEYS = 128,
    SQ_GRADS_STAGES = 2,
    SQ_GRADS_MAKERS = 2, /* of gates; a divisor of their number */
    SQ_GRADS_GATES = 4,  /* made ahead of the stages, for they take as long as a step */
    SQ_GRADS_SUMS = 2,   /* of this and the next head */
    SQ_GRADS_STAGE_TILES = 10,
    SQ_GRADS_TILES = SQ_GRADS_STAGES * SQ_GRADS_STAGE_TILES + 5,
    SQ_GRADS_THREADS = 3 * SQ_WARPGROUP,
    SQ_GRADS_QUERIES = 1, /* named barriers of the warpgroups */
    SQ_GRADS_KEYS_SYNC = 2,
    SQ_GRADS_CONSUMER_REGISTERS = 232,
    SQ_GRADS_PRODUCER_REGISTERS = 40
};

typedef struct __align__(16)
{
    sq_chunk_gates gates[SQ_GRADS_GATES];
    sq_grads_sums sums[SQ_GRADS_SUMS];
    float skip[SQ_GRADS_GATES][SQ_TMA_SIDE], skip_sums[4][SQ_TMA_SIDE];
    uint64_t full[SQ_GRADS_STAGES], empty[SQ_GRADS_STAGES];
    uint64_t gates_full[SQ_GRADS_GATES], gates_empty[SQ_GRADS_GATES];
    uint64_t sums_full[SQ_GRADS_SUMS], sums_empty[SQ_GRADS_SUMS];
}
sq_grads_small;

constexpr int sq_grads_shared_bytes =
    1024 + SQ_GRADS_TILES * SQ_TMA_TILE_BYTES + (int)sizeof(sq_grads_small);

template <typename F>
__device__ __forceinline__ void sq_grads_each(const sq_decay_tiled &c, F f);

/* Shared memory: of each stage Q, K, S^T, G^T (two tiles each), V, dO; dv; dq; dk; the rest. Those who
 * read it know it by its type, which says how the block goes through its steps too: the other such
 * type is that of decay_native_walk.cuh. */
struct sq_grads_shared {
    static constexpr bool has_sums = true; /* of dq and dk over several steps or splits */

    unsigned char *memory;
    uint32_t base;

    __device__ uint32_t tile(int i) const { return base + i * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t in(int stage, int i) const
    {
        return tile(stage * SQ_GRADS_STAGE_TILES + i);
    }
    __device__ uint32_t q(int stage) const { return in(stage, 0); }
    __device__ uint32_t k(int stage) const { return in(stage, 2); }
    __device__ uint32_t before(int stage) const { return in(stage, 4); }
    __device__ uint32_t after(int stage) const { return in(stage, 6); }
    __device__ uint32_t v(int stage) const { return in(stage, 8); }
    __device__ uint32_t d_o(int stage) const { return in(stage, 9); }
    __device__ uint32_t d_v() const { return tile(SQ_GRADS_TILES - 5); }
    __device__ uint32_t d_q() const { return tile(SQ_GRADS_TILES - 4); }
    __device__ uint32_t d_k() const { return tile(SQ_GRADS_TILES - 2); }
    __device__ sq_grads_small *small() const
    {
        return (sq_grads_small *)(memory + SQ_GRADS_TILES * SQ_TMA_TILE_BYTES);
    }
    __device__ uint32_t full(int stage) const { return sq_shared_address(&small()->full[stage]); }
    __device__ uint32_t empty(int stage) const { return sq_shared_address(&small()->empty[stage]); }
    __device__ uint32_t gates_full(int set) const
    {
        return sq_shared_address(&small()->gates_full[set]);
    }
    __device__ uint32_t gates_empty(int set) const
    {
        return sq_shared_address(&small()->gates_empty[set]);
    }
    __device__ uint32_t sums_full(int set) const
    {
        return sq_shared_address(&small()->sums_full[set]);
    }
    __device__ uint32_t sums_empty(int set) const
    {
        return sq_shared_address(&small()->sums_empty[set]);
    }

    template <typename F>
    __device__ __forceinline__ void each(const sq_decay_tiled &c, F f) const
    {
        sq_grads_each(c, f);
    }
    /* G^T of step n, for the keys: here a part of the stage. */
    __device__ uint32_t gradient(int n) const { return after(n % SQ_GRADS_STAGES); }
    __device__ void wait_gradient(int) const {}
    __device__ void release_gradient(int) const {}
};

/* --- the walk --- */

typedef struct {
    int batch, group, chunk, split, head, column;
    bool is_first_head, is_last_head, is_first_tile, is_last_tile;
} sq_grads_step;

__device__ __forceinline__ sq_tile_unit sq_grads_unit(const sq_decay_tiled &c,
                                                      const sq_grads_step &s)
{
    return sq_tile_unit_of(c, s.chunk, s.batch, s.head);
}

/* Where a block's walk stands: counters that are carried on, for divisions take as long as a product. */
typedef struct {
    int split, chunk, group, batch, head, tile;
} sq_grads_place;

__device__ __forceinline__ sq_grads_place sq_grads_place_of(const sq_decay_tiled &c, int chunks,
                                                            int item)
{
    const int groups = c.p.heads / c.p.heads_per_group, both = item / c.splits / chunks;
    return {item % c.splits, item / c.splits % chunks, both % groups, both / groups, 0, 0};
}

/* The item after the place's. */
__device__ __forceinline__ sq_grads_place sq_grads_next_item(const sq_decay_tiled &c, int chunks,
                                                             int groups, sq_grads_place at)
{
    const int split = at.split + 1 < c.splits ? at.split + 1 : 0;
    const int chunk = split > 0 ? at.chunk : at.chunk + 1 < chunks ? at.chunk + 1 : 0;
    const bool is_next = split == 0 && chunk == 0;
    const int group = !is_next ? at.group : at.group + 1 < groups ? at.group + 1 : 0;
    return {split, chunk, group, at.batch + (is_next && group == 0), 0, 0};
}

/* Calls f(step, number of the step) for the steps of block `block` of `blocks`, where a head has
 * `chunks` chunks. */
template <typename F>
__device__ __forceinline__ void sq_grads_each_of(const sq_decay_tiled &c, int chunks, int block,
                                                 int blocks, F f)
{
    const int per_group = c.p.heads_per_group, groups = c.p.heads / per_group;
    const int per_split = (per_group + c.splits - 1) / c.splits;
    const int items = c.p.batch * groups * chunks * c.splits;
    const int end = (int)((int64_t)items * (block + 1) / blocks);
    int item = (int)((int64_t)items * block / blocks);
    sq_grads_place at = sq_grads_place_of(c, chunks, item);
    for (int n = 0; item < end; n++) {
        const int first = at.split * per_split, heads = min(per_split, per_group - first);
        const sq_grads_step s = {at.batch,
                                 at.group,
                                 at.chunk,
                                 at.split,
                                 at.group * per_group + first + at.head,
                                 at.tile * SQ_TMA_SIDE,
                                 at.head == 0,
                                 at.head + 1 == heads,
                                 at.tile == 0,
                                 at.tile + 1 == c.value_tiles};
        f(s, n);
        at.head += s.is_last_tile;
        at.tile = s.is_last_tile ? 0 : at.tile + 1;
        if (s.is_last_tile && s.is_last_head) {
            at = sq_grads_next_item(c, chunks, groups, at);
            item++;
        }
    }
}

/* The same for all of them: of this block. */
template <typename F>
__device__ __forceinline__ void sq_grads_each(const sq_decay_tiled &c, F f)
{
    sq_grads_each_of(c, c.chunks, (int)blockIdx.x, (int)gridDim.x, f);
}

/* Where S before a step's chunk lies, G after it: outside, where TMA reads zeros, if it is 0. span:
 * of so many chunks each, S before the first and G after the last. */
typedef struct {
    int before, after;
} sq_grads_matrices;

__device__ __forceinline__ sq_grads_matrices sq_grads_matrices_of(const sq_decay_tiled &c,
                                                                  const sq_grads_step &s,
                                                                  int span = 1)
{
    const int place = s.chunk / span, unit = (place * c.p.batch + s.batch) * c.p.heads + s.head;
    return {place > 0 || c.p.initial.data ? unit : -1,
            span * (place + 1) < c.chunks || c.g.d_final.data ? unit : -1};
}

/* --- the producer --- */

/* Before the first step. The thread that copies S waits for the kernel that made it, once the step's
 * other tiles, of the call's inputs, have been asked for: who has a stage has waited with it. */
__device__ __forceinline__ void sq_grads_begin_copy(const sq_grads_maps &maps,
                                                    const sq_decay_tiled &c)
{
    sq_tma_fetch_map(&maps.before);
    if (c.p.z.data) /* then dO is of the chain, too */
        sq_chain_wait();
}

/* An item's Q and K come with its first steps: each stage keeps them for the later ones. */
__device__ __forceinline__ void sq_grads_copy(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                              const sq_grads_shared &shared)
{
    int steps = 0; /* of the item */
    sq_grads_begin_copy(maps, c);
    sq_grads_each(c, [&](const sq_grads_step &s, int n) {
        const int stage = n % SQ_GRADS_STAGES, round = n / SQ_GRADS_STAGES;
        const int first = s.chunk * SQ_CHUNK;
        steps = s.is_first_head && s.is_first_tile ? 1 : steps + 1;
        const bool has_keys = steps > SQ_GRADS_STAGES;
        const sq_grads_matrices m = sq_grads_matrices_of(c, s);
        const uint32_t full = shared.full(stage);
        sq_barrier_wait(shared.empty(stage), (round & 1) ^ 1);
        sq_barrier_expect(full, (SQ_GRADS_STAGE_TILES - (has_keys ? 4 : 0)) * SQ_TMA_TILE_BYTES);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int to = i * SQ_TMA_TILE_BYTES, x = i * SQ_TMA_SIDE;
            if (!has_keys) {
                sq_tma_load(shared.q(stage) + to, &maps.q, x, s.group, first, s.batch, full);
                sq_tma_load(shared.k(stage) + to, &maps.k, x, s.group, first, s.batch, full);
            }
        }
        sq_tma_load(shared.v(stage), &maps.v, s.column, s.head, first, s.batch, full);
        sq_tma_load(shared.d_o(stage), &maps.d_o, s.column, s.head, first, s.batch, full);
        if (n == 0)
            sq_chain_wait();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int to = i * SQ_TMA_TILE_BYTES, x = i * SQ_TMA_SIDE;
            sq_tma_load(shared.before(stage) + to, &maps.before, x, 0, s.column, m.before, full);
            sq_tma_load(shared.after(stage) + to, &maps.after, x, 0, s.column, m.after, full);
        }
        sq_barrier_arrive(full);
    });
}

/* `skip` of the step's columns `lane` and 32 + lane; 0 past the last. */
__device__ __forceinline__ float2 sq_grads_load_skip(const sq_decay_params &p,
                                                     const sq_grads_step &s)
{
    const int column = s.column + (int)threadIdx.x % 32;
    return make_float2(column < p.values ? sq_decay_skip(p, s.head, column) : 0.0f,
                       column + 32 < p.values ? sq_decay_skip(p, s.head, column + 32) : 0.0f);
}

/* One warp of SQ_GRADS_MAKERS: the gates of every so many-th step. It sees each round of the sets
 * that it fills at all. */
template <typename T, typename SHARED>
__device__ __forceinline__ void sq_grads_fill_gates(const sq_decay_tiled &c, const SHARED &shared,
                                                    int worker)
{
    shared.each(c, [&](const sq_grads_step &s, int n) {
        const int set = n % SQ_GRADS_GATES, round = n / SQ_GRADS_GATES;
        if (n % SQ_GRADS_MAKERS != worker)
            return;
        const sq_decay_unit u = {0, s.batch, s.head, 0, 0, c.p.length};
        const float2 dt = sq_chunk_load_dt<T>(c.p, u, s.chunk * SQ_CHUNK);
        const sq_decay_head head = sq_decay_load_head(c.p, s.head);
        const int lane = (int)threadIdx.x % 32;
        const float2 skip = sq_grads_load_skip(c.p, s);
        sq_barrier_wait(shared.gates_empty(set), (round & 1) ^ 1);
        sq_chunk_fill_gates<double>(c.p, u, head, dt, s.chunk * SQ_CHUNK,
                                    &shared.small()->gates[set]);
        shared.small()->skip[set][lane] = skip.x;
        shared.small()->skip[set][lane + 32] = skip.y;
        __syncwarp();
        if (lane == 0)
            sq_barrier_arrive(shared.gates_full(set));
    });
}

/* --- the consumers --- */

/* Step n is there. */
__device__ __forceinline__ void sq_grads_wait(const sq_grads_shared &shared, int n)
{
    sq_barrier_wait(shared.full(n % SQ_GRADS_STAGES), n / SQ_GRADS_STAGES & 1);
    sq_barrier_wait(shared.gates_full(n % SQ_GRADS_GATES), n / SQ_GRADS_GATES & 1);
}

/* The warp has read it. */
__device__ __forceinline__ void sq_grads_release(const sq_grads_shared &shared, int n)
{
    __syncwarp();
    if (threadIdx.x % 32 != 0)
        return;
    sq_barrier_arrive(shared.empty(n % SQ_GRADS_STAGES));
    sq_barrier_arrive(shared.gates_empty(n % SQ_GRADS_GATES));
}

typedef sq_native_state<__nv_bfloat16, SQ_GRADS_KEYS> sq_grads_sum; /* (steps, keys) */

/* Which of the thread's sums of a (query, key) tile, or of a transposed one, are pairs without
 * future: bit i is sum i. Made once: a comparison of each pair's steps would be two instructions.
 * Pairs are selected, not multiplied by 0: the exponent of one in the future may overflow. */
__device__ __forceinline__ uint32_t sq_grads_seen_of(sq_native_lane at, bool is_transposed)
{
    uint32_t seen = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        const int row = 16 * at.warp + at.g + i / 2 % 2 * 8;
        const int column = 8 * (i / 4) + 2 * at.q + i % 2;
        seen |= (uint32_t)(is_transposed ? row <= column : column <= row) << i;
    }
    return seen;
}

/* Of those, the pairs within one document. */
template <bool IS_TRANSPOSED>
__device__ __forceinline__ uint32_t sq_grads_seen_in(const sq_decay_params &p,
                                                     const sq_chunk_gates *gates, sq_native_lane at,
                                                     uint32_t seen)
{
    if (!p.seq_idx)
        return seen;
#pragma unroll 4 /* seldom: few registers */
    for (int i = 0; i < 32; i++) {
        const int row = 16 * at.warp + at.g + i / 2 % 2 * 8;
        const int column = 8 * (i / 4) + 2 * at.q + i % 2;
        const int query = IS_TRANSPOSED ? column : row, key = IS_TRANSPOSED ? row : column;
        seen &= ~((uint32_t)(key < gates->start[query]) << i);
    }
    return seen;
}

/* The thread's rows of a tile: A operands of 16 columns each. */
__device__ __forceinline__ void sq_grads_load_rows(uint32_t tile, sq_native_lane at,
                                                   uint32_t (&a)[4][4])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sq_load_a<8>(a[k], tile, 16 * at.warp, 16 * k);
    }
}

/* a o factor of the row. */
template <typename T>
__device__ __forceinline__ void
sq_grads_weigh_rows(const uint32_t (&a)[4][4], const float (&factor)[2], uint32_t (&weighed)[4][4])
{
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 x = sq_unpack2<T>(a[k][e]);
            weighed[k][e] = sq_pack2<T>(x.x * factor[e % 2], x.y * factor[e % 2]);
        }
}

/* To dot[r], of the thread's two rows: its share of a . sum. */
template <typename T>
__device__ __forceinline__ void sq_grads_dot_rows(const uint32_t (&a)[4][4], const float (&sum)[32],
                                                  float (&dot)[2])
{
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 x = sq_unpack2<T>(a[k][e]);
            dot[e % 2] += x.x * sum[8 * k + 2 * e] + x.y * sum[8 * k + 2 * e + 1];
        }
}

/* Starts sum = or += A B^T of two operands of `STEPS` steps of 16, by rows. */
template <typename T, int STEPS>
__device__ __forceinline__ void sq_grads_start_rows(uint32_t a, uint32_t b, bool is_added,
                                                    float (&sum)[32])
{
    const uint64_t from = sq_wgmma_rows(a), by = sq_wgmma_rows(b);
#pragma unroll
    for (int n = 0; n < STEPS; n++) {
        sq_wgmma_64<T>(sum, from + sq_wgmma_rows_step(n), by + sq_wgmma_rows_step(n),
                       n > 0 ? 1 : is_added);
    }
}

/* Starts sum = or += A B: 64 values of A by rows, 128 columns of B. */
template <typename T>
__device__ __forceinline__ void sq_grads_start_sum(uint32_t a, uint32_t b, sq_grads_sum &sum,
                                                   bool is_added = false)
{
    const uint64_t from = sq_wgmma_rows(a), by = sq_wgmma_columns(b);
#pragma unroll
    for (int n = 0; n < 4; n++) {
        sq_wgmma_128_columns<T>(sum.sum[0], from + sq_wgmma_rows_step(n),
                                by + sq_wgmma_columns_step(n), n > 0 ? 1 : is_added);
    }
}

/* sum o factor of the row. */
__device__ __forceinline__ void sq_grads_scale_rows(const float (&factor)[2], sq_grads_sum &sum)
{
#pragma unroll
    for (int i = 0; i < 64; i++) {
        sum.sum[0][i] *= factor[i / 2 % 2];
    }
}

/* Of diagonals of the warp's 16 x 16 blocks in D tiles (even: column 2 q, odd: 2 q + 1), what the
 * thread holds. */
__device__ __forceinline__ float sq_grads_diagonal(sq_native_lane at, float even, float odd)
{
    return at.g == 2 * at.q ? even : at.g == 2 * at.q + 1 ? odd : 0.0f;
}

/* A thread's share of the sum of x o y over two tiles: of 16 rows, the diagonal of x y^T, which takes
 * a third of the instructions that the elements themselves would. */
template <typename T>
__device__ __forceinline__ float sq_grads_dot_tiles(uint32_t x, uint32_t y, sq_native_lane at)
{
    float upper[4] = {0.0f, 0.0f, 0.0f, 0.0f}, lower[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t a[4], b[4];
        sq_load_a<8>(a, x, 16 * at.warp, 16 * k);
        sq_load_a<8>(b, y, 16 * at.warp, 16 * k);
        sq_mma<T>(upper, a, b[0], b[2]);
        sq_mma<T>(lower, a, b[1], b[3]);
    }
    return sq_grads_diagonal(at, upper[0] + lower[2], upper[1] + lower[3]);
}

/* dq or dk of 128 keys from `key` on: rounded, by TMA, or a split's part of it. */
template <typename T, bool HAS_SUMS = true>
__device__ __forceinline__ void sq_grads_flush(const sq_decay_tiled &c, const sq_grads_step &s,
                                               const CUtensorMap *map, float *parts, uint32_t tiles,
                                               int key, int sync, sq_native_lane at,
                                               const sq_grads_sum &sum)
{
    const int first = s.chunk * SQ_CHUNK;
    if (HAS_SUMS && c.splits > 1) {
        const int64_t row_size = (int64_t)(c.p.heads / c.p.heads_per_group) * c.p.keys;
        const int row = 16 * at.warp + at.g, column = key + 2 * at.q;
        const int64_t start = ((int64_t)s.split * c.p.batch + s.batch) * c.p.length + first + row;
        float *own = parts + start * row_size + s.group * c.p.keys + column;
        const bool is_row = first + row < c.p.length, is_next = first + row + 8 < c.p.length;
#pragma unroll
        for (int i = 0; i < 16; i++) {
            const bool is_column = column + 8 * i < c.p.keys;
            if (is_row && is_column)
                *(float2 *)&own[8 * i] = make_float2(sum.sum[0][4 * i], sum.sum[0][4 * i + 1]);
            if (is_next && is_column)
                *(float2 *)&own[8 * row_size + 8 * i] =
                    make_float2(sum.sum[0][4 * i + 2], sum.sum[0][4 * i + 3]);
        }
        return;
    }
    const bool is_first = threadIdx.x % SQ_WARPGROUP == 0;
    uint32_t packed[SQ_GRADS_KEYS / 16][4];
    sum.round(0, packed);
    if (is_first)
        sq_tma_wait_read();
    sq_named_sync(sync, SQ_WARPGROUP);
#pragma unroll
    for (int k = 0; k < SQ_GRADS_KEYS / 16; k++) {
        sq_stmatrix(sq_address_a<8>(tiles + k / 4 * SQ_TMA_TILE_BYTES, 16 * at.warp, 16 * (k % 4)),
                    packed[k]);
    }
    sq_async_fence();
    sq_named_sync(sync, SQ_WARPGROUP);
    if (is_first) {
#pragma unroll
        for (int n = 0; n < 2; n++) {
            sq_tma_store_once(map, key + n * SQ_TMA_SIDE, s.group, first, s.batch,
                              tiles + n * SQ_TMA_TILE_BYTES);
        }
    }
}

#endif
