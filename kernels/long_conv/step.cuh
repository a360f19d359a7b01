/* step: one token of long_conv from the cached inputs of all before it. Included by long_conv.cu.
 *
 * A memory-bound sum over the prefix: a block has 32 products and a segment of the taps, and up to
 * STEP_BATCH sequences, which share the reading of the filter. Partial sums go through the
 * workspace.
 */
#ifndef SQ_KERNELS_LONG_CONV_STEP_CUH
#define SQ_KERNELS_LONG_CONV_STEP_CUH

#include "kernels/long_conv/rows.cuh"

namespace sq_long_conv
{

enum { STEP_TILE = 64, STEP_SEGMENT = 512, STEP_BATCH = 4 };

struct step_args {
    filters f;
    float *partial; /* (segments, B, products) */
    int64_t batch, products, width, heads, length;
    bool is_gelu;
};

/* Grid: (product tiles, segments, batch tiles). */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS) step_partial(tokens<T> v, tokens<T> x1, step_args p)
{
    constexpr int warps = ROW_THREADS / 32;
    __shared__ float taps[32][STEP_TILE + 1], sums[warps][STEP_BATCH][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t p0 = (int64_t)blockIdx.x * 32, product = p0 + lane;
    const int64_t first = (int64_t)blockIdx.y * STEP_SEGMENT, b0 = (int64_t)blockIdx.z * STEP_BATCH;
    const int64_t end = min(p.length, first + STEP_SEGMENT), j = product / p.width;
    const int64_t i = p.width == 1 ? j : j / p.width * p.width + product % p.width;
    float sum[STEP_BATCH] = {};
    for (int64_t s0 = first; s0 < end; s0 += STEP_TILE) {
        __syncthreads();
        for (int r = warp; r < 32; r += warps)
            for (int k = lane; k < STEP_TILE; k += 32)
                taps[r][k] = p0 + r < p.products && s0 + k < end
                                 ? p.f.past((p0 + r) / (p.width * p.width), s0 + k)
                                 : 0.0f;
        __syncthreads();
        for (int k = warp; k < STEP_TILE; k += warps) {
            const int64_t t = p.length - 1 - (s0 + k);
            if (s0 + k >= end || product >= p.products)
                break;
#pragma unroll
            for (int o = 0; o < STEP_BATCH; o++) {
                if (b0 + o >= p.batch)
                    break;
                float u = sq_to_f32(v.data[(b0 + o) * v.stride_b + t * v.stride_t + i]);
                if (x1.data)
                    u *= sq_to_f32(x1.data[(b0 + o) * x1.stride_b + t * x1.stride_t + j]);
                sum[o] = fmaf(taps[lane][k], u, sum[o]);
            }
        }
    }
#pragma unroll
    for (int o = 0; o < STEP_BATCH; o++)
        sums[warp][o][lane] = sum[o];
    __syncthreads();
    if (warp >= STEP_BATCH || b0 + warp >= p.batch || product >= p.products)
        return;
    float total = 0;
    for (int w = 0; w < warps; w++)
        total += sums[w][warp][lane];
    p.partial[((int64_t)blockIdx.y * p.batch + b0 + warp) * p.products + product] = total;
}

/* y = sum over i of x0 act(a). A thread has a channel of a sequence. */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    step_finish(tokens<T> x0, tokens<T> y, step_args p, int64_t segments)
{
    const int64_t at = (int64_t)blockIdx.x * ROW_THREADS + threadIdx.x;
    const int64_t channels = p.heads * p.width, b = at / channels, channel = at % channels;
    if (b >= p.batch)
        return;
    const int64_t j = channel / p.heads, head = channel % p.heads;
    float sum = 0;
    for (int64_t i = 0; i < p.width; i++) {
        const int64_t product = (head * p.width + j) * p.width + i;
        float a = 0;
        for (int64_t s = 0; s < segments; s++)
            a += p.partial[(s * p.batch + b) * p.products + product];
        a = activated(a, p.is_gelu);
        sum += x0.data ? a * sq_to_f32(x0.data[b * x0.stride_b + head * p.width + i]) : a;
    }
    y.data[b * y.stride_b + channel] = sq_from_f32<T>(sum);
}

inline int64_t step_segments(const sq_call *call)
{
    return sq_ceil_div(call->in[IN_V].dim[1], STEP_SEGMENT);
}

inline size_t step_workspace(const sq_call *call)
{
    return (size_t)(step_segments(call) * call->in[IN_V].dim[0] * products_of(call)) *
           sizeof(float);
}

inline sq_status launch_step(const sq_call *call, sq_error *err)
{
    const sq_tensor *v = &call->in[IN_V];
    const int64_t segments = step_segments(call), rows = v->dim[0] * v->dim[2];
    const step_args p = {
        filters_of(call),  (float *)call->workspace,           v->dim[0],
        products_of(call), sq_axis_int(call->axis, AXIS_HEAD), call->in[IN_H].dim[0],
        v->dim[1],         call->axis[AXIS_GELU] != 0};
    const dim3 grid((unsigned)sq_ceil_div(p.products, 32), (unsigned)segments,
                    (unsigned)sq_ceil_div(p.batch, STEP_BATCH));
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        step_partial<T><<<grid, ROW_THREADS, 0, sq_stream(call)>>>(
            tokens_of<T>(v), tokens_of<T>(&call->in[IN_X1]), p);
        SQ_TRY(sq_launched("long_conv step", err));
        step_finish<T>
            <<<(unsigned)sq_ceil_div(rows, ROW_THREADS), ROW_THREADS, 0, sq_stream(call)>>>(
                tokens_of<T>(&call->in[IN_X0]), tokens_of<T>(&call->out[0]), p, segments);
        return sq_launched("long_conv step's end", err);
    });
}

} // namespace sq_long_conv

#endif
