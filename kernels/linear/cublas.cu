/* cublas: linear through cublasLt.
 *
 * cublasLt is column-major: it sees y^T (N x M) = op(W) x^T with W stored K x N (transposed by op)
 * and x^T stored K x M, so the row strides of our row-major views are its leading dimensions. The
 * residual is its C matrix with beta = 1, the bias its epilogue. Split-K sums in f32 only, in a
 * fixed order.
 */
#include <cublasLt.h>
#include <stdlib.h>

#include "kernels/hw/launch.cuh"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_rows.h"
#include "kernels/linear/providers.h"

static const size_t workspace_bytes = (size_t)32 << 20;

struct linear_plan {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, r, y;
    cublasLtMatmulAlgo_t algorithm;
};

static sq_status check(cublasStatus_t status, const char *what, sq_error *err)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return SQ_OK;
    const sq_status outcome = status == CUBLAS_STATUS_NOT_SUPPORTED  ? SQ_UNSUPPORTED
                              : status == CUBLAS_STATUS_ALLOC_FAILED ? SQ_OUT_OF_MEMORY
                                                                     : SQ_DEVICE;
    return sq_fail(err, outcome, "%s: %s", what, cublasLtGetStatusString(status));
}

sq_status sq_linear_cublas_supports(const sq_call *call, const sq_device *, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    const sq_tensor *r = &call->in[IN_R];
    if (linear_row_stride(&call->in[IN_X]) == 0 || linear_row_stride(&call->out[0]) == 0 ||
        (r->rank > 0 && linear_row_stride(r) == 0))
        return sq_fail(why, SQ_UNSUPPORTED, "rows of x, r or y are not evenly spaced");
    return SQ_OK;
}

size_t sq_linear_cublas_workspace(const sq_call *)
{
    return workspace_bytes;
}

static sq_status set_layout(cublasLtMatrixLayout_t *layout, const sq_call *call, uint64_t rows,
                            uint64_t cols, int64_t stride, sq_error *err)
{
    const cudaDataType_t type = call->dtype == SQ_DTYPE_F32   ? CUDA_R_32F
                                : call->dtype == SQ_DTYPE_F16 ? CUDA_R_16F
                                                              : CUDA_R_16BF;
    return check(cublasLtMatrixLayoutCreate(layout, type, rows, cols, stride),
                 "cublasLt matrix layout", err);
}

static sq_status set_layouts(const sq_call *call, linear_plan *plan, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W], *r = &call->in[IN_R];
    const sq_tensor *y = &call->out[0];
    const uint64_t m = (uint64_t)(x->dim[0] * x->dim[1]), k = (uint64_t)x->dim[2];
    const uint64_t n = (uint64_t)w->dim[0];
    const int64_t y_stride = linear_row_stride(y);
    SQ_TRY(set_layout(&plan->w, call, k, n, n == 1 ? (int64_t)k : w->stride[0], err));
    SQ_TRY(set_layout(&plan->x, call, k, m, linear_row_stride(x), err));
    SQ_TRY(set_layout(&plan->y, call, n, m, y_stride, err));
    return set_layout(&plan->r, call, n, m, r->rank > 0 ? linear_row_stride(r) : y_stride, err);
}

static sq_status set_product(const sq_call *call, linear_plan *plan, sq_error *err)
{
    SQ_TRY(check(cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                 "cublasLt descriptor", err));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    SQ_TRY(check(cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA,
                                                &transposed, sizeof transposed),
                 "cublasLt transposition", err));
    if (call->in[IN_BIAS].rank == 0)
        return SQ_OK;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    return check(cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                                &epilogue, sizeof epilogue),
                 "cublasLt epilogue", err);
}

static sq_status set_bias(const sq_call *call, linear_plan *plan, sq_error *err)
{
    const void *bias = call->in[IN_BIAS].data;
    if (call->in[IN_BIAS].rank == 0)
        return SQ_OK;
    return check(cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof bias),
                 "cublasLt bias", err);
}

/* The largest power of two up to 256 that divides the address. */
static uint32_t alignment_of(const void *data)
{
    uint32_t bytes = 256;
    while ((uintptr_t)data % bytes != 0)
        bytes /= 2;
    return bytes;
}

static cublasStatus_t set_preference(cublasLtMatmulPreference_t preference, const sq_call *call)
{
    const sq_tensor *r = &call->in[IN_R], *y = &call->out[0];
    const uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        uint32_t value;
    } small[] = {
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, scheme},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(call->in[IN_W].data)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(call->in[IN_X].data)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(r->rank ? r->data : y->data)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(y->data)},
    };
    cublasStatus_t status =
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &workspace_bytes, sizeof workspace_bytes);
    for (size_t i = 0; i < sizeof small / sizeof *small && status == CUBLAS_STATUS_SUCCESS; i++)
        status = cublasLtMatmulPreferenceSetAttribute(preference, small[i].name, &small[i].value,
                                                      sizeof small[i].value);
    return status;
}

static sq_status choose_algorithm(const sq_call *call, linear_plan *plan, sq_error *err)
{
    cublasLtMatmulPreference_t preference;
    SQ_TRY(check(cublasLtMatmulPreferenceCreate(&preference), "cublasLt preference", err));
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    cublasStatus_t status = set_preference(preference, call);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(plan->handle, plan->product, plan->w, plan->x,
                                                plan->r, plan->y, preference, 1, &best, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS && found == 0)
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (status == CUBLAS_STATUS_SUCCESS)
        plan->algorithm = best.algo;
    return check(status, "cublasLt heuristic", err);
}

static sq_status fill_plan(const sq_call *call, linear_plan *plan, sq_error *err)
{
    SQ_TRY(check(cublasLtCreate(&plan->handle), "cublasLt", err));
    SQ_TRY(set_layouts(call, plan, err));
    SQ_TRY(set_product(call, plan, err));
    SQ_TRY(set_bias(call, plan, err));
    return choose_algorithm(call, plan, err);
}

sq_status sq_linear_cublas_prepare(const sq_call *call, void **out, sq_error *err)
{
    linear_plan *plan = (linear_plan *)calloc(1, sizeof *plan);
    if (!plan)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "cublasLt plan");
    const sq_status status = fill_plan(call, plan, err);
    if (status == SQ_OK)
        *out = plan;
    else
        sq_linear_cublas_release(plan);
    return status;
}

sq_status sq_linear_cublas_launch(const sq_call *call, void *opaque, sq_error *err)
{
    linear_plan *plan = (linear_plan *)opaque;
    const sq_tensor *r = &call->in[IN_R], *y = &call->out[0];
    const float alpha = 1.0f, beta = r->rank > 0 ? 1.0f : 0.0f;
    SQ_TRY(set_bias(call, plan, err));
    return check(cublasLtMatmul(plan->handle, plan->product, &alpha, call->in[IN_W].data, plan->w,
                                call->in[IN_X].data, plan->x, &beta,
                                r->rank > 0 ? r->data : y->data, plan->r, y->data, plan->y,
                                &plan->algorithm, call->workspace, call->workspace_bytes,
                                sq_stream(call)),
                 "cublasLt product", err);
}

void sq_linear_cublas_release(void *opaque)
{
    linear_plan *plan = (linear_plan *)opaque;
    if (!plan)
        return;
    if (plan->product)
        cublasLtMatmulDescDestroy(plan->product);
    cublasLtMatrixLayout_t layouts[] = {plan->w, plan->x, plan->r, plan->y};
    for (cublasLtMatrixLayout_t layout : layouts)
        if (layout)
            cublasLtMatrixLayoutDestroy(layout);
    if (plan->handle)
        cublasLtDestroy(plan->handle);
    free(plan);
}
