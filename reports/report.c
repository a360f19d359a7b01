#include "reports/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/files.h"
#include "reports/gnuplot.h"
#include "reports/page.h"

/* Everything one rendering carries around. */
typedef struct {
    sq_scope scope;
    sq_report_result *result;
    char figure_dir[SQ_PATH_ROOM + 16];
    char *gnuplot; /* NULL: not there */
    sq_text page, pictures;
} rendering;

static void add_note(rendering *r, const char *note)
{
    if (!*r->result->note)
        snprintf(r->result->note, sizeof r->result->note, "%s", note);
}

static sq_status add_figure(rendering *r, const sq_figure *figure, sq_error *err)
{
    sq_figure_outcome outcome;
    sq_text caption = {0};
    char note[200] = "", svg[SQ_PATH_ROOM + 64];
    sq_status status = sq_figure_render(&r->scope, figure, r->figure_dir, r->gnuplot, &outcome,
                                        &caption, note, sizeof note, err);
    if (*note)
        add_note(r, note);
    r->result->figures += outcome == SQ_DRAWN;
    r->result->figures_skipped += outcome != SQ_DRAWN;
    snprintf(svg, sizeof svg, "%s/%s.svg", r->figure_dir, figure->id);
    if (status == SQ_OK && outcome == SQ_DRAWN)
        status = sq_page_figure(figure, svg, caption.data, &r->pictures, err);
    sq_text_free(&caption);
    return status;
}

static sq_status add_figures(rendering *r, sq_error *err)
{
    for (const sq_figure *figure = sq_figures; figure->id; figure++)
        SQ_TRY(add_figure(r, figure, err));
    return SQ_OK;
}

static void end_figures(rendering *r)
{
    sq_text_add(&r->page, "<section id=\"figures\">\n<h2>Figures</h2>\n");
    if (*r->result->note) {
        sq_text_add(&r->page, "<p class=\"note\">");
        sq_text_add_html(&r->page, r->result->note);
        sq_text_add(&r->page, "</p>\n");
    } else if (!r->pictures.length) {
        sq_text_add(&r->page, "<p class=\"empty\">No width-matched cells to draw.</p>\n");
    }
    if (r->pictures.length)
        sq_text_add_n(&r->page, r->pictures.data, r->pictures.length);
    sq_text_add(&r->page, "</section>\n");
}

static const char links[] = "<a href=\"#environment\">Environment</a> "
                            "<a href=\"#failures\">Failures</a> <a href=\"#figures\">Figures</a> "
                            "<a href=\"#counters\">Counters</a> <a href=\"#cells\">Cells</a>";

static sq_status render(rendering *r, const char *out_dir, sq_error *err)
{
    sq_page_begin(&r->page, "seqmark report", links);
    SQ_TRY(sq_page_environment(&r->scope, &r->page, err));
    SQ_TRY(sq_page_failures(&r->scope, &r->page, &r->result->failures, err));
    SQ_TRY(add_figures(r, err));
    end_figures(r);
    SQ_TRY(sq_page_counters(&r->scope, &r->page, err));
    SQ_TRY(sq_page_cells(&r->scope, &r->page, &r->result->cells, err));
    sq_page_end(&r->page);
    if (r->page.is_failed || r->pictures.is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the page");
    return sq_write_file(out_dir, "index.html", r->page.data, err);
}

sq_status sq_report_render(sq_db *db, const sq_report_options *options, sq_report_result *result,
                           sq_error *err)
{
    *result = (sq_report_result){0};
    SQ_TRY(sq_check_dir(options->out_dir, err));
    rendering r = {.scope = {db, options->campaign}, .result = result};
    snprintf(r.figure_dir, sizeof r.figure_dir, "%s/figures", options->out_dir);
    snprintf(result->page, sizeof result->page, "%s/index.html", options->out_dir);
    SQ_TRY(sq_make_dirs(r.figure_dir, err));
    char note[200];
    r.gnuplot = sq_gnuplot_find(options->gnuplot, note, sizeof note);
    if (*note)
        add_note(&r, note);
    sq_status status = render(&r, options->out_dir, err);
    sq_text_free(&r.page);
    sq_text_free(&r.pictures);
    free(r.gnuplot);
    return status;
}
