/* page_cells: the tables of single cells: all of them, and their hardware counters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/page.h"

/* A column of the table: header, unit, which column of cells.sql, divided by what. */
typedef struct {
    const char *name, *unit, *doc;
    int from;
    double divisor; /* 0: text */
} cell_column;

static const cell_column columns[] = {
    {"kind", "", "operator or block", 2, 0},
    {"provider", "", "implementation", 3, 0},
    {"pass", "", "", 4, 0},
    {"dtype", "", "", 5, 0},
    {"B", "", "batch", 6, 1},
    {"L", "tokens", "sequence length", 7, 1},
    {"width", "", "model width this shape belongs to", 8, 1},
    {"time", "ms", "median", 11, 1e6},
    {"lo", "ms", "lower end of the interval", 12, 1e6},
    {"hi", "ms", "upper end of the interval", 13, 1e6},
    {"tokens", "M/s", "batch times length over time", 14, 1e6},
    {"work", "TFLOP/s", "compulsory flops over time", 15, 1},
    {"traffic", "GB/s", "compulsory bytes over time", 16, 1},
    {"floor", "%", "least possible time over time", 17, 1},
    {"above ceiling", "%", "by how much it exceeds a measured ceiling: suspicious", 28, 1},
    {"memory", "MiB", "tensors and workspace", 18, 1048576},
    {"SM clock", "MHz", "while measuring", 19, 1},
    {"runs", "", "replicates", 20, 1},
    {"samples", "", "launches timed", 21, 1},
    {"device", "", "", 25, 0},
    {"reason", "", "why there is no time", 10, 0},
    {"key", "", "canonical key of the cell", 27, 0},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static const char cell_example[] = "attention bf16 L=8192";

void sq_page_column(sq_text *page, const char *name, const char *unit, const char *doc)
{
    sq_text_add(page, "<th scope=\"col\" aria-sort=\"none\"><button type=\"button\" title=\"");
    sq_text_add_html(page, doc);
    sq_text_add(page, "\">");
    sq_text_add_html(page, name);
    if (*unit) {
        sq_text_add(page, "<small>");
        sq_text_add_html(page, unit);
        sq_text_add(page, "</small>");
    }
    sq_text_add(page, "</button></th>");
}

void sq_page_columns(sq_text *page, const sq_page_head *head, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sq_page_column(page, head[i].name, head[i].unit, head[i].doc);
    sq_text_add(page, "</tr></thead>\n<tbody>\n");
}

void sq_page_begin_table(sq_text *page, const char *id, const char *what, const char *example)
{
    sq_text_printf(page,
                   "<p class=\"filter\"><label for=\"%s-filter\">Filter</label> <input "
                   "id=\"%s-filter\" type=\"search\" data-table=\"%s-table\" autocomplete=\"off\" "
                   "placeholder=\"words, all must match: %s\"> <output "
                   "id=\"%s-count\" aria-live=\"polite\"></output></p>\n"
                   "<div class=\"scroll tall\" tabindex=\"0\"><table id=\"%s-table\" "
                   "class=\"sortable\" data-count=\"%s-count\" data-what=\"%s\">\n<thead><tr>",
                   id, id, id, example, id, id, id, what);
}

static void add_cell(sqlite3_stmt *row, sq_text *page)
{
    char label[SQ_LABEL_MAX];
    double window = sq_query_number(row, 1);
    const char *status = sq_query_text(row, 9);
    sq_series_label(sq_query_text(row, 0), window, label);
    sq_text_add(page, "<tr><th scope=\"row\"><i class=\"swatch\" style=\"background:");
    sq_text_add(page, sq_series_colour(sq_query_text(row, 0), window));
    sq_text_add(page, "\"></i>");
    sq_text_add_html(page, label);
    sq_text_add(page, "</th><td><span class=\"status ");
    sq_text_add_html(page, status);
    sq_text_add(page, "\">");
    sq_text_add_html(page, status);
    sq_text_add(page, "</span></td>");
    for (int i = 0; i < COLUMNS; i++) {
        const cell_column *column = &columns[i];
        if (column->divisor > 0) {
            sq_page_number(page, sq_query_number(row, column->from) / column->divisor);
            continue;
        }
        sq_page_text(page, i == COLUMNS - 1 ? "key" : "", sq_query_text(row, column->from));
    }
    sq_text_add(page, "</tr>\n");
}

sq_status sq_page_cells(const sq_scope *scope, sq_text *page, int *cells, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    *cells = 0;
    SQ_TRY(sq_query_cells(scope, sq_figure_cells_sql, NULL, &row, err));
    sq_text_add(page, "<section id=\"cells\">\n<h2>All cells</h2>\n");
    sq_page_begin_table(page, "cells", "cells", cell_example);
    sq_page_column(page, "subject", "", "operator or model family");
    sq_page_column(page, "status", "", "");
    for (int i = 0; i < COLUMNS; i++)
        sq_page_column(page, columns[i].name, columns[i].unit, columns[i].doc);
    sq_text_add(page, "</tr></thead>\n<tbody>\n");
    bool has_row = true;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row) {
        *cells += sqlite3_column_type(row, 11) != SQLITE_NULL;
        add_cell(row, page);
    }
    sqlite3_finalize(row);
    sq_text_add(page, "</tbody></table></div>\n</section>\n");
    return status;
}

/* --- counters --- */

enum { MAX_METRICS = 32, METRIC_TEXT = 96 };

typedef struct {
    char name[METRIC_TEXT], unit[24], doc[200];
    int valid; /* cells with a value */
} metric_column;

typedef struct {
    metric_column metric[MAX_METRICS];
    int n_metrics;
    char refusal[200]; /* the first validity that is not ok */
} counter_list;

static void note_metric(counter_list *list, sqlite3_stmt *row)
{
    int i = 0;
    while (i < list->n_metrics && strcmp(list->metric[i].name, sq_query_text(row, 1)))
        i++;
    if (i == MAX_METRICS)
        return;
    metric_column *metric = &list->metric[i];
    if (i == list->n_metrics) {
        list->n_metrics++;
        sq_query_copy(row, 1, metric->name, sizeof metric->name);
        sq_query_copy(row, 2, metric->unit, sizeof metric->unit);
        sq_query_copy(row, 5, metric->doc, sizeof metric->doc);
    }
    if (isfinite(sq_query_number(row, 3)))
        metric->valid++;
    else if (!*list->refusal)
        sq_query_copy(row, 4, list->refusal, sizeof list->refusal);
}

/* Columns: every metric that any cell has a value of. */
static sq_status list_metrics(const sq_scope *scope, counter_list *list, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_cells(scope, sq_figure_counters_sql, NULL, &row, err));
    bool has_row = true;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        note_metric(list, row);
    sqlite3_finalize(row);
    int kept = 0;
    for (int i = 0; i < list->n_metrics; i++)
        if (list->metric[i].valid)
            list->metric[kept++] = list->metric[i];
    list->n_metrics = kept;
    return status;
}

static void end_row(const counter_list *list, double *value, sq_text *page)
{
    for (int i = 0; i < list->n_metrics; i++) {
        sq_page_number(page, value[i]);
        value[i] = NAN;
    }
    sq_text_add(page, "</tr>\n");
}

static sq_status add_counter_rows(const sq_scope *scope, const counter_list *list, sq_text *page,
                                  sq_error *err)
{
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_cells(scope, sq_figure_counters_sql, NULL, &row, err));
    double value[MAX_METRICS];
    for (int i = 0; i < MAX_METRICS; i++)
        value[i] = NAN;
    sq_text last = {0};
    bool has_row = true;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row) {
        if (!last.data || strcmp(last.data, sq_query_text(row, 0))) {
            if (last.data)
                end_row(list, value, page);
            sq_text_free(&last);
            sq_text_add(&last, sq_query_text(row, 0));
            sq_text_add(page, "<tr><td class=\"key\">");
            sq_text_add_html(page, sq_query_text(row, 0));
            sq_text_add(page, "</td>");
        }
        for (int i = 0; i < list->n_metrics; i++)
            if (!strcmp(list->metric[i].name, sq_query_text(row, 1)))
                value[i] = sq_query_number(row, 3);
    }
    if (last.data)
        end_row(list, value, page);
    sq_text_free(&last);
    sqlite3_finalize(row);
    return status;
}

static sq_status add_counters(const sq_scope *scope, const counter_list *list, sq_text *page,
                              sq_error *err)
{
    if (*list->refusal) {
        sq_text_add(page, "<p class=\"note\">Some counters are absent: ");
        sq_text_add_html(page, list->refusal);
        sq_text_add(page, "</p>\n");
    }
    if (!list->n_metrics) {
        sq_text_add(page, "<p class=\"empty\">No counter was read.</p>\n");
        return SQ_OK;
    }
    sq_page_begin_table(page, "counters", "cells", cell_example);
    sq_page_column(page, "cell", "", "canonical key");
    for (int i = 0; i < list->n_metrics; i++)
        sq_page_column(page, list->metric[i].name, list->metric[i].unit, list->metric[i].doc);
    sq_text_add(page, "</tr></thead>\n<tbody>\n");
    SQ_TRY(add_counter_rows(scope, list, page, err));
    sq_text_add(page, "</tbody></table></div>\n");
    return SQ_OK;
}

sq_status sq_page_counters(const sq_scope *scope, sq_text *page, sq_error *err)
{
    counter_list *list = calloc(1, sizeof *list);
    if (!list)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the counters");
    sq_text_add(page, "<section id=\"counters\">\n<h2>Hardware counters</h2>\n");
    sq_status status = list_metrics(scope, list, err);
    if (status == SQ_OK)
        status = add_counters(scope, list, page, err);
    sq_text_add(page, "</section>\n");
    free(list);
    return status;
}
