/* cufft_rows: batches of real rows of f32, transformed in place by cuFFT.
 *
 * A row of n real points holds n/2 + 1 complex ones after the transform, so it has 2 (n/2 + 1)
 * floats. Included only by files that link cuFFT.
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

/* An in-place plan of n points a row, rows row_floats apart. work_bytes == NULL: the plan has a
 * work area of its own; else none, and *work_bytes grows to what it needs. */
static inline sq_status sq_cufft_plan(int64_t n, int64_t row_floats, int64_t batch, bool is_forward,
                                      cufftHandle *plan, size_t *work_bytes, sq_error *err)
{
    long long points = n, real_stride = row_floats, complex_stride = row_floats / 2;
    long long in = is_forward ? real_stride : complex_stride;
    long long out = is_forward ? complex_stride : real_stride;
    size_t bytes = 0;
    SQ_TRY(sq_cufft_check(cufftCreate(plan), "cufftCreate", err));
    SQ_TRY(sq_cufft_check(cufftSetAutoAllocation(*plan, work_bytes == NULL),
                          "cufftSetAutoAllocation", err));
    const cudaDataType from = is_forward ? CUDA_R_32F : CUDA_C_32F;
    const cudaDataType to = is_forward ? CUDA_C_32F : CUDA_R_32F;
    SQ_TRY(sq_cufft_check(cufftXtMakePlanMany(*plan, 1, &points, &in, 1, in, from, &out, 1, out, to,
                                              batch, &bytes, CUDA_C_32F),
                          "cufftXtMakePlanMany", err));
    if (work_bytes && bytes > *work_bytes)
        *work_bytes = bytes;
    return SQ_OK;
}

/* direction: CUFFT_FORWARD or CUFFT_INVERSE, as the plan was made. */
static inline sq_status sq_cufft_execute(cufftHandle plan, void *rows, int direction,
                                         const sq_call *call, sq_error *err)
{
    SQ_TRY(sq_cufft_check(cufftSetStream(plan, sq_stream(call)), "cufftSetStream", err));
    return sq_cufft_check(cufftXtExec(plan, rows, rows, direction), "cufftXtExec", err);
}

#endif
