/* layers of linear state spaces: S4 and S4D. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/layers/filter.h"
#include "bench/verify/layers/layers.h"

static const sq_filter_form s4_form = {.dt = "kernel.inv_dt",
                                       .a_real = "kernel.A_real",
                                       .a_imag = "kernel.A_imag",
                                       .b = "kernel.B",
                                       .c = "kernel.C",
                                       .p = "kernel.P",
                                       .is_bilinear = true,
                                       .is_conjugate = true};

/* A leaf's numbers as the case stores them, whatever else the tape has under that name. */
static sq_var stored_values(sq_tape *t, const char *name)
{
    const sq_stored_tensor *stored = sq_tape_stored(t, name);
    double *value = stored ? malloc(((size_t)stored->count + 1) * sizeof *value) : NULL;
    sq_var v = SQ_VAR_NONE;
    if (!value) {
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the case has no %.60s", name);
        return v;
    }
    for (int64_t i = 0; i < stored->count; i++)
        value[i] = sq_stored_number(stored, i);
    v = sq_tape_values(t, value, stored->rank, stored->dim);
    free(value);
    return v;
}

/* The states and, behind them, their conjugates: (B, D, N, 2). */
static sq_var with_conjugates(sq_tape *t, sq_var x)
{
    const sq_var conjugate = sq_tape_join(t, sq_tape_part(t, x, 3, 0, 1),
                                          sq_tape_scale(t, sq_tape_part(t, x, 3, 1, 1), -1), 3);
    return sq_tape_join(t, x, conjugate, 2);
}

/* One filter of a channel, as a recurrence: u (B, L, D), c (D, N/2, 2), skip (D). *state: the last
 * one, (B, D, N/2, 2). */
static sq_var scanned(sq_tape *t, const sq_filter_form *f, sq_var u, sq_var c, sq_var skip,
                      bool is_diagonal, sq_var *state)
{
    const sq_var a = sq_tape_leaf(t, f->a_real), dt = sq_tape_leaf(t, f->dt);
    const sq_var p = is_diagonal ? SQ_VAR_NONE : sq_tape_leaf(t, f->p);
    const int call = sq_tape_call(
        t, "s4_scan",
        (sq_tape_bind[]){{"u", u},
                         {"log_dt", dt},
                         {"a_real", a},
                         {"a_imag", sq_tape_leaf(t, f->a_imag)},
                         {"b", sq_tape_leaf(t, f->b)},
                         {"p", p},
                         {"c", c},
                         {"skip", skip},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,N=%lld,R=%lld,S=%lld,disc=%s,conjugate=%d,final=1",
        (long long)sq_tape_dim(t, u, 0), (long long)sq_tape_dim(t, u, 1),
        (long long)sq_tape_dim(t, u, 2), (long long)(2 * sq_tape_dim(t, a, 1)),
        (long long)(is_diagonal ? 0 : sq_tape_dim(t, p, 0)), (long long)sq_tape_dim(t, a, 0),
        f->is_bilinear || !is_diagonal ? "bilinear" : "zoh", f->is_conjugate);
    *state = sq_tape_result(t, call, "final_state");
    return sq_tape_result(t, call, "y");
}

/* The same where every state has a step of its own: each counts as a channel, and the first of a channel
 * has its skip. */
static sq_var scanned_apart(sq_tape *t, const sq_filter_form *f, const sq_untied *of, sq_var u,
                            sq_var c, sq_var skip, sq_var *state)
{
    const int64_t batch = sq_tape_dim(t, u, 0), length = sq_tape_dim(t, u, 1);
    const int64_t d = of->channels, n = of->states, all = d * n;
    const sq_var rows =
        sq_tape_repeat(t, sq_tape_shape(t, u, 4, (int64_t[]){batch, length, d, 1}), 3, n);
    const sq_var first = sq_tape_shape(t, skip, 2, (int64_t[]){d, 1});
    const sq_var skips =
        n > 1 ? sq_tape_join(t, first, sq_tape_constant(t, 0, 2, (int64_t[]){d, n - 1}), 1) : first;
    const int call = sq_tape_call(
        t, "s4_scan",
        (sq_tape_bind[]){{"u", sq_tape_shape(t, rows, 3, (int64_t[]){batch, length, all})},
                         {"log_dt", sq_tape_shape(t, sq_tape_leaf(t, f->dt), 1, &all)},
                         {"a_real", sq_untie(t, of, f->a_real, 1)},
                         {"a_imag", sq_untie(t, of, f->a_imag, 1)},
                         {"b", sq_untie(t, of, f->b, 2)},
                         {"c", sq_tape_shape(t, c, 3, (int64_t[]){all, 1, 2})},
                         {"skip", sq_tape_shape(t, skips, 1, &all)},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,N=2,R=0,S=0,disc=%s,conjugate=%d,final=1", (long long)batch,
        (long long)length, (long long)all, f->is_bilinear ? "bilinear" : "zoh", f->is_conjugate);
    const sq_var y =
        sq_tape_shape(t, sq_tape_result(t, call, "y"), 4, (int64_t[]){batch, length, d, n});
    *state =
        sq_tape_shape(t, sq_tape_result(t, call, "final_state"), 4, (int64_t[]){batch, d, n, 2});
    return sq_tape_shape(t, sq_tape_sum(t, y, 3), 3, (int64_t[]){batch, length, d});
}

/* Filter `i` of each channel of a tensor (filters, D, ..); of one without that dim, all of it. */
static sq_var of_filter(sq_tape *t, sq_var v, int64_t filters, int64_t i)
{
    return filters > 1 ? sq_tape_part(t, v, 0, i, 1) : v;
}

/* All filters of each channel as recurrences over the one state that they share, c as it was before its
 * truncation: (B, L, filters D). */
static sq_var recurrent(sq_tape *t, const sq_filter_form *f, sq_var u, sq_var skip,
                        bool is_diagonal, sq_var *state)
{
    const int64_t filters = sq_filter_count(t, f);
    const sq_var c = stored_values(t, f->c);
    sq_var all = SQ_VAR_NONE;
    sq_untied untied;
    const bool is_untied = sq_is_untied(t, f, &untied);
    *state = SQ_VAR_NONE;
    for (int64_t i = 0; i < filters && u >= 0; i++) {
        const sq_var own = of_filter(t, c, filters, i), through = of_filter(t, skip, filters, i);
        const sq_var y = is_untied ? scanned_apart(t, f, &untied, u, own, through, state)
                                   : scanned(t, f, u, own, through, is_diagonal, state);
        all = sq_layer_append(t, all, y, 2);
    }
    return all;
}

/* The convolutions of u (B, L, D) by all filters of each channel, activated: (B, L, filters D). */
static sq_var convolved(sq_tape *t, sq_var u, sq_var filter, sq_var skip, const char *activation)
{
    const sq_var taps = sq_filter_taps(t, filter, sq_tape_dim(t, u, 1));
    const int64_t filters = sq_tape_dim(t, taps, 0);
    const bool has_gelu = strcmp(activation, "gelu") == 0; /* which the operator does */
    sq_var all = SQ_VAR_NONE;
    for (int64_t i = 0; i < filters && u >= 0; i++)
        all = sq_layer_append(t, all,
                              sq_filtered(t, u, of_filter(t, taps, filters, i),
                                          of_filter(t, skip, filters, i), has_gelu),
                              2);
    return sq_layer_activated(t, all, has_gelu ? "" : activation);
}

/* The first half of the channels times the sigmoid of the second. */
static sq_var gated_linear_unit(sq_tape *t, sq_var x)
{
    const int64_t half = sq_tape_dim(t, x, 2) / 2;
    const sq_var gate =
        sq_tape_pointwise(t, &sq_pointwise_sigmoid, sq_tape_part(t, x, 2, half, half), SQ_VAR_NONE);
    return sq_tape_pointwise(t, &sq_pointwise_mul, sq_tape_part(t, x, 2, 0, half), gate);
}

static bool has_text(const sq_golden *g, const char *option, const char *text)
{
    return strcmp(sq_golden_text(g, option), text) == 0;
}

/* What the official code would do differently. */
static void refuse_options(sq_tape *t, const sq_golden *g)
{
    static const char *const exponential[] = {"", "exp", NULL}, *const rules[] = {"", "zoh",
                                                                                  "bilinear", NULL};
    sq_layer_choice(t, g, "disc", rules);
    sq_layer_choice(t, g, "dt_transform", exponential);
    sq_layer_choice(t, g, "real_transform", exponential);
    sq_layer_without(t, g, "bidirectional");
    sq_layer_without(t, g, "dropout");
}

/* The filter of the first `length` steps. l_max: the longest filter, and the length that c is set up
 * for; a case says beside it when that was another. */
static sq_var filter_of(sq_tape *t, const sq_golden *g, const sq_filter_form *f, bool is_diagonal,
                        int64_t length)
{
    const sq_stored_tensor *set_up = sq_golden_tensor(g, "aux", "l_kernel");
    const int64_t most = sq_layer_count(t, g, "l_max", length),
                  taps = most < length ? most : length;
    const double stored = set_up && set_up->count == 1 ? sq_stored_number(set_up, 0) : 0;
    const int64_t longest = stored >= (double)taps && stored < 0x1p24 ? (int64_t)stored : most;
    if (is_diagonal)
        return sq_diagonal_filter(t, f, taps);
    return sq_filter_taps(t, sq_low_rank_filter(t, g, f, longest), taps);
}

/* The convolution alone, (B, filters channels, L); kernel (filters, channels, L). */
static void convolution(sq_tape *t, const sq_golden *g, const sq_filter_form *f, bool is_diagonal)
{
    const char *activation = sq_golden_text(g, "activation");
    refuse_options(t, g);
    const sq_var u = sq_tape_layout(t, sq_tape_leaf(t, "u"), "021"), skip = sq_tape_leaf(t, "D");
    const sq_var filter = filter_of(t, g, f, is_diagonal, sq_tape_dim(t, u, 1));
    const sq_var y = convolved(t, u, filter, skip, activation);
    sq_tape_output(t, "kernel", filter);
    sq_tape_output(t, "y", sq_tape_layout(t, y, "021"));
    if (!sq_golden_tensor(g, "output", "final_state") && !sq_golden_tensor(g, "output", "y_step"))
        return;
    sq_var state, steps = recurrent(t, f, u, skip, is_diagonal, &state);
    steps = sq_layer_activated(t, steps, activation);
    sq_tape_output(t, "y_step", sq_tape_layout(t, steps, "021"));
    sq_tape_output(t, "final_state", is_diagonal ? state : with_conjugates(t, state));
}

static void s4d(sq_tape *t, const sq_golden *g)
{
    sq_filter_form f = s4_form;
    f.is_bilinear = has_text(g, "disc", "bilinear");
    convolution(t, g, &f, true);
}

static void s4_dplr(sq_tape *t, const sq_golden *g)
{
    convolution(t, g, &s4_form, false);
}

/* The projection and what follows it: "glu", or an activation. */
static sq_var projected(sq_tape *t, sq_var y, const char *act)
{
    const sq_var out = sq_layer_linear(t, y, "output_linear.0.weight", "output_linear.0.bias");
    return strcmp(act, "glu") == 0 ? gated_linear_unit(t, out) : sq_layer_activated(t, out, act);
}

/* The authors' small S4D: b is part of c, the imaginary parts are stored as they are. */
static void s4d_minimal(sq_tape *t, const sq_golden *g)
{
    const sq_filter_form f = {.dt = "kernel.log_dt",
                              .a_real = "kernel.log_A_real",
                              .a_imag = "kernel.A_imag",
                              .c = "kernel.C"};
    (void)g;
    const sq_var u = sq_tape_layout(t, sq_tape_leaf(t, "u"), "021");
    const int64_t channels = sq_tape_dim(t, u, 2), length = sq_tape_dim(t, u, 1);
    const sq_var filter = sq_diagonal_filter(t, &f, length);
    const sq_var y = sq_filtered(t, u, filter, sq_tape_leaf(t, "D"), true);
    const sq_var out = projected(t, y, "glu");
    sq_tape_output(t, "kernel", sq_tape_shape(t, filter, 2, (int64_t[]){channels, length}));
    sq_tape_output(t, "y", sq_tape_layout(t, out, "021"));
}

/* S4Block: convolution, activation, a projection (to twice the width for GLU), its activation; tokens
 * first. */
static void s4_block(sq_tape *t, const sq_golden *g)
{
    static const char *const modes[] = {"", "diag", "dplr", NULL};
    const char *activation = sq_golden_text(g, "activation"), *act = sq_golden_text(g, "final_act");
    const bool is_diagonal = has_text(g, "mode", "diag");
    const sq_filter_form f = {.dt = "layer.kernel.inv_dt",
                              .a_real = "layer.kernel.A_real",
                              .a_imag = "layer.kernel.A_imag",
                              .b = "layer.kernel.B",
                              .c = "layer.kernel.C",
                              .p = "layer.kernel.P",
                              .is_bilinear = has_text(g, "disc", "bilinear"),
                              .is_conjugate = true};
    refuse_options(t, g);
    sq_layer_choice(t, g, "mode", modes);
    const sq_var x = sq_tape_leaf(t, "x"), skip = sq_tape_leaf(t, "layer.D");
    const sq_var filter = filter_of(t, g, &f, is_diagonal, sq_tape_dim(t, x, 1));
    sq_tape_output(t, "y", projected(t, convolved(t, x, filter, skip, activation), act));
    if (!sq_golden_tensor(g, "output", "y_step"))
        return;
    sq_var state;
    const sq_var steps = recurrent(t, &f, x, skip, is_diagonal, &state);
    sq_tape_output(t, "y_step", projected(t, sq_layer_activated(t, steps, activation), act));
}

const sq_verify_layer sq_layers_state_space[] = {
    {"s4_block", s4_block},       {"s4_dplr", s4_dplr}, {"s4d", s4d},
    {"s4d_minimal", s4d_minimal}, {NULL, NULL},
};
