/* retention, backward: the shared recurrence's (kernels/shared/decay_scan_bwd.c); decays are
 * constants, and so are the normalisers decay and torchscale. norm=paper has r_t = sum_s R_ts / c_t
 * = f_t q_t . z_t with z_t = gamma z_{t-1} + k_t and f_t = 1 / (sqrt(K) c_t), and where |r_t| > 1
 *
 *   dr_t = -(do_t . o_t) / r_t              dq_t += dr_t f_t z_t
 *   dz_t = dr_t f_t q_t + gamma dz_{t+1}    dk_t += dz_t
 *
 * A single step has o_0 = +-v_0 then, and of that gradients of 0, exactly.
 */
#include "kernels/retention/retention.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { IN_DO = IN_COUNT };

/* One (b, h). Rows of L steps by K; slope: dr_t f_t. z: z_t, then dz_t. */
typedef struct {
    const sq_call *call;
    const sq_tensor *o; /* of the forward pass, f64 */
    int64_t b, h, length, keys;
    double *q, *k, *dq, *dk, *slope, *z;
} job;

static double *row_of(double *rows, const job *j, int64_t t)
{
    return rows + t * j->keys;
}

static double output_dot(const job *j, int64_t t)
{
    const sq_tensor *d_o = &j->call->in[IN_DO], *o = j->o;
    double sum = 0;
    for (int64_t c = 0; c < o->dim[3]; c++)
        sum += sq_named(sq_load(o->data, o->dtype, sq_offset3(o, j->b, t, j->h) + c)) *
               sq_load(d_o->data, d_o->dtype, sq_offset3(d_o, j->b, t, j->h) + c);
    return sum;
}

static void add_forward(const job *j, double gamma)
{
    for (int64_t t = 0; t < j->length; t++) {
        const double f = sq_retention_decay_norm(j->call, t, j->h) / sqrt((double)j->keys);
        for (int64_t n = 0; n < j->keys; n++)
            j->z[n] = (t == 0 ? 0 : gamma * j->z[n]) + row_of(j->k, j, t)[n];
        const double r = f * sq_row_dot(row_of(j->q, j, t), j->z, j->keys);
        j->slope[t] = fabs(r) > 1 ? -output_dot(j, t) / r * f : 0;
        for (int64_t n = 0; n < j->keys; n++)
            row_of(j->dq, j, t)[n] += j->slope[t] * j->z[n];
    }
}

static void add_backward(const job *j, double gamma)
{
    for (int64_t t = j->length - 1; t >= 0; t--)
        for (int64_t n = 0; n < j->keys; n++) {
            j->z[n] =
                j->slope[t] * row_of(j->q, j, t)[n] + (t == j->length - 1 ? 0 : gamma * j->z[n]);
            row_of(j->dk, j, t)[n] += j->z[n];
        }
}

/* Adds the normaliser's part to dq and dk, which are f64. */
static void run_head(const job *j, const sq_tensor *dq, const sq_tensor *dk)
{
    const sq_tensor *q = &j->call->in[IN_Q], *k = &j->call->in[IN_K];
    const double gamma = exp(sq_retention_log_gamma(j->call, j->h));
    for (int64_t t = 0; t < j->length; t++) {
        sq_row_read(q, sq_offset3(q, j->b, t, j->h), j->keys, row_of(j->q, j, t));
        sq_row_read(k, sq_offset3(k, j->b, t, j->h), j->keys, row_of(j->k, j, t));
        sq_row_read(dq, sq_offset3(dq, j->b, t, j->h), j->keys, row_of(j->dq, j, t));
        sq_row_read(dk, sq_offset3(dk, j->b, t, j->h), j->keys, row_of(j->dk, j, t));
    }
    add_forward(j, gamma);
    add_backward(j, gamma);
    const bool is_zero = j->length == 1 && j->slope[0] != 0;
    const bool has_final = sq_scan_has(&j->call->in[IN_DO + SQ_DECAY_OUT_FINAL]);
    for (int64_t n = 0; is_zero && n < j->keys; n++) {
        j->dq[n] = 0;
        j->dk[n] = has_final ? j->dk[n] : 0;
    }
    const sq_tensor *out_q = &j->call->out[IN_Q], *out_k = &j->call->out[IN_K];
    for (int64_t t = 0; t < j->length; t++) {
        sq_row_write(out_q, sq_offset3(out_q, j->b, t, j->h), j->keys, row_of(j->dq, j, t));
        sq_row_write(out_k, sq_offset3(out_k, j->b, t, j->h), j->keys, row_of(j->dk, j, t));
    }
}

static sq_status add_normaliser(const sq_call *call, const sq_tensor *o, const sq_tensor *dq,
                                const sq_tensor *dk, sq_error *err)
{
    const int64_t length = dq->dim[1], keys = dq->dim[3];
    bool is_short = false;
#pragma omp parallel for collapse(2) reduction(|| : is_short)
    for (int64_t b = 0; b < dq->dim[0]; b++)
        for (int64_t h = 0; h < dq->dim[2]; h++) {
            double *memory = malloc((size_t)(4 * length * keys + length + keys) * sizeof *memory);
            job j = {call, o, b, h, length, keys, .q = memory};
            is_short = is_short || !memory;
            if (!memory)
                continue;
            j.k = j.q + length * keys;
            j.dq = j.k + length * keys;
            j.dk = j.dq + length * keys;
            j.slope = j.dk + length * keys;
            j.z = j.slope + length;
            run_head(&j, dq, dk);
            free(memory);
        }
    return is_short
               ? sq_fail(err, SQ_OUT_OF_MEMORY, "retention backward: %lld steps", (long long)length)
               : SQ_OK;
}

/* dq and dk of the recurrence in f64, and its outputs; then the normaliser's part. */
static sq_status run_paper(const sq_call *call, sq_decay_scan scan, sq_decay_scan_grads grads,
                           double *memory, sq_error *err)
{
    const sq_tensor *q = scan.q, *v = scan.v;
    sq_tensor dq = sq_tensor_dense(memory, SQ_DTYPE_F64, 4, q->dim);
    sq_tensor dk = sq_tensor_dense(memory + sq_tensor_count(q), SQ_DTYPE_F64, 4, q->dim);
    sq_tensor o = sq_tensor_dense(memory + 2 * sq_tensor_count(q), SQ_DTYPE_F64, 4, v->dim);
    grads.d_q = &dq;
    grads.d_k = &dk;
    scan.o = &o;
    SQ_TRY(sq_decay_scan_reference(call, &scan, err));
    SQ_TRY(sq_decay_scan_backward(call, &scan, &grads, err));
    return add_normaliser(call, &o, &dq, &dk, err);
}

sq_status sq_retention_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *q = &call->in[IN_Q], *v = &call->in[IN_V];
    const size_t rows = (size_t)(v->dim[0] * v->dim[1] * v->dim[2]);
    const size_t room = (size_t)(2 * sq_tensor_count(q) + sq_tensor_count(v));
    const bool is_paper = call->axis[AXIS_NORM] == NORM_PAPER;
    double *memory = malloc((rows + (is_paper ? room : 0)) * sizeof *memory);
    if (!memory)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "retention backward: %zu rows", rows);
    const sq_decay_scan scan = sq_retention_scan(call, memory);
    const sq_decay_scan_grads grads = sq_decay_scan_grads_of(call, &sq_retention_layout);
    sq_status status = is_paper ? run_paper(call, scan, grads, memory + rows, err)
                                : sq_decay_scan_backward(call, &scan, &grads, err);
    free(memory);
    return status;
}
