/* ssd on CUDA: C, B, x are the queries, keys and values of the shared recurrence kernels. */
#include "kernels/chunk_core/decay_naive.cuh"
#include "kernels/chunk_core/decay_portable.cuh"
#include "kernels/ssd/ssd.h"

static sq_decay_params params(const sq_call *call)
{
    const sq_axis_value *axis = call->axis;
    sq_decay_params p = {};
    p.q = sq_decay_view(&call->in[IN_C]);
    p.k = sq_decay_view(&call->in[IN_B]);
    p.v = sq_decay_view(&call->in[IN_X]);
    p.o = sq_decay_view(&call->out[0]);
    p.dt = sq_decay_view(&call->in[IN_DT]);
    p.a = (const float *)call->in[IN_A].data;
    p.skip = (const float *)call->in[IN_D].data;
    p.bias = (const float *)call->in[IN_BIAS].data;
    p.has_softplus = axis[AXIS_SOFTPLUS] != 0;
    p.length = (int)axis[AXIS_L];
    p.batch = (int)axis[AXIS_B];
    p.heads = (int)axis[AXIS_H];
    p.heads_per_group = p.heads / (int)axis[AXIS_G];
    p.keys = (int)axis[AXIS_N];
    p.values = (int)axis[AXIS_P];
    p.scale = 1.0f;
    p.segments = 1;
    return p;
}

static sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    return sq_decay_naive_supports(call, params(call), sq_axis_int(call->axis, AXIS_CHUNK), why);
}

static sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_decay_naive_launch(call, params(call), err);
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_tensor *rows[] = {&call->in[IN_X], &call->in[IN_B], &call->in[IN_C], &call->out[0]};
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

extern "C" const sq_provider sq_cuda_ssd[] = {
    {"cuda/naive", "one warp per column of the state, step by step", supports_naive, NULL, NULL,
     launch_naive, NULL},
    {"cuda/portable",
     "chunks on tensor cores (bf16), state in registers; segments where states are few",
     supports_portable, workspace_portable, NULL, launch_portable, NULL},
    {NULL},
};
