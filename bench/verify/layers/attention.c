/* layers of attention: projections around it. */
#include <math.h>
#include <stdio.h>

#include "bench/verify/layers/layers.h"

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
    {"attention_alibi", attention_alibi},
    {"attention_hard_alibi", attention_hard_alibi},
    {"attention_nope", attention_nope},
    {NULL, NULL},
};
