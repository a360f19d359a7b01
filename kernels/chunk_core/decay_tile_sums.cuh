/* decay_tile_sums: what comes before and after the tiles of a backward pass: the gated output
 * gradient, and the second stages of all sums, each in a fixed order.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_TILE_SUMS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_TILE_SUMS_CUH

#include "kernels/chunk_core/decay_tile_keys.cuh"
#include "kernels/chunk_core/decay_tiles.cuh"
#include "kernels/hw/reduce.cuh"

/* do silu(z), into the dense tensor d_o. One row of values a block. */
template <typename T>
static __global__ void __launch_bounds__(128) sq_tile_gate_kernel(sq_decay_tiled c)
{
    const int64_t row = blockIdx.x;
    const int h = (int)(row % c.p.heads), t = (int)(row / c.p.heads % c.p.length);
    const int b = (int)(row / c.p.heads / c.p.length);
    const T *from = sq_decay_at<T>(c.g.raw, b, t, h);
    T *to = (T *)sq_decay_at<T>(c.g.d_o, b, t, h);
    for (int i = (int)threadIdx.x; i < c.p.values; i += 128)
        to[i] = sq_from_f32<T>(sq_decay_gated<T>(c.p, b, t, h, i, sq_to_f32(from[i])));
}

/* ddt of a chunk's steps for some heads, or dg, and the chunk's sums for dA and dbias. dt lies by
 * step and head, the parts by head and step: they meet in shared memory. A warp takes every
 * so many-th head, a lane two steps. */
enum { SQ_TILE_GATES_HEADS = 32, SQ_TILE_GATES_THREADS = 256 };

/* Of a head and the lane's two steps, summed over tiles of keys. */
typedef struct {
    float step[SQ_CHUNK / 32], log[SQ_CHUNK / 32];
} sq_tile_gate_parts;

__device__ __forceinline__ sq_tile_gate_parts sq_tile_load_gates(const sq_decay_tiled &c,
                                                                 const sq_tile_unit &u)
{
    sq_tile_gate_parts parts = {};
    const int lane = (int)threadIdx.x % 32;
    const auto add = [&](int tile, auto f) {
        const int64_t at = sq_tile_gate_index(c, tile, u) + lane;
#pragma unroll
        for (int half = 0; half < SQ_CHUNK / 32; half++) {
            if (lane + 32 * half >= u.steps)
                continue;
            if (c.p.kind == SQ_DECAY_STEP)
                f(parts.step[half], c.d_step[at + 32 * half]);
            f(parts.log[half], c.d_log[at + 32 * half]);
        }
    };
    add(0, [](float &sum, float part) { sum = part; });
#pragma unroll 1 /* seldom: nothing waits for the first */
    for (int tile = 1; tile < c.key_tiles; tile++)
        add(tile, [](float &sum, float part) { sum += part; });
    return parts;
}

/* One head. dt: its column of the shared tile, in which its gradient takes the place of dt. */
template <typename T>
__device__ __forceinline__ void sq_tile_gates_of(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                 const sq_tile_gate_parts &parts,
                                                 float (*dt)[SQ_TILE_GATES_HEADS + 1], int column)
{
    const int lane = (int)threadIdx.x % 32;
    const sq_decay_head head = sq_decay_load_head(c.p, u.head);
    float sums[2] = {0.0f, 0.0f}; /* for dA, dbias */
#pragma unroll
    for (int half = 0; half < SQ_CHUNK / 32; half++) {
        const int i = lane + 32 * half;
        const bool is_step = i < u.steps;
        const float d_step = 0.0f + parts.step[half], d_log = 0.0f + parts.log[half]; /* not -0 */
        float result = d_log;
        if (c.p.kind == SQ_DECAY_STEP && is_step) {
            const float raw = dt[i][column];
            sums[0] += sq_decay_gate(c.p, head, raw).weight * d_log;
            result = (d_step + c.p.a[u.head] * d_log) * sq_decay_slope(c.p, raw + head.bias);
            sums[1] += result;
        }
        dt[i][column] = result;
    }
    if (c.p.kind != SQ_DECAY_STEP)
        return;
    sums[0] = sq_warp_sum<32>(sums[0]);
    sums[1] = sq_warp_sum<32>(sums[1]);
    if (lane == 0) {
        const int64_t at = (u.batch * (int64_t)c.chunks + u.chunk) * c.p.heads + u.head;
        c.d_a[at] = sums[0];
        c.d_bias[at] = sums[1];
    }
}

/* Block: (chunk of a batch row, heads), heads fastest. A warp asks for all of its heads' parts at
 * once, before it looks at the first. */
template <typename T>
static __global__ void __launch_bounds__(SQ_TILE_GATES_THREADS)
    sq_tile_gates_kernel(sq_decay_tiled c)
{
    __shared__ float dt[SQ_CHUNK][SQ_TILE_GATES_HEADS + 1];
    sq_chain_begin_next();
    const int per_chunk = (c.p.heads + SQ_TILE_GATES_HEADS - 1) / SQ_TILE_GATES_HEADS;
    const int first = (int)blockIdx.x % per_chunk * SQ_TILE_GATES_HEADS;
    const int row = (int)blockIdx.x / per_chunk, lane = (int)threadIdx.x % 32;
    const int warp = (int)threadIdx.x / 32,
              heads = min((int)SQ_TILE_GATES_HEADS, c.p.heads - first);
    constexpr int warps = SQ_TILE_GATES_THREADS / 32;
    const sq_tile_unit u = sq_tile_unit_of(c, row % c.chunks, row / c.chunks, first);
    const bool is_read = c.p.kind == SQ_DECAY_STEP && lane < heads;
    for (int i = warp; i < u.steps && is_read; i += warps)
        dt[i][lane] = sq_decay_dt<T>(c.p, u.batch, u.first + i, first + lane);
    sq_chain_wait();
    sq_tile_unit own = u;
    sq_tile_gate_parts parts[SQ_TILE_GATES_HEADS / warps];
#pragma unroll
    for (int i = 0; i < SQ_TILE_GATES_HEADS / warps; i++) {
        own.head = first + warp + i * warps;
        if (warp + i * warps < heads)
            parts[i] = sq_tile_load_gates(c, own);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SQ_TILE_GATES_HEADS / warps; i++) {
        own.head = first + warp + i * warps;
        if (warp + i * warps < heads)
            sq_tile_gates_of<T>(c, own, parts[i], dt, warp + i * warps);
    }
    __syncthreads();
    for (int i = warp; i < u.steps && lane < heads; i += warps)
        *(T *)sq_decay_at<T>(c.g.d_dt, u.batch, u.first + i, first + lane) =
            sq_from_f32<T>(dt[i][lane]);
}

/* to[column * stride] = sum over rows and the `inner` numbers of each of parts[row][column][]. */
typedef struct {
    const float *parts;
    float *to;
    int64_t stride;
} sq_tile_total;

/* Sums that one launch makes. */
typedef struct {
    sq_tile_total sum[3];
    int count;
} sq_tile_totals;

/* Block: (column, sum). */
template <int THREADS>
static __global__ void __launch_bounds__(THREADS)
    sq_tile_sum_kernel(const __grid_constant__ sq_tile_totals sums, int64_t rows, int columns,
                       int inner)
{
    __shared__ float scratch[THREADS / 32];
    sq_chain_begin_next();
    sq_chain_wait();
    const sq_tile_total &own = sums.sum[blockIdx.y];
    const int column = (int)blockIdx.x, rows_on = THREADS / inner;
    const int numbers_on = THREADS % inner;
    int64_t row = (int)threadIdx.x / inner;
    int number = (int)threadIdx.x % inner;
    float sum[1] = {0.0f};
    while (row < rows) {
        sum[0] += own.parts[(row * columns + column) * inner + number];
        number += numbers_on;
        row += rows_on + (number >= inner);
        number -= number >= inner ? inner : 0;
    }
    sq_lanes_sum<THREADS>(sum, scratch);
    if (threadIdx.x == 0)
        own.to[column * own.stride] = sum[0];
}

/* dq or dk from its splits' parts. One row of keys a block. */
template <typename T>
static __global__ void __launch_bounds__(128)
    sq_tile_splits_kernel(sq_decay_tiled c, const float *parts, sq_decay_tensor to)
{
    sq_chain_begin_next();
    sq_chain_wait();
    const int64_t row = blockIdx.x;
    const int groups = c.p.heads / c.p.heads_per_group;
    const int64_t rows = (int64_t)c.p.batch * c.p.length * groups;
    const int group = (int)(row % groups), t = (int)(row / groups % c.p.length);
    const int b = (int)(row / groups / c.p.length);
    for (int n = (int)threadIdx.x; n < c.p.keys; n += 128) {
        float sum = 0.0f;
        for (int split = 0; split < c.splits; split++)
            sum += parts[(split * rows + row) * c.p.keys + n];
        ((T *)sq_decay_at<T>(to, b, t, group))[n] = sq_from_f32<T>(sum);
    }
}

/* --- host --- */

static inline void sq_tile_add_total(sq_tile_totals *sums, const float *parts, float *to,
                                     int64_t stride)
{
    if (to)
        sums->sum[sums->count++] = {parts, to, stride};
}

/* Next in the chain of the kernel that has made the parts, as all sums are. */
static inline sq_status sq_tile_sum_parts(const sq_call *call, const sq_tile_totals &sums,
                                          int64_t rows, int columns, int inner, sq_error *err)
{
    if (sums.count == 0)
        return SQ_OK;
    const dim3 blocks((unsigned)columns, (unsigned)sums.count);
    const int threads = inner == 1 ? 256 : 1024;
    auto kernel = inner == 1 ? sq_tile_sum_kernel<256> : sq_tile_sum_kernel<1024>;
    return sq_launch_chained(call, {blocks, threads, 0, true}, "sums over chunks", err, kernel,
                             sums, rows, columns, inner);
}

template <typename T>
static sq_status sq_tile_gate(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    const unsigned rows = (unsigned)((int64_t)c.p.batch * c.p.length * c.p.heads);
    sq_tile_gate_kernel<T><<<rows, 128, 0, sq_stream(call)>>>(c);
    return sq_launched("gated output gradient", err);
}

template <typename T>
static sq_status sq_tile_splits(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    const int64_t groups = c.p.heads / c.p.heads_per_group;
    const unsigned rows = (unsigned)((int64_t)c.p.batch * c.p.length * groups);
    const sq_grid grid = {dim3(rows), 128, 0, true};
    const char *what = "sums over heads";
    auto kernel = sq_tile_splits_kernel<T>;
    SQ_TRY(sq_launch_chained(call, grid, what, err, kernel, c, (const float *)c.d_q, c.g.d_q));
    return sq_launch_chained(call, grid, what, err, kernel, c, (const float *)c.d_k, c.g.d_k);
}

/* Is d_skip of heads alone, as d_a and d_bias are? */
static inline bool sq_tile_skips_are_of_heads(const sq_decay_tiled &c)
{
    return c.p.skip && c.g.d_skip_column == 0 && c.skip_values == 1;
}

/* Those of the gates themselves, of A and of the bias. */
template <typename T>
static sq_status sq_tile_gates(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    const int64_t rows = (int64_t)c.p.batch * c.chunks;
    const int64_t blocks = rows * sq_ceil_div(c.p.heads, SQ_TILE_GATES_HEADS);
    const sq_grid grid = {dim3((unsigned)blocks), SQ_TILE_GATES_THREADS, 0, true};
    SQ_TRY(sq_launch_chained(call, grid, "gradients of gates", err, sq_tile_gates_kernel<T>, c));
    sq_tile_totals sums = {};
    sq_tile_add_total(&sums, c.d_a, c.g.d_a, 1);
    sq_tile_add_total(&sums, c.d_bias, c.g.d_bias, 1);
    if (sq_tile_skips_are_of_heads(c))
        sq_tile_add_total(&sums, c.d_skip, c.g.d_skip, c.g.d_skip_head);
    return sq_tile_sum_parts(call, sums, rows, c.p.heads, 1, err);
}

/* dskip of each head, or of each head and column, where sq_tile_gates has not summed it. */
static inline sq_status sq_tile_skips(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    const int64_t rows = (int64_t)c.p.batch * c.chunks;
    const bool has_columns = c.g.d_skip_column != 0;
    sq_tile_totals sums = {};
    if (sq_tile_skips_are_of_heads(c))
        return SQ_OK;
    sq_tile_add_total(&sums, c.d_skip, c.g.d_skip,
                      has_columns ? c.g.d_skip_column : c.g.d_skip_head);
    return sq_tile_sum_parts(call, sums, rows, has_columns ? c.p.heads * c.p.values : c.p.heads,
                             has_columns ? 1 : c.skip_values, err);
}

#endif
