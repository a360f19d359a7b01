/* gla on CUDA: the shared recurrence kernels with a decay for each row of the state. */
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/gla/gla.h"

#include <math.h>

static sq_decay_params params(const sq_call *call)
{
    const sq_axis_value *axis = call->axis;
    sq_decay_params p = {};
    p.kind = SQ_DECAY_ROWS;
    p.q = sq_decay_view(&call->in[IN_Q]);
    p.k = sq_decay_view(&call->in[IN_K]);
    p.v = sq_decay_view(&call->in[IN_V]);
    p.dt = sq_decay_view(&call->in[IN_G]);
    p.initial = sq_decay_states(&call->in[IN_INITIAL]);
    if (call->pass != SQ_PASS_BWD) {
        p.o = sq_decay_view(&call->out[OUT_O]);
        p.final = sq_decay_states(&call->out[OUT_FINAL]);
    }
    p.length = (int)call->in[IN_V].dim[1];
    p.batch = (int)axis[AXIS_B];
    p.heads = (int)axis[AXIS_H];
    p.heads_per_group = 1;
    p.keys = (int)axis[AXIS_K];
    p.values = (int)axis[AXIS_V];
    p.scale = (float)(axis[AXIS_SCALE] > 0 ? axis[AXIS_SCALE] : 1 / sqrt(axis[AXIS_K]));
    p.segments = 1;
    return p;
}

static sq_decay_grads grads(const sq_call *call)
{
    sq_decay_grads g = {};
    g.d_o = sq_decay_view(&call->in[IN_COUNT + OUT_O]);
    g.d_final = sq_decay_states(&call->in[IN_COUNT + OUT_FINAL]);
    g.d_q = sq_decay_view(&call->out[IN_Q]);
    g.d_k = sq_decay_view(&call->out[IN_K]);
    g.d_v = sq_decay_view(&call->out[IN_V]);
    g.d_dt = sq_decay_view(&call->out[IN_G]);
    g.d_initial = sq_decay_states(&call->out[IN_INITIAL]);
    return g;
}

using naive = sq_decay_naive<params>;
using portable = sq_decay_portable<params, grads>;
using chunkwise = sq_decay_tile<params, grads>;

extern "C" const sq_provider sq_cuda_gla[] = {
    {"cuda/naive", "one warp per column of the state, step by step", naive::supports, NULL, NULL,
     naive::launch, NULL, naive::passes},
    {"cuda/chunkwise", "states of chunks first, then all chunks on 64 x 64 tiles; any shape",
     chunkwise::supports, chunkwise::workspace, NULL, chunkwise::launch, NULL, chunkwise::passes},
    {"cuda/portable", "step by step, state in registers", portable::supports, portable::workspace,
     NULL, portable::launch, NULL, portable::passes},
    {NULL},
};
