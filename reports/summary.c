/* summary: one row a measured cell, in the forms of core/table. */
#include <math.h>
#include <string.h>

#include "core/table.h"
#include "reports/palette.h"
#include "reports/query.h"
#include "reports/report.h"

/* Columns of cells.sql that stand in the summary only where its rows differ in them. */
enum { FIRST_MODE = 22, MODES = 3, TIME = 11 };
static const char *const mode_names[MODES] = {"cache", "launch", "clock_mode"};

static bool is_timed(sqlite3_stmt *row)
{
    return sqlite3_column_type(row, TIME) != SQLITE_NULL;
}

/* Looks at all rows, then begins again. */
static sq_status find_differences(const sq_scope *scope, sqlite3_stmt *row, bool differs[MODES],
                                  sq_error *err)
{
    char first[MODES][24] = {""};
    bool has_row = true;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        for (int i = 0; i < MODES && is_timed(row); i++) {
            if (!first[i][0])
                sq_query_copy(row, FIRST_MODE + i, first[i], sizeof first[i]);
            differs[i] |= strcmp(first[i], sq_query_text(row, FIRST_MODE + i)) != 0;
        }
    sqlite3_reset(row);
    return status;
}

static void add_row(sq_table *table, sqlite3_stmt *row, const bool differs[MODES])
{
    /* Columns of cells.sql: pass, dtype; modes; B, L, width; time, tokens, TFLOP, GB, floor. */
    char label[SQ_LABEL_MAX];
    sq_series_label(sq_query_text(row, 0), sq_query_number(row, 1), label);
    sq_table_text(table, label);
    sq_table_text(table, sq_query_text(row, 3));
    sq_table_text(table, sq_query_text(row, 4));
    sq_table_text(table, sq_query_text(row, 5));
    for (int i = 0; i < MODES; i++)
        if (differs[i])
            sq_table_text(table, sq_query_text(row, FIRST_MODE + i));
    for (int i = 6; i <= 8; i++)
        sq_table_number(table, sq_query_number(row, i), 7);
    for (int i = TIME; i <= 13; i++)
        sq_table_number(table, sq_query_number(row, i) / 1e6, 4);
    for (int i = 14; i <= 17; i++)
        sq_table_number(table, sq_query_number(row, i), 4);
}

static sq_table *new_table(const bool differs[MODES])
{
    static const char *const before[] = {"subject", "provider", "pass", "dtype", NULL};
    static const char *const after[] = {"B",
                                        "L",
                                        "width",
                                        "median_ms",
                                        "lo_ms",
                                        "hi_ms",
                                        "tokens_per_s",
                                        "tflops",
                                        "gbytes_per_s",
                                        "percent_of_floor",
                                        NULL};
    const char *columns[4 + MODES + 10 + 1];
    int n = 0;
    for (int i = 0; before[i]; i++)
        columns[n++] = before[i];
    for (int i = 0; i < MODES; i++)
        if (differs[i])
            columns[n++] = mode_names[i];
    for (int i = 0; after[i]; i++)
        columns[n++] = after[i];
    columns[n] = NULL;
    return sq_table_new(columns);
}

static sq_status add_rows(const sq_scope *scope, sqlite3_stmt *row, const bool differs[MODES],
                          sq_table *table, sq_error *err)
{
    bool has_row = true;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        if (is_timed(row))
            add_row(table, row, differs);
    return status;
}

sq_status sq_report_summary(sq_db *db, const char *campaign, int format, sq_text *out,
                            sq_error *err)
{
    const sq_scope scope = {db, campaign};
    bool differs[MODES] = {false};
    sqlite3_stmt *row = NULL;
    sq_table *table = NULL;
    SQ_TRY(sq_query_cells(&scope, sq_figure_cells_sql, NULL, &row, err));
    sq_status status = find_differences(&scope, row, differs, err);
    if (status == SQ_OK && !(table = new_table(differs)))
        status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the summary");
    if (status == SQ_OK)
        status = add_rows(&scope, row, differs, table, err);
    if (status == SQ_OK)
        status = sq_table_render(table, (sq_format)format, out);
    sq_table_free(table);
    sqlite3_finalize(row);
    return status;
}
