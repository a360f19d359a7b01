/* back_tile: selective_scan's pass bwd, one slice of the states through one chunk of one tile of
 * channels. Included by scan_backward.cuh alone, whose comment tells the order. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_BACK_TILE_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_BACK_TILE_CUH

#include "kernels/selective_scan/back_chunk.cuh"

namespace sq_selective_scan
{

/* A lane's states: PER_LANE of each of its channels. */
using back_states = float[back::PAIR][back::PER_LANE];

/* A lane's B and C where one of them or both are constant in time, and their gradients. */
template <bool CONSTANT>
struct back_constants {
};
template <>
struct back_constants<true> {
    back_states b, c, db, dc;
    bool has_b, has_c;
};

/* Rows of states, from the lane's first channel on; data: NULL for zeros. */
struct back_rows {
    const float *data;
    int64_t stride;
};

/* One lane: states n0 .. n0 + 3 of `channel` and the next. */
template <bool CONSTANT>
struct back_lane {
    static constexpr int N = back::PER_LANE, PAIR = back::PAIR;
    back_states a, h, carried, da; /* a: A log2 e, 0 where there is no such state */
    bool is_quad;                  /* four states of a row are one access, and all there or none */
    int lane, group, warp, channel;
    int channels, states; /* that there are, from its first ones on */
    int64_t n0;
    back_constants<CONSTANT> constant;

    __device__ __forceinline__ back_lane(const back_part &part, int64_t slice, int64_t n_states,
                                         bool is_quad)
        : is_quad(is_quad), lane((int)threadIdx.x % back::LANES),
          group((int)threadIdx.x % 32 / back::LANES), warp((int)threadIdx.x / 32),
          channel((int)threadIdx.x / back::LANES * PAIR), channels(part.channels - channel),
          n0(slice * back::STATES + lane * N)
    {
        states = (int)max((int64_t)0, min((int64_t)N, n_states - n0));
    }

    __device__ __forceinline__ bool has(int i, int j) const { return i < channels && j < states; }

    __device__ __forceinline__ void load(back_states &to, const back_rows &from) const
    {
        if (is_quad) {
#pragma unroll
            for (int i = 0; i < PAIR; i++) {
                float4 four = {};
                if (from.data && has(i, 0))
                    four = *(const float4 *)&from.data[i * from.stride + n0];
                to[i][0] = four.x, to[i][1] = four.y, to[i][2] = four.z, to[i][3] = four.w;
            }
            return;
        }
#pragma unroll
        for (int i = 0; i < PAIR; i++)
#pragma unroll
            for (int j = 0; j < N; j++)
                to[i][j] = from.data && has(i, j) ? from.data[i * from.stride + n0 + j] : 0.0f;
    }

    __device__ __forceinline__ void store(float *to, int64_t stride, const back_states &from) const
    {
#pragma unroll
        for (int i = 0; i < PAIR; i++) {
            if (is_quad) {
                if (has(i, 0))
                    *(float4 *)&to[i * stride + n0] =
                        make_float4(from[i][0], from[i][1], from[i][2], from[i][3]);
                continue;
            }
#pragma unroll
            for (int j = 0; j < N; j++)
                if (has(i, j))
                    to[i * stride + n0 + j] = from[i][j];
        }
    }

    /* Everything that it starts from; not yet waited for. */
    template <typename T>
    __device__ __forceinline__ void begin(const back_args<T> &p, const back_part &part);
    template <typename T>
    __device__ __forceinline__ void end(const back_args<T> &p, const back_part &part) const;

    __device__ __forceinline__ void scale_decays()
    {
#pragma unroll
        for (int i = 0; i < PAIR * N; i++)
            a[i / N][i % N] *= SQ_LOG2E;
    }

    /* B_t or C_t of both channels, from a row of shared memory. */
    static __device__ __forceinline__ void spread(back_states &to, const float *row)
    {
        const float4 four = *(const float4 *)row;
#pragma unroll
        for (int i = 0; i < PAIR; i++)
            to[i][0] = four.x, to[i][1] = four.y, to[i][2] = four.z, to[i][3] = four.w;
    }
    __device__ __forceinline__ void load_b(back_states &b, const back_shared &s, int t) const
    {
        spread(b, &s.b[t][lane * N]);
        if constexpr (CONSTANT) {
#pragma unroll
            for (int i = 0; i < PAIR * N; i++)
                b[i / N][i % N] = constant.has_b ? constant.b[i / N][i % N] : b[i / N][i % N];
        }
    }
    __device__ __forceinline__ void load_c(back_states &c, const back_shared &s, int t) const
    {
        spread(c, &s.c[t][lane * N]);
        if constexpr (CONSTANT) {
#pragma unroll
            for (int i = 0; i < PAIR * N; i++)
                c[i / N][i % N] = constant.has_c ? constant.c[i / N][i % N] : c[i / N][i % N];
        }
    }

    /* (d_t, d_t u_t) of the first channel, and of the second. */
    __device__ __forceinline__ float4 step(const back_shared &s, int t) const
    {
        return *(const float4 *)&s.step[t][channel];
    }

    /* Step t forward; decay receives a_t. */
    __device__ __forceinline__ void advance(const back_shared &s, int t, back_states &decay)
    {
        const float4 now = step(s, t);
        const float d[PAIR] = {now.x, now.z}, x[PAIR] = {now.y, now.w};
        back_states b;
        load_b(b, s, t);
#pragma unroll
        for (int i = 0; i < PAIR; i++)
#pragma unroll
            for (int j = 0; j < N; j++) {
                decay[i][j] = sq_exp2(d[i] * a[i][j]);
                h[i][j] = fmaf(decay[i][j], h[i][j], x[i] * b[i][j]);
            }
    }

    __device__ __forceinline__ void put_border(back_shared *s, int sub) const
    {
#pragma unroll
        for (int i = 0; i < PAIR; i++)
            s->border[sub][warp][i][threadIdx.x % 32] =
                make_float4(h[i][0], h[i][1], h[i][2], h[i][3]);
    }
    __device__ __forceinline__ void take_border(const back_shared &s, int sub)
    {
#pragma unroll
        for (int i = 0; i < PAIR; i++) {
            const float4 from = s.border[sub][warp][i][threadIdx.x % 32];
            h[i][0] = from.x, h[i][1] = from.y, h[i][2] = from.z, h[i][3] = from.w;
        }
    }
};

/* A lane's sums over its states, of four steps. */
struct back_sums {
    float y[back::PAIR][4], gb[back::PAIR][4], ap[back::PAIR][4];
};

/* Over all states, of this lane's step: sum g B, sum A log2e g a h, C . h. */
struct back_total {
    float gb[back::PAIR], ap[back::PAIR], y[back::PAIR];

    __device__ __forceinline__ back_total(back_sums *sums, int lane)
    {
#pragma unroll
        for (int i = 0; i < back::PAIR; i++) {
            gb[i] = sum_over_lanes<back::LANES, 4>(sums->gb[i], lane);
            ap[i] = sum_over_lanes<back::LANES, 4>(sums->ap[i], lane);
            y[i] = sum_over_lanes<back::LANES, 4>(sums->y[i], lane);
        }
    }

    /* at: of the totals, this lane's step and channels. Adds where there were slices before. */
    __device__ __forceinline__ void put(const back_totals &totals, int at, bool is_first) const
    {
        float4 *const state = (float4 *)&totals.state[at];
        float2 *const to_y = (float2 *)&totals.y[at];
        float4 old = {};
        float2 old_y = {};
        if (!is_first)
            old = *state, old_y = *to_y;
        *state = make_float4(old.x + gb[0], old.y + ap[0], old.z + gb[1], old.w + ap[1]);
        *to_y = make_float2(old_y.x + y[0], old_y.y + y[1]);
    }
};

/* Step t back, k of four for `sums`. before, after: the states round it. out: this lane's dB and dC. */
template <bool CONSTANT>
__device__ __forceinline__ void back_step(const back_shared &s, back_lane<CONSTANT> *own, int t,
                                          const back_states &before, const back_states &after,
                                          const back_states &decay, float (&out)[8],
                                          back_sums *sums, int k)
{
    const float4 now = own->step(s, t);
    const float2 e2 = *(const float2 *)&s.e[t][own->channel];
    const float d[2] = {now.x, now.z}, x[2] = {now.y, now.w}, e[2] = {e2.x, e2.y};
    back_states b, c;
    own->load_b(b, s, t);
    own->load_c(c, s, t);
#pragma unroll
    for (int i = 0; i < back::PAIR; i++) {
        float y = 0.0f, gb = 0.0f, ap = 0.0f;
#pragma unroll
        for (int j = 0; j < back::PER_LANE; j++) {
            const float g = fmaf(e[i], c[i][j], own->carried[i][j]);
            own->carried[i][j] = decay[i][j] * g;
            const float p = own->carried[i][j] * before[i][j];
            own->da[i][j] = fmaf(d[i], p, own->da[i][j]);
            out[j] = i == 0 ? g * x[i] : fmaf(g, x[i], out[j]);
            out[4 + j] = i == 0 ? e[i] * after[i][j] : fmaf(e[i], after[i][j], out[4 + j]);
            if constexpr (CONSTANT) {
                own->constant.db[i][j] = fmaf(g, x[i], own->constant.db[i][j]);
                own->constant.dc[i][j] = fmaf(e[i], after[i][j], own->constant.dc[i][j]);
            }
            y = fmaf(c[i][j], after[i][j], y);
            gb = fmaf(g, b[i][j], gb);
            ap = fmaf(own->a[i][j], p, ap);
        }
        sums->y[i][k] = y, sums->gb[i][k] = gb, sums->ap[i][k] = ap;
    }
}

/* SUB steps back from their border, own->h. Nothing is stored before everything is read: the reads
 * of a step need not wait for the sums over lanes of the one before. */
template <bool CONSTANT>
__device__ __forceinline__ void back_sub(back_shared *s, back_lane<CONSTANT> *own, int sub,
                                         const back_totals &totals, bool is_first)
{
    static_assert(back::SUB == 8, "two lots of four steps");
    back_states states[back::SUB + 1], decay[back::SUB];
#pragma unroll
    for (int k = 0; k <= back::SUB; k++) {
        if (k > 0)
            own->advance(*s, sub * back::SUB + k - 1, decay[k > 0 ? k - 1 : 0]);
#pragma unroll
        for (int i = 0; i < back::PAIR * back::PER_LANE; i++)
            states[k][i / back::PER_LANE][i % back::PER_LANE] =
                own->h[i / back::PER_LANE][i % back::PER_LANE];
    }
    /* The compiler shall read a step's operands again instead of keeping them: for want of registers it
     * would make the decays a second time. */
    __syncwarp();
    back_sums sums;
    float out[back::SUB];
#pragma unroll
    for (int k = back::SUB - 1; k >= 4; k--) {
        float all[8];
        back_step(*s, own, sub * back::SUB + k, states[k], states[k + 1], decay[k], all, &sums,
                  k - 4);
        out[k] = sum_over_lanes<back::GROUPS, 8, back::LANES>(all, own->group);
    }
    const back_total second(&sums, own->lane);
#pragma unroll
    for (int k = 3; k >= 0; k--) {
        float all[8];
        back_step(*s, own, sub * back::SUB + k, states[k], states[k + 1], decay[k], all, &sums, k);
        out[k] = sum_over_lanes<back::GROUPS, 8, back::LANES>(all, own->group);
    }
    const back_total first(&sums, own->lane);
    __syncwarp(); /* every lane has read what is overwritten */
    const int at = (sub * back::SUB + own->lane) * back::CHANNELS + own->channel;
    first.put(totals, at, is_first);
    second.put(totals, at + 4 * back::CHANNELS, is_first);
    /* Lane `group` of the groups has element `group` of the eight: kind and state. */
    const int element = own->group / 4 * back::STATES + own->lane * 4 + own->group % 4;
    back_shared::sums *const to = s->sums_of(sub, own->warp);
#pragma unroll
    for (int k = 0; k < back::SUB; k++)
        to[k][element] = out[k];
}

/* Through the chunk, forward and back. */
template <bool CONSTANT>
__device__ __forceinline__ void back_walk(back_shared *s, back_lane<CONSTANT> *own,
                                          const back_totals &totals, bool is_first)
{
#pragma unroll 1
    for (int sub = 0; sub + 1 < back::SUBS; sub++) {
        own->put_border(s, sub);
#pragma unroll
        for (int k = 0; k < back::SUB; k++) {
            back_states decay;
            own->advance(*s, sub * back::SUB + k, decay);
        }
    }
#pragma unroll 1
    for (int sub = back::SUBS - 1; sub >= 0; sub--) {
        if (sub + 1 < back::SUBS)
            own->take_border(*s, sub);
        back_sub(s, own, sub, totals, is_first);
    }
}

/* The block's sums of dB and dC in the chunk, from the warps' ones: a thread has four of the 2 STATES
 * elements in every STEP-th step. is_first_tile: of the part. */
template <typename T>
__device__ __forceinline__ void back_add_projections(back_shared *s, const back_args<T> &p,
                                                     const back_part &part, int64_t slice,
                                                     bool is_first_tile)
{
    constexpr int FOURS = 2 * back::STATES / 4, STEP = back::THREADS / FOURS, ITEMS = BORDER / STEP;
    const int first = threadIdx.x / FOURS, element = threadIdx.x % FOURS * 4;
    const int64_t width = p.slices * back::STATES;
    const int64_t token = (part.b * p.f.length + part.t0 + first) * p.f.groups + part.g;
    const int64_t kind = (token * p.parts + part.index) * 2 + element / back::STATES;
    const int64_t step = STEP * p.f.groups * p.parts * 2 * width;
    float *const to = &p.partial[kind * width + slice * back::STATES + element % back::STATES];
    float4 sum[ITEMS];
#pragma unroll
    for (int k = 0; k < ITEMS; k++) {
        sum[k] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (!is_first_tile && first + k * STEP < part.rows)
            sum[k] = *(const float4 *)&to[k * step];
    }
#pragma unroll
    for (int k = 0; k < ITEMS; k++) {
        const int t = first + k * STEP;
#pragma unroll
        for (int warp = 0; warp < back::WARPS; warp++) {
            const float4 of =
                *(const float4 *)&s->sums_of(t / back::SUB, warp)[t % back::SUB][element];
            sum[k] =
                make_float4(sum[k].x + of.x, sum[k].y + of.y, sum[k].z + of.z, sum[k].w + of.w);
        }
    }
#pragma unroll
    for (int k = 0; k < ITEMS; k++)
        if (first + k * STEP < part.rows)
            *(float4 *)&to[k * step] = sum[k];
}

/* The gradient that reaches the last state of the segment, from channel d on. */
template <typename T>
__device__ __forceinline__ back_rows back_arriving(const back_args<T> &p, const back_part &part,
                                                   int64_t d)
{
    if (part.segment + 1 < p.segments)
        return {p.out + part.state_row(p, part.segment + 1, d), p.f.states};
    if (!p.dfinal)
        return {nullptr, 0};
    return {p.dfinal + part.b * p.dfinal_stride_b + d * p.dfinal_stride_d, p.dfinal_stride_d};
}

/* The state at the chunk's beginning, from channel d on. */
template <typename T>
__device__ __forceinline__ back_rows back_initial(const scan_args<T> &f, const back_part &part,
                                                  int64_t d)
{
    if (part.chunk > 0)
        return {f.saved_row(part.b, part.chunk - 1, d), f.states};
    if (!f.initial)
        return {nullptr, 0};
    return {f.initial + part.b * f.initial_stride_b + d * f.initial_stride_d, f.initial_stride_d};
}

template <bool CONSTANT>
template <typename T>
__device__ __forceinline__ void back_lane<CONSTANT>::begin(const back_args<T> &p,
                                                           const back_part &part)
{
    const int64_t d = part.d0 + channel, row = part.state_row(p, part.segment, d);
    const bool is_at_end = part.is_at_end();
    load(a, {p.f.a + d * p.f.a_stride, p.f.a_stride});
    load(h, back_initial(p.f, part, d));
    load(carried, is_at_end ? back_arriving(p, part, d) : back_rows{p.carried + row, p.f.states});
    load(da, {is_at_end ? nullptr : p.da_rows + row, p.f.states});
    if constexpr (CONSTANT) {
        constant.has_b = p.f.const_b.data;
        constant.has_c = p.f.const_c.data;
        load(constant.b, {constant.has_b ? p.f.const_b.row(d) : nullptr, p.f.const_b.stride});
        load(constant.c, {constant.has_c ? p.f.const_c.row(d) : nullptr, p.f.const_c.stride});
        load(constant.db,
             {constant.has_b && !is_at_end ? p.const_db_rows + row : nullptr, p.f.states});
        load(constant.dc,
             {constant.has_c && !is_at_end ? p.const_dc_rows + row : nullptr, p.f.states});
    }
}

template <bool CONSTANT>
template <typename T>
__device__ __forceinline__ void back_lane<CONSTANT>::end(const back_args<T> &p,
                                                         const back_part &part) const
{
    const int64_t d = part.d0 + channel, row = part.state_row(p, part.segment, d);
    store(p.carried + row, p.f.states, carried);
    store(p.da_rows + row, p.f.states, da);
    if constexpr (CONSTANT) {
        if (constant.has_b)
            store(p.const_db_rows + row, p.f.states, constant.db);
        if (constant.has_c)
            store(p.const_dc_rows + row, p.f.states, constant.dc);
    }
    if (part.chunk == 0 && p.dinitial)
        store(p.dinitial + part.b * p.dinitial_stride_b + d * p.dinitial_stride_d,
              p.dinitial_stride_d, carried);
}

} // namespace sq_selective_scan

#endif
