/* back_chunk: selective_scan's pass bwd, what a block works on at a time, and how it reads it. Included
 * by back_tile.cuh alone. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_BACK_CHUNK_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_BACK_CHUNK_CUH

#include "kernels/selective_scan/raw_row.cuh"
#include "kernels/selective_scan/scan_tile.cuh"

namespace sq_selective_scan
{

/* A lane has PER_LANE states of each of PAIR neighbouring channels, in the walks; before and after
 * them a thread has four channels in every ROW_STEP-th step. BLOCKS of an SM: 255 registers. */
struct back {
    static constexpr int CHANNELS = 64, LANES = 4, PER_LANE = 4, STATES = LANES * PER_LANE;
    static constexpr int PAIR = 2, THREADS = CHANNELS / PAIR * LANES, BLOCKS = 2;
    static constexpr int SUB = 8, SUBS = BORDER / SUB;
    static constexpr int WARPS = THREADS / 32, GROUPS = 32 / LANES; /* of LANES lanes, in a warp */
    static constexpr int QUADS = CHANNELS / 4, ROW_STEP = THREADS / QUADS;
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
    bool is_vector; /* four channels of a sequence (or its gradient) are aligned and whole */
    bool is_quad;   /* and four states of f32 rows */
};

struct back_shared {
    float2 step[BORDER][back::CHANNELS]; /* (d_t, d_t u_t) */
    float e[BORDER][back::CHANNELS];
    float b[BORDER][back::STATES], c[BORDER][back::STATES];
    /* A lane's states before every SUB-th step, of one channel each; once they are read, the warp's
     * share of dB and dC in these SUB steps (sums_of). */
    float4 border[back::SUBS][back::WARPS][back::PAIR][32];
    float channel_sums[2][back::WARPS][back::CHANNELS]; /* of dD and ddelta_bias */

    using sums = float[2 * back::STATES]; /* of one step */

    __device__ __forceinline__ sums *sums_of(int sub, int warp)
    {
        static_assert(sizeof(border[0][0]) == back::SUB * sizeof(sums), "one in the other's place");
        return (sums *)border[sub][warp];
    }
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

/* Four channels in one step, as they are read. */
template <typename T>
struct back_raw {
    raw_row<T, 4> u, delta, dy, z;
};

/* Walks over every ROW_STEP-th step of a chunk, in four channels. What is read and what is made of it
 * are apart, so that the reads of some steps are under way at once. */
template <typename T, bool IS_VECTOR>
struct back_reader {
    const scan_args<T> &f;
    const T *u, *delta, *dy, *z;
    int64_t dy_step;
    float bias[4];
    int channels; /* of the four, that there are */
    int rows;     /* steps that there are, from the next one on */

    __device__ __forceinline__ back_reader(const back_args<T> &p, const back_part &part, int row,
                                           int channel)
        : f(p.f), dy_step(back::ROW_STEP * p.dy.stride_t), channels(part.channels - channel),
          rows(part.rows - row)
    {
        const int64_t b = part.b, t = part.t0 + row, d = part.d0 + channel;
        u = f.u.data + b * f.u.stride_b + t * f.u.stride_t + d;
        delta = f.delta.data + b * f.delta.stride_b + t * f.delta.stride_t + d;
        z = f.z.data + b * f.z.stride_b + t * f.z.stride_t + d;
        dy = p.dy.data + b * p.dy.stride_b + t * p.dy.stride_t + d;
#pragma unroll
        for (int j = 0; j < 4; j++)
            bias[j] = j < channels && f.bias ? f.bias[d + j] : 0.0f;
    }

    /* Zeros where there is none. */
    __device__ __forceinline__ back_raw<T> fetch()
    {
        const int valid = rows > 0 ? channels : 0;
        back_raw<T> raw = {};
        raw.u.template load<IS_VECTOR>(u, valid);
        raw.delta.template load<IS_VECTOR>(delta, valid);
        raw.dy.template load<IS_VECTOR>(dy, valid);
        if (f.z.data)
            raw.z.template load<IS_VECTOR>(z, valid);
        rows -= back::ROW_STEP;
        u += back::ROW_STEP * f.u.stride_t;
        delta += back::ROW_STEP * f.delta.stride_t;
        dy += dy_step;
        z += back::ROW_STEP * f.z.stride_t;
        return raw;
    }

    __device__ __forceinline__ void elements(back_element (&to)[4], const back_raw<T> &raw) const
    {
        float u4[4], delta4[4], dy4[4], z4[4];
        raw.u.get(u4);
        raw.delta.get(delta4);
        raw.dy.get(dy4);
        raw.z.get(z4);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            to[j].u = u4[j];
            to[j].d = to[j].x = delta4[j] + bias[j];
            to[j].dy = to[j].e = dy4[j];
            to[j].z = z4[j], to[j].gate = 0.0f;
        }
        if (f.has_softplus) {
#pragma unroll
            for (int j = 0; j < 4; j++)
                to[j].d = softplus<softplus_terms<T>>(to[j].x);
        }
        if (f.z.data) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                to[j].gate = __fdividef(1.0f, 1.0f + sq_exp(-to[j].z));
                to[j].e *= to[j].z * to[j].gate;
            }
        }
    }
};

/* d is 0 where there is no step. */
template <bool IS_VECTOR, typename T>
__device__ __forceinline__ void back_prepare_rows(back_shared *s, const back_args<T> &p,
                                                  const back_part &part)
{
    constexpr int AHEAD = 4;
    const int channel = (int)threadIdx.x % back::QUADS * 4;
    const int first = (int)threadIdx.x / back::QUADS;
    back_reader<T, IS_VECTOR> reader(p, part, first, channel);
#pragma unroll 1
    for (int row = first; row < BORDER; row += AHEAD * back::ROW_STEP) {
        back_raw<T> raw[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            raw[k] = reader.fetch();
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const int t = row + k * back::ROW_STEP;
            back_element now[4];
            reader.elements(now, raw[k]);
            float d[4];
#pragma unroll
            for (int j = 0; j < 4; j++)
                d[j] = t < part.rows ? now[j].d : 0.0f;
            float4 *to = (float4 *)&s->step[t][channel];
            to[0] = make_float4(d[0], d[0] * now[0].u, d[1], d[1] * now[1].u);
            to[1] = make_float4(d[2], d[2] * now[2].u, d[3], d[3] * now[3].u);
            *(float4 *)&s->e[t][channel] = make_float4(now[0].e, now[1].e, now[2].e, now[3].e);
        }
    }
}

template <typename T>
__device__ __forceinline__ void back_prepare(back_shared *s, const back_args<T> &p,
                                             const back_part &part)
{
    if (p.is_vector)
        back_prepare_rows<true>(s, p, part);
    else
        back_prepare_rows<false>(s, p, part);
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

/* Both, of one slice of the states. */
template <typename T>
struct back_projections {
    const int64_t n;
    const back_projection<T> b, c;

    __device__ __forceinline__ back_projections(const scan_args<T> &f, const back_part &part,
                                                int64_t slice)
        : n(slice * back::STATES + threadIdx.x % back::STATES), b(f.b, part, n, n < f.states),
          c(f.c, part, n, n < f.states)
    {
    }

    __device__ __forceinline__ void store(back_shared *s) const
    {
        b.store(s->b);
        c.store(s->c);
    }
};

} // namespace sq_selective_scan

#endif
