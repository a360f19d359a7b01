/* local_attention on CUDA: see local_attention.c for the operator.
 *
 *   cuda/naive     attention's naive kernels; naive.cuh
 *   cuda/portable  attention's kernels, with a table of the bias by distance; its gradient is
 *                  summed by distance beside dQ, then by bucket
 */
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/local_attention/local_attention.h"
#include "kernels/local_attention/naive.cuh"

enum { THREADS = 128 };

/* Bucket b has distances [first[b], first[b + 1]); biases: distances of the table. */
struct bias_params {
    const float *bias;
    float *table, *gradient;
    const float *parts;
    int64_t bias_bucket, bias_head, gradient_bucket, gradient_head, batch, tiles;
    int heads, biases;
    int first[MAX_BUCKETS + 1];
};

/* A block for each head and bucket. */
__global__ void __launch_bounds__(THREADS)
    local_attention_table(const __grid_constant__ bias_params p)
{
    const int h = (int)blockIdx.x, bucket = (int)blockIdx.y;
    const float value = p.bias[bucket * p.bias_bucket + h * p.bias_head] * SQ_LOG2E;
    for (int d = p.first[bucket] + (int)threadIdx.x; d < p.first[bucket + 1]; d += THREADS)
        p.table[(int64_t)h * p.biases + d] = value;
}

/* A block for each head and bucket: the sum over sequences, tiles and its distances. */
__global__ void __launch_bounds__(THREADS)
    local_attention_bias_gradient(const __grid_constant__ bias_params p)
{
    __shared__ float scratch[THREADS / 32];
    const int h = (int)blockIdx.x, bucket = (int)blockIdx.y;
    const int first = p.first[bucket], width = p.first[bucket + 1] - first;
    const int64_t count = p.batch * p.tiles * width;
    float sum[1] = {0.0f};
    for (int64_t i = threadIdx.x; i < count; i += THREADS) {
        const int64_t tile = i / width % p.tiles, b = i / width / p.tiles;
        sum[0] += p.parts[((b * p.heads + h) * p.tiles + tile) * p.biases + first + i % width];
    }
    sq_lanes_sum<THREADS>(sum, scratch);
    if (threadIdx.x == 0)
        p.gradient[bucket * p.gradient_bucket + h * p.gradient_head] = sum[0];
}

static bool has_bias(const sq_call *call)
{
    return call->in[IN_BIAS].rank > 0;
}

static bool is_backward(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD;
}

static size_t padded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* One number for each query and head. */
static size_t row_bytes(const sq_call *call)
{
    return sq_attention_lse_bytes(&call->in[IN_Q]);
}

static size_t saved_bytes(const sq_call *forward)
{
    return sq_attention_saved_bytes(&forward->in[IN_Q]);
}

static size_t table_bytes(const sq_call *call)
{
    const size_t biases = (size_t)sq_local_attention_biases(call->axis);
    return has_bias(call) ? padded((size_t)call->in[IN_Q].dim[2] * biases * sizeof(float)) : 0;
}

static int64_t tiles_of(const sq_call *call)
{
    return sq_ceil_div(call->in[IN_Q].dim[1], SQ_ATTENTION_BIAS_ROWS);
}

static bias_params bias_params_of(const sq_call *call)
{
    const sq_tensor *bias = &call->in[IN_BIAS];
    const int buckets = (int)bias->dim[0];
    bias_params p = {};
    p.bias = (const float *)bias->data;
    p.bias_bucket = bias->stride[0], p.bias_head = bias->stride[1];
    p.batch = call->in[IN_Q].dim[0], p.heads = (int)call->in[IN_Q].dim[2];
    p.tiles = tiles_of(call), p.biases = (int)sq_local_attention_biases(call->axis);
    p.table = (float *)call->workspace;
    for (int b = 0, d = 0; b <= buckets; b++) {
        while (d < p.biases && sq_local_attention_bucket(call->axis, d) < b)
            d++;
        p.first[b] = d;
    }
    return p;
}

/* Pass step and cuda/naive read any rows. */
static sq_attention_rows rows_of(const sq_call *call, bool needs_vectors)
{
    const sq_attention_rules rules = sq_local_attention_rules(call->pass, call->axis);
    return sq_attention_rows_of(&rules, call, IN_DO, needs_vectors);
}

static attention_params params_of(const sq_call *call, const sq_attention_rows *rows)
{
    const sq_attention_rules rules = sq_local_attention_rules(call->pass, call->axis);
    attention_params p = sq_attention_params(&rules, rows);
    p.bias = has_bias(call) ? (const float *)call->workspace : NULL;
    p.biases = has_bias(call) ? (int)sq_local_attention_biases(call->axis) : 0;
    return p;
}

/* Workspace: the table; the rows' copies; then of pass bwd delta and the parts of the bias, of pass
 * step its splits. */
static size_t workspace(const sq_call *call)
{
    const sq_attention_rows rows = rows_of(call, call->pass != SQ_PASS_STEP);
    const size_t table = table_bytes(call), bytes = table + sq_attention_rows_bytes(&rows);
    const attention_params p = params_of(call, &rows);
    if (call->pass == SQ_PASS_STEP)
        return bytes + sq_attention_step_workspace(&p, &rows);
    if (!is_backward(call))
        return bytes;
    const int64_t parts = call->in[IN_Q].dim[0] * tiles_of(call);
    return bytes + row_bytes(call) + (size_t)parts * table;
}

static sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    const sq_attention_rows rows = rows_of(call, call->pass != SQ_PASS_STEP);
    const sq_tensor *q = &call->in[IN_Q];
    const int biases = has_bias(call) ? (int)sq_local_attention_biases(call->axis) : 0;
    SQ_TRY(sq_supports_types(call, why));
    if (call->pass == SQ_PASS_STEP)
        return sq_attention_step_supports(&rows, why);
    SQ_TRY(sq_attention_portable_supports(q, device, why));
    if (!is_backward(call))
        return SQ_OK;
    return sq_supports_shared(device, sq_attention_bwd_shared_bytes(call->dtype, q->dim[3], biases),
                              why);
}

static sq_status make_table(const sq_call *call, sq_error *err)
{
    if (!has_bias(call))
        return SQ_OK;
    const bias_params p = bias_params_of(call);
    const dim3 blocks((unsigned)p.heads, (unsigned)call->in[IN_BIAS].dim[0]);
    local_attention_table<<<blocks, THREADS, 0, sq_stream(call)>>>(p);
    return sq_launched("local_attention's table", err);
}

/* By bucket, from the parts by distance. */
static sq_status sum_bias_gradient(const sq_call *call, const float *parts, sq_error *err)
{
    if (!has_bias(call))
        return SQ_OK;
    const sq_tensor *to = &call->out[IN_BIAS];
    bias_params p = bias_params_of(call);
    p.parts = parts, p.gradient = (float *)to->data;
    p.gradient_bucket = to->stride[0], p.gradient_head = to->stride[1];
    const dim3 blocks((unsigned)p.heads, (unsigned)to->dim[0]);
    local_attention_bias_gradient<<<blocks, THREADS, 0, sq_stream(call)>>>(p);
    return sq_launched("local_attention's bias gradient", err);
}

/* --- naive --- */

static size_t sums_bytes(const sq_call *call)
{
    return table_bytes(call) + sq_attention_naive_workspace(call);
}

/* Workspace: the table; of pass bwd the sums of the rows and the parts of the bias. */
static size_t workspace_naive(const sq_call *call)
{
    const int64_t *dim = call->in[IN_Q].dim;
    const int64_t buckets = has_bias(call) && is_backward(call) ? call->in[IN_BIAS].dim[0] : 0;
    return sums_bytes(call) + (size_t)(dim[0] * dim[1] * dim[2] * buckets) * sizeof(float);
}

static sq_status launch_naive_bias(const sq_call *call, const attention_params *p,
                                   const sq_attention_rows *rows, void *sums, sq_error *err)
{
    const bias_params bias = bias_params_of(call);
    const int64_t *dim = call->in[IN_Q].dim, buckets = call->in[IN_BIAS].dim[0];
    float *parts = (float *)((char *)call->workspace + sums_bytes(call));
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        local_attention_naive_part<T> part = {attention_naive_grads_of<T>(p, rows, sums), parts,
                                              (int)buckets};
        for (int i = 0; i <= buckets; i++)
            part.first[i] = bias.first[i];
        return sq_naive_run(call, part, dim[0] * dim[1] * dim[2] * buckets, err);
    }));
    const local_attention_naive_bias sum = {
        sq_naive_of<float>(call->out[IN_BIAS]), parts, dim[0], dim[2], dim[1], buckets};
    return sq_naive_run(call, sum, dim[2] * buckets, err);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const sq_attention_rows rows = rows_of(call, false); /* as they lie: nothing turns */
    const attention_params p = params_of(call, &rows);
    void *const sums = (char *)call->workspace + table_bytes(call);
    SQ_TRY(make_table(call, err));
    if (!is_backward(call))
        return sq_attention_naive_forward(call, &p, err);
    SQ_TRY(sq_attention_naive_backward(call, &p, &rows, sums, err));
    return has_bias(call) ? launch_naive_bias(call, &p, &rows, sums, err) : SQ_OK;
}

/* --- portable --- */

/* rest: the workspace behind the rows. */
static sq_status launch_backward(const sq_call *call, const attention_params *p,
                                 const sq_attention_rows *rows, char *rest, sq_error *err)
{
    float *const parts = has_bias(call) ? (float *)(rest + row_bytes(call)) : NULL;
    SQ_TRY(sq_attention_portable_backward(p, rows, (float *)rest, parts, sq_stream(call), err));
    return sum_bias_gradient(call, parts, err);
}

static sq_status launch(const sq_call *call, void *, sq_error *err)
{
    const cudaStream_t stream = sq_stream(call);
    const size_t table = table_bytes(call);
    sq_attention_rows rows = rows_of(call, call->pass != SQ_PASS_STEP);
    SQ_TRY(make_table(call, err));
    SQ_TRY(sq_attention_rows_load(&rows, call, table, err));
    attention_params p = params_of(call, &rows);
    char *const rest = (char *)call->workspace + table + sq_attention_rows_bytes(&rows);
    if (call->pass == SQ_PASS_STEP)
        return sq_attention_portable_step(&p, &rows, rest, stream, err);
    sq_attention_use_saved(&p, &call->in[IN_Q], call->saved);
    if (is_backward(call))
        SQ_TRY(launch_backward(call, &p, &rows, rest, err));
    else
        SQ_TRY(sq_attention_portable_forward(&p, call->dtype, stream, err));
    return sq_attention_rows_store(&rows, stream, err);
}

extern "C" const sq_provider sq_cuda_local_attention[] = {
    {.name = "cuda/naive",
     .note = "a warp for each output row; bwd: a thread for each element",
     .supports = sq_attention_naive_supports,
     .workspace = workspace_naive,
     .launch = launch_naive,
     .passes = SQ_HAS_BWD},
    {.name = "cuda/portable",
     .note = "attention's kernels with a table of the bias by distance",
     .supports = supports,
     .workspace = workspace,
     .launch = launch,
     .passes = SQ_HAS_BWD | SQ_HAS_STEP,
     .saved = saved_bytes},
    {.name = NULL},
};
