/* norm, backward: see norm.h for the symbols. With r = 1 / sqrt(mean(c^2) + eps), N channels in a
 * group, d the gradient of the loss by what follows:
 *
 *   post: dz = dy (n w + b) silu'(z),  dy <- dy silu(z)
 *   db = sum over rows of dy           dw = sum over rows of dy n          dn = dy w
 *   du = r (dn - n mean(dn n))         centred: less its mean, r mean(dn)
 *   pre: dz = du s silu'(z),  du <- du silu(z)
 *   dx = dr = du + ds                  ds: of the sum that was handed on
 *
 * silu'(z) = o (1 + z (1 - o)) with o = 1 / (1 + e^-z). Source: the chain rule.
 */
#include "kernels/norm_core/norm.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { IN_DY = SQ_NORM_IN, IN_DS, BLOCK = 64 /* channels of w summed at once */ };

/* One group or part of one, unpacked. */
typedef struct {
    double *s, *w, *z, *b, *dy, *ds, *dx, *dz;
} group;

enum { VECTORS = 8 };

/* Mean (0 where not centred) and r of a group of a row. */
typedef struct {
    double mean, scale;
} moments;

static group cut(double *memory, int64_t n)
{
    return (group){memory,         memory + n,     memory + 2 * n, memory + 3 * n,
                   memory + 4 * n, memory + 5 * n, memory + 6 * n, memory + 7 * n};
}

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

static void fill(double *to, int64_t n, double value)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = value;
}

/* Channels [first, first + n) of group g of row m: s, z, dy and ds. */
static void read_row(const sq_norm *norm, const sq_call *call, int64_t m, int64_t g, int64_t first,
                     int64_t n, const group *v)
{
    const sq_tensor *x = &call->in[SQ_NORM_X], *z = &call->in[SQ_NORM_Z], *r = &call->in[SQ_NORM_R];
    const sq_tensor *dy = &call->in[IN_DY], *ds = &call->in[IN_DS];
    sq_row_read(x, sq_norm_offset(norm, x, m, g) + first, n, v->s);
    sq_row_read(dy, sq_norm_offset(norm, dy, m, g) + first, n, v->dy);
    if (z->data)
        sq_row_read(z, sq_norm_offset(norm, z, m, g) + first, n, v->z);
    fill(v->ds, n, 0);
    if (!r->data)
        return;
    sq_row_read(r, sq_norm_offset(norm, r, m, g) + first, n, v->ds);
    for (int64_t i = 0; i < n; i++)
        v->s[i] += v->ds[i];
    if (norm->residual == SQ_NORM_RESIDUAL_SAME)
        sq_named_row(v->s, n, v->s);
    sq_row_read(ds, sq_norm_offset(norm, ds, m, g) + first, n, v->ds);
}

/* Group g of w and b. */
static void read_vectors(const sq_norm *norm, const sq_call *call, int64_t g, const group *v)
{
    const sq_tensor *w = &call->in[SQ_NORM_W], *b = &call->in[SQ_NORM_B];
    fill(v->w, norm->width, 1);
    fill(v->b, norm->width, 0);
    if (w->data)
        sq_row_read(w, g * norm->width, norm->width, v->w);
    if (b->data)
        sq_row_read(b, g * norm->width, norm->width, v->b);
}

/* x silu(z). */
static double opened(const group *v, double x, int64_t i)
{
    return sq_named(x * sq_named(silu(v->z[i])));
}

static double gated(const sq_norm *norm, const group *v, int64_t i)
{
    return norm->gate == SQ_NORM_GATE_PRE ? opened(v, v->s[i], i) : v->s[i];
}

/* The gradient of n w + b. */
static double of_affine(const sq_norm *norm, const group *v, int64_t i)
{
    return norm->gate == SQ_NORM_GATE_POST ? opened(v, v->dy[i], i) : v->dy[i];
}

static moments moments_of(const sq_norm *norm, const group *v)
{
    const double n = (double)norm->width;
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < norm->width && norm->is_centred; i++)
        mean += gated(norm, v, i) / n;
    for (int64_t i = 0; i < norm->width; i++)
        squares += (gated(norm, v, i) - mean) * (gated(norm, v, i) - mean);
    return (moments){mean, 1 / sqrt(squares / n + norm->eps)};
}

/* c of a channel, such that n = c r is rounded. */
static double centred(const sq_norm *norm, const group *v, int64_t i, moments at)
{
    return sq_named_factor(at.scale, gated(norm, v, i) - at.mean);
}

/* dn of a channel. */
static double of_normal(const sq_norm *norm, const group *v, int64_t i)
{
    return sq_named(of_affine(norm, v, i) * v->w[i]);
}

/* dx (which is dr too) and dz of a group. */
static void of_row(const sq_norm *norm, const group *v, moments at)
{
    const double count = (double)norm->width;
    double mean = 0, along = 0;
    for (int64_t i = 0; i < norm->width; i++) {
        const double dn = of_normal(norm, v, i);
        mean += norm->is_centred ? dn / count : 0;
        along += dn * centred(norm, v, i, at) * at.scale / count;
    }
    for (int64_t i = 0; i < norm->width; i++) {
        const double n = centred(norm, v, i, at) * at.scale;
        double du = at.scale * (of_normal(norm, v, i) - mean - n * along);
        if (norm->gate == SQ_NORM_GATE_POST)
            v->dz[i] = v->dy[i] * sq_named(n * v->w[i] + v->b[i]) * silu_slope(v->z[i]);
        if (norm->gate == SQ_NORM_GATE_PRE) {
            du = sq_named(du);
            v->dz[i] = du * v->s[i] * silu_slope(v->z[i]);
            du *= silu(v->z[i]);
        }
        v->dx[i] = du + v->ds[i];
    }
}

static void run_row(const sq_norm *norm, const sq_call *call, int64_t m, const group *v,
                    moments *at)
{
    const sq_tensor *dx = &call->out[SQ_NORM_X], *dz = &call->out[SQ_NORM_Z];
    const sq_tensor *dr = &call->out[SQ_NORM_R];
    for (int64_t g = 0; g < norm->groups; g++) {
        read_row(norm, call, m, g, 0, norm->width, v);
        read_vectors(norm, call, g, v);
        at[g] = moments_of(norm, v);
        of_row(norm, v, at[g]);
        sq_row_write(dx, sq_norm_offset(norm, dx, m, g), norm->width, v->dx);
        if (dz->data)
            sq_row_write(dz, sq_norm_offset(norm, dz, m, g), norm->width, v->dz);
        if (dr->data)
            sq_row_write(dr, sq_norm_offset(norm, dr, m, g), norm->width, v->dx);
    }
}

/* dw and db of a block of channels of group g: sums over all rows. */
static void run_block(const sq_norm *norm, const sq_call *call, int64_t g, int64_t first,
                      const moments *at)
{
    const sq_tensor *x = &call->in[SQ_NORM_X], *dw = &call->out[SQ_NORM_W];
    const sq_tensor *db = &call->out[SQ_NORM_B];
    const int64_t left = norm->width - first, n = left < BLOCK ? left : BLOCK;
    double memory[VECTORS * BLOCK], of_w[BLOCK] = {0}, of_b[BLOCK] = {0};
    const group v = cut(memory, BLOCK);
    for (int64_t m = 0; m < x->dim[0] * x->dim[1]; m++) {
        const moments of = at[m * norm->groups + g];
        read_row(norm, call, m, g, first, n, &v);
        for (int64_t i = 0; i < n; i++) {
            const double dy = of_affine(norm, &v, i);
            of_w[i] += dy * centred(norm, &v, i, of) * of.scale;
            of_b[i] += dy;
        }
    }
    if (dw->data)
        sq_row_write(dw, g * norm->width + first, n, of_w);
    if (db->data)
        sq_row_write(db, g * norm->width + first, n, of_b);
}

static bool run_rows(const sq_norm *norm, const sq_call *call, moments *at)
{
    const int64_t rows = call->in[SQ_NORM_X].dim[0] * call->in[SQ_NORM_X].dim[1];
    bool is_ok = true;
#pragma omp parallel reduction(&& : is_ok)
    {
        double *memory = malloc((size_t)(VECTORS * norm->width) * sizeof *memory);
        const group v = memory ? cut(memory, norm->width) : (group){NULL};
        is_ok = memory != NULL;
#pragma omp for
        for (int64_t m = 0; m < rows; m++)
            if (memory)
                run_row(norm, call, m, &v, at + m * norm->groups);
        free(memory);
    }
    return is_ok;
}

static void run_vectors(const sq_norm *norm, const sq_call *call, const moments *at)
{
    const int64_t blocks = (norm->width + BLOCK - 1) / BLOCK;
#pragma omp parallel for
    for (int64_t i = 0; i < norm->groups * blocks; i++)
        run_block(norm, call, i / blocks, i % blocks * BLOCK, at);
}

sq_status sq_norm_backward(const sq_norm *norm, const sq_call *call, sq_error *err)
{
    const sq_tensor *x = &call->in[SQ_NORM_X];
    const int64_t rows = x->dim[0] * x->dim[1];
    moments *at = malloc((size_t)(rows * norm->groups) * sizeof *at);
    const bool is_ok = at && run_rows(norm, call, at);
    if (is_ok && (call->out[SQ_NORM_W].data || call->out[SQ_NORM_B].data))
        run_vectors(norm, call, at);
    free(at);
    if (!is_ok)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s backward: %lld rows", call->op->name,
                       (long long)rows);
    return SQ_OK;
}
