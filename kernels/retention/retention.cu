/* retention on CUDA: the shared recurrence kernels with one constant decay per head. */
#include "kernels/chunk_core/decay_naive.cuh"
#include "kernels/chunk_core/decay_portable.cuh"
#include "kernels/retention/retention.h"

#include <math.h>

static sq_decay_params params(const sq_call *call)
{
    const sq_axis_value *axis = call->axis;
    sq_decay_params p = {};
    p.q = sq_decay_view(&call->in[IN_Q]);
    p.k = sq_decay_view(&call->in[IN_K]);
    p.v = sq_decay_view(&call->in[IN_V]);
    p.o = sq_decay_view(&call->out[0]);
    p.length = (int)axis[AXIS_L];
    p.batch = (int)axis[AXIS_B];
    p.heads = (int)axis[AXIS_H];
    p.heads_per_group = 1;
    p.keys = (int)axis[AXIS_K];
    p.values = (int)axis[AXIS_V];
    p.scale = (float)(1 / sqrt(axis[AXIS_K]));
    p.first_head = (int)axis[AXIS_FIRST];
    p.segments = 1;
    return p;
}

/* Kernels that go step by step multiply by gamma itself, 1 - 2^-(5 + head): a number of f32 up to
 * head 19 and rounded to 1 beyond, which thousands of steps would show. */
static sq_status supports_steps(const sq_call *call, sq_error *why)
{
    const double last = call->axis[AXIS_FIRST] + call->axis[AXIS_H] - 1;
    if (last > 19)
        return sq_fail(why, SQ_UNSUPPORTED, "head %.0f: step by step, heads up to 19 only", last);
    return SQ_OK;
}

static sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    SQ_TRY(supports_steps(call, why));
    return sq_decay_naive_supports(call, params(call), sq_axis_int(call->axis, AXIS_CHUNK), why);
}

static sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_decay_naive_launch(call, params(call), err);
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (call->dtype == SQ_DTYPE_F32)
        SQ_TRY(supports_steps(call, why));
    const sq_tensor *rows[] = {&call->in[IN_Q], &call->in[IN_K], &call->in[IN_V], &call->out[0]};
    return sq_decay_portable_supports(call, device, params(call),
                                      sq_axis_int(call->axis, AXIS_CHUNK), rows, 4, why);
}

static size_t workspace_portable(const sq_call *call)
{
    return sq_decay_portable_workspace(call, params(call));
}

static sq_status launch_portable(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_decay_portable_launch(call, params(call), err);
}

extern "C" const sq_provider sq_cuda_retention[] = {
    {"cuda/naive", "one warp per column of the state, step by step", supports_naive, NULL, NULL,
     launch_naive, NULL},
    {"cuda/portable",
     "chunks on tensor cores (bf16), state in registers; segments where states are few",
     supports_portable, workspace_portable, NULL, launch_portable, NULL},
    {NULL},
};
