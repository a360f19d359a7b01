/* decay_scan, backward. With G_t the gradient of the state S_t (decay_scan.h), G_L = d_final,
 * a_L = 1, do'_t = do_t silu(z_t), f_t = scale r_t, and y_t what silu(z_t) multiplies:
 *
 *   G_t = f_t q_t do'_t^T + a_{t+1} G_{t+1}            d_initial = a_0 G_0
 *   dq_t = f_t S_t do'_t                               dv_t = w_t G_t^T k_t + skip do'_t
 *   dk_t = w_t G_t v_t                                 dw_t = k_t . (G_t v_t)
 *   dz_t = do_t y_t silu'(z_t)                         dskip = sum of do'_t v_t
 *   d(ln a_t) = q_t . dq_t - k_t . dk_t + d(ln a_{t+1}),   d(ln a_L) = <d_final, S_{L-1}>
 *
 * The last line is <G_t, a_t S_{t-1}>, which follows from <G_t, S_t> = q_t . dq_t + <a_{t+1}
 * G_{t+1}, S_t> and S_t = a_t S_{t-1} + w_t k_t v_t^T: no state need be kept. It holds row by row
 * of the state too, which is the gradient of decays by row. Where a document starts, and where
 * there is no state before, a_t counts as 0: so does its gradient, exactly. Queries and keys of a
 * group get the sum over its heads, so a group is one unit of work.
 *
 * Where named intermediates are rounded (docs/intermediates.md), S before each chunk of 64 steps is, and
 * G after it, as its steps read them; the next chunk's come from what is not rounded. The sum of the
 * last line is then a chunk's own: it begins with <G, S> at its end, of what its steps have read.
 */
#include "kernels/shared/decay_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

enum { CHUNK = 64 };

/* One (b, g). Rows of L steps; q, k and their gradients are the group's, the others one head's.
 * d_o: do'. v: as it enters the state. decay, d_row: of the rows of the state. seen: the state, or its
 * gradient, as steps read it; `state` itself where nothing is rounded: one chunk is all then. ends:
 * S after each chunk, as seen. */
typedef struct {
    const sq_call *call;
    const sq_decay_scan *scan;
    const sq_decay_scan_grads *grads;
    int64_t b, g, length, keys, values, chunk;
    double *d_skip; /* of this sequence: (H, V) */
    double *q, *k, *dq, *dk, *v, *d_o, *dv, *state, *seen, *ends, *q_dot_dq, *decay, *d_row, *y, *z;
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

/* The state of head h from a (B, H, K, V) tensor; zeros where there is none. */
static void read_state(const job *j, const sq_tensor *t, int64_t h)
{
    clear(j->state, j->keys * j->values);
    for (int64_t n = 0; sq_scan_has(t) && n < j->keys; n++)
        sq_row_read(t, sq_offset3(t, j->b, h, n), j->values, j->state + n * j->values);
}

static double output_factor(const job *j, int64_t t, int64_t h)
{
    const int64_t at = (j->b * j->length + t) * j->scan->v->dim[2] + h;
    return j->scan->scale * (j->scan->row ? j->scan->row[at] : 1);
}

/* v such that w_t v_t is rounded. */
static void round_values(const job *j, int64_t h)
{
    if (!sq_is_rounding())
        return;
    for (int64_t t = 0; t < j->length; t++) {
        const double weight = j->scan->gate(j->call, j->b, t, h).weight;
        for (int64_t c = 0; c < j->values; c++)
            j->v[t * j->values + c] = sq_named_factor(weight, j->v[t * j->values + c]);
    }
}

/* The decays of step t; 0 where a document starts. */
static void read_decay(const job *j, const sq_scan_gate *gate, int64_t t, int64_t h)
{
    const sq_tensor *decays = j->scan->decays;
    const bool is_by_row = sq_scan_has(decays);
    if (is_by_row)
        sq_row_read(decays, sq_offset3(decays, j->b, t, h), j->keys, j->decay);
    for (int64_t n = 0; n < j->keys; n++)
        j->decay[n] = gate->is_start ? 0 : exp(gate->log_decay + (is_by_row ? j->decay[n] : 0));
}

/* q such that scale r_t a_t q_t, what a step adds to the gradient of the state before it, is rounded:
 * for all heads of a group as for its first, h. */
static void round_queries(const job *j, int64_t h)
{
    if (!sq_is_rounding())
        return;
    for (int64_t t = 0; t < j->length; t++) {
        const sq_scan_gate gate = j->scan->gate(j->call, j->b, t, h);
        double *q = j->q + t * j->keys;
        read_decay(j, &gate, t, h);
        for (int64_t n = 0; n < j->keys; n++)
            q[n] = sq_named_factor(output_factor(j, t, h) * j->decay[n], q[n]);
    }
}

/* do' of all steps. */
static void read_output_gradient(const job *j, int64_t h)
{
    const sq_tensor *z = j->scan->z;
    read_rows(j, j->grads->d_o, h, j->values, j->d_o);
    for (int64_t t = 0; sq_scan_has(z) && t < j->length; t++) {
        sq_row_read(z, sq_offset3(z, j->b, t, h), j->values, j->z);
        for (int64_t c = 0; c < j->values; c++)
            j->d_o[t * j->values + c] =
                sq_named(j->d_o[t * j->values + c] * sq_named(j->z[c] / (1 + exp(-j->z[c]))));
    }
}

/* dz of one step, from y without its skip part. */
static void write_gate_gradient(const job *j, int64_t t, int64_t h)
{
    const sq_tensor *z = j->scan->z, *d_o = j->grads->d_o, *d_z = j->grads->d_z, *v = j->scan->v;
    sq_row_read(z, sq_offset3(z, j->b, t, h), j->values, j->z);
    for (int64_t c = 0; c < j->values; c++) {
        const double s = 1 / (1 + exp(-j->z[c]));
        const double skip = j->scan->skip ? j->scan->skip(j->call, h, c) : 0;
        const double direct = skip * sq_load(v->data, v->dtype, sq_offset3(v, j->b, t, h) + c);
        const double y = sq_named(j->y[c] + direct);
        j->z[c] = y * s * (1 + j->z[c] * (1 - s)) *
                  sq_load(d_o->data, d_o->dtype, sq_offset3(d_o, j->b, t, h) + c);
    }
    sq_row_write(d_z, sq_offset3(d_z, j->b, t, h), j->values, j->z);
}

static bool is_chunk_end(const job *j, int64_t t)
{
    return (t + 1) % j->chunk == 0 || t + 1 == j->length;
}

/* The state that chunks hand on, where it is not the one that is read: decayed, and + factor left right^T. */
static void carry(const job *j, double factor, const double *left, const double *right)
{
    for (int64_t n = 0; j->seen != j->state && n < j->keys; n++) {
        const double x = factor * left[n];
        double *row = j->state + n * j->values;
        for (int64_t c = 0; c < j->values; c++)
            row[c] = j->decay[n] * row[c] + x * right[c];
    }
}

/* At the end of step t, where a chunk may end. */
static void keep_state(const job *j, int64_t t)
{
    const int64_t size = j->keys * j->values;
    if (is_chunk_end(j, t))
        memcpy(j->ends + t / j->chunk * size, j->seen, (size_t)size * sizeof *j->ends);
}

/* Forward in time: the states again, dq and dz. */
static void run_queries(const job *j, int64_t h)
{
    const int64_t keys = j->keys, values = j->values;
    read_state(j, j->scan->initial, h);
    for (int64_t t = 0; t < j->length; t++) {
        const sq_scan_gate gate = j->scan->gate(j->call, j->b, t, h);
        const double *v = j->v + t * values, *g = j->d_o + t * values;
        const double factor = output_factor(j, t, h);
        double dot = 0;
        for (int64_t i = 0; t % j->chunk == 0 && i < keys * values; i++)
            j->seen[i] = sq_named(j->state[i]);
        read_decay(j, &gate, t, h);
        carry(j, gate.weight, j->k + t * keys, v);
        clear(j->y, values);
        for (int64_t n = 0; n < keys; n++) {
            const double q = factor * j->q[t * keys + n], k = gate.weight * j->k[t * keys + n];
            double sum = 0, *row = j->seen + n * values;
            for (int64_t c = 0; c < values; c++) {
                row[c] = j->decay[n] * row[c] + k * v[c];
                j->y[c] += q * row[c];
                sum += row[c] * g[c];
            }
            j->dq[t * keys + n] += factor * sum;
            dot += q * sum;
        }
        j->q_dot_dq[t] = dot;
        keep_state(j, t);
        if (sq_scan_has(j->scan->z))
            write_gate_gradient(j, t, h);
    }
}

/* Where a chunk ends, behind step t: G as its steps read it, and <G, S> by rows of the state; their sum. */
static double enter_chunk(const job *j, int64_t t)
{
    const double *end = j->ends + t / j->chunk * j->keys * j->values;
    double sum = 0;
    for (int64_t n = 0; n < j->keys; n++) {
        const int64_t row = n * j->values;
        for (int64_t i = row; i < row + j->values; i++) {
            j->state[i] *= j->decay[n];
            j->seen[i] = sq_named(j->state[i]);
        }
        j->decay[n] = 1;
        sum += j->d_row[n] = sq_row_dot(j->seen + row, end + row, j->values);
    }
    return sum;
}

/* The gradients of the decays of one step: of all rows, and their sum. */
static void write_decay_gradient(const job *j, int64_t t, int64_t h, double sum)
{
    const sq_tensor *d_decays = j->grads->d_decays;
    if (j->grads->d_log_decay)
        j->grads->d_log_decay[(j->b * j->length + t) * j->scan->v->dim[2] + h] = sum;
    if (sq_scan_has(d_decays))
        sq_row_write(d_decays, sq_offset3(d_decays, j->b, t, h), j->keys, j->d_row);
}

/* Backward in time: dk, dv and the gates'. */
static void run_keys(const job *j, int64_t h)
{
    const int64_t keys = j->keys, values = j->values, heads = j->scan->v->dim[2];
    double d_log = 0;
    read_state(j, j->grads->d_final, h);
    for (int64_t n = 0; n < keys; n++)
        j->decay[n] = 1;
    for (int64_t t = j->length - 1; t >= 0; t--) {
        const sq_scan_gate gate = j->scan->gate(j->call, j->b, t, h);
        const double *v = j->v + t * values, *g = j->d_o + t * values;
        const double factor = output_factor(j, t, h);
        double *dv = j->dv + t * values, k_dot = 0; /* k . (G v) */
        if (is_chunk_end(j, t))
            d_log = enter_chunk(j, t);
        carry(j, factor, j->q + t * keys, g);
        for (int64_t c = 0; c < values; c++)
            dv[c] = j->scan->skip ? j->scan->skip(j->call, h, c) * g[c] : 0;
        for (int64_t n = 0; n < keys; n++) {
            const double q = factor * j->q[t * keys + n], k = j->k[t * keys + n];
            double sum = 0, *row = j->seen + n * values;
            for (int64_t c = 0; c < values; c++) {
                row[c] = q * g[c] + j->decay[n] * row[c];
                sum += row[c] * v[c];
                dv[c] += gate.weight * k * row[c];
            }
            j->dk[t * keys + n] += gate.weight * sum;
            k_dot += k * sum;
            /* dq of a group is one head's where decays are by row; elsewhere this is not read */
            j->d_row[n] += j->q[t * keys + n] * j->dq[t * keys + n] - gate.weight * k * sum;
        }
        d_log += j->q_dot_dq[t] - gate.weight * k_dot;
        if (gate.is_start || (t == 0 && !sq_scan_has(j->scan->initial))) {
            d_log = 0;
            clear(j->d_row, keys);
        }
        write_decay_gradient(j, t, h, d_log);
        if (j->grads->d_weight)
            j->grads->d_weight[(j->b * j->length + t) * heads + h] = sq_named(k_dot);
        read_decay(j, &gate, t, h);
    }
}

static void write_initial_gradient(const job *j, int64_t h)
{
    const sq_tensor *t = j->grads->d_initial;
    for (int64_t n = 0; sq_scan_has(t) && n < j->keys; n++) {
        double *row = j->state + n * j->values;
        for (int64_t c = 0; c < j->values; c++)
            row[c] *= j->decay[n];
        sq_row_write(t, sq_offset3(t, j->b, h, n), j->values, row);
    }
}

static void add_skip_gradient(const job *j, int64_t h)
{
    for (int64_t c = 0; j->grads->d_skip && c < j->values; c++) {
        double sum = 0;
        for (int64_t t = 0; t < j->length; t++)
            sum += j->d_o[t * j->values + c] * j->v[t * j->values + c];
        j->d_skip[h * j->values + c] += sum;
    }
}

static void run_head(const job *j, int64_t h)
{
    read_rows(j, j->scan->v, h, j->values, j->v);
    read_output_gradient(j, h);
    add_skip_gradient(j, h);
    round_values(j, h);
    run_queries(j, h);
    run_keys(j, h);
    write_initial_gradient(j, h);
    write_rows(j, j->grads->d_v, h, j->values, j->dv);
}

/* false: no memory. */
static bool run_job(job *j)
{
    const int64_t rows = j->length, groups = j->scan->k->dim[2];
    const int64_t per_group = j->scan->v->dim[2] / groups, keys = j->keys, values = j->values;
    const int64_t chunks = sq_is_rounding() ? (rows + CHUNK - 1) / CHUNK : 1;
    double *memory = calloc((size_t)(rows * (4 * keys + 3 * values + 1) +
                                     (chunks + 2) * keys * values + 2 * (keys + values)),
                            sizeof *memory);
    if (!memory)
        return false;
    j->chunk = sq_is_rounding() ? CHUNK : rows;
    j->q = memory;
    j->k = j->q + rows * keys;
    j->dq = j->k + rows * keys;
    j->dk = j->dq + rows * keys;
    j->v = j->dk + rows * keys;
    j->d_o = j->v + rows * values;
    j->dv = j->d_o + rows * values;
    j->q_dot_dq = j->dv + rows * values;
    j->state = j->q_dot_dq + rows;
    j->seen = sq_is_rounding() ? j->state + keys * values : j->state;
    j->ends = j->state + 2 * keys * values;
    j->decay = j->ends + chunks * keys * values;
    j->d_row = j->decay + keys;
    j->y = j->d_row + keys;
    j->z = j->y + values;
    read_rows(j, j->scan->q, j->g, keys, j->q);
    read_rows(j, j->scan->k, j->g, keys, j->k);
    round_queries(j, j->g * per_group);
    for (int64_t h = j->g * per_group; h < (j->g + 1) * per_group; h++)
        run_head(j, h);
    write_rows(j, j->grads->d_q, j->g, keys, j->dq);
    write_rows(j, j->grads->d_k, j->g, keys, j->dk);
    free(memory);
    return true;
}

/* Every sequence has its own gradient of the skip, so that the order of sums is fixed. */
sq_status sq_decay_scan_backward(const sq_call *call, const sq_decay_scan *scan,
                                 const sq_decay_scan_grads *grads, sq_error *err)
{
    const int64_t batch = scan->v->dim[0];
    const int64_t skips = grads->d_skip ? scan->v->dim[2] * scan->v->dim[3] : 0;
    double *d_skip = calloc((size_t)(batch * skips) + 1, sizeof *d_skip);
    bool is_short = !d_skip;
#pragma omp parallel for collapse(2) schedule(dynamic) reduction(|| : is_short)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t g = 0; g < scan->k->dim[2]; g++) {
            job j = {.call = call, .scan = scan, .grads = grads, .b = b, .g = g};
            j.d_skip = d_skip + b * skips;
            j.length = scan->v->dim[1];
            j.keys = scan->k->dim[3];
            j.values = scan->v->dim[3];
            is_short = is_short || !d_skip || !run_job(&j);
        }
    clear(grads->d_skip, skips);
    for (int64_t i = 0; d_skip && i < batch * skips; i++)
        grads->d_skip[i % skips] += d_skip[i];
    free(d_skip);
    if (is_short)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the backward reference",
                       call->op->name);
    return SQ_OK;
}
