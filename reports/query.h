/* query: the report's questions to the store. Every answer is about cells, never averages of them.
 */
#ifndef SQ_REPORTS_QUERY_H
#define SQ_REPORTS_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    sq_db *db;
    const char *campaign; /* uuid, NULL: all */
} sq_scope;

/* The text files of reports/ in the binary: queries, gnuplot scripts, captions, style and script.
 */
/* clang-format off */
#define SQ_REPORT_TEXTS(X) \
    X(figure_style_gp) X(figure_lines_gp) X(figure_roof_gp) X(figure_common_sql) \
    X(figure_group_sql) X(figure_ceilings_sql) X(figure_cells_sql) X(figure_failures_sql) \
    X(figure_counters_sql) X(figure_campaigns_sql) X(figure_compare_sql) \
    X(figure_datasheet_ceilings_sql) X(figure_datasheet_device_sql) \
    X(figure_datasheet_roofline_gp) X(figure_datasheet_bursts_gp) \
    X(figure_time_sql) X(figure_time_gp) \
    X(figure_time_txt) X(figure_tokens_sql) X(figure_tokens_gp) X(figure_tokens_txt) \
    X(figure_tflops_sql) X(figure_tflops_gp) X(figure_tflops_txt) X(figure_gbytes_sql) \
    X(figure_gbytes_gp) X(figure_gbytes_txt) X(figure_relative_sql) X(figure_relative_gp) \
    X(figure_relative_txt) X(figure_memory_sql) X(figure_memory_gp) X(figure_memory_txt) \
    X(figure_roofline_sql) X(figure_roofline_gp) X(figure_roofline_txt) \
    X(figure_profile_run_sql) X(figure_profile_facts_sql) X(figure_profile_values_sql) \
    X(figure_profile_kernels_sql) X(figure_profile_checks_sql) X(figure_profile_roofline_gp) \
    X(figure_profile_roofplot_gp) X(figure_profile_series_gp) X(figure_history_campaigns_sql) \
    X(figure_history_runs_sql) X(figure_history_cell_runs_sql) X(page_css) X(page_js)
/* clang-format on */
#define SQ_X(name) extern const char sq_##name[];
SQ_REPORT_TEXTS(SQ_X)
#undef SQ_X

/* Prepares `query` behind the common head (reports/figures/common.sql): ?1 is the campaign, ?2
 * `kind`
 * ("op", "block", NULL). The caller finalizes *out. */
sq_status sq_query_cells(const sq_scope *scope, const char *query, const char *kind,
                         sqlite3_stmt **out, sq_error *err);
/* Prepares `query` alone; ?1 is the campaign. */
sq_status sq_query_plain(const sq_scope *scope, const char *query, sqlite3_stmt **out,
                         sq_error *err);
/* The next row; *has_row is false at the end. */
sq_status sq_query_step(const sq_scope *scope, sqlite3_stmt *statement, bool *has_row,
                        sq_error *err);
const char *sq_query_text(sqlite3_stmt *statement, int column);                  /* "" for NULL */
double sq_query_number(sqlite3_stmt *statement, int column);                     /* NAN for NULL */
void sq_query_copy(sqlite3_stmt *statement, int column, char *out, size_t size); /* cut to fit */

#ifdef __cplusplus
}
#endif
#endif
