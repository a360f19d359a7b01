/* naive_scores: what norm=paper and norm=torchscale divide a row by in cuda/naive, in both passes: a
 * thread for each row, which goes over all scores up to its own, in f64. Quadratic in time for either
 * norm, though paper's sums have a recurrence (score_sums.cuh). With it the recurrence's naive
 * kernels do the rest; what they are told of a row in pass bwd: score_facts.cuh.
 */
#ifndef SQ_KERNELS_RETENTION_NAIVE_SCORES_CUH
#define SQ_KERNELS_RETENTION_NAIVE_SCORES_CUH

#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/hw/naive.cuh"
#include "kernels/retention/retention.h"

/* Of each (b, h, t). factor: scale r_t. slope, extra: of pass bwd, else NULL. */
template <typename T>
struct sq_naive_score_row {
    sq_decay_params p;
    sq_decay_tensor o, d_o;
    float *factor, *slope, *extra;
    int norm;

    __device__ double dot(const T *x, const T *y, int count) const
    {
        double sum = 0;
        for (int i = 0; i < count; i++)
            sum += (double)sq_to_f32(x[i]) * sq_to_f32(y[i]);
        return sum;
    }
    /* The decayed scores q_t . k_s, or their absolute values. */
    __device__ double score_sum(const sq_decay_head &head, int b, int64_t t, int h) const
    {
        const T *q = sq_decay_at<T>(p.q, b, t, h);
        double sum = 0, decay = 1;
        for (int64_t s = t; s >= 0; s--) {
            const double score = dot(q, sq_decay_at<T>(p.k, b, s, h), p.keys);
            sum += decay * (norm == NORM_TORCHSCALE ? fabs(score) : score);
            decay *= head.gamma;
        }
        return sum;
    }
    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i % p.length;
        const int h = (int)(i / p.length % p.heads), b = (int)(i / p.length / p.heads);
        const sq_decay_head head = sq_decay_load_head(p, h);
        const double f = sq_decay_output_scale(p, head, b, h, t), r = f * score_sum(head, b, t, h);
        const double divisor = fmax(norm == NORM_PAPER ? fabs(r) : fmin(r, 5e4), 1.0);
        factor[i] = (float)(f / divisor);
        if (!slope)
            return;
        const bool is_sloped = norm == NORM_PAPER && divisor > 1;
        slope[i] = is_sloped && t == 0 ? 0.0f : factor[i];
        const double by_o = dot(sq_decay_at<T>(o, b, t, h), sq_decay_at<T>(d_o, b, t, h), p.values);
        extra[i] = is_sloped ? (float)(r > 0 ? -by_o : by_o) : 0.0f;
    }
};

/* As sq_tiled_scores (normalised.cuh). */
struct sq_naive_scores {
    static int64_t count(const sq_decay_params &p) { return (int64_t)p.batch * p.heads * p.length; }
    static size_t bytes(const sq_call *call, const sq_decay_params &p)
    {
        const int numbers = call->pass == SQ_PASS_BWD ? 3 : 1;
        return (size_t)sq_ceil_div(count(p) * numbers * (int64_t)sizeof(float), 256) * 256;
    }
    static sq_status supports(const sq_call *, const sq_decay_params &, const sq_device *,
                              sq_error *)
    {
        return SQ_OK;
    }
    template <typename T>
    static sq_naive_score_row<T> row(const sq_call *call, const sq_decay_params &p)
    {
        return {p, {}, {}, (float *)call->workspace, NULL, NULL, (int)call->axis[AXIS_NORM]};
    }
    /* Makes p->row. */
    static sq_status rows(const sq_call *call, sq_decay_params *p, sq_error *err)
    {
        SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
            return sq_naive_run(call, row<decltype(type)>(call, *p), count(*p), err);
        }));
        p->row = (const float *)call->workspace;
        return SQ_OK;
    }
    /* Makes p->row and, for norm=paper, g->ones. */
    static sq_status facts(const sq_call *call, sq_decay_params *p, sq_decay_grads *g,
                           sq_error *err)
    {
        float *factor = (float *)call->workspace, *slope = factor + count(*p);
        float *extra = slope + count(*p);
        SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
            auto row_back = row<decltype(type)>(call, *p);
            row_back.o = sq_decay_view(&call->in[IN_COUNT + SQ_DECAY_OUT_COUNT + SQ_DECAY_OUT_O]);
            row_back.d_o = g->d_o;
            row_back.slope = slope;
            row_back.extra = extra;
            return sq_naive_run(call, row_back, count(*p), err);
        }));
        p->row = factor;
        if (call->axis[AXIS_NORM] == NORM_PAPER)
            g->ones = {extra, NULL, NULL, slope};
        return SQ_OK;
    }
    static constexpr auto backward = sq_decay_naive_backward;
    static constexpr size_t (*saved)(const sq_call *forward) = NULL;
};

#endif
