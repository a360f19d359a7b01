/* attention on CUDA: see attention.c for the operator.
 *
 *   cuda/naive     a warp for each output row, keys one after the other: the plain online softmax
 *   cuda/portable  sm_80 instructions: attention_mma.cuh (16-bit), attention_simt.cuh (f32)
 */
#include <math.h>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/attention_simt.cuh"
#include "kernels/attention/attention_tile.cuh"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

static attention_params params_of(const sq_call *call)
{
    const sq_tensor *q = &call->in[IN_Q], *k = &call->in[IN_K], *v = &call->in[IN_V];
    const sq_tensor *o = &call->out[0];
    attention_params p = {};
    p.q = q->data, p.k = k->data, p.v = v->data, p.o = o->data;
    p.q_b = q->stride[0], p.q_l = q->stride[1], p.q_h = q->stride[2];
    p.k_b = k->stride[0], p.k_l = k->stride[1], p.k_h = k->stride[2];
    p.v_b = v->stride[0], p.v_l = v->stride[1], p.v_h = v->stride[2];
    p.o_b = o->stride[0], p.o_l = o->stride[1], p.o_h = o->stride[2];
    p.batch = (unsigned)q->dim[0], p.heads = (unsigned)q->dim[2];
    p.queries = (int)q->dim[1], p.keys = (int)k->dim[1], p.d = (int)q->dim[3];
    p.heads_per_kv = (int)(q->dim[2] / k->dim[2]);
    p.is_causal = call->axis[AXIS_CAUSAL] != 0;
    p.window = (int)call->axis[AXIS_WINDOW];
    p.scale_log2 = (float)(1.4426950408889634 / sqrt((double)p.d));
    return p;
}

/* Causal with a window, or everything. */
static sq_status supports_rules(const sq_call *call, sq_error *why)
{
    const bool is_bidirectional = call->axis[AXIS_CAUSAL] == 0 &&
                                  (call->axis[AXIS_WINDOW] != 0 || call->axis[AXIS_AHEAD] != 0);
    if (call->axis[AXIS_POS] != POS_NONE || is_bidirectional)
        return sq_fail(why, SQ_UNSUPPORTED, "pos=none, and causal=1 with a window");
    return SQ_OK;
}

/* --- naive --- */

enum { NAIVE_WARPS = 4, NAIVE_MAX_D = 256 };

/* Lane l holds channels l, l + 32, ... of its warp's row. */
template <typename T>
__global__ void attention_naive(const __grid_constant__ attention_params p)
{
    const int64_t index = (int64_t)blockIdx.x * NAIVE_WARPS + threadIdx.x / 32;
    if (index >= (int64_t)p.batch * p.heads * p.queries)
        return;
    const int lane = (int)threadIdx.x % 32, row = (int)(index % p.queries);
    const int64_t pair = index / p.queries;
    const int h = (int)(pair % p.heads), b = (int)(pair / p.heads);
    const T *q = (const T *)p.q + b * p.q_b + row * p.q_l + h * p.q_h;
    const T *k = (const T *)p.k + b * p.k_b + h / p.heads_per_kv * p.k_h;
    const T *v = (const T *)p.v + b * p.v_b + h / p.heads_per_kv * p.v_h;
    T *o = (T *)p.o + b * p.o_b + row * p.o_l + h * p.o_h;

    float query[NAIVE_MAX_D / 32], out[NAIVE_MAX_D / 32], max = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < NAIVE_MAX_D / 32; i++) {
        query[i] = 32 * i + lane < p.d ? sq_to_f32(q[32 * i + lane]) : 0.0f;
        out[i] = 0.0f;
    }
    const attention_keys seen = attention_visible(p, row);
    for (int64_t j = seen.first; j < seen.last; j++) {
        float score = 0.0f;
#pragma unroll
        for (int i = 0; i < NAIVE_MAX_D / 32; i++)
            if (32 * i + lane < p.d)
                score = fmaf(query[i], sq_to_f32(k[j * p.k_l + 32 * i + lane]), score);
        score = sq_warp_sum(score) * p.scale_log2;
        const float top = fmaxf(max, score);
        const float factor = sq_exp2(max - top), e = sq_exp2(score - top);
        max = top;
        sum = fmaf(sum, factor, e);
#pragma unroll
        for (int i = 0; i < NAIVE_MAX_D / 32; i++)
            if (32 * i + lane < p.d)
                out[i] = fmaf(e, sq_to_f32(v[j * p.v_l + 32 * i + lane]), out[i] * factor);
    }
#pragma unroll
    for (int i = 0; i < NAIVE_MAX_D / 32; i++)
        if (32 * i + lane < p.d)
            o[32 * i + lane] = sq_from_f32<T>(sum > 0.0f ? out[i] / sum : 0.0f);
}

static int64_t naive_blocks(const sq_call *call)
{
    const sq_tensor *q = &call->in[IN_Q];
    return sq_ceil_div(q->dim[0] * q->dim[1] * q->dim[2], NAIVE_WARPS);
}

static sq_status supports_naive(const sq_call *call, const sq_device *, sq_error *why)
{
    if (naive_blocks(call) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*H over 2^33 rows");
    SQ_TRY(supports_rules(call, why));
    return sq_supports_types(call, why);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const attention_params p = params_of(call);
    const unsigned blocks = (unsigned)naive_blocks(call);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        attention_naive<decltype(type)><<<blocks, 32 * NAIVE_WARPS, 0, sq_stream(call)>>>(p);
        return SQ_OK;
    }));
    return sq_launched("attention cuda/naive", err);
}

/* --- portable --- */

using mma_64 = attention_shape<__nv_bfloat16, 64, 2, 4, 64, 3>;
using mma_128 = attention_shape<__nv_bfloat16, 128, 2, 4, 64, 2>;
using mma_256 = attention_shape<__nv_bfloat16, 256, 1, 8, 32, 1>;
using simt_64 = attention_simt_shape<64>;
using simt_128 = attention_simt_shape<128>;

/* The build that a head dim takes: smaller ones are padded with zeros in shared memory. */
static int padded_d(const sq_call *call)
{
    const int64_t d = call->in[IN_Q].dim[3];
    return d <= 64 ? 64 : d <= 128 ? 128 : 256;
}

static size_t portable_shared_bytes(const sq_call *call)
{
    const int d = padded_d(call);
    if (call->dtype == SQ_DTYPE_F32)
        return d == 64 ? simt_64::SHARED_BYTES : simt_128::SHARED_BYTES;
    return d == 64    ? mma_64::SHARED_BYTES
           : d == 128 ? mma_128::SHARED_BYTES
                      : mma_256::SHARED_BYTES;
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_tensor *q = &call->in[IN_Q];
    const int vector = call->dtype == SQ_DTYPE_F32 ? 4 : 8;
    const int max_d = call->dtype == SQ_DTYPE_F32 ? 128 : 256;
    SQ_TRY(sq_supports_f32_bf16(call, why));
    SQ_TRY(supports_rules(call, why));
    if (q->dim[3] % vector != 0 || q->dim[3] > max_d)
        return sq_fail(why, SQ_UNSUPPORTED, "D=%lld: a multiple of %d up to %d",
                       (long long)q->dim[3], vector, max_d);
    if (!sq_is_vector_aligned(q) || !sq_is_vector_aligned(&call->in[IN_K]) ||
        !sq_is_vector_aligned(&call->in[IN_V]) || !sq_is_vector_aligned(&call->out[0]))
        return sq_fail(why, SQ_UNSUPPORTED, "rows are not 16-byte aligned");
    if (q->dim[0] * q->dim[2] * sq_ceil_div(q->dim[1], 64) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*H*L/64 over 2^31 tiles");
    return sq_supports_shared(device, portable_shared_bytes(call), why);
}

/* Tiles of `rows` query rows; heads in groups whose keys and values take at most 32 MiB of L2. */
static unsigned plan_tiles(const sq_call *call, attention_params *p, int rows)
{
    const int64_t pairs = (int64_t)p->batch * p->heads;
    const int64_t kv_bytes = 2ll * p->keys * p->d * (int64_t)sq_dtype_size(call->dtype);
    const int64_t fit = ((int64_t)32 << 20) * p->heads_per_kv / kv_bytes;
    p->q_tiles = (int)sq_ceil_div(p->queries, rows);
    p->heads_at_once = (unsigned)(fit < 1 ? 1 : fit > pairs ? pairs : fit);
    p->blocks_at_once = p->heads_at_once * (unsigned)p->q_tiles;
    return (unsigned)(pairs * p->q_tiles);
}

template <typename S>
static sq_status launch_mma(const sq_call *call, sq_error *err)
{
    attention_params p = params_of(call);
    const unsigned blocks = plan_tiles(call, &p, S::BM);
    SQ_TRY(sq_allow_shared(attention_mma<S>, S::SHARED_BYTES, err));
    attention_mma<S><<<blocks, S::THREADS, S::SHARED_BYTES, sq_stream(call)>>>(p);
    return sq_launched("attention cuda/portable", err);
}

template <typename S>
static sq_status launch_simt(const sq_call *call, sq_error *err)
{
    attention_params p = params_of(call);
    const unsigned blocks = plan_tiles(call, &p, S::BM);
    SQ_TRY(sq_allow_shared(attention_simt<S>, S::SHARED_BYTES, err));
    attention_simt<S><<<blocks, S::THREADS, S::SHARED_BYTES, sq_stream(call)>>>(p);
    return sq_launched("attention cuda/portable", err);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    const int d = padded_d(call);
    if (call->dtype == SQ_DTYPE_F32)
        return d == 64 ? launch_simt<simt_64>(call, err) : launch_simt<simt_128>(call, err);
    return d == 64    ? launch_mma<mma_64>(call, err)
           : d == 128 ? launch_mma<mma_128>(call, err)
                      : launch_mma<mma_256>(call, err);
}

extern "C" const sq_provider sq_cuda_attention[] = {
    {"cuda/naive", "a warp for each output row, keys one by one", supports_naive, NULL, NULL,
     launch_naive, NULL},
    {"cuda/portable", "mma.sync tiles with online softmax (f32: FMA), sm_80 instructions",
     supports_portable, NULL, NULL, launch_portable, NULL},
    {NULL},
};
