/* cufft_rows: batches of real rows of f32, transformed in place by cuFFT.
 *
 * A row of n real points holds n/2 + 1 complex ones after the transform, so it has 2 (n/2 + 1)
 * floats. Plans share one work area, which the caller's workspace holds. Included only by files that
 * link cuFFT.
 */
#ifndef SQ_KERNELS_HW_CUFFT_ROWS_CUH
#define SQ_KERNELS_HW_CUFFT_ROWS_CUH

#include <cufft.h>
#include <cufftXt.h>

#include "kernels/hw/launch.cuh"

static inline sq_status sq_cufft_check(cufftResult result, const char *what, sq_error *err)
{
    if (result == CUFFT_SUCCESS)
        return SQ_OK;
    if (result == CUFFT_ALLOC_FAILED)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: CUFFT_ALLOC_FAILED", what);
    return sq_fail(err, SQ_DEVICE, "%s: cuFFT error %d", what, (int)result);
}

static inline int64_t sq_cufft_row_floats(int64_t n)
{
    return 2 * (n / 2 + 1);
}

/* What to reserve for rows of `bytes` bytes: a transform of several kernels passes them through the
 * work area once. */
static inline size_t sq_cufft_work_bytes(size_t bytes)
{
    return bytes + 256;
}

/* An in-place plan of n points a row, rows row_floats apart, without a work area; *work_bytes grows
 * to what it needs. */
static inline sq_status sq_cufft_plan(int64_t n, int64_t row_floats, int64_t batch, bool is_forward,
                                      cufftHandle *plan, size_t *work_bytes, sq_error *err)
{
    long long points = n, real_stride = row_floats, complex_stride = row_floats / 2;
    long long in = is_forward ? real_stride : complex_stride;
    long long out = is_forward ? complex_stride : real_stride;
    size_t bytes = 0;
    SQ_TRY(sq_cufft_check(cufftCreate(plan), "cufftCreate", err));
    SQ_TRY(sq_cufft_check(cufftSetAutoAllocation(*plan, 0), "cufftSetAutoAllocation", err));
    const cudaDataType from = is_forward ? CUDA_R_32F : CUDA_C_32F;
    const cudaDataType to = is_forward ? CUDA_C_32F : CUDA_R_32F;
    SQ_TRY(sq_cufft_check(cufftXtMakePlanMany(*plan, 1, &points, &in, 1, in, from, &out, 1, out, to,
                                              batch, &bytes, CUDA_C_32F),
                          "cufftXtMakePlanMany", err));
    if (bytes > *work_bytes)
        *work_bytes = bytes;
    return SQ_OK;
}

/* Allocates *work (cudaFree) where plans want more than is reserved; else it stays NULL. */
static inline sq_status sq_cufft_extra_work(size_t wanted, size_t reserved, void **work,
                                            sq_error *err)
{
    if (wanted <= reserved)
        return SQ_OK;
    const cudaError_t error = cudaMalloc(work, wanted);
    if (error == cudaErrorMemoryAllocation)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "cuFFT work area: %zu bytes", wanted);
    return sq_cuda_check(error, "cuFFT work area", err);
}

/* direction: CUFFT_FORWARD or CUFFT_INVERSE, as the plan was made. */
static inline sq_status sq_cufft_execute(cufftHandle plan, void *rows, int direction, void *work,
                                         const sq_call *call, sq_error *err)
{
    SQ_TRY(sq_cufft_check(cufftSetWorkArea(plan, work), "cufftSetWorkArea", err));
    SQ_TRY(sq_cufft_check(cufftSetStream(plan, sq_stream(call)), "cufftSetStream", err));
    return sq_cufft_check(cufftXtExec(plan, rows, rows, direction), "cufftXtExec", err);
}

#endif
