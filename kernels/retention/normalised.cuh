/* normalised: providers that keep states, with the normalisers that look at all scores. The sums of
 * scores come first (score_sums.cuh), then the provider's kernel with their r_t: a factor of a row
 * as that of norm=decay is, divided out before anything is rounded to 16 bits. Backward likewise;
 * norm=torchscale's factor has no gradient, and norm=paper's is that of a value column of ones.
 */
#ifndef SQ_KERNELS_RETENTION_NORMALISED_CUH
#define SQ_KERNELS_RETENTION_NORMALISED_CUH

#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/retention/score_facts.cuh"

/* Numbers of the states of keys before, or after, all chunks. */
static inline int64_t sq_normalised_states(const sq_decay_params &p)
{
    return sq_ceil_div(p.length, SQ_CHUNK) * p.batch * p.heads * p.keys;
}

/* Bytes of the workspace in front of the provider's own: what is known of each row, then norm=paper's
 * states of keys; in pass bwd also their gradients. */
static inline size_t sq_normalised_bytes(const sq_call *call, const sq_decay_params &p)
{
    const bool is_backward = call->pass == SQ_PASS_BWD;
    const int64_t chunks = sq_ceil_div(p.length, SQ_CHUNK) * p.batch * p.heads;
    const int64_t rows =
        is_backward ? SQ_SCORE_FACTS * sq_score_queries(p) + chunks : sq_score_queries(p);
    const int64_t states =
        call->axis[AXIS_NORM] == NORM_PAPER ? (is_backward ? 2 : 1) * sq_normalised_states(p) : 0;
    return (size_t)sq_ceil_div((rows + states) * (int64_t)sizeof(float), 256) * 256;
}

static inline sq_status sq_normalised_supports(const sq_call *call, const sq_decay_params &p,
                                               const sq_device *device, sq_error *why)
{
    const double chunks = (double)sq_ceil_div(p.length, SQ_CHUNK) * p.heads * p.batch;
    const double blocks = chunks * (double)sq_ceil_div(p.keys, SQ_SCORE_KEYS);
    const int bytes = call->dtype == SQ_DTYPE_F32 ? sq_score_shared<float>(p.keys)
                                                  : sq_score_shared<__half>(p.keys);
    if (call->axis[AXIS_NORM] == NORM_TORCHSCALE)
        SQ_TRY(sq_supports_shared(device, (size_t)bytes, why));
    if (blocks < 2147483648.0)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "%g blocks: at most 2^31 - 1", blocks);
}

/* The call with the workspace that is left for the provider's kernel. */
static inline sq_call sq_normalised_inner(const sq_call *call, size_t bytes)
{
    sq_call inner = *call;
    inner.workspace = (char *)call->workspace + bytes;
    inner.workspace_bytes -= bytes;
    return inner;
}

/* Makes p->row. */
static inline sq_status sq_normalised_rows(const sq_call *call, sq_decay_params *p, sq_error *err)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype),
              chunks = (int)sq_ceil_div(p->length, SQ_CHUNK);
    const bool is_vector = p->keys % vector == 0 && sq_decay_has_vectors(p->q, vector) &&
                           sq_decay_has_vectors(p->k, vector);
    float *row = (float *)call->workspace, *states = row + sq_score_queries(*p);
    const sq_score_rows c = {
        *p, states, row, (float *)call->saved, chunks, (int)call->axis[AXIS_NORM]};
    p->row = row;
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (c.norm == NORM_PAPER)
            SQ_TRY(sq_score_run_states<T>(call, c.p, {}, states, err));
        return sq_score_run_rows<T>(call, c, is_vector, err);
    });
}

/* Makes p->row, g->unit and, for norm=paper, g->ones. */
static inline sq_status sq_normalised_facts(const sq_call *call, sq_decay_params *p,
                                            sq_decay_grads *g, sq_error *err)
{
    sq_score_facts c = sq_score_facts_of(call, *p, *g, (float *)call->workspace);
    c.unit = c.extra + sq_score_queries(*p);
    float *before = c.unit + (int64_t)c.chunks * p->batch * p->heads;
    float *after = before + sq_normalised_states(*p);
    const bool is_paper = c.norm == NORM_PAPER;
    p->row = c.factor;
    g->unit = c.unit;
    if (is_paper)
        g->ones = {c.extra, before, after, c.slope};
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        SQ_TRY(sq_score_run_facts<T>(call, c, err));
        if (!is_paper)
            return SQ_OK;
        SQ_TRY(sq_score_run_states<T>(call, c.p, {}, before, err));
        return sq_score_run_states<T>(call, c.p, {c.slope, c.extra, c.unit}, after, err);
    });
}

/* How the providers on tiles look at the scores. */
struct sq_tiled_scores {
    static constexpr auto bytes = sq_normalised_bytes;
    static constexpr auto supports = sq_normalised_supports;
    static constexpr auto rows = sq_normalised_rows;
    static constexpr auto facts = sq_normalised_facts;
    static constexpr auto backward = sq_decay_tile_backward;
    static constexpr auto saved = sq_retention_saved;
};

/* PROVIDER of decay_providers.cuh; SCORES: how it looks at them, and its pass bwd, if it has one. */
template <typename PROVIDER, typename SCORES, sq_decay_params_fn PARAMS, sq_decay_grads_fn GRADS>
struct sq_normalised {
    static sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
    {
        SQ_TRY(PROVIDER::supports(call, device, why));
        return sq_retention_needs_scores(call->axis)
                   ? SCORES::supports(call, PARAMS(call), device, why)
                   : SQ_OK;
    }
    static size_t workspace(const sq_call *call)
    {
        const bool has_sums = sq_retention_needs_scores(call->axis);
        return (has_sums ? SCORES::bytes(call, PARAMS(call)) : 0) + PROVIDER::workspace(call);
    }
    static sq_status launch(const sq_call *call, void *plan, sq_error *err)
    {
        if (!sq_retention_needs_scores(call->axis))
            return PROVIDER::launch(call, plan, err);
        sq_decay_params p = PARAMS(call);
        const sq_call inner = sq_normalised_inner(call, SCORES::bytes(call, p));
        if (call->pass != SQ_PASS_BWD) {
            SQ_TRY(SCORES::rows(call, &p, err));
            return PROVIDER::forward(&inner, p, plan, err);
        }
        sq_decay_grads g = GRADS(call);
        SQ_TRY(SCORES::facts(call, &p, &g, err));
        return SCORES::backward(&inner, p, g, err);
    }
};

#endif
