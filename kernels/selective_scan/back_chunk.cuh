/* back_chunk: selective_scan's pass bwd, what a block works on at a time, and how it reads it. Included
 * by back_tile.cuh alone. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_BACK_CHUNK_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_BACK_CHUNK_CUH

#include "kernels/selective_scan/scan_tile.cuh"

namespace sq_selective_scan
{

struct back {
    static constexpr int CHANNELS = 32, LANES = 4, PER_LANE = 4, STATES = LANES * PER_LANE;
    static constexpr int SUB = 8, SUBS = BORDER / SUB, THREADS = CHANNELS * LANES;
    static constexpr int WARPS = THREADS / 32, WARP_CHANNELS = 32 / LANES;
};

template <typename T>
struct back_args {
    scan_args<T> f; /* inputs of pass fwd */
    sequence<const T> dy;
    sequence<T> du, ddelta, dz;
    projection<T> db, dc;
    constant_rows const_db, const_dc;
    float *da, *dskip, *dbias; /* dskip, dbias: (D) or NULL */
    int64_t da_stride;
    const float *dfinal; /* (B, D, N) or NULL */
    float *dinitial;
    int64_t dfinal_stride_b, dfinal_stride_d, dinitial_stride_b, dinitial_stride_d;
    /* Workspace. carried, da_rows: (B, segments, D, N); channel_rows: (B, segments, 2, D), of dD
     * and ddelta_bias; const_db_rows, const_dc_rows: as da_rows, where B or C is constant in time;
     * partial: (B, L, G, parts, 2, slices STATES), of dB and dC; of segments but
     * the first: out (B, segments, D, N), the gradient that leaves it; sum (B, segments, D), of
     * d_t. */
    float *carried, *da_rows, *channel_rows, *const_db_rows, *const_dc_rows, *partial, *out, *sum;
    int64_t chunks, parts, part_tiles, slices, segments, segment_chunks;
};

struct back_shared {
    float2 step[BORDER][back::CHANNELS]; /* (d_t, u_t) */
    float e[BORDER][back::CHANNELS];
    float b[BORDER][back::STATES], c[BORDER][back::STATES];
    float4 border[back::SUBS][back::THREADS]; /* a lane's states before every SUB-th step */
    float sums[2][back::WARPS][back::SUB][2 * back::STATES]; /* a warp's share of dB and dC */
};

/* Sums over the states, a place for every element: (sum g B, sum A log2e g a h) and C . h. With one
 * slice they take the places of step and e, which are read by then. */
struct back_totals {
    float2 *state;
    float *y;
};

/* What a block works on at a time. */
struct back_part {
    int64_t b, g, index, segment; /* index: of the parts of the group's channels */
    int64_t first_chunk, end_chunk, chunk, d0, t0;
    int channels; /* valid ones */
    int rows;     /* valid ones: steps of the chunk */

    template <typename T>
    __device__ __forceinline__ back_part(const back_args<T> &p, int64_t segment)
        : b(blockIdx.y), g(blockIdx.x / p.parts), index(blockIdx.x % p.parts), segment(segment),
          first_chunk(segment * p.segment_chunks),
          end_chunk(min(first_chunk + p.segment_chunks, p.chunks))
    {
    }

    /* false: the part has fewer tiles. */
    template <typename T>
    __device__ __forceinline__ bool take_tile(const back_args<T> &p, int64_t tile)
    {
        const int64_t per_group = p.f.channels / p.f.groups;
        const int64_t first = (index * p.part_tiles + tile) * back::CHANNELS;
        d0 = g * per_group + first;
        channels = (int)min((int64_t)back::CHANNELS, per_group - first);
        return first < per_group;
    }

    template <typename T>
    __device__ __forceinline__ void take_chunk(const back_args<T> &p, int64_t at)
    {
        chunk = at;
        t0 = at * BORDER;
        rows = (int)min((int64_t)BORDER, p.f.length - t0);
    }

    /* Row of (B, segments, D, N) for channel d. */
    template <typename T>
    __device__ __forceinline__ int64_t state_row(const back_args<T> &p, int64_t of_segment,
                                                 int64_t d) const
    {
        return ((b * p.segments + of_segment) * p.f.channels + d) * p.f.states;
    }

    __device__ __forceinline__ bool is_at_end() const { return chunk == end_chunk - 1; }
};

/* One element of the sequences and what follows from it. */
struct back_element {
    float u, x, d, dy, z, gate, e; /* x: delta + delta_bias; gate: sigmoid(z) */
};

/* An element as it is read. */
template <typename T>
struct back_raw {
    T u, delta, dy, z;
};

/* Walks over every WARPS-th step of a chunk, in one channel. What is read and what is made of it are
 * apart, so that the reads of some steps are under way at once. */
template <typename T>
struct back_reader {
    const scan_args<T> &f;
    const T *u, *delta, *dy, *z;
    int64_t dy_step;
    float bias;
    int rows; /* steps that there are, from the first one on; 0 where there is no such channel */

    __device__ __forceinline__ back_reader(const back_args<T> &p, const back_part &part, int row,
                                           int column)
        : f(p.f), dy_step(back::WARPS * p.dy.stride_t),
          rows(column < part.channels ? part.rows - row : 0)
    {
        const int64_t b = part.b, t = part.t0 + row, d = part.d0 + column;
        u = f.u.data + b * f.u.stride_b + t * f.u.stride_t + d;
        delta = f.delta.data + b * f.delta.stride_b + t * f.delta.stride_t + d;
        z = f.z.data ? f.z.data + b * f.z.stride_b + t * f.z.stride_t + d : nullptr;
        dy = p.dy.data + b * p.dy.stride_b + t * p.dy.stride_t + d;
        bias = column < part.channels && f.bias ? f.bias[d] : 0.0f;
    }

    /* Zeros where there is none. */
    __device__ __forceinline__ back_raw<T> fetch()
    {
        back_raw<T> raw = {};
        if (rows > 0) {
            raw.u = *u;
            raw.delta = *delta;
            raw.dy = *dy;
            if (z)
                raw.z = *z;
        }
        rows -= back::WARPS;
        u += back::WARPS * f.u.stride_t;
        delta += back::WARPS * f.delta.stride_t;
        dy += dy_step;
        if (z)
            z += back::WARPS * f.z.stride_t;
        return raw;
    }

    __device__ __forceinline__ back_element element(const back_raw<T> &raw) const
    {
        back_element now = {};
        now.u = sq_to_f32(raw.u);
        now.x = sq_to_f32(raw.delta) + bias;
        now.dy = now.e = sq_to_f32(raw.dy);
        now.d = f.has_softplus ? softplus<softplus_terms<T>>(now.x) : now.x;
        if (z) {
            now.z = sq_to_f32(raw.z);
            now.gate = __fdividef(1.0f, 1.0f + sq_exp(-now.z));
            now.e *= now.z * now.gate;
        }
        return now;
    }
};

/* d is 0 where there is no element. */
template <typename T>
__device__ __forceinline__ void back_prepare(back_shared *s, const back_args<T> &p,
                                             const back_part &part)
{
    constexpr int AHEAD = 8;
    const int column = threadIdx.x % 32;
    back_reader<T> reader(p, part, threadIdx.x / 32, column);
    int left = reader.rows;
#pragma unroll 1
    for (int row = threadIdx.x / 32; row < BORDER; row += AHEAD * back::WARPS) {
        back_raw<T> raw[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            raw[k] = reader.fetch();
#pragma unroll
        for (int k = 0; k < AHEAD; k++, left -= back::WARPS) {
            const back_element now = reader.element(raw[k]);
            s->step[row + k * back::WARPS][column] = make_float2(left > 0 ? now.d : 0.0f, now.u);
            s->e[row + k * back::WARPS][column] = now.e;
        }
    }
}

/* A thread's share of B or C in a chunk: every ROW_STEP-th step of one state. */
template <typename T>
struct back_projection {
    static constexpr int ROW_STEP = back::THREADS / back::STATES, ROWS = BORDER / ROW_STEP;
    T raw[ROWS];

    /* Zeros where there is no element. */
    __device__ __forceinline__ back_projection(const projection<const T> &of, const back_part &part,
                                               int64_t n, bool is_state)
    {
        const int first = threadIdx.x / back::STATES;
        const T *from = of.data + part.b * of.stride_b + (part.t0 + first) * of.stride_t +
                        part.g * of.stride_g + n;
        const int rows = is_state && of.data ? part.rows - first : 0;
#pragma unroll
        for (int k = 0; k < ROWS; k++, from += ROW_STEP * of.stride_t) {
            raw[k] = sq_from_f32<T>(0.0f);
            if (k * ROW_STEP < rows)
                raw[k] = *from;
        }
    }

    __device__ __forceinline__ void store(float (*to)[back::STATES]) const
    {
#pragma unroll
        for (int k = 0; k < ROWS; k++)
            to[threadIdx.x / back::STATES + k * ROW_STEP][threadIdx.x % back::STATES] =
                sq_to_f32(raw[k]);
    }
};

template <typename T>
__device__ __forceinline__ void back_load_projections(back_shared *s, const scan_args<T> &f,
                                                      const back_part &part, int64_t slice)
{
    const int64_t n = slice * back::STATES + threadIdx.x % back::STATES;
    const back_projection<T> b(f.b, part, n, n < f.states), c(f.c, part, n, n < f.states);
    b.store(s->b);
    c.store(s->c);
}

} // namespace sq_selective_scan

#endif
