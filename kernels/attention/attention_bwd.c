/* attention, backward. With P = softmax(scale Q K^T) over the keys seen, o = P V:
 *
 *   dV = P^T dO        dP = dO V^T        dS = P o (dP - rowsum(P o dP))
 *   dQ = scale dS K    dK = scale dS^T Q
 *
 * Source: Dao et al.: FlashAttention, arXiv 2205.14135, appendix B.2. Keys and values of a group
 * get the sum over its heads.
 */
#include "kernels/attention/attention.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DO = IN_COUNT };

/* One key/value head of one sequence; (Lk, D) each. p, dp: a row of Lk. */
typedef struct {
    const sq_call *call;
    int64_t b, hkv, d;
    double *k, *v, *dk, *dv, *p, *dp, *q, *d_o, *dq;
} job;

/* P of one row; false where it sees no key. */
static bool weigh(const job *j, sq_key_range seen, double scale)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = seen.first; i < seen.last; i++) {
        j->p[i] = scale * sq_row_dot(j->q, j->k + i * j->d, j->d);
        max = fmax(max, j->p[i]);
    }
    for (int64_t i = seen.first; i < seen.last; i++)
        sum += j->p[i] = exp(j->p[i] - max);
    for (int64_t i = seen.first; i < seen.last; i++)
        j->p[i] /= sum;
    return seen.first < seen.last;
}

static void run_row(const job *j, int64_t h, int64_t row)
{
    const sq_tensor *q = &j->call->in[IN_Q], *d_o = &j->call->in[IN_DO], *dq = &j->call->out[IN_Q];
    const sq_key_range seen = sq_attention_keys(j->call->axis, row);
    const double scale = 1 / sqrt((double)j->d);
    double mean = 0;
    sq_row_read(q, sq_offset3(q, j->b, row, h), j->d, j->q);
    sq_row_read(d_o, sq_offset3(d_o, j->b, row, h), j->d, j->d_o);
    for (int64_t c = 0; c < j->d; c++)
        j->dq[c] = 0;
    if (weigh(j, seen, scale))
        for (int64_t i = seen.first; i < seen.last; i++) {
            j->dp[i] = sq_row_dot(j->d_o, j->v + i * j->d, j->d);
            mean += j->p[i] * j->dp[i];
        }
    for (int64_t i = seen.first; i < seen.last; i++) {
        const double ds = scale * j->p[i] * (j->dp[i] - mean);
        for (int64_t c = 0; c < j->d; c++) {
            j->dq[c] += ds * j->k[i * j->d + c];
            j->dk[i * j->d + c] += ds * j->q[c];
            j->dv[i * j->d + c] += j->p[i] * j->d_o[c];
        }
    }
    sq_row_write(dq, sq_offset3(dq, j->b, row, h), j->d, j->dq);
}

/* false: no memory. */
static bool run_job(job *j)
{
    const sq_tensor *k = &j->call->in[IN_K], *v = &j->call->in[IN_V];
    const sq_tensor *dk = &j->call->out[IN_K], *dv = &j->call->out[IN_V];
    const int64_t keys = k->dim[1], all = keys * j->d;
    const int64_t group = j->call->in[IN_Q].dim[2] / k->dim[2];
    double *memory = calloc((size_t)(4 * all + 2 * keys + 3 * j->d), sizeof *memory);
    if (!memory)
        return false;
    j->k = memory, j->v = memory + all, j->dk = memory + 2 * all, j->dv = memory + 3 * all;
    j->p = memory + 4 * all, j->dp = j->p + keys;
    j->q = j->dp + keys, j->d_o = j->q + j->d, j->dq = j->d_o + j->d;
    for (int64_t i = 0; i < keys; i++) {
        sq_row_read(k, sq_offset3(k, j->b, i, j->hkv), j->d, j->k + i * j->d);
        sq_row_read(v, sq_offset3(v, j->b, i, j->hkv), j->d, j->v + i * j->d);
    }
    for (int64_t h = j->hkv * group; h < (j->hkv + 1) * group; h++)
        for (int64_t row = 0; row < j->call->in[IN_Q].dim[1]; row++)
            run_row(j, h, row);
    for (int64_t i = 0; i < keys; i++) {
        sq_row_write(dk, sq_offset3(dk, j->b, i, j->hkv), j->d, j->dk + i * j->d);
        sq_row_write(dv, sq_offset3(dv, j->b, i, j->hkv), j->d, j->dv + i * j->d);
    }
    free(memory);
    return true;
}

sq_status sq_attention_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *k = &call->in[IN_K];
    bool is_short = false;
#pragma omp parallel for collapse(2) schedule(dynamic) reduction(|| : is_short)
    for (int64_t b = 0; b < k->dim[0]; b++)
        for (int64_t h = 0; h < k->dim[2]; h++) {
            job j = {.call = call, .b = b, .hkv = h, .d = k->dim[3]};
            is_short = !run_job(&j) || is_short;
        }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "attention backward: %lld keys of %lld",
                              (long long)k->dim[1], (long long)k->dim[3])
                    : SQ_OK;
}
