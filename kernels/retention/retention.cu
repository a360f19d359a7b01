/* retention on CUDA: the shared recurrence kernels with one constant decay per head. */
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/chunk_core/decay_token.cuh"
#include "kernels/retention/naive_scores.cuh"
#include "kernels/retention/normalised.cuh"
#include "kernels/retention/parallel_bwd.cuh"
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

/* --- states --- */

template <typename PROVIDER, typename SCORES = sq_tiled_scores>
using normalised = sq_normalised<PROVIDER, SCORES, params, grads>;

template <typename PROVIDER, typename SCORES = sq_tiled_scores>
static constexpr sq_provider with_states()
{
    sq_provider provider = PROVIDER::provider();
    provider.supports = normalised<PROVIDER, SCORES>::supports;
    provider.workspace = normalised<PROVIDER, SCORES>::workspace;
    provider.launch = normalised<PROVIDER, SCORES>::launch;
    if (provider.passes & SQ_HAS_PASS(SQ_PASS_BWD))
        provider.saved = SCORES::saved;
    return provider;
}

/* --- states, without the backward of a norm that looks at the scores --- */

template <typename PROVIDER>
static sq_status supports_plain_backward(const sq_call *call, const sq_device *device,
                                         sq_error *why)
{
    if (call->pass == SQ_PASS_BWD && sq_retention_needs_scores(call->axis))
        return sq_fail(why, SQ_UNSUPPORTED, "backward of a norm that looks at the scores");
    return normalised<PROVIDER>::supports(call, device, why);
}

template <typename PROVIDER>
static constexpr sq_provider with_plain_backward()
{
    sq_provider provider = with_states<PROVIDER>();
    provider.supports = supports_plain_backward<PROVIDER>;
    provider.saved = NULL;
    return provider;
}

/* --- all scores --- */

static sq_status supports_parallel(const sq_call *call, const sq_device *device, sq_error *why)
{
    return sq_parallel_supports(call, params(call), device, why);
}

static size_t workspace_parallel(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD ? sq_parallel_bwd_workspace(params(call)) : 0;
}

static sq_status launch_parallel(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return call->pass == SQ_PASS_BWD ? sq_parallel_backward(call, params(call), grads(call), err)
                                     : sq_parallel_launch(call, params(call), err);
}

using recurrent = normalised<sq_decay_steps<params>>;

extern "C" const sq_provider sq_cuda_retention[] = {
    with_states<sq_decay_naive<params, grads>, sq_naive_scores>(),
    {"cuda/parallel", "all scores, tile by tile: quadratic in time", supports_parallel,
     workspace_parallel, NULL, launch_parallel, NULL, SQ_HAS_BWD, sq_retention_saved},
    {"cuda/recurrent", "step by step, state in registers", recurrent::supports,
     recurrent::workspace, NULL, recurrent::launch, NULL},
    with_states<sq_decay_tile<params, grads>>(),
    with_states<sq_decay_portable<params, grads>>(),
    with_plain_backward<sq_decay_native<params, grads>>(),
    {NULL},
};

static const char *const token_ops[] = {"retention", "rmsnorm", NULL};

extern "C" const sq_fusion sq_fused_retention[] = {
    sq_decay_token<params, 0>::fusion(token_ops),
    {NULL},
};
