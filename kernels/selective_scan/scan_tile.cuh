/* scan_tile: what a block of selective_scan's cuda/portable does with one tile where there are more
 * than 16 states or B or C is constant in time (else: scan_split.cuh). Included by selective_scan.cu
 * alone.
 *
 * A block owns CHANNELS channels of one group and walks a segment of L in tiles of STEPS steps:
 *   copy     the next tile's u, delta, z, B, C to shared memory, asynchronously
 *   prepare  (step size, u) in f32, every element once; B and C in f32
 *   scan     LANES lanes hold a channel's states in registers; only this part is serial in time
 *   finish   skip, gate, store
 * Segments of L: pass 1 scans every segment but the last run's from zero and keeps its last state and
 * the sum of its step sizes; pass 2 carries states over segments (the decay of a segment is exp(A sum
 * d)); the main pass is the whole scan again, every run of segments from its carried state. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_TILE_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_TILE_CUH

#include "kernels/hw/copy_sm80.cuh"
#include "kernels/selective_scan/scan_args.cuh"

namespace sq_selective_scan {

/* log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x| in (0, 1]; above 20 that is x in f32. For x =
 * -7 the rounding of 1 + t alone would cost four digits, and log1pf branches: so t times the
 * polynomial that interpolates log(1 + t) / t at TERMS Chebyshev points of [0, 1], relative error
 * 1.2e-7 for ten, 9.5e-6 for six (enough for 16-bit results). */
template <int TERMS = 10>
__device__ __forceinline__ float softplus(float x)
{
    static_assert(TERMS == 10 || TERMS == 6, "no polynomial of this degree");
    const float t = sq_exp(-fabsf(x));
    if constexpr (TERMS == 6) {
        float p = -0.0234436558f;
        p = fmaf(p, t, 0.100139733f);
        p = fmaf(p, t, -0.209079536f);
        p = fmaf(p, t, 0.324849581f);
        p = fmaf(p, t, -0.499314652f);
        p = fmaf(p, t, 0.999990592f);
        return fmaf(t, p, fmaxf(x, 0.0f));
    } else {
        float p = -0.00317605701f;
        p = fmaf(p, t, 0.0195425265f);
        p = fmaf(p, t, -0.0563736111f);
        p = fmaf(p, t, 0.105436236f);
        p = fmaf(p, t, -0.152696669f);
        p = fmaf(p, t, 0.196632743f);
        p = fmaf(p, t, -0.249516159f);
        p = fmaf(p, t, 0.333297104f);
        p = fmaf(p, t, -0.499998927f);
        p = fmaf(p, t, 1.0f);
        return fmaf(t, p, fmaxf(x, 0.0f));
    }
}

/* Of softplus, for elements of T. */
template <typename T>
constexpr int softplus_terms = sizeof(T) == 4 ? 10 : 6;

template <typename T, typename C>
struct shared_tiles;

template <int LANES_, int PER_LANE_, int CHANNELS_, int STEPS_>
struct tiling {
    static constexpr int LANES = LANES_, PER_LANE = PER_LANE_; /* states a lane, in fours */
    static constexpr int CHANNELS = CHANNELS_, STEPS = STEPS_; /* powers of two */
    static constexpr int THREADS = LANES * CHANNELS, STATES = LANES * PER_LANE;
    static constexpr int BLOCKS = 512 / THREADS; /* of an SM at once, at least: 128 registers */
    static constexpr int QUADS = PER_LANE / 4;
    static constexpr int BATCH = 4 / QUADS; /* steps whose operands a lane holds at a time */
    static constexpr int64_t FEW_BLOCKS = 192, MANY_BLOCKS = 528; /* L is cut below, to so many */
    template <typename T>
    using shared = shared_tiles<T, tiling>;
};
using tiling_16 = tiling<4, 4, 32, 64>; /* up to 16 states, B or C constant in time */
using tiling_64 = tiling<8, 8, 32, 32>;
using tiling_256 = tiling<32, 8, 8, 16>;

template <typename T, typename C>
struct alignas(16) raw_tile {
    T u[C::STEPS * C::CHANNELS], delta[C::STEPS * C::CHANNELS], z[C::STEPS * C::CHANNELS];
    T b[C::STEPS * C::STATES], c[C::STEPS * C::STATES];
};

template <typename T, typename C>
struct alignas(16) shared_tiles {
    raw_tile<T, C> raw[2];
    float2 step[C::STEPS][C::CHANNELS]; /* (d_t, u_t); the scan leaves (C_t . h_t, u_t) */
    float b[C::STEPS][C::STATES], c[C::STEPS][C::STATES];
};

/* Every run of the main pass but the last is `merged` segments of pass 1. */
struct segments {
    int64_t runs, merged, steps; /* steps of a segment, a multiple of the tile's */
    float *state;                /* (B, count, D, N): the state after the segment */
    float *sum;                  /* (B, count, D): sum of its step sizes */

    /* Whose states are made: nobody needs the one after the last run. */
    __host__ __device__ __forceinline__ int64_t count() const { return (runs - 1) * merged; }
};

/* What a block works on. */
struct block_part {
    int64_t b, g, d0, t0;
    int channels;  /* valid ones */
    int64_t steps; /* of this segment */
};

/* Block y of pass 1 (STATE_ONLY) has segment y, of the main pass run y. */
template <typename C, bool STATE_ONLY, typename T>
__device__ __forceinline__ block_part part_of(const scan_args<T> &p, const segments &s)
{
    const int64_t steps = STATE_ONLY ? s.steps : s.merged * s.steps;
    const int64_t per_group = p.channels / p.groups;
    const int64_t tiles = (per_group + C::CHANNELS - 1) / C::CHANNELS;
    const int64_t first = blockIdx.x % tiles * C::CHANNELS;
    block_part part;
    part.b = blockIdx.z;
    part.g = blockIdx.x / tiles;
    part.d0 = part.g * per_group + first;
    part.t0 = blockIdx.y * steps;
    part.channels = (int)min((int64_t)C::CHANNELS, per_group - first);
    part.steps = min(steps, p.length - part.t0);
    return part;
}

/* Row of s.state and s.sum: of this block's segment in pass 1, in the main pass of the one before its
 * run (but the first, which has none). */
template <bool STATE_ONLY>
__device__ __forceinline__ int64_t row_of(const segments &s, int64_t b)
{
    return b * s.count() + (STATE_ONLY ? blockIdx.y : blockIdx.y * s.merged - 1);
}

/* ROWS x COLUMNS elements to shared memory, zeros outside the valid ones. is_vector: 16-byte chunks
 * are aligned and wholly valid or not at all. */
template <int ROWS, int COLUMNS, int THREADS, typename T>
__device__ __forceinline__ void copy_plane(T *to, const T *from, int64_t stride, int valid_rows,
                                           int valid_columns, bool is_vector)
{
    constexpr int vector = sq_per_vector<T>, chunks = COLUMNS / vector;
    if (is_vector) {
#pragma unroll 2
        for (int i = threadIdx.x; i < ROWS * chunks; i += THREADS) {
            const int row = i / chunks, column = i % chunks * vector;
            const bool is_valid = row < valid_rows && column < valid_columns;
            sq_copy_async(sq_shared_address(to + row * COLUMNS + column),
                          is_valid ? from + row * stride + column : from, is_valid);
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
        const int row = i / COLUMNS, column = i % COLUMNS;
        const bool is_valid = row < valid_rows && column < valid_columns;
        to[i] = is_valid ? from[row * stride + column] : sq_from_f32<T>(0.0f);
    }
}

template <typename C, bool STATE_ONLY, bool CONSTANT, typename T>
__device__ __forceinline__ void copy_tile(raw_tile<T, C> *raw, const scan_args<T> &p,
                                          const block_part &part, int64_t tile)
{
    const int64_t begin = tile * C::STEPS, t = part.t0 + begin;
    const int rows = (int)min((int64_t)C::STEPS, part.steps - begin);
    auto sequence_tile = [&](T *to, const sequence<const T> &from) {
        copy_plane<C::STEPS, C::CHANNELS, C::THREADS>(
            to, from.data + part.b * from.stride_b + t * from.stride_t + part.d0, from.stride_t,
            rows, part.channels, p.is_sequence_vector);
    };
    auto projection_tile = [&](T *to, const projection<const T> &from) {
        if (CONSTANT && !from.data)
            return;
        const T *start = from.data + part.b * from.stride_b + t * from.stride_t +
                         part.g * from.stride_g;
        copy_plane<C::STEPS, C::STATES, C::THREADS>(to, start, from.stride_t, rows,
                                                    (int)p.states, p.is_projection_vector);
    };
    sequence_tile(raw->u, p.u);
    sequence_tile(raw->delta, p.delta);
    projection_tile(raw->b, p.b);
    if constexpr (!STATE_ONLY) {
        projection_tile(raw->c, p.c);
        if (p.z.data)
            sequence_tile(raw->z, p.z);
    }
}

template <typename T>
__device__ __forceinline__ float2 load_pair(const T *from)
{
    if constexpr (sizeof(T) == 4)
        return *(const float2 *)from;
    else
        return sq_unpack2<T>(*(const uint32_t *)from);
}

/* In prepare and finish a thread owns two neighbouring channels and every ROW_STEP-th row. */
template <typename C>
struct pair_of_channels {
    static constexpr int PAIRS = C::CHANNELS / 2, ROW_STEP = C::THREADS / PAIRS;
    int channel, row;
    float bias[2], skip[2];

    template <typename T>
    __device__ __forceinline__ pair_of_channels(const scan_args<T> &p, const block_part &part)
        : channel((int)threadIdx.x % PAIRS * 2), row((int)threadIdx.x / PAIRS)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const bool is_valid = channel + i < part.channels;
            bias[i] = is_valid && p.bias ? p.bias[part.d0 + channel + i] : 0.0f;
            skip[i] = is_valid && p.skip ? p.skip[part.d0 + channel + i] : 0.0f;
        }
    }
};

/* rows: valid ones. Behind them the step size is 0: the state stays as it is. */
template <typename C, bool STATE_ONLY, typename T>
__device__ __forceinline__ void prepare(shared_tiles<T, C> *s, const raw_tile<T, C> &raw,
                                        const pair_of_channels<C> &own, int rows, bool has_softplus)
{
#pragma unroll 4
    for (int row = own.row; row < C::STEPS; row += own.ROW_STEP) {
        const float2 u = load_pair(&raw.u[row * C::CHANNELS + own.channel]);
        float2 d = load_pair(&raw.delta[row * C::CHANNELS + own.channel]);
        d.x += own.bias[0];
        d.y += own.bias[1];
        if (has_softplus)
            d = make_float2(softplus(d.x), softplus(d.y));
        if (row >= rows)
            d = make_float2(0.0f, 0.0f);
        *(float4 *)&s->step[row][own.channel] = make_float4(d.x, u.x, d.y, u.y);
    }
#pragma unroll 4
    for (int i = threadIdx.x * 2; i < C::STEPS * C::STATES; i += C::THREADS * 2) {
        *(float2 *)(&s->b[0][0] + i) = load_pair(&raw.b[i]);
        if constexpr (!STATE_ONLY)
            *(float2 *)(&s->c[0][0] + i) = load_pair(&raw.c[i]);
    }
}

/* A lane's B and C where one of them or both are constant in time. */
template <int STATES, bool CONSTANT>
struct lane_constants {
};
template <int STATES>
struct lane_constants<STATES, true> {
    float b[STATES], c[STATES];
    bool has_b, has_c;
};

/* The states of one lane. State 4 (q LANES + lane) + k is h[q][k]. */
template <typename C, bool CONSTANT = false>
struct lane_states {
    float h[C::PER_LANE], a[C::PER_LANE]; /* a: A log2 e; 0 beyond N, where B is 0 too */
    float sum;                            /* of the step sizes */
    int lane, channel;
    lane_constants<C::PER_LANE, CONSTANT> constant;

    struct operands { /* of one step */
        float2 step;
        float4 b[C::QUADS], c[C::QUADS];
    };

    __device__ __forceinline__ int state(int i) const
    {
        return (i / 4 * C::LANES + lane) * 4 + i % 4;
    }

    template <bool STATE_ONLY, typename T>
    __device__ __forceinline__ void load(operands *in, const shared_tiles<T, C> *s, int t) const
    {
        in->step = s->step[t][channel];
#pragma unroll
        for (int q = 0; q < C::QUADS; q++) {
            in->b[q] = *(const float4 *)&s->b[t][state(4 * q)];
            if constexpr (!STATE_ONLY)
                in->c[q] = *(const float4 *)&s->c[t][state(4 * q)];
        }
    }

    __device__ __forceinline__ void load_state(const float *state_d, int64_t states)
    {
#pragma unroll
        for (int i = 0; i < C::PER_LANE; i++)
            if (state(i) < states)
                h[i] = state_d[state(i)];
    }

    /* Of channel d; zeros where there is no such state. */
    template <typename T>
    __device__ __forceinline__ void load_constants(const scan_args<T> &p, int64_t d, bool is_owner)
    {
        constant.has_b = p.const_b.data;
        constant.has_c = p.const_c.data;
#pragma unroll
        for (int i = 0; i < C::PER_LANE; i++) {
            const bool is_valid = is_owner && state(i) < p.states;
            constant.b[i] = is_valid && constant.has_b ? p.const_b.row(d)[state(i)] : 0.0f;
            constant.c[i] = is_valid && constant.has_c ? p.const_c.row(d)[state(i)] : 0.0f;
        }
    }

    __device__ __forceinline__ void store_state(float *state_d, int64_t states) const
    {
#pragma unroll
        for (int i = 0; i < C::PER_LANE; i++)
            if (state(i) < states)
                state_d[state(i)] = h[i];
    }

    /* One step; returns this lane's part of C . h. */
    template <bool STATE_ONLY>
    __device__ __forceinline__ float advance(const operands &in)
    {
        const float d = in.step.x, x = d * in.step.y;
        float y = 0;
        sum += d;
#pragma unroll
        for (int q = 0; q < C::QUADS; q++) {
            float b[4] = {in.b[q].x, in.b[q].y, in.b[q].z, in.b[q].w};
            float c[4] = {};
            if constexpr (!STATE_ONLY) {
                c[0] = in.c[q].x, c[1] = in.c[q].y;
                c[2] = in.c[q].z, c[3] = in.c[q].w;
            }
            if constexpr (CONSTANT) {
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    b[j] = constant.has_b ? constant.b[4 * q + j] : b[j];
                    c[j] = constant.has_c ? constant.c[4 * q + j] : c[j];
                }
            }
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int i = 4 * q + j;
                h[i] = fmaf(sq_exp2(d * a[i]), h[i], x * b[j]);
                y = fmaf(c[j], h[i], y);
            }
        }
        return y;
    }
};

/* x where mask is all ones, y where it is 0. One instruction; a condition the compiler turns into
 * branches round copies of the shuffle below. */
__device__ __forceinline__ float pick(uint32_t mask, float x, float y)
{
    uint32_t bits;
    asm("lop3.b32 %0, %1, %2, %3, 0xca;"
        : "=r"(bits)
        : "r"(mask), "r"(__float_as_uint(x)), "r"(__float_as_uint(y)));
    return __uint_as_float(bits);
}

/* Sums y[k] over LANES lanes, STRIDE apart (those of a channel, say), of which this one has number
 * `lane`; lane l receives the sum of y[l % BATCH]. The last levels halve the number of values as they
 * go: 3 shuffles for 4 values of 4 lanes instead of 8. */
template <int LANES, int BATCH, int STRIDE = 1>
__device__ __forceinline__ float sum_over_lanes(float (&y)[BATCH], int lane)
{
#pragma unroll
    for (int step = LANES / 2; step >= BATCH; step /= 2)
#pragma unroll
        for (int k = 0; k < BATCH; k++)
            y[k] += __shfl_xor_sync(0xffffffffu, y[k], step * STRIDE);
#pragma unroll
    for (int half = BATCH / 2; half >= 1; half /= 2) {
        const uint32_t upper = 0u - (uint32_t)(lane / half % 2); /* all ones where lane & half */
#pragma unroll
        for (int k = 0; k < half; k++) {
            const float keep = pick(upper, y[k + half], y[k]);
            const float send = pick(upper, y[k], y[k + half]);
            y[k] = keep + __shfl_xor_sync(0xffffffffu, send, half * STRIDE);
        }
    }
    return y[0];
}

/* A step's operands are read BATCH steps ahead, and a batch's results are stored after those reads:
 * the compiler may not move a load over a store that might alias, and a scheduler with one warp has
 * nobody else to hide the latency. (The last reads wrap round; nobody uses them.) */
template <typename C, bool STATE_ONLY, bool CONSTANT, typename T>
__device__ __forceinline__ void scan_tile(shared_tiles<T, C> *s, lane_states<C, CONSTANT> *own)
{
    typename lane_states<C, CONSTANT>::operands in[C::BATCH];
#pragma unroll
    for (int k = 0; k < C::BATCH; k++)
        own->template load<STATE_ONLY>(&in[k], s, k);
    /* Rows are shared within a warp only. A row is overwritten by a sum that depends on every lane's
     * reading of it; the last loads wrap around to rows that hold results by now, and are not used. */
#pragma unroll 1
    for (int t = 0; t < C::STEPS; t += C::BATCH) {
        float y[C::BATCH];
#pragma unroll
        for (int k = 0; k < C::BATCH; k++) {
            y[k] = own->template advance<STATE_ONLY>(in[k]);
            own->template load<STATE_ONLY>(&in[k], s, (t + C::BATCH) % C::STEPS + k);
        }
        if constexpr (!STATE_ONLY) {
            const float total = sum_over_lanes<C::LANES, C::BATCH>(y, own->lane);
            if (own->lane < C::BATCH)
                s->step[t + own->lane][own->channel].x = total;
        }
    }
}

template <typename T>
__device__ __forceinline__ void store_pair(T *to, float2 value)
{
    if constexpr (sizeof(T) == 4)
        *(float2 *)to = value;
    else
        *(uint32_t *)to = sq_pack2<T>(value.x, value.y);
}

template <typename C, typename T>
__device__ __forceinline__ void finish(const shared_tiles<T, C> *s, const raw_tile<T, C> &raw,
                                       const scan_args<T> &p, const block_part &part,
                                       const pair_of_channels<C> &own, int64_t tile)
{
    const int64_t begin = tile * C::STEPS;
    const int rows = (int)min((int64_t)C::STEPS, part.steps - begin);
    T *y = p.y.data + part.b * p.y.stride_b + (part.t0 + begin) * p.y.stride_t + part.d0 +
           own.channel;
#pragma unroll 4
    for (int row = own.row; row < rows; row += own.ROW_STEP) {
        const float4 from = *(const float4 *)&s->step[row][own.channel];
        float2 value = {fmaf(own.skip[0], from.y, from.x), fmaf(own.skip[1], from.w, from.z)};
        if (p.z.data) {
            const float2 z = load_pair(&raw.z[row * C::CHANNELS + own.channel]);
            value = make_float2(value.x * sq_silu(z.x), value.y * sq_silu(z.y));
        }
        T *to = y + row * p.y.stride_t;
        if (p.is_sequence_vector) {
            if (own.channel < part.channels)
                store_pair(to, value);
        } else {
            if (own.channel < part.channels)
                to[0] = sq_from_f32<T>(value.x);
            if (own.channel + 1 < part.channels)
                to[1] = sq_from_f32<T>(value.y);
        }
    }
}

} // namespace sq_selective_scan

#endif
