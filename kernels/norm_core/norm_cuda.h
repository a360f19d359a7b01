/* norm_cuda: norms on CUDA, for norm_providers.cuh. */
#ifndef SQ_KERNELS_NORM_CORE_NORM_CUDA_H
#define SQ_KERNELS_NORM_CORE_NORM_CUDA_H

#include "kernels/norm_core/norm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* norm.cu */
sq_status sq_norm_cuda_supports(const sq_norm *norm, const sq_call *call, sq_error *why);
/* Of any pass. */
sq_status sq_norm_cuda_launch(const sq_norm *norm, const sq_call *call, sq_error *err);

/* norm_bwd.cu */
size_t sq_norm_cuda_workspace(const sq_norm *norm, const sq_call *call);
sq_status sq_norm_cuda_backward(const sq_norm *norm, const sq_call *call, sq_error *err);

/* norm_naive.cu: cuda/naive, which supports the same */
size_t sq_norm_naive_workspace(const sq_norm *norm, const sq_call *call);
sq_status sq_norm_naive_launch(const sq_norm *norm, const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
