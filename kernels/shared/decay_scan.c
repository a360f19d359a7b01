/* decay_scan: see decay_scan.h. */
#include "kernels/shared/decay_scan.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

/* Columns of V that share one reading of q and k. */
enum { BLOCK = 8 };

/* One (b, h, block of columns): columns [first, first + count). */
typedef struct {
    const sq_call *call;
    const sq_decay_scan *scan;
    int64_t b, h, first, count, keys;
    double skip[BLOCK];
} job;

/* Scratch of a job; rows of up to `chunk` steps (1 for the step-by-step form). The state is stored
 * [k][column]; seen: as queries read it; decay: of each of its rows. */
typedef struct {
    double *state, *seen, *q, *k, *v, *log_sum, *weight, *decay;
} scratch;

static void read_step(const job *j, const sq_tensor *t, int64_t step, double *out)
{
    int64_t g = j->h / (j->scan->v->dim[2] / t->dim[2]);
    sq_row_read(t, j->b * t->stride[0] + step * t->stride[1] + g * t->stride[2], j->keys, out);
}

static int64_t value_offset(const job *j, const sq_tensor *t, int64_t step)
{
    return j->b * t->stride[0] + step * t->stride[1] + j->h * t->stride[2] + j->first;
}

/* scale r_t. */
static double output_scale(const job *j, int64_t step)
{
    const sq_decay_scan *scan = j->scan;
    const int64_t row = (j->b * scan->v->dim[1] + step) * scan->v->dim[2] + j->h;
    return scan->scale * (scan->row ? scan->row[row] : 1);
}

static void read_query(const job *j, int64_t step, double *out)
{
    const double scale = output_scale(j, step);
    read_step(j, j->scan->q, step, out);
    for (int64_t n = 0; n < j->keys; n++)
        out[n] = sq_named_factor(scale, out[n]);
}

/* v as it enters the state with that weight. */
static void read_values(const job *j, int64_t step, double weight, double *out)
{
    sq_row_read(j->scan->v, value_offset(j, j->scan->v, step), j->count, out);
    for (int64_t c = 0; c < j->count; c++)
        out[c] = sq_named_factor(weight, out[c]);
}

static const double *seen_state(const job *j, const scratch *s)
{
    return sq_named_row(s->state, j->keys * BLOCK, s->seen);
}

/* o[column] += factor * q^T state */
static void add_query(const double *state, const double *q, int64_t keys, double factor, double *o)
{
    for (int64_t n = 0; n < keys; n++)
        for (int c = 0; c < BLOCK; c++)
            o[c] += factor * q[n] * state[n * BLOCK + c];
}

/* state = diag(decay) state + weight * k v^T */
static void add_key(double *state, const double *k, int64_t keys, const double *decay,
                    double weight, const double *v)
{
    for (int64_t n = 0; n < keys; n++)
        for (int c = 0; c < BLOCK; c++)
            state[n * BLOCK + c] = decay[n] * state[n * BLOCK + c] + weight * k[n] * v[c];
}

static void set_decay(const job *j, const scratch *s, double decay)
{
    for (int64_t n = 0; n < j->keys; n++)
        s->decay[n] = decay;
}

static void read_decay(const job *j, int64_t step, double log_decay, const scratch *s)
{
    if (!sq_scan_has(j->scan->decays)) {
        set_decay(j, s, exp(log_decay));
        return;
    }
    read_step(j, j->scan->decays, step, s->decay);
    for (int64_t n = 0; n < j->keys; n++)
        s->decay[n] = exp(log_decay + s->decay[n]);
}

static void write_values(const job *j, int64_t step, const double *sum)
{
    const sq_decay_scan *scan = j->scan;
    const double scale = output_scale(j, step);
    double o[BLOCK], v[BLOCK], z[BLOCK];
    sq_row_read(scan->v, value_offset(j, scan->v, step), j->count, v);
    for (int64_t c = 0; c < j->count; c++)
        o[c] = scale * sum[c] + j->skip[c] * v[c];
    if (sq_scan_has(scan->z)) {
        sq_row_read(scan->z, value_offset(j, scan->z, step), j->count, z);
        for (int64_t c = 0; c < j->count; c++)
            o[c] = sq_named(o[c]) * sq_named(z[c] / (1 + exp(-z[c])));
    }
    sq_row_write(scan->o, value_offset(j, scan->o, step), j->count, o);
}

static void forget(const job *j, const scratch *s)
{
    for (int64_t i = 0; i < j->keys * BLOCK; i++)
        s->state[i] = 0;
}

static void run_steps(const job *j, const scratch *s)
{
    for (int64_t t = 0; t < j->scan->v->dim[1]; t++) {
        sq_scan_gate gate = j->scan->gate(j->call, j->b, t, j->h);
        double sum[BLOCK] = {0};
        if (gate.is_start)
            forget(j, s);
        read_query(j, t, s->q);
        read_step(j, j->scan->k, t, s->k);
        read_values(j, t, gate.weight, s->v);
        read_decay(j, t, gate.log_decay, s);
        add_key(s->state, s->k, j->keys, s->decay, gate.weight, s->v);
        add_query(seen_state(j, s), s->q, j->keys, 1, sum);
        write_values(j, t, sum);
    }
}

/* Steps of the chunk that starts at `start`: it ends before the next document. */
static int64_t chunk_steps(const job *j, int64_t start, int64_t chunk)
{
    const int64_t length = j->scan->v->dim[1];
    int64_t steps = 1;
    while (steps < chunk && start + steps < length &&
           !j->scan->gate(j->call, j->b, start + steps, j->h).is_start)
        steps++;
    return steps;
}

/* log_sum: ln of the product of the decays from the chunk's start, that step's own included. */
static void read_chunk(const job *j, int64_t start, int64_t steps, const scratch *s)
{
    double sum = 0;
    for (int64_t i = 0; i < steps; i++) {
        sq_scan_gate gate = j->scan->gate(j->call, j->b, start + i, j->h);
        s->log_sum[i] = sum += gate.log_decay;
        s->weight[i] = gate.weight;
        read_query(j, start + i, s->q + i * j->keys);
        read_step(j, j->scan->k, start + i, s->k + i * j->keys);
        read_values(j, start + i, gate.weight, s->v + i * BLOCK);
    }
}

/* Row i of (Q K^T o decays) V, on top of what `before`, the state before the chunk, contributes. */
static void chunk_row(const job *j, const scratch *s, const double *before, int64_t i, double *sum)
{
    const double *q = s->q + i * j->keys;
    add_query(before, q, j->keys, exp(s->log_sum[i]), sum);
    for (int64_t e = 0; e <= i; e++) {
        double score = 0;
        for (int64_t n = 0; n < j->keys; n++)
            score += q[n] * s->k[e * j->keys + n];
        score *= exp(s->log_sum[i] - s->log_sum[e]) * s->weight[e];
        score = sq_named(score);
        for (int c = 0; c < BLOCK; c++)
            sum[c] += score * s->v[e * BLOCK + c];
    }
}

static void run_chunks(const job *j, const scratch *s, int64_t chunk)
{
    int64_t steps;
    for (int64_t start = 0; start < j->scan->v->dim[1]; start += steps) {
        steps = chunk_steps(j, start, chunk);
        if (j->scan->gate(j->call, j->b, start, j->h).is_start)
            forget(j, s);
        read_chunk(j, start, steps, s);
        const double *before = seen_state(j, s);
        for (int64_t i = 0; i < steps; i++) {
            double sum[BLOCK] = {0};
            chunk_row(j, s, before, i, sum);
            write_values(j, start + i, sum);
        }
        double last = s->log_sum[steps - 1];
        for (int64_t i = 0; i < steps; i++) {
            set_decay(j, s, i == 0 ? exp(last) : 1);
            add_key(s->state, s->k + i * j->keys, j->keys, s->decay,
                    exp(last - s->log_sum[i]) * s->weight[i], s->v + i * BLOCK);
        }
    }
}

/* The job's columns of state row n. */
static int64_t state_offset(const job *j, const sq_tensor *t, int64_t n)
{
    return sq_offset3(t, j->b, j->h, n) + j->first;
}

/* false: no memory. */
static bool run_job(const job *j)
{
    const sq_tensor *initial = j->scan->initial, *final = j->scan->final;
    int64_t length = j->scan->v->dim[1], chunk = sq_scan_has(j->scan->decays) ? 0 : j->scan->chunk;
    int64_t rows = chunk == 0 ? 1 : chunk < length ? chunk : length;
    size_t doubles = (size_t)(j->keys * (2 * BLOCK + 1) + rows * (2 * j->keys + BLOCK + 2));
    double *memory = calloc(doubles, sizeof *memory);
    if (!memory)
        return false;
    scratch s = {.state = memory};
    s.seen = s.state + j->keys * BLOCK;
    s.q = s.seen + j->keys * BLOCK;
    s.k = s.q + rows * j->keys;
    s.v = s.k + rows * j->keys;
    s.log_sum = s.v + rows * BLOCK;
    s.weight = s.log_sum + rows;
    s.decay = s.weight + rows;
    for (int64_t n = 0; sq_scan_has(initial) && n < j->keys; n++)
        sq_row_read(initial, state_offset(j, initial, n), j->count, s.state + n * BLOCK);
    if (chunk == 0)
        run_steps(j, &s);
    else
        run_chunks(j, &s, rows);
    for (int64_t n = 0; sq_scan_has(final) && n < j->keys; n++)
        sq_row_write(final, state_offset(j, final, n), j->count, s.state + n * BLOCK);
    free(memory);
    return true;
}

sq_status sq_decay_scan_reference(const sq_call *call, const sq_decay_scan *scan, sq_error *err)
{
    int64_t batch = scan->v->dim[0], heads = scan->v->dim[2], values = scan->v->dim[3];
    int64_t blocks = (values + BLOCK - 1) / BLOCK;
    bool is_short = false;
#pragma omp parallel for collapse(3) schedule(dynamic) reduction(|| : is_short)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t block = 0; block < blocks; block++) {
                job j = {.call = call, .scan = scan, .b = b, .h = h, .first = block * BLOCK};
                j.count = values - j.first < BLOCK ? values - j.first : BLOCK;
                j.keys = scan->k->dim[3];
                for (int64_t c = 0; scan->skip && c < j.count; c++)
                    j.skip[c] = scan->skip(call, h, j.first + c);
                is_short = !run_job(&j) || is_short;
            }
    if (is_short)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory for the reference", call->op->name);
    return SQ_OK;
}

double sq_decay_scan_work(double batch, double length, double heads, double keys, double values,
                          double chunk)
{
    double blocks = ceil(values / BLOCK);
    double pairs = chunk == 0 ? 0 : (fmin(chunk, length) + 1) / 2; /* per step */
    return batch * length * heads * blocks * (2 * keys * BLOCK + pairs * (keys + BLOCK));
}

int64_t sq_decay_scan_columns(double length, double keys, int64_t values, double chunk,
                              double max_work)
{
    double blocks = floor(max_work / sq_decay_scan_work(1, length, 1, keys, BLOCK, chunk));
    if (blocks * BLOCK >= (double)values)
        return values;
    return blocks < 1 ? (values < BLOCK ? values : BLOCK) : (int64_t)blocks * BLOCK;
}

/* f32: the operators say where their decays' rounding comes from.
 *
 * bf16: rounding of o is 1.7e-3 rms. A chunkwise provider also rounds the weighted scores (1.7e-3
 * of the part from inside the chunk), or the state and the weighted keys (2.4e-3 of the part
 * carried in), independently per element: sqrt(1.7^2 + 2.4^2) = 2.9e-3 for many steps. Where a step
 * or two is all there is, two such roundings and that of o may be at their worst for a whole row: 3
 * of 2^-9, 5.9e-3. Single elements: 5 deviations of an |o| of up to 10 rms; 30 rms where it is a
 * product with a gate. f16 has 3 bits more. */
static sq_tolerance forward_tolerance(sq_dtype dtype, bool is_gated)
{
    const double finer = dtype == SQ_DTYPE_F16 ? 8 : 1;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 2e-4};
    return (sq_tolerance){.rel_l2 = 6e-3 / finer, .max_abs = (is_gated ? 0.45 : 0.15) / finer};
}

/* f32: as in pass fwd, where the logarithms of a chunk's decays are summed in f64: of the gradients
 * of strong decays nothing else is left. Sums over all steps are of terms of either sign: single
 * elements may be off by more.
 *
 * 16 bit: the state, its gradient, the gated gradient of the output and the weighted scores are
 * each rounded once, independently: 4 times 1.7e-3 (bf16) squared, and the result: 3.8e-3. Where
 * one step or one head is all there is, a rounding of up to 2^-8 is a whole row's, and in the sums
 * over all steps of terms of either sign the terms' errors add up while the terms do not, most of
 * all where one number is the whole gradient (D of one head): 2.5e-2, single elements five such
 * deviations of 10 rms. f16 has 3 bits more. (What a peer is held to; of providers the rule asks for
 * less.) */
static sq_tolerance backward_tolerance(sq_dtype dtype)
{
    const double finer = dtype == SQ_DTYPE_F16 ? 8 : 1;
    if (dtype == SQ_DTYPE_F32)
        return (sq_tolerance){.rel_l2 = 1e-5, .max_abs = 5e-4};
    return (sq_tolerance){.rel_l2 = 2.5e-2 / finer, .max_abs = 0.5 / finer};
}

sq_tolerance sq_decay_scan_tolerance(sq_pass pass, sq_dtype dtype, bool is_gated)
{
    return pass == SQ_PASS_BWD ? backward_tolerance(dtype) : forward_tolerance(dtype, is_gated);
}
