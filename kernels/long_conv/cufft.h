/* cufft: the cuFFT provider of long_conv (cufft.cu), for the table at the end of long_conv.cu. */
#ifndef SQ_KERNELS_LONG_CONV_CUFFT_H
#define SQ_KERNELS_LONG_CONV_CUFFT_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

sq_status sq_long_conv_cufft_supports(const sq_call *call, const sq_device *device, sq_error *why);
size_t sq_long_conv_cufft_workspace(const sq_call *call);
sq_status sq_long_conv_cufft_prepare(const sq_call *call, void **plan, sq_error *err);
sq_status sq_long_conv_cufft_launch(const sq_call *call, void *plan, sq_error *err);
void sq_long_conv_cufft_release(void *plan);

#ifdef __cplusplus
}
#endif
#endif
