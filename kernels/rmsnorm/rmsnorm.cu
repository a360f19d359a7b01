/* rmsnorm on CUDA: see rmsnorm.c for the operator, kernels/norm_core/ for the kernels.
 *
 *   cuda/naive     a thread for each element
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

static size_t workspace_naive(const sq_call *call)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_naive_workspace(&norm, call);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_naive_launch(&norm, call, err);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    const sq_norm norm = sq_rmsnorm_norm(call->pass, call->axis);
    return sq_norm_cuda_launch(&norm, call, err);
}

extern "C" const sq_provider sq_cuda_rmsnorm[] = {
    {"cuda/naive", "a thread for each element", supports, workspace_naive, NULL, launch_naive, NULL,
     SQ_NORM_CUDA_PASSES, NULL},
    {"cuda/portable", "16-byte loads, the group stays in registers", supports, workspace, NULL,
     launch_portable, NULL, SQ_NORM_CUDA_PASSES, NULL},
    {NULL},
};
