/* group_norm on CUDA: see group_norm.c for the operator, kernels/norm_core/ for the kernels.
 *
 *   cuda/naive     a thread for each element
 *   cuda/portable  16-byte loads, the head stays in registers: every byte moves once
 */
#include "kernels/group_norm/group_norm.h"
#include "kernels/norm_core/norm_providers.cuh"

extern "C" const sq_provider sq_cuda_group_norm[] = {
    sq_norm_naive<sq_group_norm_norm>(),
    sq_norm_portable<sq_group_norm_norm>("16-byte loads, the head stays in registers"),
    {NULL},
};
