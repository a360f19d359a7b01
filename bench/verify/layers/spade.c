/* layers of SPADE: local attention beside a state space, then a feed-forward network. Official
 * tensors are (L, B, D).
 */
#include <stdio.h>
#include <string.h>

#include "bench/verify/layers/filter.h"
#include "bench/verify/layers/layers.h"

/* Leaf PREFIX.weight and PREFIX.bias over the channels. */
static sq_var layer_norm(sq_tape *t, const char *prefix, sq_var x)
{
    char weight[80], bias[80];
    snprintf(weight, sizeof weight, "%.60s.weight", prefix);
    snprintf(bias, sizeof bias, "%.60s.bias", prefix);
    const sq_tape_bind binds[] = {
        {"x", x}, {"w", sq_tape_leaf(t, weight)}, {"b", sq_tape_leaf(t, bias)}, {NULL, 0}};
    const int call = sq_tape_call(t, "layernorm", binds, "B=%lld,L=%lld,D=%lld,eps=1e-5",
                                  (long long)sq_tape_dim(t, x, 0), (long long)sq_tape_dim(t, x, 1),
                                  (long long)sq_tape_dim(t, x, 2));
    return sq_tape_result(t, call, "y");
}

static sq_var attended(sq_tape *t, const sq_golden *g, sq_var x)
{
    static const char *const weights[] = {"self_attn.q.weight", "self_attn.k.weight",
                                          "self_attn.v.weight"};
    static const char bias[] = "self_attn.relative_attention_bias.weight";
    const bool has_bias = sq_golden_number(g, "has_relative_attention_bias", 0) != 0;
    const int64_t width = sq_tape_dim(t, x, 2);
    const int64_t heads = sq_layer_count(t, g, "heads", 1);
    sq_var qkv[3];
    for (int i = 0; i < 3; i++)
        qkv[i] = sq_layer_heads(t, sq_layer_linear(t, x, weights[i], NULL), 0, width, heads);
    const sq_tape_bind binds[] = {{"q", qkv[0]},
                                  {"k", qkv[1]},
                                  {"v", qkv[2]},
                                  {"bias", has_bias ? sq_tape_leaf(t, bias) : SQ_VAR_NONE},
                                  {NULL, 0}};
    const int call = sq_tape_call(
        t, "local_attention", binds,
        "B=%lld,L=%lld,H=%lld,D=%lld,block=%lld,buckets=%lld,distance=%lld",
        (long long)sq_tape_dim(t, x, 0), (long long)sq_tape_dim(t, x, 1), (long long)heads,
        (long long)(width / heads), (long long)sq_golden_integer(g, "local_radius", 511) + 1,
        has_bias ? (long long)sq_golden_integer(g, "relative_attention_num_buckets", 32) : 0,
        (long long)sq_golden_integer(g, "relative_attention_max_distance", 128));
    const sq_var rows = sq_layer_join_heads(t, sq_tape_result(t, call, "o"));
    return sq_layer_linear(t, rows, "self_attn.o.weight", NULL);
}

/* A filter of the longest sequence, whatever the length of this one. Where its extensions are
 * missing, the official code sums the stored one of each pair of conjugate states alone. */
static sq_var globally_mixed(sq_tape *t, const sq_golden *g, sq_var x)
{
    static const sq_filter_form form = {.dt = "s4_module.s4.kernel.kernel.log_dt",
                                        .a_real = "s4_module.s4.kernel.kernel.inv_w_real",
                                        .a_imag = "s4_module.s4.kernel.kernel.w_imag",
                                        .b = "s4_module.s4.kernel.kernel.B",
                                        .c = "s4_module.s4.kernel.kernel.C",
                                        .p = "s4_module.s4.kernel.kernel.P",
                                        .is_single = true};
    const int64_t length = sq_tape_dim(t, x, 1);
    const int64_t longest = sq_layer_count(t, g, "max_target_positions", length);
    const sq_var filter = sq_low_rank_filter(t, g, &form, longest);
    return sq_filtered(t, x, sq_filter_taps(t, filter, length), sq_tape_leaf(t, "s4_module.s4.D"),
                       false);
}

static sq_var weighted_sum(sq_tape *t, double weight, sq_var a, sq_var b)
{
    return sq_tape_pointwise(t, &sq_pointwise_add, sq_tape_scale(t, a, weight),
                             sq_tape_scale(t, b, 1 - weight));
}

/* The state space and the attention beside each other, or one after the other. */
static sq_var mixed(sq_tape *t, const sq_golden *g, sq_var x)
{
    const char *combine = sq_golden_text(g, "s4_local_combine");
    if (sq_golden_number(g, "has_s4", 0) == 0)
        return attended(t, g, x);
    const sq_var global = globally_mixed(t, g, x);
    if (strcmp(combine, "stack") == 0)
        return attended(t, g, global);
    const sq_var globals = layer_norm(t, "norm_global", global);
    const sq_var locals = layer_norm(t, "norm_local", attended(t, g, x));
    if (strcmp(combine, "concat") == 0)
        return sq_layer_linear(t, sq_tape_join(t, globals, locals, 2), "aggregate.weight",
                               "aggregate.bias");
    if (strcmp(combine, "add") == 0)
        return weighted_sum(t, sq_golden_number(g, "s4_weight", 0.5), globals, locals);
    sq_tape_refuse(t, SQ_UNSUPPORTED, "s4_local_combine: no \"%.40s\", but add, concat and stack",
                   combine);
    return SQ_VAR_NONE;
}

static sq_var fed_forward(sq_tape *t, const sq_golden *g, sq_var x)
{
    const sq_var wide = sq_layer_linear(t, x, "fc1.weight", "fc1.bias");
    return sq_layer_linear(t, sq_layer_activated(t, wide, sq_golden_text(g, "activation_fn")),
                           "fc2.weight", "fc2.bias");
}

/* x + part(norm(x)), or norm(x + part(x)). */
static sq_var residual(sq_tape *t, const sq_golden *g, const char *norm, sq_var x,
                       sq_var (*part)(sq_tape *, const sq_golden *, sq_var))
{
    const bool is_before = sq_golden_number(g, "normalize_before", 0) != 0;
    const sq_var added = sq_tape_pointwise(t, &sq_pointwise_add, x,
                                           part(t, g, is_before ? layer_norm(t, norm, x) : x));
    return is_before ? added : layer_norm(t, norm, added);
}

static void spade_layer(sq_tape *t, const sq_golden *g)
{
    const sq_var x = sq_tape_layout(t, sq_tape_leaf(t, "x"), "102");
    const sq_var y = residual(t, g, "self_attn_layer_norm", x, mixed);
    const sq_var out = residual(t, g, "final_layer_norm", y, fed_forward);
    sq_tape_output(t, "y", sq_tape_layout(t, out, "102"));
}

const sq_verify_layer sq_layers_spade[] = {
    {"spade_layer", spade_layer},
    {"spade_local_layer", spade_layer},
    {NULL, NULL},
};
