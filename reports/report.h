/* report: figures, tables and one offline HTML page from a store. Made on any machine, from a copy. */
#ifndef SQ_REPORTS_REPORT_H
#define SQ_REPORTS_REPORT_H

#include <stdbool.h>

#include "core/status.h"
#include "core/text.h"
#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *out_dir;  /* created when absent */
    const char *campaign; /* uuid of the campaign to show; NULL: all campaigns */
    const char *gnuplot;  /* program; NULL: "gnuplot" from PATH */
} sq_report_options;

typedef struct {
    int figures, figures_skipped; /* skipped: no data, or no gnuplot */
    int cells, failures;
    char page[1024]; /* path of index.html */
    char note[256];  /* one line when something was left out ("gnuplot not found: tables only") */
} sq_report_result;

/* Renders index.html and figures (SVG, PNG) into out_dir. An empty or partly failed store renders. */
sq_status sq_report_render(sq_db *db, const sq_report_options *options, sq_report_result *result,
                           sq_error *err);

/* The summary table (subject, provider, dtype, L, B, median, tokens/s, TFLOP/s, GB/s, percent of
 * floor; cache, launch and clock mode where its rows differ in them) as text in `format` of
 * core/table.h. */
sq_status sq_report_summary(sq_db *db, const char *campaign, int format, sq_text *out,
                            sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
