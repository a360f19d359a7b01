#include "reports/page.h"

#include <math.h>
#include <string.h>

#include "reports/files.h"

void sq_page_begin(sq_text *page, const char *title, const char *links)
{
    sq_text_add(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                      "<meta name=\"color-scheme\" content=\"light dark\">\n"
                      "<link rel=\"icon\" href=\"data:,\">\n"
                      "<title>");
    sq_text_add_html(page, title);
    sq_text_add(page, "</title>\n<style>\n");
    sq_text_add(page, sq_page_css);
    sq_text_add(page, "</style>\n</head>\n<body>\n<header>\n<h1>");
    sq_text_add_html(page, title);
    sq_text_add(page, "</h1>\n<nav>");
    sq_text_add(page, links);
    sq_text_add(page, "</nav>\n</header>\n<main>\n");
}

void sq_page_end(sq_text *page)
{
    sq_text_add(page, "</main>\n<script>\n");
    sq_text_add(page, sq_page_js);
    sq_text_add(page, "</script>\n</body>\n</html>\n");
}

void sq_page_number(sq_text *page, double value)
{
    if (!isfinite(value))
        sq_text_add(page, "<td></td>");
    else if (fabs(value) >= 1e4)
        sq_text_printf(page, "<td class=\"number\" data-value=\"%.9g\">%.0f</td>", value, value);
    else
        sq_text_printf(page, "<td class=\"number\" data-value=\"%.9g\">%.4g</td>", value, value);
}

void sq_page_text(sq_text *page, const char *style, const char *text)
{
    if (*style)
        sq_text_printf(page, "<td class=\"%s\">", style);
    else
        sq_text_add(page, "<td>");
    sq_text_add_html(page, text);
    sq_text_add(page, "</td>");
}

void sq_page_fact(sq_text *page, const char *name, const char *text)
{
    sq_text_add(page, "<div><dt>");
    sq_text_add_html(page, name);
    sq_text_add(page, *text ? "</dt><dd>" : "</dt><dd class=\"unknown\">");
    sq_text_add_html(page, *text ? text : "unknown");
    sq_text_add(page, "</dd></div>\n");
}

/* --- environment --- */

static void add_campaign(sqlite3_stmt *row, sq_text *page)
{
    sq_text_add(page, "<dl class=\"facts\">\n");
    for (int i = 0; i < sqlite3_column_count(row); i++)
        sq_page_fact(page, sqlite3_column_name(row, i), sq_query_text(row, i));
    sq_text_add(page, "</dl>\n");
}

/* The newest campaign is open, older ones are folded under their name. */
static void add_folded(sqlite3_stmt *row, int index, sq_text *page)
{
    if (index == 1)
        sq_text_add(page, "<h3>Older campaigns</h3>\n");
    if (index > 0) {
        sq_text_add(page, "<details><summary>");
        for (int i = 0; i < sqlite3_column_count(row); i++) {
            const char *name = sqlite3_column_name(row, i);
            if (strcmp(name, "Campaign") && strcmp(name, "Suite") && strcmp(name, "Started"))
                continue;
            sq_text_add_html(page, sq_query_text(row, i));
            sq_text_add(page, " ");
        }
        sq_text_add(page, "</summary>\n");
    }
    add_campaign(row, page);
    if (index > 0)
        sq_text_add(page, "</details>\n");
}

sq_status sq_page_environment(const sq_scope *scope, sq_text *page, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    SQ_TRY(sq_query_plain(scope, sq_figure_campaigns_sql, &row, err));
    sq_text_add(page, "<section id=\"environment\">\n<h2>Environment</h2>\n");
    bool has_row = true;
    int count = 0;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row)
        add_folded(row, count++, page);
    sqlite3_finalize(row);
    if (count == 0)
        sq_text_add(page, "<p class=\"empty\">The store holds no campaign yet.</p>\n");
    sq_text_add(page, "</section>\n");
    return status;
}

/* --- failures --- */

static void add_failure(sqlite3_stmt *row, sq_text *page)
{
    const char *reason = sq_query_text(row, 1);
    sq_text_add(page, "<tr><td><span class=\"status ");
    sq_text_add_html(page, sq_query_text(row, 0));
    sq_text_add(page, "\">");
    sq_text_add_html(page, sq_query_text(row, 0));
    sq_text_add(page, "</span></td><td>");
    sq_text_add_html(page, *reason ? reason : "no reason stored");
    sq_text_add(page, "</td>");
    sq_page_number(page, sq_query_number(row, 3));
    sq_page_number(page, sq_query_number(row, 2));
    sq_text_add(page, "<td><details><summary>show</summary><pre>");
    sq_text_add_html(page, sq_query_text(row, 4));
    sq_text_add(page, "</pre></details></td></tr>\n");
}

sq_status sq_page_failures(const sq_scope *scope, sq_text *page, int *failures, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    *failures = 0;
    SQ_TRY(sq_query_cells(scope, sq_figure_failures_sql, NULL, &row, err));
    sq_text_add(page, "<section id=\"failures\">\n<h2>Failed and skipped cells</h2>\n");
    bool has_row = true;
    sq_status status = SQ_OK;
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row) {
        if (*failures == 0)
            sq_text_add(page, "<div class=\"scroll\"><table>\n<thead><tr><th>Status</th><th>Reason"
                              "</th><th>Cells</th><th>Runs</th><th>Which</th></tr></thead>\n"
                              "<tbody>\n");
        *failures += sqlite3_column_int(row, 3);
        add_failure(row, page);
    }
    sqlite3_finalize(row);
    sq_text_add(page, *failures ? "</tbody></table></div>\n</section>\n"
                                : "<p class=\"empty\">None.</p>\n</section>\n");
    return status;
}

/* --- figures --- */

static void add_base64(sq_text *page, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char four[4];
    for (size_t i = 0; i + 2 < count; i += 3) {
        unsigned v = (unsigned)bytes[i] << 16 | (unsigned)bytes[i + 1] << 8 | bytes[i + 2];
        for (int k = 0; k < 4; k++)
            four[k] = digits[v >> (18 - 6 * k) & 63];
        sq_text_add_n(page, four, 4);
    }
    size_t left = count % 3;
    if (left == 0)
        return;
    const unsigned char *rest = bytes + count - left;
    unsigned v = (unsigned)rest[0] << 16 | (left > 1 ? (unsigned)rest[1] << 8 : 0);
    for (size_t k = 0; k < 4; k++)
        four[k] = '=';
    for (size_t k = 0; k <= left; k++)
        four[k] = digits[v >> (18 - 6 * k) & 63];
    sq_text_add_n(page, four, 4);
}

/* The SVG as a data URI: the page stays one file, and the picture cannot run or load anything. */
sq_status sq_page_picture(const char *title, const char *svg_path, sq_text *page, sq_error *err)
{
    sq_text svg = {0};
    sq_status status = sq_read_file(svg_path, &svg, err);
    if (status == SQ_OK && svg.data) {
        sq_text_add(page, "<img width=\"960\" height=\"540\" alt=\"");
        sq_text_add_html(page, title);
        sq_text_add(page, "\" src=\"data:image/svg+xml;base64,");
        add_base64(page, (const unsigned char *)svg.data, svg.length);
        sq_text_add(page, "\">\n");
    }
    sq_text_free(&svg);
    return status;
}

sq_status sq_page_figure(const sq_figure *figure, const char *svg_path, const char *caption,
                         sq_text *page, sq_error *err)
{
    sq_text_printf(page, "<figure id=\"%s\">\n", figure->id);
    if (svg_path)
        SQ_TRY(sq_page_picture(figure->title, svg_path, page, err));
    sq_text_add(page, "<figcaption><strong>");
    sq_text_add_html(page, figure->title);
    sq_text_add(page, ".</strong> ");
    sq_text_add_html(page, caption);
    sq_text_add(page, " <span class=\"files\">");
    if (svg_path)
        sq_text_printf(page,
                       "<a href=\"figures/%s.svg\">SVG</a> <a href=\"figures/%s.png\">PNG</a> ",
                       figure->id, figure->id);
    sq_text_printf(page, "<a href=\"figures/%s.csv\">data</a> <a href=\"figures/%s.gp\">script</a>",
                   figure->id, figure->id);
    sq_text_add(page, "</span></figcaption>\n</figure>\n");
    return SQ_OK;
}
