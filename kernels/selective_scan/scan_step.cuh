/* scan_step: pass step of selective_scan's cuda/portable, one token: a stream of the states through
 * the device. Included by selective_scan.cu alone. A channel's states lie over some lanes of a warp,
 * VEC neighbours a lane; a block owns its channels in STEP_ROWS batch rows, asks for all their
 * states at once and reads A but once for them. What there is one of for each row and channel (step
 * size, skip, gate) one thread makes, and passes in shared memory.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_STEP_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_STEP_CUH

#include "kernels/hw/launch.cuh"
#include "kernels/hw/words.cuh"
#include "kernels/selective_scan/scan_tile.cuh"

namespace sq_selective_scan
{

/* A channel has LANES lanes or more: a block has CHANNELS channels or less. BLOCKS of an SM: 64 KiB
 * of states in flight. */
enum { STEP_THREADS = 256, STEP_ROWS = 4, STEP_LANES = 4, STEP_BLOCKS = 4, STEP_STATES = 256 };
enum { STEP_CHANNELS = STEP_THREADS / STEP_LANES };
static_assert(STEP_ROWS * STEP_CHANNELS == STEP_THREADS, "a thread for each row and channel");

/* What a block owns: channels [d, d + channels) of group g in batch rows [b, b + rows). */
struct step_part {
    int64_t b;
    int g, d, channels, rows;
};

/* 1 << shift: lanes of a channel, STEP_LANES to 32. tiles of STEP_THREADS >> shift channels hold the
 * per_group channels of a group. */
struct step_tiling {
    int shift, per_group, tiles;
};

/* Grid: (tiles of all groups, tiles of STEP_ROWS batch rows). */
__device__ __forceinline__ step_part step_part_of(const step_tiling &tiling, int64_t batch)
{
    const int count = STEP_THREADS >> tiling.shift, g = (int)blockIdx.x / tiling.tiles;
    const int first = ((int)blockIdx.x - g * tiling.tiles) * count;
    step_part part;
    part.b = (int64_t)blockIdx.y * STEP_ROWS;
    part.g = g;
    part.d = g * tiling.per_group + first;
    part.channels = min(count, tiling.per_group - first);
    part.rows = (int)min((int64_t)STEP_ROWS, batch - part.b);
    return part;
}

/* By row of the block, and channel or state. */
struct step_shared {
    float2 step[STEP_ROWS][STEP_CHANNELS];                             /* (step size, u) */
    float gate[STEP_ROWS][STEP_CHANNELS], y[STEP_ROWS][STEP_CHANNELS]; /* silu(z); C . h */
    alignas(16) float b[STEP_ROWS][STEP_STATES], c[STEP_ROWS][STEP_STATES];
};

/* A lane's states of B or C: `row` of shared memory or, constant in time, channel d's. */
template <int VEC>
__device__ __forceinline__ sq_word<VEC> step_row(const constant_rows &constant, int d,
                                                 const float *row, int n)
{
    return constant.data ? *(const sq_word<VEC> *)&constant.row(d)[n]
                         : *(const sq_word<VEC> *)&row[n];
}

/* Of the row that a thread prepares: its element of B and C, 0 where there is none. */
template <typename T>
__device__ __forceinline__ float step_element(const projection<const T> &p, const step_part &part,
                                              int r, int n, int64_t states)
{
    const bool is_there = p.data && n < states && r < part.rows;
    return is_there ? sq_to_f32(p.data[(part.b + r) * p.stride_b + part.g * p.stride_g + n]) : 0.0f;
}

/* A channel, and every STEP_CHANNELS-th state of B and C, of one row each. */
template <typename T>
__device__ __forceinline__ void step_prepare(const scan_args<T> &p, const step_part &part,
                                             step_shared *shared)
{
    const int r = (int)threadIdx.x / STEP_CHANNELS, c = (int)threadIdx.x % STEP_CHANNELS;
    const int64_t b = part.b + r, d = part.d + c;
    const float b_n = step_element(p.b, part, r, c, p.states);
    const float c_n = step_element(p.c, part, r, c, p.states);
    float u = 0.0f, delta = 0.0f, z = 0.0f;
    if (r < part.rows && c < part.channels) {
        u = sq_to_f32(p.u.data[b * p.u.stride_b + d]);
        delta = sq_to_f32(p.delta.data[b * p.delta.stride_b + d]) + (p.bias ? p.bias[d] : 0.0f);
        if (p.z.data)
            z = sq_to_f32(p.z.data[b * p.z.stride_b + d]);
    }
    shared->b[r][c] = b_n;
    shared->c[r][c] = c_n;
#pragma unroll 1
    for (int n = c + STEP_CHANNELS; n < p.states; n += STEP_CHANNELS) {
        shared->b[r][n] = step_element(p.b, part, r, n, p.states);
        shared->c[r][n] = step_element(p.c, part, r, n, p.states);
    }
    shared->step[r][c] = make_float2(p.has_softplus ? softplus(delta) : delta, u);
    shared->gate[r][c] = p.z.data ? sq_silu(z) : 1.0f;
}

template <typename T>
__device__ __forceinline__ void step_finish(const scan_args<T> &p, const step_part &part,
                                            const step_shared *shared)
{
    const int r = (int)threadIdx.x / STEP_CHANNELS, c = (int)threadIdx.x % STEP_CHANNELS;
    const int64_t b = part.b + r, d = part.d + c;
    if (r >= part.rows || c >= part.channels)
        return;
    float y = shared->y[r][c];
    if (p.skip)
        y = fmaf(p.skip[d], shared->step[r][c].y, y);
    p.y.data[b * p.y.stride_b + d] = sq_from_f32<T>(y * shared->gate[r][c]);
}

/* A lane's states of one row: h <- exp2(decay d) h + d u B. Returns C . h. */
template <int VEC>
__device__ __forceinline__ float step_states(float2 step, const sq_word<VEC> &decay,
                                             const sq_word<VEC> &b, const sq_word<VEC> &c,
                                             sq_word<VEC> *h)
{
    const float input = step.x * step.y;
    float y = 0.0f;
#pragma unroll
    for (int v = 0; v < VEC; v++) {
        h->at[v] = fmaf(sq_exp2(step.x * decay.at[v]), h->at[v], input * b.at[v]);
        y = fmaf(c.at[v], h->at[v], y);
    }
    return y;
}

template <typename T, int VEC>
__global__ void __launch_bounds__(STEP_THREADS, STEP_BLOCKS)
    scan_step(scan_args<T> p, step_tiling tiling)
{
    using states = sq_word<VEC>;
    __shared__ step_shared shared;
    const step_part part = step_part_of(tiling, p.batch);
    const int lanes = 1 << tiling.shift, lane = (int)threadIdx.x & (lanes - 1);
    const int c = (int)threadIdx.x >> tiling.shift, d = part.d + c;
    const float *initial = p.initial + part.b * p.initial_stride_b + d * p.initial_stride_d;
    float *final = p.final + part.b * p.final_stride_b + d * p.final_stride_d;
    float y[STEP_ROWS] = {0.0f};
    const int n_states = (int)p.states;
    for (int first = 0; first < n_states; first += lanes * VEC) {
        const int n = first + lane * VEC;
        const int rows = n < n_states && c < part.channels ? part.rows : 0;
        states h[STEP_ROWS], decay = {};
#pragma unroll
        for (int r = 0; r < STEP_ROWS; r++)
            if (r < rows)
                h[r] = sq_stream_in<VEC>(initial + r * p.initial_stride_b + n);
        if (rows > 0)
            decay = *(const states *)&p.a[d * p.a_stride + n];
        if (first == 0) {
            step_prepare(p, part, &shared);
            __syncthreads();
        }
#pragma unroll
        for (int v = 0; v < VEC; v++)
            decay.at[v] *= SQ_LOG2E;
#pragma unroll
        for (int r = 0; r < STEP_ROWS; r++) {
            if (r >= rows)
                break;
            const states b_t = step_row<VEC>(p.const_b, d, shared.b[r], n);
            const states c_t = step_row<VEC>(p.const_c, d, shared.c[r], n);
            y[r] += step_states(shared.step[r][c], decay, b_t, c_t, &h[r]);
            sq_stream_out<VEC>(final + r * p.final_stride_b + n, h[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < STEP_ROWS; r++) {
        for (int half = lanes / 2; half > 0; half /= 2)
            y[r] += __shfl_xor_sync(0xffffffffu, y[r], half);
        if (lane == 0)
            shared.y[r][c] = y[r];
    }
    __syncthreads();
    step_finish(p, part, &shared);
}

/* Do four neighbouring states of every row form one aligned access? */
static inline bool is_quad_aligned(const sq_tensor *t)
{
    for (int i = 0; i + 1 < t->rank; i++)
        if (t->dim[i] > 1 && t->stride[i] % 4 != 0)
            return false;
    return (uintptr_t)t->data % (4 * sq_dtype_size(t->dtype)) == 0 && t->dim[t->rank - 1] % 4 == 0;
}

template <typename T>
sq_status launch_step(const sq_call *call, const scan_args<T> &args, sq_error *err)
{
    const bool is_quad = is_quad_aligned(&call->in[IN_A]) && is_quad_aligned(&call->in[IN_B]) &&
                         is_quad_aligned(&call->in[IN_C]) &&
                         is_quad_aligned(&call->in[IN_INITIAL]) &&
                         is_quad_aligned(&call->out[OUT_FINAL]);
    step_tiling tiling = {.shift = 2, .per_group = (int)(args.channels / args.groups)};
    while (tiling.shift < 5 && ((is_quad ? 4 : 1) << tiling.shift) < args.states)
        tiling.shift++;
    tiling.tiles = (int)sq_ceil_div(tiling.per_group, STEP_THREADS >> tiling.shift);
    dim3 grid((unsigned)(args.groups * tiling.tiles), (unsigned)sq_ceil_div(args.batch, STEP_ROWS));
    if (is_quad)
        scan_step<T, 4><<<grid, STEP_THREADS, 0, sq_stream(call)>>>(args, tiling);
    else
        scan_step<T, 1><<<grid, STEP_THREADS, 0, sq_stream(call)>>>(args, tiling);
    return sq_launched("selective_scan step", err);
}

} // namespace sq_selective_scan

#endif
