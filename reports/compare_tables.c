/* compare_tables: a comparison in words and figures. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"
#include "reports/compared.h"

static const char *const class_names[SQ_CLASS_COUNT] = {"memory-bound", "tensor-bound",
                                                        "bound otherwise", "short", "unclassified"};

/* What an A/A comparison must keep (docs/methodology.md): the ratio within 1 +- ratio, or the
 * difference within ns. */
typedef struct {
    sq_cell_class cls;
    bool is_cycles;
    double ratio, ns;
    const char *cells, *text;
    double required_pct; /* NAN: shown, not required */
} bound;

static const bound bounds[] = {
    {SQ_CLASS_MEMORY, false, 0.01, 0, "memory-bound, 20 us and more", "1 %", 95},
    {SQ_CLASS_TENSOR, false, 0.02, 0, "tensor-bound, 20 us and more", "2 %", 95},
    {SQ_CLASS_TENSOR, true, 0.01, 0, "tensor-bound, 20 us and more", "1 %", 95},
    {SQ_CLASS_OTHER, false, 0.01, 0, "bound otherwise, 20 us and more", "1 %", NAN},
    {SQ_CLASS_OTHER, false, 0.02, 0, "bound otherwise, 20 us and more", "2 %", NAN},
    {SQ_CLASS_OTHER, true, 0.01, 0, "bound otherwise, 20 us and more", "1 %", NAN},
    {SQ_CLASS_SHORT, false, 0.03, 500, "shorter than 20 us", "3 % or 0.5 us", 95},
};
enum { N_BOUNDS = sizeof bounds / sizeof *bounds };

/* Whether a pair is one that the bound is about: of its class, and with what it measures. */
static bool is_asked(const bound *b, const sq_pair *p)
{
    double ratio = b->is_cycles ? p->cycles.estimate : p->ns.estimate;
    return !p->missing && p->cls == b->cls && !isnan(ratio);
}

static bool is_within(const bound *b, const sq_pair *p)
{
    double ratio = b->is_cycles ? p->cycles.estimate : p->ns.estimate;
    return fabs(ratio - 1) <= b->ratio || fabs(p->b_ns - p->a_ns) <= b->ns;
}

static const char *key_of(const sq_pair *p, const sq_compare_options *o)
{
    return o->is_by_provider || !p->a ? p->b->key : p->a->key;
}

/* --- cells, for the eye --- */

static void add_short_row(sq_table *table, const sq_pair *p, const sq_compare_options *o)
{
    char runs[32];
    snprintf(runs, sizeof runs, "%d, %d", p->a->n, p->b->n);
    sq_table_number(table, p->a_ns / 1e3, 5);
    sq_table_number(table, p->b_ns / 1e3, 5);
    sq_table_number(table, p->ns.estimate, 5);
    sq_table_number(table, p->ns.lo, 5);
    sq_table_number(table, p->ns.hi, 5);
    sq_table_number(table, p->cycles.estimate, 5);
    sq_table_text(table, runs);
    sq_table_number(table, 100 * p->cv, 2);
    sq_table_number(table, 100 * p->cycles_cv, 2);
    if (o->is_by_provider)
        sq_table_text(table, p->a->provider);
    sq_table_text(table, key_of(p, o));
}

static sq_table *short_cells(const sq_pair *pair, int n, const sq_compare_options *o)
{
    static const char *const sides[] = {
        "a_us", "b_us",   "ratio",         "lo",   "hi", "cycles_ratio",
        "runs", "cv_pct", "cycles_cv_pct", "cell", NULL};
    static const char *const providers[] = {
        "reference_us", "us",     "ratio",         "lo",        "hi",   "cycles_ratio",
        "runs",         "cv_pct", "cycles_cv_pct", "reference", "cell", NULL};
    sq_table *table = sq_table_new(o->is_by_provider ? providers : sides);
    for (int i = 0; table && i < n; i++)
        if (!pair[i].missing)
            add_short_row(table, &pair[i], o);
    return table;
}

/* --- cells, for programs --- */

static void add_interval(sq_table *table, sq_interval x)
{
    sq_table_number(table, x.estimate, 6);
    sq_table_number(table, x.lo, 6);
    sq_table_number(table, x.hi, 6);
}

/* Hodges-Lehmann's shift of the logarithms, as a ratio. */
static sq_interval rank_ratio(const sq_cell_runs *a, const sq_cell_runs *b)
{
    int n = a->n + b->n;
    double *logs = malloc((size_t)n * sizeof *logs);
    if (!logs)
        return (sq_interval){NAN, NAN, NAN};
    for (int i = 0; i < n; i++)
        logs[i] = log(i < a->n ? a->ns[i] : b->ns[i - a->n]);
    sq_interval shift = sq_hodges_lehmann(logs, a->n, logs + a->n, b->n);
    free(logs);
    return (sq_interval){exp(shift.estimate), exp(shift.lo), exp(shift.hi)};
}

/* Median over the runs of a cell of the correlation of neighbouring samples. */
static double median_lag1(const sq_cell_runs *cell)
{
    int n = 0, most = 1;
    for (int i = 0; i < cell->n; i++)
        most = cell->samples[i].n > most ? cell->samples[i].n : most;
    double *lag = malloc((size_t)cell->n * sizeof *lag);
    double *series = malloc((size_t)most * sizeof *series), median = NAN;
    for (int i = 0; lag && series && i < cell->n; i++) {
        for (int k = 0; k < cell->samples[i].n; k++)
            series[k] = cell->samples[i].ns[k];
        double r = sq_lag1(series, cell->samples[i].n);
        if (!isnan(r))
            lag[n++] = r;
    }
    if (lag && series)
        median = sq_median(lag, n);
    free(lag);
    free(series);
    return median;
}

static const char *const wide_columns[] = {
    "key",         "subject",  "provider",   "reference",     "pass",      "dtype",
    "class",       "a_ns",     "b_ns",       "ratio",         "ratio_lo",  "ratio_hi",
    "boot_lo",     "boot_hi",  "rank_ratio", "rank_lo",       "rank_hi",   "rank_p",
    "superiority", "a_cycles", "b_cycles",   "cycles_ratio",  "cycles_lo", "cycles_hi",
    "runs_a",      "runs_b",   "cv_pct",     "cycles_cv_pct", "lag1_a",    "lag1_b",
    "missing",     "across",   NULL};

static void add_names(sq_table *table, const sq_pair *p, const sq_compare_options *o)
{
    const sq_cell_runs *cell = o->is_by_provider || !p->a ? p->b : p->a;
    sq_table_text(table, cell->key);
    sq_table_text(table, cell->subject);
    sq_table_text(table, cell->provider);
    sq_table_text(table, p->a ? p->a->provider : "");
    sq_table_text(table, cell->pass);
    sq_table_text(table, cell->dtype);
    sq_table_text(table, p->missing ? "" : class_names[p->cls]);
}

static void add_wide_row(sq_table *table, const sq_pair *p, const sq_compare_options *o,
                         const char *across, uint64_t seed)
{
    const sq_interval none = {NAN, NAN, NAN};
    bool is_whole = !p->missing;
    sq_interval boot =
        is_whole && o->draws
            ? sq_ratio_bootstrap(p->a->samples, p->a->n, p->b->samples, p->b->n, o->draws, seed)
            : none;
    sq_rank_test rank = is_whole ? sq_mann_whitney(p->a->ns, p->a->n, p->b->ns, p->b->n)
                                 : (sq_rank_test){NAN, NAN, NAN, false};
    add_names(table, p, o);
    sq_table_number(table, p->a_ns, 9);
    sq_table_number(table, p->b_ns, 9);
    add_interval(table, p->ns);
    sq_table_number(table, boot.lo, 6);
    sq_table_number(table, boot.hi, 6);
    add_interval(table, is_whole ? rank_ratio(p->a, p->b) : none);
    sq_table_number(table, rank.p, 6);
    sq_table_number(table, rank.superiority, 6);
    sq_table_number(table, p->a_cycles, 9);
    sq_table_number(table, p->b_cycles, 9);
    add_interval(table, p->cycles);
    sq_table_number(table, p->a ? p->a->n : 0, 6);
    sq_table_number(table, p->b ? p->b->n : 0, 6);
    sq_table_number(table, 100 * p->cv, 6);
    sq_table_number(table, 100 * p->cycles_cv, 6);
    sq_table_number(table, is_whole ? median_lag1(p->a) : NAN, 6);
    sq_table_number(table, is_whole ? median_lag1(p->b) : NAN, 6);
    sq_table_text(table, p->missing ? p->missing : "");
    sq_table_text(table, across);
}

static sq_table *wide_cells(const sq_pair *pair, int n, const sq_compare_options *o,
                            const char *across, uint64_t seed)
{
    sq_table *table = sq_table_new(wide_columns);
    for (int i = 0; table && i < n; i++)
        add_wide_row(table, &pair[i], o, across, seed);
    return table;
}

/* --- operators --- */

static bool is_same_group(const sq_pair *x, const sq_pair *y, const sq_compare_options *o)
{
    if (strcmp(x->b->subject, y->b->subject) != 0)
        return false;
    return !o->is_by_provider ||
           (!strcmp(x->a->provider, y->a->provider) && !strcmp(x->b->provider, y->b->provider));
}

typedef struct {
    double *log_ratio, *cv, *cycles_cv; /* of each cell that has one */
    int n_ratio, n_cv, n_cycles, n_asked, n_within;
} group;

static void add_known(double *values, int *n, double value)
{
    if (!isnan(value))
        values[(*n)++] = value;
}

static void add_to_group(group *g, const sq_pair *p)
{
    add_known(g->log_ratio, &g->n_ratio, log(p->ns.estimate));
    add_known(g->cv, &g->n_cv, 100 * p->cv);
    add_known(g->cycles_cv, &g->n_cycles, 100 * p->cycles_cv);
    for (int i = 0; i < N_BOUNDS; i++) { /* one bound a cell: what is required of its time */
        bool is_mine =
            !bounds[i].is_cycles && !isnan(bounds[i].required_pct) && is_asked(&bounds[i], p);
        g->n_asked += is_mine;
        g->n_within += is_mine && is_within(&bounds[i], p);
    }
}

static void add_spread(sq_table *table, double *cv, int n)
{
    sq_sort(cv, n);
    sq_table_number(table, sq_quantile(cv, n, 0.5), 3);
    sq_table_number(table, sq_quantile(cv, n, 0.9), 3);
}

static void add_group(sq_table *table, const sq_pair *first, group *g, const sq_compare_options *o)
{
    sq_table_text(table, first->b->subject);
    if (o->is_by_provider) {
        sq_table_text(table, first->b->provider);
        sq_table_text(table, first->a->provider);
    }
    sq_table_number(table, g->n_ratio, 6);
    sq_table_number(table, exp(sq_mean(g->log_ratio, g->n_ratio)), 5);
    add_spread(table, g->cv, g->n_cv);
    add_spread(table, g->cycles_cv, g->n_cycles);
    if (!o->is_by_provider)
        sq_table_number(table, g->n_asked ? 100.0 * g->n_within / g->n_asked : NAN, 4);
}

/* A row for each group of pairs, where its first one stands. */
static void add_groups(sq_table *table, const sq_pair *pair, int n, group *room, bool *is_done,
                       const sq_compare_options *o)
{
    for (int i = 0; i < n; i++) {
        if (is_done[i] || pair[i].missing)
            continue;
        group g = {.log_ratio = room->log_ratio, .cv = room->cv, .cycles_cv = room->cycles_cv};
        for (int k = i; k < n; k++) {
            if (is_done[k] || pair[k].missing || !is_same_group(&pair[i], &pair[k], o))
                continue;
            is_done[k] = true;
            add_to_group(&g, &pair[k]);
        }
        add_group(table, &pair[i], &g, o);
    }
}

static sq_table *operators(const sq_pair *pair, int n, const sq_compare_options *o)
{
    static const char *const sides[] = {
        "operator",          "cells",      "ratio", "cv_pct", "cv_pct_p90", "cycles_cv_pct",
        "cycles_cv_pct_p90", "within_pct", NULL};
    static const char *const providers[] = {
        "operator",   "provider",      "reference",         "cells", "ratio", "cv_pct",
        "cv_pct_p90", "cycles_cv_pct", "cycles_cv_pct_p90", NULL};
    size_t count = (size_t)n + 1; /* none is no failure */
    double *numbers = calloc(3 * count, sizeof *numbers);
    bool *is_done = calloc(count, sizeof *is_done);
    sq_table *table =
        numbers && is_done ? sq_table_new(o->is_by_provider ? providers : sides) : NULL;
    if (table) {
        group room = {numbers, numbers + count, numbers + 2 * count, 0, 0, 0, 0, 0};
        add_groups(table, pair, n, &room, is_done, o);
    }
    free(numbers);
    free(is_done);
    return table;
}

/* --- bounds --- */

static void add_bound(sq_table *table, const bound *b, const sq_pair *pair, int n)
{
    int asked = 0, within = 0;
    for (int i = 0; i < n; i++) {
        bool is_mine = is_asked(b, &pair[i]);
        asked += is_mine;
        within += is_mine && is_within(b, &pair[i]);
    }
    sq_table_text(table, b->cells);
    sq_table_text(table, b->is_cycles ? "cycles" : "time");
    sq_table_text(table, b->text);
    sq_table_number(table, asked, 6);
    sq_table_number(table, asked ? 100.0 * within / asked : NAN, 4);
    sq_table_number(table, b->required_pct, 3);
}

static sq_table *shares(const sq_pair *pair, int n)
{
    static const char *const columns[] = {"cells",      "ratio_of",     "bound", "count",
                                          "within_pct", "required_pct", NULL};
    sq_table *table = sq_table_new(columns);
    int unknown = 0;
    for (int i = 0; table && i < N_BOUNDS; i++)
        add_bound(table, &bounds[i], pair, n);
    for (int i = 0; i < n; i++)
        unknown += !pair[i].missing && pair[i].cls == SQ_CLASS_UNKNOWN;
    if (table && unknown) {
        sq_table_text(table, "20 us and more, no ceilings to class them by");
        sq_table_text(table, "time");
        sq_table_text(table, "");
        sq_table_number(table, unknown, 6);
        sq_table_number(table, NAN, 4);
        sq_table_number(table, NAN, 3);
    }
    return table;
}

/* --- missing --- */

static sq_table *missing(const sq_pair *pair, int n, const sq_compare_options *o)
{
    static const char *const columns[] = {"side", "why", "cell", NULL};
    sq_table *table = sq_table_new(columns);
    for (int i = 0; table && i < n; i++) {
        const sq_pair *p = &pair[i];
        if (!p->missing)
            continue;
        bool is_a = !p->a || p->a->n == 0;
        sq_table_text(table, o->is_by_provider ? (is_a ? "reference" : p->b->provider)
                             : is_a            ? o->a.name
                                               : o->b.name);
        sq_table_text(table, p->missing);
        sq_table_text(table, key_of(p, o));
    }
    return table;
}

/* --- the whole --- */

typedef struct {
    sq_text *out;
    sq_format format;
    bool is_begun;
} document;

/* One section, and frees its table. Empty ones are left out, in json an empty list. */
static sq_status add_section(document *d, const char *title, sq_table *table, sq_error *err)
{
    if (!table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    bool is_json = d->format == SQ_FORMAT_JSON;
    if (is_json)
        sq_text_printf(d->out, "%s\"%s\": ", d->is_begun ? "," : "{", title);
    else if (sq_table_rows(table))
        sq_text_printf(d->out, "%s%s%s\n\n", d->is_begun ? "\n" : "",
                       d->format == SQ_FORMAT_MD ? "## " : "", title);
    sq_status status = SQ_OK;
    if (is_json || sq_table_rows(table)) {
        status = sq_table_render(table, d->format, d->out);
        d->is_begun = true;
    }
    sq_table_free(table);
    return status == SQ_OK ? SQ_OK : sq_fail(err, status, "cannot render a table");
}

static void title_of(const sq_compare_options *o, const char *across, sq_text *out)
{
    if (o->format == SQ_FORMAT_JSON)
        sq_text_add(out, "cells");
    else if (!o->is_by_provider)
        sq_text_printf(out, "a: %s, b: %s; ratio: b over a", o->a.name, o->b.name);
    else
        sq_text_printf(out, "%s; ratio: time over that of %s", o->a.name,
                       o->reference ? o->reference : "the fastest provider");
    if (across[0] && o->format != SQ_FORMAT_JSON)
        sq_text_printf(out, "; across %s", across);
}

static sq_status add_sections(document *d, const sq_pair *pair, int n, const sq_compare_options *o,
                              const char *across, uint64_t seed, sq_error *err)
{
    sq_text title = {.data = NULL};
    title_of(o, across, &title);
    bool is_wide = d->format == SQ_FORMAT_JSON;
    sq_status status =
        add_section(d, title.data ? title.data : "cells",
                    is_wide ? wide_cells(pair, n, o, across, seed) : short_cells(pair, n, o), err);
    sq_text_free(&title);
    SQ_TRY(status);
    SQ_TRY(add_section(d, "operators", operators(pair, n, o), err));
    if (!o->is_by_provider)
        SQ_TRY(add_section(d, "bounds", shares(pair, n), err));
    return add_section(d, "missing", missing(pair, n, o), err);
}

sq_status sq_compare_render(const sq_pair *pair, int n, const sq_compare_options *options,
                            const char *across, uint64_t seed, sq_text *out, sq_error *err)
{
    document d = {.out = out, .format = options->format};
    if (d.format == SQ_FORMAT_CSV || d.format == SQ_FORMAT_JSONL) {
        sq_table *table = wide_cells(pair, n, options, across, seed);
        sq_status status = table ? sq_table_render(table, d.format, out) : SQ_OUT_OF_MEMORY;
        sq_table_free(table);
        return status == SQ_OK ? SQ_OK : sq_fail(err, status, "cannot render a table");
    }
    SQ_TRY(add_sections(&d, pair, n, options, across, seed, err));
    if (d.format == SQ_FORMAT_JSON)
        sq_text_add(out, "}\n");
    return out->is_failed ? sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the output") : SQ_OK;
}
