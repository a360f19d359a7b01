/* causal_conv1d on CUDA. The operator: causal_conv1d.c.
 *
 *   cuda/naive      one thread per output element
 *   cuda/portable   a thread owns four channels and walks a strip of the sequence with the last
 *                   taps in registers: every input is read once (and W - 1 rows more at the strip's
 *                   head)
 *
 * Pass bwd: conv_backward.cuh, naive_bwd.cuh. Pass step: every tap and every row of the state is read once, and
 * the state is written a row further on.
 *
 * The work per element is W multiply-adds and two special functions, so bandwidth is the limit:
 * what counts is bytes in flight, so a thread loads several rows before it uses the first.
 */
#include <cuda_runtime.h>

#include "kernels/causal_conv1d/conv_args.cuh"
#include "kernels/causal_conv1d/conv_backward.cuh"
#include "kernels/causal_conv1d/naive_bwd.cuh"
#include "kernels/op.h"

namespace
{

using namespace sq_causal_conv1d;

enum { NAIVE_THREADS = 256 };

template <typename T>
conv_args<T> forward_args_of(const sq_call *call)
{
    conv_args<T> args = args_of<T>(call);
    args.y = row_view_of<T>(&call->out[OUT_Y]);
    args.final = row_view_of<T>(&call->out[OUT_FINAL]);
    return args;
}

/* grid: x over the elements of (W-1, D), y over the batch. */
template <typename T>
__global__ void conv_final(conv_args<T> p)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
    const int64_t row = i / p.channels, d = i % p.channels;
    if (row >= p.taps - 1)
        return;
    const T *x = input_row(p, b, p.length - (p.taps - 1) + row);
    p.final.row(b, row)[d] = x ? x[d] : sq_from_f32<T>(0.0f);
}

template <typename T>
sq_status launch_final(const sq_call *call, const conv_args<T> &args, sq_error *err)
{
    if (!args.final.data)
        return SQ_OK;
    const int64_t blocks = sq_ceil_div((args.taps - 1) * args.channels, THREADS);
    const dim3 grid((unsigned)blocks, (unsigned)call->in[IN_X].dim[0]);
    conv_final<T><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    return sq_launched("causal_conv1d final", err);
}

/* --- naive --- */

template <typename T>
__global__ void conv_naive(conv_args<T> p)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
    int64_t t = i / p.channels, d = i % p.channels;
    if (t >= p.length)
        return;
    float sum = convolve(p, b, t, d);
    if (p.has_silu)
        sum /= 1.0f + expf(-sum);
    p.y.row(b, t)[d] = sq_from_f32<T>(sum);
}

sq_status supports_any(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    if (call->in[IN_X].dim[0] > 65535)
        return sq_fail(why, SQ_UNSUPPORTED, "B > 65535: the batch is a grid dimension");
    if (call->in[IN_X].dim[1] * call->in[IN_X].dim[2] > (int64_t)NAIVE_THREADS * INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "L D > 2^39: more blocks than a grid has");
    return sq_supports_types(call, why);
}

sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    const int64_t *dim = call->in[IN_X].dim;
    dim3 grid((unsigned)sq_ceil_div(dim[1] * dim[2], NAIVE_THREADS), (unsigned)dim[0]);
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        if (call->pass == SQ_PASS_BWD)
            return naive_backward<T>(call, err);
        const conv_args<T> args = forward_args_of<T>(call);
        conv_naive<T><<<grid, NAIVE_THREADS, 0, sq_stream(call)>>>(args);
        SQ_TRY(sq_launched("causal_conv1d naive", err));
        return launch_final<T>(call, args, err);
    });
}

/* --- portable --- */

template <typename T, int W, int VEC>
struct strip {
    taps<T, W, VEC> filter;
    float past[W - 1][VEC]; /* past[0]: the row before the next one */

    __device__ __forceinline__ strip(const conv_args<T> &p, int64_t b, int64_t begin, int64_t d)
        : filter(p, d)
    {
        load_past<T, W, VEC>(p, b, begin, d, past);
    }

    __device__ __forceinline__ void step(const pack<T, VEC> &in, pack<T, VEC> *out, bool has_silu)
    {
#pragma unroll
        for (int v = 0; v < VEC; v++) {
            float x = sq_to_f32(in.value[v]);
            float sum = fmaf(filter.w[W - 1][v], x, filter.bias[v]);
#pragma unroll
            for (int k = 0; k < W - 1; k++)
                sum = fmaf(filter.w[W - 2 - k][v], past[k][v], sum);
            push<W - 1, VEC>(past, v, x);
            out->value[v] = sq_from_f32<T>(has_silu ? sq_silu(sum) : sum);
        }
    }

    /* The next COUNT rows: all loads, then all steps. */
    template <int COUNT>
    __device__ __forceinline__ void rows(const T **x, T **y, int64_t x_stride, int64_t y_stride,
                                         bool has_silu)
    {
        pack<T, VEC> in[COUNT];
#pragma unroll
        for (int k = 0; k < COUNT; k++, *x += x_stride)
            in[k] = *(const pack<T, VEC> *)*x;
#pragma unroll
        for (int k = 0; k < COUNT; k++, *y += y_stride) {
            pack<T, VEC> out;
            step(in[k], &out, has_silu);
            *(pack<T, VEC> *)*y = out;
        }
    }
};

/* grid: x over vectors of channels and strips, y over the batch. */
template <typename T, int W, int VEC>
__global__ void __launch_bounds__(THREADS) conv_strip(conv_args<T> p)
{
    const int64_t vectors = p.channels / VEC, b = blockIdx.y;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t d = i % vectors * VEC, begin = i / vectors * p.strip;
    if (begin >= p.length)
        return;
    const T *x = p.x.row(b, begin) + d;
    T *y = p.y.row(b, begin) + d;
    strip<T, W, VEC> s(p, b, begin, d);
    constexpr int batch = 16 / (int)sizeof(T); /* 64 bytes a thread in flight */
    int rows = (int)(min(begin + p.strip, p.length) - begin);
    for (; rows >= batch; rows -= batch)
        s.template rows<batch>(&x, &y, p.x.stride_t, p.y.stride_t, p.has_silu);
    for (; rows > 0; rows--)
        s.template rows<1>(&x, &y, p.x.stride_t, p.y.stride_t, p.has_silu);
}

template <typename T, int VEC>
sq_status launch_strips(const sq_call *call, const conv_args<T> &args, sq_error *err)
{
    const int64_t threads = args.channels / VEC * sq_ceil_div(args.length, args.strip);
    dim3 grid((unsigned)sq_ceil_div(threads, THREADS), (unsigned)call->in[IN_X].dim[0]);
    if (args.taps == 2)
        conv_strip<T, 2, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    else if (args.taps == 3)
        conv_strip<T, 3, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    else
        conv_strip<T, 4, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    return sq_launched("causal_conv1d portable", err);
}

/* One token. grid: x over vectors of channels, y over the batch. */
template <typename T, int VEC>
__global__ void __launch_bounds__(THREADS) conv_step(conv_args<T> p)
{
    using packed = pack<T, VEC>;
    const int64_t d = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * VEC, b = blockIdx.y;
    const int past = p.taps - 1;
    if (d >= p.channels)
        return;
    float sum[VEC];
#pragma unroll
    for (int v = 0; v < VEC; v++)
        sum[v] = p.bias ? sq_to_f32(p.bias[d + v]) : 0.0f;
    for (int k = 0; k <= past; k++) {
        const packed x = *(const packed *)(input_row(p, b, k - past) + d);
#pragma unroll
        for (int v = 0; v < VEC; v++)
            sum[v] = fmaf(sq_to_f32(p.w[(d + v) * p.w_stride + k]), sq_to_f32(x.value[v]), sum[v]);
        if (k > 0)
            *(packed *)(p.final.row(b, k - 1) + d) = x;
    }
    packed y;
#pragma unroll
    for (int v = 0; v < VEC; v++)
        y.value[v] = sq_from_f32<T>(p.has_silu ? sq_silu(sum[v]) : sum[v]);
    *(packed *)(p.y.row(b, 0) + d) = y;
}

template <typename T, int VEC>
sq_status launch_step(const sq_call *call, const conv_args<T> &args, sq_error *err)
{
    dim3 grid((unsigned)sq_ceil_div(args.channels / VEC, THREADS), (unsigned)call->in[IN_X].dim[0]);
    conv_step<T, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    return sq_launched("causal_conv1d step", err);
}

template <typename T>
sq_status launch_forward(const sq_call *call, sq_error *err)
{
    const bool is_quad = is_quad_aligned(&call->in[IN_X]) && is_quad_aligned(&call->out[OUT_Y]) &&
                         is_quad_aligned(&call->in[IN_INITIAL]);
    conv_args<T> args = forward_args_of<T>(call);
    if (call->pass == SQ_PASS_STEP)
        return (is_quad && is_quad_aligned(&call->out[OUT_FINAL])
                    ? launch_step<T, 4>
                    : launch_step<T, 1>)(call, args, err);
    args.strip = strip_length(call->in[IN_X].dim[0], args.length, args.channels);
    SQ_TRY((is_quad ? launch_strips<T, 4> : launch_strips<T, 1>)(call, args, err));
    return launch_final<T>(call, args, err);
}

size_t workspace_portable(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD ? back_workspace(call) : 0;
}

sq_status launch_portable(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        return call->pass == SQ_PASS_BWD ? launch_back<T>(call, err) : launch_forward<T>(call, err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_causal_conv1d[] = {
    {"cuda/naive", "one thread per output element", supports_any, NULL, NULL, launch_naive, NULL,
     SQ_HAS_BWD | SQ_HAS_STEP},
    {"cuda/portable", "a thread walks a strip of four channels, taps in registers", supports_any,
     workspace_portable, NULL, launch_portable, NULL, SQ_HAS_BWD | SQ_HAS_STEP},
    {NULL},
};
