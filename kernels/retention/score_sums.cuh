/* score_sums: what norm=paper and norm=torchscale divide a row by comes from the sum of its scores,
 * with f_t = 1 / (sqrt(K) c_t), r_t the output's factor of decay_params.cuh and gamma_h's state z:
 *
 *   paper       sum_s R_ts = f_t q_t . z_t              z_t = gamma z_{t-1} + k_t
 *   torchscale  sum_s |R_ts|
 *
 * z is the column of the state that values of 1 would have: linear in time, first z before all
 * chunks, then all chunks at once. Absolute values have no recurrence: all scores, tile by tile,
 * quadratic in time and linear in memory; one matrix product for the two of the parallel form. What
 * is left of a number after a decay is x - (1 - gamma) x, since gamma need not be a number of f32.
 */
#ifndef SQ_KERNELS_RETENTION_SCORE_SUMS_CUH
#define SQ_KERNELS_RETENTION_SCORE_SUMS_CUH

#include "kernels/chunk_core/decay_gates.cuh"
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/tiles.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/retention/retention.h"

/* Key columns of a block that sums a chunk, and of a warp that reads rows (8 a lane); chunks that a
 * thread of the chain reads ahead; bytes of queries that a block keeps in shared memory. */
enum {
    SQ_SCORE_KEYS = 128,
    SQ_SCORE_LANE_KEYS = 8,
    SQ_SCORE_AHEAD = 8,
    SQ_SCORE_RESIDENT_BYTES = 4 * sq_tile_bytes<__half>
};

/* What o is divided by, from the sum of the row's scores or their absolute values. */
__device__ __forceinline__ float sq_score_divisor(int norm, float sum)
{
    if (norm == NORM_PAPER)
        return fmaxf(fabsf(sum), 1.0f);
    return norm == NORM_TORCHSCALE ? fminf(fmaxf(sum, 1.0f), 5e4f) : 1.0f;
}

/* gamma x + y, lost = 1 - gamma. */
__device__ __forceinline__ float sq_score_decayed(float x, float lost, float y)
{
    return fmaf(-lost, x, x + y);
}

/* 1 - gamma^64 */
__device__ __forceinline__ float sq_score_lost(const sq_decay_head &head)
{
    return -expm1f((float)SQ_CHUNK * log1pf(-head.lost));
}

/* Bytes of the sums, of pass fwd for pass bwd. */
static inline size_t sq_retention_saved(const sq_call *call)
{
    const int64_t *dim = call->in[IN_V].dim;
    return sq_retention_needs_scores(call->axis)
               ? (size_t)(dim[0] * dim[1] * dim[2]) * sizeof(float)
               : 0;
}

/* Which chunk of which head a block or a warp has. */
typedef struct {
    int b, h, chunk, first, steps;
} sq_score_unit;

__device__ __forceinline__ sq_score_unit sq_score_unit_of(const sq_decay_params &p, int chunks,
                                                          int64_t index)
{
    sq_score_unit u;
    u.chunk = (int)(index % chunks);
    u.h = (int)(index / chunks % p.heads);
    u.b = (int)(index / chunks / p.heads);
    u.first = u.chunk * SQ_CHUNK;
    u.steps = min((int)SQ_CHUNK, p.length - u.first);
    return u;
}

/* Tiles of a block's queries that stay; where they are too many all go through one. */
template <typename T>
static int sq_score_slots(int keys)
{
    const int tiles = (int)sq_ceil_div(keys, SQ_TILE);
    return tiles * sq_tile_bytes<T> <= SQ_SCORE_RESIDENT_BYTES ? tiles : 1;
}

/* A block's 64 queries and a tile of 64 keys: their products. memory: the keys, then the queries. */
template <typename T>
struct sq_score_block {
    unsigned char *memory;
    int slots;
    bool is_vector;

    __device__ __forceinline__ sq_tile<T> keys() const { return {memory}; }
    __device__ __forceinline__ unsigned char *end() const
    {
        return memory + (slots + 1) * sq_tile_bytes<T>;
    }
    /* Of every tile up to the unit's own, the first one first. */
    __device__ __forceinline__ void add_products(const sq_decay_params &p, const sq_score_unit &u,
                                                 int tile, sq_tile_sum<T> &score) const
    {
        const int from = tile * SQ_TILE, steps = min((int)SQ_TILE, p.length - from);
        const bool is_resident = slots * SQ_TILE >= p.keys;
        for (int key = 0; key < p.keys; key += SQ_TILE) {
            const int slot = is_resident ? key / SQ_TILE : 0;
            const sq_tile<T> queries = {memory + (slot + 1) * sq_tile_bytes<T>};
            __syncthreads(); /* nobody reads the tiles any more */
            if (tile == 0 || !is_resident)
                queries.load(sq_decay_at<T>(p.q, u.b, u.first, u.h) + key, p.q.time, u.steps,
                             p.keys - key, is_vector);
            keys().load(sq_decay_at<T>(p.k, u.b, from, u.h) + key, p.k.time, steps, p.keys - key,
                        is_vector);
            sq_tile_sync();
            score.add_nt(queries, keys());
        }
    }
};

/* The chunk of the index-th block: long rows first. */
__device__ __forceinline__ sq_score_unit sq_score_longest_first(const sq_decay_params &p,
                                                                int chunks, int index)
{
    const int last = chunks - 1 - index % chunks;
    return sq_score_unit_of(p, chunks, (int64_t)index / chunks * chunks + last);
}

/* --- states --- */

/* What q_t is multiplied by: slope_t d_o_t, (B, H, L), in units of each chunk's, (B, H, chunks). */
typedef struct {
    const float *slope, *d_o, *unit;
} sq_score_weights;

/* states, (chunks, B, H, keys): z before each chunk; with weights the gradient of z after it, to
 * which step t adds weight_t q_t. */
typedef struct {
    sq_decay_params p;
    sq_score_weights of; /* pointers may be NULL: no weights */
    float *states;
    int chunks, key_blocks;
} sq_score_states;

/* What each chunk adds: sum_j gamma^(last - j) k_j, or sum_i gamma^(i + 1) weight_i q_i. A column
 * a thread. */
template <typename T>
static __global__ void __launch_bounds__(SQ_SCORE_KEYS) sq_score_parts_kernel(sq_score_states c)
{
    const int n = (int)blockIdx.x % c.key_blocks * SQ_SCORE_KEYS + (int)threadIdx.x;
    const sq_score_unit u = sq_score_unit_of(c.p, c.chunks, (int)blockIdx.x / c.key_blocks);
    if (n >= c.p.keys)
        return;
    const float lost = sq_decay_load_head(c.p, u.h).lost;
    const int64_t head = (int64_t)u.b * c.p.heads + u.h, row = head * c.p.length + u.first;
    const sq_decay_tensor &from = c.of.slope ? c.p.q : c.p.k;
    const T *x = sq_decay_at<T>(from, u.b, u.first, u.h) + n;
    float sum = 0.0f;
#pragma unroll 8
    for (int i = 0; i < u.steps; i++) {
        if (c.of.slope) {
            const int t = u.steps - 1 - i;
            sum = fmaf(c.of.slope[row + t] * c.of.d_o[row + t], sq_to_f32(x[t * from.time]), sum);
            sum = sq_score_decayed(sum, lost, 0.0f);
        } else {
            sum = sq_score_decayed(sum, lost, sq_to_f32(x[i * from.time]));
        }
    }
    if (c.of.slope)
        sum *= c.of.unit[head * c.chunks + u.chunk];
    c.states[((int64_t)u.chunk * c.p.batch * c.p.heads + head) * c.p.keys + n] = sum;
}

/* What each chunk adds -> the state before it, or after it, in place. A column of a head a thread.
 */
static __global__ void __launch_bounds__(256) sq_score_chain_kernel(sq_score_states c)
{
    const int64_t at = (int64_t)blockIdx.x * 256 + threadIdx.x;
    const int64_t columns = (int64_t)c.p.batch * c.p.heads * c.p.keys;
    if (at >= columns)
        return;
    const int h = (int)(at / c.p.keys % c.p.heads);
    const float lost = sq_score_lost(sq_decay_load_head(c.p, h));
    float state = 0.0f;
    for (int done = 0; done < c.chunks; done += SQ_SCORE_AHEAD) {
        const int count = min((int)SQ_SCORE_AHEAD, c.chunks - done);
        const int64_t first = c.of.slope ? c.chunks - 1 - done : done, way = c.of.slope ? -1 : 1;
        float part[SQ_SCORE_AHEAD];
#pragma unroll
        for (int i = 0; i < SQ_SCORE_AHEAD; i++)
            part[i] = i < count ? c.states[(first + way * i) * columns + at] : 0.0f;
#pragma unroll
        for (int i = 0; i < SQ_SCORE_AHEAD; i++) {
            if (i < count)
                c.states[(first + way * i) * columns + at] = state;
            state = sq_score_decayed(state, lost, part[i]);
        }
    }
}

/* Without weights z before all chunks, with them the gradient after. */
template <typename T>
static sq_status sq_score_run_states(const sq_call *call, const sq_decay_params &p,
                                     const sq_score_weights &weights, float *states, sq_error *err)
{
    const int chunks = (int)sq_ceil_div(p.length, SQ_CHUNK);
    const sq_score_states c = {p, weights, states, chunks, (int)sq_ceil_div(p.keys, SQ_SCORE_KEYS)};
    const int64_t columns = (int64_t)p.batch * p.heads * p.keys;
    const unsigned parts = (unsigned)((int64_t)p.batch * p.heads * chunks * c.key_blocks);
    sq_score_parts_kernel<T><<<parts, SQ_SCORE_KEYS, 0, sq_stream(call)>>>(c);
    SQ_TRY(sq_launched("sums of keys", err));
    sq_score_chain_kernel<<<(unsigned)sq_ceil_div(columns, 256), 256, 0, sq_stream(call)>>>(c);
    return sq_launched("chain of sums of keys", err);
}

/* --- sums of rows --- */

/* row: scale r_t of each (b, h, t). sums: the sums themselves, for pass bwd; or NULL. states: z
 * before each chunk, for norm=paper. */
typedef struct {
    sq_decay_params p;
    const float *states;
    float *row, *sums;
    int chunks, norm;
} sq_score_rows;

/* sum: what f_t is a factor of. */
__device__ __forceinline__ void sq_score_store(const sq_score_rows &c, const sq_decay_head &head,
                                               const sq_score_unit &u, int step, float sum)
{
    const int t = u.first + step;
    const int64_t at = ((int64_t)u.b * c.p.heads + u.h) * c.p.length + t;
    const float f = sq_decay_output_scale(c.p, head, u.b, u.h, t);
    c.row[at] = f / sq_score_divisor(c.norm, f * sum);
    if (c.sums)
        c.sums[at] = f * sum;
}

/* norm=paper: a chunk a warp, 256 columns of z at a time. Lane i keeps steps i and i + 32. */
template <typename T>
static __global__ void __launch_bounds__(128) sq_score_rows_kernel(sq_score_rows c)
{
    const int64_t index = (int64_t)blockIdx.x * 4 + threadIdx.x / 32;
    if (index >= (int64_t)c.p.batch * c.p.heads * c.chunks)
        return;
    const sq_score_unit u = sq_score_unit_of(c.p, c.chunks, index);
    const sq_decay_head head = sq_decay_load_head(c.p, u.h);
    const int lane = (int)threadIdx.x % 32;
    const int64_t unit = ((int64_t)u.chunk * c.p.batch + u.b) * c.p.heads + u.h;
    float low = 0.0f, high = 0.0f;
    for (int key = lane; key - lane < c.p.keys; key += 32 * SQ_SCORE_LANE_KEYS) {
        float z[SQ_SCORE_LANE_KEYS];
#pragma unroll
        for (int e = 0; e < SQ_SCORE_LANE_KEYS; e++)
            z[e] = key + 32 * e < c.p.keys ? c.states[unit * c.p.keys + key + 32 * e] : 0.0f;
        const T *q = sq_decay_at<T>(c.p.q, u.b, u.first, u.h) + key;
        const T *k = sq_decay_at<T>(c.p.k, u.b, u.first, u.h) + key;
        for (int i = 0; i < u.steps; i++, q += c.p.q.time, k += c.p.k.time) {
            float dot = 0.0f;
#pragma unroll
            for (int e = 0; e < SQ_SCORE_LANE_KEYS; e++)
                if (key + 32 * e < c.p.keys) {
                    z[e] = sq_score_decayed(z[e], head.lost, sq_to_f32(k[32 * e]));
                    dot = fmaf(sq_to_f32(q[32 * e]), z[e], dot);
                }
            dot = sq_warp_sum(dot);
            low += lane == i ? dot : 0.0f;
            high += lane + 32 == i ? dot : 0.0f;
        }
    }
    if (lane < u.steps)
        sq_score_store(c, head, u, lane, low);
    if (lane + 32 < u.steps)
        sq_score_store(c, head, u, lane + 32, high);
}

template <typename T>
static int sq_score_shared(int keys)
{
    return (sq_score_slots<T>(keys) + 1) * sq_tile_bytes<T> + SQ_TILE * 17 * (int)sizeof(float);
}

/* norm=torchscale: 64 rows a block, which walks over the keys up to them. Where a sum over all
 * tiles so far goes on to the next, all of it decays by 64 steps: a pair's own distance, from step i
 * of the block's to step j of the tile's, is left for the end. */
template <typename T>
static __global__ void __launch_bounds__(SQ_TILE_THREADS)
    sq_score_tiles_kernel(sq_score_rows c, int slots, bool is_vector)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_score_block<T> block = {memory, slots, is_vector};
    float(*part)[17] = (float(*)[17])block.end();
    const sq_score_unit u = sq_score_longest_first(c.p, c.chunks, (int)blockIdx.x);
    const sq_decay_head head = sq_decay_load_head(c.p, u.h);
    const float lost = sq_score_lost(head);
    sq_tile_sum<T> sums;
    sums.clear();
    for (int tile = 0; tile <= u.chunk; tile++) {
        sq_tile_sum<T> score;
        score.clear();
        block.add_products(c.p, u, tile, score);
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const bool is_future = tile == u.chunk && score.col(e) > score.row(e);
            sums.at[e] = sq_score_decayed(sums.at[e], lost, is_future ? 0.0f : fabsf(score.at[e]));
        }
    }
#pragma unroll
    for (int e = 0; e < 16; e++)
        sums.at[e] *= sq_exp2((float)(sums.row(e) - sums.col(e)) * head.rate);
    sq_tile_sum<T>::row_parts(sums.at, part);
    __syncthreads();
    if ((int)threadIdx.x < u.steps)
        sq_score_store(c, head, u, (int)threadIdx.x, sq_tile_row_sum<T>(part, (int)threadIdx.x));
}

/* c.row and, where it is not NULL, c.sums. */
template <typename T>
static sq_status sq_score_run_rows(const sq_call *call, const sq_score_rows &c, bool is_vector,
                                   sq_error *err)
{
    const int64_t units = (int64_t)c.p.batch * c.p.heads * c.chunks;
    if (c.norm == NORM_PAPER) {
        const unsigned grid = (unsigned)sq_ceil_div(units, 4);
        sq_score_rows_kernel<T><<<grid, 128, 0, sq_stream(call)>>>(c);
        return sq_launched("sums of scores", err);
    }
    const int bytes = sq_score_shared<T>(c.p.keys), slots = sq_score_slots<T>(c.p.keys);
    SQ_TRY(sq_allow_shared(sq_score_tiles_kernel<T>, bytes, err));
    sq_score_tiles_kernel<T>
        <<<(unsigned)units, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c, slots, is_vector);
    return sq_launched("sums of absolute scores", err);
}

#endif
