/* decay_simt: the recurrence step by step with the state in registers, for f32, which tensor cores
 * do not serve, and for decays by row of the state. Without tensor cores the chunkwise form saves
 * nothing: per step and head it costs as many multiply-adds (2 K V + (K + V) Q / 2 against 3 K V
 * operations here), and here every decay is applied as it is.
 *
 * A block owns 64 columns. SPLIT lanes share a pair of columns and hold 32 rows of it each; steps
 * arrive in shared memory 16 at a time, by asynchronous copies where they are f32 already. Segments
 * as in decay_mma.cuh.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_SIMT_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_SIMT_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_segments.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

enum { SQ_SIMT_STEPS = 16, SQ_SIMT_COLUMNS = 64, SQ_SIMT_ROWS = 32 };

/* MAIN: o and, at the end, the final state. STATE: what a segment adds to the state. BY_ROW: as
 * MAIN, with a decay for each row of the state. */
typedef enum { SQ_SIMT_MAIN, SQ_SIMT_STATE, SQ_SIMT_BY_ROW } sq_simt_mode;

/* What a block keeps of 16 steps. gate: decay, weight, scale of o. decay: by row. */
template <int KEYS, sq_simt_mode MODE>
struct sq_simt_stage {
    float q[SQ_SIMT_STEPS][KEYS], k[SQ_SIMT_STEPS][KEYS], v[SQ_SIMT_STEPS][SQ_SIMT_COLUMNS];
    float4 gate[SQ_SIMT_STEPS];
    float decay[MODE == SQ_SIMT_BY_ROW ? SQ_SIMT_STEPS : 1][KEYS];
};

/* Copies 16 rows of WIDTH elements, f32 asynchronously; rows and columns that do not exist become
 * 0.
 */
template <typename T, int WIDTH, int THREADS>
__device__ __forceinline__ void sq_simt_copy(float (*to)[WIDTH], const T *from, int64_t stride,
                                             int rows, int columns)
{
    constexpr int vector = sq_per_vector<T>;
#pragma unroll 1 /* registers */
    for (int i = (int)threadIdx.x; i < SQ_SIMT_STEPS * WIDTH / vector; i += THREADS) {
        const int row = i / (WIDTH / vector), column = i % (WIDTH / vector) * vector;
        const bool is_valid = row < rows && column < columns;
        const T *source = is_valid ? from + row * stride + column : from;
        if constexpr (sizeof(T) == 4) {
            sq_copy_async(sq_shared_address(&to[row][column]), source, is_valid);
        } else {
            float x[vector];
            sq_unpack_vector<T>(is_valid ? sq_load16(source) : make_uint4(0, 0, 0, 0), x);
#pragma unroll
            for (int e = 0; e < vector; e += 4)
                *(float4 *)&to[row][column + e] = *(const float4 *)&x[e];
        }
    }
}

/* Rows sub * 4 + 4 SPLIT i + e of two columns. */
template <int SPLIT>
struct sq_simt_state {
    float at[SQ_SIMT_ROWS / 4][4][2];

    /* state = decay state + k input^T for both columns; returns the lane's share of q^T state.
     * decays: by row, for mode BY_ROW. */
    template <sq_simt_mode MODE>
    __device__ __forceinline__ float2 step(const float *q, const float *k, const float *decays,
                                           float decay, float2 input)
    {
        constexpr bool has_query = MODE != SQ_SIMT_STATE;
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int i = 0; i < SQ_SIMT_ROWS / 4; i++) {
            const float4 k4 = *(const float4 *)(k + 4 * SPLIT * i);
            const float kk[4] = {k4.x, k4.y, k4.z, k4.w};
            float4 q4 = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if constexpr (has_query)
                q4 = *(const float4 *)(q + 4 * SPLIT * i);
            const float qq[4] = {q4.x, q4.y, q4.z, q4.w};
            float4 d4 = make_float4(decay, decay, decay, decay);
            if constexpr (MODE == SQ_SIMT_BY_ROW)
                d4 = *(const float4 *)(decays + 4 * SPLIT * i);
            const float dd[4] = {d4.x, d4.y, d4.z, d4.w};
#pragma unroll
            for (int e = 0; e < 4; e++) {
                at[i][e][0] = fmaf(dd[e], at[i][e][0], kk[e] * input.x);
                at[i][e][1] = fmaf(dd[e], at[i][e][1], kk[e] * input.y);
                if constexpr (has_query) {
                    sum.x = fmaf(qq[e], at[i][e][0], sum.x);
                    sum.y = fmaf(qq[e], at[i][e][1], sum.y);
                }
            }
        }
        return sum;
    }

    /* Calls f(row in the (keys, values) matrix, the two columns' values) for rows that exist. */
    template <typename F>
    __device__ __forceinline__ void each(const sq_decay_params &p, int sub, int column, F f)
    {
#pragma unroll
        for (int i = 0; i < SQ_SIMT_ROWS / 4; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = 4 * (sub + SPLIT * i) + e;
                if (row < p.keys && column < p.values)
                    f(row, at[i][e]);
            }
    }
};

/* o of two columns, stored as a pair. */
template <typename T>
__device__ __forceinline__ void sq_simt_store(const sq_decay_params &p, const sq_decay_unit &u,
                                              int t, int column, float x, float y)
{
    T *o = (T *)sq_decay_at<T>(p.o, u.batch, t, u.head) + column;
    x = sq_decay_gated<T>(p, u.batch, t, u.head, column, x);
    y = sq_decay_gated<T>(p, u.batch, t, u.head, column + 1, y);
    if constexpr (sizeof(T) == 4)
        *(float2 *)o = make_float2(x, y);
    else
        *(uint32_t *)o = sq_pack2<T>(x, y);
}

template <typename T, int SPLIT, sq_simt_mode MODE>
static __global__ void __launch_bounds__(32 * SPLIT, SPLIT == 8 ? 2 : 4)
    sq_simt_kernel(sq_decay_params p)
{
    constexpr int keys = SQ_SIMT_ROWS * SPLIT, threads = 32 * SPLIT;
    constexpr bool is_state_only = MODE == SQ_SIMT_STATE;
    extern __shared__ __align__(512) unsigned char memory[];
    sq_simt_stage<keys, MODE> *stages = (sq_simt_stage<keys, MODE> *)memory;
    const sq_decay_unit u = sq_decay_locate(p, SQ_SIMT_COLUMNS);
    const sq_decay_head head = sq_decay_load_head(p, u.head);
    const int group_of_keys = u.head / p.heads_per_group;
    const int sub = (int)threadIdx.x % SPLIT, local = (int)threadIdx.x / SPLIT * 2;
    const int column = u.column + local;
    const bool is_column = column < p.values;
    const float2 skip = make_float2(is_column ? sq_decay_skip(p, u.head, column) : 0.0f,
                                    is_column ? sq_decay_skip(p, u.head, column + 1) : 0.0f);
    const int blocks = (u.last - u.first + SQ_SIMT_STEPS - 1) / SQ_SIMT_STEPS;
    float total = 0.0f; /* log2 of the decays that this thread has put down */

    auto load = [&](int block) {
        sq_simt_stage<keys, MODE> *stage = &stages[block % 2];
        const int t = u.first + block * SQ_SIMT_STEPS, rows = u.last - t;
        if constexpr (!is_state_only)
            sq_simt_copy<T, keys, threads>(stage->q, sq_decay_at<T>(p.q, u.batch, t, group_of_keys),
                                           p.q.time, rows, p.keys);
        sq_simt_copy<T, keys, threads>(stage->k, sq_decay_at<T>(p.k, u.batch, t, group_of_keys),
                                       p.k.time, rows, p.keys);
        sq_simt_copy<T, SQ_SIMT_COLUMNS, threads>(
            stage->v, sq_decay_at<T>(p.v, u.batch, t, u.head) + u.column, p.v.time, rows,
            p.values - u.column);
        /* Braces: nvcc 13.0 drops what follows a discarded bare `for` in a lambda. */
        if constexpr (MODE == SQ_SIMT_BY_ROW) {
            for (int i = (int)threadIdx.x; i < SQ_SIMT_STEPS * keys; i += threads) {
                const int row = i / keys, n = i % keys;
                const bool is_valid = row < rows && n < p.keys;
                const T *at = sq_decay_at<T>(p.dt, u.batch, is_valid ? t + row : t, u.head);
                stage->decay[row][n] = is_valid ? expf(sq_to_f32(at[n])) : 0.0f;
            }
        }
        if (threadIdx.x < SQ_SIMT_STEPS && (int)threadIdx.x < rows) {
            const int own = t + (int)threadIdx.x;
            const sq_decay_step step =
                sq_decay_gate(p, head, sq_decay_dt<T>(p, u.batch, own, u.head));
            const bool is_start = sq_decay_starts(p, u.batch, own);
            total = is_start ? -INFINITY : total + step.log2_decay;
            float scale = p.scale; /* norms are of main alone */
            if constexpr (MODE == SQ_SIMT_MAIN) {
                scale = sq_decay_output_scale(p, head, u.batch, u.head, own);
            }
            stage->gate[threadIdx.x] = make_float4(is_start ? 0.0f : sq_decay_factor(p, head, step),
                                                   step.weight, scale, 0.0f);
        }
        sq_copy_commit();
    };

    sq_simt_state<SPLIT> state = {};
    const sq_decay_matrix from = sq_decay_state_before(p, u);
    if (!is_state_only && from.data)
        state.each(p, sub, column, [&](int row, float *pair) {
            const float2 saved =
                *(const float2 *)(sq_decay_row(from, u.batch, u.head, row) + column);
            pair[0] = saved.x;
            pair[1] = saved.y;
        });
    load(0);
    for (int block = 0; block < blocks; block++) {
        const sq_simt_stage<keys, MODE> *stage = &stages[block % 2];
        const int t = u.first + block * SQ_SIMT_STEPS, steps = min((int)SQ_SIMT_STEPS, u.last - t);
        sq_copy_wait<0>();
        __syncthreads(); /* this stage is there; nobody reads the other one any more */
        if (block + 1 < blocks)
            load(block + 1);
#pragma unroll 1 /* registers: the state fills half of them */
        for (int i = 0; i < steps; i++) {
            const float4 gate = stage->gate[i];
            const float2 v = *(const float2 *)&stage->v[i][local];
            const float2 input = make_float2(gate.y * v.x, gate.y * v.y);
            float2 sum = state.template step<MODE>(
                &stage->q[i][4 * sub], &stage->k[i][4 * sub],
                &stage->decay[MODE == SQ_SIMT_BY_ROW ? i : 0][4 * sub], gate.x, input);
            if constexpr (!is_state_only) {
                sum.x = sq_warp_sum<SPLIT>(sum.x);
                sum.y = sq_warp_sum<SPLIT>(sum.y);
                if (sub == 0 && is_column)
                    sq_simt_store<T>(p, u, t + i, column, gate.z * sum.x + skip.x * v.x,
                                     gate.z * sum.y + skip.y * v.y);
            }
        }
    }
    const sq_decay_matrix to = sq_decay_state_after(p, u, is_state_only);
    if (to.data)
        state.each(p, sub, column, [&](int row, float *pair) {
            *(float2 *)(sq_decay_row(to, u.batch, u.head, row) + column) =
                make_float2(pair[0], pair[1]);
        });
    if (is_state_only && threadIdx.x < 32) {
        total = sq_warp_sum(total);
        if (threadIdx.x == 0)
            p.decay[sq_decay_segment_index(p, u, u.segment)] = total;
    }
}

template <int SPLIT, sq_simt_mode MODE>
constexpr int sq_simt_shared = 2 * (int)sizeof(sq_simt_stage<SQ_SIMT_ROWS * SPLIT, MODE>);

template <typename T, int SPLIT, sq_simt_mode MODE>
static sq_status sq_simt_launch(const sq_call *call, const sq_decay_params &p, int segments,
                                sq_error *err)
{
    constexpr int bytes = sq_simt_shared<SPLIT, MODE>;
    const int64_t units = sq_ceil_div(p.values, SQ_SIMT_COLUMNS) * p.heads * p.batch;
    auto kernel = sq_simt_kernel<T, SPLIT, MODE>;
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    kernel<<<(unsigned)(units * segments), 32 * SPLIT, bytes, sq_stream(call)>>>(p);
    return sq_launched("steps", err);
}

template <typename T, int SPLIT>
static sq_status sq_simt_run(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    if (p.kind == SQ_DECAY_ROWS)
        return sq_simt_launch<T, SPLIT, SQ_SIMT_BY_ROW>(call, p, 1, err);
    if (p.segments > 1) {
        SQ_TRY((sq_simt_launch<T, SPLIT, SQ_SIMT_STATE>(call, p, p.segments - 1, err)));
        SQ_TRY(sq_decay_chain_launch(call, p, err));
    }
    return sq_simt_launch<T, SPLIT, SQ_SIMT_MAIN>(call, p, p.segments, err);
}

#endif
