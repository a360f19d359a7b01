/* gla on CUDA: the shared recurrence kernels with a decay for each row of the state. */
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/gla/gla.h"

static sq_decay_params params(const sq_call *call)
{
    sq_decay_params p = sq_decay_params_of(call, &sq_gla_layout);
    p.kind = SQ_DECAY_ROWS;
    return p;
}

static sq_decay_grads grads(const sq_call *call)
{
    return sq_decay_grads_of(call, &sq_gla_layout);
}

extern "C" const sq_provider sq_cuda_gla[] = {
    sq_decay_naive<params, grads>::provider(),
    sq_decay_tile<params, grads>::provider(),
    sq_decay_portable<params, grads>::provider(),
    {NULL},
};
