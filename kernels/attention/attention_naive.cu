/* attention, cuda/naive: pass fwd by a warp for each output row, pass bwd in naive_bwd.cuh. For
 * attention and local_attention.
 */
#include <math.h>

#include "kernels/attention/attention_cuda.cuh"
#include "kernels/attention/naive_bwd.cuh"
#include "kernels/hw/reduce.cuh"

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
    const attention_keys seen = attention_visible(p, h, row);
    const attention_head_bias bias = attention_bias_of(p, h);
    for (int64_t j = seen.first; j < seen.last; j++) {
        float score = 0.0f;
#pragma unroll
        for (int i = 0; i < NAIVE_MAX_D / 32; i++)
            if (32 * i + lane < p.d)
                score = fmaf(query[i], sq_to_f32(k[j * p.k_l + 32 * i + lane]), score);
        score = sq_warp_sum(score) * p.scale_log2;
        score += attention_bias_at(bias, row + p.keys - p.queries, (int)j);
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

sq_status sq_attention_naive_supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_tensor *q = &call->in[SQ_ROWS_Q];
    if (q->dim[0] * q->dim[1] * q->dim[2] > (int64_t)NAIVE_WARPS * INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*H over 2^33 rows");
    return sq_naive_supports(call, device, why);
}

size_t sq_attention_naive_workspace(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD ? 2 * sq_attention_lse_bytes(&call->in[SQ_ROWS_Q]) : 0;
}

sq_status sq_attention_naive_forward(const sq_call *call, const attention_params *p, sq_error *err)
{
    const int64_t rows = (int64_t)p->batch * p->heads * p->queries;
    const unsigned blocks = (unsigned)sq_ceil_div(rows, NAIVE_WARPS);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        attention_naive<decltype(type)><<<blocks, 32 * NAIVE_WARPS, 0, sq_stream(call)>>>(*p);
        return SQ_OK;
    }));
    return sq_launched("attention cuda/naive", err);
}

sq_status sq_attention_naive_backward(const sq_call *call, const attention_params *f,
                                      const sq_attention_rows *rows, void *sums, sq_error *err)
{
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        return attention_naive_backward(call, attention_naive_grads_of<T>(f, rows, sums), err);
    });
}
