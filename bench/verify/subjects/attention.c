/* subjects of attention and its positions. */
#include "bench/verify/subjects/subjects.h"

static const char *position_of(const sq_golden *g)
{
    if (sq_golden_number(g, "rotary_dim", 0) > 0)
        return sq_golden_number(g, "rotary_interleaved", 0) != 0 ? "rope-interleaved" : "rope";
    if (sq_golden_number(g, "num_masked_heads", 0) > 0)
        return "hard-alibi";
    return sq_golden_number(g, "alibi", 0) != 0 ? "alibi" : "none";
}

/* Official windows count the keys beside the query's own; -1 is no bound. Rotary positions of
 * queries are given from the first key on. */
static sq_status attention(const sq_golden *g, sq_text *shape, sq_error *why)
{
    const long long left = sq_golden_integer_item(g, "window_size", 0, -1);
    const long long right = sq_golden_integer_item(g, "window_size", 1, -1);
    const long long l = sq_subject_integer(g, "seqlen_q"), lk = sq_subject_integer(g, "seqlen_k");
    const bool is_causal = sq_golden_number(g, "causal", 0) != 0 || right == 0;
    const bool is_rotary = sq_golden_number(g, "rotary_dim", 0) > 0;
    SQ_TRY(sq_subject_lacks(sq_golden_number(g, "softcap", 0) > 0, "softcap", why));
    SQ_TRY(sq_subject_lacks(is_rotary && sq_golden_number(g, "alibi", 0) != 0,
                            "ALiBi of rotated heads", why));
    SQ_TRY(sq_subject_lacks(sq_subject_has_input(g, "alibi_slopes"), "slopes as an input", why));
    sq_text_printf(shape, "B=%lld,L=%lld,Lk=%lld,H=%lld,Hkv=%lld,D=%lld,causal=%d,window=%lld",
                   sq_subject_integer(g, "batch"), l, lk, sq_subject_integer(g, "heads_q"),
                   sq_subject_integer(g, "heads_kv"), sq_subject_integer(g, "head_dim"), is_causal,
                   left >= 0 ? left + 1 : 0);
    sq_text_printf(shape, ",ahead=%lld,pos=%s,rotary=%lld,base=%.17g,shift=%lld,masked=%lld",
                   !is_causal && right > 0 ? right : 0, position_of(g),
                   sq_subject_integer(g, "rotary_dim"), sq_golden_number(g, "rotary_base", 10000),
                   is_rotary ? sq_subject_integer(g, "q_position_offset") - (lk - l) : 0,
                   sq_subject_integer(g, "num_masked_heads"));
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
