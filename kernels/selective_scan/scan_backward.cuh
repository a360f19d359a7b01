/* scan_backward: pass bwd of selective_scan's cuda/portable. Included by selective_scan.cu alone.
 * The equations, and their letters: selective_scan_bwd.c.
 *
 * Pass fwd leaves the state at every BORDER-th step. A block owns some tiles of CHANNELS channels
 * of one group in one batch row and walks L backwards by chunks of BORDER steps, and in a chunk
 * over its tiles: prepare   (d_t, u_t) and e_t, every element once forward   the states once more
 * from the chunk's border; every SUB-th one stays in shared memory backward  by SUB steps: their
 * states and decays into registers, then the steps in reverse; LANES lanes hold a channel's states,
 * as in pass fwd finish    du, ddelta, dz from sums over the states; sums over steps for dD and
 * ddelta_bias STATES states at a time: more are further slices of them, each with a walk of its
 * own.
 *
 * What sums over blocks goes to the workspace and is added in a fixed order: dB and dC by part of
 * the channels (scan_back_projections), dA, dD and ddelta_bias by batch row (scan_back_parameters).
 * The gradient of the state between chunks lies there too; nobody but its block reads it. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_BACKWARD_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_BACKWARD_CUH

#include "kernels/hw/launch.cuh"
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
    float *da, *dskip, *dbias; /* dskip, dbias: (D) or NULL */
    int64_t da_stride;
    const float *dfinal; /* (B, D, N) or NULL */
    float *dinitial;
    int64_t dfinal_stride_b, dfinal_stride_d, dinitial_stride_b, dinitial_stride_d;
    /* Workspace. carried, da_rows: (B, D, N); channel_rows: (B, 2, D), of dD and ddelta_bias;
     * partial: (B, L, G, parts, 2, slices STATES), of dB and dC. */
    float *carried, *da_rows, *channel_rows, *partial;
    int64_t chunks, parts, part_tiles, slices;
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
    int64_t b, g, d0, t0, chunk;
    int channels; /* valid ones */
    int rows;     /* valid ones: steps of the chunk */
};

/* One element of the sequences and what follows from it. */
struct back_element {
    float u, x, d, dy, z, gate, e; /* x: delta + delta_bias; gate: sigmoid(z) */

    template <typename T>
    __device__ __forceinline__ void load(const back_args<T> &p, int64_t b, int64_t t, int64_t d_at)
    {
        const scan_args<T> &f = p.f;
        u = sq_to_f32(f.u.data[b * f.u.stride_b + t * f.u.stride_t + d_at]);
        x = sq_to_f32(f.delta.data[b * f.delta.stride_b + t * f.delta.stride_t + d_at]);
        dy = sq_to_f32(p.dy.data[b * p.dy.stride_b + t * p.dy.stride_t + d_at]);
        x += f.bias ? f.bias[d_at] : 0.0f;
        d = f.has_softplus ? softplus(x) : x;
        e = dy;
        if (f.z.data) {
            z = sq_to_f32(f.z.data[b * f.z.stride_b + t * f.z.stride_t + d_at]);
            gate = __fdividef(1.0f, 1.0f + sq_exp(-z));
            e *= z * gate;
        }
    }
};

/* In prepare and finish a thread owns one channel and every WARPS-th row. */
template <typename T>
__device__ __forceinline__ void back_prepare(back_shared *s, const back_args<T> &p,
                                             const back_part &part)
{
    const int column = threadIdx.x % 32;
#pragma unroll 4
    for (int row = threadIdx.x / 32; row < BORDER; row += back::WARPS) {
        back_element now = {};
        if (row < part.rows && column < part.channels)
            now.load(p, part.b, part.t0 + row, part.d0 + column);
        s->step[row][column] = make_float2(now.d, now.u);
        s->e[row][column] = now.e;
    }
}

template <typename T>
__device__ __forceinline__ void back_load_projections(back_shared *s, const scan_args<T> &f,
                                                      const back_part &part, int64_t slice)
{
    for (int i = threadIdx.x; i < BORDER * back::STATES; i += back::THREADS) {
        const int row = i / back::STATES;
        const int64_t n = slice * back::STATES + i % back::STATES, t = part.t0 + row;
        const bool is_valid = row < part.rows && n < f.states;
        const int64_t in_b = part.b * f.b.stride_b + t * f.b.stride_t + part.g * f.b.stride_g + n;
        const int64_t in_c = part.b * f.c.stride_b + t * f.c.stride_t + part.g * f.c.stride_g + n;
        s->b[row][i % back::STATES] = is_valid ? sq_to_f32(f.b.data[in_b]) : 0.0f;
        s->c[row][i % back::STATES] = is_valid ? sq_to_f32(f.c.data[in_c]) : 0.0f;
    }
}

/* The states of one lane: n0 .. n0 + 3 of its channel. */
struct back_lane {
    static constexpr int N = back::PER_LANE;
    float a[N], h[N], carried[N], da[N]; /* a: A log2 e, 0 where there is no such state */
    int lane, channel, valid;            /* valid: states that there are, from n0 on */
    int64_t n0;

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

    /* Step t forward; *decay receives a_t. */
    __device__ __forceinline__ void advance(const back_shared &s, int t, float (&decay)[N])
    {
        const float2 step = s.step[t][channel];
        const float4 b4 = *(const float4 *)&s.b[t][lane * N];
        const float b[N] = {b4.x, b4.y, b4.z, b4.w}, x = step.x * step.y;
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
__device__ __forceinline__ void back_step(const back_shared &s, back_lane *own, int t,
                                          const float (&before)[4], const float (&after)[4],
                                          const float (&decay)[4], float (&out)[8], float *y,
                                          float *gb, float *ap)
{
    const float2 step = s.step[t][own->channel];
    const float e = s.e[t][own->channel], x = step.x * step.y;
    const float4 b4 = *(const float4 *)&s.b[t][own->lane * 4];
    const float4 c4 = *(const float4 *)&s.c[t][own->lane * 4];
    const float b[4] = {b4.x, b4.y, b4.z, b4.w}, c[4] = {c4.x, c4.y, c4.z, c4.w};
    *y = *gb = *ap = 0.0f;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float g = fmaf(e, c[j], own->carried[j]), p = g * (decay[j] * before[j]);
        own->carried[j] = decay[j] * g;
        own->da[j] = fmaf(step.x, p, own->da[j]);
        out[j] = g * x;
        out[4 + j] = e * after[j];
        *y = fmaf(c[j], after[j], *y);
        *gb = fmaf(g, b[j], *gb);
        *ap = fmaf(own->a[j], p, *ap);
    }
}

/* Adds this slice's totals of steps t .. t + 3: lane l writes step t + l. */
__device__ __forceinline__ void back_put_totals(const back_totals &totals, back_sums *sums,
                                                const back_lane &own, int t, bool is_first)
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
__device__ __forceinline__ void back_sub(const back_shared &s, back_lane *own, int sub,
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

/* The block's sums of SUB steps from the warps' ones. is_first: of the part's tiles. */
template <typename T>
__device__ __forceinline__ void back_add_projections(const back_shared &s, const back_args<T> &p,
                                                     const back_part &part, int64_t part_index,
                                                     int64_t slice, int sub, bool is_first)
{
    const int64_t width = p.slices * back::STATES;
    for (int i = threadIdx.x; i < back::SUB * 2 * back::STATES; i += back::THREADS) {
        const int k = i / (2 * back::STATES), element = i % (2 * back::STATES);
        const int row = sub * back::SUB + k;
        if (row >= part.rows)
            continue;
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < back::WARPS; warp++)
            sum += s.sums[sub % 2][warp][k][element];
        const int64_t token = (part.b * p.f.length + part.t0 + row) * p.f.groups + part.g;
        const int64_t kind = (token * p.parts + part_index) * 2 + element / back::STATES;
        float *to = &p.partial[kind * width + slice * back::STATES + element % back::STATES];
        *to = is_first ? sum : *to + sum;
    }
}

/* One slice of the states through the chunk, forward and back. */
template <typename T>
__device__ __forceinline__ void back_slice(back_shared *s, const back_args<T> &p,
                                           const back_part &part, const back_totals &totals,
                                           int64_t part_index, int64_t slice, bool is_first_tile)
{
    const scan_args<T> &f = p.f;
    back_lane own(part, slice, f.states);
    const int64_t d = part.d0 + own.channel, row = (part.b * f.channels + d) * f.states;
    const bool is_last = part.chunk == p.chunks - 1;
    const float *initial =
        f.initial ? f.initial + part.b * f.initial_stride_b + d * f.initial_stride_d : nullptr;
    const float *dfinal =
        p.dfinal ? p.dfinal + part.b * p.dfinal_stride_b + d * p.dfinal_stride_d : nullptr;
    own.load(own.a, f.a + d * f.a_stride, SQ_LOG2E);
    own.load(own.h, part.chunk > 0 ? f.saved_row(part.b, part.chunk - 1, d) : initial, 1.0f);
    own.load(own.carried, is_last ? dfinal : p.carried + row, 1.0f);
    own.load(own.da, is_last ? nullptr : p.da_rows + row, 1.0f);
    for (int sub = 0; sub < back::SUBS; sub++) {
        float decay[4];
        s->border[sub][threadIdx.x] = make_float4(own.h[0], own.h[1], own.h[2], own.h[3]);
#pragma unroll
        for (int k = 0; k < back::SUB; k++)
            if (sub + 1 < back::SUBS)
                own.advance(*s, sub * back::SUB + k, decay);
    }
    for (int sub = back::SUBS - 1; sub >= 0; sub--) {
        back_sub(*s, &own, sub, totals, slice == 0, s->sums[sub % 2][threadIdx.x / 32]);
        __syncthreads();
        back_add_projections(*s, p, part, part_index, slice, sub, is_first_tile);
    }
    own.store(p.carried + row, own.carried);
    own.store(p.da_rows + row, own.da);
    if (part.chunk == 0 && p.dinitial)
        own.store(p.dinitial + part.b * p.dinitial_stride_b + d * p.dinitial_stride_d, own.carried);
}

/* Elements from their totals; *dskip and *dbias receive sums over the thread's rows. */
template <typename T>
__device__ __forceinline__ void back_finish(const back_args<T> &p, const back_part &part,
                                            const back_totals &totals, float *dskip, float *dbias)
{
    const float ln2 = 0.693147181f;
    const int column = threadIdx.x % 32;
    const int64_t d = part.d0 + column, b = part.b;
    const float skip = p.f.skip && column < part.channels ? p.f.skip[d] : 0.0f;
    *dskip = *dbias = 0.0f;
#pragma unroll 2
    for (int row = threadIdx.x / 32; row < part.rows; row += back::WARPS) {
        if (column >= part.channels)
            break;
        const int64_t t = part.t0 + row;
        const float2 state = totals.state[row * back::CHANNELS + column];
        const float y = totals.y[row * back::CHANNELS + column];
        back_element now = {};
        now.load(p, b, t, d);
        float slope = 1.0f;
        if (p.f.has_softplus)
            slope = __fdividef(1.0f, 1.0f + sq_exp(-now.x));
        const float ddelta = fmaf(state.y, ln2, now.u * state.x) * slope;
        const float du = fmaf(now.e, skip, now.d * state.x);
        *dskip = fmaf(now.e, now.u, *dskip);
        *dbias += ddelta;
        p.du.data[b * p.du.stride_b + t * p.du.stride_t + d] = sq_from_f32<T>(du);
        p.ddelta.data[b * p.ddelta.stride_b + t * p.ddelta.stride_t + d] = sq_from_f32<T>(ddelta);
        if (p.f.z.data) {
            const float opened = now.gate * fmaf(now.z, 1.0f - now.gate, 1.0f);
            const float dz = now.dy * fmaf(skip, now.u, y) * opened;
            p.dz.data[b * p.dz.stride_b + t * p.dz.stride_t + d] = sq_from_f32<T>(dz);
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
    float *to = &p.channel_rows[(part.b * 2 + warp) * p.f.channels + part.d0 + column];
    *to = part.chunk == p.chunks - 1 ? sum : *to + sum;
}

/* Grid: (parts of the tiles in all groups, B). */
template <typename T>
__global__ void __launch_bounds__(back::THREADS, 3) scan_back(back_args<T> p)
{
    extern __shared__ uint4 shared_memory[];
    back_shared *s = (back_shared *)shared_memory;
    const back_totals totals =
        p.slices == 1
            ? back_totals{&s->step[0][0], &s->e[0][0]}
            : back_totals{(float2 *)(s + 1), (float *)(s + 1) + 2 * BORDER * back::CHANNELS};
    const int64_t per_group = p.f.channels / p.f.groups, part_index = blockIdx.x % p.parts;
    back_part part;
    part.b = blockIdx.y;
    part.g = blockIdx.x / p.parts;
    for (part.chunk = p.chunks - 1; part.chunk >= 0; part.chunk--) {
        part.t0 = part.chunk * BORDER;
        part.rows = (int)min((int64_t)BORDER, p.f.length - part.t0);
        for (int64_t tile = 0; tile < p.part_tiles; tile++) {
            const int64_t first = (part_index * p.part_tiles + tile) * back::CHANNELS;
            float dskip, dbias;
            if (first >= per_group)
                break;
            part.d0 = part.g * per_group + first;
            part.channels = (int)min((int64_t)back::CHANNELS, per_group - first);
            back_prepare(s, p, part);
            for (int64_t slice = 0; slice < p.slices; slice++) {
                back_load_projections(s, p.f, part, slice);
                __syncthreads();
                back_slice(s, p, part, totals, part_index, slice, tile == 0);
                __syncthreads();
            }
            back_finish(p, part, totals, &dskip, &dbias);
            back_add_channels(s, p, part, dskip, dbias);
            __syncthreads();
        }
    }
}

/* Grid: over (B, L, G, 2, N). */
template <typename T>
__global__ void scan_back_projections(back_args<T> p, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    const int64_t n = i % p.f.states, kind = i / p.f.states % 2, token = i / (2 * p.f.states);
    const int64_t g = token % p.f.groups, t = token / p.f.groups % p.f.length;
    const int64_t b = token / p.f.groups / p.f.length, width = p.slices * back::STATES;
    const float *from = &p.partial[(token * p.parts * 2 + kind) * width + n];
    float sum = 0.0f;
#pragma unroll 4
    for (int64_t part = 0; part < p.parts; part++)
        sum += from[part * 2 * width];
    const projection<T> &to = kind == 0 ? p.db : p.dc;
    to.data[b * to.stride_b + t * to.stride_t + g * to.stride_g + n] = sq_from_f32<T>(sum);
}

/* Grid: over (D, N + 2): dA, dD, ddelta_bias. */
template <typename T>
__global__ void scan_back_parameters(back_args<T> p)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x,
                  all = p.f.channels * p.f.states;
    if (i >= all + 2 * p.f.channels)
        return;
    const float *from = i < all ? p.da_rows + i : p.channel_rows + (i - all);
    const int64_t stride = i < all ? all : 2 * p.f.channels, d = (i - all) % p.f.channels;
    float sum = 0.0f;
#pragma unroll 4
    for (int64_t b = 0; b < p.f.batch; b++)
        sum += from[b * stride];
    if (i < all)
        p.da[i / p.f.states * p.da_stride + i % p.f.states] = sum;
    else if (float *to = i - all < p.f.channels ? p.dskip : p.dbias)
        to[d] = sum;
}

/* --- launch --- */

/* Blocks enough to fill a device; few parts beyond that, since each has its own dB and dC. */
template <typename T>
void back_partition(const sq_call *call, back_args<T> *args)
{
    const int64_t *dim = call->in[IN_U].dim, enough_blocks = 264;
    const int64_t groups = (int64_t)call->axis[AXIS_G], states = call->in[IN_A].dim[1];
    const int64_t tiles = sq_ceil_div(dim[2] / groups, back::CHANNELS);
    const int64_t wanted = sq_ceil_div(enough_blocks, dim[0] * groups);
    args->part_tiles = sq_ceil_div(tiles, wanted < tiles ? wanted : tiles);
    args->parts = sq_ceil_div(tiles, args->part_tiles);
    args->chunks = sq_ceil_div(dim[1], BORDER);
    args->slices = sq_ceil_div(states, back::STATES);
}

/* Lays the workspace out from `memory` on; returns its bytes. */
template <typename T>
size_t back_place(const sq_call *call, back_args<T> *args, float *memory)
{
    const int64_t *dim = call->in[IN_U].dim, states = call->in[IN_A].dim[1];
    const int64_t rows = dim[0] * dim[2], groups = (int64_t)call->axis[AXIS_G];
    const int64_t width = args->parts * 2 * args->slices * back::STATES;
    args->carried = memory;
    args->da_rows = args->carried + rows * states;
    args->channel_rows = args->da_rows + rows * states;
    args->partial = args->channel_rows + 2 * rows;
    return (size_t)(2 * rows * (states + 1) + dim[0] * dim[1] * groups * width) * sizeof(float);
}

static inline size_t back_workspace(const sq_call *call)
{
    back_args<float> args = {};
    back_partition(call, &args);
    return back_place(call, &args, NULL);
}

static inline size_t back_shared_bytes(int64_t slices)
{
    const size_t totals = 3 * BORDER * back::CHANNELS * sizeof(float);
    return sizeof(back_shared) + (slices > 1 ? totals : 0);
}

template <typename T>
back_args<T> back_args_of(const sq_call *call, const scan_args<T> &forward)
{
    const sq_tensor *in = call->in, *out = call->out;
    back_args<T> args = {};
    args.f = forward;
    args.dy = sequence_of<const T>(&in[IN_DY]);
    args.du = sequence_of<T>(&out[IN_U]);
    args.ddelta = sequence_of<T>(&out[IN_DELTA]);
    args.dz = sequence_of<T>(&out[IN_Z]);
    args.db = projection_of<T>(&out[IN_B]);
    args.dc = projection_of<T>(&out[IN_C]);
    args.da = (float *)out[IN_A].data;
    args.da_stride = out[IN_A].stride[0];
    args.dskip = (float *)out[IN_SKIP].data;
    args.dbias = (float *)out[IN_BIAS].data;
    args.dfinal = (const float *)in[IN_DFINAL].data;
    args.dfinal_stride_b = in[IN_DFINAL].stride[0];
    args.dfinal_stride_d = in[IN_DFINAL].stride[1];
    args.dinitial = (float *)out[IN_INITIAL].data;
    args.dinitial_stride_b = out[IN_INITIAL].stride[0];
    args.dinitial_stride_d = out[IN_INITIAL].stride[1];
    back_partition(call, &args);
    back_place(call, &args, (float *)call->workspace);
    return args;
}

template <typename T>
sq_status launch_back(const sq_call *call, const scan_args<T> &forward, sq_error *err)
{
    const back_args<T> args = back_args_of(call, forward);
    const size_t bytes = back_shared_bytes(args.slices);
    const int64_t projections =
        forward.batch * forward.length * forward.groups * 2 * forward.states;
    const int64_t parameters = forward.channels * (forward.states + 2);
    dim3 grid((unsigned)(forward.groups * args.parts), (unsigned)forward.batch);
    SQ_TRY(sq_allow_shared(scan_back<T>, bytes, err));
    scan_back<T><<<grid, back::THREADS, bytes, sq_stream(call)>>>(args);
    SQ_TRY(sq_launched("selective_scan bwd", err));
    scan_back_projections<T>
        <<<(unsigned)sq_ceil_div(projections, 256), 256, 0, sq_stream(call)>>>(args, projections);
    SQ_TRY(sq_launched("selective_scan bwd projections", err));
    scan_back_parameters<T>
        <<<(unsigned)sq_ceil_div(parameters, 256), 256, 0, sq_stream(call)>>>(args);
    return sq_launched("selective_scan bwd parameters", err);
}

} // namespace sq_selective_scan

#endif
