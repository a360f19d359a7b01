/* rmsnorm on CUDA: see rmsnorm.c for the operator, kernels/norm_core/norm.cu for the kernels.
 *
 *   cuda/naive     a warp for each group of a row; reads it in passes
 *   cuda/portable  16-byte loads, the group stays in registers: every byte moves once
 */
#include "kernels/norm_core/norm_cuda.h"
#include "kernels/rmsnorm/rmsnorm.h"

static sq_status supports(const sq_call *call, const sq_device *, sq_error *why)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_cuda_supports(&norm, call, why);
}

static size_t workspace(const sq_call *call)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_cuda_workspace(&norm, call);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_cuda_launch(&norm, call, true, err);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_cuda_launch(&norm, call, false, err);
}

extern "C" const sq_provider sq_cuda_rmsnorm[] = {
    {"cuda/naive", "a warp for each group of a row, in passes", supports, workspace, NULL,
     launch_naive, NULL, SQ_NORM_CUDA_PASSES, NULL},
    {"cuda/portable", "16-byte loads, the group stays in registers", supports, workspace, NULL,
     launch_portable, NULL, SQ_NORM_CUDA_PASSES, NULL},
    {NULL},
};
