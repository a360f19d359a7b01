/* page: the parts of index.html. Every text of the store goes through sq_text_add_html. */
#ifndef SQ_REPORTS_PAGE_H
#define SQ_REPORTS_PAGE_H

#include "reports/figures.h"
#include "reports/report.h"

#ifdef __cplusplus
extern "C" {
#endif

/* links: the HTML of the page's own navigation. */
void sq_page_begin(sq_text *page, const char *title, const char *links);
void sq_page_end(sq_text *page);

/* GPU, software, host and campaign of everything shown. */
sq_status sq_page_environment(const sq_scope *scope, sq_text *page, sq_error *err);
/* Failed and skipped cells by reason; *failures receives how many cells. */
sq_status sq_page_failures(const sq_scope *scope, sq_text *page, int *failures, sq_error *err);
/* One figure: the picture (the SVG at `svg_path` goes into the page) and its caption. svg_path is
 * NULL where nothing was drawn. */
sq_status sq_page_figure(const sq_figure *figure, const char *svg_path, const char *caption,
                         sq_text *page, sq_error *err);
/* The SVG at `svg_path` as an <img> with `title` as its text. */
sq_status sq_page_picture(const char *title, const char *svg_path, sq_text *page, sq_error *err);
/* Hardware counters by cell; nothing where none were taken. */
sq_status sq_page_counters(const sq_scope *scope, sq_text *page, sq_error *err);
/* The table of all cells; *cells receives how many were measured. */
sq_status sq_page_cells(const sq_scope *scope, sq_text *page, int *cells, sq_error *err);

/* A table that can be sorted and filtered, up to its columns: sq_page_column for each, then
 * "</tr></thead>", or all of these by sq_page_columns. what: what a row is, in the plural. */
void sq_page_begin_table(sq_text *page, const char *id, const char *what, const char *example);
void sq_page_column(sq_text *page, const char *name, const char *unit, const char *doc);

typedef struct {
    const char *name, *unit, *doc;
} sq_page_head;
/* The columns, and the begin of the body. */
void sq_page_columns(sq_text *page, const sq_page_head *head, size_t n);

/* <td> with a number to sort by; empty for NAN. */
void sq_page_number(sq_text *page, double value);
/* <td> with a text; style: its class, "" for none. */
void sq_page_text(sq_text *page, const char *style, const char *text);
/* A line of a <dl class="facts">; an empty text is unknown. */
void sq_page_fact(sq_text *page, const char *name, const char *text);

#ifdef __cplusplus
}
#endif
#endif
