/* ssd on CUDA: C, B, x are the queries, keys and values of the shared recurrence kernels. */
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/chunk_core/decay_token.cuh"
#include "kernels/ssd/ssd.h"

#include <math.h>

static sq_decay_params params(const sq_call *call)
{
    const sq_axis_value *axis = call->axis;
    const sq_tensor *d = &call->in[IN_D], *seq_idx = &call->in[IN_SEQ_IDX];
    sq_decay_params p = sq_decay_params_of(call, &sq_ssd_layout);
    p.kind = SQ_DECAY_STEP;
    p.scale = 1.0f;
    p.z = sq_decay_view(&call->in[IN_Z]);
    p.a = (const float *)call->in[IN_A].data;
    p.skip = (const float *)d->data;
    p.skip_head = d->stride[0];
    p.skip_column = d->rank == 2 ? d->stride[1] : 0;
    p.bias = (const float *)call->in[IN_BIAS].data;
    p.has_softplus = axis[AXIS_SOFTPLUS] != 0;
    p.dt_min = (float)axis[AXIS_DT_MIN];
    p.dt_max = axis[AXIS_DT_MAX] > 0 ? (float)axis[AXIS_DT_MAX] : INFINITY;
    p.seq_idx = (const int *)seq_idx->data;
    p.seq_batch = seq_idx->stride[0];
    return p;
}

static sq_decay_grads grads(const sq_call *call)
{
    const sq_tensor *d = &call->out[IN_D];
    sq_decay_grads g = sq_decay_grads_of(call, &sq_ssd_layout);
    g.d_z = sq_decay_view(&call->out[IN_Z]);
    g.d_a = (float *)call->out[IN_A].data;
    g.d_bias = (float *)call->out[IN_BIAS].data;
    g.d_skip = (float *)d->data;
    g.d_skip_head = d->stride[0];
    g.d_skip_column = d->rank == 2 ? d->stride[1] : 0;
    return g;
}

extern "C" const sq_provider sq_cuda_ssd[] = {
    sq_decay_naive<params, grads>::provider(),
    sq_decay_tile<params, grads>::provider(),
    sq_decay_portable<params, grads>::provider(),
    sq_decay_native<params, grads>::provider(),
    {NULL},
};

static const char *const token_ops[] = {"causal_conv1d", "ssd", "rmsnorm", NULL};

extern "C" const sq_fusion sq_fused_ssd[] = {
    sq_decay_token<params, 1>::fusion(token_ops),
    {NULL},
};
