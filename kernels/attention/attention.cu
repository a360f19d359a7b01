/* attention on CUDA: see attention.c for the operator.
 *
 *   cuda/naive     a warp for each output row, keys one after the other: the plain online softmax
 *   cuda/portable  sm_80 instructions: attention_mma.cuh (16-bit), attention_simt.cuh (f32)
 *
 * Rotary positions: queries and keys are turned into the workspace first, once for all that read
 * them.
 */
#include <math.h>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/rope/rotary_cuda.h"

static attention_params params_of(const sq_call *call, const sq_tensor *o)
{
    const sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    return sq_attention_params(&rules, &call->in[IN_Q], &call->in[IN_K], &call->in[IN_V], o);
}

static size_t padded_bytes(const sq_tensor *t)
{
    return (sq_tensor_bytes(t) + 255) / 256 * 256;
}

static size_t rotated_bytes(const sq_call *call)
{
    const bool is_rotated = sq_attention_rules_of(call->pass, call->axis).rotation.dims > 0;
    return is_rotated ? padded_bytes(&call->in[IN_Q]) + padded_bytes(&call->in[IN_K]) : 0;
}

/* Refuses queries and keys that cannot be turned. */
static sq_status supports_rotation(const sq_call *call, sq_error *why)
{
    if (sq_attention_rules_of(call->pass, call->axis).rotation.dims == 0)
        return SQ_OK;
    SQ_TRY(sq_rotary_fits(&call->in[IN_Q], why));
    return sq_rotary_fits(&call->in[IN_K], why);
}

/* The call on turned queries and keys, which it writes to the workspace. */
static sq_status rotate_inputs(const sq_call *call, sq_call *rotated, sq_error *err)
{
    const sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    *rotated = *call;
    if (rules.rotation.dims == 0)
        return SQ_OK;
    const sq_tensor *q = &call->in[IN_Q], *k = &call->in[IN_K];
    sq_tensor *to_q = &rotated->in[IN_Q], *to_k = &rotated->in[IN_K];
    *to_q = sq_tensor_dense(call->workspace, q->dtype, q->rank, q->dim);
    *to_k = sq_tensor_dense((char *)call->workspace + padded_bytes(q), k->dtype, k->rank, k->dim);
    SQ_TRY(sq_rotary_launch(&rules.rotation, q, to_q, sq_attention_position(&rules, 0), false,
                            call->stream, err));
    return sq_rotary_launch(&rules.rotation, k, to_k, 0, false, call->stream, err);
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

static sq_status supports_naive(const sq_call *call, const sq_device *, sq_error *why)
{
    if (naive_blocks(call) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*H over 2^33 rows");
    SQ_TRY(supports_rotation(call, why));
    return sq_supports_types(call, why);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    sq_call rotated;
    SQ_TRY(rotate_inputs(call, &rotated, err));
    const attention_params p = params_of(&rotated, &rotated.out[0]);
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

/* Pass step turns its query alone. */
static size_t workspace_step(const sq_call *call)
{
    const attention_params p = params_of(call, &call->out[0]);
    return padded_bytes(&call->in[IN_Q]) + sq_attention_step_workspace(&p, call->in[IN_K].dim[1]);
}

static size_t workspace_portable(const sq_call *call)
{
    if (call->pass == SQ_PASS_STEP)
        return workspace_step(call);
    return rotated_bytes(call) + (is_backward(call) ? row_bytes(call) : 0);
}

static sq_status supports_backward(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_tensor *const tensors[] = {&call->in[IN_Q],  &call->in[IN_K],  &call->in[IN_V],
                                        &call->in[IN_DO], &call->in[IN_O],  &call->out[IN_Q],
                                        &call->out[IN_K], &call->out[IN_V], NULL};
    SQ_TRY(sq_attention_portable_supports(tensors, device, why));
    return sq_supports_shared(
        device, sq_attention_bwd_shared_bytes(call->dtype, call->in[IN_Q].dim[3], 0), why);
}

static sq_status supports_step(const sq_call *call, sq_error *why)
{
    const sq_tensor *q = &call->in[IN_Q], *k = &call->in[IN_K];
    if (q->dim[3] % (16 / (int64_t)sq_dtype_size(call->dtype)) != 0 || !sq_is_vector_aligned(q) ||
        !sq_is_vector_aligned(k) || !sq_is_vector_aligned(&call->in[IN_V]))
        return sq_fail(why, SQ_UNSUPPORTED, "rows are not of 16-byte vectors");
    if (q->dim[0] * q->dim[2] * sq_ceil_div(k->dim[1], 128) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*H*L/128 over 2^31 parts");
    return SQ_OK;
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_tensor *const tensors[] = {&call->in[IN_Q], &call->in[IN_K], &call->in[IN_V],
                                        &call->out[0], NULL};
    SQ_TRY(sq_supports_types(call, why));
    if (call->pass == SQ_PASS_STEP)
        return supports_step(call, why);
    SQ_TRY(supports_rotation(call, why));
    return is_backward(call) ? supports_backward(call, device, why)
                             : sq_attention_portable_supports(tensors, device, why);
}

static sq_status launch_forward(const sq_call *call, sq_error *err)
{
    sq_call rotated;
    SQ_TRY(rotate_inputs(call, &rotated, err));
    attention_params p = params_of(&rotated, &rotated.out[0]);
    sq_attention_use_saved(&p, &call->in[IN_Q], call->saved);
    return sq_attention_portable_forward(&p, call->dtype, sq_stream(call), err);
}

/* Turns the gradients of turned queries and keys back, in place. */
static sq_status rotate_gradients(const sq_call *call, sq_error *err)
{
    const sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    const sq_tensor *dq = &call->out[IN_Q], *dk = &call->out[IN_K];
    if (rules.rotation.dims == 0)
        return SQ_OK;
    SQ_TRY(sq_rotary_launch(&rules.rotation, dq, dq, sq_attention_position(&rules, 0), true,
                            call->stream, err));
    return sq_rotary_launch(&rules.rotation, dk, dk, 0, true, call->stream, err);
}

static sq_status launch_backward(const sq_call *call, sq_error *err)
{
    sq_call rotated;
    SQ_TRY(rotate_inputs(call, &rotated, err));
    const sq_attention_bwd_tensors t = {&call->in[IN_O],  &call->in[IN_DO], &call->out[IN_Q],
                                        &call->out[IN_K], &call->out[IN_V], NULL};
    attention_params p = params_of(&rotated, t.o);
    sq_attention_use_saved(&p, &call->in[IN_Q], call->saved);
    float *delta = (float *)((char *)call->workspace + rotated_bytes(call));
    SQ_TRY(sq_attention_portable_backward(&p, &t, delta, sq_stream(call), err));
    return rotate_gradients(call, err);
}

static sq_status launch_step(const sq_call *call, sq_error *err)
{
    const sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    const sq_tensor *q = &call->in[IN_Q];
    sq_call turned = *call;
    if (rules.rotation.dims > 0) {
        turned.in[IN_Q] = sq_tensor_dense(call->workspace, q->dtype, q->rank, q->dim);
        SQ_TRY(sq_rotary_launch(&rules.rotation, q, &turned.in[IN_Q],
                                sq_attention_position(&rules, 0), false, call->stream, err));
    }
    const attention_params p = params_of(&turned, &turned.out[0]);
    return sq_attention_portable_step(&p, call->in[IN_K].dim[1], call->dtype,
                                      (char *)call->workspace + padded_bytes(q), sq_stream(call),
                                      err);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    if (call->pass == SQ_PASS_STEP)
        return launch_step(call, err);
    return is_backward(call) ? launch_backward(call, err) : launch_forward(call, err);
}

extern "C" const sq_provider sq_cuda_attention[] = {
    {.name = "cuda/naive",
     .note = "a warp for each output row, keys one by one",
     .supports = supports_naive,
     .workspace = rotated_bytes,
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
