/* simple_gla on CUDA: the shared recurrence kernels with one decay for each head and step. */
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/simple_gla/simple_gla.h"

static sq_decay_params params(const sq_call *call)
{
    sq_decay_params p = sq_decay_params_of(call, &sq_simple_gla_layout);
    p.kind = SQ_DECAY_LOG;
    return p;
}

static sq_decay_grads grads(const sq_call *call)
{
    return sq_decay_grads_of(call, &sq_simple_gla_layout);
}

extern "C" const sq_provider sq_cuda_simple_gla[] = {
    sq_decay_naive<params, grads>::provider(),
    sq_decay_tile<params, grads>::provider(),
    sq_decay_portable<params, grads>::provider(),
    sq_decay_native<params, grads>::provider(),
    {NULL},
};
