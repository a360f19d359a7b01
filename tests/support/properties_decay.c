/* properties of decays: steps that change nothing, and steps that forget all. */
#include <string.h>

#include "tests/support/properties_parts.h"

/* Recurrences whose steps have a decay of their own: the input that says how strong it is, an input
 * besides without which a step adds nothing, what is added to the decay, what multiplies it, an input
 * without which a step of long duration adds nothing, and the value that makes the state e^-50 of
 * what it was, the factor being -1. */
static const struct {
    const char *op, *decay, *added, *bias, *rate, *large;
    double forgets;
} recurrences[] = {
    {"gla", "gk", "k", NULL, NULL, NULL, -50},
    {"selective_scan", "delta", NULL, "delta_bias", "A", "B", 50},
    {"simple_gla", "g", "k", NULL, NULL, NULL, -50},
    {"ssd", "dt", NULL, "dt_bias", "A", "B", 50},
};

static int find_recurrence(const sq_op *op)
{
    for (int i = 0; op && i < (int)(sizeof recurrences / sizeof recurrences[0]); i++)
        if (strcmp(recurrences[i].op, op->name) == 0)
            return i;
    return -1;
}

/* All of an input (t < 0), or its step t; name NULL, or no such input or time: nothing. */
static void set_input(const sq_specimen *s, const char *name, int64_t t, double value)
{
    const int i = name ? sq_property_tensor(s->in, s->n_in, name) : -1;
    if (i < 0 || !s->in[i].host.data || (t >= 0 && s->in[i].spec.time_dim < 0))
        return;
    const sq_tensor *all = &s->in[i].host;
    const sq_tensor part = t < 0 ? *all : sq_tensor_slice(all, s->in[i].spec.time_dim, t, 1);
    for (int64_t e = 0; e < sq_tensor_count(&part); e++)
        sq_store(part.data, part.dtype, sq_tensor_offset(&part, e), value);
}

/* A specimen of `length` steps (0: the shape's) whose decays are what their input says. */
static sq_status make_plain(const sq_property_subject *of, int64_t length, bool may_start,
                            sq_specimen *s, sq_error *err)
{
    sq_specimen_axis set[] = {{"softplus", 0}, {"dtmin", 0}, {"dtmax", 0}, {"documents", 0},
                              {NULL, 0},       {NULL, 0},    {NULL, 0}};
    int n = 4;
    if (length > 0)
        set[n++] = (sq_specimen_axis){"L", (double)length};
    if (!may_start)
        set[n++] = (sq_specimen_axis){"initial", 0};
    SQ_TRY(sq_property_make(of, SQ_PASS_FWD, set, SQ_PROPERTY_SEED, s, err));
    set_input(s, recurrences[find_recurrence(of->op)].bias, -1, 0);
    return SQ_OK;
}

/* --- steps that change nothing --- */

static bool is_idle(int64_t t)
{
    return t % 3 == 1;
}

/* Moves the steps that are not idle together at the beginning of `t`, whose time is dim d. */
static void leave_idle_out(const sq_tensor *t, int d)
{
    int64_t kept = 0;
    for (int64_t step = 0; step < t->dim[d]; step++)
        if (!is_idle(step))
            sq_property_copy_step(t, kept++, t, step, d);
}

static sq_status compare_without_idle(const sq_property_subject *of, sq_specimen *whole,
                                      sq_specimen *kept, sq_error *err)
{
    for (int i = 0; i < whole->n_in; i++) {
        const int d = whole->in[i].spec.time_dim;
        if (!whole->in[i].host.data)
            continue;
        if (d >= 0)
            leave_idle_out(&whole->in[i].host, d);
        sq_property_copy(&kept->in[i].host, &whole->in[i].host, -1, 0);
    }
    SQ_TRY(sq_specimen_run(of->rig, kept, err));
    for (int i = 0; i < whole->n_out; i++) {
        const int d = whole->out[i].spec.time_dim;
        sq_tensor want = whole->out[i].host;
        if (!want.data)
            continue;
        if (d >= 0) {
            leave_idle_out(&want, d);
            want = sq_tensor_slice(&want, d, 0, kept->out[i].host.dim[d]);
        }
        SQ_TRY(sq_property_compare(whole, i, 2, &kept->out[i].host, &want,
                                   "a step of no duration differs from none", err));
    }
    return SQ_OK;
}

sq_status sq_property_idle(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    const int at = find_recurrence(of->op);
    const int64_t length = (int64_t)a->axis[SQ_AXIS_L];
    sq_specimen whole, kept;
    if (at < 0 || length < 2)
        return SQ_UNSUPPORTED;
    memset(&kept, 0, sizeof kept);
    sq_status s = make_plain(of, 0, true, &whole, err);
    for (int64_t t = 0; s == SQ_OK && t < length; t++)
        if (is_idle(t)) {
            set_input(&whole, recurrences[at].decay, t, 0);
            set_input(&whole, recurrences[at].added, t, 0);
        }
    if (s == SQ_OK)
        s = sq_specimen_run(of->rig, &whole, err);
    if (s == SQ_OK)
        s = make_plain(of, length - (length + 1) / 3, true, &kept, err);
    if (s == SQ_OK)
        s = compare_without_idle(of, &whole, &kept, err);
    sq_specimen_free(&whole);
    sq_specimen_free(&kept);
    return s;
}

/* --- steps that forget --- */

/* In f32 a sum of logarithms beyond 32 is known to 2^-19, after each addition, and no better are
 * the differences that the decays behind it are made of: 4 times the tolerance, where two runs alone
 * may differ by twice. */
sq_status sq_property_forgetting(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    const int at = find_recurrence(of->op);
    const int64_t length = (int64_t)a->axis[SQ_AXIS_L], start = length / 2;
    sq_specimen whole, rest;
    if (at < 0 || length < 2)
        return SQ_UNSUPPORTED;
    memset(&rest, 0, sizeof rest);
    sq_status s = make_plain(of, 0, true, &whole, err);
    if (s == SQ_OK) {
        set_input(&whole, recurrences[at].rate, -1, -1);
        set_input(&whole, recurrences[at].decay, start, recurrences[at].forgets);
        set_input(&whole, recurrences[at].large, start, 0); /* or it hides what is left */
        s = sq_specimen_run(of->rig, &whole, err);
    }
    if (s == SQ_OK)
        s = make_plain(of, length - start, false, &rest, err);
    if (s == SQ_OK)
        s = sq_property_compare_rest(of, &whole, &rest, start, 4, "what was forgotten is known",
                                     err);
    sq_specimen_free(&whole);
    sq_specimen_free(&rest);
    return s;
}
