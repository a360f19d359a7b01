/* attention_cuda: the CUDA kernels of attention as functions of parameters, for the operators
 * attention and local_attention.
 */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_CUDA_CUH
#define SQ_KERNELS_ATTENTION_ATTENTION_CUDA_CUH

#include "kernels/attention/attention_core.h"
#include "kernels/attention/attention_tile.cuh"

/* From the rules (their bias and rotation aside) and (B, L, H, D) tensors. */
attention_params sq_attention_params(const sq_attention_rules *rules, const sq_tensor *q,
                                     const sq_tensor *k, const sq_tensor *v, const sq_tensor *o);

/* tensors: q, k, v and o first, and whatever else has rows of D; NULL-ended. */
sq_status sq_attention_portable_supports(const sq_tensor *const *tensors, const sq_device *device,
                                         sq_error *why);
sq_status sq_attention_portable_forward(const attention_params *p, sq_dtype dtype,
                                        cudaStream_t stream, sq_error *err);

#endif
