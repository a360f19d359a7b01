/* backward: what the transforms of long_conv's pass bwd have between them (long_conv_bwd.c).
 *
 * A chunk of rows goes: u, its transform U; a = inverse of F U; g = dy x0 act'(a) and dx0 = dy
 * act(a); G; du = inverse of conj(F) G; dv = du x1 and dx1 = du v; conj(U) G summed over the batch,
 * whose inverse are the gradients of the taps. The skip is tap 0 (rows.cuh), and so is its
 * gradient. Where there is neither x0 nor GELU, a is not needed. Included by long_conv.cu and
 * cufft.cu.
 */
#ifndef SQ_KERNELS_LONG_CONV_BACKWARD_CUH
#define SQ_KERNELS_LONG_CONV_BACKWARD_CUH

#include "kernels/long_conv/rows.cuh"

namespace sq_long_conv
{

enum { IN_DY = IN_COUNT };

inline bool needs_value(const sq_call *call)
{
    return call->axis[AXIS_GATE] == 1 || call->axis[AXIS_GELU] != 0;
}

__device__ __forceinline__ float activation_slope(float a, bool is_gelu)
{
    if (!is_gelu)
        return 1.0f;
    return 0.5f * (1.0f + erff(a * 0.707106781f)) + a * 0.398942280f * expf(-0.5f * a * a);
}

/* --- g and dx0 --- */

/* g[r][t] = dy x0 act'(a[r][t]) for t < length, 0 up to row_length; dx0 = dy act(a) for heads of
 * one channel (dx0.data NULL: not). a NULL: not needed. Grid: as gather_rows. */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    gather_gradient(tokens<T> dy, tokens<T> x0, tokens<T> dx0, bool is_gelu, chunk c, int64_t width,
                    int64_t heads, int64_t length, int64_t row_length, int64_t row_stride,
                    const float *a, float *g)
{
    __shared__ float tile[TILE_D][TILE_T + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE_T, d0 = (int64_t)blockIdx.y * TILE_D;
    const int64_t b = c.b0 + blockIdx.z, row0 = blockIdx.z * c.nd + d0;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
    read_tile(tile, c, d0, t0, length, row_stride, a);
    /* Product d is (h P + j) P + i. */
    const int64_t d = d0 + lane, product = c.d0 + d, at = product / width;
    const int64_t gate = width == 1 ? at : at / width * width + product % width;
    const int64_t channel = width == 1 ? at : at % width * heads + at / width;
    for (int k = warp; k < TILE_T; k += warps) {
        const int64_t t = t0 + k;
        float value = 0;
        if (t < length && d < c.nd) {
            const float out = sq_to_f32(dy.data[b * dy.stride_b + t * dy.stride_t + channel]);
            value = out * activation_slope(tile[lane][k], is_gelu);
            if (x0.data)
                value *= sq_to_f32(x0.data[b * x0.stride_b + t * x0.stride_t + gate]);
            if (dx0.data)
                dx0.data[b * dx0.stride_b + t * dx0.stride_t + gate] =
                    sq_from_f32<T>(out * activated(tile[lane][k], is_gelu));
        }
        tile[lane][k] = value;
    }
    __syncthreads();
    for (int i = warp; i < TILE_D; i += warps)
        for (int k = lane; k < TILE_T; k += 32)
            if (d0 + i < c.nd && t0 + k < row_length)
                g[(row0 + i) * row_stride + t0 + k] = tile[i][k];
}

/* dx0 of heads of several channels: a sum over j. Grid: (t blocks, channels of the chunk, nb). */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    gate_gradient_heads(tokens<T> dy, tokens<T> dx0, bool is_gelu, chunk c, int64_t width,
                        int64_t heads, int64_t length, int64_t row_stride, const float *a)
{
    const int64_t t = (int64_t)blockIdx.x * ROW_THREADS + threadIdx.x, b = c.b0 + blockIdx.z;
    if (t >= length)
        return;
    for (int64_t k = blockIdx.y; k < c.nd / width; k += gridDim.y) {
        const int64_t h = c.d0 / (width * width) + k / width, i = k % width;
        const float *row = a + (blockIdx.z * c.nd + k / width * width * width + i) * row_stride + t;
        float sum = 0;
        for (int64_t j = 0; j < width; j++)
            sum = fmaf(activated(row[j * width * row_stride], is_gelu),
                       sq_to_f32(dy.data[b * dy.stride_b + t * dy.stride_t + j * heads + h]), sum);
        dx0.data[b * dx0.stride_b + t * dx0.stride_t + h * width + i] = sq_from_f32<T>(sum);
    }
}

inline sq_status launch_gather_gradient(const sq_call *call, chunk c, int64_t row_length,
                                        int64_t row_stride, const float *a, float *g, sq_error *err)
{
    const int64_t length = call->in[IN_V].dim[1], width = sq_axis_int(call->axis, AXIS_HEAD);
    const int64_t heads = call->in[IN_H].dim[0];
    const bool is_gelu = call->axis[AXIS_GELU] != 0;
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        const tokens<T> dy = tokens_of<T>(&call->in[IN_DY]);
        const tokens<T> dx0 = tokens_of<T>(&call->out[IN_X0]);
        gather_gradient<T><<<tile_grid(c, row_length), ROW_THREADS, 0, sq_stream(call)>>>(
            dy, tokens_of<T>(&call->in[IN_X0]), width == 1 ? dx0 : tokens<T>{}, is_gelu, c, width,
            heads, length, row_length, row_stride, a, g);
        SQ_TRY(sq_launched("long_conv gradient rows", err));
        if (width == 1 || !dx0.data)
            return SQ_OK;
        const dim3 grid((unsigned)sq_ceil_div(length, ROW_THREADS),
                        (unsigned)min(c.nd / width, (int64_t)65535), (unsigned)c.nb);
        gate_gradient_heads<T><<<grid, ROW_THREADS, 0, sq_stream(call)>>>(
            dy, dx0, is_gelu, c, width, heads, length, row_stride, a);
        return sq_launched("long_conv gradient of x0", err);
    });
}

/* --- dv and dx1 --- */

/* dv = du x1, dx1 = du v (dx1.data NULL: no gate). Grid: as scatter_rows. */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    scatter_gradient(tokens<T> v, tokens<T> x1, tokens<T> dv, tokens<T> dx1, chunk c,
                     int64_t length, int64_t row_stride, const float *du)
{
    __shared__ float tile[TILE_D][TILE_T + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE_T, d0 = (int64_t)blockIdx.y * TILE_D;
    const int64_t b = c.b0 + blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
    read_tile(tile, c, d0, t0, length, row_stride, du);
    const int64_t d = d0 + lane, channel = c.d0 + d;
    for (int k = warp; k < TILE_T; k += warps) {
        const int64_t t = t0 + k;
        if (t >= length || d >= c.nd)
            continue;
        float value = tile[lane][k];
        if (dx1.data) {
            const float in = sq_to_f32(v.data[b * v.stride_b + t * v.stride_t + channel]);
            dx1.data[b * dx1.stride_b + t * dx1.stride_t + channel] = sq_from_f32<T>(value * in);
            value *= sq_to_f32(x1.data[b * x1.stride_b + t * x1.stride_t + channel]);
        }
        dv.data[b * dv.stride_b + t * dv.stride_t + channel] = sq_from_f32<T>(value);
    }
}

/* The same with heads of several channels: channel h P + k of both. Grid: as gate_gradient_heads.
 */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    scatter_gradient_heads(tokens<T> v, tokens<T> x1, tokens<T> dv, tokens<T> dx1, chunk c,
                           int64_t width, int64_t length, int64_t row_stride, const float *du)
{
    const int64_t t = (int64_t)blockIdx.x * ROW_THREADS + threadIdx.x, b = c.b0 + blockIdx.z;
    if (t >= length)
        return;
    for (int64_t at = blockIdx.y; at < c.nd / width; at += gridDim.y) {
        const int64_t h = c.d0 / (width * width) + at / width, k = at % width;
        const float *row = du + (blockIdx.z * c.nd + at / width * width * width) * row_stride + t;
        float as_i = 0, as_j = 0;
        for (int64_t o = 0; o < width; o++) {
            const float x = sq_to_f32(x1.data[b * x1.stride_b + t * x1.stride_t + h * width + o]);
            const float y = sq_to_f32(v.data[b * v.stride_b + t * v.stride_t + h * width + o]);
            as_i = fmaf(row[(o * width + k) * row_stride], x, as_i);
            as_j = fmaf(row[(k * width + o) * row_stride], y, as_j);
        }
        dv.data[b * dv.stride_b + t * dv.stride_t + h * width + k] = sq_from_f32<T>(as_i);
        dx1.data[b * dx1.stride_b + t * dx1.stride_t + h * width + k] = sq_from_f32<T>(as_j);
    }
}

inline sq_status launch_scatter_gradient(const sq_call *call, chunk c, int64_t row_stride,
                                         const float *du, sq_error *err)
{
    const int64_t length = call->in[IN_V].dim[1], width = sq_axis_int(call->axis, AXIS_HEAD);
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        const tokens<T> v = tokens_of<T>(&call->in[IN_V]), x1 = tokens_of<T>(&call->in[IN_X1]);
        const tokens<T> dv = tokens_of<T>(&call->out[IN_V]), dx1 = tokens_of<T>(&call->out[IN_X1]);
        const dim3 grid((unsigned)sq_ceil_div(length, ROW_THREADS),
                        (unsigned)min(c.nd / width, (int64_t)65535), (unsigned)c.nb);
        if (width > 1)
            scatter_gradient_heads<T><<<grid, ROW_THREADS, 0, sq_stream(call)>>>(
                v, x1, dv, dx1, c, width, length, row_stride, du);
        else
            scatter_gradient<T><<<tile_grid(c, length), ROW_THREADS, 0, sq_stream(call)>>>(
                v, x1, dv, dx1, c, length, row_stride, du);
        return sq_launched("long_conv gradients of tokens", err);
    });
}

/* --- spectra --- */

__device__ __forceinline__ float2 conj_multiply(float2 a, float2 b)
{
    return make_float2(fmaf(a.x, b.x, a.y * b.y), fmaf(a.x, b.y, -a.y * b.x));
}

/* Spectra of rows in `parts` parts of `bins` points, `stride` apart, and for each lag between two
 * parts, -before to parts - 1, the sums of their products. A row of one part has the lag 0. */
struct spectra_shape {
    int64_t parts, before, bins, stride;
};

/* sum[d][lag][k] (+)= scale sum over the chunk's batch and the parts i of conj(U_i) G_{i + lag}, in
 * this order. is_first: sum is not read. Grid: (bins, min(nd, 65535), lags). */
static __global__ void sum_filter_spectra(const float2 *u, const float2 *g, chunk c,
                                          spectra_shape s, float scale, bool is_first, float2 *sum)
{
    const int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t lag = (int64_t)blockIdx.z - s.before;
    if (k >= s.bins)
        return;
    for (int64_t d = blockIdx.y; d < c.nd; d += gridDim.y) {
        float2 total = make_float2(0, 0);
        for (int64_t b = 0; b < c.nb; b++)
            for (int64_t i = max((int64_t)0, -lag); i < min(s.parts, s.parts - lag); i++) {
                const int64_t at = ((b * c.nd + d) * s.parts + i) * s.stride + k;
                const float2 one = conj_multiply(u[at], g[at + lag * s.stride]);
                total.x += one.x;
                total.y += one.y;
            }
        float2 *out = &sum[(d * gridDim.z + blockIdx.z) * s.stride + k];
        const float2 before = is_first ? make_float2(0, 0) : *out;
        *out = make_float2(fmaf(total.x, scale, before.x), fmaf(total.y, scale, before.y));
    }
}

inline sq_status launch_sum_spectra(const sq_call *call, const float2 *u, const float2 *g, chunk c,
                                    spectra_shape s, float scale, float2 *sum, sq_error *err)
{
    const dim3 grid((unsigned)sq_ceil_div(s.bins, 256), (unsigned)min(c.nd, (int64_t)65535),
                    (unsigned)(s.before + s.parts));
    sum_filter_spectra<<<grid, 256, 0, sq_stream(call)>>>(u, g, c, s, scale, c.b0 == 0, sum);
    return sq_launched("long_conv sums of spectra", err);
}

/* --- gradients of the filters --- */

struct filter_gradients {
    float *h, *r, *bias;
    int64_t h_stride, r_stride, bias_stride, length;
};

/* The gradients by tap of a chunk's products, on a circle of row_length steps. */
struct circle_taps {
    const float *rows;
    int64_t row_length, stride;

    __device__ __forceinline__ float past(int64_t product, int64_t t) const
    {
        return rows[product * stride + t];
    }
    __device__ __forceinline__ float ahead(int64_t product, int64_t s) const
    {
        return rows[product * stride + row_length - s];
    }
};

/* dh, dr and dbias. Grid: (t blocks, heads of the chunk). */
template <typename Taps>
static __global__ void write_filters(Taps taps, filter_gradients out, chunk c, int64_t products)
{
    const int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= out.length)
        return;
    for (int64_t k = blockIdx.y; k < c.nd / products; k += gridDim.y) {
        const int64_t head = c.d0 / products + k;
        float past = 0, future = 0;
        for (int64_t p = k * products; p < (k + 1) * products; p++) {
            past += taps.past(p, t);
            if (t > 0 && out.r)
                future += taps.ahead(p, t);
        }
        out.h[head * out.h_stride + t] = past;
        if (t == 0)
            out.bias[head * out.bias_stride] = past;
        if (out.r)
            out.r[head * out.r_stride + t] = t == 0 ? past : future;
    }
}

template <typename Taps>
inline sq_status launch_write_filters(const sq_call *call, chunk c, const Taps &taps, sq_error *err)
{
    const sq_tensor *h = &call->out[IN_H], *r = &call->out[IN_R], *bias = &call->out[IN_BIAS];
    const int64_t width = sq_axis_int(call->axis, AXIS_HEAD), products = width * width;
    const filter_gradients out = {(float *)h->data, (float *)r->data, (float *)bias->data,
                                  h->stride[0],     r->stride[0],     bias->stride[0],
                                  h->dim[1]};
    const dim3 grid((unsigned)sq_ceil_div(h->dim[1], 256),
                    (unsigned)min(c.nd / products, (int64_t)65535));
    write_filters<<<grid, 256, 0, sq_stream(call)>>>(taps, out, c, products);
    return sq_launched("long_conv gradients of filters", err);
}

} // namespace sq_long_conv

#endif
