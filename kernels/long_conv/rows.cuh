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

/* Rows (b, d) with b in [b0, b0 + nb), d in [d0, d0 + nd); row r is (b0 + r / nd, d0 + r % nd). */
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
    gather_rows(tokens<T> v, tokens<T> x1, chunk c, int64_t length, int64_t row_length,
                int64_t row_stride, float *rows)
{
    __shared__ float tile[TILE_D][TILE_T + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE_T, d0 = (int64_t)blockIdx.y * TILE_D;
    const int64_t b = c.b0 + blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
    const int64_t d = d0 + lane;
#pragma unroll
    for (int i = 0; i < TILE_T / warps; i++) {
        const int64_t t = t0 + warp + i * warps;
        float u = 0;
        if (t < length && d < c.nd) {
            u = sq_to_f32(v.data[b * v.stride_b + t * v.stride_t + c.d0 + d]);
            if (x1.data)
                u *= sq_to_f32(x1.data[b * x1.stride_b + t * x1.stride_t + c.d0 + d]);
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

/* y = x0 rows[r][t] (or rows[r][t] alone). Grid as above. */
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    scatter_rows(tokens<T> y, tokens<T> x0, chunk c, int64_t length, int64_t row_stride,
                 const float *rows)
{
    __shared__ float tile[TILE_D][TILE_T + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE_T, d0 = (int64_t)blockIdx.y * TILE_D;
    const int64_t b = c.b0 + blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int warps = ROW_THREADS / 32;
#pragma unroll
    for (int i = 0; i < TILE_D / warps; i++) {
        const int row_d = warp + i * warps;
        const float *row = rows + (blockIdx.z * c.nd + d0 + row_d) * row_stride + t0;
#pragma unroll
        for (int k = lane; k < TILE_T; k += 32)
            tile[row_d][k] = d0 + row_d < c.nd && t0 + k < length ? row[k] : 0.0f;
    }
    __syncthreads();
    const int64_t d = d0 + lane;
#pragma unroll
    for (int i = 0; i < TILE_T / warps; i++) {
        const int64_t t = t0 + warp + i * warps;
        if (t >= length || d >= c.nd)
            continue;
        float value = tile[lane][warp + i * warps];
        if (x0.data)
            value *= sq_to_f32(x0.data[b * x0.stride_b + t * x0.stride_t + c.d0 + d]);
        y.data[b * y.stride_b + t * y.stride_t + c.d0 + d] = sq_from_f32<T>(value);
    }
}

/* rows[d][t] = h[d0 + d][t] + bias at t = 0, zeros up to row_length: the skip is one more tap of
 * the filter, so that u is not needed again after the convolution. Grid: (t blocks, min(nd,
 * 65535)). */
static __global__ void filter_rows(const float *h, int64_t h_stride, const float *bias, chunk c,
                                   int64_t length, int64_t row_length, int64_t row_stride,
                                   float *rows)
{
    const int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= row_length)
        return;
    for (int64_t d = blockIdx.y; d < c.nd; d += gridDim.y) {
        float tap = t < length ? h[(c.d0 + d) * h_stride + t] : 0.0f;
        rows[d * row_stride + t] = t == 0 ? tap + bias[c.d0 + d] : tap;
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
            tokens_of<T>(&call->in[IN_V]), tokens_of<T>(&call->in[IN_X1]), c, call->in[IN_V].dim[1],
            row_length, row_stride, rows);
        return sq_launched("long_conv gather", err);
    });
}

inline sq_status launch_scatter(const sq_call *call, chunk c, int64_t row_stride, const float *rows,
                                sq_error *err)
{
    const int64_t length = call->in[IN_V].dim[1];
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        scatter_rows<T><<<tile_grid(c, length), ROW_THREADS, 0, sq_stream(call)>>>(
            tokens_of<T>(&call->out[0]), tokens_of<T>(&call->in[IN_X0]), c, length, row_stride,
            rows);
        return sq_launched("long_conv scatter", err);
    });
}

inline sq_status launch_filter_rows(const sq_call *call, chunk c, int64_t row_length,
                                    int64_t row_stride, float *rows, sq_error *err)
{
    const sq_tensor *h = &call->in[IN_H];
    dim3 grid((unsigned)sq_ceil_div(row_length, 256), (unsigned)min(c.nd, (int64_t)65535));
    filter_rows<<<grid, 256, 0, sq_stream(call)>>>((const float *)h->data, h->stride[0],
                                                   (const float *)call->in[IN_BIAS].data, c,
                                                   h->dim[1], row_length, row_stride, rows);
    return sq_launched("long_conv filter rows", err);
}

} // namespace sq_long_conv

#endif
