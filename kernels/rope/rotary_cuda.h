/* rotary_cuda: rows that turn by their position, on CUDA, for rope, xpos and attention. */
#ifndef SQ_KERNELS_ROPE_ROTARY_CUDA_H
#define SQ_KERNELS_ROPE_ROTARY_CUDA_H

#include "kernels/rope/rotary.h"

#ifdef __cplusplus
extern "C" {
#endif
/* Refuses an x, (B, L, H, D), of more elements than a launch has threads for. */
sq_status sq_rotary_fits(const sq_tensor *x, sq_error *why);

/* y = x turned (is_gradient: turned back), (B, L, H, D) each, row l at position first + l; y may be
 * x. x fits. stream: a cudaStream_t. */
sq_status sq_rotary_launch(const sq_rotation *rotation, const sq_tensor *x, const sq_tensor *y,
                           int64_t first, bool is_gradient, void *stream, sq_error *err);

/* The provider's two halves for an operator of rotary.h. */
sq_status sq_rotary_supports(const sq_call *call, const sq_device *device, sq_error *why);
sq_status sq_rotary_launch_call(const sq_call *call, const sq_rotation *rotation, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
