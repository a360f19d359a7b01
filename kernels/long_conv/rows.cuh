/* rows: the sequences of long_conv turned into rows in time for a transform, and back.
 *
 * The tensors are token-major (B, L, D): neighbours in memory are channels. A transform wants a row
 * of one channel's steps in f32. gather_rows transposes (and multiplies the gate on the way),
 * scatter_rows transposes back. Rows are made for a chunk of the batch and of the channels at a
 * time, so that the scratch is bounded and, what matters more, stays in the L2 cache between the
 * kernels that pass it on. Included by long_conv.cu and cufft.cu.
 */
#ifndef SQ_KERNELS_LONG_CONV_ROWS_CUH
#define SQ_KERNELS_LONG_CONV_ROWS_CUH

#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/long_conv/long_conv.h"
#include "kernels/op.h"

namespace sq_long_conv
{

/* --- chunks --- */

/* Rows (b, d) with b in [b0, b0 + nb), d in [d0, d0 + nd); row r is (b0 + r / nd, d0 + r % nd). d
 * is a channel; with heads of P channels it is (h P + j) P + i, a product of channels i and j of
 * head h (long_conv.c), so that the P products that an output channel sums are neighbours. */
struct chunk {
    int64_t b0, nb, d0, nd;
};

/* The scratch that a chunk may use, unless a few rows alone need more. Half of the L2 of an H100;
 * one value for all devices, so that a cell's workspace is the same everywhere. */
constexpr int64_t scratch_bytes = 24 << 20;

/* Rounds x up to whole sectors of the transposes' tiles, but not above `most`. */
inline int64_t whole_tiles(int64_t x, int64_t most)
{
    return min(most, sq_ceil_div(x, 32) * 32);
}

/* Largest chunk: channels first (they share a filter row of filter_bytes over the batch), 32 of
 * them at least where memory allows, since fewer make the transposes read partial sectors. */
inline chunk chunk_size(int64_t batch, int64_t channels, int64_t row_bytes, int64_t filter_bytes,
                        int64_t bytes = scratch_bytes)
{
    const int64_t tile = 32, most_batches = 32768;
    int64_t nd = bytes / (filter_bytes + batch * row_bytes) / tile * tile;
    if (nd < tile)
        nd = max((int64_t)1, min(tile, bytes / (filter_bytes + row_bytes)));
    nd = min(nd, channels);
    int64_t nb = (bytes / nd - filter_bytes) / row_bytes;
    nb = max((int64_t)1, min(min(nb, batch), most_batches));
    /* Even chunks, the same count of them: the last one wastes least. */
    const int64_t even = sq_ceil_div(channels, sq_ceil_div(channels, nd));
    nd = nd < tile ? even : whole_tiles(even, nd);
    nb = sq_ceil_div(batch, sq_ceil_div(batch, nb));
    return {0, nb, 0, nd};
}

/* Rows of one sequence. */
inline int64_t products_of(const sq_call *call)
{
    return call->in[IN_V].dim[2] * sq_axis_int(call->axis, AXIS_HEAD);
}

/* chunk_size() for a call: chunks hold whole sums of products. */
inline chunk chunk_of(const sq_call *call, int64_t row_bytes, int64_t filter_bytes,
                      int64_t bytes = scratch_bytes)
{
    const int64_t width = sq_axis_int(call->axis, AXIS_HEAD);
    const int64_t whole =
        call->pass == SQ_PASS_FWD ? width : width * width; /* bwd sums over heads */
    chunk c = chunk_size(call->in[IN_V].dim[0], products_of(call), row_bytes, filter_bytes, bytes);
    c.nd = sq_ceil_div(c.nd, whole) * whole;
    return c;
}

/* Calls f(chunk, is_new_filter) for every chunk of at most `size`; stops at a failure. */
template <typename F>
sq_status for_each_chunk(chunk size, int64_t batch, int64_t channels, F f)
{
    for (int64_t d0 = 0; d0 < channels; d0 += size.nd)
        for (int64_t b0 = 0; b0 < batch; b0 += size.nb) {
            chunk c = {b0, min(size.nb, batch - b0), d0, min(size.nd, channels - d0)};
            SQ_TRY(f(c, b0 == 0));
        }
    return SQ_OK;
}

/* --- token-major to rows and back --- */

enum { TILE_D = 32, TILE_T = 64, ROW_THREADS = 256 };

/* A (B, L, D) view: unit stride over channels. data == NULL: absent. */
template <typename T>
struct tokens {
    T *data;
    int64_t stride_b, stride_t;
};

template <typename T>
tokens<T> tokens_of(const sq_tensor *t)
{
    return {(T *)t->data, t->stride[0], t->stride[1]};
}

/* rows[r][t] = x1 v for t < length, 0 up to row_length. Grid: (t tiles, d tiles, nb). */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    gather_rows(tokens<T> v, tokens<T> x1, chunk c, int64_t width, int64_t length,
                int64_t row_length, int64_t row_stride, float *rows)
{
    __shared__ float tile[TILE_D][TILE_T + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE_T, d0 = (int64_t)blockIdx.y * TILE_D;
    const int64_t b = c.b0 + blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
    const int64_t d = d0 + lane,
                  j = (c.d0 + d) / width; /* channels of x1 and v: h P + j, h P + i */
    const int64_t i_channel = width == 1 ? j : j / width * width + (c.d0 + d) % width;
#pragma unroll
    for (int i = 0; i < TILE_T / warps; i++) {
        const int64_t t = t0 + warp + i * warps;
        float u = 0;
        if (t < length && d < c.nd) {
            u = sq_to_f32(v.data[b * v.stride_b + t * v.stride_t + i_channel]);
            if (x1.data)
                u *= sq_to_f32(x1.data[b * x1.stride_b + t * x1.stride_t + j]);
        }
        tile[lane][warp + i * warps] = u;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILE_D / warps; i++) {
        const int row_d = warp + i * warps;
        float *row = rows + (blockIdx.z * c.nd + d0 + row_d) * row_stride + t0;
#pragma unroll
        for (int k = lane; k < TILE_T; k += 32)
            if (d0 + row_d < c.nd && t0 + k < row_length)
                row[k] = tile[row_d][k];
    }
}

/* tile[i][k] = row d0 + i of the chunk at step t0 + k; 0 beyond the chunk and from `length` on, and
 * where there are no rows. By the whole block, which synchronises. */
__device__ __forceinline__ void read_tile(float (&tile)[TILE_D][TILE_T + 1], const chunk &c,
                                          int64_t d0, int64_t t0, int64_t length,
                                          int64_t row_stride, const float *rows)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
#pragma unroll
    for (int i = 0; i < TILE_D / warps; i++) {
        const int row_d = warp + i * warps;
        const int64_t row = (blockIdx.z * c.nd + d0 + row_d) * row_stride + t0;
#pragma unroll
        for (int k = lane; k < TILE_T; k += 32)
            tile[row_d][k] = rows && d0 + row_d < c.nd && t0 + k < length ? rows[row + k] : 0.0f;
    }
    __syncthreads();
}

/* a, or gelu(a) */
__device__ __forceinline__ float activated(float a, bool is_gelu)
{
    return is_gelu ? 0.5f * a * (1.0f + erff(a * 0.707106781f)) : a;
}

/* y = x0 act(rows[r][t]) (or without x0). Grid as above. */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    scatter_rows(tokens<T> y, tokens<T> x0, bool is_gelu, chunk c, int64_t length,
                 int64_t row_stride, const float *rows)
{
    __shared__ float tile[TILE_D][TILE_T + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE_T, d0 = (int64_t)blockIdx.y * TILE_D;
    const int64_t b = c.b0 + blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
    read_tile(tile, c, d0, t0, length, row_stride, rows);
    const int64_t d = d0 + lane;
#pragma unroll
    for (int i = 0; i < TILE_T / warps; i++) {
        const int64_t t = t0 + warp + i * warps;
        if (t >= length || d >= c.nd)
            continue;
        float value = activated(tile[lane][warp + i * warps], is_gelu);
        if (x0.data)
            value *= sq_to_f32(x0.data[b * x0.stride_b + t * x0.stride_t + c.d0 + d]);
        y.data[b * y.stride_b + t * y.stride_t + c.d0 + d] = sq_from_f32<T>(value);
    }
}

/* y = the sum over the products of an output channel of x0 act(rows[r][t]): heads of more than one
 * channel. A thread has one step of one channel. Grid: (t blocks, channels of the chunk, nb). */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    scatter_heads(tokens<T> y, tokens<T> x0, bool is_gelu, chunk c, int64_t width, int64_t heads,
                  int64_t length, int64_t row_stride, const float *rows)
{
    const int64_t t = (int64_t)blockIdx.x * ROW_THREADS + threadIdx.x, b = c.b0 + blockIdx.z;
    if (t >= length)
        return;
    for (int64_t k = blockIdx.y; k < c.nd / width; k += gridDim.y) {
        const int64_t at = c.d0 / width + k, h = at / width, j = at % width; /* at = h P + j */
        const float *row = rows + (blockIdx.z * c.nd + k * width) * row_stride + t;
        const T *gate = x0.data + b * x0.stride_b + t * x0.stride_t + h * width;
        float sum = 0;
        for (int64_t i = 0; i < width; i++)
            sum = fmaf(activated(row[i * row_stride], is_gelu), sq_to_f32(gate[i]), sum);
        y.data[b * y.stride_b + t * y.stride_t + j * heads + h] = sq_from_f32<T>(sum);
    }
}

/* The filters of a call, by head. r == NULL: none that looks ahead. */
struct filters {
    const float *h, *r, *bias;
    int64_t h_stride, r_stride, length;

    /* Tap t >= 0; the skip is one more tap, so that u is not needed again after the convolution. */
    __device__ __forceinline__ float past(int64_t head, int64_t t) const
    {
        if (t >= length)
            return 0.0f;
        const float tap = h[head * h_stride + t];
        if (t > 0)
            return tap;
        return tap + bias[head] + (r ? r[head * r_stride] : 0.0f);
    }

    /* Tap s >= 1 of the filter that looks ahead. */
    __device__ __forceinline__ float ahead(int64_t head, int64_t s) const
    {
        return r && s < length ? r[head * r_stride + s] : 0.0f;
    }

    /* Of any lag: how far an input lies before the output. */
    __device__ __forceinline__ float tap(int64_t head, int64_t lag) const
    {
        return lag < 0 ? ahead(head, -lag) : past(head, lag);
    }
};

inline filters filters_of(const sq_call *call)
{
    const sq_tensor *h = &call->in[IN_H], *r = &call->in[IN_R];
    return {(const float *)h->data, (const float *)r->data, (const float *)call->in[IN_BIAS].data,
            h->stride[0],           r->stride[0],           h->dim[1]};
}

/* rows[d][t] = the filter of row d around the circle of row_length steps. products: rows of a
 * filter. Grid: (t blocks, min(nd, 65535)). */
static __global__ void filter_rows(filters f, chunk c, int64_t products, int64_t row_length,
                                   int64_t row_stride, float *rows)
{
    const int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= row_length)
        return;
    for (int64_t d = blockIdx.y; d < c.nd; d += gridDim.y) {
        const int64_t head = (c.d0 + d) / products;
        rows[d * row_stride + t] = t < f.length ? f.past(head, t) : f.ahead(head, row_length - t);
    }
}

inline dim3 tile_grid(chunk c, int64_t steps)
{
    return dim3((unsigned)sq_ceil_div(steps, TILE_T), (unsigned)sq_ceil_div(c.nd, TILE_D),
                (unsigned)c.nb);
}

inline sq_status launch_gather(const sq_call *call, chunk c, int64_t row_length, int64_t row_stride,
                               float *rows, sq_error *err)
{
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        gather_rows<T><<<tile_grid(c, row_length), ROW_THREADS, 0, sq_stream(call)>>>(
            tokens_of<T>(&call->in[IN_V]), tokens_of<T>(&call->in[IN_X1]), c,
            sq_axis_int(call->axis, AXIS_HEAD), call->in[IN_V].dim[1], row_length, row_stride,
            rows);
        return sq_launched("long_conv gather", err);
    });
}

inline sq_status launch_scatter(const sq_call *call, chunk c, int64_t row_stride, const float *rows,
                                sq_error *err)
{
    const int64_t length = call->in[IN_V].dim[1], width = sq_axis_int(call->axis, AXIS_HEAD);
    const bool is_gelu = call->axis[AXIS_GELU] != 0;
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        const tokens<T> y = tokens_of<T>(&call->out[0]), x0 = tokens_of<T>(&call->in[IN_X0]);
        const dim3 grid((unsigned)sq_ceil_div(length, ROW_THREADS),
                        (unsigned)min(c.nd / width, (int64_t)65535), (unsigned)c.nb);
        if (width > 1)
            scatter_heads<T><<<grid, ROW_THREADS, 0, sq_stream(call)>>>(
                y, x0, is_gelu, c, width, call->in[IN_H].dim[0], length, row_stride, rows);
        else
            scatter_rows<T><<<tile_grid(c, length), ROW_THREADS, 0, sq_stream(call)>>>(
                y, x0, is_gelu, c, length, row_stride, rows);
        return sq_launched("long_conv scatter", err);
    });
}

inline sq_status launch_filter_rows(const sq_call *call, chunk c, int64_t row_length,
                                    int64_t row_stride, float *rows, sq_error *err)
{
    const int64_t width = sq_axis_int(call->axis, AXIS_HEAD);
    dim3 grid((unsigned)sq_ceil_div(row_length, 256), (unsigned)min(c.nd, (int64_t)65535));
    filter_rows<<<grid, 256, 0, sq_stream(call)>>>(filters_of(call), c, width * width, row_length,
                                                   row_stride, rows);
    return sq_launched("long_conv filter rows", err);
}

} // namespace sq_long_conv

#endif
