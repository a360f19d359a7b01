/* retention on CUDA: the shared recurrence kernels with one constant decay per head. */
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/retention/parallel.cuh"
#include "kernels/retention/retention.h"

static sq_decay_params params(const sq_call *call)
{
    const sq_axis_value *axis = call->axis;
    sq_decay_params p = sq_decay_params_of(call, &sq_retention_layout);
    p.kind = SQ_DECAY_GAMMA;
    p.first_head = (int)axis[AXIS_FIRST];
    p.has_norm = axis[AXIS_NORM] != NORM_NONE;
    p.past = (int)sq_retention_past(call);
    return p;
}

static sq_decay_grads grads(const sq_call *call)
{
    return sq_decay_grads_of(call, &sq_retention_layout);
}

/* The normalisers that look at all scores. */
static sq_status supports_norm(const sq_call *call, sq_error *why)
{
    if (call->axis[AXIS_NORM] == NORM_NONE || call->axis[AXIS_NORM] == NORM_DECAY)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "keeps no scores: norm=none or decay only");
}

static sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    SQ_TRY(supports_norm(call, why));
    return sq_decay_naive<params>::supports(call, device, why);
}

static sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    SQ_TRY(supports_norm(call, why));
    return sq_decay_portable<params, grads>::supports(call, device, why);
}

static sq_status supports_chunkwise(const sq_call *call, const sq_device *device, sq_error *why)
{
    SQ_TRY(supports_norm(call, why));
    return sq_decay_tile<params, grads>::supports(call, device, why);
}

static sq_status supports_recurrent(const sq_call *call, const sq_device *device, sq_error *why)
{
    SQ_TRY(supports_norm(call, why));
    return sq_decay_steps<params>::supports(call, device, why);
}

static sq_status supports_parallel(const sq_call *call, const sq_device *device, sq_error *why)
{
    return sq_parallel_supports(call, params(call), device, why);
}

static sq_status launch_parallel(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_parallel_launch(call, params(call), err);
}

using naive = sq_decay_naive<params>;
using recurrent = sq_decay_steps<params>;
using portable = sq_decay_portable<params, grads>;
using chunkwise = sq_decay_tile<params, grads>;

extern "C" const sq_provider sq_cuda_retention[] = {
    {"cuda/naive", "one warp per column of the state, step by step", supports_naive, NULL, NULL,
     naive::launch, NULL, naive::passes},
    {"cuda/parallel", "all scores, tile by tile: quadratic in time", supports_parallel, NULL, NULL,
     launch_parallel, NULL},
    {"cuda/recurrent", "step by step, state in registers", supports_recurrent, recurrent::workspace,
     NULL, recurrent::launch, NULL},
    {"cuda/chunkwise", "states of chunks first, then all chunks on 64 x 64 tiles; any shape",
     supports_chunkwise, chunkwise::workspace, NULL, chunkwise::launch, NULL, chunkwise::passes},
    {"cuda/portable",
     "chunks on tensor cores (16 bit), state in registers; segments where states are few",
     supports_portable, portable::workspace, NULL, portable::launch, NULL, portable::passes},
    {NULL},
};
