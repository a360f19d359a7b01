/* layernorm on CUDA: see layernorm.c for the operator, kernels/norm_core/ for the kernels.
 *
 *   cuda/naive     a thread for each element
 *   cuda/portable  16-byte loads, the row stays in registers: every byte moves once
 */
#include "kernels/layernorm/layernorm.h"
#include "kernels/norm_core/norm_providers.cuh"

extern "C" const sq_provider sq_cuda_layernorm[] = {
    sq_norm_naive<sq_layernorm_norm>(),
    sq_norm_portable<sq_layernorm_norm>("16-byte loads, the row stays in registers"),
    {NULL},
};
