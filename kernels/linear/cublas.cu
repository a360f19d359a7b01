/* cublas: linear through cublasLt.
 *
 * cublasLt is column-major: a row-major matrix of ours is its transpose, whose leading dimension is
 * the row stride of our view.
 *
 *   fwd  y^T  (N x M) = op(W) x^T      W stored K x N, transposed by op; the residual is its C with
 *                                      beta = 1, bias and activation its epilogue
 *   bwd  dx^T (K x M) = W^T dy^T
 *        dW^T (K x N) = x^T op(dy^T)   db is summed by a kernel of ours
 *
 * Split-K sums in f32 only, in a fixed order. Of the algorithms that the heuristic names the one
 * that is fastest on the call's own data is kept, for all equal products of the process: copies of
 * a call must give the same bits.
 */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>

#include "kernels/hw/launch.cuh"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_params.cuh"
#include "kernels/linear/linear_rows.h"
#include "kernels/linear/providers.h"

enum { ALGORITHMS = 8, ROUNDS = 3, MAX_TIMES = 64, PRODUCTS = 2, CHOICES = 128 };

static const float TRIAL_MS = 0.3f;

/* An algorithm that the heuristic names later must be this much faster: noise chooses nothing. */
static const float clear_gain = 0.97f;

static const size_t product_workspace = (size_t)32 << 20;

/* Column-major: `cols` columns of `rows` elements, `stride` apart. */
struct matrix {
    const void *data;
    int64_t rows, cols, stride;
};

/* d = epilogue(op_a(a) op_b(b) + beta c + bias) */
struct request {
    cudaDataType_t type;
    cublasOperation_t op_a, op_b;
    matrix a, b, c, d;
    float beta;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};

/* What the library keeps of a request: nothing of its data but the bias. */
struct product {
    cublasLtMatmulDesc_t description;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulAlgo_t algorithm;
};

struct linear_plan {
    cublasLtHandle_t handle;
    product products[PRODUCTS];
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

/* --- what to multiply --- */

/* False where the library has no such epilogue. */
static bool epilogue_of(int act, bool has_bias, cublasLtEpilogue_t *out)
{
    *out = has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    if (act == LINEAR_ACT_RELU)
        *out = has_bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    if (act == LINEAR_ACT_GELU_TANH)
        *out = has_bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    return act == LINEAR_ACT_NONE || act == LINEAR_ACT_RELU || act == LINEAR_ACT_GELU_TANH;
}

static bool is_even(const sq_tensor *t)
{
    return t->rank == 0 || linear_row_stride(t) > 0;
}

sq_status sq_linear_cublas_supports(const sq_call *call, const sq_device *, sq_error *why)
{
    const int act = (int)call->axis[AXIS_ACT];
    cublasLtEpilogue_t epilogue;
    SQ_TRY(sq_supports_types(call, why));
    if (!epilogue_of(act, call->axis[AXIS_BIAS] != 0, &epilogue))
        return sq_fail(why, SQ_UNSUPPORTED, "cublasLt has no such activation");
    if (act != LINEAR_ACT_NONE && (call->pass == SQ_PASS_BWD || call->axis[AXIS_RESIDUAL] != 0))
        return sq_fail(why, SQ_UNSUPPORTED, "an activation: pass fwd without a residual only");
    const bool is_bwd = call->pass == SQ_PASS_BWD;
    if (!is_even(&call->in[IN_X]) || !is_even(&call->in[IN_R]) || !is_even(&call->out[IN_X]) ||
        (is_bwd && !is_even(&call->in[IN_DY])))
        return sq_fail(why, SQ_UNSUPPORTED, "rows of a tensor are not evenly spaced");
    return SQ_OK;
}

/* (B, L, C) rows, or those of a weight, as columns. */
static matrix columns_of(const sq_tensor *t)
{
    if (t->rank == 2)
        return {t->data, t->dim[1], t->dim[0], t->dim[0] == 1 ? t->dim[1] : t->stride[0]};
    return {t->data, t->dim[2], t->dim[0] * t->dim[1], linear_row_stride(t)};
}

static cudaDataType_t type_of(sq_dtype dtype)
{
    return dtype == SQ_DTYPE_F32 ? CUDA_R_32F : dtype == SQ_DTYPE_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

static request forward_request(const sq_call *call)
{
    const sq_tensor *r = &call->in[IN_R];
    request q = {};
    q.type = type_of(call->dtype), q.op_a = CUBLAS_OP_T, q.op_b = CUBLAS_OP_N;
    q.a = columns_of(&call->in[IN_W]), q.b = columns_of(&call->in[IN_X]);
    q.d = columns_of(&call->out[0]);
    q.c = r->rank > 0 ? columns_of(r) : q.d;
    q.beta = r->rank > 0 ? 1.0f : 0.0f;
    q.bias = call->in[IN_BIAS].data;
    epilogue_of((int)call->axis[AXIS_ACT], call->in[IN_BIAS].rank > 0, &q.epilogue);
    return q;
}

/* which: 0 dx, 1 dW. */
static request gradient_request(const sq_call *call, int which)
{
    request q = {};
    q.type = type_of(call->dtype), q.op_a = CUBLAS_OP_N;
    q.op_b = which == 0 ? CUBLAS_OP_N : CUBLAS_OP_T;
    q.a = columns_of(&call->in[which == 0 ? IN_W : IN_X]);
    q.b = columns_of(&call->in[IN_DY]);
    q.c = q.d = columns_of(&call->out[which == 0 ? IN_X : IN_W]);
    q.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return q;
}

/* Returns how many. */
static int requests_of(const sq_call *call, request out[PRODUCTS])
{
    if (call->pass != SQ_PASS_BWD) {
        out[0] = forward_request(call);
        return 1;
    }
    out[0] = gradient_request(call, 0);
    out[1] = gradient_request(call, 1);
    return 2;
}

/* --- the library's objects --- */

static sq_status set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t name,
                     const void *value, size_t size, sq_error *err)
{
    return check(cublasLtMatmulDescSetAttribute(description, name, value, size),
                 "cublasLt attribute", err);
}

static sq_status set_layout(cublasLtMatrixLayout_t *layout, const request &q, const matrix &m,
                            sq_error *err)
{
    return check(
        cublasLtMatrixLayoutCreate(layout, q.type, (uint64_t)m.rows, (uint64_t)m.cols, m.stride),
        "cublasLt matrix layout", err);
}

static sq_status set_bias(const request &q, const product &p, sq_error *err)
{
    if (!q.bias)
        return SQ_OK;
    return set(p.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &q.bias, sizeof q.bias, err);
}

static sq_status describe(const request &q, product *p, sq_error *err)
{
    SQ_TRY(check(cublasLtMatmulDescCreate(&p->description, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                 "cublasLt descriptor", err));
    SQ_TRY(set(p->description, CUBLASLT_MATMUL_DESC_TRANSA, &q.op_a, sizeof q.op_a, err));
    SQ_TRY(set(p->description, CUBLASLT_MATMUL_DESC_TRANSB, &q.op_b, sizeof q.op_b, err));
    SQ_TRY(set(p->description, CUBLASLT_MATMUL_DESC_EPILOGUE, &q.epilogue, sizeof q.epilogue, err));
    SQ_TRY(set_bias(q, *p, err));
    SQ_TRY(set_layout(&p->a, q, q.a, err));
    SQ_TRY(set_layout(&p->b, q, q.b, err));
    SQ_TRY(set_layout(&p->c, q, q.c, err));
    return set_layout(&p->d, q, q.d, err);
}

static void forget(product *p)
{
    if (p->description)
        cublasLtMatmulDescDestroy(p->description);
    cublasLtMatrixLayout_t layouts[] = {p->a, p->b, p->c, p->d};
    for (cublasLtMatrixLayout_t layout : layouts)
        if (layout)
            cublasLtMatrixLayoutDestroy(layout);
}

/* The largest power of two up to 256 that divides the address. */
static uint32_t alignment_of(const void *data)
{
    uint32_t bytes = 256;
    while ((uintptr_t)data % bytes != 0)
        bytes /= 2;
    return bytes;
}

static cublasStatus_t set_preference(cublasLtMatmulPreference_t preference, const request &q)
{
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        uint32_t value;
    } small[] = {
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(q.a.data)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(q.b.data)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(q.c.data)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(q.d.data)},
    };
    cublasStatus_t status =
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &product_workspace, sizeof product_workspace);
    for (size_t i = 0; i < sizeof small / sizeof *small && status == CUBLAS_STATUS_SUCCESS; i++)
        status = cublasLtMatmulPreferenceSetAttribute(preference, small[i].name, &small[i].value,
                                                      sizeof small[i].value);
    return status;
}

/* Best first, as the heuristic guesses. */
static sq_status ask_heuristic(const linear_plan *plan, const request &q, const product &p,
                               cublasLtMatmulHeuristicResult_t *found, int *n, sq_error *err)
{
    cublasLtMatmulPreference_t preference;
    SQ_TRY(check(cublasLtMatmulPreferenceCreate(&preference), "cublasLt preference", err));
    cublasStatus_t status = set_preference(preference, q);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(plan->handle, p.description, p.a, p.b, p.c, p.d,
                                                preference, ALGORITHMS, found, n);
    cublasLtMatmulPreferenceDestroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS && *n == 0)
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    return check(status, "cublasLt heuristic", err);
}

static cublasStatus_t multiply(const linear_plan *plan, const request &q, const product &p,
                               const cublasLtMatmulAlgo_t &algorithm, void *d, void *workspace,
                               cudaStream_t stream)
{
    const float alpha = 1.0f;
    return cublasLtMatmul(plan->handle, p.description, &alpha, q.a.data, p.a, q.b.data, p.b,
                          &q.beta, q.beta != 0.0f ? q.c.data : d, p.c, d, p.d, &algorithm,
                          workspace, product_workspace, stream);
}

/* --- the fastest algorithm --- */

/* Where candidates may write: not into the call's own output. */
struct stage {
    void *d, *workspace;
    cudaEvent_t start, stop;
    cudaStream_t stream;
};

/* Milliseconds that the stream takes for what `enqueue` puts there; negative where it cannot. */
template <typename F>
static float time_of(const stage &s, F enqueue)
{
    float ms = -1.0f;
    cudaEventRecord(s.start, s.stream);
    const bool is_enqueued = enqueue();
    cudaEventRecord(s.stop, s.stream);
    const bool is_done = cudaEventSynchronize(s.stop) == cudaSuccess &&
                         cudaEventElapsedTime(&ms, s.start, s.stop) == cudaSuccess;
    return is_enqueued && is_done ? ms : -1.0f;
}

/* `enqueue` so many times; null where it cannot be captured. */
template <typename F>
static cudaGraphExec_t record(const stage &s, int times, F enqueue)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    if (cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
        bool is_enqueued = true;
        for (int i = 0; i < times; i++)
            is_enqueued = is_enqueued && enqueue();
        if (cudaStreamEndCapture(s.stream, &graph) == cudaSuccess && is_enqueued)
            (void)cudaGraphInstantiate(&exec, graph, 0);
        if (graph)
            cudaGraphDestroy(graph);
    }
    (void)cudaGetLastError();
    return exec;
}

/* Milliseconds of one product, negative where it cannot: the least of ROUNDS graphs of TRIAL_MS.
 * Enqueued one by one, products of a few us follow the pace of the host, which is the same for every
 * algorithm: processes would choose by its noise, and differ by 30 % afterwards. */
static float time_algorithm(const linear_plan *plan, const request &q, const product &p,
                            const cublasLtMatmulAlgo_t &algorithm, const stage &s)
{
    const auto enqueue = [&] {
        return multiply(plan, q, p, algorithm, s.d, s.workspace, s.stream) == CUBLAS_STATUS_SUCCESS;
    };
    if (!enqueue()) // the first loads the kernel
        return -1.0f;
    const float once = time_of(s, enqueue);
    if (once < 0.0f)
        return -1.0f;
    const int times = once * MAX_TIMES < TRIAL_MS ? MAX_TIMES : 1 + (int)(TRIAL_MS / once);
    const cudaGraphExec_t graph = record(s, times, enqueue);
    if (!graph)
        return once;
    float least = -1.0f;
    for (int i = 0; i < ROUNDS; i++) {
        const float ms =
            time_of(s, [&] { return cudaGraphLaunch(graph, s.stream) == cudaSuccess; });
        if (ms >= 0.0f && (least < 0.0f || ms < least))
            least = ms;
    }
    cudaGraphExecDestroy(graph);
    return least / (float)times;
}

static int fastest(const linear_plan *plan, const request &q, const product &p,
                   const cublasLtMatmulHeuristicResult_t *found, int n, const stage &s)
{
    int best = 0;
    float least = -1.0f;
    for (int i = 0; i < n; i++) {
        if (found[i].state != CUBLAS_STATUS_SUCCESS)
            continue;
        const float ms = time_algorithm(plan, q, p, found[i].algo, s);
        if (ms >= 0.0f && (least < 0.0f || ms < clear_gain * least)) {
            least = ms;
            best = i;
        }
    }
    return best;
}

static void close_stage(stage *s)
{
    cudaFree(s->d);
    cudaFree(s->workspace);
    if (s->start)
        cudaEventDestroy(s->start);
    if (s->stop)
        cudaEventDestroy(s->stop);
}

/* False where memory is short. */
static bool open_stage(const request &q, cudaStream_t stream, stage *s)
{
    const size_t element = q.type == CUDA_R_32F ? 4 : 2;
    *s = {};
    s->stream = stream;
    if (cudaMalloc(&s->d, (size_t)(q.d.stride * q.d.cols) * element) == cudaSuccess &&
        cudaMalloc(&s->workspace, product_workspace) == cudaSuccess &&
        cudaEventCreate(&s->start) == cudaSuccess && cudaEventCreate(&s->stop) == cudaSuccess)
        return true;
    (void)cudaGetLastError();
    close_stage(s);
    return false;
}

/* What a choice depends on. */
struct problem {
    int64_t numbers[24];
};

static problem problem_of(const request &q)
{
    const matrix *matrices[] = {&q.a, &q.b, &q.c, &q.d};
    problem key = {};
    int n = 0, device = 0;
    (void)cudaGetDevice(&device);
    for (const matrix *m : matrices)
        for (int64_t number : {m->rows, m->cols, m->stride, (int64_t)alignment_of(m->data)})
            key.numbers[n++] = number;
    for (int64_t number : {(int64_t)device, (int64_t)q.type, (int64_t)q.op_a, (int64_t)q.op_b,
                           (int64_t)q.epilogue, (int64_t)(q.beta != 0.0f)})
        key.numbers[n++] = number;
    return key;
}

/* The latest CHOICES of the process; prepare() is called by one thread. */
static struct {
    problem key;
    cublasLtMatmulAlgo_t algorithm;
} choices[CHOICES];
static int64_t n_choices;

static bool recall(const problem &key, cublasLtMatmulAlgo_t *algorithm)
{
    for (int64_t i = 0; i < n_choices && i < CHOICES; i++)
        if (memcmp(&choices[i].key, &key, sizeof key) == 0) {
            *algorithm = choices[i].algorithm;
            return true;
        }
    return false;
}

/* The heuristic's first where there is nothing to try on. */
static sq_status choose_algorithm(const linear_plan *plan, const request &q, cudaStream_t stream,
                                  product *p, sq_error *err)
{
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    const problem key = problem_of(q);
    int n = 0, best = 0;
    stage s;
    if (recall(key, &p->algorithm))
        return SQ_OK;
    SQ_TRY(ask_heuristic(plan, q, *p, found, &n, err));
    if (n > 1 && q.a.data && q.b.data && (q.c.data || q.beta == 0.0f) &&
        open_stage(q, stream, &s)) {
        best = fastest(plan, q, *p, found, n, s);
        const sq_status status =
            sq_cuda_check(cudaStreamSynchronize(stream), "cublasLt trial", err);
        close_stage(&s);
        SQ_TRY(status);
        choices[n_choices % CHOICES] = {key, found[best].algo};
        n_choices++;
    }
    p->algorithm = found[best].algo;
    return SQ_OK;
}

/* --- provider --- */

size_t sq_linear_cublas_workspace(const sq_call *call)
{
    return product_workspace + sq_linear_bias_workspace(call);
}

static sq_status fill_plan(const sq_call *call, linear_plan *plan, sq_error *err)
{
    request requests[PRODUCTS];
    const int n = requests_of(call, requests);
    SQ_TRY(check(cublasLtCreate(&plan->handle), "cublasLt", err));
    for (int i = 0; i < n; i++) {
        SQ_TRY(describe(requests[i], &plan->products[i], err));
        SQ_TRY(choose_algorithm(plan, requests[i], sq_stream(call), &plan->products[i], err));
    }
    return SQ_OK;
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
    const linear_plan *plan = (const linear_plan *)opaque;
    const sq_tensor *dy = &call->in[IN_DY];
    request requests[PRODUCTS];
    const int n = requests_of(call, requests);
    for (int i = 0; i < n; i++) {
        const request &q = requests[i];
        const product &p = plan->products[i];
        SQ_TRY(set_bias(q, p, err));
        SQ_TRY(check(
            multiply(plan, q, p, p.algorithm, (void *)q.d.data, call->workspace, sq_stream(call)),
            "cublasLt product", err));
    }
    if (call->pass != SQ_PASS_BWD)
        return SQ_OK;
    float *parts = (float *)((char *)call->workspace + product_workspace);
    SQ_TRY(sq_linear_bias_gradient(call, dy->data, dy->stride[0], dy->stride[1], parts, err));
    return sq_linear_residual_gradient(call, err);
}

void sq_linear_cublas_release(void *opaque)
{
    linear_plan *plan = (linear_plan *)opaque;
    if (!plan)
        return;
    for (product &p : plan->products)
        forget(&p);
    if (plan->handle)
        cublasLtDestroy(plan->handle);
    free(plan);
}
