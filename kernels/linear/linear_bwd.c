/* linear, backward: dx = dy W, dW = dy^T x, db = sum over rows of dy, dr = dy. */
#include "kernels/linear/linear.h"

#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DY = IN_COUNT };

/* to[i] += factor * from[i] */
static void add_scaled(double *to, double factor, const double *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* Row m of dx, and of dr. */
static void run_row(const sq_call *call, int64_t m, const double *w, double *dy, double *dx)
{
    const int64_t k = call->in[IN_X].dim[2], n = call->in[IN_W].dim[0];
    const sq_tensor *dr = &call->out[IN_R];
    sq_row_read(&call->in[IN_DY], sq_row_offset(&call->in[IN_DY], m), n, dy);
    for (int64_t i = 0; i < k; i++)
        dx[i] = 0;
    for (int64_t j = 0; j < n; j++)
        add_scaled(dx, dy[j], w + j * k, k);
    sq_row_write(&call->out[IN_X], sq_row_offset(&call->out[IN_X], m), k, dx);
    if (dr->data)
        sq_row_write(dr, sq_row_offset(dr, m), n, dy);
}

/* Row j of dW, and db_j. */
static void run_feature(const sq_call *call, int64_t j, const double *x, double *dw)
{
    const sq_tensor *dy = &call->in[IN_DY], *db = &call->out[IN_BIAS], *out = &call->out[IN_W];
    const int64_t rows = dy->dim[0] * dy->dim[1], k = call->in[IN_X].dim[2];
    double sum = 0;
    for (int64_t i = 0; i < k; i++)
        dw[i] = 0;
    for (int64_t m = 0; m < rows; m++) {
        const double g = sq_load(dy->data, dy->dtype, sq_row_offset(dy, m) + j * dy->stride[2]);
        add_scaled(dw, g, x + m * k, k);
        sum += g;
    }
    sq_row_write(out, j * out->stride[0], k, dw);
    if (db->data)
        sq_store(db->data, db->dtype, j * db->stride[0], sum);
}

sq_status sq_linear_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W];
    const int64_t rows = x->dim[0] * x->dim[1], k = x->dim[2], n = w->dim[0];
    double *memory = malloc((size_t)(rows * k + n * k + n + k) * sizeof *memory);
    if (!memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "linear backward: %lld rows of %lld",
                       (long long)(rows + n), (long long)k);
    double *all_x = memory, *all_w = memory + rows * k, *of_n = all_w + n * k, *of_k = of_n + n;
    for (int64_t m = 0; m < rows; m++)
        sq_row_read(x, sq_row_offset(x, m), k, all_x + m * k);
    for (int64_t j = 0; j < n; j++)
        sq_row_read(w, j * w->stride[0], k, all_w + j * k);
    for (int64_t m = 0; m < rows; m++)
        run_row(call, m, all_w, of_n, of_k);
    for (int64_t j = 0; j < n; j++)
        run_feature(call, j, all_x, of_k);
    free(memory);
    return SQ_OK;
}
