/* filter: see filter.h. */
#include "bench/verify/layers/filter.h"

#include <stdlib.h>

#include "bench/verify/layers/truncation.h"

int64_t sq_filter_count(sq_tape *t, const sq_filter_form *f)
{
    const sq_var c = sq_tape_leaf(t, f->c);
    return sq_tape_rank(t, c) == 4 ? sq_tape_dim(t, c, 0) : 1;
}

/* --- a step for each state --- */

bool sq_is_untied(sq_tape *t, const sq_filter_form *f, sq_untied *out)
{
    const sq_var dt = sq_tape_leaf(t, f->dt), a = sq_tape_leaf(t, f->a_real);
    *out = (sq_untied){.channels = sq_tape_dim(t, dt, 0),
                       .states = sq_tape_dim(t, a, 1),
                       .copies = sq_tape_dim(t, a, 0)};
    return sq_tape_rank(t, dt) == 2 && sq_tape_dim(t, dt, 1) > 1;
}

sq_var sq_untie(sq_tape *t, const sq_untied *of, const char *name, int64_t last)
{
    const int64_t turns = of->copies > 0 ? of->channels / of->copies : 0;
    const sq_var once =
        sq_tape_shape(t, sq_tape_leaf(t, name), 3, (int64_t[]){1, of->copies, of->states * last});
    return sq_tape_shape(t, sq_tape_repeat(t, once, 0, turns), 3,
                         (int64_t[]){turns * of->copies * of->states, 1, last});
}

/* The sum of the filters of states that each count as a channel. */
static sq_var untied_filter(sq_tape *t, const sq_filter_form *f, const sq_untied *of,
                            int64_t length)
{
    const int64_t all = of->channels * of->states, filters = sq_filter_count(t, f);
    const bool has_b = f->b && sq_tape_has(t, f->b);
    const int64_t taps[] = {filters, of->channels, of->states, length};
    const int call =
        sq_tape_call(t, "s4d_kernel",
                     (sq_tape_bind[]){{"log_dt", sq_tape_shape(t, sq_tape_leaf(t, f->dt), 1, &all)},
                                      {"a_real", sq_untie(t, of, f->a_real, 1)},
                                      {"a_imag", sq_untie(t, of, f->a_imag, 1)},
                                      {"b", has_b ? sq_untie(t, of, f->b, 2) : SQ_VAR_NONE},
                                      {"c", sq_tape_shape(t, sq_tape_leaf(t, f->c), 4,
                                                          (int64_t[]){filters, all, 1, 2})},
                                      {NULL, 0}},
                     "B=%lld,L=%lld,D=%lld,N=2,S=0,disc=%s,conjugate=%d,input=%d",
                     (long long)filters, (long long)length, (long long)all,
                     f->is_bilinear ? "bilinear" : "zoh", f->is_conjugate, has_b);
    const sq_var by_state = sq_tape_shape(t, sq_tape_result(t, call, "h"), 4, taps);
    return sq_tape_shape(t, sq_tape_sum(t, by_state, 2), 3,
                         (int64_t[]){filters, of->channels, length});
}

/* --- filters --- */

sq_var sq_diagonal_filter(sq_tape *t, const sq_filter_form *f, int64_t length)
{
    const sq_var a = sq_tape_leaf(t, f->a_real), dt = sq_tape_leaf(t, f->dt);
    const bool has_b = f->b && sq_tape_has(t, f->b);
    sq_untied untied;
    if (sq_is_untied(t, f, &untied))
        return untied_filter(t, f, &untied, length);
    const int call = sq_tape_call(
        t, "s4d_kernel",
        (sq_tape_bind[]){{"log_dt", dt},
                         {"a_real", a},
                         {"a_imag", sq_tape_leaf(t, f->a_imag)},
                         {"b", has_b ? sq_tape_leaf(t, f->b) : SQ_VAR_NONE},
                         {"c", sq_tape_leaf(t, f->c)},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,N=%lld,S=%lld,disc=%s,conjugate=%d,input=%d",
        (long long)sq_filter_count(t, f), (long long)length, (long long)sq_tape_dim(t, dt, 0),
        (long long)(2 * sq_tape_dim(t, a, 1)), (long long)sq_tape_dim(t, a, 0),
        f->is_bilinear ? "bilinear" : "zoh", f->is_conjugate, has_b);
    return sq_tape_result(t, call, "h");
}

/* Whether a case stores c as the set-up of its length left it, which it stores beside it. */
static bool is_truncated(const sq_golden *g, const sq_stored_tensor *c)
{
    const sq_stored_tensor *after = sq_golden_tensor(g, "aux", "C_tilde");
    bool is_same = after && after->count == c->count;
    for (int64_t i = 0; is_same && i < c->count; i++)
        is_same = sq_stored_number(after, i) == sq_stored_number(c, i);
    return is_same;
}

/* C~ = C (1 - dA^L) for C: what official code trains in its place. */
static sq_var truncated(sq_tape *t, const sq_golden *g, const sq_filter_form *f, int64_t length)
{
    const sq_truncation of = {.dt = sq_tape_stored(t, f->dt),
                              .a_real = sq_tape_stored(t, f->a_real),
                              .a_imag = sq_tape_stored(t, f->a_imag),
                              .p = sq_tape_stored(t, f->p),
                              .c = sq_tape_stored(t, f->c),
                              .is_conjugate = f->is_conjugate,
                              .length = length};
    if (!of.dt || !of.a_real || !of.a_imag || !of.p || !of.c) {
        sq_tape_refuse(t, SQ_UNSUPPORTED, "the case has not all parameters of an S4 filter");
        return SQ_VAR_NONE;
    }
    if (is_truncated(g, of.c))
        return sq_tape_leaf(t, f->c);
    double *c = malloc(((size_t)of.c->count + 1) * sizeof *c);
    sq_error why = {.status = SQ_OK};
    sq_var v = SQ_VAR_NONE;
    const sq_status s =
        c ? sq_truncate(&of, c, &why) : sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for a filter");
    if (s == SQ_OK)
        v = sq_tape_leaf_as(t, f->c, c, of.c->count);
    else
        sq_tape_refuse(t, s, "%s", why.message);
    free(c);
    return v;
}

sq_var sq_low_rank_filter(sq_tape *t, const sq_golden *g, const sq_filter_form *f, int64_t length)
{
    const sq_var a = sq_tape_leaf(t, f->a_real), dt = sq_tape_leaf(t, f->dt);
    const sq_var p = sq_tape_leaf(t, f->p);
    sq_untied untied;
    if (sq_is_untied(t, f, &untied)) {
        sq_tape_refuse(t, SQ_UNSUPPORTED,
                       "the operator has no low rank with a step for each state");
        return SQ_VAR_NONE;
    }
    const int call = sq_tape_call(
        t, "s4_kernel",
        (sq_tape_bind[]){{"log_dt", dt},
                         {"a_real", a},
                         {"a_imag", sq_tape_leaf(t, f->a_imag)},
                         {"b", sq_tape_leaf(t, f->b)},
                         {"p", p},
                         {"c", truncated(t, g, f, length)},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,N=%lld,R=%lld,S=%lld,conjugate=%d,pairs=%d",
        (long long)sq_filter_count(t, f), (long long)length, (long long)sq_tape_dim(t, dt, 0),
        (long long)(2 * sq_tape_dim(t, a, 1)), (long long)sq_tape_dim(t, p, 0),
        (long long)sq_tape_dim(t, a, 0), f->is_conjugate, !f->is_single);
    return sq_tape_result(t, call, "h");
}

sq_var sq_filter_taps(sq_tape *t, sq_var filter, int64_t length)
{
    const int64_t filters = sq_tape_dim(t, filter, 0), channels = sq_tape_dim(t, filter, 1);
    const int64_t taps = sq_tape_dim(t, filter, 2);
    if (length == taps)
        return filter;
    if (length < taps)
        return sq_tape_part(t, filter, 2, 0, length);
    const int64_t behind[] = {filters, channels, length - taps};
    return sq_tape_join(t, filter, sq_tape_constant(t, 0, 3, behind), 2);
}

sq_var sq_filtered(sq_tape *t, sq_var u, sq_var filter, sq_var skip, bool has_gelu)
{
    const int call = sq_tape_call(
        t, "long_conv", (sq_tape_bind[]){{"v", u}, {"h", filter}, {"bias", skip}, {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,gate=0,gelu=%d", (long long)sq_tape_dim(t, u, 0),
        (long long)sq_tape_dim(t, u, 1), (long long)sq_tape_dim(t, u, 2), has_gelu);
    return sq_tape_result(t, call, "y");
}
