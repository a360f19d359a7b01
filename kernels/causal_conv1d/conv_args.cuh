/* conv_args: what the kernels of causal_conv1d share. Included by causal_conv1d.cu alone.
 */
#ifndef SQ_KERNELS_CAUSAL_CONV1D_CONV_ARGS_CUH
#define SQ_KERNELS_CAUSAL_CONV1D_CONV_ARGS_CUH

#include <stdint.h>

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"

namespace sq_causal_conv1d
{

enum { THREADS = 128, MAX_STRIP = 64, MIN_STRIP = 16 };

/* A (B, rows, D) tensor: unit stride over channels. data: NULL where it is absent. */
template <typename T>
struct row_view {
    T *data;
    int64_t stride_b, stride_t;

    __device__ __forceinline__ T *row(int64_t b, int64_t t) const
    {
        return data + b * stride_b + t * stride_t;
    }
};

template <typename T>
row_view<T> row_view_of(const sq_tensor *t)
{
    return {(T *)t->data, t->stride[0], t->stride[1]};
}

template <typename T>
struct conv_args {
    row_view<const T> x, initial; /* initial: (B, W-1, D) */
    row_view<T> y, final;
    const T *w, *bias; /* bias: NULL or (D) */
    int64_t w_stride, length, channels;
    int taps, strip;
    bool has_silu;
};

template <typename T>
conv_args<T> args_of(const sq_call *call)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W];
    conv_args<T> args = {};
    args.x = row_view_of<const T>(x);
    args.initial = row_view_of<const T>(&call->in[IN_INITIAL]);
    args.w = (const T *)w->data;
    args.bias = (const T *)call->in[IN_BIAS].data;
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
        return p.x.row(b, t);
    return p.initial.data ? p.initial.row(b, p.taps - 1 + t) : nullptr;
}

/* The sum before SiLU. */
template <typename T>
__device__ __forceinline__ float convolve(const conv_args<T> &p, int64_t b, int64_t t, int64_t d)
{
    float sum = p.bias ? sq_to_f32(p.bias[d]) : 0.0f;
    for (int k = 0; k < p.taps; k++)
        if (const T *x = input_row(p, b, t - k))
            sum += sq_to_f32(p.w[d * p.w_stride + p.taps - 1 - k]) * sq_to_f32(x[d]);
    return sum;
}

/* VEC channels of one row: raw bits as they lie in memory (VEC is 4, or 1 where rows are
 * unaligned). */
template <typename T, int VEC>
struct alignas(VEC * sizeof(T)) pack {
    T value[VEC];
};

/* Filter and bias of VEC channels. */
template <typename T, int W, int VEC>
struct taps {
    float w[W][VEC], bias[VEC];

    __device__ __forceinline__ taps(const conv_args<T> &p, int64_t d)
    {
#pragma unroll
        for (int v = 0; v < VEC; v++) {
            bias[v] = p.bias ? sq_to_f32(p.bias[d + v]) : 0.0f;
#pragma unroll
            for (int k = 0; k < W; k++)
                w[k][v] = sq_to_f32(p.w[(d + v) * p.w_stride + k]);
        }
    }
};

/* The W - 1 inputs before row `begin`: past[0] is the newest. */
template <typename T, int W, int VEC>
__device__ __forceinline__ void load_past(const conv_args<T> &p, int64_t b, int64_t begin,
                                          int64_t d, float (&past)[W - 1][VEC])
{
#pragma unroll
    for (int k = 0; k < W - 1; k++) {
        const T *row = input_row(p, b, begin - 1 - k);
        pack<T, VEC> in = {};
        if (row)
            in = *(const pack<T, VEC> *)(row + d);
#pragma unroll
        for (int v = 0; v < VEC; v++)
            past[k][v] = row ? sq_to_f32(in.value[v]) : 0.0f;
    }
}

template <int W, int VEC>
__device__ __forceinline__ void push(float (&window)[W][VEC], int v, float newest)
{
#pragma unroll
    for (int k = W - 1; k > 0; k--)
        window[k][v] = window[k - 1][v];
    window[0][v] = newest;
}

/* Long strips read fewer rows twice; short ones keep the device full when there is little work. The
 * same whatever VEC is: a workspace depends on it. */
static inline int strip_length(int64_t batch, int64_t length, int64_t channels)
{
    const int64_t enough_threads = 128 * 1024, vectors = sq_ceil_div(channels, 4);
    int strip = MAX_STRIP;
    while (strip > MIN_STRIP && batch * sq_ceil_div(length, strip) * vectors < enough_threads)
        strip /= 2;
    return strip;
}

/* Do four neighbouring channels of every row form one aligned access? True of an absent tensor. */
static inline bool is_quad_aligned(const sq_tensor *t)
{
    const uintptr_t bytes = 4 * sq_dtype_size(t->dtype);
    if (t->rank == 0)
        return true;
    return (uintptr_t)t->data % bytes == 0 && t->dim[2] % 4 == 0 &&
           (t->dim[0] == 1 || t->stride[0] % 4 == 0) && (t->dim[1] == 1 || t->stride[1] % 4 == 0);
}

/* --- pass bwd --- */

template <typename T>
struct back_args {
    row_view<const T> dy, dfinal; /* dfinal: (B, W-1, D) */
    row_view<T> dx, dinitial;
    T *dw, *dbias;
    float *partial;                  /* (B strips, W + 1, D): dw by taps, then db */
    int64_t dw_stride, strips, rows; /* strips, rows (B strips): of conv_back alone */
};

template <typename T>
back_args<T> back_args_of(const sq_call *call)
{
    back_args<T> g = {};
    g.dy = row_view_of<const T>(&call->in[IN_DY]);
    g.dfinal = row_view_of<const T>(&call->in[IN_DFINAL]);
    g.dx = row_view_of<T>(&call->out[IN_X]);
    g.dinitial = row_view_of<T>(&call->out[IN_INITIAL]);
    g.dw = (T *)call->out[IN_W].data;
    g.dw_stride = call->out[IN_W].stride[0];
    g.dbias = (T *)call->out[IN_BIAS].data;
    g.partial = (float *)call->workspace;
    return g;
}

/* d silu(a) / d a. */
__device__ __forceinline__ float silu_slope(float a)
{
    const float s = __fdividef(1.0f, 1.0f + sq_exp(-a));
    return s * fmaf(a, 1.0f - s, 1.0f);
}

/* The row of dfinal that holds x_t's gradient, or NULL where x_t is not handed on. */
template <typename T>
__device__ __forceinline__ const T *handed_on(const conv_args<T> &p, const back_args<T> &g,
                                              int64_t b, int64_t t)
{
    const int64_t row = t - (p.length - (p.taps - 1));
    return g.dfinal.data && row >= 0 ? g.dfinal.row(b, row) : nullptr;
}

} // namespace sq_causal_conv1d

#endif
