/* history_page: what the files of the history's page share. Not for other modules. */
#ifndef SQ_REPORTS_HISTORY_PAGE_H
#define SQ_REPORTS_HISTORY_PAGE_H

#include "core/text.h"
#include "reports/history.h"

#ifdef __cplusplus
extern "C" {
#endif

/* history_plot.c: a series as inline SVG: nights, levels, changes, breaks. Every campaign of the
 * history has its place, so that pictures of one page stand below each other. is_large: with axes
 * and intervals. */
void sq_history_plot(const sq_history *h, const sq_history_series *s, bool is_large, sq_text *page);

#ifdef __cplusplus
}
#endif
#endif
