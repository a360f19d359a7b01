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

/* The same as a recurrence: u (B, L, D), skip D, c as it was before its truncation. *state: the
 * last one, (B, D, N/2, 2). */
static sq_var recurrent(sq_tape *t, const sq_filter_form *f, sq_var u, sq_var skip,
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
                         {"c", stored_values(t, f->c)},
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

/* One filter a channel and an activation that there is. */
static bool is_plain(sq_tape *t, const sq_golden *g)
{
    const char *activation = sq_golden_text(g, "activation");
    const bool is_known = !*activation || strcmp(activation, "gelu") == 0;
    if (sq_golden_number(g, "channels", 1) > 1)
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no several filters of a channel");
    else if (!is_known)
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the operator has no activation %.40s", activation);
    return is_known;
}

/* The convolution alone, (B, channels, L); kernel (1, channels, L). */
static void convolution(sq_tape *t, const sq_golden *g, const sq_filter_form *f, bool is_diagonal)
{
    if (!is_plain(t, g))
        return;
    const sq_var u = sq_tape_layout(t, sq_tape_leaf(t, "u"), "021");
    const int64_t length = sq_tape_dim(t, u, 1);
    const sq_var filter =
        is_diagonal ? sq_diagonal_filter(t, f, length) : sq_low_rank_filter(t, g, f, length);
    const sq_var y =
        sq_filtered(t, u, filter, sq_tape_leaf(t, "D"), has_text(g, "activation", "gelu"));
    sq_tape_output(t, "kernel", filter);
    sq_tape_output(t, "y", sq_tape_layout(t, y, "021"));
    if (!sq_golden_tensor(g, "output", "final_state"))
        return;
    sq_var state;
    const sq_var steps = recurrent(t, f, u, sq_tape_leaf(t, "D"), is_diagonal, &state);
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

static sq_var projected(sq_tape *t, sq_var y)
{
    return gated_linear_unit(
        t, sq_layer_linear(t, y, "output_linear.0.weight", "output_linear.0.bias"));
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
    const sq_var out = projected(t, y);
    sq_tape_output(t, "kernel", sq_tape_shape(t, filter, 2, (int64_t[]){channels, length}));
    sq_tape_output(t, "y", sq_tape_layout(t, out, "021"));
}

/* S4Block: convolution, activation, a projection to twice the width, GLU; tokens first. */
static void s4_block(sq_tape *t, const sq_golden *g)
{
    const bool is_diagonal = has_text(g, "mode", "diag");
    const sq_filter_form f = {.dt = "layer.kernel.inv_dt",
                              .a_real = "layer.kernel.A_real",
                              .a_imag = "layer.kernel.A_imag",
                              .b = "layer.kernel.B",
                              .c = "layer.kernel.C",
                              .p = "layer.kernel.P",
                              .is_bilinear = has_text(g, "disc", "bilinear"),
                              .is_conjugate = true};
    if (!is_plain(t, g))
        return;
    if (!has_text(g, "final_act", "glu")) {
        sq_tape_refuse(t, SQ_UNSUPPORTED, "no final activation but glu");
        return;
    }
    const sq_var x = sq_tape_leaf(t, "x");
    const int64_t length = sq_tape_dim(t, x, 1);
    const sq_var filter =
        is_diagonal ? sq_diagonal_filter(t, &f, length) : sq_low_rank_filter(t, g, &f, length);
    const bool has_gelu = has_text(g, "activation", "gelu");
    const sq_var skip = sq_tape_leaf(t, "layer.D"), y = sq_filtered(t, x, filter, skip, has_gelu);
    sq_tape_output(t, "y", projected(t, y));
    if (!sq_golden_tensor(g, "output", "y_step"))
        return;
    sq_var state, steps = recurrent(t, &f, x, skip, is_diagonal, &state);
    if (has_gelu)
        steps = sq_tape_pointwise(t, &sq_pointwise_gelu, steps, SQ_VAR_NONE);
    sq_tape_output(t, "y_step", projected(t, steps));
}

const sq_verify_layer sq_layers_state_space[] = {
    {"s4_block", s4_block},       {"s4_dplr", s4_dplr}, {"s4d", s4d},
    {"s4d_minimal", s4d_minimal}, {NULL, NULL},
};
