/* linear on CUDA: see linear.c for the operator; cublas.cu holds the vendor's library.
 *
 *   cuda/naive     a thread for each output; bwd: for each element of a gradient (naive_bwd.cuh)
 *   cuda/portable  16-bit types: mma.sync tiles (linear_mma.cuh); f32, odd sizes and odd strides:
 *                  FMA tiles, 128 x 128 x 16, 8 x 8 outputs a thread
 */
#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_mma.cuh"
#include "kernels/linear/linear_params.cuh"
#include "kernels/linear/naive_bwd.cuh"
#include "kernels/linear/providers.h"

static linear_params params_of(const sq_call *call)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W], *b = &call->in[IN_BIAS];
    const sq_tensor *r = &call->in[IN_R], *y = &call->out[0];
    linear_params p = {};
    p.x = x->data, p.w = w->data, p.bias = b->data, p.r = r->data, p.y = y->data;
    p.x_b = x->stride[0], p.x_m = x->stride[1], p.w_n = w->stride[0];
    p.r_b = r->stride[0], p.r_m = r->stride[1], p.y_b = y->stride[0], p.y_m = y->stride[1];
    p.m = x->dim[0] * x->dim[1], p.length = x->dim[1];
    p.n = (int)w->dim[0], p.k = (int)x->dim[2];
    p.act = (int)call->axis[AXIS_ACT];
    p.pre = p.act ? call->saved : NULL;
    return p;
}

/* What pass bwd must know of an activation: what it was of. */
static size_t saved(const sq_call *forward)
{
    const sq_tensor *y = &forward->out[0];
    return forward->axis[AXIS_ACT] != LINEAR_ACT_NONE ? sq_tensor_bytes(y) : 0;
}

/* y(m, n) from the product, wherever the rows lie. */
template <typename T, bool HAS_ACT>
__device__ __forceinline__ void store_output(const linear_params &p, int64_t m, int n, float sum)
{
    if (p.bias)
        sum += sq_to_f32(((const T *)p.bias)[n]);
    if constexpr (HAS_ACT) {
        if (p.pre)
            ((T *)p.pre)[m * p.n + n] = sq_from_f32<T>(sum);
        sum = linear_act(p.act, sum);
    }
    if (p.r)
        sum += sq_to_f32(((const T *)p.r)[linear_row(p, m, p.r_b, p.r_m) + n]);
    ((T *)p.y)[linear_row(p, m, p.y_b, p.y_m) + n] = sq_from_f32<T>(sum);
}

/* --- naive --- */

enum { NAIVE_THREADS = 128 };

template <typename T>
__global__ void linear_naive(const __grid_constant__ linear_params p)
{
    const int64_t index = (int64_t)blockIdx.x * NAIVE_THREADS + threadIdx.x;
    if (index >= p.m * p.n)
        return;
    const int64_t m = index / p.n;
    const int n = (int)(index % p.n);
    const T *x = (const T *)p.x + linear_row(p, m, p.x_b, p.x_m);
    const T *w = (const T *)p.w + n * p.w_n;
    float sum = 0.0f;
    for (int k = 0; k < p.k; k++)
        sum = fmaf(sq_to_f32(x[k]), sq_to_f32(w[k]), sum);
    store_output<T, true>(p, m, n, sum);
}

static int64_t naive_blocks(const linear_params &p)
{
    return sq_ceil_div(p.m * p.n, NAIVE_THREADS);
}

static sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (naive_blocks(params_of(call)) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*N over 2^38 outputs");
    return sq_naive_supports(call, device, why);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    if (call->pass == SQ_PASS_BWD)
        return sq_with_type(call->dtype, err, [&](auto type) {
            return linear_naive_backward<decltype(type)>(call, err);
        });
    const linear_params p = params_of(call);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        linear_naive<decltype(type)>
            <<<(unsigned)naive_blocks(p), NAIVE_THREADS, 0, sq_stream(call)>>>(p);
        return SQ_OK;
    }));
    return sq_launched("linear cuda/naive", err);
}

/* --- portable, FMA --- */

enum { TILE = 128, DEPTH = 16, PITCH = TILE + 4, FMA_THREADS = 256 };

/* The tile's operands, transposed: [k][row]. */
struct fma_stage {
    float x[DEPTH][PITCH], w[DEPTH][PITCH];
};

/* Eight channels of one row; zeros past `valid`. row NULL: no such row. */
template <typename T>
__device__ __forceinline__ void load8(float (&out)[8], const T *row, int valid, bool is_aligned)
{
    if (row && is_aligned && valid >= 8) {
#pragma unroll
        for (int i = 0; i < 8; i += sq_per_vector<T>) {
            float part[sq_per_vector<T>];
            sq_unpack_vector<T>(sq_load16(row + i), part);
#pragma unroll
            for (int j = 0; j < sq_per_vector<T>; j++)
                out[i + j] = part[j];
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        out[i] = row && i < valid ? sq_to_f32(row[i]) : 0.0f;
}

__device__ __forceinline__ void multiply_stage(float (&acc)[8][8], const fma_stage &s, int tx,
                                               int ty)
{
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        float a[8], b[8];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            *(float4 *)&a[4 * half] = *(const float4 *)&s.x[k][64 * half + 4 * ty];
            *(float4 *)&b[4 * half] = *(const float4 *)&s.w[k][64 * half + 4 * tx];
        }
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < 8; j++)
                acc[i][j] = fmaf(a[i], b[j], acc[i][j]);
    }
}

/* Thread (tx, ty) holds rows 4 ty + {0..3} + {0, 64} and columns 4 tx + {0..3} + {0, 64}. While one
 * stage is multiplied the next one is on its way into registers. */
template <typename T, bool HAS_ACT>
__global__ void __launch_bounds__(FMA_THREADS)
    linear_fma(const __grid_constant__ linear_params p, bool is_aligned)
{
    __shared__ __align__(16) fma_stage stages[2];
    const unsigned row_tiles = (unsigned)((p.m + TILE - 1) / TILE);
    const int64_t row = (int64_t)(blockIdx.x % row_tiles) * TILE;
    const int col = (int)(blockIdx.x / row_tiles) * TILE;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    const int line = (int)threadIdx.x / 2, at = (int)threadIdx.x % 2 * 8;
    const T *x = row + line < p.m ? (const T *)p.x + linear_row(p, row + line, p.x_b, p.x_m) : NULL;
    const T *w = col + line < p.n ? (const T *)p.w + (col + line) * p.w_n : NULL;

    float acc[8][8] = {}, next_x[8], next_w[8];
    load8(next_x, x ? x + at : x, p.k - at, is_aligned);
    load8(next_w, w ? w + at : w, p.k - at, is_aligned);
    for (int k = 0, stage = 0; k < p.k; k += DEPTH, stage ^= 1) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            stages[stage].x[at + i][line] = next_x[i];
            stages[stage].w[at + i][line] = next_w[i];
        }
        __syncthreads(); /* two stages: nobody still reads the one written next */
        const int next = k + DEPTH + at;
        load8(next_x, x && next < p.k ? x + next : NULL, p.k - next, is_aligned);
        load8(next_w, w && next < p.k ? w + next : NULL, p.k - next, is_aligned);
        multiply_stage(acc, stages[stage], tx, ty);
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int64_t m = row + 64 * (i / 4) + 4 * ty + i % 4;
            const int n = col + 64 * (j / 4) + 4 * tx + j % 4;
            if (m < p.m && n < p.n)
                store_output<T, HAS_ACT>(p, m, n, acc[i][j]);
        }
}

/* --- portable --- */

static int64_t portable_blocks(const linear_params &p)
{
    return sq_ceil_div(p.m, TILE) * sq_ceil_div(p.n, TILE);
}

/* Spacing of all rows; 0 where they are not evenly spaced. */
static int64_t even_stride(const linear_params &p, int64_t stride_b, int64_t stride_m)
{
    if (p.length == 1)
        return p.m == 1 ? 8 : stride_b; /* one row: any spacing will do */
    return p.m == p.length || stride_b == p.length * stride_m ? stride_m : 0;
}

static bool is_vector(const void *data, int64_t stride, int64_t bytes)
{
    return stride > 0 && stride * bytes % 16 == 0 && (uintptr_t)data % 16 == 0;
}

/* Are all rows of a tensor 16-byte aligned? */
static bool are_rows_aligned(const linear_params &p, const void *data, int64_t stride_b,
                             int64_t stride_m, int64_t bytes)
{
    return (uintptr_t)data % 16 == 0 && (p.m == p.length || stride_b * bytes % 16 == 0) &&
           (p.length == 1 || stride_m * bytes % 16 == 0);
}

/* linear_mma's parameters; false where it cannot take the product. */
static bool make_even(linear_params *p)
{
    p->x_m = even_stride(*p, p->x_b, p->x_m);
    p->y_m = even_stride(*p, p->y_b, p->y_m);
    p->r_m = p->r ? even_stride(*p, p->r_b, p->r_m) : 0;
    return p->k % 8 == 0 && p->n % 8 == 0 && is_vector(p->x, p->x_m, 2) &&
           is_vector(p->w, p->w_n, 2) && is_vector(p->y, p->y_m, 2) &&
           (!p->r || is_vector(p->r, p->r_m, 2)) && (uintptr_t)p->bias % 4 == 0;
}

template <typename T, bool HAS_ACT>
static sq_status launch_mma(const linear_params &p, cudaStream_t stream, sq_error *err)
{
    using S = linear_mma_shape;
    SQ_TRY(sq_allow_shared(linear_mma<T, HAS_ACT>, S::SHARED_BYTES, err));
    linear_mma<T, HAS_ACT>
        <<<(unsigned)portable_blocks(p), S::THREADS, S::SHARED_BYTES, stream>>>(p);
    return SQ_OK;
}

template <typename T>
static sq_status launch_product(const linear_params &p, cudaStream_t stream, sq_error *err)
{
    linear_params even = p;
    if (sizeof(T) == 2 && make_even(&even)) {
        if constexpr (sizeof(T) == 2)
            return p.act ? launch_mma<T, true>(even, stream, err)
                         : launch_mma<T, false>(even, stream, err);
    }
    const bool is_aligned =
        are_rows_aligned(p, p.x, p.x_b, p.x_m, sizeof(T)) && is_vector(p.w, p.w_n, sizeof(T));
    const unsigned blocks = (unsigned)portable_blocks(p);
    if (p.act)
        linear_fma<T, true><<<blocks, FMA_THREADS, 0, stream>>>(p, is_aligned);
    else
        linear_fma<T, false><<<blocks, FMA_THREADS, 0, stream>>>(p, is_aligned);
    return SQ_OK;
}

sq_status sq_linear_product(const linear_params *p, sq_dtype dtype, cudaStream_t stream,
                            sq_error *err)
{
    SQ_TRY(sq_with_type(
        dtype, err, [&](auto type) { return launch_product<decltype(type)>(*p, stream, err); }));
    return sq_launched("linear cuda/portable", err);
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (portable_blocks(params_of(call)) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "over 2^31 tiles of an output");
    if (call->pass == SQ_PASS_BWD)
        SQ_TRY(sq_linear_backward_supports(call, why));
    SQ_TRY(sq_supports_shared(device, linear_mma_shape::SHARED_BYTES, why));
    return sq_supports_types(call, why);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    if (call->pass == SQ_PASS_BWD)
        return sq_linear_cuda_backward(call, err);
    const linear_params p = params_of(call);
    return sq_linear_product(&p, call->dtype, sq_stream(call), err);
}

extern "C" const sq_provider sq_cuda_linear[] = {
    {"cuda/naive", "a thread for each output", supports_naive, NULL, NULL, launch_naive, NULL,
     SQ_HAS_BWD | SQ_HAS_STEP, saved},
    {"cuda/portable", "128 x 128 tiles: mma.sync for 16-bit types, FMA otherwise",
     supports_portable, sq_linear_backward_workspace, NULL, launch_portable, NULL,
     SQ_HAS_BWD | SQ_HAS_STEP, saved},
    {"cublas", "cublasLt, fastest of its heuristic's algorithms as timed here; no TF32",
     sq_linear_cublas_supports, sq_linear_cublas_workspace, sq_linear_cublas_prepare,
     sq_linear_cublas_launch, sq_linear_cublas_release, SQ_HAS_BWD | SQ_HAS_STEP, NULL},
    {NULL},
};
