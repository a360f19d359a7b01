/* shift_ssm on CUDA. The operator: shift_ssm.c.
 *
 *   cuda/portable   fwd: a block has 32 channels and runs through some tiles of 64 steps, its
 * filter and the tile's inputs in shared memory; a thread has 8 steps of a channel. step: a warp
 * has a channel of a sequence
 */
#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/shift_ssm/shift_ssm.h"

namespace
{

enum { CHANNELS = 32, WARPS = 8, THREADS = CHANNELS * WARPS, STEPS = 8, TILE = WARPS * STEPS };
enum { TILES = 8 }; /* of a block, one after the other: they share the filter */

template <typename T>
struct tokens {
    T *data;
    int64_t stride_b, stride_t;

    __device__ T &at(int64_t b, int64_t t, int64_t d) const
    {
        return data[b * stride_b + t * stride_t + d];
    }
};

template <typename T>
tokens<T> tokens_of(const sq_tensor *t)
{
    return {(T *)t->data, t->stride[0], t->stride[1]};
}

/* data == NULL: absent. */
struct states {
    float *data;
    int64_t stride_b, stride_d;

    __device__ float *at(int64_t b, int64_t d) const { return data + b * stride_b + d * stride_d; }
};

states states_of(const sq_tensor *t)
{
    return {(float *)t->data, t->stride[0], t->stride[1]};
}

struct parameters {
    const float *b, *c, *skip;
    int64_t b_stride, c_stride, skip_stride, batch, length, channels;
    int count; /* N */
    states initial, final;
};

parameters parameters_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    return {(const float *)in[IN_GAIN].data,
            (const float *)in[IN_C].data,
            (const float *)in[IN_SKIP].data,
            in[IN_GAIN].stride[0],
            in[IN_C].stride[0],
            in[IN_SKIP].stride[0],
            in[IN_U].dim[0],
            in[IN_U].dim[1],
            in[IN_U].dim[2],
            (int)in[IN_C].dim[1],
            states_of(&in[IN_INITIAL]),
            states_of(&call->out[OUT_FINAL])};
}

/* taps[j][lane] = sum_i b_i c_{i+j}, the skip at j = 0. A thread has every WARPS-th tap. */
__device__ void make_taps(const parameters &p, int64_t d, float *taps)
{
    const int lane = threadIdx.x % CHANNELS;
    for (int j = threadIdx.x / CHANNELS; j < p.count; j += WARPS) {
        float sum = 0;
        if (d < p.channels) {
            const float *b = p.b + d * p.b_stride, *c = p.c + d * p.c_stride + j;
            for (int i = 0; i + j < p.count; i++)
                sum = fmaf(b[i], c[i], sum);
            if (j == 0)
                sum += p.skip[d * p.skip_stride];
        }
        taps[j * CHANNELS + lane] = sum;
    }
}

/* y_t of STEPS steps from t on: the inputs slide through registers, one new one a tap. at: the
 * place of step t in the tile's inputs. */
__device__ void convolve(const float *taps, const float *u, int count, int at, float *sum)
{
    const int lane = threadIdx.x % CHANNELS;
    float window[STEPS];
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
        window[i] = u[(at + i) * CHANNELS + lane];
        sum[i] = 0;
    }
    for (int j = 0; j < count; j++) {
        const float tap = taps[j * CHANNELS + lane];
#pragma unroll
        for (int i = 0; i < STEPS; i++)
            sum[i] = fmaf(tap, window[i], sum[i]);
#pragma unroll
        for (int i = STEPS - 1; i > 0; i--)
            window[i] = window[i - 1];
        window[0] = j + 1 < count ? u[(at - j - 1) * CHANNELS + lane] : 0.0f;
    }
}

/* What y_t takes from the initial state. */
__device__ float from_initial(const parameters &p, int64_t b, int64_t d, int64_t t)
{
    float sum = 0;
    for (int64_t n = t + 1; n < p.count; n++)
        sum = fmaf(p.c[d * p.c_stride + n], p.initial.at(b, d)[n - t - 1], sum);
    return sum;
}

/* Grid: (runs of TILES tiles, channels / 32, B). Shared memory: N rows of taps, N - 1 + TILE rows
 * of inputs, each of 32 channels. */
template <typename T>
__global__ void __launch_bounds__(THREADS) shift_tiles(tokens<T> u, tokens<T> y, parameters p)
{
    extern __shared__ float taps[];
    float *inputs = taps + p.count * CHANNELS;
    const int lane = threadIdx.x % CHANNELS, warp = threadIdx.x / CHANNELS, past = p.count - 1;
    const int64_t d = (int64_t)blockIdx.y * CHANNELS + lane;
    make_taps(p, d, taps);
    for (int64_t b = blockIdx.z; b < p.batch; b += gridDim.z)
        for (int tile = 0; tile < TILES; tile++) {
            const int64_t t0 = ((int64_t)blockIdx.x * TILES + tile) * TILE;
            if (t0 >= p.length)
                break;
            __syncthreads();
            for (int i = warp; i < past + TILE; i += WARPS) {
                const int64_t t = t0 - past + i;
                const bool is_inside = t >= 0 && t < p.length && d < p.channels;
                inputs[i * CHANNELS + lane] = is_inside ? sq_to_f32(u.at(b, t, d)) : 0.0f;
            }
            __syncthreads();
            float sum[STEPS];
            convolve(taps, inputs, p.count, past + warp * STEPS, sum);
#pragma unroll
            for (int i = 0; i < STEPS; i++) {
                const int64_t t = t0 + warp * STEPS + i;
                if (t >= p.length || d >= p.channels)
                    continue;
                if (p.initial.data && t + 1 < p.count)
                    sum[i] += from_initial(p, b, d, t);
                y.at(b, t, d) = sq_from_f32<T>(sum[i]);
            }
        }
}

/* final[n] = sum_{j <= n} b_{n-j} u_{L-1-j}, and the initial state moved on by L. A warp has a
 * channel of a sequence. */
template <typename T>
__global__ void __launch_bounds__(THREADS) last_states(tokens<T> u, parameters p)
{
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int64_t batch = row / p.channels, d = row % p.channels;
    if (batch >= p.batch)
        return;
    for (int n = threadIdx.x % 32; n < p.count; n += 32) {
        float x = p.initial.data && n >= p.length ? p.initial.at(batch, d)[n - p.length] : 0.0f;
        for (int j = 0; j <= n && j < p.length; j++)
            x = fmaf(p.b[d * p.b_stride + n - j], sq_to_f32(u.at(batch, p.length - 1 - j, d)), x);
        p.final.at(batch, d)[n] = x;
    }
}

/* One token: x[n] = x[n-1] + b_n u, y = c . x + skip u. A warp has a channel of a sequence. */
template <typename T>
__global__ void __launch_bounds__(THREADS) step(tokens<T> u, tokens<T> y, parameters p)
{
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int64_t batch = row / p.channels, d = row % p.channels;
    const int lane = threadIdx.x % 32;
    if (batch >= p.batch)
        return;
    const float in = sq_to_f32(u.at(batch, 0, d)), *before = p.initial.at(batch, d);
    float sum = 0;
    for (int n = lane; n < p.count; n += 32) {
        const float x = fmaf(p.b[d * p.b_stride + n], in, n > 0 ? before[n - 1] : 0.0f);
        p.final.at(batch, d)[n] = x;
        sum = fmaf(p.c[d * p.c_stride + n], x, sum);
    }
    sum = sq_warp_sum(sum);
    if (lane == 0)
        y.at(batch, 0, d) = sq_from_f32<T>(fmaf(p.skip[d * p.skip_stride], in, sum));
}

size_t shared_bytes(const sq_call *call)
{
    const int64_t count = call->in[IN_C].dim[1];
    return (size_t)((2 * count - 1 + TILE) * CHANNELS) * sizeof(float);
}

sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    return call->pass == SQ_PASS_STEP ? SQ_OK : sq_supports_shared(device, shared_bytes(call), why);
}

template <typename T>
sq_status launch_tiles(const sq_call *call, sq_error *err)
{
    const parameters p = parameters_of(call);
    const size_t shared = shared_bytes(call);
    const dim3 grid((unsigned)sq_ceil_div(p.length, TILES * TILE),
                    (unsigned)sq_ceil_div(p.channels, CHANNELS),
                    (unsigned)min(p.batch, (int64_t)65535));
    SQ_TRY(sq_allow_shared(shift_tiles<T>, shared, err));
    shift_tiles<T><<<grid, THREADS, shared, sq_stream(call)>>>(tokens_of<T>(&call->in[IN_U]),
                                                               tokens_of<T>(&call->out[OUT_Y]), p);
    return sq_launched("shift_ssm tiles", err);
}

sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    const parameters p = parameters_of(call);
    const unsigned rows = (unsigned)sq_ceil_div(p.batch * p.channels, WARPS);
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        const tokens<T> u = tokens_of<T>(&call->in[IN_U]), y = tokens_of<T>(&call->out[OUT_Y]);
        if (call->pass == SQ_PASS_STEP) {
            step<T><<<rows, THREADS, 0, sq_stream(call)>>>(u, y, p);
            return sq_launched("shift_ssm step", err);
        }
        SQ_TRY(launch_tiles<T>(call, err));
        if (!p.final.data)
            return SQ_OK;
        last_states<T><<<rows, THREADS, 0, sq_stream(call)>>>(u, p);
        return sq_launched("shift_ssm last states", err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_shift_ssm[] = {
    {"cuda/portable", "direct sums, filter and tile in shared memory", supports, NULL, NULL, launch,
     NULL, SQ_HAS_PASS(SQ_PASS_FWD) | SQ_HAS_STEP, NULL},
    {NULL},
};
