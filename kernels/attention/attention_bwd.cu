/* attention, backward, cuda/portable: rowsum(dO o), then dK and dV by tiles of keys and dQ by tiles
 * of queries. */
#include <math.h>

#include "kernels/attention/attention_bwd_mma.cuh"
#include "kernels/attention/attention_bwd_simt.cuh"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

/* --- delta --- */

enum { DELTA_THREADS = 256 };

struct delta_params {
    const void *o, *d_o, *rest;
    float *delta;
    int64_t o_b, o_l, o_h, do_b, do_l, do_h, rows;
    int queries, heads, vectors; /* of a row */
};

/* A warp for each row, in the order of delta: (B, H, L). */
template <typename T>
__global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta(const __grid_constant__ delta_params p)
{
    constexpr int width = sq_per_vector<T>;
    const int64_t row = ((int64_t)blockIdx.x * DELTA_THREADS + threadIdx.x) / 32;
    const int lane = (int)threadIdx.x % 32;
    if (row >= p.rows)
        return;
    const int64_t l = row % p.queries, h = row / p.queries % p.heads, b = row / p.queries / p.heads;
    const T *o = (const T *)p.o + b * p.o_b + l * p.o_l + h * p.o_h;
    const T *d_o = (const T *)p.d_o + b * p.do_b + l * p.do_l + h * p.do_h;
    float sum = 0.0f;
    for (int i = lane; i < p.vectors; i += 32) {
        float x[width], y[width];
        sq_unpack_vector<T>(sq_load16_stream(o + i * width), x);
        sq_unpack_vector<T>(sq_load16_stream(d_o + i * width), y);
        if constexpr (sizeof(T) == 2) {
            const T *rest = (const T *)p.rest + row * p.vectors * width;
            float z[width];
            sq_unpack_vector<T>(sq_load16_stream(rest + i * width), z);
#pragma unroll
            for (int k = 0; k < width; k++)
                x[k] = fmaf(z[k], 1.0f / attention_rest_factor, x[k]);
        }
#pragma unroll
        for (int k = 0; k < width; k++)
            sum = fmaf(x[k], y[k], sum);
    }
    sum = sq_warp_sum(sum);
    if (lane == 0)
        p.delta[row] = sum;
}

template <typename T>
static sq_status launch_delta(const sq_attention_rows *rows, const void *rest, float *delta,
                              cudaStream_t stream, sq_error *err)
{
    const sq_tensor *o = &rows->taken[SQ_ROWS_O], *d_o = &rows->taken[SQ_ROWS_DO];
    delta_params p = {};
    p.o = o->data, p.o_b = o->stride[0], p.o_l = o->stride[1], p.o_h = o->stride[2];
    p.d_o = d_o->data, p.do_b = d_o->stride[0], p.do_l = d_o->stride[1], p.do_h = d_o->stride[2];
    p.rest = rest, p.delta = delta, p.queries = (int)o->dim[1], p.heads = (int)o->dim[2];
    p.rows = o->dim[0] * o->dim[1] * o->dim[2];
    p.vectors = (int)o->dim[3] / sq_per_vector<T>;
    const int64_t blocks = sq_ceil_div(p.rows, DELTA_THREADS / 32);
    attention_delta<T><<<(unsigned)blocks, DELTA_THREADS, 0, stream>>>(p);
    return sq_launched("attention delta", err);
}

/* --- gradients --- */

template <typename T, int D, bool IS_DQ>
using bwd_shape = attention_bwd_shape<T, D, 64, D == 64 ? 3 : 2, IS_DQ, true, !IS_DQ>;
template <typename T, bool IS_DQ, bool HAS_DS>
using bwd_256 = attention_bwd_shape<T, 256, 32, 1, IS_DQ, HAS_DS, !HAS_DS>;
template <typename T, int D>
using bwd_bias = attention_bwd_shape<T, D, D == 256 ? 32 : 64, 1, true, true, false, true>;
template <int D>
using simt_bias = attention_bwd_simt_shape<D, true, true>;

static size_t plain_bytes(sq_dtype dtype, int d)
{
    using T = __nv_bfloat16;
    if (dtype == SQ_DTYPE_F32)
        return d == 64 ? attention_bwd_simt_shape<64, false>::SHARED_BYTES
                       : attention_bwd_simt_shape<128, false>::SHARED_BYTES;
    return d == 64    ? bwd_shape<T, 64, false>::SHARED_BYTES
           : d == 128 ? bwd_shape<T, 128, false>::SHARED_BYTES
                      : bwd_256<T, false, true>::SHARED_BYTES;
}

template <typename S>
static size_t bias_bytes(int biases)
{
    return S::SHARED_BYTES + S::BIAS_PARTS * (size_t)biases * sizeof(float);
}

size_t sq_attention_bwd_shared_bytes(sq_dtype dtype, int64_t head_dim, int biases)
{
    using T = __nv_bfloat16;
    const int d = sq_attention_padded_d(head_dim);
    const size_t plain = plain_bytes(dtype, d);
    size_t with_bias = 0;
    if (biases > 0 && dtype == SQ_DTYPE_F32)
        with_bias =
            d == 64 ? bias_bytes<simt_bias<64>>(biases) : bias_bytes<simt_bias<128>>(biases);
    else if (biases > 0)
        with_bias = d == 64    ? bias_bytes<bwd_bias<T, 64>>(biases)
                    : d == 128 ? bias_bytes<bwd_bias<T, 128>>(biases)
                               : bias_bytes<bwd_bias<T, 256>>(biases);
    return with_bias > plain ? with_bias : plain;
}

static attention_bwd_params params_of(const attention_params *f, const sq_attention_rows *rows,
                                      const float *delta, float *bias_parts)
{
    const sq_tensor *d_o = &rows->taken[SQ_ROWS_DO], *dq = &rows->taken[SQ_ROWS_DQ];
    const sq_tensor *dk = &rows->taken[SQ_ROWS_DK], *dv = &rows->taken[SQ_ROWS_DV];
    attention_bwd_params p = {};
    p.f = *f;
    p.d_o = d_o->data, p.dq = dq->data, p.dk = dk->data, p.dv = dv->data;
    p.do_b = d_o->stride[0], p.do_l = d_o->stride[1], p.do_h = d_o->stride[2];
    p.dq_b = dq->stride[0], p.dq_l = dq->stride[1], p.dq_h = dq->stride[2];
    p.dk_b = dk->stride[0], p.dk_l = dk->stride[1], p.dk_h = dk->stride[2];
    p.dv_b = dv->stride[0], p.dv_l = dv->stride[1], p.dv_h = dv->stride[2];
    p.delta = delta, p.bias_parts = bias_parts;
    p.scale = attention_bwd_scale(*f);
    return p;
}

/* Tiles of 64 rows; heads in groups whose other side takes at most 32 MiB of L2. */
template <bool IS_DQ>
static unsigned plan_tiles(attention_bwd_params *p, int rows, int64_t element)
{
    const attention_params *f = &p->f;
    p->heads = IS_DQ ? f->heads : f->heads / (unsigned)f->heads_per_kv;
    const int64_t columns = IS_DQ ? f->keys : (int64_t)f->queries * f->heads_per_kv;
    const int64_t share = IS_DQ ? f->heads_per_kv : 1, pairs = (int64_t)f->batch * p->heads;
    const int64_t fit = ((int64_t)32 << 20) * share / (2 * columns * f->d * element);
    p->tiles = (int)sq_ceil_div(IS_DQ ? f->queries : f->keys, rows);
    p->heads_at_once = (unsigned)(fit < 1 ? 1 : fit > pairs ? pairs : fit);
    p->blocks_at_once = p->heads_at_once * (unsigned)p->tiles;
    return (unsigned)(pairs * p->tiles);
}

template <typename S>
static sq_status launch_mma(attention_bwd_params p, cudaStream_t stream, sq_error *err)
{
    const unsigned blocks = plan_tiles<S::IS_DQ>(&p, S::BM, 2);
    const size_t bytes = bias_bytes<S>(p.f.biases);
    SQ_TRY(sq_allow_shared(attention_bwd_mma<S>, bytes, err));
    attention_bwd_mma<S><<<blocks, S::THREADS, bytes, stream>>>(p);
    return sq_launched("attention backward cuda/portable", err);
}

template <typename S>
static sq_status launch_simt(attention_bwd_params p, cudaStream_t stream, sq_error *err)
{
    const unsigned blocks = plan_tiles<S::IS_DQ>(&p, S::BM, 4);
    const size_t bytes = bias_bytes<S>(p.f.biases);
    SQ_TRY(sq_allow_shared(attention_bwd_simt<S>, bytes, err));
    attention_bwd_simt<S><<<blocks, S::THREADS, bytes, stream>>>(p);
    return sq_launched("attention backward cuda/portable", err);
}

template <int D>
static sq_status launch_f32(const attention_bwd_params &p, cudaStream_t stream, sq_error *err)
{
    SQ_TRY((launch_simt<attention_bwd_simt_shape<D, false>>(p, stream, err)));
    if (p.bias_parts)
        return launch_simt<simt_bias<D>>(p, stream, err);
    return launch_simt<attention_bwd_simt_shape<D, true>>(p, stream, err);
}

template <typename T, int D>
static sq_status launch_16_bit_d(const attention_bwd_params &p, cudaStream_t stream, sq_error *err)
{
    SQ_TRY((launch_mma<bwd_shape<T, D, false>>(p, stream, err)));
    if (p.bias_parts)
        return launch_mma<bwd_bias<T, D>>(p, stream, err);
    return launch_mma<bwd_shape<T, D, true>>(p, stream, err);
}

template <typename T>
static sq_status launch_16_bit(const attention_bwd_params &p, cudaStream_t stream, sq_error *err)
{
    const int d = sq_attention_padded_d(p.f.d);
    if (d < 256)
        return d == 64 ? launch_16_bit_d<T, 64>(p, stream, err)
                       : launch_16_bit_d<T, 128>(p, stream, err);
    SQ_TRY((launch_mma<bwd_256<T, false, false>>(p, stream, err)));
    SQ_TRY((launch_mma<bwd_256<T, false, true>>(p, stream, err)));
    if (p.bias_parts)
        return launch_mma<bwd_bias<T, 256>>(p, stream, err);
    return launch_mma<bwd_256<T, true, true>>(p, stream, err);
}

sq_status sq_attention_portable_backward(const attention_params *f, const sq_attention_rows *rows,
                                         float *delta, float *bias_parts, cudaStream_t stream,
                                         sq_error *err)
{
    const attention_bwd_params p = params_of(f, rows, delta, bias_parts);
    const sq_dtype dtype = rows->own[SQ_ROWS_Q].dtype;
    SQ_TRY(sq_with_type(dtype, err, [&](auto type) {
        return launch_delta<decltype(type)>(rows, f->rest, delta, stream, err);
    }));
    if (dtype == SQ_DTYPE_F32)
        return sq_attention_padded_d(f->d) == 64 ? launch_f32<64>(p, stream, err)
                                                 : launch_f32<128>(p, stream, err);
    return dtype == SQ_DTYPE_BF16 ? launch_16_bit<__nv_bfloat16>(p, stream, err)
                                  : launch_16_bit<__half>(p, stream, err);
}
