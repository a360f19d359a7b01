/* shift_ssm on CUDA. The operator: shift_ssm.c.
 *
 *   cuda/naive      a thread for each element (naive.cuh)
 *   cuda/portable   fwd: a block has 32 channels and runs through some tiles of 64 steps, its
 *                   filter and the tile's inputs in shared memory; a thread has 8 steps of a
 *                   channel. bwd: the same for du; a thread sums the gradients of some taps over
 *                   tiles, and their products with b and c follow. step: a warp has a channel of a
 *                   sequence
 */
#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/shift_ssm/naive.cuh"
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
    const bool has_final = call->pass != SQ_PASS_BWD; /* whose outputs are gradients of inputs */
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
            has_final ? states_of(&call->out[OUT_FINAL]) : states{}};
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

/* What y_t takes from the initial state; with time reversed, what du takes from the gradient of the
 * final state (initial: that gradient, t: steps before the last). */
template <bool REVERSE>
__device__ float from_state(const parameters &p, int64_t b, int64_t d, int64_t t)
{
    const float *state = p.initial.at(b, d);
    float sum = 0;
    for (int64_t n = REVERSE ? t : t + 1; n < p.count; n++)
        sum = REVERSE ? fmaf(p.b[d * p.b_stride + n - t], state[n], sum)
                      : fmaf(p.c[d * p.c_stride + n], state[n - t - 1], sum);
    return sum;
}

/* inputs[i][lane] = u at step t0 - past + i of the sequence, read backwards where REVERSE; 0
 * outside.
 */
template <typename T, bool REVERSE>
__device__ void load_inputs(tokens<T> u, const parameters &p, int64_t b, int64_t d, int64_t t0,
                            int past, float *inputs)
{
    const int lane = threadIdx.x % CHANNELS;
    for (int i = threadIdx.x / CHANNELS; i < past + TILE; i += WARPS) {
        const int64_t t = t0 - past + i, at = REVERSE ? p.length - 1 - t : t;
        const bool is_inside = t >= 0 && t < p.length && d < p.channels;
        inputs[i * CHANNELS + lane] = is_inside ? sq_to_f32(u.at(b, at, d)) : 0.0f;
    }
}

/* Grid: (runs of TILES tiles, channels / 32, B). Shared memory: N rows of taps, N - 1 + TILE rows
 * of inputs, each of 32 channels. */
template <typename T, bool REVERSE>
__global__ void __launch_bounds__(THREADS) shift_tiles(tokens<T> u, tokens<T> y, parameters p)
{
    extern __shared__ float taps[];
    float *inputs = taps + p.count * CHANNELS;
    const int warp = threadIdx.x / CHANNELS, past = p.count - 1;
    const int64_t d = (int64_t)blockIdx.y * CHANNELS + threadIdx.x % CHANNELS;
    make_taps(p, d, taps);
    for (int64_t b = blockIdx.z; b < p.batch; b += gridDim.z)
        for (int tile = 0; tile < TILES; tile++) {
            const int64_t t0 = ((int64_t)blockIdx.x * TILES + tile) * TILE;
            if (t0 >= p.length)
                break;
            __syncthreads();
            load_inputs<T, REVERSE>(u, p, b, d, t0, past, inputs);
            __syncthreads();
            float sum[STEPS];
            convolve(taps, inputs, p.count, past + warp * STEPS, sum);
#pragma unroll
            for (int i = 0; i < STEPS; i++) {
                const int64_t t = t0 + warp * STEPS + i;
                if (t >= p.length || d >= p.channels)
                    continue;
                if (p.initial.data && t < p.count)
                    sum[i] += from_state<REVERSE>(p, b, d, t);
                y.at(b, REVERSE ? p.length - 1 - t : t, d) = sq_from_f32<T>(sum[i]);
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

/* --- bwd --- */

enum { ROUNDS = 4, ROUND = WARPS * STEPS }; /* taps of a round of the block; N <= ROUNDS ROUND */

struct backward_args {
    parameters p;
    states dfinal, dinitial;
    float *partial; /* (segments, D, N) */
    float *db, *dc, *dskip;
    int64_t db_stride, dc_stride, dskip_stride;
    int segments;
};

/* Adds a tile's products dy_t u_{t-j} to a thread's taps j0 .. j0 + STEPS - 1: the inputs slide.
 * The tile has a sum of its own, so that rounding grows with the root of the number of tiles. */
__device__ void add_products(const float *dy, const float *u, int past, int j0, float *sum)
{
    const int lane = threadIdx.x % CHANNELS;
    float window[STEPS], part[STEPS] = {};
#pragma unroll
    for (int i = 1; i < STEPS; i++) {
        const int at = past - j0 - i; /* of step -i */
        window[i - 1] = at >= 0 ? u[at * CHANNELS + lane] : 0.0f;
    }
    for (int t = 0; t < TILE; t++) {
        const int at = past + t - j0;
        const float out = dy[t * CHANNELS + lane];
#pragma unroll
        for (int i = STEPS - 1; i > 0; i--)
            window[i] = window[i - 1];
        window[0] = at >= 0 ? u[at * CHANNELS + lane] : 0.0f;
#pragma unroll
        for (int i = 0; i < STEPS; i++)
            part[i] = fmaf(out, window[i], part[i]);
    }
#pragma unroll
    for (int i = 0; i < STEPS; i++)
        sum[i] += part[i];
}

/* Gradients of the taps, the skip among them. Grid: (segments, channels / 32). Shared memory: N - 1
 * + TILE rows of inputs and TILE rows of dy. */
template <typename T>
__global__ void __launch_bounds__(THREADS) tap_gradients(tokens<T> u, tokens<T> dy, backward_args a)
{
    extern __shared__ float inputs[];
    const parameters &p = a.p;
    const int past = p.count - 1, lane = threadIdx.x % CHANNELS, warp = threadIdx.x / CHANNELS;
    float *outputs = inputs + (past + TILE) * CHANNELS;
    const int64_t d = (int64_t)blockIdx.y * CHANNELS + lane;
    const int64_t tiles = (p.length + TILE - 1) / TILE;
    float sum[ROUNDS][STEPS] = {};
    for (int64_t i = blockIdx.x; i < p.batch * tiles; i += a.segments) {
        const int64_t b = i / tiles, t0 = i % tiles * TILE;
        __syncthreads();
        load_inputs<T, false>(u, p, b, d, t0, past, inputs);
        load_inputs<T, false>(dy, p, b, d, t0, 0, outputs);
        __syncthreads();
#pragma unroll
        for (int round = 0; round < ROUNDS; round++)
            if (round * ROUND < p.count)
                add_products(outputs, inputs, past, round * ROUND + warp * STEPS, sum[round]);
    }
#pragma unroll
    for (int round = 0; round < ROUNDS; round++)
#pragma unroll
        for (int i = 0; i < STEPS; i++) {
            const int j = round * ROUND + warp * STEPS + i;
            if (j < p.count && d < p.channels)
                a.partial[(blockIdx.x * p.channels + d) * p.count + j] = sum[round][i];
        }
}

/* What b_n and c_n get from the states at both ends of all sequences, each of which has a sum of
 * its own. */
template <typename T>
__device__ float b_from_final(tokens<T> u, const backward_args &a, int64_t d, int n)
{
    float sum = 0;
    for (int64_t b = 0; a.dfinal.data && b < a.p.batch; b++) {
        float own = 0;
        for (int j = 0; n + j < a.p.count && j < a.p.length; j++)
            own = fmaf(a.dfinal.at(b, d)[n + j], sq_to_f32(u.at(b, a.p.length - 1 - j, d)), own);
        sum += own;
    }
    return sum;
}

template <typename T>
__device__ float c_from_initial(tokens<T> dy, const backward_args &a, int64_t d, int n)
{
    float sum = 0;
    for (int64_t b = 0; a.p.initial.data && b < a.p.batch; b++) {
        float own = 0;
        for (int t = 0; t < n && t < a.p.length; t++)
            own = fmaf(sq_to_f32(dy.at(b, t, d)), a.p.initial.at(b, d)[n - t - 1], own);
        sum += own;
    }
    return sum;
}

/* db, dc and dskip. A warp has a channel. Shared memory: WARPS rows of N. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    parameter_gradients(tokens<T> u, tokens<T> dy, backward_args a)
{
    extern __shared__ float shared[];
    const parameters &p = a.p;
    const int64_t d = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    float *taps = shared + threadIdx.x / 32 * p.count;
    if (d >= p.channels)
        return;
    for (int j = threadIdx.x % 32; j < p.count; j += 32) {
        float sum = 0;
        for (int s = 0; s < a.segments; s++)
            sum += a.partial[(s * p.channels + d) * p.count + j];
        taps[j] = sum;
    }
    __syncwarp();
    const float *b = p.b + d * p.b_stride, *c = p.c + d * p.c_stride;
    for (int n = threadIdx.x % 32; n < p.count; n += 32) {
        float by_b = b_from_final(u, a, d, n), by_c = c_from_initial(dy, a, d, n);
        for (int j = 0; n + j < p.count; j++)
            by_b = fmaf(taps[j], c[n + j], by_b);
        for (int j = 0; j <= n; j++)
            by_c = fmaf(taps[j], b[n - j], by_c);
        a.db[d * a.db_stride + n] = by_b;
        a.dc[d * a.dc_stride + n] = by_c;
    }
    if (threadIdx.x % 32 == 0)
        a.dskip[d * a.dskip_stride] = taps[0];
}

/* A warp has a channel of a sequence. */
template <typename T>
__global__ void __launch_bounds__(THREADS) initial_gradient(tokens<T> dy, backward_args a)
{
    const parameters &p = a.p;
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int64_t batch = row / p.channels, d = row % p.channels;
    if (batch >= p.batch)
        return;
    for (int m = threadIdx.x % 32; m < p.count; m += 32) {
        const bool is_kept = a.dfinal.data && m + p.length < p.count;
        float sum = is_kept ? a.dfinal.at(batch, d)[m + p.length] : 0.0f;
        for (int t = 0; t < p.length && m + t + 1 < p.count; t++)
            sum = fmaf(sq_to_f32(dy.at(batch, t, d)), p.c[d * p.c_stride + m + t + 1], sum);
        a.dinitial.at(batch, d)[m] = sum;
    }
}

/* --- host --- */

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

int segments_of(const sq_call *call)
{
    const int64_t *dim = call->in[IN_U].dim;
    const int64_t items = dim[0] * sq_ceil_div(dim[1], TILE);
    const int64_t wanted = sq_ceil_div(264, sq_ceil_div(dim[2], CHANNELS));
    return (int)min(items, max(wanted, (int64_t)1));
}

size_t workspace(const sq_call *call)
{
    if (call->pass != SQ_PASS_BWD)
        return 0;
    return segments_of(call) * call->in[IN_U].dim[2] * call->in[IN_C].dim[1] * sizeof(float);
}

template <typename T, bool REVERSE>
sq_status launch_tiles(const sq_call *call, const parameters &p, const sq_tensor *from,
                       const sq_tensor *to, sq_error *err)
{
    const size_t shared = shared_bytes(call);
    const dim3 grid((unsigned)sq_ceil_div(p.length, TILES * TILE),
                    (unsigned)sq_ceil_div(p.channels, CHANNELS),
                    (unsigned)min(p.batch, (int64_t)65535));
    SQ_TRY(sq_allow_shared(shift_tiles<T, REVERSE>, shared, err));
    shift_tiles<T, REVERSE>
        <<<grid, THREADS, shared, sq_stream(call)>>>(tokens_of<T>(from), tokens_of<T>(to), p);
    return sq_launched("shift_ssm tiles", err);
}

template <typename T>
sq_status launch_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *out = call->out, *dy = &call->in[IN_COUNT];
    const tokens<T> u = tokens_of<T>(&call->in[IN_U]), outputs = tokens_of<T>(dy);
    backward_args a = {};
    a.p = parameters_of(call);
    a.dfinal = states_of(&call->in[IN_COUNT + OUT_FINAL]);
    a.dinitial = states_of(&out[IN_INITIAL]);
    a.partial = (float *)call->workspace;
    a.db = (float *)out[IN_GAIN].data;
    a.dc = (float *)out[IN_C].data;
    a.dskip = (float *)out[IN_SKIP].data;
    a.db_stride = out[IN_GAIN].stride[0];
    a.dc_stride = out[IN_C].stride[0];
    a.dskip_stride = out[IN_SKIP].stride[0];
    a.segments = segments_of(call);
    parameters reversed = a.p;
    reversed.initial = a.dfinal;
    const int64_t count = a.p.count;
    const size_t tile = (size_t)((count - 1 + 2 * TILE) * CHANNELS) * sizeof(float);
    const dim3 grid((unsigned)a.segments, (unsigned)sq_ceil_div(a.p.channels, CHANNELS));
    SQ_TRY((launch_tiles<T, true>(call, reversed, dy, &out[IN_U], err)));
    SQ_TRY(sq_allow_shared(tap_gradients<T>, tile, err));
    tap_gradients<T><<<grid, THREADS, tile, sq_stream(call)>>>(u, outputs, a);
    SQ_TRY(sq_launched("shift_ssm gradients of taps", err));
    parameter_gradients<T><<<(unsigned)sq_ceil_div(a.p.channels, WARPS), THREADS,
                             WARPS * count * sizeof(float), sq_stream(call)>>>(u, outputs, a);
    SQ_TRY(sq_launched("shift_ssm gradients of parameters", err));
    if (!a.dinitial.data)
        return SQ_OK;
    initial_gradient<T>
        <<<(unsigned)sq_ceil_div(a.p.batch * a.p.channels, WARPS), THREADS, 0, sq_stream(call)>>>(
            outputs, a);
    return sq_launched("shift_ssm gradient of the initial state", err);
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
        if (call->pass != SQ_PASS_FWD)
            return launch_backward<T>(call, err);
        SQ_TRY((launch_tiles<T, false>(call, p, &call->in[IN_U], &call->out[OUT_Y], err)));
        if (!p.final.data)
            return SQ_OK;
        last_states<T><<<rows, THREADS, 0, sq_stream(call)>>>(u, p);
        return sq_launched("shift_ssm last states", err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_shift_ssm[] = {
    {"cuda/naive", "a thread for each element", sq_naive_supports, sq_shift_ssm::naive_workspace,
     NULL, sq_shift_ssm::naive_launch, NULL, SQ_HAS_BWD | SQ_HAS_STEP, NULL},
    {"cuda/portable", "direct sums, filter and tile in shared memory", supports, workspace, NULL,
     launch, NULL, SQ_HAS_BWD | SQ_HAS_STEP, NULL},
    {NULL},
};
