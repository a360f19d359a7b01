/* providers: the entry points of linear's vendor library, for the table in linear.cu. */
#ifndef SQ_KERNELS_LINEAR_PROVIDERS_H
#define SQ_KERNELS_LINEAR_PROVIDERS_H

#include "kernels/op.h"

/* cublas.cu */
sq_status sq_linear_cublas_supports(const sq_call *call, const sq_device *device, sq_error *why);
size_t sq_linear_cublas_workspace(const sq_call *call);
sq_status sq_linear_cublas_prepare(const sq_call *call, void **plan, sq_error *err);
sq_status sq_linear_cublas_launch(const sq_call *call, void *plan, sq_error *err);
void sq_linear_cublas_release(void *plan);

#endif
