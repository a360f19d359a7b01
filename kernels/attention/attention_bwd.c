/* attention, backward. With P = softmax(scale Q K^T + bias) over the keys seen, o = P V:
 *
 *   dV = P^T dO        dP = dO V^T        dS = P o (dP - rowsum(P o dP))
 *   dQ = scale dS K    dK = scale dS^T Q  dbias = sum of dS by distance
 *
 * Source: Dao et al.: FlashAttention, arXiv 2205.14135, appendix B.2. Keys and values of a group
 * get the sum over its heads. Q and K are those that were rotated; their gradients, rounded to the
 * tensor's type, turn back.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/attention/attention.h"
#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

/* One key/value head of one sequence; (Lk, D) each. p, dp: a row of Lk. */
typedef struct {
    const sq_attention_rules *rules;
    const sq_attention_gradients *t;
    int64_t b, hkv, d;
    double *k, *v, *dk, *dv, *p, *dp, *q, *d_o, *dq;
    double *bias; /* of this sequence: (H, biases) */
} job;

/* P of one row; false where it sees no key. */
static bool weigh(const job *j, int64_t h, int64_t row, sq_key_range seen)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = seen.first; i < seen.last; i++) {
        j->p[i] = sq_row_dot(j->q, j->k + i * j->d, j->d) / sqrt((double)j->d) +
                  sq_attention_bias(j->rules, h, row, i);
        max = fmax(max, j->p[i]);
    }
    for (int64_t i = seen.first; i < seen.last; i++)
        sum += j->p[i] = exp(j->p[i] - max);
    for (int64_t i = seen.first; i < seen.last; i++)
        j->p[i] = sq_named(j->p[i] / sum);
    return seen.first < seen.last;
}

/* Gradient of what sq_attention_read gave, turned back. */
static void write_gradient(const job *j, const sq_tensor *t, int64_t offset, int64_t position,
                           double *x)
{
    if (j->rules->rotation.dims > 0) {
        for (int64_t c = 0; c < j->d; c++)
            x[c] = sq_round_to(t->dtype, x[c]);
        sq_rotate(&j->rules->rotation, (double)position, true, x);
    }
    sq_row_write(t, offset, j->d, x);
}

static void add_bias_gradient(const job *j, int64_t h, int64_t row, int64_t key, double ds)
{
    const int64_t distance = llabs(row + j->rules->keys - j->rules->queries - key);
    const int64_t last = j->rules->biases - 1;
    j->bias[h * j->rules->biases + (distance < last ? distance : last)] += ds;
}

/* What rowsum(dO o) is less for the rounding of the o that was handed on. */
static double lost_mean(const job *j, sq_key_range seen)
{
    double lost = 0;
    for (int64_t c = 0; c < j->d && sq_is_rounding(); c++) {
        double o = 0;
        for (int64_t i = seen.first; i < seen.last; i++)
            o += j->p[i] * j->v[i * j->d + c];
        lost += (o - sq_named(o)) * j->d_o[c];
    }
    return lost;
}

static void run_row(const job *j, int64_t h, int64_t row)
{
    const sq_tensor *q = j->t->q, *d_o = j->t->d_o, *dq = j->t->dq;
    const sq_key_range seen = sq_attention_keys(j->rules, h, row);
    const int64_t position = sq_attention_position(j->rules, row);
    const double scale = 1 / sqrt((double)j->d);
    double mean = 0;
    sq_attention_read(j->rules, q, sq_offset3(q, j->b, row, h), position, j->q);
    sq_row_read(d_o, sq_offset3(d_o, j->b, row, h), j->d, j->d_o);
    for (int64_t c = 0; c < j->d; c++)
        j->dq[c] = 0;
    if (weigh(j, h, row, seen))
        for (int64_t i = seen.first; i < seen.last; i++) {
            j->dp[i] = sq_row_dot(j->d_o, j->v + i * j->d, j->d);
            mean += j->p[i] * j->dp[i];
        }
    mean -= lost_mean(j, seen);
    for (int64_t i = seen.first; i < seen.last; i++) {
        const double ds = sq_named(j->p[i] * (j->dp[i] - mean));
        if (j->bias)
            add_bias_gradient(j, h, row, i, ds);
        for (int64_t c = 0; c < j->d; c++) {
            j->dq[c] += scale * ds * j->k[i * j->d + c];
            j->dk[i * j->d + c] += scale * ds * j->q[c];
            j->dv[i * j->d + c] += j->p[i] * j->d_o[c];
        }
    }
    write_gradient(j, dq, sq_offset3(dq, j->b, row, h), position, j->dq);
}

/* false: no memory. */
static bool run_job(job *j)
{
    const sq_tensor *k = j->t->k, *v = j->t->v, *dk = j->t->dk, *dv = j->t->dv;
    const int64_t keys = k->dim[1], all = keys * j->d, group = j->t->q->dim[2] / k->dim[2];
    double *memory = calloc((size_t)(4 * all + 2 * keys + 3 * j->d), sizeof *memory);
    if (!memory)
        return false;
    j->k = memory, j->v = memory + all, j->dk = memory + 2 * all, j->dv = memory + 3 * all;
    j->p = memory + 4 * all, j->dp = j->p + keys;
    j->q = j->dp + keys, j->d_o = j->q + j->d, j->dq = j->d_o + j->d;
    for (int64_t i = 0; i < keys; i++) {
        sq_attention_read(j->rules, k, sq_offset3(k, j->b, i, j->hkv), i, j->k + i * j->d);
        sq_row_read(v, sq_offset3(v, j->b, i, j->hkv), j->d, j->v + i * j->d);
    }
    for (int64_t h = j->hkv * group; h < (j->hkv + 1) * group; h++)
        for (int64_t row = 0; row < j->t->q->dim[1]; row++)
            run_row(j, h, row);
    for (int64_t i = 0; i < keys; i++) {
        write_gradient(j, dk, sq_offset3(dk, j->b, i, j->hkv), i, j->dk + i * j->d);
        sq_row_write(dv, sq_offset3(dv, j->b, i, j->hkv), j->d, j->dv + i * j->d);
    }
    free(memory);
    return true;
}

/* Every sequence sums its own gradient of the biases, so that the order of sums is fixed. */
sq_status sq_attention_gradient(const sq_attention_rules *rules, const sq_attention_gradients *t,
                                sq_error *err)
{
    const int64_t batch = t->k->dim[0], heads = t->k->dim[2];
    const int64_t biases = t->bias ? rules->heads * rules->biases : 0;
    double *bias = calloc((size_t)(batch * biases) + 1, sizeof *bias);
    bool is_short = !bias;
#pragma omp parallel for collapse(2) schedule(dynamic) reduction(|| : is_short)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++) {
            job j = {.rules = rules, .t = t, .b = b, .hkv = h, .d = t->k->dim[3]};
            j.bias = t->bias ? bias + b * biases : NULL;
            is_short = is_short || !bias || !run_job(&j);
        }
    for (int64_t i = 0; bias && i < batch * biases; i++)
        t->bias[i % biases] += bias[i];
    free(bias);
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "attention backward: %lld keys of %lld",
                              (long long)t->k->dim[1], (long long)t->k->dim[3])
                    : SQ_OK;
}

sq_attention_gradients sq_attention_gradients_of(const sq_call *call, int d_o)
{
    return (sq_attention_gradients){
        .q = &call->in[IN_Q],
        .k = &call->in[IN_K],
        .v = &call->in[IN_V],
        .d_o = &call->in[d_o],
        .dq = &call->out[IN_Q],
        .dk = &call->out[IN_K],
        .dv = &call->out[IN_V],
    };
}

sq_status sq_attention_backward(const sq_call *call, sq_error *err)
{
    sq_attention_rules rules = sq_attention_rules_of(SQ_PASS_BWD, call->axis);
    rules.rotated = call->dtype;
    const sq_attention_gradients t = sq_attention_gradients_of(call, IN_DO);
    return sq_attention_gradient(&rules, &t, err);
}
