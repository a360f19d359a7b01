/* scan_step: pass step of selective_scan's cuda/portable, one token: a stream of the states through
 * the device. Included by selective_scan.cu alone. A channel's states lie over some lanes of a warp,
 * VEC neighbours a lane; a block owns its channels in ROWS batch rows, asks for all their states at
 * once and reads A but once for them. What there is one of for each row and channel (step size, skip,
 * gate) one thread makes; the step size it passes in shared memory.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_STEP_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_STEP_CUH

#include "kernels/hw/launch.cuh"
#include "kernels/hw/words.cuh"
#include "kernels/selective_scan/scan_tile.cuh"

namespace sq_selective_scan
{

/* A channel has STEP_LANES lanes or more: a block has STEP_CHANNELS channels or less. */
constexpr int STEP_THREADS = 256, STEP_LANES = 4, STEP_STATES = 256;
constexpr int STEP_CHANNELS = STEP_THREADS / STEP_LANES;

/* Batch rows of a block: FEW where there are few, so that there are blocks for the whole device, where B
 * or C is constant in time, and where a channel has more states than VEC times its lanes. ITEMS: rows of
 * which a thread prepares a channel. BLOCKS of an SM: 64 or 96 KiB of states in flight. */
enum step_rows { STEP_FEW = 4, STEP_MANY = 8 };
template <int ROWS>
struct step_shape {
    static constexpr int ROW_STEP = STEP_THREADS / STEP_CHANNELS, ITEMS = ROWS / ROW_STEP;
    static constexpr int BLOCKS = ROWS == STEP_MANY ? 3 : 4;
    static_assert(ROWS % ROW_STEP == 0, "every thread prepares as many");
};

/* What a block owns: channels [d, d + channels) of group g in batch rows [b, b + rows). */
struct step_part {
    int64_t b;
    int g, d, channels, rows;
};

/* 1 << shift: lanes of a channel, STEP_LANES to 32. STEP_THREADS >> shift channels of the per_group
 * channels of a group make a tile. */
struct step_tiling {
    int shift, per_group;
};

/* Grid: (tiles of a group, tiles of ROWS batch rows, groups). */
template <int ROWS>
__device__ __forceinline__ step_part step_part_of(const step_tiling &tiling, int64_t batch)
{
    const int count = STEP_THREADS >> tiling.shift, first = (int)blockIdx.x * count;
    step_part part;
    part.b = (int64_t)blockIdx.y * ROWS;
    part.g = (int)blockIdx.z;
    part.d = part.g * tiling.per_group + first;
    part.channels = min(count, tiling.per_group - first);
    part.rows = (int)min((int64_t)ROWS, batch - part.b);
    return part;
}

/* By row of the block, and channel or state. */
template <int ROWS>
struct step_shared {
    float2 step[ROWS][STEP_CHANNELS]; /* (step size, step size u) */
    float2 out[ROWS][STEP_CHANNELS];  /* (skip u, gate): y = (C . h + skip u) gate */
    float y[ROWS][STEP_CHANNELS];     /* C . h */
    alignas(16) float b[ROWS][STEP_STATES], c[ROWS][STEP_STATES];
};

/* A lane's states of B or C: `row` of shared memory or, constant in time, channel d's. */
template <int VEC, int ROWS>
__device__ __forceinline__ sq_word<VEC> step_row(const constant_rows &constant, int d,
                                                 const float *row, int n)
{
    if constexpr (ROWS == STEP_FEW) {
        if (constant.data)
            return *(const sq_word<VEC> *)&constant.row(d)[n];
    }
    return *(const sq_word<VEC> *)&row[n];
}

/* The compiler moves no access over it: what is asked for above is on its way before anything below
 * waits. */
__device__ __forceinline__ void step_asked()
{
    __syncwarp();
}

/* What a thread prepares and finishes: a channel, and a state of B and C, in the rows first + i
 * ROW_STEP. Where there is no such row or channel it reads the last one that there is, and nobody uses
 * what comes of it: no access has a condition. */
template <int ROWS>
struct step_own {
    using shape = step_shape<ROWS>;
    unsigned first, c, channel; /* channel: c, or the last one */
    unsigned row[shape::ITEMS];

    __device__ __forceinline__ step_own(const step_part &part)
        : first(threadIdx.x / STEP_CHANNELS), c(threadIdx.x % STEP_CHANNELS),
          channel(min(c, (unsigned)part.channels - 1))
    {
#pragma unroll
        for (int i = 0; i < shape::ITEMS; i++)
            row[i] = min(first + i * shape::ROW_STEP, (unsigned)part.rows - 1);
    }

    /* Of a sequence. */
    template <typename T>
    __device__ __forceinline__ void load(T (&to)[shape::ITEMS], const sequence<const T> &p,
                                         const step_part &part) const
    {
        const T *from = p.data + part.b * p.stride_b + part.d;
#pragma unroll
        for (int i = 0; i < shape::ITEMS; i++)
            to[i] = from[row[i] * p.stride_b + channel];
    }

    /* State n of B or C. */
    template <typename T>
    __device__ __forceinline__ void load(T (&to)[shape::ITEMS], const projection<const T> &p,
                                         const step_part &part, unsigned n) const
    {
        const T *from = p.data + part.b * p.stride_b + part.g * p.stride_g;
#pragma unroll
        for (int i = 0; i < shape::ITEMS; i++)
            to[i] =
                ROWS == STEP_MANY || p.data ? from[row[i] * p.stride_b + n] : sq_from_f32<T>(0.0f);
    }

    template <typename T>
    __device__ __forceinline__ void store(float (*to)[STEP_STATES], const T (&from)[shape::ITEMS],
                                          unsigned n) const
    {
#pragma unroll
        for (int i = 0; i < shape::ITEMS; i++)
            to[first + i * shape::ROW_STEP][n] = sq_to_f32(from[i]);
    }
};

template <typename T, int ROWS>
__device__ __forceinline__ void step_prepare(const scan_args<T> &p, const step_part &part,
                                             const step_own<ROWS> &own, step_shared<ROWS> *shared)
{
    using shape = step_shape<ROWS>;
    const unsigned d = part.d + own.channel, states = (unsigned)p.states;
    T u[shape::ITEMS], delta[shape::ITEMS], z[shape::ITEMS], b[shape::ITEMS], c[shape::ITEMS];
    own.load(u, p.u, part);
    own.load(delta, p.delta, part);
    own.load(z, p.z.data ? p.z : p.u, part); /* no branch */
    own.load(b, p.b, part, min(own.c, states - 1));
    own.load(c, p.c, part, min(own.c, states - 1));
    const float bias = p.bias ? p.bias[d] : 0.0f, skip = p.skip ? p.skip[d] : 0.0f;
    step_asked();
#pragma unroll
    for (int i = 0; i < shape::ITEMS; i++) {
        const float x = sq_to_f32(delta[i]) + bias, u_t = sq_to_f32(u[i]);
        const float size = p.has_softplus ? softplus(x) : x;
        shared->step[own.first + i * shape::ROW_STEP][own.c] = make_float2(size, size * u_t);
        shared->out[own.first + i * shape::ROW_STEP][own.c] =
            make_float2(skip * u_t, p.z.data ? sq_silu(sq_to_f32(z[i])) : 1.0f);
    }
    own.store(shared->b, b, own.c);
    own.store(shared->c, c, own.c);
#pragma unroll 1
    for (unsigned n = own.c + STEP_CHANNELS; n < states; n += STEP_CHANNELS) {
        own.load(b, p.b, part, n);
        own.load(c, p.c, part, n);
        own.store(shared->b, b, n);
        own.store(shared->c, c, n);
    }
}

template <typename T, int ROWS>
__device__ __forceinline__ void step_finish(const scan_args<T> &p, const step_part &part,
                                            const step_own<ROWS> &own,
                                            const step_shared<ROWS> &shared)
{
    using shape = step_shape<ROWS>;
    T *to = p.y.data + part.b * p.y.stride_b + part.d;
#pragma unroll
    for (int i = 0; i < shape::ITEMS; i++) {
        const unsigned r = own.first + i * shape::ROW_STEP;
        const float2 out = shared.out[r][own.c];
        if (r < part.rows && own.c < part.channels)
            to[r * p.y.stride_b + own.c] = sq_from_f32<T>((shared.y[r][own.c] + out.x) * out.y);
    }
}

/* A lane's states of one row: h <- exp2(decay d) h + d u B. Returns C . h. */
template <int VEC>
__device__ __forceinline__ float step_states(float2 step, const sq_word<VEC> &decay,
                                             const sq_word<VEC> &b, const sq_word<VEC> &c,
                                             sq_word<VEC> *h)
{
    float y = 0.0f;
#pragma unroll
    for (int v = 0; v < VEC; v++) {
        h->at[v] = fmaf(sq_exp2(step.x * decay.at[v]), h->at[v], step.y * b.at[v]);
        y = fmaf(c.at[v], h->at[v], y);
    }
    return y;
}

/* Sums over a channel's lanes, of every row, to shared->y. */
template <int ROWS>
__device__ __forceinline__ void step_reduce(float (&y)[ROWS], int lanes, int c,
                                            step_shared<ROWS> *shared)
{
    const int lane = (int)threadIdx.x & (lanes - 1);
#pragma unroll 1
    for (int half = lanes / 2; half >= STEP_LANES; half /= 2)
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            y[r] += __shfl_xor_sync(0xffffffffu, y[r], half);
#pragma unroll
    for (int first = 0; first < ROWS; first += STEP_LANES) {
        float four[STEP_LANES];
#pragma unroll
        for (int r = 0; r < STEP_LANES; r++)
            four[r] = y[first + r];
        const float sum = sum_over_lanes<STEP_LANES, STEP_LANES>(four, lane);
        if (lane < STEP_LANES)
            shared->y[first + lane][c] = sum;
    }
}

/* lanes VEC states of every channel, from state `begin` on. prepare: what is to be done while they are
 * on their way. Adds to y. */
template <typename T, int VEC, int ROWS, typename F>
__device__ __forceinline__ void step_tile(const scan_args<T> &p, const step_part &part, int c,
                                          int n, const step_shared<ROWS> &shared, float (&y)[ROWS],
                                          F prepare)
{
    using states = sq_word<VEC>;
    const int d = part.d + c, rows = n < p.states && c < part.channels ? part.rows : 0;
    const float *from = p.initial + part.b * p.initial_stride_b + d * p.initial_stride_d + n;
    float *to = p.final + part.b * p.final_stride_b + d * p.final_stride_d + n;
    states h[ROWS] = {}, decay = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++, from += p.initial_stride_b)
        if (r < rows)
            h[r] = sq_stream_in<VEC>(from);
    if (rows > 0)
        decay = *(const states *)&p.a[d * p.a_stride + n];
    step_asked();
    prepare();
    if (rows == 0)
        return;
#pragma unroll
    for (int v = 0; v < VEC; v++)
        decay.at[v] *= SQ_LOG2E;
        /* All rows before the first store, which what is read behind it would wait for. */
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const states b_t = step_row<VEC, ROWS>(p.const_b, d, shared.b[r], n);
        const states c_t = step_row<VEC, ROWS>(p.const_c, d, shared.c[r], n);
        y[r] += step_states(shared.step[r][c], decay, b_t, c_t, &h[r]);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++, to += p.final_stride_b)
        if (r < rows)
            sq_stream_out<VEC>(to, h[r]);
}

/* STEP_MANY: all states of a channel are in one tile. */
template <typename T, int VEC, int ROWS>
__global__ void __launch_bounds__(STEP_THREADS, step_shape<ROWS>::BLOCKS)
    scan_step(scan_args<T> p, step_tiling tiling)
{
    __shared__ step_shared<ROWS> shared;
    const step_part part = step_part_of<ROWS>(tiling, p.batch);
    const int lanes = 1 << tiling.shift, c = (int)threadIdx.x >> tiling.shift;
    const int n = ((int)threadIdx.x & (lanes - 1)) * VEC;
    float y[ROWS] = {};
    step_tile<T, VEC>(p, part, c, n, shared, y, [&] {
        step_prepare(p, part, step_own<ROWS>(part), &shared);
        __syncthreads();
    });
    if constexpr (ROWS == STEP_FEW) {
#pragma unroll 1
        for (int more = n + lanes * VEC; more - n < p.states; more += lanes * VEC)
            step_tile<T, VEC>(p, part, c, more, shared, y, [] {});
    }
    step_reduce(y, lanes, c, &shared);
    __syncthreads();
    step_finish(p, part, step_own<ROWS>(part), shared);
}

/* Do four neighbouring states of every row form one aligned access? */
static inline bool is_quad_aligned(const sq_tensor *t)
{
    for (int i = 0; i + 1 < t->rank; i++)
        if (t->dim[i] > 1 && t->stride[i] % 4 != 0)
            return false;
    return (uintptr_t)t->data % (4 * sq_dtype_size(t->dtype)) == 0 && t->dim[t->rank - 1] % 4 == 0;
}

template <typename T, int VEC, int ROWS>
void start_step(const sq_call *call, const scan_args<T> &args, const step_tiling &tiling)
{
    const int64_t tiles = sq_ceil_div(tiling.per_group, STEP_THREADS >> tiling.shift);
    dim3 grid((unsigned)tiles, (unsigned)sq_ceil_div(args.batch, ROWS), (unsigned)args.groups);
    scan_step<T, VEC, ROWS><<<grid, STEP_THREADS, 0, sq_stream(call)>>>(args, tiling);
}

template <typename T>
sq_status launch_step(const sq_call *call, const scan_args<T> &args, sq_error *err)
{
    const int64_t many_rows = 64; /* with 3072 channels a wave of blocks of STEP_MANY rows */
    const bool is_quad = is_quad_aligned(&call->in[IN_A]) && is_quad_aligned(&call->in[IN_B]) &&
                         is_quad_aligned(&call->in[IN_C]) &&
                         is_quad_aligned(&call->in[IN_INITIAL]) &&
                         is_quad_aligned(&call->out[OUT_FINAL]);
    step_tiling tiling = {.shift = 2, .per_group = (int)(args.channels / args.groups)};
    while (tiling.shift < 5 && ((is_quad ? 4 : 1) << tiling.shift) < args.states)
        tiling.shift++;
    if (!is_quad)
        start_step<T, 1, STEP_FEW>(call, args, tiling);
    else if (args.batch < many_rows || has_constants(call) || args.states > 4 << tiling.shift)
        start_step<T, 4, STEP_FEW>(call, args, tiling);
    else
        start_step<T, 4, STEP_MANY>(call, args, tiling);
    return sq_launched("selective_scan step", err);
}

} // namespace sq_selective_scan

#endif
