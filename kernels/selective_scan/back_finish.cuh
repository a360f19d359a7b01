/* back_finish: selective_scan's pass bwd, the gradients of a chunk's elements from their sums over the
 * states. Included by scan_backward.cuh alone. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_BACK_FINISH_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_BACK_FINISH_CUH

#include "kernels/selective_scan/back_chunk.cuh"

namespace sq_selective_scan
{

/* Where a thread's gradients go; walks as back_reader does. */
template <typename T, bool IS_VECTOR>
struct back_writer {
    T *du, *ddelta, *dz; /* dz: NULL without a gate */
    int64_t du_step, ddelta_step, dz_step;
    int channels;

    __device__ __forceinline__ back_writer(const back_args<T> &p, const back_part &part, int row,
                                           int channel)
        : du_step(back::ROW_STEP * p.du.stride_t), ddelta_step(back::ROW_STEP * p.ddelta.stride_t),
          dz_step(back::ROW_STEP * p.dz.stride_t), channels(part.channels - channel)
    {
        const int64_t b = part.b, t = part.t0 + row, d = part.d0 + channel;
        du = p.du.data + b * p.du.stride_b + t * p.du.stride_t + d;
        ddelta = p.ddelta.data + b * p.ddelta.stride_b + t * p.ddelta.stride_t + d;
        dz = p.dz.data ? p.dz.data + b * p.dz.stride_b + t * p.dz.stride_t + d : nullptr;
    }

    __device__ __forceinline__ void put(const float (&of_u)[4], const float (&of_delta)[4],
                                        const float (&of_z)[4]) const
    {
        raw_row<T, 4> raw;
        raw.set(of_u);
        raw.template store<IS_VECTOR>(du, channels);
        raw.set(of_delta);
        raw.template store<IS_VECTOR>(ddelta, channels);
        if (dz) {
            raw.set(of_z);
            raw.template store<IS_VECTOR>(dz, channels);
        }
    }

    __device__ __forceinline__ void advance()
    {
        du += du_step;
        ddelta += ddelta_step;
        if (dz)
            dz += dz_step;
    }
};

/* Of one element, from its totals. slope: of d over delta. */
struct back_gradient {
    float u, delta, z;

    __device__ __forceinline__ back_gradient(const back_element &now, float2 state, float y,
                                             float skip, float slope)
    {
        const float ln2 = 0.693147181f;
        delta = fmaf(state.y, ln2, now.u * state.x) * slope;
        u = fmaf(now.e, skip, now.d * state.x);
        const float opened = now.gate * fmaf(now.z, 1.0f - now.gate, 1.0f);
        z = now.dy * fmaf(skip, now.u, y) * opened;
    }
};

/* Sums over a thread's steps, by its channels. */
struct back_channel_sums {
    float skip[4], bias[4];
};

/* Four channels in step t, to the writer's place. */
template <bool IS_VECTOR, typename T>
__device__ __forceinline__ void
back_finish_row(const back_element (&now)[4], const back_totals &totals, int at,
                const float (&skip)[4], bool has_softplus, const back_writer<T, IS_VECTOR> &writer,
                back_channel_sums *sums)
{
    const float4 low = *(const float4 *)&totals.state[at];
    const float4 high = *(const float4 *)&totals.state[at + 2];
    const float4 y4 = *(const float4 *)&totals.y[at];
    const float gb[4] = {low.x, low.z, high.x, high.z}, ap[4] = {low.y, low.w, high.y, high.w};
    const float y[4] = {y4.x, y4.y, y4.z, y4.w};
    float slope[4] = {1.0f, 1.0f, 1.0f, 1.0f}, du[4], ddelta[4], dz[4];
    if (has_softplus) {
#pragma unroll
        for (int j = 0; j < 4; j++)
            slope[j] = __fdividef(1.0f, 1.0f + sq_exp(-now[j].x));
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const back_gradient of(now[j], make_float2(gb[j], ap[j]), y[j], skip[j], slope[j]);
        du[j] = of.u, ddelta[j] = of.delta, dz[j] = of.z;
        sums->skip[j] = fmaf(now[j].e, now[j].u, sums->skip[j]);
        sums->bias[j] += of.delta;
    }
    writer.put(du, ddelta, dz);
}

template <bool IS_VECTOR, typename T>
__device__ __forceinline__ back_channel_sums back_finish_rows(const back_args<T> &p,
                                                              const back_part &part,
                                                              const back_totals &totals)
{
    constexpr int AHEAD = 4;
    const int channel = (int)threadIdx.x % back::QUADS * 4;
    const int first = (int)threadIdx.x / back::QUADS;
    back_reader<T, IS_VECTOR> reader(p, part, first, channel);
    back_writer<T, IS_VECTOR> writer(p, part, first, channel);
    back_channel_sums sums = {};
    float skip[4];
#pragma unroll
    for (int j = 0; j < 4; j++)
        skip[j] = p.f.skip && channel + j < part.channels ? p.f.skip[part.d0 + channel + j] : 0.0f;
#pragma unroll 1
    for (int row = first; row < part.rows; row += AHEAD * back::ROW_STEP) {
        back_raw<T> raw[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            raw[k] = reader.fetch();
#pragma unroll
        for (int k = 0; k < AHEAD; k++, writer.advance()) {
            const int t = row + k * back::ROW_STEP;
            back_element now[4];
            if (t >= part.rows)
                continue;
            reader.elements(now, raw[k]);
            back_finish_row(now, totals, t * back::CHANNELS + channel, skip, p.f.has_softplus,
                            writer, &sums);
        }
    }
    return sums;
}

/* Elements from their totals. The warps' sums for dD and ddelta_bias go to s->channel_sums. */
template <typename T>
__device__ __forceinline__ void back_finish(back_shared *s, const back_args<T> &p,
                                            const back_part &part, const back_totals &totals)
{
    const int warp = threadIdx.x / 32, quad = threadIdx.x % back::QUADS;
    back_channel_sums sums = p.is_vector ? back_finish_rows<true>(p, part, totals)
                                         : back_finish_rows<false>(p, part, totals);
    static_assert(2 * back::QUADS == 32, "two lanes of a warp have the same channels");
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sums.skip[j] += __shfl_xor_sync(0xffffffffu, sums.skip[j], back::QUADS);
        sums.bias[j] += __shfl_xor_sync(0xffffffffu, sums.bias[j], back::QUADS);
    }
    const bool is_second = threadIdx.x % 32 >= back::QUADS;
    float own[4];
#pragma unroll
    for (int j = 0; j < 4; j++)
        own[j] = is_second ? sums.bias[j] : sums.skip[j];
    *(float4 *)&s->channel_sums[is_second][warp][quad * 4] =
        make_float4(own[0], own[1], own[2], own[3]);
}

/* Adds the block's sums of dD and ddelta_bias to those of the chunks behind this one. */
template <typename T>
__device__ __forceinline__ void back_add_channels(const back_shared &s, const back_args<T> &p,
                                                  const back_part &part)
{
    static_assert(2 * back::CHANNELS == back::THREADS, "a thread has one sum");
    const int kind = threadIdx.x / back::CHANNELS, column = threadIdx.x % back::CHANNELS;
    if (column >= part.channels)
        return;
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < back::WARPS; warp++)
        sum += s.channel_sums[kind][warp][column];
    const int64_t row = (part.b * p.segments + part.segment) * 2 + kind;
    float *to = &p.channel_rows[row * p.f.channels + part.d0 + column];
    *to = part.is_at_end() ? sum : *to + sum;
}

} // namespace sq_selective_scan

#endif
