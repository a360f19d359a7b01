/* back_tile: what a block of selective_scan's pass bwd does with one chunk of one tile of channels.
 * Included by scan_backward.cuh alone, whose comment tells the order. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_BACK_TILE_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_BACK_TILE_CUH

#include "kernels/selective_scan/back_chunk.cuh"

namespace sq_selective_scan
{

/* A lane's B and C where one of them or both are constant in time, and their gradients. */
template <bool CONSTANT>
struct back_constants {
};
template <>
struct back_constants<true> {
    float b[back::PER_LANE], c[back::PER_LANE], db[back::PER_LANE], dc[back::PER_LANE];
    bool has_b, has_c;
};

/* The states of one lane: n0 .. n0 + 3 of its channel. */
template <bool CONSTANT>
struct back_lane {
    static constexpr int N = back::PER_LANE;
    float a[N], h[N], carried[N], da[N]; /* a: A log2 e, 0 where there is no such state */
    int lane, channel, valid;            /* valid: states that there are, from n0 on */
    int64_t n0;
    back_constants<CONSTANT> constant;

    __device__ __forceinline__ back_lane(const back_part &part, int64_t slice, int64_t states)
        : lane((int)threadIdx.x % back::LANES), channel((int)threadIdx.x / back::LANES),
          n0(slice * back::STATES + lane * N)
    {
        const int64_t left = states - n0;
        valid = channel < part.channels ? (int)max((int64_t)0, min((int64_t)N, left)) : 0;
    }

    /* from: NULL for zeros; the states of this lane's channel. */
    __device__ __forceinline__ void load(float (&to)[N], const float *from, float factor) const
    {
#pragma unroll
        for (int j = 0; j < N; j++)
            to[j] = from && j < valid ? from[n0 + j] * factor : 0.0f;
    }

    __device__ __forceinline__ void store(float *to, const float (&from)[N]) const
    {
#pragma unroll
        for (int j = 0; j < N; j++)
            if (j < valid)
                to[n0 + j] = from[j];
    }

    __device__ __forceinline__ void load_b(float (&b)[N], const back_shared &s, int t) const
    {
        const float4 b4 = *(const float4 *)&s.b[t][lane * N];
        b[0] = b4.x, b[1] = b4.y, b[2] = b4.z, b[3] = b4.w;
        if constexpr (CONSTANT) {
#pragma unroll
            for (int j = 0; j < N; j++)
                b[j] = constant.has_b ? constant.b[j] : b[j];
        }
    }
    __device__ __forceinline__ void load_c(float (&c)[N], const back_shared &s, int t) const
    {
        const float4 c4 = *(const float4 *)&s.c[t][lane * N];
        c[0] = c4.x, c[1] = c4.y, c[2] = c4.z, c[3] = c4.w;
        if constexpr (CONSTANT) {
#pragma unroll
            for (int j = 0; j < N; j++)
                c[j] = constant.has_c ? constant.c[j] : c[j];
        }
    }

    /* Of channel d; row: of const_db_rows and const_dc_rows, whose sums begin where is_first. */
    template <typename T>
    __device__ __forceinline__ void load_constants(const back_args<T> &p, int64_t d, int64_t row,
                                                   bool is_first)
    {
        constant.has_b = p.f.const_b.data;
        constant.has_c = p.f.const_c.data;
        load(constant.b, constant.has_b ? p.f.const_b.row(d) : nullptr, 1.0f);
        load(constant.c, constant.has_c ? p.f.const_c.row(d) : nullptr, 1.0f);
        load(constant.db, constant.has_b && !is_first ? p.const_db_rows + row : nullptr, 1.0f);
        load(constant.dc, constant.has_c && !is_first ? p.const_dc_rows + row : nullptr, 1.0f);
    }
    template <typename T>
    __device__ __forceinline__ void store_constants(const back_args<T> &p, int64_t row) const
    {
        if (constant.has_b)
            store(p.const_db_rows + row, constant.db);
        if (constant.has_c)
            store(p.const_dc_rows + row, constant.dc);
    }

    /* Step t forward; *decay receives a_t. */
    __device__ __forceinline__ void advance(const back_shared &s, int t, float (&decay)[N])
    {
        const float2 step = s.step[t][channel];
        const float x = step.x * step.y;
        float b[N];
        load_b(b, s, t);
#pragma unroll
        for (int j = 0; j < N; j++) {
            decay[j] = sq_exp2(step.x * a[j]);
            h[j] = fmaf(decay[j], h[j], x * b[j]);
        }
    }
};

/* Sums of one step over the states of a lane. */
struct back_sums {
    float y[4], gb[4], ap[4]; /* of four steps */
};

/* Step t back. before, after: the state round it. out: this lane's dB and dC. */
template <bool CONSTANT>
__device__ __forceinline__ void back_step(const back_shared &s, back_lane<CONSTANT> *own, int t,
                                          const float (&before)[4], const float (&after)[4],
                                          const float (&decay)[4], float (&out)[8], float *y,
                                          float *gb, float *ap)
{
    const float2 step = s.step[t][own->channel];
    const float e = s.e[t][own->channel], x = step.x * step.y;
    float b[4], c[4];
    own->load_b(b, s, t);
    own->load_c(c, s, t);
    *y = *gb = *ap = 0.0f;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float g = fmaf(e, c[j], own->carried[j]), p = g * (decay[j] * before[j]);
        own->carried[j] = decay[j] * g;
        own->da[j] = fmaf(step.x, p, own->da[j]);
        out[j] = g * x;
        out[4 + j] = e * after[j];
        if constexpr (CONSTANT) {
            own->constant.db[j] += out[j];
            own->constant.dc[j] += out[4 + j];
        }
        *y = fmaf(c[j], after[j], *y);
        *gb = fmaf(g, b[j], *gb);
        *ap = fmaf(own->a[j], p, *ap);
    }
}

/* Adds this slice's totals of steps t .. t + 3: lane l writes step t + l. */
template <bool CONSTANT>
__device__ __forceinline__ void back_put_totals(const back_totals &totals, back_sums *sums,
                                                const back_lane<CONSTANT> &own, int t,
                                                bool is_first)
{
    const float y = sum_over_lanes<back::LANES, 4>(sums->y, own.lane);
    const float gb = sum_over_lanes<back::LANES, 4>(sums->gb, own.lane);
    const float ap = sum_over_lanes<back::LANES, 4>(sums->ap, own.lane);
    const int at = (t + own.lane) * back::CHANNELS + own.channel;
    __syncwarp(); /* the lanes of a channel have read what the totals replace */
    const float2 old = is_first ? make_float2(0.0f, 0.0f) : totals.state[at];
    totals.state[at] = make_float2(old.x + gb, old.y + ap);
    totals.y[at] = (is_first ? 0.0f : totals.y[at]) + y;
}

/* SUB steps back from their border. The warp's sums of dB and dC over its channels go to `sums`. */
template <bool CONSTANT>
__device__ __forceinline__ void back_sub(const back_shared &s, back_lane<CONSTANT> *own, int sub,
                                         const back_totals &totals, bool is_first,
                                         float (*sums)[2 * back::STATES])
{
    float after[back::SUB][4], decay[back::SUB][4], border[4];
    const float4 from = s.border[sub][threadIdx.x];
    border[0] = own->h[0] = from.x, border[1] = own->h[1] = from.y;
    border[2] = own->h[2] = from.z, border[3] = own->h[3] = from.w;
#pragma unroll
    for (int k = 0; k < back::SUB; k++) {
        own->advance(s, sub * back::SUB + k, decay[k]);
#pragma unroll
        for (int j = 0; j < 4; j++)
            after[k][j] = own->h[j];
    }
    back_sums of = {};
    const int group = (int)threadIdx.x % 32 / back::LANES;
    /* Lane `group` of the channels receives element `group` of the eight: kind and state. */
    const int at = group / 4 * back::STATES + own->lane * 4 + group % 4;
#pragma unroll
    for (int k = back::SUB - 1; k >= 0; k--) {
        float out[8];
        back_step(s, own, sub * back::SUB + k, k > 0 ? after[k > 0 ? k - 1 : 0] : border, after[k],
                  decay[k], out, &of.y[k % 4], &of.gb[k % 4], &of.ap[k % 4]);
        sums[k][at] = sum_over_lanes<back::WARP_CHANNELS, 8, back::LANES>(out, group);
        if (k % 4 == 0)
            back_put_totals(totals, &of, *own, sub * back::SUB + k, is_first);
    }
}

/* The block's sums of SUB steps from the warps' ones: a thread has element threadIdx.x % 32 of every
 * WARPS-th step. to: of its first one; step: to the next step's; rows: steps that there are, from its
 * first one on. is_first: of the part's tiles. */
__device__ __forceinline__ void
back_add_projections(const float (*sums)[back::SUB][2 * back::STATES], float *to, int64_t step,
                     int rows, bool is_first)
{
    static_assert(2 * back::STATES == 32, "a warp has a step");
    const int first = threadIdx.x / 32, element = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < back::SUB; k += back::WARPS, to += back::WARPS * step) {
        if (k >= rows)
            continue;
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < back::WARPS; warp++)
            sum += sums[warp][first + k][element];
        *to = is_first ? sum : *to + sum;
    }
}

/* Where back_add_projections begins: step threadIdx.x / 32 of the chunk. */
template <typename T>
__device__ __forceinline__ float *back_projections_of(const back_args<T> &p, const back_part &part,
                                                      int64_t slice)
{
    const int64_t t = part.t0 + threadIdx.x / 32, width = p.slices * back::STATES;
    const int64_t token = (part.b * p.f.length + t) * p.f.groups + part.g;
    const int element = threadIdx.x % 32;
    const int64_t kind = (token * p.parts + part.index) * 2 + element / back::STATES;
    return &p.partial[kind * width + slice * back::STATES + element % back::STATES];
}

/* The gradient that reaches the last state of the segment, for channel d; NULL: zero. */
template <typename T>
__device__ __forceinline__ const float *back_arriving(const back_args<T> &p, const back_part &part,
                                                      int64_t d)
{
    if (part.segment + 1 < p.segments)
        return p.out + part.state_row(p, part.segment + 1, d);
    return p.dfinal ? p.dfinal + part.b * p.dfinal_stride_b + d * p.dfinal_stride_d : nullptr;
}

/* One slice of the states through the chunk, forward and back. */
template <bool CONSTANT, typename T>
__device__ __forceinline__ void back_slice(back_shared *s, const back_args<T> &p,
                                           const back_part &part, const back_totals &totals,
                                           int64_t slice, bool is_first_tile)
{
    const scan_args<T> &f = p.f;
    back_lane<CONSTANT> own(part, slice, f.states);
    const int64_t d = part.d0 + own.channel, row = part.state_row(p, part.segment, d);
    const float *initial =
        f.initial ? f.initial + part.b * f.initial_stride_b + d * f.initial_stride_d : nullptr;
    own.load(own.a, f.a + d * f.a_stride, SQ_LOG2E);
    own.load(own.h, part.chunk > 0 ? f.saved_row(part.b, part.chunk - 1, d) : initial, 1.0f);
    own.load(own.carried, part.is_at_end() ? back_arriving(p, part, d) : p.carried + row, 1.0f);
    own.load(own.da, part.is_at_end() ? nullptr : p.da_rows + row, 1.0f);
    if constexpr (CONSTANT) {
        own.load_constants(p, d, row, part.is_at_end());
    }
    for (int sub = 0; sub < back::SUBS; sub++) {
        float decay[4];
        s->border[sub][threadIdx.x] = make_float4(own.h[0], own.h[1], own.h[2], own.h[3]);
#pragma unroll
        for (int k = 0; k < back::SUB; k++)
            if (sub + 1 < back::SUBS)
                own.advance(*s, sub * back::SUB + k, decay);
    }
    const int64_t step = p.f.groups * p.parts * 2 * p.slices * back::STATES;
    float *const projections = back_projections_of(p, part, slice);
    for (int sub = back::SUBS - 1; sub >= 0; sub--) {
        const int done = sub * back::SUB;
        back_sub(*s, &own, sub, totals, slice == 0, s->sums[sub % 2][threadIdx.x / 32]);
        __syncthreads();
        back_add_projections(s->sums[sub % 2], projections + done * step, step,
                             part.rows - done - (int)threadIdx.x / 32, is_first_tile);
    }
    own.store(p.carried + row, own.carried);
    own.store(p.da_rows + row, own.da);
    if constexpr (CONSTANT) {
        own.store_constants(p, row);
    }
    if (part.chunk == 0 && p.dinitial)
        own.store(p.dinitial + part.b * p.dinitial_stride_b + d * p.dinitial_stride_d, own.carried);
}

/* Where a thread's gradients go; walks as back_reader does. */
template <typename T>
struct back_writer {
    T *du, *ddelta, *dz;
    int64_t du_step, ddelta_step, dz_step;

    __device__ __forceinline__ back_writer(const back_args<T> &p, const back_part &part, int row,
                                           int column)
        : du_step(back::WARPS * p.du.stride_t), ddelta_step(back::WARPS * p.ddelta.stride_t),
          dz_step(back::WARPS * p.dz.stride_t)
    {
        const int64_t b = part.b, t = part.t0 + row, d = part.d0 + column;
        du = p.du.data + b * p.du.stride_b + t * p.du.stride_t + d;
        ddelta = p.ddelta.data + b * p.ddelta.stride_b + t * p.ddelta.stride_t + d;
        dz = p.dz.data ? p.dz.data + b * p.dz.stride_b + t * p.dz.stride_t + d : nullptr;
    }

    __device__ __forceinline__ void advance()
    {
        du += du_step;
        ddelta += ddelta_step;
        if (dz)
            dz += dz_step;
    }
};

/* One element from its totals, to the writer's place; adds to *dskip and *dbias. */
template <typename T>
__device__ __forceinline__ void
back_finish_element(const back_element &now, float2 state, float y, float skip, bool has_softplus,
                    const back_writer<T> &writer, float *dskip, float *dbias)
{
    const float ln2 = 0.693147181f;
    float slope = 1.0f;
    if (has_softplus)
        slope = __fdividef(1.0f, 1.0f + sq_exp(-now.x));
    const float ddelta = fmaf(state.y, ln2, now.u * state.x) * slope;
    *dskip = fmaf(now.e, now.u, *dskip);
    *dbias += ddelta;
    *writer.du = sq_from_f32<T>(fmaf(now.e, skip, now.d * state.x));
    *writer.ddelta = sq_from_f32<T>(ddelta);
    if (writer.dz) {
        const float opened = now.gate * fmaf(now.z, 1.0f - now.gate, 1.0f);
        *writer.dz = sq_from_f32<T>(now.dy * fmaf(skip, now.u, y) * opened);
    }
}

/* Elements from their totals; *dskip and *dbias receive sums over the thread's rows. */
template <typename T>
__device__ __forceinline__ void back_finish(const back_args<T> &p, const back_part &part,
                                            const back_totals &totals, float *dskip, float *dbias)
{
    constexpr int AHEAD = 4;
    const int column = threadIdx.x % 32, first = threadIdx.x / 32;
    back_reader<T> reader(p, part, first, column);
    back_writer<T> writer(p, part, first, column);
    const bool is_valid = column < part.channels;
    const float skip = p.f.skip && is_valid ? p.f.skip[part.d0 + column] : 0.0f;
    int left = reader.rows;
    *dskip = *dbias = 0.0f;
#pragma unroll 1
    for (int row = first; row < part.rows; row += AHEAD * back::WARPS) {
        back_raw<T> raw[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            raw[k] = reader.fetch();
#pragma unroll
        for (int k = 0; k < AHEAD; k++, left -= back::WARPS, writer.advance()) {
            const int at = (row + k * back::WARPS) * back::CHANNELS + column;
            if (left > 0)
                back_finish_element(reader.element(raw[k]), totals.state[at], totals.y[at], skip,
                                    p.f.has_softplus, writer, dskip, dbias);
        }
    }
}

/* Adds the threads' sums of dD and ddelta_bias to those of the chunks behind this one. */
template <typename T>
__device__ __forceinline__ void back_add_channels(back_shared *s, const back_args<T> &p,
                                                  const back_part &part, float dskip, float dbias)
{
    const int column = threadIdx.x % 32, warp = threadIdx.x / 32;
    float *room = &s->sums[0][0][0][0]; /* (2, WARPS, 32) */
    room[warp * 32 + column] = dskip;
    room[(back::WARPS + warp) * 32 + column] = dbias;
    __syncthreads();
    if (warp >= 2 || column >= part.channels)
        return;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < back::WARPS; i++)
        sum += room[(warp * back::WARPS + i) * 32 + column];
    const int64_t row = (part.b * p.segments + part.segment) * 2 + warp;
    float *to = &p.channel_rows[row * p.f.channels + part.d0 + column];
    *to = part.is_at_end() ? sum : *to + sum;
}

} // namespace sq_selective_scan

#endif
