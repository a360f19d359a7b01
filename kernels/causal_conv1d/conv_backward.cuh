/* conv_backward: pass bwd of causal_conv1d's cuda/portable. Included by causal_conv1d.cu alone.
 * Line by line causal_conv1d_bwd.c: da_t is the gradient of the sum before SiLU.
 *
 *   conv_back          a thread owns VEC channels and walks a strip forward, W - 1 rows beyond its
 *                      end: after da_t the row dx_{t-W+1} is known. Its sums for dw and db go to
 *                      the workspace, a row for every strip
 *   conv_back_initial  one thread for each element of dinitial
 *   conv_back_sum      dw and db: the sums over the strips, in a fixed order
 */
#ifndef SQ_KERNELS_CAUSAL_CONV1D_CONV_BACKWARD_CUH
#define SQ_KERNELS_CAUSAL_CONV1D_CONV_BACKWARD_CUH

#include "kernels/causal_conv1d/conv_args.cuh"

namespace sq_causal_conv1d
{

template <typename T, int W, int VEC>
struct back_strip {
    taps<T, W, VEC> filter;
    float past[W - 1][VEC], da[W][VEC]; /* da[k]: of row t - k */
    float dw[W][VEC], db[VEC];

    __device__ __forceinline__ back_strip(const conv_args<T> &p, int64_t b, int64_t begin,
                                          int64_t d)
        : filter(p, d), da(), dw(), db()
    {
        load_past<T, W, VEC>(p, b, begin, d, past);
    }

    /* Row t. is_own: it counts in dw and db, and not for the strip before this one. */
    __device__ __forceinline__ void step(const pack<T, VEC> &in, const pack<T, VEC> &dy,
                                         bool has_silu, bool is_own)
    {
#pragma unroll
        for (int v = 0; v < VEC; v++) {
            const float x = sq_to_f32(in.value[v]);
            float a = fmaf(filter.w[W - 1][v], x, filter.bias[v]), now = sq_to_f32(dy.value[v]);
#pragma unroll
            for (int k = 0; k < W - 1; k++)
                a = fmaf(filter.w[W - 2 - k][v], past[k][v], a);
            if (has_silu)
                now *= silu_slope(a);
            const float own = is_own ? now : 0.0f;
            db[v] += own;
            dw[W - 1][v] = fmaf(own, x, dw[W - 1][v]);
#pragma unroll
            for (int k = 0; k < W - 1; k++)
                dw[W - 2 - k][v] = fmaf(own, past[k][v], dw[W - 2 - k][v]);
            push<W, VEC>(da, v, now);
            push<W - 1, VEC>(past, v, x);
        }
    }

    /* dx of row t - W + 1; more: NULL, or what dfinal adds. */
    __device__ __forceinline__ void store(T *to, const T *more) const
    {
        pack<T, VEC> out, from = {};
        if (more)
            from = *(const pack<T, VEC> *)more;
#pragma unroll
        for (int v = 0; v < VEC; v++) {
            float sum = more ? sq_to_f32(from.value[v]) : 0.0f;
#pragma unroll
            for (int k = 0; k < W; k++)
                sum = fmaf(filter.w[k][v], da[k][v], sum);
            out.value[v] = sq_from_f32<T>(sum);
        }
        *(pack<T, VEC> *)to = out;
    }

    __device__ __forceinline__ void store_sums(float *partial, int64_t channels) const
    {
#pragma unroll
        for (int v = 0; v < VEC; v++) {
#pragma unroll
            for (int k = 0; k < W; k++)
                partial[k * channels + v] = dw[k][v];
            partial[W * channels + v] = db[v];
        }
    }
};

/* grid: x over vectors of channels and strips, y over the batch. */
template <typename T, int W, int VEC>
__global__ void __launch_bounds__(THREADS) conv_back(conv_args<T> p, back_args<T> g)
{
    constexpr int BATCH = 4; /* rows in flight */
    const int64_t vectors = p.channels / VEC, b = blockIdx.y;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t d = i % vectors * VEC, strip = i / vectors, begin = strip * p.strip;
    if (begin >= p.length)
        return;
    const int64_t end = min(begin + p.strip, p.length);
    back_strip<T, W, VEC> s(p, b, begin, d);
    for (int64_t first = begin; first < end + W - 1; first += BATCH) {
        pack<T, VEC> x[BATCH] = {}, dy[BATCH] = {};
#pragma unroll
        for (int k = 0; k < BATCH; k++)
            if (first + k < min(end + W - 1, p.length)) {
                x[k] = *(const pack<T, VEC> *)(p.x.row(b, first + k) + d);
                dy[k] = *(const pack<T, VEC> *)(g.dy.row(b, first + k) + d);
            }
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const int64_t t = first + k, done = t - W + 1;
            s.step(x[k], dy[k], p.has_silu, t < end);
            if (done >= begin && done < end) {
                const T *more = handed_on(p, g, b, done);
                s.store(g.dx.row(b, done) + d, more ? more + d : nullptr);
            }
        }
    }
    s.store_sums(g.partial + (b * g.strips + strip) * (W + 1) * p.channels + d, p.channels);
}

/* grid: x over the elements of (W-1, D), y over the batch. */
template <typename T>
__global__ void conv_back_initial(conv_args<T> p, back_args<T> g)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
    const int64_t slot = i / p.channels, d = i % p.channels, past = p.taps - 1, s = slot - past;
    if (slot >= past)
        return;
    const T *more = handed_on(p, g, b, s);
    float sum = more ? sq_to_f32(more[d]) : 0.0f;
    for (int64_t t = 0; t <= s + past && t < p.length; t++) {
        float da = sq_to_f32(g.dy.row(b, t)[d]);
        if (p.has_silu)
            da *= silu_slope(convolve(p, b, t, d));
        sum = fmaf(sq_to_f32(p.w[d * p.w_stride + past - (t - s)]), da, sum);
    }
    g.dinitial.row(b, slot)[d] = sq_from_f32<T>(sum);
}

enum { SUM_CHANNELS = 32, SUM_ROWS = 8 };

/* grid: (tiles of channels, W + 1); block: (SUM_CHANNELS, SUM_ROWS). */
template <typename T>
__global__ void conv_back_sum(conv_args<T> p, back_args<T> g)
{
    __shared__ float sums[SUM_ROWS][SUM_CHANNELS];
    const int64_t d = (int64_t)blockIdx.x * SUM_CHANNELS + threadIdx.x;
    const int k = blockIdx.y;
    float sum = 0.0f;
    if (d < p.channels)
#pragma unroll 4
        for (int64_t row = threadIdx.y; row < g.rows; row += SUM_ROWS)
            sum += g.partial[(row * (p.taps + 1) + k) * p.channels + d];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || d >= p.channels)
        return;
    for (int row = 1; row < SUM_ROWS; row++)
        sum += sums[row][threadIdx.x];
    if (k < p.taps)
        g.dw[d * g.dw_stride + k] = sq_from_f32<T>(sum);
    else if (g.dbias)
        g.dbias[d] = sq_from_f32<T>(sum);
}

static inline size_t back_workspace(const sq_call *call)
{
    const int64_t *dim = call->in[IN_X].dim, taps = call->in[IN_W].dim[1];
    const int64_t strips = sq_ceil_div(dim[1], strip_length(dim[0], dim[1], dim[2]));
    return (size_t)(dim[0] * strips * (taps + 1) * dim[2]) * sizeof(float);
}

template <typename T, int VEC>
sq_status launch_back_strips(const sq_call *call, const conv_args<T> &p, const back_args<T> &g,
                             sq_error *err)
{
    const int64_t threads = p.channels / VEC * g.strips;
    dim3 grid((unsigned)sq_ceil_div(threads, THREADS), (unsigned)call->in[IN_X].dim[0]);
    if (p.taps == 2)
        conv_back<T, 2, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(p, g);
    else if (p.taps == 3)
        conv_back<T, 3, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(p, g);
    else
        conv_back<T, 4, VEC><<<grid, THREADS, 0, sq_stream(call)>>>(p, g);
    return sq_launched("causal_conv1d bwd", err);
}

template <typename T>
sq_status launch_back(const sq_call *call, sq_error *err)
{
    conv_args<T> p = args_of<T>(call);
    p.strip = strip_length(call->in[IN_X].dim[0], p.length, p.channels);
    back_args<T> g = back_args_of<T>(call);
    g.strips = sq_ceil_div(p.length, p.strip);
    g.rows = call->in[IN_X].dim[0] * g.strips;
    const bool is_quad = is_quad_aligned(&call->in[IN_X]) && is_quad_aligned(&call->in[IN_DY]) &&
                         is_quad_aligned(&call->out[IN_X]) &&
                         is_quad_aligned(&call->in[IN_INITIAL]) &&
                         is_quad_aligned(&call->in[IN_DFINAL]);
    SQ_TRY((is_quad ? launch_back_strips<T, 4> : launch_back_strips<T, 1>)(call, p, g, err));
    if (g.dinitial.data) {
        const int64_t blocks = sq_ceil_div((p.taps - 1) * p.channels, THREADS);
        dim3 grid((unsigned)blocks, (unsigned)call->in[IN_X].dim[0]);
        conv_back_initial<T><<<grid, THREADS, 0, sq_stream(call)>>>(p, g);
        SQ_TRY(sq_launched("causal_conv1d bwd initial", err));
    }
    dim3 grid((unsigned)sq_ceil_div(p.channels, SUM_CHANNELS), (unsigned)(p.taps + 1));
    conv_back_sum<T><<<grid, dim3(SUM_CHANNELS, SUM_ROWS), 0, sq_stream(call)>>>(p, g);
    return sq_launched("causal_conv1d bwd sums", err);
}

} // namespace sq_causal_conv1d

#endif
