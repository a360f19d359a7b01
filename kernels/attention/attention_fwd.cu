/* attention, forward, cuda/portable: which build of which kernel takes a call. */
#include <math.h>

#include "kernels/attention/attention_cuda.cuh"
#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/attention_simt.cuh"
#include "kernels/hw/launch.cuh"

attention_params sq_attention_params(const sq_attention_rules *rules, const sq_attention_rows *rows)
{
    const sq_tensor *q = &rows->taken[SQ_ROWS_Q], *k = &rows->taken[SQ_ROWS_K];
    const sq_tensor *v = &rows->taken[SQ_ROWS_V], *o = &rows->taken[SQ_ROWS_O];
    const double d = (double)rows->own[SQ_ROWS_Q].dim[3];
    attention_params p = {};
    p.q = q->data, p.k = k->data, p.v = v->data, p.o = o->data;
    p.q_b = q->stride[0], p.q_l = q->stride[1], p.q_h = q->stride[2];
    p.k_b = k->stride[0], p.k_l = k->stride[1], p.k_h = k->stride[2];
    p.v_b = v->stride[0], p.v_l = v->stride[1], p.v_h = v->stride[2];
    p.o_b = o->stride[0], p.o_l = o->stride[1], p.o_h = o->stride[2];
    p.batch = (unsigned)q->dim[0], p.heads = (unsigned)q->dim[2];
    p.queries = (int)rules->queries, p.keys = (int)rules->keys, p.d = (int)q->dim[3];
    p.heads_per_kv = (int)(q->dim[2] / k->dim[2]);
    p.is_causal = rules->is_causal, p.has_alibi = rules->has_alibi;
    p.window = (int)rules->window, p.ahead = (int)rules->ahead, p.masked = (int)rules->masked;
    p.scale = (float)(1 / sqrt(d)), p.scale_log2 = (float)(1.4426950408889634 / sqrt(d));
    return p;
}

template <typename T, bool HAS_BIAS>
using mma_64 = attention_shape<T, 64, 2, 4, 64, 3, HAS_BIAS>;
template <typename T, bool HAS_BIAS>
using mma_128 = attention_shape<T, 128, 2, 4, 64, 2, HAS_BIAS>;
template <typename T, bool HAS_BIAS>
using mma_256 = attention_shape<T, 256, 1, 8, 32, 1, HAS_BIAS>;
using simt_64 = attention_simt_shape<64>;
using simt_128 = attention_simt_shape<128>;

static size_t shared_bytes(sq_dtype dtype, int64_t head_dim)
{
    using T = __nv_bfloat16;
    const int d = sq_attention_padded_d(head_dim);
    if (dtype == SQ_DTYPE_F32)
        return d == 64 ? simt_64::SHARED_BYTES : simt_128::SHARED_BYTES;
    return d == 64    ? mma_64<T, false>::SHARED_BYTES
           : d == 128 ? mma_128<T, false>::SHARED_BYTES
                      : mma_256<T, false>::SHARED_BYTES;
}

sq_status sq_attention_portable_supports(const sq_tensor *q, const sq_device *device, sq_error *why)
{
    const int max_d = q->dtype == SQ_DTYPE_F32 ? 128 : 256;
    if (q->dim[3] > max_d)
        return sq_fail(why, SQ_UNSUPPORTED, "D=%lld: up to %d", (long long)q->dim[3], max_d);
    if (q->dim[0] * q->dim[2] * sq_ceil_div(q->dim[1], 64) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*H*L/64 over 2^31 tiles");
    return sq_supports_shared(device, shared_bytes(q->dtype, q->dim[3]), why);
}

/* Tiles of `rows` query rows; heads in groups whose keys and values take at most 32 MiB of L2. */
static unsigned plan_tiles(attention_params *p, int rows, int64_t element)
{
    const int64_t pairs = (int64_t)p->batch * p->heads;
    const int64_t kv_bytes = 2ll * p->keys * p->d * element;
    const int64_t fit = ((int64_t)32 << 20) * p->heads_per_kv / kv_bytes;
    p->q_tiles = (int)sq_ceil_div(p->queries, rows);
    p->heads_at_once = (unsigned)(fit < 1 ? 1 : fit > pairs ? pairs : fit);
    p->blocks_at_once = p->heads_at_once * (unsigned)p->q_tiles;
    return (unsigned)(pairs * p->q_tiles);
}

template <typename S>
static sq_status launch_mma(attention_params p, cudaStream_t stream, sq_error *err)
{
    const unsigned blocks = plan_tiles(&p, S::BM, 2);
    SQ_TRY(sq_allow_shared(attention_mma<S>, S::SHARED_BYTES, err));
    attention_mma<S><<<blocks, S::THREADS, S::SHARED_BYTES, stream>>>(p);
    return sq_launched("attention cuda/portable", err);
}

template <typename S>
static sq_status launch_simt(attention_params p, cudaStream_t stream, sq_error *err)
{
    const unsigned blocks = plan_tiles(&p, S::BM, 4);
    SQ_TRY(sq_allow_shared(attention_simt<S>, S::SHARED_BYTES, err));
    attention_simt<S><<<blocks, S::THREADS, S::SHARED_BYTES, stream>>>(p);
    return sq_launched("attention cuda/portable", err);
}

template <typename T, bool HAS_BIAS>
static sq_status launch_padded(const attention_params &p, cudaStream_t stream, sq_error *err)
{
    const int d = sq_attention_padded_d(p.d);
    return d == 64    ? launch_mma<mma_64<T, HAS_BIAS>>(p, stream, err)
           : d == 128 ? launch_mma<mma_128<T, HAS_BIAS>>(p, stream, err)
                      : launch_mma<mma_256<T, HAS_BIAS>>(p, stream, err);
}

template <typename T>
static sq_status launch_16_bit(const attention_params &p, cudaStream_t stream, sq_error *err)
{
    return p.has_alibi || p.bias ? launch_padded<T, true>(p, stream, err)
                                 : launch_padded<T, false>(p, stream, err);
}

sq_status sq_attention_portable_forward(const attention_params *p, sq_dtype dtype,
                                        cudaStream_t stream, sq_error *err)
{
    if (dtype == SQ_DTYPE_F32)
        return sq_attention_padded_d(p->d) == 64 ? launch_simt<simt_64>(*p, stream, err)
                                                 : launch_simt<simt_128>(*p, stream, err);
    return dtype == SQ_DTYPE_BF16 ? launch_16_bit<__nv_bfloat16>(*p, stream, err)
                                  : launch_16_bit<__half>(*p, stream, err);
}
