/* layers of attention: the function itself with all its options, and projections around it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/verify/layers/layers.h"

/* --- the function --- */

typedef struct {
    int64_t batch, queries, keys, heads, heads_kv, width, rotary, offset;
    double base;
    bool is_interleaved, has_alibi;
    int64_t masked; /* heads of hard-alibi */
} form;

static form form_of(const sq_golden *g)
{
    return (form){
        .batch = sq_golden_integer(g, "batch", 0),
        .queries = sq_golden_integer(g, "seqlen_q", 0),
        .keys = sq_golden_integer(g, "seqlen_k", 0),
        .heads = sq_golden_integer(g, "heads_q", 0),
        .heads_kv = sq_golden_integer(g, "heads_kv", 0),
        .width = sq_golden_integer(g, "head_dim", 0),
        .rotary = sq_golden_integer(g, "rotary_dim", 0),
        .offset = sq_golden_integer(g, "q_position_offset", 0),
        .base = sq_golden_number(g, "rotary_base", 10000),
        .is_interleaved = sq_golden_number(g, "rotary_interleaved", 0) != 0,
        .has_alibi = sq_golden_number(g, "alibi", 0) != 0,
        .masked = sq_golden_integer(g, "num_masked_heads", 0),
    };
}

/* What the operator has not. */
static void refuse_options(sq_tape *t, const sq_golden *g, const form *f, int64_t left)
{
    const bool is_named = sq_golden_is_text(g, "softmax_scale");
    const char *scale = is_named ? sq_golden_text(g, "softmax_scale") : "";
    if (sq_golden_number(g, "softcap", 0) != 0)
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no softcap");
    if (sq_golden_number(g, "dropout", 0) != 0 || sq_golden_number(g, "dropout_p", 0) != 0)
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no dropout");
    if (f->masked > 0 && left >= 0 && f->masked > left + 1)
        sq_tape_refuse(t, SQ_UNSUPPORTED,
                       "the operator has no masked heads that see beyond its window");
    if (f->has_alibi && f->masked > 0)
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no ALiBi beside masked heads");
    if (*scale && strcmp(scale, "1/sqrt(head_dim)") != 0)
        sq_tape_refuse(t, SQ_UNSUPPORTED,
                       "softmax_scale: no \"%.60s\", but numbers and 1/sqrt(head_dim)", scale);
}

/* x (B, L, H, D) as it enters the scores beside a bias: turned before the operator, which has one
 * of both. */
static sq_var turned(sq_tape *t, const form *f, sq_var x, int64_t length, int64_t heads,
                     int64_t offset)
{
    const int call =
        sq_tape_call(t, "rope", (sq_tape_bind[]){{"x", x}, {NULL, 0}},
                     "B=%lld,L=%lld,H=%lld,D=%lld,rotary=%lld,offset=%lld,pairs=%s,base=%.17g",
                     (long long)f->batch, (long long)length, (long long)heads, (long long)f->width,
                     (long long)f->rotary, (long long)offset,
                     f->is_interleaved ? "interleaved" : "half", f->base);
    return sq_tape_result(t, call, "y");
}

/* A bound on either side of the own key, which official windows do not count; none where it lets
 * every key in. */
static int64_t bound_of(const sq_golden *g, int side, const form *f)
{
    const int64_t bound = sq_golden_integer_item(g, "window_size", side, -1);
    return bound < 0 || bound >= f->queries + f->keys ? -1 : bound;
}

static void attention(sq_tape *t, const sq_golden *g)
{
    const form f = form_of(g);
    const int64_t left = bound_of(g, 0, &f), right = bound_of(g, 1, &f);
    const bool is_causal = sq_golden_number(g, "causal", 0) != 0 || right == 0;
    const bool is_apart = f.rotary > 0 && (f.has_alibi || f.masked > 0);
    const bool is_named = sq_golden_is_text(g, "softmax_scale");
    const double scale = is_named ? NAN : sq_golden_number(g, "softmax_scale", NAN);
    const char *position = f.has_alibi ? "alibi" : f.masked > 0 ? "hard-alibi" : "none";
    sq_var q = sq_tape_leaf(t, "q"), k = sq_tape_leaf(t, "k");
    refuse_options(t, g, &f, left);
    if (!isnan(scale))
        q = sq_tape_scale(t, q, scale * sqrt((double)f.width));
    if (is_apart) {
        q = turned(t, &f, q, f.queries, f.heads, f.offset);
        k = turned(t, &f, k, f.keys, f.heads_kv, 0);
    } else if (f.rotary > 0) {
        position = f.is_interleaved ? "rope-interleaved" : "rope";
    }
    const bool is_inside = f.rotary > 0 && !is_apart; /* positions count from the first key on */
    const int call = sq_tape_call(
        t, "attention",
        (sq_tape_bind[]){{"q", q}, {"k", k}, {"v", sq_tape_leaf(t, "v")}, {NULL, 0}},
        "B=%lld,L=%lld,Lk=%lld,H=%lld,Hkv=%lld,D=%lld,causal=%d,window=%lld,ahead=%lld,pos=%s,"
        "rotary=%lld,"
        "base=%.17g,shift=%lld,masked=%lld",
        (long long)f.batch, (long long)f.queries, (long long)f.keys, (long long)f.heads,
        (long long)f.heads_kv, (long long)f.width, is_causal, (long long)(left + 1),
        (long long)(!is_causal && right > 0 ? right : 0), position,
        (long long)(is_inside ? f.rotary : 0), f.base,
        (long long)(is_inside ? f.offset - (f.keys - f.queries) : 0), (long long)f.masked);
    sq_tape_output(t, "o", sq_tape_result(t, call, "o"));
}

/* --- layers --- */

/* (B, L, H, D) with channels from `start` on once more behind, then zeros up to `width`. The copy
 * is a trap of the official code that rotary positions left behind: scores count those channels
 * twice, at an unchanged scale. */
static sq_var widened(sq_tape *t, sq_var x, int64_t start, int64_t width)
{
    const int64_t d = sq_tape_dim(t, x, 3);
    const sq_var twice =
        start < d ? sq_tape_join(t, x, sq_tape_part(t, x, 3, start, d - start), 3) : x;
    const int64_t missing = width - sq_tape_dim(t, twice, 3);
    if (missing == 0)
        return twice;
    const int64_t zeros[] = {sq_tape_dim(t, x, 0), sq_tape_dim(t, x, 1), sq_tape_dim(t, x, 2),
                             missing};
    return sq_tape_join(t, twice, sq_tape_constant(t, 0, 4, zeros), 3);
}

/* GPT-NeoX's attention without rotary positions, as of transformers_ssm_copy: the rows of
 * query_key_value are [head][q | k | v]. */
static void neox(sq_tape *t, const sq_golden *g, const char *positions)
{
    const sq_var hidden = sq_tape_leaf(t, "hidden_states");
    const int64_t batch = sq_tape_dim(t, hidden, 0), length = sq_tape_dim(t, hidden, 1);
    const int64_t heads = sq_layer_count(t, g, "heads", 1);
    const int64_t width = sq_layer_count(t, g, "hidden_size", 1), d = width / heads;
    const int64_t start = sq_golden_integer(g, "duplicated_from", d);
    const int64_t wide = start < d ? (2 * d - start + 7) / 8 * 8 : d;
    const sq_var rows =
        sq_layer_linear(t, hidden, "query_key_value.weight", "query_key_value.bias");
    const sq_var split = sq_tape_shape(t, rows, 5, (int64_t[]){batch, length, heads, 3, d});
    sq_var qkv[3];
    for (int i = 0; i < 3; i++)
        qkv[i] = sq_tape_shape(t, sq_tape_part(t, split, 3, i, 1), 4,
                               (int64_t[]){batch, length, heads, d});
    const sq_var q = sq_tape_scale(t, qkv[0], sqrt((double)wide / (double)d));
    const int call = sq_tape_call(t, "attention",
                                  (sq_tape_bind[]){{"q", widened(t, q, start, wide)},
                                                   {"k", widened(t, qkv[1], start, wide)},
                                                   {"v", widened(t, qkv[2], d, wide)},
                                                   {NULL, 0}},
                                  "B=%lld,L=%lld,H=%lld,D=%lld,causal=1%s", (long long)batch,
                                  (long long)length, (long long)heads, (long long)wide, positions);
    const sq_var o = sq_tape_part(t, sq_tape_result(t, call, "o"), 3, 0, d);
    sq_tape_output(t, "y",
                   sq_layer_linear(t, sq_layer_join_heads(t, o), "dense.weight", "dense.bias"));
}

static void attention_nope(sq_tape *t, const sq_golden *g)
{
    neox(t, g, "");
}

static void attention_alibi(sq_tape *t, const sq_golden *g)
{
    neox(t, g, ",pos=alibi");
}

static void attention_hard_alibi(sq_tape *t, const sq_golden *g)
{
    const long long heads = sq_golden_integer(g, "num_masked_heads", 0);
    char masked[64] = ""; /* of no heads: what the operator takes for half of them */
    if (heads != 0)
        snprintf(masked, sizeof masked, ",pos=hard-alibi,masked=%lld", heads);
    neox(t, g, masked);
}

const sq_verify_layer sq_layers_attention[] = {
    {"attention", attention},
    {"attention_alibi", attention_alibi},
    {"attention_hard_alibi", attention_hard_alibi},
    {"attention_nope", attention_nope},
    {NULL, NULL},
};
