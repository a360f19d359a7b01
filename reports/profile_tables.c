/* profile_tables: the sections of a profile as tables and sentences, for terminal and json. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "reports/profile_data.h"

enum { DIGITS = 4 };

sq_table *sq_profile_kernel_table(const sq_profile *p)
{
    static const char *const columns[] = {"kernel", "launches",  "share_pct",    "ns",   "grid",
                                          "block",  "registers", "shared_bytes", "name", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < p->n_kernels; i++) {
        const sq_profile_kernel *k = &p->kernel[i];
        char name[96];
        sq_kernel_short_name(k->name, name, sizeof name);
        sq_table_text(table, name);
        sq_table_number(table, k->launches, 6);
        sq_table_number(table, 100 * k->ns / p->kernel_ns, 3);
        sq_table_number(table, k->ns, 6);
        sq_table_text(table, k->grid);
        sq_table_text(table, k->block);
        sq_table_number(table, k->registers, 6);
        sq_table_number(table, k->shared_bytes, 8);
        sq_table_text(table, k->name);
    }
    return table;
}

sq_table *sq_profile_use_table(const sq_model *m)
{
    static const char *const columns[] = {"resource", "pct",   "achieved", "ceiling",
                                          "unit",     "basis", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < SQ_USES; i++) {
        const sq_use *use = &m->use[i];
        sq_table_text(table, use->name);
        sq_table_number(table, use->pct, 3);
        sq_table_number(table, use->achieved, DIGITS);
        sq_table_number(table, use->ceiling, DIGITS);
        sq_table_text(table, use->unit);
        sq_table_text(table, use->basis);
    }
    return table;
}

sq_table *sq_profile_level_table(const sq_model *m)
{
    static const char *const columns[] = {
        "level", "bytes", "flops_per_byte", "gbytes_per_s", "roof_gbytes_per_s", "roof", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < SQ_LEVELS; i++) {
        const sq_level *level = &m->level[i];
        sq_table_text(table, level->name);
        sq_table_number(table, level->bytes, DIGITS);
        sq_table_number(table, level->intensity, DIGITS);
        sq_table_number(table, level->gbytes_per_s, DIGITS);
        sq_table_number(table, level->roof_gbytes_per_s, DIGITS);
        sq_table_text(table, level->absent[0] ? level->absent : level->roof);
    }
    return table;
}

static sq_table *share_table(const sq_share *share, int n, const char *name)
{
    const char *const columns[] = {name, "pct", "meaning", "absent", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < n; i++) {
        sq_table_text(table, share[i].name);
        sq_table_number(table, share[i].pct, 3);
        sq_table_text(table, share[i].meaning ? share[i].meaning : "");
        sq_table_text(table, isnan(share[i].pct) && share[i].absent ? share[i].absent : "");
    }
    return table;
}

sq_table *sq_profile_mix_table(const sq_model *m)
{
    return share_table(m->mix, m->n_mix, "pipe");
}

sq_table *sq_profile_stall_table(const sq_model *m)
{
    return share_table(m->stall, m->n_stalls, "stall");
}

sq_table *sq_profile_value_table(const sq_profile *p)
{
    static const char *const columns[] = {"metric", "value",    "unit",   "n", "spread",
                                          "sm_mhz", "validity", "source", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < p->n_values; i++) {
        const sq_profile_value *v = &p->value[i];
        sq_table_text(table, v->of.metric);
        sq_table_number(table, v->of.value, 6);
        sq_table_text(table, v->unit);
        sq_table_number(table, v->of.n, 6);
        sq_table_number(table, v->of.spread, 3);
        sq_table_number(table, v->of.sm_mhz, 5);
        sq_table_text(table, v->of.validity);
        sq_table_text(table, v->source);
    }
    return table;
}

sq_table *sq_profile_check_table(const sq_profile *p)
{
    static const char *const columns[] = {"tensor",        "rel_l2", "tolerance", "max_abs",
                                          "tolerance_max", "slice",  NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < p->n_checks; i++) {
        const sq_check *check = &p->check[i];
        sq_table_text(table, check->tensor);
        sq_table_number(table, check->rel_l2, 3);
        sq_table_number(table, check->tolerance_rel_l2, 3);
        sq_table_number(table, check->max_abs, 3);
        sq_table_number(table, check->tolerance_max_abs, 3);
        sq_table_text(table, check->slice);
    }
    return table;
}

sq_table *sq_curve_table(const sq_curve *series)
{
    const char *columns[SQ_CURVE_COLUMNS + 1] = {NULL};
    int n = series->n_columns;
    for (int i = 0; i < n; i++)
        columns[i] = series->column[i];
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < series->n_rows; i++)
        for (int k = 0; k < n; k++)
            sq_table_number(table, sq_curve_row(series, i)[k], k ? DIGITS : 6);
    return table;
}

sq_table *sq_curve_summary(const sq_curve *series)
{
    static const char *const columns[] = {"metric", "mean", "lowest", "highest", NULL};
    sq_table *table = sq_table_new(columns);
    for (int k = 1; table && k < series->n_columns; k++) {
        double sum = 0, lowest = NAN, highest = NAN;
        int n = 0;
        for (int i = 0; i < series->n_rows; i++) {
            double value = sq_curve_row(series, i)[k];
            n += !isnan(value);
            sum += isnan(value) ? 0 : value;
            lowest = fmin(lowest, value); /* fmin and fmax pass over NAN */
            highest = fmax(highest, value);
        }
        sq_table_text(table, series->column[k]);
        sq_table_number(table, n ? sum / n : NAN, DIGITS);
        sq_table_number(table, lowest, DIGITS);
        sq_table_number(table, highest, DIGITS);
    }
    return table;
}

/* --- sentences --- */

void sq_format_quantity(double value, char out[32])
{
    if (fabs(value) >= 1000 && fabs(value) < 1e9)
        snprintf(out, 32, "%.0f", value);
    else
        snprintf(out, 32, "%.4g", value);
}

/* More digits than sq_format_ns has: times that are compared stand side by side. */
static void format_time(double ns, char *out, size_t size)
{
    if (ns < 1e6)
        snprintf(out, size, "%.*f us", ns < 1e4 ? 2 : 1, ns / 1e3);
    else
        snprintf(out, size, "%.*f ms", ns < 1e7 ? 4 : ns < 1e8 ? 3 : 2, ns / 1e6);
}

void sq_profile_time_text(const sq_profile *p, char *out, size_t size)
{
    char median[32], lo[32], hi[32];
    if (!(p->median_ns > 0)) {
        snprintf(out, size, "no time was kept: %s%s%.300s", p->status, *p->reason ? ": " : "",
                 p->reason);
        return;
    }
    format_time(p->median_ns, median, sizeof median);
    format_time(p->lo_ns, lo, sizeof lo);
    format_time(p->hi_ns, hi, sizeof hi);
    snprintf(out, size, "%s a launch (95 %% interval of the median %s to %s, %d sample%s)", median,
             lo, hi, p->n_samples, p->n_samples == 1 ? "" : "s");
}

void sq_profile_gap_text(const sq_profile *p, char *out, size_t size)
{
    char event[32], traced[32], gap[32];
    int launches = 0;
    for (int i = 0; i < p->n_kernels; i++)
        launches += p->kernel[i].launches;
    out[0] = '\0';
    if (isnan(p->traced_ns))
        snprintf(out, size, "No kernel was traced%s.",
                 strcmp(p->backend, "cuda") ? ": there is a trace on CUDA devices only" : "");
    if (isnan(p->traced_ns) || !(p->median_ns > 0))
        return;
    format_time(p->median_ns, event, sizeof event);
    format_time(p->traced_ns, traced, sizeof traced);
    format_time(fabs(p->median_ns - p->traced_ns), gap, sizeof gap);
    snprintf(out, size,
             "%s by events, %s in %d traced kernel%s: %s %s the kernels, by front end, gaps and "
             "clock.",
             event, traced, launches, launches == 1 ? "" : "s", gap,
             p->median_ns >= p->traced_ns ? "more than" : "less than");
    size_t used = strlen(out);
    if (strcmp(p->launch, "plain"))
        snprintf(out + used, size - used,
                 " Kernels and counters are those of a plain call; the samples are of mode %.16s.",
                 p->launch);
}

void sq_profile_proof_text(const sq_profile *p, char *out, size_t size)
{
    const sq_check *worst = NULL;
    double most = -1;
    int sliced = 0;
    for (int i = 0; i < p->n_checks; i++) {
        const sq_check *check = &p->check[i];
        double share = isnan(check->rel_l2) ? INFINITY : check->rel_l2 / check->tolerance_rel_l2;
        sliced += check->slice[0] != '\0';
        if (share > most) {
            most = share;
            worst = check;
        }
    }
    if (!worst)
        snprintf(out, size, "not proved");
    else
        snprintf(out, size,
                 "%d output%s against the CPU reference, %s; worst relative L2 error %.2g of %.2g "
                 "allowed (%s)",
                 p->n_checks, p->n_checks == 1 ? "" : "s",
                 sliced == p->n_checks ? "on drawn slices"
                 : sliced              ? "some on drawn slices"
                                       : "whole",
                 worst->rel_l2, worst->tolerance_rel_l2, worst->tensor);
}

/* --- sustain --- */

static const double burst_seconds = 0.1, sustained_seconds = 2;

/* Mean of column `column` over rows from < t <= to; NAN where there is none. */
static double mean_between(const sq_curve *s, int column, double from, double to)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < s->n_rows; i++) {
        const double *row = sq_curve_row(s, i);
        if (row[0] < from || row[0] > to || isnan(row[column]))
            continue;
        sum += row[column];
        n++;
    }
    return n ? sum / n : NAN;
}

/* A sensor's first reading: it ticks too seldom for one in the burst. */
static double first_of(const sq_curve *s, int column)
{
    for (int i = 0; i < s->n_rows; i++)
        if (!isnan(sq_curve_row(s, i)[column]))
            return sq_curve_row(s, i)[column];
    return NAN;
}

static void add_change(char *out, size_t size, const sq_curve *s, int column, double from,
                       const char *name, const char *unit)
{
    size_t used = strlen(out);
    double first = first_of(s, column), last = mean_between(s, column, from, INFINITY);
    if (isnan(first) || isnan(last))
        snprintf(out + used, size - used, "; %s is absent", name);
    else
        snprintf(out + used, size - used, "; %s %.0f to %.0f %s", name, first, last, unit);
}

/* Repeated calls are hot unless sets of inputs take turns, whatever the cell's samples are. */
static void add_repeat(const sq_profile *p, char *out, size_t size)
{
    size_t used = strlen(out);
    if (!strcmp(p->cache, "rotate"))
        snprintf(out + used, size - used, " Plain calls one after the other, inputs in turn.");
    else if (!strcmp(p->cache, "hot"))
        snprintf(out + used, size - used, " Plain calls one after the other, hot.");
    else
        snprintf(out + used, size - used,
                 " Plain calls one after the other and so hot; the samples of this cell are %.16s.",
                 p->cache);
}

/* The end of the last point that lies in the burst: a point ends a little after its time is up,
 * and the first may be one long launch. */
static double burst_end(const sq_curve *s)
{
    double last = sq_curve_row(s, 0)[0];
    for (int i = 1; i < s->n_rows && sq_curve_row(s, i)[0] < 1.25 * burst_seconds; i++)
        last = sq_curve_row(s, i)[0];
    return last;
}

void sq_curve_sustain_text(const sq_profile *p, const sq_curve *s, char *out, size_t size)
{
    double end = s->n_rows ? sq_curve_row(s, s->n_rows - 1)[0] : NAN;
    out[0] = '\0';
    if (s->n_columns < 5 || isnan(end)) {
        snprintf(out, size, "No curve: %.300s.", *s->reason ? s->reason : "no point came back");
        return;
    }
    double first = burst_end(s);
    double from = fmax(end - sustained_seconds, 2 * first); /* never the burst itself */
    double burst = mean_between(s, 1, -INFINITY, first);
    double sustained = mean_between(s, 1, from, end);
    if (end <= from || isnan(burst) || isnan(sustained)) {
        snprintf(out, size, "Too short to tell burst from sustained: the points end at %.2g s.",
                 end);
        return;
    }
    snprintf(out, size,
             "Sustained is %.1f %% of burst: %.5g launches/s in the first %.2g s, %.5g in "
             "the last %.2g s",
             100 * sustained / burst, burst, first, sustained, end - from);
    add_change(out, size, s, 2, from, "SM clock", "MHz");
    add_change(out, size, s, 3, from, "power", "W");
    add_change(out, size, s, 4, from, "temperature", "C");
    size_t used = strlen(out);
    snprintf(out + used, size - used, ".");
    add_repeat(p, out, size);
}

void sq_curve_timeline_text(const sq_profile *p, const sq_curve *s, char *out, size_t size)
{
    char interval[32], length[32];
    if (!s->n_rows) {
        snprintf(out, size, "No timeline: %.300s.", *s->reason ? s->reason : "no sample came back");
        return;
    }
    sq_format_ns(s->interval_ns, interval, sizeof interval);
    sq_format_ns(1e9 * sq_curve_row(s, s->n_rows - 1)[0], length, sizeof length);
    snprintf(out, size, "%d samples over %s%s%s; the whole device is sampled, other work included.",
             s->n_rows, length, isnan(s->interval_ns) ? "" : ", one every ",
             isnan(s->interval_ns) ? "" : interval);
    if (s->n_dropped) {
        const size_t used = strlen(out);
        snprintf(out + used, size - used, " Dropped: %d taken long before the first of them.",
                 s->n_dropped);
    }
    add_repeat(p, out, size);
}

/* --- what is absent --- */

static bool is_same_reason(const sq_share *a, const sq_share *b)
{
    return isnan(a->pct) && isnan(b->pct) && a->absent && b->absent &&
           !strcmp(a->absent, b->absent);
}

void sq_share_absent_text(const sq_share *share, int n, sq_text *out)
{
    for (int i = 0; i < n; i++) {
        bool is_told = !isnan(share[i].pct);
        for (int k = 0; k < i && !is_told; k++)
            is_told = is_same_reason(&share[k], &share[i]);
        if (is_told)
            continue;
        sq_text_printf(out, "%sAbsent: %s", out->length ? " " : "", share[i].name);
        for (int k = i + 1; k < n; k++)
            if (is_same_reason(&share[i], &share[k]))
                sq_text_printf(out, ", %s", share[k].name);
        sq_text_printf(out, " (%s).", share[i].absent ? share[i].absent : "no reason known");
    }
}
