/* launch: what the launchers of every .cu share: element type switch, shared-memory opt-in, status.
 */
#ifndef SQ_KERNELS_HW_LAUNCH_CUH
#define SQ_KERNELS_HW_LAUNCH_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/op.h"

static inline int64_t sq_ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

static inline cudaStream_t sq_stream(const sq_call *call) { return (cudaStream_t)call->stream; }

static inline sq_status sq_cuda_check(cudaError_t error, const char *what, sq_error *err)
{
    if (error == cudaSuccess)
        return SQ_OK;
    (void)cudaGetLastError(); /* clears what is not sticky: the next launch must not report it */
    return sq_fail(err, SQ_DEVICE, "%s: %s", what, cudaGetErrorString(error));
}

/* The outcome of the launch just made. */
static inline sq_status sq_launched(const char *what, sq_error *err)
{
    return sq_cuda_check(cudaGetLastError(), what, err);
}

/* Lets `kernel` use `bytes` of dynamic shared memory (more than 48 KiB need this opt-in). */
template <typename Kernel>
static inline sq_status sq_allow_shared(Kernel kernel, size_t bytes, sq_error *err)
{
    return sq_cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              (int)bytes),
                         "shared-memory opt-in", err);
}

/* Calls f(T{}) with the element type of `dtype`. */
template <typename F>
static inline sq_status sq_with_type(sq_dtype dtype, sq_error *err, F f)
{
    switch (dtype) {
    case SQ_DTYPE_F32:
        return f(float{});
    case SQ_DTYPE_BF16:
        return f(__nv_bfloat16{});
    case SQ_DTYPE_F16:
        return f(__half{});
    default:
        return sq_fail(err, SQ_UNSUPPORTED, "no kernel for %s", sq_dtype_name(dtype));
    }
}

/* supports() of a provider that takes the CUDA element types and no more. */
static inline sq_status sq_supports_types(const sq_call *call, sq_error *why)
{
    if (call->dtype == SQ_DTYPE_F32 || call->dtype == SQ_DTYPE_BF16 || call->dtype == SQ_DTYPE_F16)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "%s: f32, bf16 and f16 only", sq_dtype_name(call->dtype));
}

/* The same for one that switches between f32 and bf16 by itself. */
static inline sq_status sq_supports_f32_bf16(const sq_call *call, sq_error *why)
{
    if (call->dtype == SQ_DTYPE_F16)
        return sq_fail(why, SQ_UNSUPPORTED, "f16: f32 and bf16 only");
    return sq_supports_types(call, why);
}

/* Refuses where a block of `device` cannot have `bytes` of shared memory. device may be NULL, and
 * its limit unknown (not positive): then nothing is refused. */
static inline sq_status sq_supports_shared(const sq_device *device, size_t bytes, sq_error *why)
{
    const int64_t most = device ? device->shared_bytes_per_block : 0;
    if (most <= 0 || (int64_t)bytes <= most)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "needs %zu bytes of shared memory, a block has %lld", bytes,
                   (long long)most);
}

/* Can the rows of `t` (its last dim) be read in 16-byte vectors? Data may be NULL (planning): dense
 * storage is then 256-byte aligned by contract. The last dim itself may be any multiple. */
static inline bool sq_is_vector_aligned(const sq_tensor *t)
{
    const int64_t vector = 16 / (int64_t)sq_dtype_size(t->dtype);
    for (int i = 0; i + 1 < t->rank; i++)
        if (t->dim[i] > 1 && t->stride[i] % vector != 0)
            return false;
    return (uintptr_t)t->data % 16 == 0;
}

#endif
