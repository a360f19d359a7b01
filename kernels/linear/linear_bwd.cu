/* linear on CUDA, pass bwd: see linear_bwd.c for the formula.
 *
 * cuda/portable has one product, of rows by rows. So W, x and dz are laid out anew in workspace,
 * transposed: dx = dz (W^T)^T and dW = dz^T (x^T)^T are such products. Tokens are padded with zeros
 * to a multiple of 8, which the tensor cores want of what is summed over. db is summed in two
 * stages.
 */
#include "kernels/hw/column_sums.cuh"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_params.cuh"

enum { TILE = 32, TILE_ROWS = 8, THREADS = TILE * TILE_ROWS, BIAS_ROWS = 256, BIAS_SHARES = 128 };

/* --- layout of the workspace --- */

struct backward_plan {
    int64_t m, k, n, padded; /* rows, padded ones */
    int shares;
    size_t w, x, dz, flat, bytes; /* offsets of W^T, x^T, dz^T and dz; bias parts lie at 0 */
};

static int bias_shares(int64_t m)
{
    const int64_t shares = sq_ceil_div(m, BIAS_ROWS);
    return (int)(shares < BIAS_SHARES ? shares : BIAS_SHARES);
}

size_t sq_linear_bias_workspace(const sq_call *call)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W];
    if (call->pass != SQ_PASS_BWD || call->axis[AXIS_BIAS] == 0)
        return 0;
    return sizeof(float) * (size_t)(bias_shares(x->dim[0] * x->dim[1]) * w->dim[0]);
}

/* Offset of `count` elements more. */
static size_t take(size_t *bytes, int64_t count, sq_dtype dtype)
{
    const size_t at = (*bytes + 255) / 256 * 256;
    *bytes = at + (size_t)count * sq_dtype_size(dtype);
    return at;
}

static backward_plan plan_of(const sq_call *call)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W];
    backward_plan p = {};
    p.m = x->dim[0] * x->dim[1], p.k = x->dim[2], p.n = w->dim[0];
    p.padded = sq_ceil_div(p.m, 8) * 8;
    p.bytes = sq_linear_bias_workspace(call);
    p.w = take(&p.bytes, p.k * p.n, call->dtype);
    p.x = take(&p.bytes, p.k * p.padded, call->dtype);
    p.dz = take(&p.bytes, p.n * p.padded, call->dtype);
    if (call->axis[AXIS_ACT] != LINEAR_ACT_NONE)
        p.flat = take(&p.bytes, p.m * p.n, call->dtype);
    return p;
}

static int64_t tiles_of(int64_t rows, int64_t columns)
{
    return sq_ceil_div(rows, TILE) * sq_ceil_div(columns, TILE);
}

sq_status sq_linear_backward_supports(const sq_call *call, sq_error *why)
{
    const backward_plan p = plan_of(call);
    if (p.m > INT32_MAX - 7)
        return sq_fail(why, SQ_UNSUPPORTED, "over 2^31 rows to sum");
    if (tiles_of(p.n, p.k) > INT32_MAX || tiles_of(p.padded, p.k) > INT32_MAX ||
        tiles_of(p.padded, p.n) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "over 2^31 tiles to transpose");
    return SQ_OK;
}

size_t sq_linear_backward_workspace(const sq_call *call)
{
    return call->pass == SQ_PASS_BWD ? plan_of(call).bytes : 0;
}

/* --- transposition --- */

/* rows x columns, row m at m / length * b + m % length * row; to: columns x padded, zeros past the
 * rows. With an activation, whose arguments `pre` holds (rows x columns, dense), what is laid out
 * is the product with its slope, and `flat` receives it as it lies in `pre`. */
struct transposition {
    const void *from, *pre;
    void *to, *flat;
    int64_t b, row, length, rows, columns, padded;
    int act;
};

template <typename T>
__global__ void __launch_bounds__(THREADS) linear_transpose(const __grid_constant__ transposition t)
{
    __shared__ T tile[TILE][TILE + 1];
    const int64_t row_tiles = (t.padded + TILE - 1) / TILE;
    const int64_t row = blockIdx.x % row_tiles * TILE, column = blockIdx.x / row_tiles * TILE;
    const int x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;
#pragma unroll
    for (int i = y; i < TILE; i += TILE_ROWS) {
        const int64_t m = row + i, c = column + x;
        float value = 0.0f;
        if (m < t.rows && c < t.columns) {
            const T *from = (const T *)t.from + m / t.length * t.b + m % t.length * t.row;
            value = sq_to_f32(from[c]);
            if (t.act != LINEAR_ACT_NONE) {
                const int64_t at = m * t.columns + c;
                value *= linear_act_slope(t.act, sq_to_f32(((const T *)t.pre)[at]));
                ((T *)t.flat)[at] = sq_from_f32<T>(value);
            }
        }
        tile[i][x] = sq_from_f32<T>(value);
    }
    __syncthreads();
#pragma unroll
    for (int i = y; i < TILE; i += TILE_ROWS)
        if (column + i < t.columns && row + x < t.padded)
            ((T *)t.to)[(column + i) * t.padded + row + x] = tile[x][i];
}

template <typename T>
static sq_status transpose(const transposition &t, cudaStream_t stream, sq_error *err)
{
    const int64_t blocks = tiles_of(t.padded, t.columns);
    linear_transpose<T><<<(unsigned)blocks, THREADS, 0, stream>>>(t);
    return sq_launched("linear transposition", err);
}

/* --- db and dr --- */

/* Block (x, y): TILE columns, rows y * TILE_ROWS + {0..} and every gridDim.y * TILE_ROWS-th on. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    linear_bias_parts(const T *dz, int64_t b, int64_t row, int64_t length, int64_t rows,
                      int64_t columns, float *parts)
{
    __shared__ float part[TILE_ROWS][TILE];
    const int x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;
    const int64_t column = (int64_t)blockIdx.x * TILE + x;
    float sum = 0.0f;
    for (int64_t m = (int64_t)blockIdx.y * TILE_ROWS + y; m < rows && column < columns;
         m += (int64_t)gridDim.y * TILE_ROWS)
        sum += sq_to_f32(dz[m / length * b + m % length * row + column]);
    part[y][x] = sum;
    __syncthreads();
    if (y > 0 || column >= columns)
        return;
    for (int i = 1; i < TILE_ROWS; i++)
        sum += part[i][x];
    parts[blockIdx.y * columns + column] = sum;
}

sq_status sq_linear_bias_gradient(const sq_call *call, const void *dz, int64_t dz_b, int64_t dz_m,
                                  float *parts, sq_error *err)
{
    const sq_tensor *dy = &call->in[IN_DY], *db = &call->out[IN_BIAS];
    const int64_t rows = dy->dim[0] * dy->dim[1], columns = dy->dim[2];
    const int shares = bias_shares(rows);
    if (!db->data)
        return SQ_OK;
    const dim3 grid((unsigned)sq_ceil_div(columns, TILE), (unsigned)shares);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        linear_bias_parts<T><<<grid, THREADS, 0, sq_stream(call)>>>(
            (const T *)dz, dz_b, dz_m, dy->dim[1], rows, columns, parts);
        sq_launch_column_sums<T>(parts, (T *)db->data, NULL, shares, columns, sq_stream(call));
        return SQ_OK;
    }));
    return sq_launched("linear bias gradient", err);
}

template <typename T>
__global__ void linear_copy_rows(const T *from, int64_t from_b, int64_t from_m, T *to, int64_t to_b,
                                 int64_t to_m, int64_t length, int64_t columns, int64_t count)
{
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * THREADS) {
        const int64_t m = i / columns, c = i % columns;
        to[m / length * to_b + m % length * to_m + c] =
            from[m / length * from_b + m % length * from_m + c];
    }
}

sq_status sq_linear_residual_gradient(const sq_call *call, sq_error *err)
{
    const sq_tensor *dy = &call->in[IN_DY], *dr = &call->out[IN_R];
    const int64_t count = sq_tensor_count(dy), blocks = sq_ceil_div(count, THREADS);
    if (!dr->data)
        return SQ_OK;
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        linear_copy_rows<T>
            <<<(unsigned)(blocks < 65536 ? blocks : 65536), THREADS, 0, sq_stream(call)>>>(
                (const T *)dy->data, dy->stride[0], dy->stride[1], (T *)dr->data, dr->stride[0],
                dr->stride[1], dy->dim[1], dy->dim[2], count);
        return SQ_OK;
    }));
    return sq_launched("linear residual gradient", err);
}

/* --- the products --- */

/* dx = dz (W^T)^T */
static sq_status input_gradient(const sq_call *call, const backward_plan &plan, const void *w,
                                const void *dz, int64_t dz_b, int64_t dz_m, sq_error *err)
{
    const sq_tensor *dx = &call->out[IN_X];
    linear_params p = {};
    p.x = dz, p.x_b = dz_b, p.x_m = dz_m;
    p.w = w, p.w_n = plan.n;
    p.y = dx->data, p.y_b = dx->stride[0], p.y_m = dx->stride[1];
    p.m = plan.m, p.length = dx->dim[1], p.n = (int)plan.k, p.k = (int)plan.n;
    return sq_linear_product(&p, call->dtype, sq_stream(call), err);
}

/* dW = dz^T (x^T)^T */
static sq_status weight_gradient(const sq_call *call, const backward_plan &plan, const void *dz,
                                 const void *x, sq_error *err)
{
    const sq_tensor *dw = &call->out[IN_W];
    linear_params p = {};
    p.x = dz, p.x_m = plan.padded;
    p.w = x, p.w_n = plan.padded;
    p.y = dw->data, p.y_m = dw->stride[0];
    p.m = p.length = plan.n, p.n = (int)plan.k, p.k = (int)plan.padded;
    return sq_linear_product(&p, call->dtype, sq_stream(call), err);
}

template <typename T>
static sq_status lay_out(const sq_call *call, const backward_plan &plan, char *base, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W], *dy = &call->in[IN_DY];
    const cudaStream_t stream = sq_stream(call);
    const int act = (int)call->axis[AXIS_ACT];
    const transposition of_w = {w->data, NULL,         base + plan.w,  NULL,
                                0,       w->stride[0], plan.n,         plan.n,
                                plan.k,  plan.n,       LINEAR_ACT_NONE};
    const transposition of_x = {x->data,      NULL,         base + plan.x,  NULL,
                                x->stride[0], x->stride[1], x->dim[1],      plan.m,
                                plan.k,       plan.padded,  LINEAR_ACT_NONE};
    const transposition of_dz = {dy->data,
                                 call->saved,
                                 base + plan.dz,
                                 base + plan.flat,
                                 dy->stride[0],
                                 dy->stride[1],
                                 dy->dim[1],
                                 plan.m,
                                 plan.n,
                                 plan.padded,
                                 act};
    SQ_TRY(transpose<T>(of_w, stream, err));
    SQ_TRY(transpose<T>(of_x, stream, err));
    return transpose<T>(of_dz, stream, err);
}

sq_status sq_linear_cuda_backward(const sq_call *call, sq_error *err)
{
    const backward_plan plan = plan_of(call);
    const sq_tensor *dy = &call->in[IN_DY];
    char *base = (char *)call->workspace;
    const bool has_act = call->axis[AXIS_ACT] != LINEAR_ACT_NONE;
    const void *dz = has_act ? base + plan.flat : dy->data;
    const int64_t dz_m = has_act ? plan.n : dy->stride[1];
    const int64_t dz_b = has_act ? dy->dim[1] * plan.n : dy->stride[0];
    SQ_TRY(sq_with_type(call->dtype, err,
                        [&](auto type) { return lay_out<decltype(type)>(call, plan, base, err); }));
    SQ_TRY(input_gradient(call, plan, base + plan.w, dz, dz_b, dz_m, err));
    SQ_TRY(weight_gradient(call, plan, base + plan.dz, base + plan.x, err));
    SQ_TRY(sq_linear_bias_gradient(call, dz, dz_b, dz_m, (float *)base, err));
    return sq_linear_residual_gradient(call, err);
}
