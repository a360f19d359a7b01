/* attention_rows: see attention_rows.cuh. */
#include "kernels/attention/attention_rows.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/rope/rotary_cuda.h"

enum { THREADS = 256, CHANNELS = 8, MOST_BLOCKS = 1 << 20 };

/* Strides in elements: b batch, l position, h head. */
struct copy_params {
    const void *from;
    void *to;
    int64_t from_b, from_l, from_h, to_b, to_l, to_h, count;
    int length, heads, units, from_d, to_d;
};

/* A thread copies up to CHANNELS channels of a row at a time; those that the source lacks are 0. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    attention_copy_rows(const __grid_constant__ copy_params p)
{
    const int64_t step = (int64_t)gridDim.x * THREADS;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < p.count; i += step) {
        const int64_t row = i / p.units, h = row % p.heads;
        const int64_t l = row / p.heads % p.length, b = row / p.heads / p.length;
        const T *from = (const T *)p.from + b * p.from_b + l * p.from_l + h * p.from_h;
        T *to = (T *)p.to + b * p.to_b + l * p.to_l + h * p.to_h;
        const int first = (int)(i % p.units) * CHANNELS;
        for (int c = first; c < min(first + CHANNELS, p.to_d); c++)
            to[c] = c < p.from_d ? from[c] : (T)0;
    }
}

static sq_status copy_rows(const sq_tensor *from, const sq_tensor *to, cudaStream_t stream,
                           sq_error *err)
{
    copy_params p = {};
    p.from = from->data, p.from_d = (int)from->dim[3];
    p.from_b = from->stride[0], p.from_l = from->stride[1], p.from_h = from->stride[2];
    p.to = to->data, p.to_d = (int)to->dim[3];
    p.to_b = to->stride[0], p.to_l = to->stride[1], p.to_h = to->stride[2];
    p.length = (int)to->dim[1], p.heads = (int)to->dim[2];
    p.units = (int)sq_ceil_div(p.to_d, CHANNELS);
    p.count = to->dim[0] * to->dim[1] * to->dim[2] * p.units;
    const int64_t blocks = sq_ceil_div(p.count, THREADS);
    const unsigned grid = (unsigned)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS);
    if (sq_dtype_size(to->dtype) == 2)
        attention_copy_rows<uint16_t><<<grid, THREADS, 0, stream>>>(p);
    else
        attention_copy_rows<uint32_t><<<grid, THREADS, 0, stream>>>(p);
    return sq_launched("attention's copy of rows", err);
}

int64_t sq_attention_wide_d(const sq_tensor *t)
{
    const int64_t vector = 16 / (int64_t)sq_dtype_size(t->dtype);
    return sq_ceil_div(t->dim[3], vector) * vector;
}

bool sq_attention_has_vectors(const sq_tensor *t)
{
    return t->dim[3] == sq_attention_wide_d(t) && sq_is_vector_aligned(t);
}

/* Gradients turn back where they are. */
static bool has_copy(const sq_attention_rows *rows, int i)
{
    return rows->is_padded[i] || (rows->is_turned[i] && i < rows->outputs);
}

static void add(sq_attention_rows *rows, const sq_tensor *t, bool is_turned, bool needs_vectors)
{
    const int i = rows->count++;
    rows->own[i] = rows->taken[i] = *t;
    rows->is_turned[i] = is_turned;
    rows->is_padded[i] = needs_vectors && !sq_attention_has_vectors(t);
    if (!has_copy(rows, i))
        return;
    const int64_t d = needs_vectors ? sq_attention_wide_d(t) : t->dim[3];
    const int64_t dim[4] = {t->dim[0], t->dim[1], t->dim[2], d};
    rows->taken[i] = sq_tensor_dense(NULL, t->dtype, 4, dim);
}

sq_attention_rows sq_attention_rows_of(const sq_attention_rules *rules, const sq_call *call,
                                       int d_o, bool needs_vectors)
{
    const bool turns_q = rules->rotation.dims > 0, turns_k = turns_q && !rules->is_cached;
    const bool is_backward = call->pass == SQ_PASS_BWD;
    sq_attention_rows rows = {};
    rows.rotation = rules->rotation, rows.position = sq_attention_position(rules, 0);
    rows.outputs = is_backward ? SQ_ROWS_DQ : SQ_ROWS_O;
    add(&rows, &call->in[SQ_ROWS_Q], turns_q, needs_vectors);
    add(&rows, &call->in[SQ_ROWS_K], turns_k, needs_vectors);
    add(&rows, &call->in[SQ_ROWS_V], false, needs_vectors);
    add(&rows, is_backward ? &call->in[d_o + 1] : &call->out[0], false, needs_vectors);
    if (!is_backward)
        return rows;
    add(&rows, &call->in[d_o], false, needs_vectors);
    add(&rows, &call->out[SQ_ROWS_Q], turns_q, needs_vectors);
    add(&rows, &call->out[SQ_ROWS_K], turns_k, needs_vectors);
    add(&rows, &call->out[SQ_ROWS_V], false, needs_vectors);
    return rows;
}

static size_t copy_bytes(const sq_attention_rows *rows, int i)
{
    return has_copy(rows, i) ? (sq_tensor_bytes(&rows->taken[i]) + 255) / 256 * 256 : 0;
}

size_t sq_attention_rows_bytes(const sq_attention_rows *rows)
{
    size_t bytes = 0;
    for (int i = 0; i < rows->count; i++)
        bytes += copy_bytes(rows, i);
    return bytes;
}

sq_status sq_attention_rows_fit(const sq_attention_rows *rows, sq_error *why)
{
    for (int i = 0; i < rows->count; i++)
        if (rows->is_turned[i])
            SQ_TRY(sq_rotary_fits(&rows->taken[i], why));
    return SQ_OK;
}

static sq_status turn(const sq_attention_rows *rows, int i, const sq_tensor *from,
                      cudaStream_t stream, sq_error *err)
{
    const bool is_query = i == SQ_ROWS_Q || i == SQ_ROWS_DQ;
    return sq_rotary_launch(&rows->rotation, from, &rows->taken[i], is_query ? rows->position : 0,
                            i >= rows->outputs, stream, err);
}

/* An input that turns is padded first: its zeros are copied along then. */
static sq_status load(const sq_attention_rows *rows, int i, cudaStream_t stream, sq_error *err)
{
    if (rows->is_padded[i])
        SQ_TRY(copy_rows(&rows->own[i], &rows->taken[i], stream, err));
    if (!rows->is_turned[i])
        return SQ_OK;
    return turn(rows, i, rows->is_padded[i] ? &rows->taken[i] : &rows->own[i], stream, err);
}

sq_status sq_attention_rows_load(sq_attention_rows *rows, const sq_call *call, size_t first,
                                 sq_error *err)
{
    const size_t bytes = sq_attention_rows_bytes(rows);
    if (bytes > 0 && first + bytes > call->workspace_bytes)
        return sq_fail(err, SQ_UNSUPPORTED, "rows are less aligned than they were planned to be");
    for (int i = 0; i < rows->count; i++) {
        if (has_copy(rows, i))
            rows->taken[i].data = (char *)call->workspace + first;
        first += copy_bytes(rows, i);
    }
    for (int i = 0; i < rows->outputs; i++)
        SQ_TRY(load(rows, i, sq_stream(call), err));
    return SQ_OK;
}

sq_status sq_attention_rows_store(const sq_attention_rows *rows, cudaStream_t stream, sq_error *err)
{
    for (int i = rows->outputs; i < rows->count; i++) {
        if (rows->is_turned[i])
            SQ_TRY(turn(rows, i, &rows->taken[i], stream, err));
        if (rows->is_padded[i])
            SQ_TRY(copy_rows(&rows->taken[i], &rows->own[i], stream, err));
    }
    return SQ_OK;
}
