/* gate_print: a gate as tables and as JSON. */
#include <math.h>

#include "core/discovery.h"
#include "reports/gated.h"

static double percent(double difference)
{
    return 100 * expm1(difference);
}

/* --- counts --- */

static void add_count(sq_table *table, const char *what, int n)
{
    sq_table_text(table, what);
    sq_table_number(table, n, 9);
}

sq_table *sq_gate_counts(const sq_judging *gate)
{
    static const char *const columns[] = {"cells", "n", NULL};
    sq_table *table = sq_table_new(columns);
    if (!table)
        return NULL;
    for (int i = 0; i < SQ_NIGHT_VERDICT_COUNT; i++)
        if (gate->summary.count[i])
            add_count(table, sq_night_verdict_name((sq_night_verdict)i), gate->summary.count[i]);
    for (sq_standing i = SQ_STANDING_PENDING; i <= SQ_STANDING_CONFIRMED; i++) {
        int n = sq_gate_count(gate, i, i);
        if (n)
            add_count(table, sq_standing_name(i), n);
    }
    if (gate->missing)
        add_count(table, "missing", gate->missing);
    add_count(table, "control", gate->summary.controls);
    add_count(table, "sentinel", gate->asked);
    add_count(table, "sentinel false alarms", gate->alarms);
    return table;
}

/* --- cells --- */

static double median_ns(const sq_gate_cell *cell)
{
    return cell ? cell->median_ns : NAN;
}

static void add_names(sq_table *table, const sq_gate_row *row)
{
    sq_text names = {.data = NULL};
    sq_gate_names(row, &names);
    sq_table_text(table, names.length ? names.data : "");
    sq_text_free(&names);
}

static void add_what(sq_table *table, const sq_gate_row *row)
{
    sq_text what = {.data = NULL};
    sq_gate_describe(row, &what);
    sq_table_text(table, what.length ? what.data : "");
    sq_text_free(&what);
}

static void add_change_row(sq_table *table, const sq_gate_row *row)
{
    const sq_night_test *time = &row->result.test[SQ_NIGHT_TIME];
    sq_table_text(table, sq_night_verdict_name(row->result.verdict));
    sq_table_text(table, sq_gate_standing_word(row));
    add_names(table, row);
    add_what(table, row);
    sq_table_number(table, median_ns(row->baseline) / 1e3, 5);
    sq_table_number(table, median_ns(row->night) / 1e3, 5);
    sq_table_number(table, percent(time->change.estimate), 3);
    sq_table_number(table, percent(time->change.lo), 3);
    sq_table_number(table, percent(time->change.hi), 3);
    sq_table_number(table, percent(row->again[SQ_NIGHT_TIME].estimate), 3);
    sq_table_text(table, row->cause);
    sq_table_text(table, sq_gate_key(row));
}

sq_table *sq_gate_changes(const sq_judging *gate)
{
    static const char *const columns[] = {"verdict",    "confirmed", "ack", "what", "baseline_us",
                                          "tonight_us", "time_pct",  "lo",  "hi",   "again_pct",
                                          "cause",      "cell",      NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < gate->n_rows; i++)
        if (gate->row[i].result.verdict < SQ_NIGHT_INCONCLUSIVE &&
            gate->row[i].result.verdict != SQ_NIGHT_NOT_COMPARED)
            add_change_row(table, &gate->row[i]);
    return table;
}

static void add_test(sq_table *table, const sq_night_test *t)
{
    sq_table_number(table, expm1(t->change.estimate), 6);
    sq_table_number(table, expm1(t->change.lo), 6);
    sq_table_number(table, expm1(t->change.hi), 6);
}

static void add_wide_row(sq_table *table, const sq_judging *gate, const sq_gate_row *row)
{
    const sq_night_test *time = &row->result.test[SQ_NIGHT_TIME];
    sq_table_text(table, sq_gate_key(row));
    sq_table_text(table, sq_night_verdict_name(row->result.verdict));
    sq_table_text(table, sq_gate_standing_word(row));
    add_names(table, row);
    add_what(table, row);
    sq_table_number(table, median_ns(row->baseline), 9);
    sq_table_number(table, median_ns(row->night), 9);
    add_test(table, time);
    sq_table_number(table, time->p, 6);
    sq_table_number(table, time->q, 6);
    sq_table_number(table, expm1(time->floor), 6);
    sq_table_number(table, expm1(time->detectable), 6);
    sq_table_number(table, time->replicates > 0 ? (double)time->replicates : NAN, 6);
    add_test(table, &row->result.test[SQ_NIGHT_CYCLES]);
    add_test(table, &row->result.test[SQ_NIGHT_SETUP]);
    for (int i = 0; i < SQ_NIGHT_COUNTS; i++)
        sq_table_number(table, expm1(row->result.counted[i]), 6);
    sq_table_number(table, expm1(row->again[SQ_NIGHT_TIME].estimate), 6);
    sq_table_number(table, row->baseline ? row->baseline->n_timed : 0, 6);
    sq_table_number(table, row->night ? row->night->n_timed : 0, 6);
    sq_table_number(table, row->result.is_bimodal, 1);
    sq_table_text(table, row->cause);
    sq_table_text(table, gate->crossed.data ? gate->crossed.data : "");
}

sq_table *sq_gate_all(const sq_judging *gate)
{
    static const char *const columns[] = {
        "key",        "verdict",    "confirmed", "ack",        "what",       "baseline_ns",
        "tonight_ns", "time",       "time_lo",   "time_hi",    "p",          "q",
        "floor",      "detectable", "n_wanted",  "cycles",     "cycles_lo",  "cycles_hi",
        "setup",      "setup_lo",   "setup_hi",  "peak_bytes", "dram_bytes", "registers",
        "again",      "n_baseline", "n_tonight", "bimodal",    "cause",      "across",
        NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < gate->n_rows; i++)
        add_wide_row(table, gate, &gate->row[i]);
    return table;
}

/* --- json --- */

static void add_text(sq_text *out, const char *key, const char *text)
{
    sq_text_printf(out, "\"%s\": \"", key);
    sq_text_add_json(out, text);
    sq_text_add(out, "\",\n");
}

static void add_number(sq_text *out, const char *key, double value)
{
    if (isfinite(value))
        sq_text_printf(out, "\"%s\": %.9g,\n", key, value);
    else
        sq_text_printf(out, "\"%s\": null,\n", key);
}

static sq_status add_table(sq_text *out, const char *key, sq_table *table)
{
    sq_text_printf(out, "\"%s\": ", key);
    sq_status s = table ? sq_table_render(table, SQ_FORMAT_JSON, out) : SQ_OUT_OF_MEMORY;
    sq_table_free(table);
    return s;
}

static void add_head(const sq_judging *gate, sq_text *out)
{
    const sq_interval *shift = &gate->summary.control_shift;
    sq_gate_end end = sq_gate_conclude(gate);
    sq_text_add(out, "{");
    add_number(out, "exit_code", end.code);
    add_text(out, "why", end.why);
    add_text(out, "night", gate->options.night);
    add_text(out, "baseline", gate->options.baseline);
    add_text(out, "baseline_name", sq_gate_baseline_name(gate));
    add_text(out, "across", gate->crossed.data ? gate->crossed.data : "");
    add_number(out, "cells", gate->n_rows);
    add_number(out, "compared", gate->summary.compared);
    add_number(out, "missing", gate->missing);
    add_number(out, "inconclusive_share", gate->summary.inconclusive_share);
    add_number(out, "controls", gate->summary.controls);
    add_number(out, "control_shift", expm1(shift->estimate));
    add_number(out, "control_lo", expm1(shift->lo));
    add_number(out, "control_hi", expm1(shift->hi));
    add_number(out, "sentinels", gate->asked);
    add_number(out, "sentinel_alarms", gate->alarms);
    add_number(out, "last_nights", gate->last.nights);
    add_number(out, "last_sentinels", gate->last.sentinels);
    add_number(out, "last_alarms", gate->last.alarms);
    sq_interval rate = sq_rate(gate->last.alarms, gate->last.sentinels);
    add_number(out, "false_alarm_rate", rate.estimate);
    add_number(out, "false_alarm_lo", rate.lo);
    add_number(out, "false_alarm_hi", rate.hi);
}

static sq_status print_json(const sq_judging *gate, sq_text *out)
{
    add_head(gate, out);
    SQ_TRY(add_table(out, "counts", sq_gate_counts(gate)));
    sq_text_add(out, ",\n");
    SQ_TRY(add_table(out, "verdicts", sq_gate_all(gate)));
    sq_text_add(out, "}\n");
    return SQ_OK;
}

/* --- the forms --- */

static sq_status render(sq_table *table, sq_format format, sq_text *out)
{
    sq_status s = table ? sq_table_render(table, format, out) : SQ_OUT_OF_MEMORY;
    sq_table_free(table);
    return s;
}

static sq_status print_for_people(const sq_judging *gate, sq_format format, sq_text *out)
{
    sq_gate_end end = sq_gate_conclude(gate);
    if (format == SQ_FORMAT_MD) {
        sq_text_printf(out, "## Exit %d: ", end.code);
        sq_text_add_md(out, end.why);
        sq_text_add(out, "\n\n");
    }
    SQ_TRY(render(sq_gate_counts(gate), format, out));
    sq_table *changes = sq_gate_changes(gate);
    if (changes && sq_table_rows(changes) > 0) {
        sq_text_add(out, "\n");
        return render(changes, format, out);
    }
    sq_table_free(changes);
    return changes ? SQ_OK : SQ_OUT_OF_MEMORY;
}

static sq_status print(const sq_judging *gate, sq_format format, sq_text *out)
{
    switch (format) {
    case SQ_FORMAT_JSON:
        return print_json(gate, out);
    case SQ_FORMAT_CSV:
    case SQ_FORMAT_JSONL:
        return render(sq_gate_all(gate), format, out);
    default:
        return print_for_people(gate, format, out);
    }
}

sq_status sq_gate_print(const sq_judging *gate, sq_format format, sq_text *out, sq_error *err)
{
    sq_status s = print(gate, format, out);
    return s == SQ_OK ? s : sq_fail(err, s, "cannot render a gate: %s", sq_status_text(s));
}

void sq_gate_notes(const sq_judging *gate, sq_text *out)
{
    const sq_night_summary *s = &gate->summary;
    if (gate->crossed.length)
        sq_text_printf(out, "compared across %s\n", gate->crossed.data);
    if (s->controls && !isnan(s->control_shift.estimate))
        sq_text_printf(out,
                       "control: %d cells of unchanged code moved by %+.2f %% (A/A: within "
                       "+-%.2f %%)\n",
                       s->controls, percent(s->control_shift.estimate),
                       percent(s->control_shift.hi));
    sq_interval rate = sq_rate(gate->last.alarms, gate->last.sentinels);
    if (gate->last.sentinels)
        sq_text_printf(out,
                       "false alarms: %d of %d sentinels of the last %d night%s (%.2f %%, 95 %% "
                       "interval %.2f to %.2f)\n",
                       gate->last.alarms, gate->last.sentinels, gate->last.nights,
                       gate->last.nights == 1 ? "" : "s", 100 * rate.estimate, 100 * rate.lo,
                       100 * rate.hi);
}
