/* layers of decoding: official update functions, called token by token with the state carried on,
 * as chains of calls of the operator that also runs whole sequences.
 */
#include "bench/verify/layers/layers.h"

/* --- selective_state_update: inputs (steps, B, ...), heads and their channels are channels --- */

/* Step `step` of a leaf as (B, 1, last) or, with groups, (B, 1, groups, last); none where absent.
 */
static sq_var token_of(sq_tape *t, const char *name, int64_t step, int64_t groups, int64_t last)
{
    if (!sq_tape_has(t, name))
        return SQ_VAR_NONE;
    const sq_var v = sq_tape_part(t, sq_tape_leaf(t, name), 0, step, 1);
    const int64_t batch = sq_tape_dim(t, v, 1);
    return groups > 0 ? sq_tape_shape(t, v, 4, (int64_t[]){batch, 1, groups, last})
                      : sq_tape_shape(t, v, 3, (int64_t[]){batch, 1, last});
}

/* A leaf of one value for each channel; none where absent. */
static sq_var by_channel(sq_tape *t, const char *name, int64_t channels)
{
    return sq_tape_has(t, name) ? sq_tape_shape(t, sq_tape_leaf(t, name), 1, (int64_t[]){channels})
                                : SQ_VAR_NONE;
}

static int update_state(sq_tape *t, const sq_golden *g, int64_t step, sq_var state)
{
    const int64_t batch = sq_tape_dim(t, state, 0), channels = sq_tape_dim(t, state, 1);
    const int64_t states = sq_tape_dim(t, state, 2);
    const int64_t groups = sq_layer_count(t, g, "ngroups", 1);
    const sq_var rates = sq_tape_shape(t, sq_tape_leaf(t, "A"), 2, (int64_t[]){channels, states});
    return sq_tape_call(t, "selective_scan",
                        (sq_tape_bind[]){{"u", token_of(t, "x", step, 0, channels)},
                                         {"delta", token_of(t, "dt", step, 0, channels)},
                                         {"A", rates},
                                         {"B", token_of(t, "B", step, groups, states)},
                                         {"C", token_of(t, "C", step, groups, states)},
                                         {"D", by_channel(t, "D", channels)},
                                         {"z", token_of(t, "z", step, 0, channels)},
                                         {"delta_bias", by_channel(t, "dt_bias", channels)},
                                         {"initial_state", state},
                                         {NULL, 0}},
                        "B=%lld,L=1,D=%lld,N=%lld,G=%lld,skip=%d,gate=%d,bias=%d,softplus=%d,"
                        "initial=1,final=1",
                        (long long)batch, (long long)channels, (long long)states, (long long)groups,
                        sq_tape_has(t, "D"), sq_tape_has(t, "z"), sq_tape_has(t, "dt_bias"),
                        sq_golden_number(g, "dt_softplus", 0) != 0);
}

/* `list` of one entry a step as the case's output, whose dims it has but for heads. */
static void put_steps(sq_tape *t, const sq_golden *g, const char *name, sq_var list)
{
    const sq_stored_tensor *want = sq_golden_tensor(g, "output", name);
    if (want)
        sq_tape_output(t, name, sq_tape_shape(t, list, want->rank, want->dim));
}

static void state_update(sq_tape *t, const sq_golden *g)
{
    const sq_var first = sq_tape_leaf(t, "state");
    const int rank = sq_tape_rank(t, first);
    int64_t channels = 1;
    for (int d = 1; d < rank - 1; d++)
        channels *= sq_tape_dim(t, first, d);
    const int64_t dim[] = {sq_tape_dim(t, first, 0), channels, sq_tape_dim(t, first, rank - 1)};
    sq_var state = sq_tape_shape(t, first, 3, dim), y = SQ_VAR_NONE, after = SQ_VAR_NONE;
    const int64_t steps = sq_layer_count(t, g, "steps", 1);
    for (int64_t step = 0; step < steps && state >= 0; step++) {
        const int call = update_state(t, g, step, state);
        state = sq_tape_result(t, call, "final_state");
        y = sq_layer_append(t, y, sq_tape_layout(t, sq_tape_result(t, call, "y"), "102"), 0);
        after = sq_layer_append(t, after, sq_tape_layout(t, state, ".012"), 0);
    }
    put_steps(t, g, "y", y);
    put_steps(t, g, "state_after", after);
}

/* --- causal_conv1d_update: x (B, D, all tokens), cut into calls; state (B, D, slots) --- */

/* The slot of the input that came `time` tokens after the first of this call. Circular states start
 * at another place in every batch row. */
typedef struct {
    const sq_golden *golden;
    bool is_circular;
    int64_t slots, tokens_before;
} slots;

/* Whether there are slots, and where they turn a start for every batch row. */
static bool has_slots(sq_tape *t, const slots *s, int64_t batch)
{
    const sq_stored_tensor *start = sq_tape_stored(t, "cache_seqlens");
    const bool has = s->slots >= 1 &&
                     (!s->is_circular || (start->type == SQ_STORED_I32 && start->count == batch));
    if (!has)
        sq_tape_refuse(t, SQ_BAD_ARGUMENT, "conv_state has no slot for each batch row");
    return has;
}

static int64_t slot_of(const slots *s, int64_t row, int64_t time)
{
    const sq_stored_tensor *start = sq_golden_tensor(s->golden, "input", "cache_seqlens");
    if (!s->is_circular)
        return s->slots + time;
    const int64_t at = (int64_t)sq_stored_number(start, row) + s->tokens_before + time;
    return (at % s->slots + s->slots) % s->slots;
}

/* One input (1, 1, D) of a batch row: from the state (B, slots, D), or of this call's x (B, L, D).
 */
static sq_var input_at(sq_tape *t, const slots *s, sq_var state, sq_var x, int64_t row,
                       int64_t time)
{
    const sq_var from = time < 0 ? state : x;
    return sq_tape_part(t, sq_tape_part(t, from, 0, row, 1), 1,
                        time < 0 ? slot_of(s, row, time) : time, 1);
}

/* The last count inputs before the first of this call, oldest first: (B, count, D). */
static sq_var inputs_before(sq_tape *t, const slots *s, sq_var state, sq_var x, int64_t count)
{
    sq_var all = SQ_VAR_NONE;
    for (int64_t row = 0; row < sq_tape_dim(t, x, 0); row++) {
        sq_var of_row = SQ_VAR_NONE;
        for (int64_t time = -count; time < 0; time++)
            of_row = sq_layer_append(t, of_row, input_at(t, s, state, x, row, time), 1);
        all = sq_layer_append(t, all, of_row, 0);
    }
    return all;
}

/* The state behind this call: in every slot the newest input that belongs there. */
static sq_var next_state(sq_tape *t, const slots *s, sq_var state, sq_var x)
{
    const int64_t length = sq_tape_dim(t, x, 1);
    sq_var all = SQ_VAR_NONE;
    for (int64_t row = 0; row < sq_tape_dim(t, x, 0); row++) {
        const int64_t turned = s->is_circular ? slot_of(s, row, length) : 0;
        sq_var of_row = SQ_VAR_NONE;
        for (int64_t slot = 0; slot < s->slots; slot++) {
            const int64_t age = (slot - turned + s->slots) % s->slots; /* 0: the oldest */
            const int64_t time = length - s->slots + age;
            of_row = sq_layer_append(t, of_row, input_at(t, s, state, x, row, time), 1);
        }
        all = sq_layer_append(t, all, of_row, 0);
    }
    return all;
}

static sq_var update_conv(sq_tape *t, const sq_golden *g, sq_var x, sq_var before)
{
    const sq_var weight = sq_tape_leaf(t, "weight");
    const sq_var bias = sq_tape_has(t, "bias") ? sq_tape_leaf(t, "bias") : SQ_VAR_NONE;
    const int call = sq_tape_call(
        t, "causal_conv1d",
        (sq_tape_bind[]){{"x", x}, {"w", weight}, {"b", bias}, {"initial", before}, {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,W=%lld,silu=%d,bias=%d,initial=1", (long long)sq_tape_dim(t, x, 0),
        (long long)sq_tape_dim(t, x, 1), (long long)sq_tape_dim(t, x, 2),
        (long long)sq_tape_dim(t, weight, 1), sq_golden_is_silu(g), bias != SQ_VAR_NONE);
    return sq_tape_result(t, call, "y");
}

static void conv_update(sq_tape *t, const sq_golden *g)
{
    const sq_var all = sq_tape_layout(t, sq_tape_leaf(t, "x"), "021");
    const int64_t past = sq_tape_dim(t, sq_tape_leaf(t, "weight"), 1) - 1;
    sq_var state = sq_tape_layout(t, sq_tape_leaf(t, "conv_state"), "021");
    sq_var y = SQ_VAR_NONE, after = SQ_VAR_NONE;
    slots s = {.golden = g,
               .is_circular = sq_golden_tensor(g, "input", "cache_seqlens") != NULL,
               .slots = sq_tape_dim(t, state, 1)};
    int64_t length;
    if (*sq_golden_text(g, "activation") && !sq_golden_is_silu(g))
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no activation but SiLU");
    if (!has_slots(t, &s, sq_tape_dim(t, all, 0)))
        return;
    for (int call = 0; state >= 0 && (length = sq_golden_integer_item(g, "chunks", call, 0)) > 0;
         call++) {
        const sq_var x = sq_tape_part(t, all, 1, s.tokens_before, length);
        y = sq_layer_append(t, y, update_conv(t, g, x, inputs_before(t, &s, state, x, past)), 1);
        state = next_state(t, &s, state, x);
        after = sq_layer_append(t, after, sq_tape_layout(t, state, ".021"), 0);
        s.tokens_before += length;
    }
    sq_tape_output(t, "y", sq_tape_layout(t, y, "021"));
    sq_tape_output(t, "conv_state_after", after);
}

const sq_verify_layer sq_layers_step[] = {
    {"causal_conv1d_update", conv_update},
    {"selective_state_update", state_update},
    {NULL, NULL},
};
