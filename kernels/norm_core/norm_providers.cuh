/* norm_providers: the kernels of this folder as providers of an operator, which gives the function that
 * says which norm a call is: both take the same calls and passes.
 */
#ifndef SQ_KERNELS_NORM_CORE_NORM_PROVIDERS_CUH
#define SQ_KERNELS_NORM_CORE_NORM_PROVIDERS_CUH

#include "kernels/norm_core/norm_cuda.h"

typedef sq_norm (*sq_norm_fn)(sq_pass pass, const sq_axis_value *axis);
typedef size_t (*sq_norm_workspace_fn)(const sq_norm *norm, const sq_call *call);
typedef sq_status (*sq_norm_launch_fn)(const sq_norm *norm, const sq_call *call, sq_error *err);

template <sq_norm_fn NORM, sq_norm_workspace_fn WORKSPACE, sq_norm_launch_fn LAUNCH>
struct sq_norm_kernels {
    static sq_status supports(const sq_call *call, const sq_device *, sq_error *why)
    {
        const sq_norm norm = NORM(call->pass, call->axis);
        return sq_norm_cuda_supports(&norm, call, why);
    }
    static size_t workspace(const sq_call *call)
    {
        const sq_norm norm = NORM(call->pass, call->axis);
        return WORKSPACE(&norm, call);
    }
    static sq_status launch(const sq_call *call, void *, sq_error *err)
    {
        const sq_norm norm = NORM(call->pass, call->axis);
        return LAUNCH(&norm, call, err);
    }
    static constexpr sq_provider provider(const char *name, const char *doc)
    {
        return {name, doc, supports, workspace, NULL, launch, NULL, SQ_HAS_BWD | SQ_HAS_STEP, NULL};
    }
};

template <sq_norm_fn NORM>
static constexpr sq_provider sq_norm_naive()
{
    using kernels = sq_norm_kernels<NORM, sq_norm_naive_workspace, sq_norm_naive_launch>;
    return kernels::provider("cuda/naive", "a thread for each element");
}

template <sq_norm_fn NORM>
static constexpr sq_provider sq_norm_portable(const char *doc)
{
    using kernels = sq_norm_kernels<NORM, sq_norm_cuda_workspace, sq_norm_cuda_launch>;
    return kernels::provider("cuda/portable", doc);
}

#endif
