/* subjects of attention and its positions. */
#include "bench/verify/subjects/subjects.h"

/* Official windows count the keys beside the query's own; -1 is no bound. */
static sq_status attention(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const double left = sq_golden_item(g, "window_size", 0, -1);
    const double right = sq_golden_item(g, "window_size", 1, -1);
    const bool is_causal = sq_golden_number(g, "causal", 0) != 0;
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "alibi", 0) != 0 ||
                                sq_subject_has_input(g, "alibi_slopes"),
                            "ALiBi", why));
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "num_masked_heads", 0) > 0, "Hard-ALiBi", why));
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "rotary_dim", 0) > 0, "rotary positions", why));
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "softcap", 0) > 0, "softcap", why));
    SQ_TRY(
        sq_subject_lacks(!is_causal && (left >= 0 || right >= 0), "window without causality", why));
    sq_text_printf(shape, "B=%lld,L=%lld,Lk=%lld,H=%lld,Hkv=%lld,D=%lld,causal=%d,window=%lld",
                   sq_subject_integer(g, "batch"), sq_subject_integer(g, "seqlen_q"),
                   sq_subject_integer(g, "seqlen_k"), sq_subject_integer(g, "heads_q"),
                   sq_subject_integer(g, "heads_kv"), sq_subject_integer(g, "head_dim"), is_causal,
                   left >= 0 ? (long long)left + 1 : 0);
    return SQ_OK;
}

static const sq_subject_tensor attention_tensors[] = {
    {"q", "q", "0123"}, {"k", "k", "0123"}, {"v", "v", "0123"},
    {"o", "o", "0123"}, {NULL, NULL, NULL},
};

const sq_verify_subject sq_subjects_attention[] = {
    {"attention", "attention", attention, attention_tensors},
    {NULL, NULL, NULL, NULL},
};
