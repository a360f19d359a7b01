/* norm_cuda: norms on CUDA, for the provider tables of rmsnorm, layernorm and group_norm. */
#ifndef SQ_KERNELS_NORM_CORE_NORM_CUDA_H
#define SQ_KERNELS_NORM_CORE_NORM_CUDA_H

#include "kernels/norm_core/norm.h"

#ifdef __cplusplus
extern "C" {
#endif

sq_status sq_norm_cuda_supports(const sq_norm *norm, const sq_call *call, sq_error *why);

/* norm.cu. is_naive: a warp for each run of channels, whatever its width. */
sq_status sq_norm_cuda_forward(const sq_norm *norm, const sq_call *call, bool is_naive,
                               sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
