/* gradient: pass bwd of hyena_filter on the device (hyena_filter_bwd.c). Included by
 * hyena_filter.cu alone.
 *
 * Two products of matrices make what the outputs hand on: dout (channels by features, summed over
 * steps) and da (steps by features, summed over channels). With x = dh window each has a companion
 * with y in place of x, from which the window's gradients follow without m = out . a:
 *   ddelta_c = -sign sum_f out_cf (sum_t t dh e^.. a_tf)
 *   dt_t = -sum_f a_tf (sum_c |delta| dh e^.. out_cf)
 * Sums are cut into segments, added up in order by the kernel that reads them. The network's
 * backward is by blocks that hold 16 steps at a time and add to sums of their own.
 */
#ifndef SQ_KERNELS_HYENA_FILTER_GRADIENT_CUH
#define SQ_KERNELS_HYENA_FILTER_GRADIENT_CUH

#include "kernels/hw/reduce.cuh"
#include "kernels/hyena_filter/network.cuh"

namespace sq_hyena
{

enum { G_TILE = 64, G_DEPTH = 16, G_THREADS = 256, G_SIDE = 4 };
enum { MOST_SEGMENTS = 16, NETWORK_BLOCKS = 128 };
enum { MOST_IN_A_ROW = 4096 }; /* products that one f32 sum takes: 65,536 cost ddelta an error of 2e-5 */

struct times {
    const float *data;
    int64_t stride, length;
    float shift;

    __device__ float at(int64_t t) const { return data[t * stride]; }
};

/* Two sums of products for each row and feature; (segments, rows, F) each. */
struct pair_sums {
    float *x, *y;
    int64_t rows, depth; /* depth: products of a segment */
    int segments, width;

    __device__ float sum(const float *part, int64_t row, int f) const
    {
        float total = 0;
        for (int s = 0; s < segments; s++)
            total += part[(s * rows + row) * width + f];
        return total;
    }
};

/* BY_STEP: rows are steps, products of channels; else the other way round. o.h is dh. Grid: (row
 * tiles, feature tiles, segments). */
template <bool BY_STEP>
__global__ void __launch_bounds__(G_THREADS)
    output_products(outputs o, times time, const float *a, pair_sums out)
{
    __shared__ float x[G_DEPTH][G_TILE + 1], y[G_DEPTH][G_TILE + 1], z[G_DEPTH][G_TILE + 1];
    const int64_t row0 = (int64_t)blockIdx.x * G_TILE, total = BY_STEP ? o.count : time.length;
    const int64_t first = blockIdx.z * out.depth, end = min(total, first + out.depth);
    const int f0 = blockIdx.y * G_TILE, tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float sx[G_SIDE][G_SIDE] = {}, sy[G_SIDE][G_SIDE] = {};
    for (int64_t k0 = first; k0 < end; k0 += G_DEPTH) {
        __syncthreads();
        for (int i = threadIdx.x; i < G_TILE * G_DEPTH; i += G_THREADS) {
            /* Neighbouring threads read neighbouring steps. */
            const int k = BY_STEP ? i / G_TILE : i % G_DEPTH,
                      r = BY_STEP ? i % G_TILE : i / G_DEPTH;
            const int64_t c = BY_STEP ? k0 + k : row0 + r, t = BY_STEP ? row0 + r : k0 + k;
            const bool is_inside = k0 + k < end && row0 + r < out.rows;
            float value = 0, companion = 0;
            if (is_inside) {
                const float delta = fabsf(o.decay(c)), now = time.at(t);
                const float decay = expf(-now * delta), dh = o.taps(c)[t];
                value = dh * (decay + time.shift);
                companion = dh * decay * (BY_STEP ? delta : now);
            }
            x[k][r] = value;
            y[k][r] = companion;
            const int kf = i / G_TILE, f = i % G_TILE;
            const bool is_feature = k0 + kf < end && f0 + f < out.width;
            z[kf][f] = !is_feature ? 0.0f
                       : BY_STEP   ? o.weight(k0 + kf)[f0 + f]
                                   : a[(k0 + kf) * out.width + f0 + f];
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < G_DEPTH; k++)
#pragma unroll
            for (int i = 0; i < G_SIDE; i++)
#pragma unroll
                for (int j = 0; j < G_SIDE; j++) {
                    sx[i][j] = fmaf(x[k][ty + 16 * i], z[k][tx + 16 * j], sx[i][j]);
                    sy[i][j] = fmaf(y[k][ty + 16 * i], z[k][tx + 16 * j], sy[i][j]);
                }
    }
#pragma unroll
    for (int i = 0; i < G_SIDE; i++)
#pragma unroll
        for (int j = 0; j < G_SIDE; j++) {
            const int64_t row = row0 + ty + 16 * i;
            const int f = f0 + tx + 16 * j;
            if (row >= out.rows || f >= out.width)
                continue;
            out.x[(blockIdx.z * out.rows + row) * out.width + f] = sx[i][j];
            out.y[(blockIdx.z * out.rows + row) * out.width + f] = sy[i][j];
        }
}

/* dout and ddelta of a channel: a warp each. o.h is not used. */
static __global__ void __launch_bounds__(G_THREADS)
    finish_outputs(outputs o, pair_sums sums, float *dout, int64_t out_stride_b,
                   int64_t out_stride_d, float *ddelta, int64_t delta_stride_b,
                   int64_t delta_stride_d)
{
    const int64_t c = (int64_t)blockIdx.x * (G_THREADS / 32) + threadIdx.x / 32;
    if (c >= o.count)
        return;
    const int64_t b = c / o.channels, d = c % o.channels;
    float total = 0;
    for (int f = threadIdx.x % 32; f < sums.width; f += 32) {
        dout[b * out_stride_b + d * out_stride_d + f] = sums.sum(sums.x, c, f);
        total = fmaf(o.weight(c)[f], sums.sum(sums.y, c, f), total);
    }
    total = sq_warp_sum(total);
    if (threadIdx.x % 32 == 0)
        ddelta[b * delta_stride_b + d * delta_stride_d] = o.decay(c) < 0 ? total : -total;
}

/* --- the network --- */

/* Where a block's sums of the parameters lie, in floats from their start. */
struct parameter_layout {
    int64_t w[MOST_LAYERS], b[MOST_LAYERS], freq, count;
};

struct network_args {
    network net;
    parameter_layout at;
    pair_sums da;
    float *partial; /* (blocks, at.count) */
    float *dz, *dt;
    int64_t dz_stride, dt_stride;
    int stride; /* floats of a row of STEPS in shared memory */
};

/* Rows of all layers: in[i] what layer i reads, x[i] before its sine. Entries of layers that the
 * network has not are not read. */
struct network_rows {
    float *in[MOST_LAYERS + 1], *x[MOST_LAYERS], *da, *dx;
};

__device__ inline network_rows rows_of(float *memory, int layers, int stride)
{
    network_rows r;
    for (int i = 0; i <= MOST_LAYERS; i++)
        r.in[i] = memory + i * STEPS * stride;
    for (int i = 0; i < MOST_LAYERS; i++)
        r.x[i] = memory + (layers + 1 + i) * STEPS * stride;
    r.da = memory + (2 * layers + 1) * STEPS * stride;
    r.dx = r.da + STEPS * stride;
    return r;
}

inline int network_rows_count(const sq_call *call)
{
    const int layers = 1 + (int)call->axis[AXIS_INNER];
    return 2 * layers + 3;
}

__device__ inline void run_forward(const network_args &p, const network_rows &r, int64_t t0)
{
    for (int i = threadIdx.x; i < STEPS * p.net.features; i += NETWORK_THREADS) {
        const int s = i / p.net.features, k = i % p.net.features;
        r.in[0][s * p.stride + k] =
            t0 + s < p.net.length ? p.net.z[(t0 + s) * p.net.z_stride + k] : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < p.net.layers; i++) {
        run_layer(p.net, i, r.in[i], r.in[i + 1], r.x[i], p.stride);
        __syncthreads();
    }
}

/* da of the last layer, and dt. A warp has every eighth step. */
__device__ inline void load_gradient(const network_args &p, const network_rows &r, int64_t t0)
{
    const float *a = r.in[p.net.layers];
    for (int s = threadIdx.x / 32; s < STEPS; s += NETWORK_THREADS / 32) {
        const bool is_inside = t0 + s < p.net.length;
        float total = 0;
        for (int f = threadIdx.x % 32; f < p.net.width; f += 32) {
            r.da[s * p.stride + f] = is_inside ? p.da.sum(p.da.x, t0 + s, f) : 0.0f;
            if (is_inside)
                total = fmaf(a[s * p.stride + f], p.da.sum(p.da.y, t0 + s, f), total);
        }
        total = sq_warp_sum(total);
        if (threadIdx.x % 32 == 0 && is_inside)
            p.dt[(t0 + s) * p.dt_stride] = -total;
    }
    __syncthreads();
}

/* dx from da; sums of freq and the bias. A thread has a feature. */
__device__ inline void slope_layer(const network_args &p, const network_rows &r, int i, float *sums)
{
    for (int f = threadIdx.x; f < p.net.width; f += NETWORK_THREADS) {
        const float freq = p.net.freq[f * p.net.freq_stride];
        float by_freq = 0, by_bias = 0;
        for (int s = 0; s < STEPS; s++) {
            const float x = r.x[i][s * p.stride + f];
            const float slope = r.da[s * p.stride + f] * cosf(freq * x);
            by_freq = fmaf(slope, x, by_freq);
            by_bias = fmaf(slope, freq, by_bias);
            r.dx[s * p.stride + f] = slope * freq;
        }
        sums[p.at.freq + f] += by_freq;
        sums[p.at.b[i] + f] += by_bias;
    }
    __syncthreads();
}

/* The sums of layer i's weights, and da of the layer before (of z for the first). */
__device__ inline void weights_layer(const network_args &p, const network_rows &r, int i,
                                     float *sums)
{
    const int from = i == 0 ? p.net.features : p.net.width;
    for (int e = threadIdx.x; e < p.net.width * from; e += NETWORK_THREADS) {
        const int f = e / from, k = e % from;
        float sum = 0;
        for (int s = 0; s < STEPS; s++)
            sum = fmaf(r.dx[s * p.stride + f], r.in[i][s * p.stride + k], sum);
        sums[p.at.w[i] + e] += sum;
    }
    for (int k = threadIdx.x; k < from; k += NETWORK_THREADS) {
        float sum[STEPS] = {};
        for (int f = 0; f < p.net.width; f++) {
            const float w = p.net.at[i].w[f * p.net.at[i].w_stride + k];
#pragma unroll
            for (int s = 0; s < STEPS; s++)
                sum[s] = fmaf(w, r.dx[s * p.stride + f], sum[s]);
        }
#pragma unroll
        for (int s = 0; s < STEPS; s++)
            r.da[s * p.stride + k] = sum[s];
    }
    __syncthreads();
}

/* A block has every gridDim.x-th group of STEPS. */
static __global__ void __launch_bounds__(NETWORK_THREADS) network_gradient(network_args p)
{
    extern __shared__ float memory[];
    const network_rows r = rows_of(memory, p.net.layers, p.stride);
    float *sums = p.partial + blockIdx.x * p.at.count;
    for (int64_t i = threadIdx.x; i < p.at.count; i += NETWORK_THREADS)
        sums[i] = 0;
    for (int64_t t0 = (int64_t)blockIdx.x * STEPS; t0 < p.net.length;
         t0 += (int64_t)gridDim.x * STEPS) {
        __syncthreads();
        run_forward(p, r, t0);
        load_gradient(p, r, t0);
        for (int i = p.net.layers - 1; i >= 0; i--) {
            slope_layer(p, r, i, sums);
            weights_layer(p, r, i, sums);
        }
        for (int i = threadIdx.x; i < STEPS * p.net.features; i += NETWORK_THREADS) {
            const int s = i / p.net.features, k = i % p.net.features;
            if (t0 + s < p.net.length)
                p.dz[(t0 + s) * p.dz_stride + k] = r.da[s * p.stride + k];
        }
    }
}

/* out[row][k] = the sum over blocks of partial[block][first + row columns + k]. */
static __global__ void __launch_bounds__(G_THREADS)
    sum_blocks(const float *partial, int64_t count, int blocks, int64_t first, int64_t rows,
               int columns, float *out, int64_t stride)
{
    const int64_t i = (int64_t)blockIdx.x * G_THREADS + threadIdx.x;
    if (i >= rows * columns)
        return;
    float sum = 0;
    for (int b = 0; b < blocks; b++)
        sum += partial[b * count + first + i];
    out[i / columns * stride + i % columns] = sum;
}

/* --- host --- */

struct gradient_layout {
    parameter_layout parameters;
    int64_t count, length;
    int width, blocks, segments_out, segments_da;
    size_t a_bytes, out_bytes, da_bytes, partial_bytes; /* out and da: of one of the two sums */
};

inline size_t gradient_aligned(int64_t floats)
{
    return (size_t)sq_ceil_div(floats * (int64_t)sizeof(float), 256) * 256;
}

/* Enough blocks for all SMs, but no more than the partial sums are worth, and enough sums of few numbers. */
inline int segments_for(int64_t tiles, int64_t depth)
{
    const int64_t wanted = sq_ceil_div(264, tiles), most = sq_ceil_div(depth, 4 * G_DEPTH);
    const int64_t least = max((int64_t)1, sq_ceil_div(depth, MOST_IN_A_ROW));
    return (int)max(least, min(min(wanted, most), (int64_t)MOST_SEGMENTS));
}

inline gradient_layout gradient_layout_of(const sq_call *call)
{
    const sq_tensor *out = &call->in[IN_OUT];
    gradient_layout at = {};
    at.count = out->dim[0] * out->dim[1];
    at.length = call->in[IN_T].dim[0];
    at.width = (int)call->in[IN_FREQ].dim[0];
    for (int i = 0; i <= (int)call->axis[AXIS_INNER]; i++) {
        at.parameters.w[i] = at.parameters.count;
        at.parameters.count += at.width * (i == 0 ? call->in[IN_Z].dim[1] : at.width);
        at.parameters.b[i] = at.parameters.count;
        at.parameters.count += at.width;
    }
    at.parameters.freq = at.parameters.count;
    at.parameters.count += at.width;
    const int64_t features = sq_ceil_div(at.width, G_TILE);
    at.blocks = (int)min(sq_ceil_div(at.length, STEPS), (int64_t)NETWORK_BLOCKS);
    at.segments_out = segments_for(features * sq_ceil_div(at.count, G_TILE), at.length);
    at.segments_da = segments_for(features * sq_ceil_div(at.length, G_TILE), at.count);
    at.a_bytes = gradient_aligned(at.length * at.width);
    at.out_bytes = gradient_aligned(at.segments_out * at.count * at.width);
    at.da_bytes = gradient_aligned(at.segments_da * at.length * at.width);
    at.partial_bytes = gradient_aligned(at.blocks * at.parameters.count);
    return at;
}

inline size_t gradient_workspace(const sq_call *call)
{
    const gradient_layout at = gradient_layout_of(call);
    return at.a_bytes + 2 * at.out_bytes + 2 * at.da_bytes + at.partial_bytes;
}

inline size_t gradient_shared(const sq_call *call)
{
    return (size_t)(network_rows_count(call) * STEPS * network_stride(call)) * sizeof(float);
}

inline sq_status launch_sum(const sq_call *call, const gradient_layout &at, const float *partial,
                            int64_t first, const sq_tensor *out, sq_error *err)
{
    const int64_t rows = out->rank == 1 ? 1 : out->dim[0];
    const int columns = (int)out->dim[out->rank - 1];
    sum_blocks<<<(unsigned)sq_ceil_div(rows * columns, G_THREADS), G_THREADS, 0, sq_stream(call)>>>(
        partial, at.parameters.count, at.blocks, first, rows, columns, (float *)out->data,
        out->stride[0]);
    return sq_launched("hyena_filter sums of blocks", err);
}

inline sq_status launch_network_gradient(const sq_call *call, const gradient_layout &at,
                                         const pair_sums &da, float *partial, sq_error *err)
{
    const sq_tensor *out = call->out;
    network_args p = {};
    p.net = network_of(call);
    p.at = at.parameters;
    p.da = da;
    p.partial = partial;
    p.dz = (float *)out[IN_Z].data;
    p.dt = (float *)out[IN_T].data;
    p.dz_stride = out[IN_Z].stride[0];
    p.dt_stride = out[IN_T].stride[0];
    p.stride = network_stride(call);
    SQ_TRY(sq_allow_shared(network_gradient, gradient_shared(call), err));
    network_gradient<<<at.blocks, NETWORK_THREADS, gradient_shared(call), sq_stream(call)>>>(p);
    SQ_TRY(sq_launched("hyena_filter gradient of the network", err));
    for (int i = 0; i < p.net.layers; i++) {
        SQ_TRY(launch_sum(call, at, partial, at.parameters.w[i], &out[IN_W0 + 2 * i], err));
        SQ_TRY(launch_sum(call, at, partial, at.parameters.b[i], &out[IN_B0 + 2 * i], err));
    }
    return launch_sum(call, at, partial, at.parameters.freq, &out[IN_FREQ], err);
}

inline sq_status launch_gradient(const sq_call *call, sq_error *err)
{
    const gradient_layout at = gradient_layout_of(call);
    const sq_tensor *dh = &call->in[IN_COUNT], *time = &call->in[IN_T];
    const sq_tensor *dout = &call->out[IN_OUT], *ddelta = &call->out[IN_DELTA];
    char *next = (char *)call->workspace;
    const auto take = [&](size_t bytes) {
        float *part = (float *)next;
        next += bytes;
        return part;
    };
    outputs o = outputs_of(call);
    o.h = (float *)dh->data;
    o.h_stride_b = dh->stride[0];
    o.h_stride_d = dh->stride[1];
    const times now = {(const float *)time->data, time->stride[0], at.length,
                       (float)call->axis[AXIS_SHIFT]};
    float *a = take(at.a_bytes), *partial = take(at.partial_bytes);
    float *out_x = take(at.out_bytes), *out_y = take(at.out_bytes);
    float *da_x = take(at.da_bytes), *da_y = take(at.da_bytes);
    const pair_sums out = {
        out_x, out_y, at.count, sq_ceil_div(at.length, at.segments_out), at.segments_out, at.width};
    const pair_sums da = {da_x,           da_y,    at.length, sq_ceil_div(at.count, at.segments_da),
                          at.segments_da, at.width};
    const unsigned features = (unsigned)sq_ceil_div(at.width, G_TILE);
    SQ_TRY(launch_network(call, a, err));
    output_products<false>
        <<<dim3((unsigned)sq_ceil_div(at.count, G_TILE), features, (unsigned)at.segments_out),
           G_THREADS, 0, sq_stream(call)>>>(o, now, a, out);
    SQ_TRY(sq_launched("hyena_filter products by channel", err));
    output_products<true>
        <<<dim3((unsigned)sq_ceil_div(at.length, G_TILE), features, (unsigned)at.segments_da),
           G_THREADS, 0, sq_stream(call)>>>(o, now, a, da);
    SQ_TRY(sq_launched("hyena_filter products by step", err));
    finish_outputs<<<(unsigned)sq_ceil_div(at.count, G_THREADS / 32), G_THREADS, 0,
                     sq_stream(call)>>>(o, out, (float *)dout->data, dout->stride[0],
                                        dout->stride[1], (float *)ddelta->data, ddelta->stride[0],
                                        ddelta->stride[1]);
    SQ_TRY(sq_launched("hyena_filter gradients of outputs", err));
    return launch_network_gradient(call, at, da, partial, err);
}

} // namespace sq_hyena

#endif
