/* linear, backward. With a = x W^T + b:
 *
 *   dz = dy act'(a)     dx = dz W     dW = dz^T x     db = sum over rows of dz     dr = dy
 */
#include "kernels/linear/linear.h"

#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

/* to[i] += factor * from[i] */
static void add_scaled(double *to, double factor, const double *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* All rows unpacked, and dz. */
typedef struct {
    int64_t rows, k, n;
    double *x, *w, *dz;
} operands;

/* dz of row m becomes dy act'(a). */
static void add_activation(const sq_call *call, const operands *o, int64_t m)
{
    const sq_tensor *b = &call->in[IN_BIAS];
    const int act = (int)call->axis[AXIS_ACT];
    for (int64_t j = 0; act != LINEAR_ACT_NONE && j < o->n; j++) {
        const double bias = b->data ? sq_load1(b, j) : 0;
        double *dz = &o->dz[m * o->n + j];
        const double a = sq_row_dot(o->x + m * o->k, o->w + j * o->k, o->k) + bias;
        *dz *= sq_linear_act_slope(act, sq_named(a));
        *dz = sq_named(*dz);
    }
}

/* Row m of dz, dx and dr. */
static void run_row(const sq_call *call, const operands *o, int64_t m, double *dx)
{
    const sq_tensor *dy = &call->in[IN_DY], *dr = &call->out[IN_R], *out = &call->out[IN_X];
    double *dz = o->dz + m * o->n;
    sq_row_read(dy, sq_row_offset(dy, m), o->n, dz);
    if (dr->data)
        sq_row_write(dr, sq_row_offset(dr, m), o->n, dz);
    add_activation(call, o, m);
    for (int64_t i = 0; i < o->k; i++)
        dx[i] = 0;
    for (int64_t j = 0; j < o->n; j++)
        add_scaled(dx, dz[j], o->w + j * o->k, o->k);
    sq_row_write(out, sq_row_offset(out, m), o->k, dx);
}

/* Row j of dW, and db_j. */
static void run_feature(const sq_call *call, const operands *o, int64_t j, double *dw)
{
    const sq_tensor *db = &call->out[IN_BIAS], *out = &call->out[IN_W];
    double sum = 0;
    for (int64_t i = 0; i < o->k; i++)
        dw[i] = 0;
    for (int64_t m = 0; m < o->rows; m++) {
        add_scaled(dw, o->dz[m * o->n + j], o->x + m * o->k, o->k);
        sum += o->dz[m * o->n + j];
    }
    sq_row_write(out, j * out->stride[0], o->k, dw);
    if (db->data)
        sq_store(db->data, db->dtype, j * db->stride[0], sum);
}

/* False when out of memory. */
static bool run(const sq_call *call, const operands *o)
{
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *of_k = malloc((size_t)o->k * sizeof *of_k);
        is_ok = of_k != NULL;
#pragma omp for
        for (int64_t m = 0; m < o->rows; m++)
            if (of_k)
                run_row(call, o, m, of_k);
#pragma omp for
        for (int64_t j = 0; j < o->n; j++)
            if (of_k)
                run_feature(call, o, j, of_k);
        free(of_k);
    }
    return is_ok;
}

sq_status sq_linear_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W];
    operands o = {.rows = x->dim[0] * x->dim[1], .k = x->dim[2], .n = w->dim[0]};
    o.x = malloc((size_t)(o.rows * o.k + o.n * o.k + o.rows * o.n) * sizeof *o.x);
    if (o.x) {
        o.w = o.x + o.rows * o.k;
        o.dz = o.w + o.n * o.k;
        for (int64_t m = 0; m < o.rows; m++)
            sq_row_read(x, sq_row_offset(x, m), o.k, o.x + m * o.k);
        for (int64_t j = 0; j < o.n; j++)
            sq_row_read(w, j * w->stride[0], o.k, o.w + j * o.k);
    }
    const bool is_ok = o.x && run(call, &o);
    free(o.x);
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "linear backward: %lld rows of %lld",
                       (long long)(o.rows + o.n), (long long)o.k);
    return SQ_OK;
}
