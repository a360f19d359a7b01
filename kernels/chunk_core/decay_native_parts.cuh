/* decay_native_parts: what the kernels of both passes on Hopper share: which part of the problem a
 * warpgroup has, the warps that make gates, and a state in a warpgroup's registers.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_PARTS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_NATIVE_PARTS_CUH

#include "kernels/chunk_core/decay_gates.cuh"
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_segments.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/mma_sm80.cuh"
#include "kernels/hw/tma_sm90.cuh"
#include "kernels/hw/wgmma_sm90.cuh"

static_assert((int)SQ_CHUNK == (int)SQ_TMA_SIDE, "a chunk is a tile's rows");

/* Of pass fwd. */
typedef struct {
    CUtensorMap q, k, v, o, z;
} sq_native_maps;

/* The unit of a group of the block. heads: of a block, 1 or as many as groups. */
__device__ __forceinline__ sq_decay_unit sq_native_unit_of(sq_decay_unit block, int heads,
                                                           int group)
{
    block.head += heads > 1 ? group : 0;
    block.column += heads > 1 ? 0 : group * SQ_TMA_SIDE;
    return block;
}

/* --- gates --- */

/* dt of a lane's two steps, not yet converted, so that nothing waits for it; 0 past the end. */
template <typename T>
__device__ __forceinline__ uint32_t sq_native_load_dt(const sq_decay_params &p,
                                                      const sq_decay_unit &u, int first)
{
    static_assert(sizeof(T) == 2, "a pair is a register");
    if (p.kind != SQ_DECAY_STEP && p.kind != SQ_DECAY_LOG)
        return 0;
    const int t = first + (int)threadIdx.x % 32 * 2;
    uint32_t lo = 0, hi = 0;
    if (t < p.length)
        lo = *(const uint16_t *)sq_decay_at<T>(p.dt, u.batch, t, u.head);
    if (t + 1 < p.length)
        hi = *(const uint16_t *)sq_decay_at<T>(p.dt, u.batch, t + 1, u.head);
    return lo | hi << 16;
}

/* One warp of WORKERS: the gates of every so many-th (chunk, head) of a block, for one warp takes
 * longer for them than the consumers for a chunk. There are no more workers than stages, so a worker
 * that comes to a round of a stage has seen a chunk leave that followed the round before the last.
 * u: the block's, of `heads` heads; step(i): where its chunk i starts; shared: stages with
 * full(stage), empty(stage), gates(stage, head). */
template <typename T, int STAGES, int WORKERS, typename SHARED, typename F>
__device__ __forceinline__ void sq_native_fill_gates(const sq_decay_params &p, const SHARED &shared,
                                                     const sq_decay_unit &u, int heads, int chunks,
                                                     int worker, F step)
{
    static_assert(WORKERS <= STAGES, "else a wait may take a round for the one before it");
    const sq_decay_head head = sq_decay_load_head(p, u.head);
    const sq_decay_head other = sq_decay_load_head(p, u.head + heads - 1);
    auto load = [&](int n) {
        return sq_native_load_dt<T>(p, sq_native_unit_of(u, heads, n % heads), step(n / heads));
    };
    const int end = chunks * heads;
    uint32_t dt = worker < end ? load(worker) : 0;
    for (int n = worker; n < end; n += WORKERS) {
        const int chunk = n / heads, set = n % heads;
        const int stage = chunk % STAGES, round = chunk / STAGES;
        const uint32_t next = n + WORKERS < end ? load(n + WORKERS) : 0;
        sq_decay_head own = head;
        if (set > 0)
            own = other;
        sq_barrier_wait(shared.empty(stage), (round & 1) ^ 1);
        sq_chunk_fill_gates<float>(p, sq_native_unit_of(u, heads, set), own, sq_unpack2<T>(dt),
                                   step(chunk), shared.gates(stage, set));
        __syncwarp();
        if (threadIdx.x % 32 == 0)
            sq_barrier_arrive(shared.full(stage));
        dt = next;
    }
}

/* --- a warpgroup's matrices --- */

/* Where a thread stands in its warpgroup: see wgmma_sm90.cuh. */
typedef struct {
    int warp, g, q;
} sq_native_lane;

__device__ __forceinline__ sq_native_lane sq_native_lane_of()
{
    const int lane = (int)threadIdx.x % 32;
    return {(int)threadIdx.x / 32 % 4, lane / 4, lane % 4};
}

/* The same, with a warp that the compiler sees to be one for all lanes. */
__device__ __forceinline__ sq_native_lane sq_native_uniform_lane()
{
    sq_native_lane at = sq_native_lane_of();
    at.warp = __shfl_sync(0xffffffffu, at.warp, 0);
    return at;
}

/* The warp's 16 columns of a tile of V (or of z), transposed: A operands of 16 steps each. */
__device__ __forceinline__ void sq_native_load_values(uint32_t tile, sq_native_lane at,
                                                      uint32_t (&v)[4][4])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sq_load_a_trans<8>(v[k], tile, 16 * k, 16 * at.warp);
    }
}

/* V o factor of the step. */
template <typename T>
__device__ __forceinline__ void sq_native_weigh(const float *factor, sq_native_lane at,
                                                const uint32_t (&v)[4][4],
                                                uint32_t (&weighed)[4][4])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float2 lo = *(const float2 *)&factor[16 * k + 2 * at.q];
        const float2 hi = *(const float2 *)&factor[16 * k + 2 * at.q + 8];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 x = sq_unpack2<T>(v[k][e]), w = e < 2 ? lo : hi;
            weighed[k][e] = sq_pack2<T>(x.x * w.x, x.y * w.y);
        }
    }
}

/* S^T of a warpgroup: 64 columns of the state by KEYS rows. */
template <typename T, int KEYS>
struct sq_native_state {
    static constexpr int blocks = KEYS / 128;
    float sum[blocks][64];

    /* Rounded: the A operands of steps [first, first + N) of 16 keys. */
    template <int N>
    __device__ __forceinline__ void round(int first, uint32_t (&a)[N][4]) const
    {
#pragma unroll
        for (int k = 0; k < N; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float *s = &sum[(first + k) / 8][(first + k) % 8 * 8 + 2 * e];
                a[k][e] = sq_pack2<T>(s[0], s[1]);
            }
    }

    /* Rounded, into its tiles: a row of 64 keys each. */
    __device__ __forceinline__ void store(uint32_t tiles, sq_native_lane at) const
    {
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++) {
            uint32_t packed[1][4];
            round(k, packed);
            sq_stmatrix(
                sq_address_a<8>(tiles + k / 4 * SQ_TMA_TILE_BYTES, 16 * at.warp, 16 * (k % 4)),
                packed[0]);
        }
    }

    __device__ __forceinline__ void decay(float factor)
    {
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int i = 0; i < 64; i++) {
                sum[b][i] *= factor;
            }
    }

    __device__ __forceinline__ void pin()
    {
#pragma unroll
        for (int b = 0; b < blocks; b++) {
            sq_wgmma_pin(sum[b]);
        }
    }

    /* Starts S^T (+)= V^T K. */
    __device__ __forceinline__ void update(const uint32_t (&v)[4][4], uint32_t k, int is_added = 1)
    {
        const uint64_t keys = sq_wgmma_columns(k);
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int b = 0; b < blocks; b++) {
                sq_wgmma_128_columns<T>(sum[b], v[j],
                                        keys + sq_wgmma_bytes(2 * b * SQ_TMA_TILE_BYTES) +
                                            sq_wgmma_columns_step(j),
                                        j > 0 ? 1 : is_added);
            }
    }

    /* Calls f(row and column in the (keys, values) matrix, sum) for the elements that exist. */
    template <typename F>
    __device__ __forceinline__ void each(const sq_decay_params &p, int first_column,
                                         sq_native_lane at, F f)
    {
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int i = 0; i < 64; i++) {
                const int row = 128 * b + 8 * (i / 4) + 2 * at.q + i % 2;
                const int column = first_column + 16 * at.warp + at.g + i / 2 % 2 * 8;
                if (row < p.keys && column < p.values)
                    f(row, column, &sum[b][i]);
            }
    }
};

#endif
