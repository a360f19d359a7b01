/* layers of Mamba: the mixers of both generations, over a whole sequence and token by token. */
#include <stdio.h>

#include "bench/verify/layers/layers.h"

/* What a mixer keeps of the past: the last inputs of its convolution (B, W - 1, channels), and the
 * state of its recurrence; SQ_VAR_NONE before the first token of a whole sequence. */
typedef struct {
    sq_var window, state;
} memory;

static sq_var zeros(sq_tape *t, int rank, const int64_t *dim)
{
    return sq_tape_constant(t, 0, rank, dim);
}

static bool stores(const sq_golden *g, const char *output)
{
    return sq_golden_tensor(g, "output", output) != NULL;
}

/* The last `width` inputs of the convolution, zeros before the first, as (B, channels, width). */
static sq_var conv_state(sq_tape *t, sq_var x, int64_t width)
{
    const int64_t batch = sq_tape_dim(t, x, 0), channels = sq_tape_dim(t, x, 2);
    const sq_var past = zeros(t, 3, (int64_t[]){batch, width, channels});
    const sq_var padded = sq_tape_join(t, past, x, 1);
    const sq_var last = sq_tape_part(t, padded, 1, sq_tape_dim(t, padded, 1) - width, width);
    return sq_tape_layout(t, last, "021");
}

/* silu(causal_conv1d(x)); where memory has a window, it goes on from there and keeps the next. */
static sq_var conv(sq_tape *t, sq_var x, sq_var weight, const char *bias, memory *m)
{
    const sq_var b = sq_tape_has(t, bias) ? sq_tape_leaf(t, bias) : SQ_VAR_NONE;
    const sq_tape_bind binds[] = {
        {"x", x}, {"w", weight}, {"b", b}, {"initial", m->window}, {NULL, 0}};
    const bool goes_on = m->window >= 0;
    const int64_t taps = sq_tape_dim(t, weight, sq_tape_rank(t, weight) - 1);
    const int call = sq_tape_call(
        t, "causal_conv1d", binds, "B=%lld,L=%lld,D=%lld,W=%lld,silu=1,bias=%d,initial=%d,final=%d",
        (long long)sq_tape_dim(t, x, 0), (long long)sq_tape_dim(t, x, 1),
        (long long)sq_tape_dim(t, x, 2), (long long)taps, b != SQ_VAR_NONE, goes_on, goes_on);
    if (goes_on)
        m->window = sq_tape_result(t, call, "final");
    return sq_tape_result(t, call, "y");
}

/* y = x W^T, plus the bias where the case has it (option "bias" of the mixers). */
static sq_var projection(sq_tape *t, sq_var x, const char *weight, const char *bias)
{
    return sq_layer_linear(t, x, weight, sq_tape_has(t, bias) ? bias : NULL);
}

/* --- Mamba (Gu & Dao 2023, figure 3): in_proj rows [x | z]; the convolved x gives [dt | B | C] ---
 */

static sq_var scan(sq_tape *t, sq_var u, sq_var z, memory *m, bool keeps)
{
    const sq_var a_log = sq_tape_leaf(t, "A_log");
    const int64_t inner = sq_tape_dim(t, a_log, 0), state = sq_tape_dim(t, a_log, 1);
    const int64_t rank = sq_tape_dim(t, sq_tape_leaf(t, "dt_proj.weight"), 1);
    const sq_var parts = sq_layer_linear(t, u, "x_proj.weight", NULL);
    const sq_tape_bind binds[] = {
        {"u", u},
        {"delta", sq_layer_linear(t, sq_layer_heads(t, parts, 0, rank, 0), "dt_proj.weight", NULL)},
        {"A", sq_tape_pointwise(t, &sq_pointwise_minus_exp, a_log, SQ_VAR_NONE)},
        {"B", sq_layer_heads(t, parts, rank, state, 1)},
        {"C", sq_layer_heads(t, parts, rank + state, state, 1)},
        {"D", sq_tape_leaf(t, "D")},
        {"z", z},
        {"delta_bias", sq_tape_leaf(t, "dt_proj.bias")},
        {"initial_state", m->state},
        {NULL, 0}};
    const int call = sq_tape_call(t, "selective_scan", binds, "B=%lld,L=%lld,D=%lld,N=%lld%s%s",
                                  (long long)sq_tape_dim(t, u, 0), (long long)sq_tape_dim(t, u, 1),
                                  (long long)inner, (long long)state,
                                  m->state >= 0 ? ",initial=1" : "", keeps ? ",final=1" : "");
    if (keeps)
        m->state = sq_tape_result(t, call, "final_state");
    return sq_tape_result(t, call, "y");
}

static sq_var mamba_mixer(sq_tape *t, sq_var hidden, memory *m, bool keeps, sq_var *conv_input)
{
    const sq_var xz = projection(t, hidden, "in_proj.weight", "in_proj.bias");
    const int64_t inner = sq_tape_dim(t, sq_tape_leaf(t, "A_log"), 0);
    *conv_input = sq_layer_heads(t, xz, 0, inner, 0);
    const sq_var u = conv(t, *conv_input, sq_tape_leaf(t, "conv1d.weight"), "conv1d.bias", m);
    const sq_var y = scan(t, u, sq_layer_heads(t, xz, inner, inner, 0), m, keeps);
    return projection(t, y, "out_proj.weight", "out_proj.bias");
}

/* --- Mamba-2 (Dao & Gu 2024, section 7.1): rows [z | x | B | C | dt], an MLP's halves before ---
 */

typedef struct {
    int64_t heads, width, state, groups; /* width: of a head */
    double dt_min, dt_max;               /* dt_max 0: no limit */
    bool has_norm, norm_first, has_channel_d;
    double eps;
    int64_t norm_groups;
    const char *conv_weight, *conv_bias, *norm_weight, *out_weight, *out_bias;
} mamba2_form;

static sq_var dual_scan(sq_tape *t, const mamba2_form *f, sq_var xbc, sq_var z, sq_var dt,
                        memory *m, bool keeps)
{
    const int64_t inner = f->heads * f->width, bc = f->groups * f->state;
    const sq_var a =
        sq_tape_has(t, "A_log")
            ? sq_tape_pointwise(t, &sq_pointwise_minus_exp, sq_tape_leaf(t, "A_log"), SQ_VAR_NONE)
            : sq_tape_leaf(t, "A");
    const sq_var d = f->has_channel_d ? sq_tape_shape(t, sq_tape_leaf(t, "D"), 2,
                                                      (int64_t[]){f->heads, f->width})
                                      : sq_tape_leaf(t, "D");
    char limit[96] = "";
    if (f->dt_min > 0 || f->dt_max > 0)
        snprintf(limit, sizeof limit, ",dtmin=%.17g,dtmax=%.17g", f->dt_min, f->dt_max);
    const sq_tape_bind binds[] = {{"x", sq_layer_heads(t, xbc, 0, inner, f->heads)},
                                  {"dt", dt},
                                  {"A", a},
                                  {"B", sq_layer_heads(t, xbc, inner, bc, f->groups)},
                                  {"C", sq_layer_heads(t, xbc, inner + bc, bc, f->groups)},
                                  {"D", d},
                                  {"dt_bias", sq_tape_leaf(t, "dt_bias")},
                                  {"z", z},
                                  {"initial_state", m->state},
                                  {NULL, 0}};
    const int call = sq_tape_call(
        t, "ssd", binds, "B=%lld,L=%lld,H=%lld,P=%lld,N=%lld,G=%lld,skip=%d%s%s%s%s",
        (long long)sq_tape_dim(t, xbc, 0), (long long)sq_tape_dim(t, xbc, 1), (long long)f->heads,
        (long long)f->width, (long long)f->state, (long long)f->groups, f->has_channel_d ? 2 : 1,
        limit, z >= 0 ? ",gate=1" : "", m->state >= 0 ? ",initial=1" : "", keeps ? ",final=1" : "");
    if (keeps)
        m->state = sq_tape_result(t, call, "final_state");
    return sq_layer_join_heads(t, sq_tape_result(t, call, "y"));
}

static sq_var gated_norm(sq_tape *t, const mamba2_form *f, sq_var y, sq_var z)
{
    const int call = sq_tape_call(
        t, "rmsnorm",
        (sq_tape_bind[]){{"x", y}, {"w", sq_tape_leaf(t, f->norm_weight)}, {"z", z}, {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,groups=%lld,gate=%s,eps=%.17g", (long long)sq_tape_dim(t, y, 0),
        (long long)sq_tape_dim(t, y, 1), (long long)sq_tape_dim(t, y, 2), (long long)f->norm_groups,
        f->norm_first ? "post" : "pre", f->eps);
    return sq_tape_result(t, call, "y");
}

/* From the projected rows on. */
static sq_var mamba2_inner_of(sq_tape *t, const mamba2_form *f, sq_var rows, memory *m, bool keeps,
                              sq_var *conv_input)
{
    const int64_t inner = f->heads * f->width, convolved = inner + 2 * f->groups * f->state;
    const int64_t mlp = (sq_tape_dim(t, rows, 2) - inner - convolved - f->heads) / 2;
    const sq_var z = sq_layer_heads(t, rows, 2 * mlp, inner, f->has_norm ? 0 : f->heads);
    const sq_var dt = sq_layer_heads(t, rows, 2 * mlp + inner + convolved, f->heads, 0);
    *conv_input = sq_layer_heads(t, rows, 2 * mlp + inner, convolved, 0);
    const sq_var xbc = conv(t, *conv_input, sq_tape_leaf(t, f->conv_weight), f->conv_bias, m);
    sq_var y = dual_scan(t, f, xbc, f->has_norm ? SQ_VAR_NONE : z, dt, m, keeps);
    if (f->has_norm)
        y = gated_norm(t, f, y, z);
    if (mlp > 0) {
        const sq_var gate = sq_tape_pointwise(t, &sq_pointwise_silu,
                                              sq_layer_heads(t, rows, 0, mlp, 0), SQ_VAR_NONE);
        y = sq_tape_join(
            t, sq_tape_pointwise(t, &sq_pointwise_mul, gate, sq_layer_heads(t, rows, mlp, mlp, 0)),
            y, 2);
    }
    return projection(t, y, f->out_weight, f->out_bias);
}

static mamba2_form form_of(sq_tape *t, const sq_golden *g)
{
    const bool has_norm = sq_golden_number(g, "rmsnorm", 1) != 0;
    const int64_t groups = sq_layer_count(t, g, "ngroups", 1);
    return (mamba2_form){
        .heads = sq_tape_dim(t, sq_tape_leaf(t, "dt_bias"), 0),
        .width = sq_layer_count(t, g, "headdim", 64),
        .state = sq_layer_count(t, g, "d_state", 128),
        .groups = groups,
        .dt_min = sq_golden_item(g, "dt_limit", 0, 0),
        .dt_max = sq_golden_item(g, "dt_limit", 1, 0),
        .has_norm = has_norm,
        .norm_first = sq_golden_number(g, "norm_before_gate", 0) != 0,
        .has_channel_d = sq_golden_number(g, "D_has_hdim", 0) != 0,
        .eps = 1e-5,
        .norm_groups = groups,
        .conv_weight = "conv1d.weight",
        .conv_bias = "conv1d.bias",
        .norm_weight = "norm.weight",
        .out_weight = "out_proj.weight",
        .out_bias = "out_proj.bias",
    };
}

static sq_var mamba2_mixer(sq_tape *t, const mamba2_form *f, sq_var hidden, memory *m, bool keeps,
                           sq_var *conv_input)
{
    const sq_var rows = projection(t, hidden, "in_proj.weight", "in_proj.bias");
    return mamba2_inner_of(t, f, rows, m, keeps, conv_input);
}

/* --- cases --- */

/* One token after the other from empty memories; f NULL: Mamba. */
static sq_var by_steps(sq_tape *t, const mamba2_form *f, sq_var hidden, sq_var conv_input,
                       const int64_t *state, int rank)
{
    const int64_t batch = sq_tape_dim(t, hidden, 0), length = sq_tape_dim(t, hidden, 1);
    const int64_t width = sq_tape_dim(t, sq_tape_leaf(t, "conv1d.weight"), 2);
    const int64_t window[] = {batch, width - 1, sq_tape_dim(t, conv_input, 2)};
    memory m = {zeros(t, 3, window), zeros(t, rank, state)};
    sq_var all = SQ_VAR_NONE;
    for (int64_t i = 0; i < length; i++) {
        const sq_var token = sq_tape_part(t, hidden, 1, i, 1);
        const sq_var y = f ? mamba2_mixer(t, f, token, &m, true, &conv_input)
                           : mamba_mixer(t, token, &m, true, &conv_input);
        all = sq_layer_append(t, all, y, 1);
    }
    return all;
}

static void mamba(sq_tape *t, const sq_golden *g)
{
    const sq_var hidden = sq_tape_leaf(t, "hidden_states"), a_log = sq_tape_leaf(t, "A_log");
    const int64_t state[] = {sq_tape_dim(t, hidden, 0), sq_tape_dim(t, a_log, 0),
                             sq_tape_dim(t, a_log, 1)};
    memory m = {SQ_VAR_NONE, SQ_VAR_NONE};
    sq_var x;
    sq_tape_output(t, "y", mamba_mixer(t, hidden, &m, stores(g, "final_ssm_state"), &x));
    if (stores(g, "final_ssm_state"))
        sq_tape_output(t, "final_ssm_state", m.state);
    if (stores(g, "final_conv_state"))
        sq_tape_output(t, "final_conv_state",
                       conv_state(t, x, sq_tape_dim(t, sq_tape_leaf(t, "conv1d.weight"), 2)));
    if (stores(g, "y_step"))
        sq_tape_output(t, "y_step", by_steps(t, NULL, hidden, x, state, 3));
}

static void mamba2(sq_tape *t, const sq_golden *g)
{
    const mamba2_form f = form_of(t, g);
    const sq_var hidden = sq_tape_leaf(t, "hidden_states");
    const int64_t state[] = {sq_tape_dim(t, hidden, 0), f.heads, f.state, f.width};
    memory m = {SQ_VAR_NONE, SQ_VAR_NONE};
    sq_var x;
    sq_tape_output(t, "y", mamba2_mixer(t, &f, hidden, &m, stores(g, "final_ssm_state"), &x));
    if (stores(g, "final_ssm_state"))
        sq_tape_output(t, "final_ssm_state", sq_tape_layout(t, m.state, "0132"));
    if (stores(g, "final_conv_state"))
        sq_tape_output(t, "final_conv_state",
                       conv_state(t, x, sq_tape_dim(t, sq_tape_leaf(t, "conv1d.weight"), 2)));
    if (stores(g, "y_step"))
        sq_tape_output(t, "y_step", by_steps(t, &f, hidden, x, state, 4));
}

/* mamba_split_conv1d_scan: the mixer behind its in_proj, as one function. */
static void mamba2_inner(sq_tape *t, const sq_golden *g)
{
    mamba2_form f = form_of(t, g);
    memory m = {SQ_VAR_NONE, SQ_VAR_NONE};
    sq_var x;
    f.state = sq_layer_count(t, g, "dstate", 128);
    f.groups = sq_layer_count(t, g, "groups", 1);
    f.has_norm = sq_tape_has(t, "rmsnorm_weight");
    f.norm_first = sq_golden_number(g, "norm_before_gate", 1) != 0;
    f.eps = sq_golden_number(g, "rmsnorm_eps", 1e-5);
    f.conv_weight = "conv1d_weight";
    f.conv_bias = "conv1d_bias";
    f.norm_weight = "rmsnorm_weight";
    f.out_weight = "outproj_weight";
    f.out_bias = "outproj_bias";
    sq_tape_output(t, "y", mamba2_inner_of(t, &f, sq_tape_leaf(t, "zxbcdt"), &m, false, &x));
}

const sq_verify_layer sq_layers_mamba[] = {
    {"mamba", mamba},
    {"mamba2", mamba2},
    {"mamba2_inner", mamba2_inner},
    {NULL, NULL},
};
