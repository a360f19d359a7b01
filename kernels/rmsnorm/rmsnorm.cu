/* rmsnorm on CUDA: see rmsnorm.c for the operator, kernels/norm_core/ for the kernels.
 *
 *   cuda/naive     a thread for each element
 *   cuda/portable  16-byte loads, the group stays in registers: every byte moves once
 */
#include "kernels/norm_core/norm_providers.cuh"
#include "kernels/rmsnorm/rmsnorm.h"

extern "C" const sq_provider sq_cuda_rmsnorm[] = {
    sq_norm_naive<sq_rmsnorm_norm>(),
    sq_norm_portable<sq_rmsnorm_norm>("16-byte loads, the group stays in registers"),
    {NULL},
};
