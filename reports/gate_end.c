/* gate_end: the exit code of a night, and the one line that says it all. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports/gated.h"

int sq_gate_count(const sq_judging *gate, sq_standing least, sq_standing most)
{
    int n = 0;
    for (int i = 0; i < gate->n_rows; i++) {
        sq_standing standing = sq_gate_standing(&gate->row[i]);
        n += standing >= least && standing <= most && !gate->row[i].is_answered;
    }
    return n;
}

/* Cells that failed and are no regression: before too, new, or not again. */
static int count_failed(const sq_judging *gate)
{
    int n = 0;
    for (int i = 0; i < gate->n_rows; i++)
        n += sq_gate_is_failed(&gate->row[i]) && !gate->row[i].is_answered &&
             gate->row[i].standing[SQ_GATE_FAILING] != SQ_STANDING_CONFIRMED;
    return n;
}

int sq_gate_answered(const sq_judging *gate)
{
    int n = 0;
    for (int i = 0; i < gate->n_rows; i++)
        n += gate->row[i].is_answered;
    return n;
}

static sq_night_tally tally_of(const sq_judging *gate)
{
    int failed = count_failed(gate);
    return (sq_night_tally){
        .is_unfit = gate->summary.is_unfit || gate->is_disturbed,
        .mismatches = gate->summary.count[SQ_NIGHT_MISMATCH],
        .confirmed = sq_gate_count(gate, SQ_STANDING_CONFIRMED, SQ_STANDING_CONFIRMED),
        .unresolved = sq_gate_count(gate, SQ_STANDING_PENDING, SQ_STANDING_PENDING) +
                      sq_gate_count(gate, SQ_STANDING_UNRESOLVED, SQ_STANDING_UNRESOLVED),
        .failed = failed > gate->options.allow_failed ? failed - gate->options.allow_failed : 0,
        .is_empty = gate->summary.compared == 0,
        .inconclusive_share = gate->summary.inconclusive_share,
        .missing_share = gate->missing_share,
        .inconclusive_limit = gate->policy.inconclusive_limit};
}

/* The row that the line names. */
static const sq_gate_row *worst_row(const sq_judging *gate, int code)
{
    for (int i = 0; i < gate->n_rows; i++) {
        const sq_gate_row *row = &gate->row[i];
        if (row->is_answered)
            continue;
        sq_standing standing = sq_gate_standing(row);
        if ((code == 4 && row->result.verdict == SQ_NIGHT_MISMATCH) ||
            (code == 2 && standing == SQ_STANDING_CONFIRMED) ||
            (code == 6 && sq_gate_is_failed(row)) ||
            (code == 3 && (standing == SQ_STANDING_PENDING || standing == SQ_STANDING_UNRESOLVED)))
            return row;
    }
    return NULL;
}

static void add_worst(const sq_judging *gate, int code, sq_text *out)
{
    const sq_gate_row *row = worst_row(gate, code);
    sq_text what = {.data = NULL};
    if (!row)
        return;
    sq_gate_describe(row, &what);
    sq_text_printf(out, "; worst: %s%s%s", sq_gate_key(row), what.length ? " " : "",
                   what.length ? what.data : "");
    if (code != 2 && row->cause[0])
        sq_text_printf(out, " (%.160s)", row->cause);
    sq_text_free(&what);
}

static void add_unfit(const sq_judging *gate, sq_text *out)
{
    const sq_night_summary *s = &gate->summary;
    if (s->is_unfit)
        sq_text_printf(out,
                       ": %d cells of unchanged code moved by %+.2f %%, A/A puts that within "
                       "+-%.2f %%",
                       s->controls, 100 * expm1(s->control_shift.estimate),
                       100 * expm1(s->control_shift.hi));
    if (gate->is_disturbed)
        sq_text_printf(out, ": others computed on the GPU in %d of %d runs", gate->night.disturbed,
                       gate->night.watched);
}

/* "5 confirmed, 2 unresolved, 190 unchanged, ..." */
static void add_counts(const sq_judging *gate, const sq_night_tally *tally, sq_text *out)
{
    const int *count = gate->summary.count;
    const struct {
        int n;
        const char *what;
    } parts[] = {{tally->mismatches, "wrong"},
                 {tally->confirmed, "confirmed"},
                 {tally->unresolved, "unresolved"},
                 {sq_gate_count(gate, SQ_STANDING_DISMISSED, SQ_STANDING_CLOCKS), "dismissed"},
                 {sq_gate_answered(gate), "answered"},
                 {count_failed(gate), "failed"},
                 {count[SQ_NIGHT_CLOCKS_POWER], "clocks/power"},
                 {count[SQ_NIGHT_SUSPECT_FASTER], "faster"},
                 {count[SQ_NIGHT_INCONCLUSIVE], "inconclusive"},
                 {count[SQ_NIGHT_UNCHANGED], "unchanged"},
                 {gate->missing, "missing"},
                 {count[SQ_NIGHT_NOT_COMPARED] - gate->missing, "not compared"}};
    const char *separator = ": ";
    sq_text_printf(out, "; %d cells beside %.64s", gate->n_rows, sq_gate_baseline_name(gate));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i].n)
            continue;
        sq_text_printf(out, "%s%d %s", separator, parts[i].n, parts[i].what);
        separator = ", ";
    }
}

sq_gate_end sq_gate_conclude(const sq_judging *gate)
{
    if (gate->has_end)
        return gate->end;
    sq_night_tally tally = tally_of(gate);
    sq_night_end end = sq_night_exit(&tally);
    sq_text why = {.data = NULL};
    sq_gate_end out = {.code = end.code};
    sq_text_add(&why, end.why);
    if (end.code == 5)
        add_unfit(gate, &why);
    add_counts(gate, &tally, &why);
    add_worst(gate, end.code, &why);
    snprintf(out.why, sizeof out.why, "%s", why.data ? why.data : end.why);
    sq_text_free(&why);
    return out;
}
