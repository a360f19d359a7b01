/* decay_scan, backward. With G_t the gradient of the state S_t (decay_scan.h):
 *
 *   G_t = scale q_t do_t^T + a_{t+1} G_{t+1}
 *   dq_t = scale S_t do_t                      dv_t = w_t G_t^T k_t + skip do_t
 *   dk_t = w_t G_t v_t                         dw_t = k_t . (G_t v_t)
 *   d(ln a_t) = q_t . dq_t - k_t . dk_t + d(ln a_{t+1})
 *
 * The last line is <G_t, a_t S_{t-1}>, which follows from <G_t, S_t> = q_t . dq_t + <a_{t+1}
 * G_{t+1}, S_t> and S_t = a_t S_{t-1} + w_t k_t v_t^T: no state need be kept. Queries and keys of a
 * group get the sum over its heads, so a group is one unit of work.
 */
#include "kernels/shared/decay_scan.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

/* One (b, g). Rows of L steps; q, k and their gradients are the group's, the others one head's. */
typedef struct {
    const sq_call *call;
    const sq_decay_scan *scan;
    const sq_decay_scan_grads *grads;
    int64_t b, g, length, keys, values;
    double *q, *k, *dq, *dk, *v, *d_o, *dv, *state, *q_dot_dq;
} job;

static void read_rows(const job *j, const sq_tensor *t, int64_t h, int64_t n, double *out)
{
    for (int64_t s = 0; s < j->length; s++)
        sq_row_read(t, sq_offset3(t, j->b, s, h), n, out + s * n);
}

static void write_rows(const job *j, const sq_tensor *t, int64_t h, int64_t n, const double *in)
{
    for (int64_t s = 0; s < j->length; s++)
        sq_row_write(t, sq_offset3(t, j->b, s, h), n, in + s * n);
}

static void clear(double *at, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        at[i] = 0;
}

/* Forward in time: the states again, and dq. */
static void run_queries(const job *j, int64_t h)
{
    const int64_t keys = j->keys, values = j->values;
    clear(j->state, keys * values);
    for (int64_t t = 0; t < j->length; t++) {
        const sq_scan_gate gate = j->scan->gate(j->call, j->b, t, h);
        const double decay = exp(gate.log_decay), *v = j->v + t * values, *g = j->d_o + t * values;
        double dot = 0;
        for (int64_t n = 0; n < keys; n++) {
            double sum = 0, *row = j->state + n * values;
            for (int64_t c = 0; c < values; c++) {
                row[c] = decay * row[c] + gate.weight * j->k[t * keys + n] * v[c];
                sum += row[c] * g[c];
            }
            j->dq[t * keys + n] += j->scan->scale * sum;
            dot += j->scan->scale * sum * j->q[t * keys + n];
        }
        j->q_dot_dq[t] = dot;
    }
}

/* Backward in time: dk, dv and the gate's. */
static void run_keys(const job *j, int64_t h, double skip)
{
    const int64_t keys = j->keys, values = j->values, heads = j->scan->v->dim[2];
    double d_log = 0, later_decay = 0; /* of step t + 1 */
    clear(j->state, keys * values);
    for (int64_t t = j->length - 1; t >= 0; t--) {
        const sq_scan_gate gate = j->scan->gate(j->call, j->b, t, h);
        const double *v = j->v + t * values, *g = j->d_o + t * values;
        double *dv = j->dv + t * values, k_dot = 0; /* k . (G v) */
        for (int64_t c = 0; c < values; c++)
            dv[c] = skip * g[c];
        for (int64_t n = 0; n < keys; n++) {
            const double q = j->scan->scale * j->q[t * keys + n], k = j->k[t * keys + n];
            double sum = 0, *row = j->state + n * values;
            for (int64_t c = 0; c < values; c++) {
                row[c] = q * g[c] + later_decay * row[c];
                sum += row[c] * v[c];
                dv[c] += gate.weight * k * row[c];
            }
            j->dk[t * keys + n] += gate.weight * sum;
            k_dot += k * sum;
        }
        d_log += j->q_dot_dq[t] - gate.weight * k_dot;
        later_decay = exp(gate.log_decay);
        const int64_t at = (j->b * j->length + t) * heads + h;
        if (j->grads->d_log_decay)
            j->grads->d_log_decay[at] = d_log;
        if (j->grads->d_weight)
            j->grads->d_weight[at] = k_dot;
    }
}

static void run_head(const job *j, int64_t h)
{
    read_rows(j, j->scan->v, h, j->values, j->v);
    read_rows(j, j->grads->d_o, h, j->values, j->d_o);
    run_queries(j, h);
    run_keys(j, h, j->scan->skip ? j->scan->skip(j->call, h) : 0);
    write_rows(j, j->grads->d_v, h, j->values, j->dv);
    if (!j->grads->d_skip)
        return;
    double sum = 0;
    for (int64_t i = 0; i < j->length * j->values; i++)
        sum += j->d_o[i] * j->v[i];
#pragma omp atomic
    j->grads->d_skip[h] += sum;
}

/* false: no memory. */
static bool run_job(job *j)
{
    const int64_t rows = j->length, groups = j->scan->k->dim[2];
    const int64_t per_group = j->scan->v->dim[2] / groups;
    double *memory = calloc(
        (size_t)(rows * (4 * j->keys + 3 * j->values + 1) + j->keys * j->values), sizeof *memory);
    if (!memory)
        return false;
    j->q = memory;
    j->k = j->q + rows * j->keys;
    j->dq = j->k + rows * j->keys;
    j->dk = j->dq + rows * j->keys;
    j->v = j->dk + rows * j->keys;
    j->d_o = j->v + rows * j->values;
    j->dv = j->d_o + rows * j->values;
    j->q_dot_dq = j->dv + rows * j->values;
    j->state = j->q_dot_dq + rows;
    read_rows(j, j->scan->q, j->g, j->keys, j->q);
    read_rows(j, j->scan->k, j->g, j->keys, j->k);
    for (int64_t h = j->g * per_group; h < (j->g + 1) * per_group; h++)
        run_head(j, h);
    write_rows(j, j->grads->d_q, j->g, j->keys, j->dq);
    write_rows(j, j->grads->d_k, j->g, j->keys, j->dk);
    free(memory);
    return true;
}

sq_status sq_decay_scan_backward(const sq_call *call, const sq_decay_scan *scan,
                                 const sq_decay_scan_grads *grads, sq_error *err)
{
    bool is_short = false;
    if (grads->d_skip)
        clear(grads->d_skip, scan->v->dim[2]);
#pragma omp parallel for collapse(2) schedule(dynamic) reduction(|| : is_short)
    for (int64_t b = 0; b < scan->v->dim[0]; b++)
        for (int64_t g = 0; g < scan->k->dim[2]; g++) {
            job j = {.call = call, .scan = scan, .grads = grads, .b = b, .g = g};
            j.length = scan->v->dim[1];
            j.keys = scan->k->dim[3];
            j.values = scan->v->dim[3];
            is_short = !run_job(&j) || is_short;
        }
    if (is_short)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the backward reference",
                       call->op->name);
    return SQ_OK;
}
