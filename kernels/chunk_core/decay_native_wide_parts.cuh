/* decay_native_wide_parts: shared memory and the producer of decay_native_wide.cuh, and what its two
 * consumers have in common.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_PARTS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_WIDE_PARTS_CUH

#include "kernels/chunk_core/decay_native_bwd.cuh"

enum {
    SQ_WIDE_HALVES = 2, /* of the keys: 128 each */
    SQ_WIDE_STAGES = 3,
    SQ_WIDE_STAGE_TILES = 6,
    SQ_WIDE_KEY_TILES = 4,
    SQ_WIDE_TILES = SQ_WIDE_STAGES * SQ_WIDE_STAGE_TILES + 2 * SQ_WIDE_KEY_TILES + 1,
    SQ_WIDE_BOTH = 3, /* named barriers, beside those of decay_native_grads.cuh */
    SQ_WIDE_HANDED = 4
};

/* totals[warp][j]: the sum over the warp's i of N_ij. */
typedef struct __align__(16)
{
    sq_chunk_gates gates;
    sq_grads_sums sums;
    float totals[4][SQ_CHUNK];
    float skip[SQ_WIDE_STAGES][SQ_TMA_SIDE], skip_sums[4][SQ_TMA_SIDE];
    uint64_t full[SQ_WIDE_STAGES], empty[SQ_WIDE_STAGES], keys_full, keys_empty;
}
sq_wide_small;

constexpr int sq_wide_shared_bytes =
    1024 + SQ_WIDE_TILES * SQ_TMA_TILE_BYTES + (int)sizeof(sq_wide_small);

/* Shared memory: of each stage S^T, G^T (two tiles each), V, dO; Q; K; dv, or W; the rest. */
struct sq_wide_shared {
    unsigned char *memory;
    uint32_t base;

    __device__ uint32_t tile(int i) const { return base + i * SQ_TMA_TILE_BYTES; }
    __device__ uint32_t in(int stage, int i) const { return tile(stage * SQ_WIDE_STAGE_TILES + i); }
    __device__ uint32_t before(int stage) const { return in(stage, 0); }
    __device__ uint32_t after(int stage) const { return in(stage, 2); }
    __device__ uint32_t v(int stage) const { return in(stage, 4); }
    __device__ uint32_t d_o(int stage) const { return in(stage, 5); }
    __device__ uint32_t q() const { return in(SQ_WIDE_STAGES, 0); }
    __device__ uint32_t k() const { return in(SQ_WIDE_STAGES, SQ_WIDE_KEY_TILES); }
    __device__ uint32_t d_v() const { return tile(SQ_WIDE_TILES - 1); }
    __device__ unsigned char *at(uint32_t address) const { return memory + (address - base); }
    __device__ sq_wide_small *small() const
    {
        return (sq_wide_small *)(memory + SQ_WIDE_TILES * SQ_TMA_TILE_BYTES);
    }
    __device__ uint32_t full(int stage) const { return sq_shared_address(&small()->full[stage]); }
    __device__ uint32_t empty(int stage) const { return sq_shared_address(&small()->empty[stage]); }
    __device__ uint32_t keys_full() const { return sq_shared_address(&small()->keys_full); }
    __device__ uint32_t keys_empty() const { return sq_shared_address(&small()->keys_empty); }
};

/* --- the producer --- */

/* One thread: the stages. */
__device__ __forceinline__ void sq_wide_copy(const sq_grads_maps &maps, const sq_decay_tiled &c,
                                             const sq_wide_shared &shared)
{
    sq_grads_begin_copy(maps, c);
    sq_grads_each(c, [&](const sq_grads_step &s, int n) {
        const int first = s.chunk * SQ_CHUNK;
        const sq_grads_matrices m = sq_grads_matrices_of(c, s);
#pragma unroll
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            const int step = SQ_WIDE_HALVES * n + half, stage = step % SQ_WIDE_STAGES;
            const uint32_t full = shared.full(stage);
            sq_barrier_wait(shared.empty(stage), (step / SQ_WIDE_STAGES & 1) ^ 1);
            sq_barrier_expect(full, SQ_WIDE_STAGE_TILES * SQ_TMA_TILE_BYTES);
            sq_tma_load(shared.v(stage), &maps.v, s.column, s.head, first, s.batch, full);
            sq_tma_load(shared.d_o(stage), &maps.d_o, s.column, s.head, first, s.batch, full);
            if (step == 0)
                sq_chain_wait();
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int to = i * SQ_TMA_TILE_BYTES, x = (2 * half + i) * SQ_TMA_SIDE;
                sq_tma_load(shared.before(stage) + to, &maps.before, x, 0, s.column, m.before,
                            full);
                sq_tma_load(shared.after(stage) + to, &maps.after, x, 0, s.column, m.after, full);
            }
            sq_barrier_arrive(full);
        }
    });
}

/* One warp: Q, K and the gates of each item. */
template <typename T>
__device__ __forceinline__ void
sq_wide_fill_keys(const sq_grads_maps &maps, const sq_decay_tiled &c, const sq_wide_shared &shared)
{
    const bool is_first = threadIdx.x % 32 == 0;
    const uint32_t full = shared.keys_full();
    uint32_t parity = 1;
    sq_grads_each(c, [&](const sq_grads_step &s, int) {
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
        __syncwarp();
        if (is_first)
            sq_barrier_arrive(full);
    });
}

/* One warp: `skip` of each stage's columns. */
__device__ __forceinline__ void sq_wide_fill_skip(const sq_decay_tiled &c,
                                                  const sq_wide_shared &shared)
{
    const int lane = (int)threadIdx.x % 32;
    sq_grads_each(c, [&](const sq_grads_step &s, int n) {
        const float2 skip = sq_grads_load_skip(c.p, s);
#pragma unroll
        for (int half = 0; half < SQ_WIDE_HALVES; half++) {
            const int step = SQ_WIDE_HALVES * n + half, stage = step % SQ_WIDE_STAGES;
            sq_barrier_wait(shared.empty(stage), (step / SQ_WIDE_STAGES & 1) ^ 1);
            shared.small()->skip[stage][lane] = skip.x;
            shared.small()->skip[stage][lane + 32] = skip.y;
            __syncwarp();
            if (lane == 0)
                sq_barrier_arrive(shared.full(stage));
        }
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
