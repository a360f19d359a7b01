/* naive_bwd: pass bwd of attention's cuda/naive: a thread for the sums of each query's row, then one
 * for each element of dQ, and of dK and dV, which makes the scores and dP again from their rows.
 * attention_bwd.c has the equations.
 */
#ifndef SQ_KERNELS_ATTENTION_NAIVE_BWD_CUH
#define SQ_KERNELS_ATTENTION_NAIVE_BWD_CUH

#include "kernels/attention/attention_bwd_tile.cuh"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/naive.cuh"

/* sums: (B, H, L): log2 of the sum of exponentials and rowsum(P dP). */
template <typename T>
struct attention_naive_grads {
    attention_params f;
    sq_naive_tensor<T> q, k, v, d_o, dq, dk, dv;
    float2 *sums;
    float scale; /* of dQ and dK */

    /* In powers of two; j: the key. */
    __device__ float score(int64_t b, int h, int64_t row, int64_t j) const
    {
        float sum = 0.0f;
        for (int c = 0; c < f.d; c++)
            sum += q.load(b, row, h, c) * k.load(b, j, h / f.heads_per_kv, c);
        const int own = (int)row + f.keys - f.queries;
        return sum * f.scale_log2 + attention_bias_at(attention_bias_of(f, h), own, (int)j);
    }
    __device__ float dp(int64_t b, int h, int64_t row, int64_t j) const
    {
        float sum = 0.0f;
        for (int c = 0; c < f.d; c++)
            sum += d_o.load(b, row, h, c) * v.load(b, j, h / f.heads_per_kv, c);
        return sum;
    }
    __device__ float2 *sums_of(int64_t b, int h, int64_t row) const
    {
        return sums + (b * f.heads + h) * f.queries + row;
    }
    __device__ float weight(int64_t b, int h, int64_t row, int64_t j) const
    {
        return exp2f(score(b, h, row, j) - sums_of(b, h, row)->x);
    }
    __device__ float ds(int64_t b, int h, int64_t row, int64_t j) const
    {
        return weight(b, h, row, j) * (dp(b, h, row, j) - sums_of(b, h, row)->y);
    }
};

template <typename T>
struct attention_naive_sums {
    attention_naive_grads<T> g;

    __device__ void operator()(int64_t i) const
    {
        const int64_t row = i % g.f.queries, b = i / g.f.queries / g.f.heads;
        const int h = (int)(i / g.f.queries % g.f.heads);
        const attention_keys seen = attention_visible(g.f, h, (int)row);
        float max = -INFINITY;
        for (int j = seen.first; j < seen.last; j++)
            max = fmaxf(max, g.score(b, h, row, j));
        const float sum = sq_naive_sum(
            seen.first, seen.last, [&](int64_t j) { return exp2f(g.score(b, h, row, j) - max); });
        const float of_dp = sq_naive_sum(seen.first, seen.last, [&](int64_t j) {
            return exp2f(g.score(b, h, row, j) - max) * g.dp(b, h, row, j);
        });
        *g.sums_of(b, h, row) = make_float2(max + log2f(sum), of_dp / sum);
    }
};

/* Element (b, row, h, c) of dQ. */
template <typename T>
struct attention_naive_dq {
    attention_naive_grads<T> g;

    __device__ void operator()(int64_t i) const
    {
        const int64_t c = i % g.f.d, row = i / g.f.d / g.f.heads % g.f.queries;
        const int64_t b = i / g.f.d / g.f.heads / g.f.queries;
        const int h = (int)(i / g.f.d % g.f.heads);
        const attention_keys seen = attention_visible(g.f, h, (int)row);
        const float sum = sq_naive_sum(seen.first, seen.last, [&](int64_t j) {
            return g.ds(b, h, row, j) * g.k.load(b, j, h / g.f.heads_per_kv, c);
        });
        g.dq.store(g.scale * sum, b, row, h, c);
    }
};

/* Elements (b, key, head, c) of dK and dV: over the queries of all heads of the group. */
template <typename T>
struct attention_naive_dkv {
    attention_naive_grads<T> g;

    __device__ void operator()(int64_t i) const
    {
        const int per = g.f.heads_per_kv, kv_heads = (int)g.f.heads / per;
        const int64_t c = i % g.f.d, key = i / g.f.d / kv_heads % g.f.keys;
        const int64_t b = i / g.f.d / kv_heads / g.f.keys;
        const int kv = (int)(i / g.f.d % kv_heads);
        float dk = 0.0f, dv = 0.0f;
        for (int h = kv * per; h < (kv + 1) * per; h++) {
            const attention_keys by = attention_seeing(g.f, h, (int)key);
            dk += sq_naive_sum(by.first, by.last, [&](int64_t row) {
                return g.ds(b, h, row, key) * g.q.load(b, row, h, c);
            });
            dv += sq_naive_sum(by.first, by.last, [&](int64_t row) {
                return g.weight(b, h, row, key) * g.d_o.load(b, row, h, c);
            });
        }
        g.dk.store(g.scale * dk, b, key, kv, c);
        g.dv.store(dv, b, key, kv, c);
    }
};

/* rows: loaded; sums: workspace. */
template <typename T>
attention_naive_grads<T> attention_naive_grads_of(const attention_params *f,
                                                  const sq_attention_rows *rows, void *sums)
{
    const sq_tensor *t = rows->taken;
    return {*f,
            sq_naive_of<T>(t[SQ_ROWS_Q]),
            sq_naive_of<T>(t[SQ_ROWS_K]),
            sq_naive_of<T>(t[SQ_ROWS_V]),
            sq_naive_of<T>(t[SQ_ROWS_DO]),
            sq_naive_of<T>(t[SQ_ROWS_DQ]),
            sq_naive_of<T>(t[SQ_ROWS_DK]),
            sq_naive_of<T>(t[SQ_ROWS_DV]),
            (float2 *)sums,
            attention_bwd_scale(*f)};
}

template <typename T>
sq_status attention_naive_backward(const sq_call *call, const attention_naive_grads<T> &g,
                                   sq_error *err)
{
    const attention_params &f = g.f;
    const int64_t rows = (int64_t)f.batch * f.heads * f.queries;
    const int64_t keys = (int64_t)f.batch * (f.heads / f.heads_per_kv) * f.keys;
    SQ_TRY(sq_naive_run(call, attention_naive_sums<T>{g}, rows, err));
    SQ_TRY(sq_naive_run(call, attention_naive_dq<T>{g}, rows * f.d, err));
    return sq_naive_run(call, attention_naive_dkv<T>{g}, keys * f.d, err);
}

#endif
