/* summary: one row a measured cell, in the forms of core/table. */
#include <math.h>

#include "core/table.h"
#include "reports/palette.h"
#include "reports/query.h"
#include "reports/report.h"

static void add_row(sq_table *table, sqlite3_stmt *row)
{
    /* Columns of cells.sql: pass, dtype; B, L, width; time, tokens, TFLOP, GB, floor. */
    char label[SQ_LABEL_MAX];
    sq_series_label(sq_query_text(row, 0), sq_query_number(row, 1), label);
    sq_table_text(table, label);
    sq_table_text(table, sq_query_text(row, 3));
    sq_table_text(table, sq_query_text(row, 4));
    sq_table_text(table, sq_query_text(row, 5));
    for (int i = 6; i <= 8; i++)
        sq_table_number(table, sq_query_number(row, i), 7);
    for (int i = 11; i <= 13; i++)
        sq_table_number(table, sq_query_number(row, i) / 1e6, 4);
    for (int i = 14; i <= 17; i++)
        sq_table_number(table, sq_query_number(row, i), 4);
}

sq_status sq_report_summary(sq_db *db, const char *campaign, int format, sq_text *out,
                            sq_error *err)
{
    static const char *const columns[] = {"subject",
                                          "provider",
                                          "pass",
                                          "dtype",
                                          "B",
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
    const sq_scope scope = {db, campaign};
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_cells(&scope, sq_figure_cells_sql, NULL, &row, err));
    sq_table *table = sq_table_new(columns);
    bool has_row = table != NULL;
    sq_status status = table ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the summary");
    while (has_row && (status = sq_query_step(&scope, row, &has_row, err)) == SQ_OK && has_row)
        if (sqlite3_column_type(row, 11) != SQLITE_NULL)
            add_row(table, row);
    if (status == SQ_OK)
        status = sq_table_render(table, (sq_format)format, out);
    sq_table_free(table);
    sqlite3_finalize(row);
    return status;
}
