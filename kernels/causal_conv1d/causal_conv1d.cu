/* causal_conv1d on CUDA. The operator: causal_conv1d.c.
 *
 *   cuda/naive      one thread per output element
 *   cuda/portable   a thread owns four channels and walks a strip of the sequence with the last
 *                   taps in registers: every input is read once (and W - 1 rows more at the strip's
 *                   head)
 *
 * The work per element is W multiply-adds and two special functions, so bandwidth is the limit:
 * what counts is bytes in flight, so a thread loads several rows before it uses the first.
 */
#include <cuda_runtime.h>

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/op.h"

namespace
{

enum { NAIVE_THREADS = 256, THREADS = 128, MAX_STRIP = 64, MIN_STRIP = 16 };

template <typename T>
struct conv_args {
    const T *x, *w, *bias; /* bias: NULL or (D) */
    const T *initial;      /* NULL or (B, W-1, D) */
    T *y;
    int64_t x_stride_b, x_stride_t, y_stride_b, y_stride_t, w_stride;
    int64_t initial_stride_b, initial_stride_t;
    int64_t length, channels;
    int taps, strip;
    bool has_silu;
};

template <typename T>
conv_args<T> args_of(const sq_call *call)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W], *y = &call->out[OUT_Y];
    const sq_tensor *initial = &call->in[IN_INITIAL];
    conv_args<T> args = {};
    args.x = (const T *)x->data;
    args.w = (const T *)w->data;
    args.bias = (const T *)call->in[IN_BIAS].data;
    args.initial = (const T *)initial->data;
    args.initial_stride_b = initial->stride[0];
    args.initial_stride_t = initial->stride[1];
    args.y = (T *)y->data;
    args.x_stride_b = x->stride[0];
    args.x_stride_t = x->stride[1];
    args.y_stride_b = y->stride[0];
    args.y_stride_t = y->stride[1];
    args.w_stride = w->stride[0];
    args.length = x->dim[1];
    args.channels = x->dim[2];
    args.taps = (int)w->dim[1];
    args.has_silu = call->axis[AXIS_SILU] != 0;
    return args;
}

/* Row t of the inputs, t down to 1 - W: the sequence, what came before it, or NULL for zeros. */
template <typename T>
__device__ __forceinline__ const T *input_row(const conv_args<T> &p, int64_t b, int64_t t)
{
    if (t >= 0)
        return p.x + b * p.x_stride_b + t * p.x_stride_t;
    return p.initial ? p.initial + b * p.initial_stride_b + (p.taps - 1 + t) * p.initial_stride_t
                     : nullptr;
}

/* grid: x over the elements of (W-1, D), y over the batch. */
template <typename T>
__global__ void conv_final(conv_args<T> p, T *final, int64_t stride_b, int64_t stride_t)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
    const int64_t row = i / p.channels, d = i % p.channels;
    if (row >= p.taps - 1)
        return;
    const T *x = input_row(p, b, p.length - (p.taps - 1) + row);
    final[b * stride_b + row * stride_t + d] = x ? x[d] : sq_from_f32<T>(0.0f);
}

template <typename T>
sq_status launch_final(const sq_call *call, sq_error *err)
{
    const sq_tensor *final = &call->out[OUT_FINAL];
    if (!final->data)
        return SQ_OK;
    const conv_args<T> args = args_of<T>(call);
    const int64_t blocks = sq_ceil_div((args.taps - 1) * args.channels, THREADS);
    conv_final<T>
        <<<dim3((unsigned)blocks, (unsigned) final->dim[0]), THREADS, 0, sq_stream(call)>>>(
            args, (T *) final->data, final->stride[0], final->stride[1]);
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
    float sum = p.bias ? sq_to_f32(p.bias[d]) : 0.0f;
    for (int k = 0; k < p.taps; k++)
        if (const T *x = input_row(p, b, t - k))
            sum += sq_to_f32(p.w[d * p.w_stride + p.taps - 1 - k]) * sq_to_f32(x[d]);
    if (p.has_silu)
        sum /= 1.0f + expf(-sum);
    p.y[b * p.y_stride_b + t * p.y_stride_t + d] = sq_from_f32<T>(sum);
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
        conv_naive<T><<<grid, NAIVE_THREADS, 0, sq_stream(call)>>>(args_of<T>(call));
        SQ_TRY(sq_launched("causal_conv1d naive", err));
        return launch_final<T>(call, err);
    });
}

/* --- portable --- */

/* VEC channels of one row: raw bits as they lie in memory (VEC is 4, or 1 where rows are
 * unaligned). */
template <typename T, int VEC>
struct alignas(VEC * sizeof(T)) pack {
    T value[VEC];
};

template <typename T, int W, int VEC>
struct strip {
    float w[W][VEC], bias[VEC];
    float past[W - 1][VEC]; /* past[0]: the row before the next one */

    __device__ __forceinline__ void step(const pack<T, VEC> &in, pack<T, VEC> *out, bool has_silu)
    {
#pragma unroll
        for (int v = 0; v < VEC; v++) {
            float x = sq_to_f32(in.value[v]);
            float sum = fmaf(w[W - 1][v], x, bias[v]);
#pragma unroll
            for (int k = 0; k < W - 1; k++)
                sum = fmaf(w[W - 2 - k][v], past[k][v], sum);
#pragma unroll
            for (int k = W - 2; k > 0; k--)
                past[k][v] = past[k - 1][v];
            past[0][v] = x;
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
    using packed = pack<T, VEC>;
    const int64_t vectors = p.channels / VEC;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t d = i % vectors * VEC, begin = i / vectors * p.strip;
    if (begin >= p.length)
        return;
    const T *x = p.x + blockIdx.y * p.x_stride_b + d;
    T *y = p.y + blockIdx.y * p.y_stride_b + d;

    strip<T, W, VEC> s;
#pragma unroll
    for (int v = 0; v < VEC; v++) {
        s.bias[v] = p.bias ? sq_to_f32(p.bias[d + v]) : 0.0f;
#pragma unroll
        for (int k = 0; k < W; k++)
            s.w[k][v] = sq_to_f32(p.w[(d + v) * p.w_stride + k]);
    }
#pragma unroll
    for (int k = 0; k < W - 1; k++) {
        const T *row = input_row(p, blockIdx.y, begin - 1 - k);
        packed in = {};
        if (row)
            in = *(const packed *)(row + d);
#pragma unroll
        for (int v = 0; v < VEC; v++)
            s.past[k][v] = row ? sq_to_f32(in.value[v]) : 0.0f;
    }
    x += begin * p.x_stride_t;
    y += begin * p.y_stride_t;
    constexpr int batch = 16 / (int)sizeof(T); /* 64 bytes a thread in flight */
    int rows = (int)(min(begin + p.strip, p.length) - begin);
    for (; rows >= batch; rows -= batch)
        s.template rows<batch>(&x, &y, p.x_stride_t, p.y_stride_t, p.has_silu);
    for (; rows > 0; rows--)
        s.template rows<1>(&x, &y, p.x_stride_t, p.y_stride_t, p.has_silu);
}

/* Long strips read fewer rows twice; short ones keep the device full when there is little work. */
int strip_length(int64_t batch, int64_t length, int64_t vectors)
{
    const int64_t enough_threads = 128 * 1024;
    int strip = MAX_STRIP;
    while (strip > MIN_STRIP && batch * sq_ceil_div(length, strip) * vectors < enough_threads)
        strip /= 2;
    return strip;
}

template <typename T, int VEC>
sq_status launch_strips(const sq_call *call, sq_error *err)
{
    conv_args<T> args = args_of<T>(call);
    const int64_t batch = call->in[IN_X].dim[0], vectors = args.channels / VEC;
    args.strip = strip_length(batch, args.length, vectors);
    const int64_t threads = vectors * sq_ceil_div(args.length, args.strip);
    dim3 grid((unsigned)sq_ceil_div(threads, THREADS), (unsigned)batch);
    if (args.taps == 2)
        conv_strip<T, 2, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    else if (args.taps == 3)
        conv_strip<T, 3, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    else
        conv_strip<T, 4, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(args);
    return sq_launched("causal_conv1d portable", err);
}

/* Do four neighbouring channels of every row form one aligned access? */
bool is_quad_aligned(const sq_tensor *t)
{
    const uintptr_t bytes = 4 * sq_dtype_size(t->dtype);
    return (uintptr_t)t->data % bytes == 0 && t->dim[2] % 4 == 0 &&
           (t->dim[0] == 1 || t->stride[0] % 4 == 0) && (t->dim[1] == 1 || t->stride[1] % 4 == 0);
}

sq_status launch_portable(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    const sq_tensor *initial = &call->in[IN_INITIAL];
    const bool is_quad = is_quad_aligned(&call->in[IN_X]) && is_quad_aligned(&call->out[OUT_Y]) &&
                         (!initial->data || is_quad_aligned(initial));
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        SQ_TRY((is_quad ? launch_strips<T, 4> : launch_strips<T, 1>)(call, err));
        return launch_final<T>(call, err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_causal_conv1d[] = {
    {"cuda/naive", "one thread per output element", supports_any, NULL, NULL, launch_naive, NULL},
    {"cuda/portable", "a thread walks a strip of four channels, taps in registers", supports_any,
     NULL, NULL, launch_portable, NULL},
    {NULL},
};
