/* s4_kernel on CUDA. The operator: s4_kernel.c; its equations are those of s4_kernel.h, in f64 here
 * too, since a resolvent near its pole keeps few digits of f32.
 *
 *   cuda/naive      fwd: a thread for each point of the spectrum, then for each tap, by a direct sum
 *                   (naive.cuh); bwd: for each point, then for each mode (naive_bwd.cuh)
 *   cuda/portable   fwd: a thread has a point of the spectrum; then cuFFT
 *                   bwd: cuFFT of dh; a block has 128 points, first one a thread, then, for the
 *                   sums over points, one mode a thread; partial sums go through the workspace
 */
#include <cuda_runtime.h>
#include <new>

#include "kernels/hw/cufft_rows.cuh"
#include "kernels/s4_kernel/naive_bwd.cuh"
#include "kernels/s4_kernel/s4_kernel.h"

namespace
{

using namespace sq_s4;

enum { THREADS = 128, WARPS = THREADS / 32, MOST_SEGMENTS = 16 };

/* A mode and its output weight, in shared memory. */
struct shared_mode {
    sq_s4_mode mode;
    sq_c64 c;
};

__device__ void load_modes(const row_modes &m, int64_t filter, int64_t d, shared_mode *out)
{
    for (int n = threadIdx.x; n < m.count; n += THREADS) {
        out[n].mode = m.of(d, n);
        out[n].c = m.output(filter, d, n);
    }
    __syncthreads();
}

__device__ sq_s4_sums sums_of(const shared_mode *mode, int count, const sq_s4_point *at, int rank)
{
    sq_s4_sums sums = {};
    for (int n = 0; n < count; n++)
        sq_s4_add_mode(&sums, &mode[n].mode, mode[n].c, at, rank);
    return sums;
}

/* --- fwd --- */

/* rows[b D + d][j] = V(w_j) / L. Grid: (points, B D). */
__global__ void __launch_bounds__(THREADS)
    spectrum(row_modes m, int64_t channels, int64_t length, int64_t n_rows, float2 *rows)
{
    extern __shared__ double2 shared[];
    shared_mode *mode = (shared_mode *)shared;
    const int64_t j = (int64_t)blockIdx.x * THREADS + threadIdx.x, points = length / 2 + 1;
    for (int64_t row = blockIdx.y; row < n_rows; row += gridDim.y) {
        __syncthreads();
        load_modes(m, row / channels, row % channels, mode);
        if (j >= points)
            continue;
        const sq_s4_point at = sq_s4_point_of(j, length);
        const sq_s4_sums sums = sums_of(mode, m.count, &at, m.rank);
        const sq_s4_solution solved = sq_s4_solve(&sums, at.g, m.rank);
        const sq_c64 v = sq_c64_scale(sq_s4_value(&sums, &solved, at.g, m.rank), 1.0 / length);
        const bool is_real = j == 0 || 2 * j == length;
        rows[row * points + j] = make_float2((float)v.re, is_real ? 0.0f : (float)v.im);
    }
}

/* (B, D, L) of any strides */
struct taps {
    float *data;
    int64_t stride_b, stride_d;
};

taps taps_of(const sq_tensor *t)
{
    return {(float *)t->data, t->stride[0], t->stride[1]};
}

/* Between dense rows and a tensor; what a row has beyond its taps becomes 0. Grid: (blocks of a
 * row, B D). */
template <bool TO_ROWS>
__global__ void copy_rows(taps h, float *rows, int64_t row_floats, int64_t channels, int64_t length,
                          int64_t n_rows)
{
    const int64_t t = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (t >= (TO_ROWS ? row_floats : length))
        return;
    for (int64_t row = blockIdx.y; row < n_rows; row += gridDim.y) {
        float *tap = h.data + row / channels * h.stride_b + row % channels * h.stride_d + t;
        float *at = rows + row * row_floats + t;
        if (TO_ROWS)
            *at = t < length ? *tap : 0.0f;
        else
            *tap = *at;
    }
}

/* --- bwd --- */

/* Gradients of mode n by a segment of the points of a row: partial[(segment, row)][n]. */
struct backward_args {
    row_modes m;
    const float2 *rows;                      /* transforms of dh */
    sq_s4_mode_gradient *partial, *channel;  /* channel: (D, modes) */
    int64_t channels, length, n_rows, tiles; /* tiles of THREADS points in a segment */
    int segments;
};

__device__ void add_gradient(sq_s4_mode_gradient *sum, const sq_s4_mode_gradient *x)
{
    sum->a = sq_c64_add(sum->a, x->a);
    sum->b = sq_c64_add(sum->b, x->b);
    sum->c = sq_c64_add(sum->c, x->c);
    for (int k = 0; k < MAX_RANK; k++)
        sum->p[k] = sq_c64_add(sum->p[k], x->p[k]);
    sum->log_dt += x->log_dt;
}

/* The gradient of the sums of a point; zeros beyond the last one. */
__device__ sq_s4_sums point_gradient(const backward_args &p, const shared_mode *mode, int64_t row,
                                     int64_t j, const sq_s4_point *at)
{
    const int64_t points = p.length / 2 + 1;
    sq_s4_sums zero = {};
    if (j >= points)
        return zero;
    const bool is_real = j == 0 || 2 * j == p.length;
    const double weight = (is_real ? 1.0 : 2.0) / p.length;
    const float2 dh = p.rows[row * points + j];
    const sq_s4_sums sums = sums_of(mode, p.m.count, at, p.m.rank);
    const sq_s4_solution solved = sq_s4_solve(&sums, at->g, p.m.rank);
    return sq_s4_sums_back(&solved, at->g, p.m.rank,
                           sq_c64_of(dh.x * weight, is_real ? 0 : dh.y * weight));
}

/* One warp's share of a tile: lane n of 32 modes from n0 on, every WARPS-th point. */
__device__ void add_tile(const backward_args &p, const shared_mode *mode, const sq_s4_sums *dsums,
                         const sq_s4_point *at, int n, sq_s4_mode_gradient *sum)
{
    for (int i = threadIdx.x / 32; i < THREADS; i += WARPS)
        sq_s4_mode_back(&dsums[i], &mode[n].mode, mode[n].c, &at[i], p.m.rank, sum);
}

/* Grid: (segments, B D). Shared memory: modes; gradients of the sums and points of a tile; one
 * gradient for each thread; `sums` of all modes. */
__global__ void __launch_bounds__(THREADS) mode_gradients(backward_args p)
{
    extern __shared__ double2 shared[];
    sq_s4_sums *dsums = (sq_s4_sums *)shared;
    sq_s4_point *at = (sq_s4_point *)(dsums + THREADS);
    sq_s4_mode_gradient *warp_sum = (sq_s4_mode_gradient *)(at + THREADS);
    shared_mode *mode = (shared_mode *)(warp_sum + THREADS);
    const int lane = threadIdx.x % 32;
    for (int64_t row = blockIdx.y; row < p.n_rows; row += gridDim.y)
        for (int n0 = 0; n0 < p.m.count; n0 += 32) {
            const int n = n0 + lane;
            sq_s4_mode_gradient sum = {};
            __syncthreads();
            load_modes(p.m, row / p.channels, row % p.channels, mode);
            for (int64_t tile = 0; tile < p.tiles; tile++) {
                const int64_t j = (blockIdx.x * p.tiles + tile) * THREADS + threadIdx.x;
                at[threadIdx.x] = sq_s4_point_of(j, p.length);
                dsums[threadIdx.x] = point_gradient(p, mode, row, j, &at[threadIdx.x]);
                __syncthreads();
                if (n < p.m.count)
                    add_tile(p, mode, dsums, at, n, &sum);
                __syncthreads();
            }
            warp_sum[threadIdx.x] = sum;
            __syncthreads();
            if (threadIdx.x >= 32 || n >= p.m.count)
                continue;
            for (int w = 1; w < WARPS; w++)
                add_gradient(&sum, &warp_sum[w * 32 + lane]);
            p.partial[((int64_t)blockIdx.x * p.n_rows + row) * p.m.count + n] = sum;
        }
}

/* dc of every filter, and the sum over filters for each channel. A thread has a mode. */
__global__ void __launch_bounds__(THREADS)
    sum_segments(backward_args p, float *dc, int64_t stride_b, int64_t stride_d, int64_t stride_n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.channels * p.m.count)
        return;
    const int64_t d = i / p.m.count, n = i % p.m.count;
    sq_s4_mode_gradient channel = {};
    for (int64_t filter = 0; filter < p.n_rows / p.channels; filter++) {
        sq_s4_mode_gradient sum = {};
        for (int segment = 0; segment < p.segments; segment++)
            add_gradient(
                &sum, &p.partial[(segment * p.n_rows + filter * p.channels + d) * p.m.count + n]);
        float *at = dc + filter * stride_b + d * stride_d + n * stride_n;
        at[0] = (float)sum.c.re;
        at[1] = (float)sum.c.im;
        add_gradient(&channel, &sum);
    }
    p.channel[i] = channel;
}

/* Outputs of the shared parameters, by strides as in row_modes. */
struct parameter_gradients {
    float *log_dt, *a_real, *a_imag, *b, *p;
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n;
    int64_t p_stride_r, p_stride_s, p_stride_n;
};

__device__ void store_pair(float *at, sq_c64 x)
{
    at[0] = (float)x.re;
    at[1] = (float)x.im;
}

/* A thread has a mode of a state space: the sum over its channels. */
__global__ void __launch_bounds__(THREADS) sum_channels(backward_args p, parameter_gradients out)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.m.copies * p.m.count)
        return;
    const int64_t s = i / p.m.count, n = i % p.m.count;
    sq_s4_mode_gradient sum = {};
    for (int64_t d = s; d < p.channels; d += p.m.copies)
        add_gradient(&sum, &p.channel[d * p.m.count + n]);
    const sq_c64 a = p.m.of(s, (int)n).a;
    out.a_real[s * out.a_real_stride + n] = (float)sq_ssm_d_a_real(a, sum.a);
    out.a_imag[s * out.a_imag_stride + n] = (float)sq_ssm_d_a_imag(p.m.sign, sum.a);
    store_pair(out.b + s * out.b_stride_s + n * out.b_stride_n, sum.b);
    for (int k = 0; k < p.m.rank; k++)
        store_pair(out.p + k * out.p_stride_r + s * out.p_stride_s + n * out.p_stride_n, sum.p[k]);
}

/* A thread has a channel: the sum over its modes. */
__global__ void __launch_bounds__(THREADS) sum_modes(backward_args p, parameter_gradients out)
{
    const int64_t d = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (d >= p.channels)
        return;
    double sum = 0;
    for (int n = 0; n < p.m.count; n++)
        sum += p.channel[d * p.m.count + n].log_dt;
    out.log_dt[d * out.log_dt_stride] = (float)sum;
}

/* --- host --- */

struct layout {
    int64_t length, channels, n_rows, modes, row_floats, tiles;
    int segments;
    /* Parts of the workspace, in this order; work: cuFFT's. */
    size_t rows_bytes, work_bytes, partial_bytes, channel_bytes;
};

size_t aligned(int64_t bytes)
{
    return (size_t)sq_ceil_div(bytes, 256) * 256;
}

layout layout_of(const sq_call *call)
{
    const sq_tensor *c = &call->in[IN_C];
    layout at = {};
    at.length = sq_axis_int(call->axis, AXIS_L);
    at.channels = c->dim[1];
    at.n_rows = c->dim[0] * c->dim[1];
    at.modes = c->dim[2];
    at.row_floats = sq_cufft_row_floats(at.length);
    at.rows_bytes = aligned(at.n_rows * at.row_floats * (int64_t)sizeof(float));
    at.work_bytes = sq_cufft_work_bytes(at.rows_bytes);
    if (call->pass == SQ_PASS_FWD)
        return at;
    const int64_t tiles = sq_ceil_div(at.length / 2 + 1, THREADS);
    at.segments = (int)min(tiles, (int64_t)MOST_SEGMENTS);
    at.tiles = sq_ceil_div(tiles, at.segments);
    const int64_t gradient = sizeof(sq_s4_mode_gradient);
    at.partial_bytes = aligned(at.segments * at.n_rows * at.modes * gradient);
    at.channel_bytes = aligned(at.channels * at.modes * gradient);
    return at;
}

size_t backward_shared(int64_t modes)
{
    return THREADS * (sizeof(sq_s4_sums) + sizeof(sq_s4_point) + sizeof(sq_s4_mode_gradient)) +
           modes * sizeof(shared_mode);
}

sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    const int64_t modes = call->in[IN_C].dim[2];
    return sq_supports_shared(
        device, call->pass == SQ_PASS_FWD ? modes * sizeof(shared_mode) : backward_shared(modes),
        why);
}

size_t workspace(const sq_call *call)
{
    const layout at = layout_of(call);
    return at.rows_bytes + at.work_bytes + at.partial_bytes + at.channel_bytes;
}

struct plans {
    cufftHandle transform;
    void *work; /* ours only where cuFFT wants more than the workspace holds */
};

void release(void *plan)
{
    plans *p = (plans *)plan;
    if (!p)
        return;
    if (p->transform >= 0)
        cufftDestroy(p->transform);
    cudaFree(p->work);
    delete p;
}

sq_status make_plan(const layout &at, bool is_forward, plans *p, sq_error *err)
{
    size_t work_bytes = 0;
    if (at.length == 1) /* one point is its own transform */
        return SQ_OK;
    SQ_TRY(sq_cufft_plan(at.length, at.row_floats, at.n_rows, is_forward, &p->transform,
                         &work_bytes, err));
    return sq_cufft_extra_work(work_bytes, at.work_bytes, &p->work, err);
}

sq_status prepare(const sq_call *call, void **plan, sq_error *err)
{
    plans *p = new (std::nothrow) plans{-1, NULL};
    if (!p)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "cuFFT plan: %zu bytes", sizeof *p);
    const sq_status status = make_plan(layout_of(call), call->pass != SQ_PASS_FWD, p, err);
    if (status != SQ_OK) {
        release(p);
        return status;
    }
    *plan = p;
    return SQ_OK;
}

/* In place, in the workspace's first part. */
sq_status transform_rows(const sq_call *call, const layout &at, const plans *p, int direction,
                         sq_error *err)
{
    char *rows = (char *)call->workspace;
    if (at.length == 1)
        return SQ_OK;
    return sq_cufft_execute(p->transform, rows, direction, p->work ? p->work : rows + at.rows_bytes,
                            call, err);
}

dim3 grid_of(int64_t blocks, int64_t rows)
{
    return dim3((unsigned)blocks, (unsigned)min(rows, (int64_t)65535));
}

sq_status launch_forward(const sq_call *call, const plans *p, sq_error *err)
{
    const layout at = layout_of(call);
    const size_t shared = at.modes * sizeof(shared_mode);
    float *rows = (float *)call->workspace;
    SQ_TRY(sq_allow_shared(spectrum, shared, err));
    spectrum<<<grid_of(sq_ceil_div(at.length / 2 + 1, THREADS), at.n_rows), THREADS, shared,
               sq_stream(call)>>>(modes_of(call), at.channels, at.length, at.n_rows,
                                  (float2 *)rows);
    SQ_TRY(sq_launched("s4_kernel spectrum", err));
    SQ_TRY(transform_rows(call, at, p, CUFFT_INVERSE, err));
    copy_rows<false>
        <<<grid_of(sq_ceil_div(at.length, THREADS), at.n_rows), THREADS, 0, sq_stream(call)>>>(
            taps_of(&call->out[0]), rows, at.row_floats, at.channels, at.length, at.n_rows);
    return sq_launched("s4_kernel copy", err);
}

parameter_gradients gradients_of(const sq_call *call)
{
    const sq_tensor *out = call->out;
    return {
        (float *)out[IN_LOG_DT].data, (float *)out[IN_A_REAL].data, (float *)out[IN_A_IMAG].data,
        (float *)out[IN_GAIN].data,   (float *)out[IN_P].data,      out[IN_LOG_DT].stride[0],
        out[IN_A_REAL].stride[0],     out[IN_A_IMAG].stride[0],     out[IN_GAIN].stride[0],
        out[IN_GAIN].stride[1],       out[IN_P].stride[0],          out[IN_P].stride[1],
        out[IN_P].stride[2]};
}

sq_status launch_backward(const sq_call *call, const plans *plan, sq_error *err)
{
    const layout at = layout_of(call);
    const sq_tensor *dc = &call->out[IN_C];
    const size_t shared = backward_shared(at.modes);
    float *rows = (float *)call->workspace;
    backward_args p = {};
    p.m = modes_of(call);
    p.rows = (const float2 *)rows;
    p.partial = (sq_s4_mode_gradient *)((char *)rows + at.rows_bytes + at.work_bytes);
    p.channel = (sq_s4_mode_gradient *)((char *)p.partial + at.partial_bytes);
    p.channels = at.channels;
    p.length = at.length;
    p.n_rows = at.n_rows;
    p.tiles = at.tiles;
    p.segments = at.segments;
    SQ_TRY(sq_allow_shared(mode_gradients, shared, err));
    copy_rows<true>
        <<<grid_of(sq_ceil_div(at.row_floats, THREADS), at.n_rows), THREADS, 0, sq_stream(call)>>>(
            taps_of(&call->in[IN_COUNT]), rows, at.row_floats, at.channels, at.length, at.n_rows);
    SQ_TRY(sq_launched("s4_kernel copy", err));
    SQ_TRY(transform_rows(call, at, plan, CUFFT_FORWARD, err));
    mode_gradients<<<grid_of(at.segments, at.n_rows), THREADS, shared, sq_stream(call)>>>(p);
    SQ_TRY(sq_launched("s4_kernel gradients of modes", err));
    sum_segments<<<(unsigned)sq_ceil_div(at.channels * at.modes, THREADS), THREADS, 0,
                   sq_stream(call)>>>(p, (float *)dc->data, dc->stride[0], dc->stride[1],
                                      dc->stride[2]);
    SQ_TRY(sq_launched("s4_kernel sums of segments", err));
    sum_channels<<<(unsigned)sq_ceil_div(p.m.copies * at.modes, THREADS), THREADS, 0,
                   sq_stream(call)>>>(p, gradients_of(call));
    SQ_TRY(sq_launched("s4_kernel sums of channels", err));
    sum_modes<<<(unsigned)sq_ceil_div(at.channels, THREADS), THREADS, 0, sq_stream(call)>>>(
        p, gradients_of(call));
    return sq_launched("s4_kernel sums of modes", err);
}

sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    const plans *p = (const plans *)plan;
    return call->pass == SQ_PASS_FWD ? launch_forward(call, p, err) : launch_backward(call, p, err);
}

/* --- naive --- */

size_t workspace_naive(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD ? naive_backward_workspace(call) : naive_workspace(call);
}

sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    return call->pass == SQ_PASS_BWD ? naive_backward(call, err) : naive_launch(call, plan, err);
}

} // namespace

extern "C" const sq_provider sq_cuda_s4_kernel[] = {
    {"cuda/naive", "a thread for each point of the spectrum, then for each tap; bwd: for each mode",
     naive_supports, workspace_naive, NULL, launch_naive, NULL, SQ_HAS_BWD, NULL},
    {"cuda/portable", "resolvents in f64, one point a thread; cuFFT", supports, workspace, prepare,
     launch, release, SQ_HAS_BWD, NULL},
    {NULL},
};
