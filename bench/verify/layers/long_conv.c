/* layers of long convolutions: the function itself, Hyena and H3 with their projections. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/layers/layers.h"
#include "kernels/hyena_filter/hyena_start.h"

static sq_var named(sq_tape *t, const char *format, int i)
{
    char name[64];
    snprintf(name, sizeof name, format, i);
    return sq_tape_has(t, name) ? sq_tape_leaf(t, name) : SQ_VAR_NONE;
}

static sq_var multiplied(sq_tape *t, sq_var a, sq_var b)
{
    return sq_tape_pointwise(t, &sq_pointwise_mul, a, b);
}

/* --- fftconv: u (B, D, L), filters (D, taps), the skip D --- */

/* A filter as long as the sequence: transforms of 2 L points make zeros of what is missing, and see
 * what is behind as before the start. */
static sq_var taps_of(sq_tape *t, const char *name, int64_t channels, int64_t length)
{
    const sq_var k = sq_tape_leaf(t, name);
    const int64_t taps = sq_tape_dim(t, k, sq_tape_rank(t, k) - 1);
    if (taps > length)
        sq_tape_refuse(t, SQ_UNSUPPORTED,
                       "%s: the operator has no filter of %lld taps over %lld steps", name,
                       (long long)taps, (long long)length);
    if (taps >= length)
        return k;
    const sq_var rows = sq_tape_shape(t, k, 2, (int64_t[]){channels, taps});
    return sq_tape_join(t, rows, sq_tape_constant(t, 0, 2, (int64_t[]){channels, length - taps}),
                        1);
}

static void fftconv(sq_tape *t, const sq_golden *g)
{
    const int64_t channels = sq_layer_count(t, g, "channels", 1),
                  length = sq_layer_count(t, g, "seqlen", 1);
    const bool looks_ahead = sq_tape_has(t, "k_rev");
    const sq_var u = sq_tape_layout(t, sq_tape_leaf(t, "u"), "021");
    const sq_var skip =
        sq_tape_has(t, "D") ? sq_tape_leaf(t, "D") : sq_tape_constant(t, 0, 1, &channels);
    const int call = sq_tape_call(
        t, "long_conv",
        (sq_tape_bind[]){{"v", u},
                         {"h", taps_of(t, "k", channels, length)},
                         {"bias", skip},
                         {"r", looks_ahead ? taps_of(t, "k_rev", channels, length) : SQ_VAR_NONE},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,gate=0,gelu=%d,causal=%d",
        (long long)sq_golden_integer(g, "batch", 0), (long long)length, (long long)channels,
        sq_golden_number(g, "gelu", 0) != 0, !looks_ahead);
    sq_tape_output(t, "y", sq_tape_layout(t, sq_tape_result(t, call, "y"), "021"));
}

/* --- Hyena --- */

enum { OPERATOR_LAYERS = 3, MOST_POSITIONS = 1 << 20 };

/* A leaf whose dim `dim` counts channels and filters, (D, order - 1), as (order - 1, D, rest). */
static sq_var by_filter(sq_tape *t, const char *name, int64_t filters, int64_t channels,
                        int64_t rest)
{
    const int64_t dim[] = {channels, filters, rest};
    return sq_tape_layout(t, sq_tape_shape(t, sq_tape_leaf(t, name), 3, dim), "102");
}

/* What a case does not give of the window's buffers and the features: as the authors' program makes them.
 * (1, rows, features), or of one feature the time. */
static sq_var computed_positions(sq_tape *t, int64_t rows, int64_t features, bool is_time)
{
    const int64_t dim[] = {1, rows, is_time ? 1 : features};
    double *value = malloc((size_t)(rows * dim[2]) * sizeof *value);
    sq_error why = {.status = SQ_OK};
    const sq_status s = value ? sq_hyena_positions(rows, features, is_time ? NULL : value,
                                                   is_time ? value : NULL, &why)
                              : sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for positions");
    sq_var v = SQ_VAR_NONE;
    if (s == SQ_OK)
        v = sq_tape_values(t, value, 3, dim);
    else
        sq_tape_refuse(t, s == SQ_BAD_SHAPE ? SQ_UNSUPPORTED : s, "%s", why.message);
    free(value);
    return v;
}

/* Rows 0 .. L - 1 of the features z, or of the time. */
static sq_var positions(sq_tape *t, const sq_golden *g, bool is_time, int64_t length)
{
    const char *name = is_time ? "filter_fn.pos_emb.t" : "filter_fn.pos_emb.z";
    const int64_t rows = sq_layer_count(t, g, "l_max", length);
    const int64_t features = sq_layer_count(t, g, "emb_dim", 3);
    const bool is_size = rows <= MOST_POSITIONS && features <= 256;
    if (!is_size)
        sq_tape_refuse(t, SQ_UNSUPPORTED, "no positions of that number");
    const sq_var all = sq_tape_has(t, name) ? sq_tape_leaf(t, name)
                       : is_size            ? computed_positions(t, rows, features, is_time)
                                            : SQ_VAR_NONE;
    const int64_t dim[] = {length, sq_tape_dim(t, all, 2)};
    return sq_tape_shape(t, sq_tape_part(t, all, 1, 0, length), 2, dim);
}

/* The decay rates of each channel's filters, as they are stored. */
static sq_var rates(sq_tape *t, int64_t filters, int64_t channels)
{
    static const char name[] = "filter_fn.modulation.deltas";
    const int64_t count = filters * channels;
    sq_error why = {.status = SQ_OK};
    sq_var v = SQ_VAR_NONE;
    if (sq_tape_has(t, name))
        return by_filter(t, name, filters, channels, 1);
    double *value = malloc((size_t)(count + 1) * sizeof *value);
    const sq_status s = value ? sq_hyena_rates(count, SQ_HYENA_FAST, SQ_HYENA_SLOW, SQ_HYENA_TARGET,
                                               value, &why)
                              : sq_fail(&why, SQ_OUT_OF_MEMORY, "out of memory for decay rates");
    if (s == SQ_OK)
        v = sq_tape_values(t, value, 3, (int64_t[]){channels, filters, 1});
    else
        sq_tape_refuse(t, s == SQ_BAD_SHAPE ? SQ_UNSUPPORTED : s, "%s", why.message);
    free(value);
    return sq_tape_layout(t, v, "102");
}

static const char mlp_weight[] = "filter_fn.implicit_filter.%d.weight";
static const char mlp_bias[] = "filter_fn.implicit_filter.%d.bias";

/* sin(freq (W x + b)), `count` times over z: layers beyond those of the operator, which works in f32
 * whatever the type of the case. */
static sq_var first_layers(sq_tape *t, sq_var z, sq_var freq, int count)
{
    const int64_t length = sq_tape_dim(t, z, 0), width = sq_tape_dim(t, freq, 1);
    const int64_t rows[] = {1, length, sq_tape_dim(t, z, 1)}, wide[] = {length, width};
    char w[64], b[64];
    sq_var x = count > 0 ? sq_tape_shape(t, z, 3, rows) : z;
    sq_tape_set_f32(t, true);
    for (int i = 0; i < count; i++) {
        snprintf(w, sizeof w, mlp_weight, 2 * i);
        snprintf(b, sizeof b, mlp_bias, 2 * i);
        const sq_var by =
            sq_tape_repeat(t, sq_tape_shape(t, freq, 3, (int64_t[]){1, 1, width}), 1, length);
        x = sq_tape_pointwise(t, &sq_pointwise_sin, multiplied(t, sq_layer_linear(t, x, w, b), by),
                              SQ_VAR_NONE);
    }
    sq_tape_set_f32(t, false);
    return count > 0 ? sq_tape_shape(t, x, 2, wide) : z;
}

/* Taps (order - 1, D, L). */
static sq_var implicit_filter(sq_tape *t, const sq_golden *g, int64_t filters, int64_t channels,
                              int64_t length)
{
    char out[64];
    int layers = 0; /* the last one has no bias */
    while (named(t, mlp_bias, 2 * layers) != SQ_VAR_NONE)
        layers++;
    if (layers < 1) {
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no filter without layers");
        return SQ_VAR_NONE;
    }
    snprintf(out, sizeof out, mlp_weight, 2 * layers);
    const sq_var freq = sq_tape_leaf(t, "filter_fn.implicit_filter.1.freq");
    const int64_t width = sq_tape_dim(t, freq, 1);
    const sq_var last = by_filter(t, out, filters, channels, width);
    if (last == SQ_VAR_NONE) /* the case has not so many: nothing of that size is made */
        return SQ_VAR_NONE;
    const int first = layers > OPERATOR_LAYERS ? layers - OPERATOR_LAYERS : 0, own = layers - first;
    const sq_var z = first_layers(t, positions(t, g, false, length), freq, first);
    const int call = sq_tape_call(
        t, "hyena_filter",
        (sq_tape_bind[]){{"z", z},
                         {"t", positions(t, g, true, length)},
                         {"freq", freq},
                         {"w0", named(t, mlp_weight, 2 * first)},
                         {"b0", named(t, mlp_bias, 2 * first)},
                         {"w1", own > 1 ? named(t, mlp_weight, 2 * first + 2) : SQ_VAR_NONE},
                         {"b1", own > 1 ? named(t, mlp_bias, 2 * first + 2) : SQ_VAR_NONE},
                         {"w2", own > 2 ? named(t, mlp_weight, 2 * first + 4) : SQ_VAR_NONE},
                         {"b2", own > 2 ? named(t, mlp_bias, 2 * first + 4) : SQ_VAR_NONE},
                         {"out", last},
                         {"delta", rates(t, filters, channels)},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,E=%lld,F=%lld,inner=%d,shift=%.17g", (long long)filters,
        (long long)length, (long long)channels, (long long)sq_tape_dim(t, z, 1), (long long)width,
        own - 1, sq_golden_number(g, "shift", 0));
    return sq_tape_result(t, call, "h");
}

static sq_var short_filter(sq_tape *t, sq_var x)
{
    const sq_var w = sq_tape_leaf(t, "short_filter.weight");
    const int call = sq_tape_call(
        t, "causal_conv1d",
        (sq_tape_bind[]){
            {"x", x}, {"w", w}, {"b", sq_tape_leaf(t, "short_filter.bias")}, {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,W=%lld,silu=0,bias=1", (long long)sq_tape_dim(t, x, 0),
        (long long)sq_tape_dim(t, x, 1), (long long)sq_tape_dim(t, x, 2),
        (long long)sq_tape_dim(t, w, 2));
    return sq_tape_result(t, call, "y");
}

/* The projection holds x0, x1, .. x_{order-1} and v, D channels each. */
static void hyena(sq_tape *t, const sq_golden *g)
{
    const sq_var u = sq_tape_leaf(t, "u");
    const int64_t length = sq_tape_dim(t, u, 1), width = sq_tape_dim(t, u, 2);
    const int order = (int)sq_layer_count(t, g, "order", 2), last = order - 2;
    static const char *const identity[] = {"", "id", "identity", NULL};
    sq_layer_choice(t, g, "activation", identity);
    sq_layer_without(t, g, "bidirectional");
    sq_layer_without(t, g, "normalized");
    sq_layer_without(t, g, "outer_mixing");
    sq_layer_without(t, g, "dropout");
    if (order < 2 || sq_golden_number(g, "num_heads", 1) > 1) {
        sq_tape_refuse(t, SQ_UNSUPPORTED, "no Hyena of order %d with %g heads", order,
                       sq_golden_number(g, "num_heads", 1));
        return;
    }
    const sq_var x = short_filter(t, sq_layer_linear(t, u, "in_proj.weight", "in_proj.bias"));
    const sq_var taps = implicit_filter(t, g, order - 1, width, length);
    const sq_var bias = by_filter(t, "filter_fn.bias", order - 1, width, 1);
    sq_var v = sq_tape_part(t, x, 2, order * width, width);
    for (int i = 0; i <= last && v >= 0; i++) {
        const sq_var gate = sq_tape_part(t, x, 2, (order - 1 - i) * width, width);
        const int call = sq_tape_call(
            t, "long_conv",
            (sq_tape_bind[]){{"v", v},
                             {"x1", gate},
                             {"x0", i == last ? sq_tape_part(t, x, 2, 0, width) : SQ_VAR_NONE},
                             {"h", sq_tape_part(t, taps, 0, i, 1)},
                             {"bias", sq_tape_part(t, bias, 0, i, 1)},
                             {NULL, 0}},
            "B=%lld,L=%lld,D=%lld,gate=%d", (long long)sq_tape_dim(t, u, 0), (long long)length,
            (long long)width, i == last ? 1 : 2);
        v = sq_tape_result(t, call, "y");
    }
    sq_tape_output(t, "y", sq_layer_linear(t, v, "out_proj.weight", "out_proj.bias"));
}

/* --- H3 --- */

static const char diagonal_c[] = "kernel.kernel.C";

typedef struct {
    int64_t batch, length, width, head, states;
    const char *rule;
} h3_shape;

/* The shift state space over k; *state receives the last state, from `initial` on. */
static sq_var shifted(sq_tape *t, sq_var k, sq_var initial, sq_var *state)
{
    const sq_var b = sq_tape_leaf(t, "ssm_k_kernel.kernel.B");
    const int call = sq_tape_call(t, "shift_ssm",
                                  (sq_tape_bind[]){{"u", k},
                                                   {"b", b},
                                                   {"c", sq_tape_leaf(t, "ssm_k_kernel.kernel.C")},
                                                   {"skip", sq_tape_leaf(t, "ssm_k_D")},
                                                   {"initial_state", initial},
                                                   {NULL, 0}},
                                  "B=%lld,L=%lld,D=%lld,N=%lld,initial=%d,final=%d",
                                  (long long)sq_tape_dim(t, k, 0), (long long)sq_tape_dim(t, k, 1),
                                  (long long)sq_tape_dim(t, k, 2), (long long)sq_tape_dim(t, b, 1),
                                  initial != SQ_VAR_NONE, state != NULL);
    if (state)
        *state = sq_tape_result(t, call, "final_state");
    return sq_tape_result(t, call, "y");
}

/* The diagonal state space as a recurrence over u (B, L, heads), likewise. */
static sq_var scanned(sq_tape *t, const h3_shape *s, sq_var u, sq_var initial, sq_var *state)
{
    const int call = sq_tape_call(
        t, "s4_scan",
        (sq_tape_bind[]){{"u", u},
                         {"log_dt", sq_tape_leaf(t, "kernel.kernel.log_dt")},
                         {"a_real", sq_tape_leaf(t, "kernel.kernel.inv_A_real")},
                         {"a_imag", sq_tape_leaf(t, "kernel.kernel.A_imag")},
                         {"b", sq_tape_leaf(t, "kernel.kernel.B")},
                         {"c", sq_tape_leaf(t, diagonal_c)},
                         {"skip", sq_tape_leaf(t, "D")},
                         {"initial_state", initial},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,N=%lld,disc=%s,initial=%d,final=1", (long long)sq_tape_dim(t, u, 0),
        (long long)sq_tape_dim(t, u, 1), (long long)sq_tape_dim(t, u, 2), (long long)s->states,
        s->rule, initial != SQ_VAR_NONE);
    *state = sq_tape_result(t, call, "final_state");
    return sq_tape_result(t, call, "y");
}

/* q (filter * (k v)), heads and their outer products inside. */
static sq_var convolved(sq_tape *t, const h3_shape *s, sq_var q, sq_var k, sq_var v)
{
    const int64_t heads = s->width / s->head;
    const int filter =
        sq_tape_call(t, "s4d_kernel",
                     (sq_tape_bind[]){{"log_dt", sq_tape_leaf(t, "kernel.kernel.log_dt")},
                                      {"a_real", sq_tape_leaf(t, "kernel.kernel.inv_A_real")},
                                      {"a_imag", sq_tape_leaf(t, "kernel.kernel.A_imag")},
                                      {"b", sq_tape_leaf(t, "kernel.kernel.B")},
                                      {"c", sq_tape_leaf(t, diagonal_c)},
                                      {NULL, 0}},
                     "B=1,L=%lld,D=%lld,N=%lld,disc=%s", (long long)s->length, (long long)heads,
                     (long long)s->states, s->rule);
    const int call = sq_tape_call(t, "long_conv",
                                  (sq_tape_bind[]){{"v", k},
                                                   {"x1", v},
                                                   {"x0", q},
                                                   {"h", sq_tape_result(t, filter, "h")},
                                                   {"bias", sq_tape_leaf(t, "D")},
                                                   {NULL, 0}},
                                  "B=%lld,L=%lld,D=%lld,gate=1,head=%lld", (long long)s->batch,
                                  (long long)s->length, (long long)s->width, (long long)s->head);
    return sq_tape_result(t, call, "y");
}

/* All products of a head's channels as sequences of their own: (B P P, L, heads). */
static sq_var products(sq_tape *t, const h3_shape *s, sq_var k, sq_var v)
{
    const int64_t length = sq_tape_dim(t, k, 1), heads = s->width / s->head;
    const int64_t split[] = {s->batch, length, heads, s->head};
    const int64_t rows[] = {s->batch * s->head * s->head, length, heads};
    const sq_var by_k = sq_tape_layout(t, sq_tape_shape(t, k, 4, split), "03.12");
    const sq_var by_v = sq_tape_layout(t, sq_tape_shape(t, v, 4, split), "0.312");
    return sq_tape_shape(
        t, multiplied(t, sq_tape_repeat(t, by_k, 2, s->head), sq_tape_repeat(t, by_v, 1, s->head)),
        3, rows);
}

/* The prompt's states, and q, k, v from there on token by token as recurrences (heads of one
 * channel). y: of the whole sequence, whose first steps the prompt gives. */
static void decode(sq_tape *t, const sq_golden *g, const h3_shape *s, const sq_var *qkv, sq_var y)
{
    const int64_t prompt = sq_layer_count(t, g, "prompt", s->length);
    const int64_t rest = s->length - prompt;
    sq_var shift_state, state, part[3];
    for (int i = 0; i < 3; i++)
        part[i] = sq_tape_part(t, qkv[i], 1, 0, prompt);
    const sq_var k = shifted(t, part[1], SQ_VAR_NONE, &shift_state);
    scanned(t, s, products(t, s, k, part[2]), SQ_VAR_NONE, &state);
    sq_tape_output(t, "shift_state_after_prompt", shift_state);
    sq_tape_output(t, "diag_state_after_prompt", state);
    if (rest > 0 && s->head > 1) {
        sq_tape_refuse(t, SQ_UNSUPPORTED, "no steps of heads of %lld channels", (long long)s->head);
        return;
    }
    sq_var steps = rest > 0 ? sq_tape_part(t, y, 1, 0, prompt) : y;
    for (int64_t at = prompt; at < s->length; at++) {
        for (int i = 0; i < 3; i++)
            part[i] = sq_tape_part(t, qkv[i], 1, at, 1);
        const sq_var key = shifted(t, part[1], shift_state, &shift_state);
        const sq_var sum = scanned(t, s, multiplied(t, key, part[2]), state, &state);
        steps = sq_tape_join(t, steps, multiplied(t, part[0], sum), 1);
    }
    sq_tape_output(t, "y_prefill_step",
                   sq_layer_linear(t, steps, "output_linear.weight", "output_linear.bias"));
}

static void h3(sq_tape *t, const sq_golden *g)
{
    static const char *const rules[] = {"", "zoh", "bilinear", NULL};
    sq_layer_choice(t, g, "disc", rules);
    const sq_var u = sq_tape_leaf(t, "u");
    const h3_shape s = {
        .batch = sq_tape_dim(t, u, 0),
        .length = sq_tape_dim(t, u, 1),
        .width = sq_tape_dim(t, u, 2),
        .head = sq_layer_count(t, g, "head_dim", 1),
        .states = sq_layer_count(t, g, "d_state", 64),
        .rule = strcmp(sq_golden_text(g, "disc"), "zoh") == 0 ? "zoh" : "bilinear",
    };
    const sq_var qkv[] = {sq_layer_linear(t, u, "q_proj.weight", "q_proj.bias"),
                          sq_layer_linear(t, u, "k_proj.weight", "k_proj.bias"),
                          sq_layer_linear(t, u, "v_proj.weight", "v_proj.bias")};
    const sq_var y = convolved(t, &s, qkv[0], shifted(t, qkv[1], SQ_VAR_NONE, NULL), qkv[2]);
    sq_tape_output(t, "y", sq_layer_linear(t, y, "output_linear.weight", "output_linear.bias"));
    if (sq_golden_tensor(g, "output", "diag_state_after_prompt"))
        decode(t, g, &s, qkv, y);
}

const sq_verify_layer sq_layers_long_conv[] = {
    {"fftconv", fftconv},
    {"h3", h3},
    {"hyena", hyena},
    {NULL, NULL},
};
