/* launch: what the launchers of every .cu share: element type switch, shared-memory opt-in, chains of
 * launches, status.
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

/* --- chains: the kernels of one call, each of which may begin while the one before it ends ---
 *
 * Programmatic dependent launch (CUDA programming guide 4.5, PTX ISA "griddepcontrol"; from sm_90 on).
 * The first kernel of a call is launched as any other: it follows all of the stream. The next ones
 * are launched by sq_launch_chained: such a grid may start once each block of the one before has
 * called sq_chain_begin_next() or has ended, and
 *
 *   - calls sq_chain_wait() in some thread of the grid, whatever it reads. It returns when the grid
 *     before has completed and what that wrote is visible. That grid has waited for the one before
 *     it, so a thread that has waited follows the whole chain, and so does whoever follows this grid.
 *     A grid that never waits may end before its predecessor: the next one would follow neither.
 *   - does so in each thread, or before a barrier that the thread passes, before that touches memory
 *     which a kernel of the chain writes, or writes what one of them reads.
 *
 * sq_chain_begin_next() may stand at the very start of a kernel: that all blocks have called it means
 * that all have been placed, so no block of the next grid takes a place that one of this grid waits
 * for; it takes what is left free as this grid's last blocks end. A grid after the next is no
 * exception: it starts once the next one's blocks have all been placed. A kernel that does not call
 * it lets the next one start when its last block has ended.
 */

/* In code for devices before sm_90 both do nothing, and sq_launch_chained gives the order of the
 * stream. */
__device__ __forceinline__ void sq_chain_begin_next()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void sq_chain_wait()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* The grid of a launch. is_next: of a chain, after its first. */
typedef struct {
    dim3 blocks;
    int threads;
    size_t shared_bytes;
    bool is_next;
} sq_grid;

/* Launches a kernel of a chain. Which code of it runs is the driver's choice: only code made for
 * compute_90 or later has the wait (ptxVersion is of the architecture that __CUDA_ARCH__ said, also
 * where the driver compiled it), and runs on no device without such launches. All other code follows
 * the stream: sm_80's, and what is compiled from compute_80 on a later device. */
template <typename... Params, typename... Args>
static sq_status sq_launch_chained(const sq_call *call, const sq_grid &grid, const char *what,
                                   sq_error *err, void (*kernel)(Params...), const Args &...args)
{
    cudaFuncAttributes code;
    SQ_TRY(sq_cuda_check(cudaFuncGetAttributes(&code, (const void *)kernel), what, err));
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid.blocks;
    config.blockDim = dim3((unsigned)grid.threads);
    config.dynamicSmemBytes = grid.shared_bytes;
    config.stream = sq_stream(call);
    config.attrs = &early;
    config.numAttrs = grid.is_next && code.ptxVersion >= 90 ? 1 : 0;
    return sq_cuda_check(cudaLaunchKernelEx(&config, kernel, args...), what, err);
}

/* --- types and limits --- */

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
