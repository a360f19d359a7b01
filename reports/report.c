#include "reports/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "reports/gnuplot.h"
#include "reports/page.h"

enum { PATH_ROOM = 960 };

/* Everything one rendering carries around. */
typedef struct {
    sq_scope scope;
    sq_report_result *result;
    char figure_dir[PATH_ROOM + 16];
    char *gnuplot; /* NULL: not there */
    sq_text page, pictures;
} rendering;

/* mkdir -p */
static sq_status make_dirs(const char *path, sq_error *err)
{
    char part[PATH_ROOM + 16];
    size_t length = strlen(path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return sq_fail(err, SQ_IO, "make folder %s: %s", part, strerror(errno));
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return sq_fail(err, SQ_IO, "%s is not a folder", path);
    return SQ_OK;
}

static void add_note(rendering *r, const char *note)
{
    if (!*r->result->note)
        snprintf(r->result->note, sizeof r->result->note, "%s", note);
}

/* Finds gnuplot by running it once on nothing. A name with a slash is made absolute: figures are
 * drawn in their own folder. */
static void find_gnuplot(rendering *r, const char *program)
{
    if (!program)
        program = "gnuplot";
    char *path = strchr(program, '/') ? realpath(program, NULL) : strdup(program);
    sq_text talk = {0};
    sq_error why = {0};
    if (path && sq_gnuplot_run(path, "/", "/dev/null", &talk, &why) == SQ_OK) {
        r->gnuplot = path;
        path = NULL;
    } else {
        char note[200];
        snprintf(note, sizeof note, "%.100s %s: tables only", program,
                 !path || why.status == SQ_UNSUPPORTED ? "not found" : "does not run");
        add_note(r, note);
    }
    free(path);
    sq_text_free(&talk);
}

static sq_status add_figure(rendering *r, const sq_figure *figure, sq_error *err)
{
    sq_figure_outcome outcome;
    sq_text caption = {0};
    char note[200] = "", svg[PATH_ROOM + 64];
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

static sq_status render(rendering *r, const char *out_dir, sq_error *err)
{
    sq_page_begin(&r->page);
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
    if (strlen(options->out_dir) == 0 || strlen(options->out_dir) > PATH_ROOM)
        return sq_fail(err, SQ_BAD_ARGUMENT, "output folder: name is empty or too long");
    rendering r = {.scope = {db, options->campaign}, .result = result};
    snprintf(r.figure_dir, sizeof r.figure_dir, "%s/figures", options->out_dir);
    snprintf(result->page, sizeof result->page, "%s/index.html", options->out_dir);
    SQ_TRY(make_dirs(r.figure_dir, err));
    find_gnuplot(&r, options->gnuplot);
    sq_status status = render(&r, options->out_dir, err);
    sq_text_free(&r.page);
    sq_text_free(&r.pictures);
    free(r.gnuplot);
    return status;
}
