/* decay_simt: the recurrence step by step with the state in registers, for f32, which tensor cores
 * do not serve. Without them the chunkwise form saves nothing: per step and head it costs as many
 * multiply-adds (2 K V + (K + V) Q / 2 against 3 K V operations here), and here every decay is
 * applied as it is.
 *
 * A block owns 64 columns. SPLIT lanes share a pair of columns and hold 32 rows of it each; steps
 * arrive in shared memory 16 at a time, by asynchronous copies. Segments as in decay_mma.cuh.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_SIMT_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_SIMT_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_segments.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

enum { SQ_SIMT_STEPS = 16, SQ_SIMT_COLUMNS = 64, SQ_SIMT_ROWS = 32 };

/* What a block keeps of 16 steps. gate: decay and weight. */
template <int KEYS>
struct sq_simt_stage {
    float q[SQ_SIMT_STEPS][KEYS], k[SQ_SIMT_STEPS][KEYS], v[SQ_SIMT_STEPS][SQ_SIMT_COLUMNS];
    float2 gate[SQ_SIMT_STEPS];
};

/* Starts copying 16 rows of WIDTH elements; rows and columns that do not exist become 0. */
template <int WIDTH, int THREADS>
__device__ __forceinline__ void sq_simt_copy(float (*to)[WIDTH], const float *from, int64_t stride,
                                             int rows, int columns)
{
#pragma unroll 1 /* registers */
    for (int i = (int)threadIdx.x; i < SQ_SIMT_STEPS * WIDTH / 4; i += THREADS) {
        const int row = i / (WIDTH / 4), column = i % (WIDTH / 4) * 4;
        const bool is_valid = row < rows && column < columns;
        sq_copy_async(sq_shared_address(&to[row][column]),
                      is_valid ? from + row * stride + column : from, is_valid);
    }
}

/* Rows sub * 4 + 4 SPLIT i + e of two columns. */
template <int SPLIT>
struct sq_simt_state {
    float at[SQ_SIMT_ROWS / 4][4][2];

    /* state = decay state + k input^T for both columns; returns the lane's share of q^T state. */
    template <bool HAS_QUERY>
    __device__ __forceinline__ float2 step(const float *q, const float *k, float decay,
                                           float2 input)
    {
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int i = 0; i < SQ_SIMT_ROWS / 4; i++) {
            const float4 k4 = *(const float4 *)(k + 4 * SPLIT * i);
            const float kk[4] = {k4.x, k4.y, k4.z, k4.w};
            float4 q4 = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if constexpr (HAS_QUERY)
                q4 = *(const float4 *)(q + 4 * SPLIT * i);
            const float qq[4] = {q4.x, q4.y, q4.z, q4.w};
#pragma unroll
            for (int e = 0; e < 4; e++) {
                at[i][e][0] = fmaf(decay, at[i][e][0], kk[e] * input.x);
                at[i][e][1] = fmaf(decay, at[i][e][1], kk[e] * input.y);
                if constexpr (HAS_QUERY) {
                    sum.x = fmaf(qq[e], at[i][e][0], sum.x);
                    sum.y = fmaf(qq[e], at[i][e][1], sum.y);
                }
            }
        }
        return sum;
    }

    /* Calls f(offset in the (keys, values) matrix, the two columns' values) for rows that exist. */
    template <typename F>
    __device__ __forceinline__ void each(const sq_decay_params &p, int sub, int column, F f)
    {
#pragma unroll
        for (int i = 0; i < SQ_SIMT_ROWS / 4; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = 4 * (sub + SPLIT * i) + e;
                if (row < p.keys && column < p.values)
                    f((int64_t)row * p.values + column, at[i][e]);
            }
    }
};

template <int SPLIT, bool IS_STATE_ONLY>
static __global__ void __launch_bounds__(32 * SPLIT, SPLIT == 8 ? 2 : 4)
    sq_simt_kernel(sq_decay_params p)
{
    constexpr int keys = SQ_SIMT_ROWS * SPLIT, threads = 32 * SPLIT;
    extern __shared__ __align__(512) unsigned char memory[];
    sq_simt_stage<keys> *stages = (sq_simt_stage<keys> *)memory;
    const sq_decay_unit u = sq_decay_locate(p, SQ_SIMT_COLUMNS);
    const sq_decay_head head = sq_decay_load_head(p, u.head);
    const int group_of_keys = u.head / p.heads_per_group;
    const int sub = (int)threadIdx.x % SPLIT, local = (int)threadIdx.x / SPLIT * 2;
    const int column = u.column + local;
    const int blocks = (u.last - u.first + SQ_SIMT_STEPS - 1) / SQ_SIMT_STEPS;
    float total = 0.0f; /* log2 of the decays that this thread has put down */

    auto load = [&](int block) {
        sq_simt_stage<keys> *stage = &stages[block % 2];
        const int t = u.first + block * SQ_SIMT_STEPS, rows = u.last - t;
        if constexpr (!IS_STATE_ONLY)
            sq_simt_copy<keys, threads>(stage->q,
                                        sq_decay_at<float>(p.q, u.batch, t, group_of_keys),
                                        p.q.time, rows, p.keys);
        sq_simt_copy<keys, threads>(stage->k, sq_decay_at<float>(p.k, u.batch, t, group_of_keys),
                                    p.k.time, rows, p.keys);
        sq_simt_copy<SQ_SIMT_COLUMNS, threads>(
            stage->v, sq_decay_at<float>(p.v, u.batch, t, u.head) + u.column, p.v.time, rows,
            p.values - u.column);
        if (threadIdx.x < SQ_SIMT_STEPS && (int)threadIdx.x < rows) {
            const float dt = sq_decay_dt<float>(p, u.batch, t + (int)threadIdx.x, u.head);
            const sq_decay_step step = sq_decay_gate(p, head, dt);
            total += step.log2_decay;
            stage->gate[threadIdx.x] = make_float2(sq_decay_factor(p, head, step), step.weight);
        }
        sq_copy_commit();
    };

    sq_simt_state<SPLIT> state = {};
    if (!IS_STATE_ONLY && u.segment > 0) {
        const float *from = sq_decay_segment_state(p, u, u.segment - 1);
        state.each(p, sub, column, [&](int64_t at, float *pair) {
            const float2 saved = *(const float2 *)(from + at);
            pair[0] = saved.x;
            pair[1] = saved.y;
        });
    }
    load(0);
    for (int block = 0; block < blocks; block++) {
        const sq_simt_stage<keys> *stage = &stages[block % 2];
        const int t = u.first + block * SQ_SIMT_STEPS, steps = min((int)SQ_SIMT_STEPS, u.last - t);
        sq_copy_wait<0>();
        __syncthreads(); /* this stage is there; nobody reads the other one any more */
        if (block + 1 < blocks)
            load(block + 1);
#pragma unroll 1 /* registers: the state fills half of them */
        for (int i = 0; i < steps; i++) {
            const float2 gate = stage->gate[i], v = *(const float2 *)&stage->v[i][local];
            const float2 input = make_float2(gate.y * v.x, gate.y * v.y);
            float2 sum = state.template step<!IS_STATE_ONLY>(&stage->q[i][4 * sub],
                                                             &stage->k[i][4 * sub], gate.x, input);
            if constexpr (!IS_STATE_ONLY) {
                sum.x = sq_warp_sum<SPLIT>(sum.x);
                sum.y = sq_warp_sum<SPLIT>(sum.y);
                float *o = (float *)sq_decay_at<float>(p.o, u.batch, t + i, u.head) + column;
                if (sub == 0 && column < p.values)
                    *(float2 *)o = make_float2(p.scale * sum.x + head.skip * v.x,
                                               p.scale * sum.y + head.skip * v.y);
            }
        }
    }
    if constexpr (IS_STATE_ONLY) {
        float *to = sq_decay_segment_state(p, u, u.segment);
        state.each(p, sub, column, [&](int64_t at, float *pair) {
            *(float2 *)(to + at) = make_float2(pair[0], pair[1]);
        });
        if (threadIdx.x < 32) {
            total = sq_warp_sum(total);
            if (threadIdx.x == 0)
                p.decay[sq_decay_segment_index(p, u, u.segment)] = total;
        }
    }
}

template <int SPLIT>
constexpr int sq_simt_shared = 2 * (int)sizeof(sq_simt_stage<SQ_SIMT_ROWS * SPLIT>);

template <int SPLIT>
static sq_status sq_simt_run(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    constexpr int bytes = sq_simt_shared<SPLIT>;
    const int64_t units = sq_ceil_div(p.values, SQ_SIMT_COLUMNS) * p.heads * p.batch;
    if (p.segments > 1) {
        auto kernel = sq_simt_kernel<SPLIT, true>;
        SQ_TRY(sq_allow_shared(kernel, bytes, err));
        kernel<<<(unsigned)(units * (p.segments - 1)), 32 * SPLIT, bytes, sq_stream(call)>>>(p);
        SQ_TRY(sq_launched("segment states", err));
        SQ_TRY(sq_decay_chain_launch(call, p, err));
    }
    auto kernel = sq_simt_kernel<SPLIT, false>;
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    kernel<<<(unsigned)(units * p.segments), 32 * SPLIT, bytes, sq_stream(call)>>>(p);
    return sq_launched("steps", err);
}

#endif
