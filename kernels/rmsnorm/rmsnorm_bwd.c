/* rmsnorm, backward. With r = 1 / sqrt(mean(u^2) + eps), n channels in a group, g = dy w (post:
 * times silu(z)):
 *
 *   du = r (g - u r^2 mean(g u))      dw = sum over rows of dy u r (post: times silu(z))
 *   none, post: dx = du               post: dz = dy u r w silu'(z)
 *   pre: dx = du silu(z)              pre: dz = du x silu'(z)
 *
 * silu'(z) = s (1 + z (1 - s)) with s = 1 / (1 + e^-z). Source: the chain rule on rmsnorm.c's
 * equation.
 */
#include "kernels/rmsnorm/rmsnorm.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DY = IN_COUNT };

/* One row, unpacked; D numbers each. dw is the sum over the rows so far. */
typedef struct {
    double *x, *w, *z, *dy, *dx, *dw, *dz;
} row;

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

static double silu(double z)
{
    return z * sigmoid(z);
}

static double silu_slope(double z)
{
    return sigmoid(z) * (1 + z * (1 - sigmoid(z)));
}

/* Channels [first, first + n) of a row. */
static void group(const row *v, int64_t first, int64_t n, int gate, double eps)
{
    double squares = 0, product = 0;
    for (int64_t i = first; i < first + n; i++) {
        const double u = gate == GATE_PRE ? v->x[i] * silu(v->z[i]) : v->x[i];
        const double g = v->dy[i] * v->w[i] * (gate == GATE_POST ? silu(v->z[i]) : 1);
        squares += u * u;
        product += g * u;
    }
    const double r = 1 / sqrt(squares / (double)n + eps), mean = product / (double)n;
    for (int64_t i = first; i < first + n; i++) {
        const double open = gate == GATE_NONE ? 1 : silu(v->z[i]);
        const double slope = gate == GATE_NONE ? 0 : silu_slope(v->z[i]);
        const double u = gate == GATE_PRE ? v->x[i] * open : v->x[i];
        const double g = v->dy[i] * v->w[i] * (gate == GATE_POST ? open : 1);
        const double du = r * (g - u * r * r * mean);
        v->dw[i] += v->dy[i] * u * r * (gate == GATE_POST ? open : 1);
        v->dx[i] = gate == GATE_PRE ? du * open : du;
        v->dz[i] = gate == GATE_PRE ? du * v->x[i] * slope : v->dy[i] * u * r * v->w[i] * slope;
    }
}

static void run_row(const sq_call *call, int64_t m, const row *v)
{
    const sq_tensor *x = &call->in[IN_X], *z = &call->in[IN_Z], *dy = &call->in[IN_DY];
    const int64_t d = x->dim[2], n = d / sq_axis_int(call->axis, AXIS_GROUPS);
    sq_row_read(x, sq_row_offset(x, m), d, v->x);
    sq_row_read(dy, sq_row_offset(dy, m), d, v->dy);
    if (z->data)
        sq_row_read(z, sq_row_offset(z, m), d, v->z);
    for (int64_t first = 0; first < d; first += n)
        group(v, first, n, (int)call->axis[AXIS_GATE], call->axis[AXIS_EPS]);
    sq_row_write(&call->out[IN_X], sq_row_offset(&call->out[IN_X], m), d, v->dx);
    if (z->data)
        sq_row_write(&call->out[IN_Z], sq_row_offset(&call->out[IN_Z], m), d, v->dz);
}

sq_status sq_rmsnorm_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W];
    const int64_t d = x->dim[2];
    double *memory = calloc((size_t)(7 * d), sizeof *memory);
    if (!memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "rmsnorm backward: D=%lld", (long long)d);
    const row v = {.x = memory,
                   .w = memory + d,
                   .z = memory + 2 * d,
                   .dy = memory + 3 * d,
                   .dx = memory + 4 * d,
                   .dw = memory + 5 * d,
                   .dz = memory + 6 * d};
    for (int64_t i = 0; i < d; i++)
        v.w[i] = w->data ? sq_load(w->data, w->dtype, i * w->stride[0]) : 1;
    for (int64_t m = 0; m < x->dim[0] * x->dim[1]; m++)
        run_row(call, m, &v);
    if (w->data)
        sq_row_write(&call->out[IN_W], 0, d, v.dw);
    free(memory);
    return SQ_OK;
}
