/* cublas_probe: see cublas_probe.h.
 *
 * All products are D (m x n) = A^T B with A (k x m) and B (k x n) column by column: the one form
 * that the library has for every type, and the fastest.
 */
#include "kernels/linear/cublas_probe.h"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <math.h>
#include <stdlib.h>

#include "kernels/hw/launch.cuh"

namespace
{

enum { BF16, F16, FP8, INT8, TF32, F32, TYPES };

enum { SHAPES = 3, ALGORITHMS = 8, VARIANTS = SHAPES * ALGORITHMS, CHECKS = 16 };

constexpr size_t workspace_bytes = (size_t)64 << 20;

/* side: m, n and k of the square product. tolerance: of one element, in units of sqrt(k); fp8 sums
 * with fewer bits (fast accumulation), which is what its peak is stated for. */
struct type_facts {
    cudaDataType_t in, out, scale;
    cublasComputeType_t compute;
    int in_bytes, out_bytes, side;
    double tolerance;
};

const type_facts facts[TYPES] = {
    {CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, 2, 2, 8192, 0.02},
    {CUDA_R_16F, CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 2, 2, 8192, 0.02},
    {CUDA_R_8F_E4M3, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, 1, 2, 8192, 0.05},
    {CUDA_R_8I, CUDA_R_32I, CUDA_R_32I, CUBLAS_COMPUTE_32I, 1, 4, 8192, 0},
    {CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, 4, 4, 8192, 0.01},
    {CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 4, 4, 4096, 1e-4},
};

struct shape {
    int64_t m, n, k;
};

/* One way to do it: a shape and an algorithm for it. */
struct variant {
    shape size;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
};

struct gemm_run {
    sq_probe_run run;
    sq_backend_device *device;
    cudaStream_t stream;
    int type, chosen;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    variant variants[VARIANTS];
    void *a, *b, *d, *workspace;
};

sq_status check(cublasStatus_t status, const char *what, sq_error *err)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return SQ_OK;
    const sq_status outcome = status == CUBLAS_STATUS_NOT_SUPPORTED || // no such product here
                                      status == CUBLAS_STATUS_INVALID_VALUE
                                  ? SQ_UNSUPPORTED
                              : status == CUBLAS_STATUS_ALLOC_FAILED ? SQ_OUT_OF_MEMORY
                                                                     : SQ_DEVICE;
    return sq_fail(err, outcome, "%s: %s", what, cublasLtGetStatusString(status));
}

/* --- inputs --- */

__host__ __device__ uint32_t mix(uint64_t i)
{
    uint32_t x = (uint32_t)i * 0x9e3779b1u + (uint32_t)(i >> 32) * 0x85ebca6bu;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* Uniform in [-1, 1), of 24 bits. */
__device__ float unit(uint64_t i)
{
    return (float)(mix(i) >> 8) * (2.0f / (1 << 24)) - 1.0f;
}

__device__ void put(__nv_bfloat16 *to, uint64_t i)
{
    *to = __float2bfloat16_rn(unit(i));
}
__device__ void put(__half *to, uint64_t i)
{
    *to = __float2half_rn(unit(i));
}
__device__ void put(__nv_fp8_e4m3 *to, uint64_t i)
{
    *to = __nv_fp8_e4m3(unit(i));
}
__device__ void put(int8_t *to, uint64_t i)
{
    *to = (int8_t)(mix(i) >> 24);
}
__device__ void put(float *to, uint64_t i)
{
    *to = unit(i);
}

template <typename T>
__global__ void fill_kernel(T *data, int64_t count, uint64_t seed)
{
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * blockDim.x)
        put(&data[i], seed + (uint64_t)i);
}

double value_of(const void *data, int type, int64_t i)
{
    switch (type) {
    case BF16:
        return __bfloat162float(((const __nv_bfloat16 *)data)[i]);
    case F16:
        return __half2float(((const __half *)data)[i]);
    case FP8:
        return (float)((const __nv_fp8_e4m3 *)data)[i];
    case INT8:
        return ((const int8_t *)data)[i];
    default:
        return ((const float *)data)[i];
    }
}

double result_of(const void *data, int type)
{
    return facts[type].out == CUDA_R_32I ? *(const int32_t *)data
                                         : value_of(data, type == FP8 ? BF16 : type, 0);
}

template <typename T>
void fill(void *data, int64_t count, uint64_t seed, cudaStream_t stream)
{
    fill_kernel<<<2048, 256, 0, stream>>>((T *)data, count, seed);
}

sq_status draw(const gemm_run *run, void *data, int64_t count, uint64_t seed, sq_error *err)
{
    switch (run->type) {
    case BF16:
        fill<__nv_bfloat16>(data, count, seed, run->stream);
        break;
    case F16:
        fill<__half>(data, count, seed, run->stream);
        break;
    case FP8:
        fill<__nv_fp8_e4m3>(data, count, seed, run->stream);
        break;
    case INT8:
        fill<int8_t>(data, count, seed, run->stream);
        break;
    default:
        fill<float>(data, count, seed, run->stream);
    }
    return sq_launched("inputs of a product", err);
}

/* --- open --- */

sq_status alloc(gemm_run *run, const shape *sizes, sq_error *err)
{
    const type_facts *f = &facts[run->type];
    int64_t a = 0, b = 0, d = 0;
    for (int i = 0; i < SHAPES; i++) {
        a = a > sizes[i].m * sizes[i].k ? a : sizes[i].m * sizes[i].k;
        b = b > sizes[i].n * sizes[i].k ? b : sizes[i].n * sizes[i].k;
        d = d > sizes[i].m * sizes[i].n ? d : sizes[i].m * sizes[i].n;
    }
    const sq_backend *backend = &sq_backend_cuda;
    SQ_TRY(backend->alloc(run->device, (size_t)(a * f->in_bytes), &run->a, err));
    SQ_TRY(backend->alloc(run->device, (size_t)(b * f->in_bytes), &run->b, err));
    SQ_TRY(backend->alloc(run->device, (size_t)(d * f->out_bytes), &run->d, err));
    SQ_TRY(backend->alloc(run->device, workspace_bytes, &run->workspace, err));
    SQ_TRY(draw(run, run->a, a, 0, err));
    return draw(run, run->b, b, (uint64_t)1 << 40, err);
}

sq_status describe(gemm_run *run, sq_error *err)
{
    const type_facts *f = &facts[run->type];
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const int8_t fast = 1;
    SQ_TRY(check(cublasLtCreate(&run->handle), "cublasLt", err));
    SQ_TRY(check(cublasLtMatmulDescCreate(&run->product, f->compute, f->scale),
                 "cublasLt descriptor", err));
    SQ_TRY(check(cublasLtMatmulDescSetAttribute(run->product, CUBLASLT_MATMUL_DESC_TRANSA,
                                                &transposed, sizeof transposed),
                 "cublasLt transposition", err));
    if (run->type != FP8)
        return SQ_OK;
    return check(cublasLtMatmulDescSetAttribute(run->product, CUBLASLT_MATMUL_DESC_FAST_ACCUM,
                                                &fast, sizeof fast),
                 "cublasLt fast accumulation", err);
}

sq_status lay_out(const gemm_run *run, variant *v, sq_error *err)
{
    const type_facts *f = &facts[run->type];
    const uint64_t m = (uint64_t)v->size.m, n = (uint64_t)v->size.n, k = (uint64_t)v->size.k;
    SQ_TRY(
        check(cublasLtMatrixLayoutCreate(&v->a, f->in, k, m, v->size.k), "cublasLt layout", err));
    SQ_TRY(
        check(cublasLtMatrixLayoutCreate(&v->b, f->in, k, n, v->size.k), "cublasLt layout", err));
    return check(cublasLtMatrixLayoutCreate(&v->d, f->out, m, n, v->size.m), "cublasLt layout",
                 err);
}

void forget_layouts(variant *v)
{
    cublasLtMatrixLayout_t all[] = {v->a, v->b, v->d};
    for (cublasLtMatrixLayout_t layout : all)
        if (layout)
            cublasLtMatrixLayoutDestroy(layout);
    v->a = v->b = v->d = nullptr;
}

sq_status ask_heuristic(gemm_run *run, const variant *v, cublasLtMatmulHeuristicResult_t *found,
                        int *n, sq_error *err)
{
    cublasLtMatmulPreference_t preference;
    SQ_TRY(check(cublasLtMatmulPreferenceCreate(&preference), "cublasLt preference", err));
    cublasStatus_t status =
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &workspace_bytes, sizeof workspace_bytes);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(run->handle, run->product, v->a, v->b, v->d, v->d,
                                                preference, ALGORITHMS, found, n);
    cublasLtMatmulPreferenceDestroy(preference);
    return check(status, "cublasLt heuristic", err);
}

/* The algorithms for one shape become variants; none is no error. */
sq_status add_shape(gemm_run *run, shape size, sq_error *err)
{
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    int n = 0;
    variant first = {};
    first.size = size;
    sq_status status = lay_out(run, &first, err);
    if (status == SQ_OK)
        status = ask_heuristic(run, &first, found, &n, err);
    forget_layouts(&first);
    for (int i = 0; status == SQ_OK && i < n; i++) {
        if (found[i].state != CUBLAS_STATUS_SUCCESS)
            continue;
        variant *v = &run->variants[run->run.variants++];
        v->size = size;
        v->algorithm = found[i].algo;
        status = lay_out(run, v, err);
    }
    return status == SQ_UNSUPPORTED ? SQ_OK : status;
}

sq_status fill_run(gemm_run *run, sq_error *err)
{
    const int64_t side = facts[run->type].side;
    const int64_t sms = sq_backend_cuda.facts(run->device)->sm_count;
    /* The last: 128 rows for each SM, so that no wave of tiles is partly empty. */
    const shape sizes[SHAPES] = {
        {side, side, side}, {side / 2, side, side}, {sms * side / 64, side, side}};
    SQ_TRY(describe(run, err));
    for (const shape &size : sizes)
        SQ_TRY(add_shape(run, size, err));
    if (run->run.variants == 0)
        return sq_fail(err, SQ_UNSUPPORTED, "cublasLt has no such product on this device");
    return alloc(run, sizes, err);
}

void close_run(sq_probe_run *opaque)
{
    gemm_run *run = (gemm_run *)opaque;
    if (!run)
        return;
    for (int i = 0; i < run->run.variants; i++)
        forget_layouts(&run->variants[i]);
    if (run->product)
        cublasLtMatmulDescDestroy(run->product);
    if (run->handle)
        cublasLtDestroy(run->handle);
    void *all[] = {run->a, run->b, run->d, run->workspace};
    for (void *data : all)
        sq_backend_cuda.free(run->device, data);
    free(run);
}

sq_status open_run(const sq_probe *probe, sq_backend_device *device, void *stream,
                   sq_probe_run **out, sq_error *err)
{
    gemm_run *run = (gemm_run *)calloc(1, sizeof *run);
    *out = nullptr;
    if (!run)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory", probe->name);
    run->device = device;
    run->stream = (cudaStream_t)stream;
    run->type = probe->id;
    sq_status status = fill_run(run, err);
    if (status == SQ_OK)
        status = sq_backend_cuda.sync(device, err);
    if (status == SQ_OK)
        *out = &run->run;
    else
        close_run(&run->run);
    return status;
}

/* --- use --- */

sq_status choose(sq_probe_run *opaque, int number, sq_error *)
{
    gemm_run *run = (gemm_run *)opaque;
    const shape *size = &run->variants[number].size;
    run->chosen = number;
    run->run.amount = 2e-3 * (double)size->m * (double)size->n * (double)size->k;
    return SQ_OK;
}

sq_status launch(sq_probe_run *opaque, sq_error *err)
{
    gemm_run *run = (gemm_run *)opaque;
    const variant *v = &run->variants[run->chosen];
    const float one = 1, zero = 0;
    const int32_t int_one = 1, int_zero = 0;
    const bool is_int = facts[run->type].scale == CUDA_R_32I;
    const void *alpha = is_int ? (const void *)&int_one : &one;
    const void *beta = is_int ? (const void *)&int_zero : &zero;
    return check(cublasLtMatmul(run->handle, run->product, alpha, run->a, v->a, run->b, v->b, beta,
                                run->d, v->d, run->d, v->d, &v->algorithm, run->workspace,
                                workspace_bytes, run->stream),
                 "cublasLt product", err);
}

sq_status fetch(const gemm_run *run, const void *data, int64_t first, int64_t count, int bytes,
                void *to, sq_error *err)
{
    SQ_TRY(
        sq_cuda_check(cudaMemcpyAsync(to, (const char *)data + first * bytes,
                                      (size_t)(count * bytes), cudaMemcpyDeviceToHost, run->stream),
                      "check of a product", err));
    return sq_backend_cuda.sync(run->device, err);
}

/* One element of D against the dot product of its two columns in double. */
sq_status check_element(const gemm_run *run, int64_t i, int64_t j, void *a, void *b, sq_error *err)
{
    const type_facts *f = &facts[run->type];
    const shape *size = &run->variants[run->chosen].size;
    double result[1], expected = 0; /* room for an element of any type */
    SQ_TRY(fetch(run, run->a, i * size->k, size->k, f->in_bytes, a, err));
    SQ_TRY(fetch(run, run->b, j * size->k, size->k, f->in_bytes, b, err));
    SQ_TRY(fetch(run, run->d, j * size->m + i, 1, f->out_bytes, result, err));
    for (int64_t l = 0; l < size->k; l++)
        expected += value_of(a, run->type, l) * value_of(b, run->type, l);
    const double got = result_of(result, run->type);
    if (fabs(got - expected) <= f->tolerance * sqrt((double)size->k))
        return SQ_OK;
    return sq_fail(err, SQ_MISMATCH, "element (%lld, %lld) is %g, %g is right", (long long)i,
                   (long long)j, got, expected);
}

sq_status check_run(sq_probe_run *opaque, sq_error *err)
{
    const gemm_run *run = (const gemm_run *)opaque;
    const shape *size = &run->variants[run->chosen].size;
    void *a = malloc((size_t)size->k * sizeof(float)), *b = malloc((size_t)size->k * sizeof(float));
    sq_status status = a && b ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "check of a product");
    for (int c = 0; status == SQ_OK && c < CHECKS; c++)
        status = check_element(run, mix((uint64_t)c) % size->m, mix((uint64_t)c + 99) % size->n, a,
                               b, err);
    free(a);
    free(b);
    return status;
}

} // namespace

#define GEMM(type, id, unit)                                                                       \
    {                                                                                              \
        "gemm_" type "_" unit, SQ_PROBE_RATE, SQ_PROBE_COLD, "gemm_" type "_sustained_" unit, id,  \
            open_run, choose, launch, check_run, close_run                                         \
    }

extern "C" const sq_probe sq_cublas_probes[] = {
    GEMM("bf16", BF16, "tflops"),
    GEMM("f16", F16, "tflops"),
    GEMM("fp8", FP8, "tflops"),
    GEMM("int8", INT8, "tops"),
    GEMM("tf32", TF32, "tflops"),
    GEMM("f32", F32, "tflops"),
    {NULL, SQ_PROBE_RATE, SQ_PROBE_COLD, NULL, 0, NULL, NULL, NULL, NULL, NULL},
};
