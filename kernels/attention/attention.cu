/* attention on CUDA: see attention.c for the operator.
 *
 *   cuda/naive     a warp for each output row, keys one after the other: the plain online softmax
 *   cuda/portable  sm_80 instructions: attention_mma.cuh (16-bit), attention_simt.cuh (f32)
 *
 * What turns and what is not of rows of 16-byte vectors goes to the workspace first, once for all
 * that read it (attention_rows.cuh); pass step reads a cache as it is.
 */
#include <math.h>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"

/* cuda/naive and pass step read any rows: theirs are turned alone. */
static sq_attention_rows rows_of(const sq_call *call, bool needs_vectors)
{
    const sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    return sq_attention_rows_of(&rules, call, IN_DO, needs_vectors);
}

static attention_params params_of(const sq_call *call, const sq_attention_rows *rows)
{
    const sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    return sq_attention_params(&rules, rows);
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

static int64_t naive_blocks(const sq_call *call)
{
    const sq_tensor *q = &call->in[IN_Q];
    return sq_ceil_div(q->dim[0] * q->dim[1] * q->dim[2], NAIVE_WARPS);
}

static size_t workspace_naive(const sq_call *call)
{
    const sq_attention_rows rows = rows_of(call, false);
    return sq_attention_rows_bytes(&rows);
}

static sq_status supports_naive(const sq_call *call, const sq_device *, sq_error *why)
{
    if (naive_blocks(call) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*H over 2^33 rows");
    const sq_attention_rows rows = rows_of(call, false);
    SQ_TRY(sq_attention_rows_fit(&rows, why));
    return sq_supports_types(call, why);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    sq_attention_rows rows = rows_of(call, false);
    SQ_TRY(sq_attention_rows_load(&rows, call, 0, err));
    const attention_params p = params_of(call, &rows);
    const unsigned blocks = (unsigned)naive_blocks(call);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        attention_naive<decltype(type)><<<blocks, 32 * NAIVE_WARPS, 0, sq_stream(call)>>>(p);
        return SQ_OK;
    }));
    return sq_launched("attention cuda/naive", err);
}

/* --- portable --- */

static bool is_backward(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD;
}

/* One number for each query and head. */
static size_t row_bytes(const sq_call *call)
{
    return sq_attention_lse_bytes(&call->in[IN_Q]);
}

static size_t saved_bytes(const sq_call *forward)
{
    return sq_attention_saved_bytes(&forward->in[IN_Q]);
}

/* Workspace: the rows' copies; then of pass bwd delta, of pass step its splits. */
static size_t workspace_portable(const sq_call *call)
{
    const bool is_step = call->pass == SQ_PASS_STEP;
    const sq_attention_rows rows = rows_of(call, !is_step);
    const attention_params p = params_of(call, &rows);
    const size_t bytes = sq_attention_rows_bytes(&rows);
    if (is_step)
        return bytes + sq_attention_step_workspace(&p, &rows);
    return bytes + (is_backward(call) ? row_bytes(call) : 0);
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    const bool is_step = call->pass == SQ_PASS_STEP;
    const sq_attention_rows rows = rows_of(call, !is_step);
    const sq_tensor *q = &call->in[IN_Q];
    SQ_TRY(sq_supports_types(call, why));
    SQ_TRY(sq_attention_rows_fit(&rows, why));
    if (is_step)
        return sq_attention_step_supports(&rows, why);
    SQ_TRY(sq_attention_portable_supports(q, device, why));
    if (!is_backward(call))
        return SQ_OK;
    return sq_supports_shared(device, sq_attention_bwd_shared_bytes(call->dtype, q->dim[3], 0),
                              why);
}

static sq_status launch_step(const sq_call *call, sq_error *err)
{
    sq_attention_rows rows = rows_of(call, false);
    SQ_TRY(sq_attention_rows_load(&rows, call, 0, err));
    const attention_params p = params_of(call, &rows);
    void *const rest = (char *)call->workspace + sq_attention_rows_bytes(&rows);
    return sq_attention_portable_step(&p, &rows, rest, sq_stream(call), err);
}

static sq_status launch_sequence(const sq_call *call, sq_error *err)
{
    const cudaStream_t stream = sq_stream(call);
    sq_attention_rows rows = rows_of(call, true);
    SQ_TRY(sq_attention_rows_load(&rows, call, 0, err));
    attention_params p = params_of(call, &rows);
    sq_attention_use_saved(&p, &call->in[IN_Q], call->saved);
    float *const delta = (float *)((char *)call->workspace + sq_attention_rows_bytes(&rows));
    if (is_backward(call))
        SQ_TRY(sq_attention_portable_backward(&p, &rows, delta, NULL, stream, err));
    else
        SQ_TRY(sq_attention_portable_forward(&p, call->dtype, stream, err));
    return sq_attention_rows_store(&rows, stream, err);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    return call->pass == SQ_PASS_STEP ? launch_step(call, err) : launch_sequence(call, err);
}

extern "C" const sq_provider sq_cuda_attention[] = {
    {.name = "cuda/naive",
     .note = "a warp for each output row, keys one by one",
     .supports = supports_naive,
     .workspace = workspace_naive,
     .launch = launch_naive},
    {.name = "cuda/portable",
     .note = "mma.sync tiles with online softmax (f32: FMA), sm_80 instructions",
     .supports = supports_portable,
     .workspace = workspace_portable,
     .launch = launch_portable,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP,
     .saved = saved_bytes},
    {.name = NULL},
};
