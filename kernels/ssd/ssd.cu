/* ssd on CUDA: C, B, x are the queries, keys and values of the shared recurrence kernels. */
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/ssd/ssd.h"

#include <math.h>

static sq_decay_params params(const sq_call *call)
{
    const sq_axis_value *axis = call->axis;
    const sq_tensor *d = &call->in[IN_D], *seq_idx = &call->in[IN_SEQ_IDX];
    sq_decay_params p = {};
    p.kind = SQ_DECAY_STEP;
    p.q = sq_decay_view(&call->in[IN_C]);
    p.k = sq_decay_view(&call->in[IN_B]);
    p.v = sq_decay_view(&call->in[IN_X]);
    p.z = sq_decay_view(&call->in[IN_Z]);
    p.dt = sq_decay_view(&call->in[IN_DT]);
    p.initial = sq_decay_states(&call->in[IN_INITIAL]);
    if (call->pass != SQ_PASS_BWD) {
        p.o = sq_decay_view(&call->out[OUT_Y]);
        p.final = sq_decay_states(&call->out[OUT_FINAL]);
    }
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
    p.length = (int)call->in[IN_X].dim[1];
    p.batch = (int)axis[AXIS_B];
    p.heads = (int)axis[AXIS_H];
    p.heads_per_group = p.heads / (int)axis[AXIS_G];
    p.keys = (int)axis[AXIS_N];
    p.values = (int)axis[AXIS_P];
    p.chunk = sq_axis_int(axis, AXIS_CHUNK);
    p.scale = 1.0f;
    p.segments = 1;
    return p;
}

static sq_decay_grads grads(const sq_call *call)
{
    sq_decay_grads g = {};
    const sq_tensor *d = &call->out[IN_D];
    g.d_o = sq_decay_view(&call->in[IN_COUNT + OUT_Y]);
    g.d_final = sq_decay_states(&call->in[IN_COUNT + OUT_FINAL]);
    g.d_q = sq_decay_view(&call->out[IN_C]);
    g.d_k = sq_decay_view(&call->out[IN_B]);
    g.d_v = sq_decay_view(&call->out[IN_X]);
    g.d_z = sq_decay_view(&call->out[IN_Z]);
    g.d_dt = sq_decay_view(&call->out[IN_DT]);
    g.d_initial = sq_decay_states(&call->out[IN_INITIAL]);
    g.d_a = (float *)call->out[IN_A].data;
    g.d_bias = (float *)call->out[IN_BIAS].data;
    g.d_skip = (float *)d->data;
    g.d_skip_head = d->stride[0];
    g.d_skip_column = d->rank == 2 ? d->stride[1] : 0;
    return g;
}

using naive = sq_decay_naive<params>;
using portable = sq_decay_portable<params, grads>;
using chunkwise = sq_decay_tile<params, grads>;

extern "C" const sq_provider sq_cuda_ssd[] = {
    {"cuda/naive", "one warp per column of the state, step by step", naive::supports, NULL, NULL,
     naive::launch, NULL, naive::passes},
    {"cuda/chunkwise", "states of chunks first, then all chunks on 64 x 64 tiles; any shape",
     chunkwise::supports, chunkwise::workspace, NULL, chunkwise::launch, NULL, chunkwise::passes},
    {"cuda/portable",
     "chunks on tensor cores (16 bit), state in registers; segments where states are few",
     portable::supports, portable::workspace, NULL, portable::launch, NULL, portable::passes},
    {NULL},
};
