/* attention on CUDA: see attention.c for the operator.
 *
 *   cuda/naive     a warp for each output row, keys one after the other: the plain online softmax;
 *                  bwd: a thread for each element (naive_bwd.cuh)
 *   cuda/portable  sm_80 instructions: attention_mma.cuh (16-bit), attention_simt.cuh (f32)
 *
 * What turns and what is not of rows of 16-byte vectors goes to the workspace first, once for all
 * that read it (attention_rows.cuh); pass step reads a cache as it is.
 */
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/launch.cuh"

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

static bool is_backward(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD;
}

/* The rows' copies; then of pass bwd two numbers for each query and head. */
static size_t workspace_naive(const sq_call *call)
{
    const sq_attention_rows rows = rows_of(call, false);
    return sq_attention_rows_bytes(&rows) + sq_attention_naive_workspace(call);
}

static sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_attention_rows rows = rows_of(call, false);
    SQ_TRY(sq_attention_rows_fit(&rows, why));
    return sq_attention_naive_supports(call, device, why);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    sq_attention_rows rows = rows_of(call, false);
    SQ_TRY(sq_attention_rows_load(&rows, call, 0, err));
    const attention_params p = params_of(call, &rows);
    if (!is_backward(call))
        return sq_attention_naive_forward(call, &p, err);
    void *const sums = (char *)call->workspace + sq_attention_rows_bytes(&rows);
    SQ_TRY(sq_attention_naive_backward(call, &p, &rows, sums, err));
    return sq_attention_rows_store(&rows, sq_stream(call), err);
}

/* --- portable --- */

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
     .launch = launch_naive,
     .passes = SQ_HAS_BWD},
    {.name = "cuda/portable",
     .note = "mma.sync tiles with online softmax (f32: FMA), sm_80 instructions",
     .supports = supports_portable,
     .workspace = workspace_portable,
     .launch = launch_portable,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP,
     .saved = saved_bytes},
    {.name = NULL},
};
