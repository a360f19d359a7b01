/* datasheet: see datasheet.h. */
#include "reports/datasheet.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/files.h"
#include "reports/gnuplot.h"
#include "reports/page.h"

/* --- reading --- */

static int rank_of(const char *name)
{
    int rank = 0;
    for (const sq_ceiling_def *def = sq_ceiling_defs; def->name; def++, rank++)
        if (strcmp(def->name, name) == 0)
            return rank;
    return rank;
}

static int by_rank(const void *a, const void *b)
{
    const sq_ceiling *x = a, *y = b;
    int difference = rank_of(x->name) - rank_of(y->name);
    return difference ? difference : strcmp(x->name, y->name);
}

static sq_status read_device(const sq_scope *scope, sq_datasheet *out, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    bool has_row = false;
    SQ_TRY(sq_query_plain(scope, sq_figure_datasheet_device_sql, &row, err));
    sq_status status = sq_query_step(scope, row, &has_row, err);
    if (has_row) {
        sq_device *d = &out->device;
        sq_query_copy(row, 0, d->backend, sizeof d->backend);
        sq_query_copy(row, 1, d->name, sizeof d->name);
        sq_query_copy(row, 2, d->arch, sizeof d->arch);
        sq_query_copy(row, 3, d->uuid, sizeof d->uuid);
        d->sm_count = sqlite3_column_int(row, 4);
        d->l2_bytes = sqlite3_column_int64(row, 5);
        d->max_sm_mhz = sq_query_number(row, 6);
        d->max_memory_mhz = sq_query_number(row, 7);
        d->memory_bus_bits = sq_query_number(row, 8);
        sq_query_copy(row, 9, out->campaign, sizeof out->campaign);
    }
    sqlite3_finalize(row);
    return status;
}

static sq_status read_ceilings(const sq_scope *scope, sq_datasheet *out, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    sq_status status;
    SQ_TRY(sq_query_plain(scope, sq_figure_datasheet_ceilings_sql, &row, err));
    while ((status = sq_query_step(scope, row, &has_row, err)) == SQ_OK && has_row &&
           out->n < SQ_MAX_DATASHEET) {
        sq_ceiling *c = &out->ceiling[out->n++];
        sq_query_copy(row, 0, c->name, sizeof c->name);
        sq_query_copy(row, 1, c->unit, sizeof c->unit);
        c->value = sq_query_number(row, 2);
        c->lo = sq_query_number(row, 3);
        c->hi = sq_query_number(row, 4);
        c->sm_mhz = sq_query_number(row, 5);
    }
    sqlite3_finalize(row);
    qsort(out->ceiling, (size_t)out->n, sizeof *out->ceiling, by_rank);
    return status;
}

sq_status sq_datasheet_read(sq_db *db, const char *uuid, sq_datasheet *out, sq_error *err)
{
    sq_scope scope = {db, uuid};
    *out = (sq_datasheet){.n = 0};
    SQ_TRY(read_device(&scope, out, err));
    SQ_TRY(read_ceilings(&scope, out, err));
    if (out->n == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "campaign %.8s has no ceilings", uuid);
    return SQ_OK;
}

/* --- parts --- */

void sq_datasheet_slug(const char *name, char out[SQ_SLUG_MAX])
{
    int n = 0;
    for (; *name && n < SQ_SLUG_MAX - 1; name++) {
        unsigned char c = (unsigned char)*name;
        if (c < 0x80 && isalnum(c))
            out[n++] = (char)tolower(c);
        else if (n > 0 && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n > 0 && out[n - 1] == '-')
        n--;
    out[n] = '\0';
    if (n == 0)
        snprintf(out, SQ_SLUG_MAX, "device");
}

double sq_datasheet_peak(const sq_datasheet *sheet, const sq_ceiling *ceiling)
{
    const sq_ceiling_def *def = sq_ceiling_find(ceiling->name);
    double clock = isnan(ceiling->sm_mhz) ? sheet->device.max_sm_mhz : ceiling->sm_mhz;
    return def ? sq_peak_rate(&sheet->device, def->peak, clock) : (double)NAN;
}

sq_status sq_datasheet_table(const sq_datasheet *sheet, sq_format format, sq_text *out,
                             sq_error *err)
{
    static const char *const columns[] = {"ceiling", "value", "unit", "lo",   "hi",
                                          "sm_mhz",  "peak",  "pct",  "what", NULL};
    sq_table *table = sq_table_new(columns);
    if (!table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    for (int i = 0; i < sheet->n; i++) {
        const sq_ceiling *c = &sheet->ceiling[i];
        const sq_ceiling_def *def = sq_ceiling_find(c->name);
        double peak = sq_datasheet_peak(sheet, c);
        sq_table_text(table, c->name);
        sq_table_number(table, c->value, 4);
        sq_table_text(table, c->unit);
        sq_table_number(table, c->lo, 4);
        sq_table_number(table, c->hi, 4);
        sq_table_number(table, c->sm_mhz, 4);
        sq_table_number(table, peak, 4);
        sq_table_number(table, 100 * c->value / peak, 3);
        sq_table_text(table, def ? def->doc : "");
    }
    sq_status status = sq_table_render(table, format, out);
    sq_table_free(table);
    return status == SQ_OK ? SQ_OK : sq_fail(err, status, "cannot render the ceilings");
}

/* --- the page --- */

typedef struct {
    const sq_datasheet *sheet;
    sq_text page;
    char slug[SQ_SLUG_MAX], figures[SQ_PATH_ROOM + 32];
    char *gnuplot;
    sq_datasheet_result *result;
} rendering;

static void add_row(rendering *r, const sq_ceiling *c)
{
    const sq_ceiling_def *def = sq_ceiling_find(c->name);
    double peak = sq_datasheet_peak(r->sheet, c);
    bool is_latency = strncmp(c->name, "chase_", 6) == 0;
    sq_text *page = &r->page;
    sq_text_add(page, "<tr><th scope=\"row\">");
    sq_text_add_html(page, def ? def->doc : c->name);
    sq_text_add(page, "</th>");
    sq_page_number(page, c->value);
    sq_page_text(page, "", c->unit);
    sq_page_number(page, c->lo);
    sq_page_number(page, c->hi);
    sq_page_number(page, c->sm_mhz);
    sq_page_number(page, is_latency ? 1e-3 * c->value * c->sm_mhz : (double)NAN);
    sq_page_number(page, peak);
    sq_page_number(page, 100 * c->value / peak);
    sq_page_text(page, "key", c->name);
    sq_text_add(page, "</tr>\n");
}

static const char *section_of(const sq_ceiling *c)
{
    const sq_ceiling_def *def = sq_ceiling_find(c->name);
    return def ? def->section : "Other";
}

static void add_table(rendering *r)
{
    const char *section = "";
    sq_text_add(&r->page,
                "<section id=\"ceilings\">\n<h2>Ceilings</h2>\n<div class=\"scroll\"><table>\n"
                "<thead><tr><th>What</th><th>Value</th><th>Unit</th><th>From</th><th>To</th>"
                "<th>SM clock<small>MHz</small></th><th>Cycles</th><th>Peak</th>"
                "<th>Of it<small>%</small></th><th>Name</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < r->sheet->n; i++) {
        const sq_ceiling *c = &r->sheet->ceiling[i];
        if (strcmp(section_of(c), section) != 0) {
            section = section_of(c);
            sq_text_add(&r->page, "<tr class=\"part\"><th colspan=\"10\" scope=\"colgroup\">");
            sq_text_add_html(&r->page, section);
            sq_text_add(&r->page, "</th></tr>\n");
        }
        add_row(r, c);
    }
    sq_text_add(&r->page,
                "</tbody></table></div>\n"
                "<p>From and to: the 95 % interval of the median (below six readings: the "
                "smallest and the largest). Peak: device attributes times the SM clock "
                "observed, or the highest clock where none was.</p>\n");
}

/* Names that a data sheet may have and this one has not. */
static void add_absent(rendering *r)
{
    bool is_first = true;
    for (const sq_ceiling_def *def = sq_ceiling_defs; def->name; def++) {
        if (!isnan(sq_ceiling_value(r->sheet->ceiling, r->sheet->n, def->name)))
            continue;
        sq_text_add(&r->page, is_first ? "<p class=\"empty\">Not measured: " : ", ");
        sq_text_add_html(&r->page, def->name);
        is_first = false;
    }
    sq_text_add(&r->page, is_first ? "</section>\n" : ".</p>\n</section>\n");
}

static void add_fact(sq_text *page, const char *name, bool is_known, const char *text)
{
    sq_text_add(page, "<div><dt>");
    sq_text_add_html(page, name);
    sq_text_add(page, is_known ? "</dt><dd>" : "</dt><dd class=\"unknown\">");
    sq_text_add_html(page, is_known ? text : "unknown");
    sq_text_add(page, "</dd></div>\n");
}

/* What the device says of itself; all about host and software stands at the end of the page. */
static void add_identity(rendering *r)
{
    const sq_device *d = &r->sheet->device;
    double dram = sq_peak_rate(d, SQ_PEAK_DRAM, NAN);
    char text[128];
    sq_text_add(&r->page, "<section id=\"device\">\n<h2>Device</h2>\n<dl class=\"facts\">\n");
    add_fact(&r->page, "Name", d->name[0], d->name);
    add_fact(&r->page, "Architecture", d->arch[0], d->arch);
    add_fact(&r->page, "Device id", d->uuid[0], d->uuid);
    snprintf(text, sizeof text, "%d", d->sm_count);
    add_fact(&r->page, "SMs or cores", d->sm_count > 0, text);
    snprintf(text, sizeof text, "%.1f MiB", (double)d->l2_bytes / 1048576);
    add_fact(&r->page, "L2 cache", d->l2_bytes > 0, text);
    snprintf(text, sizeof text, "%.0f MHz SM, %.0f MHz memory", d->max_sm_mhz, d->max_memory_mhz);
    add_fact(&r->page, "Highest clocks", d->max_sm_mhz > 0 && d->max_memory_mhz > 0, text);
    snprintf(text, sizeof text, "%.0f bit, at most %.0f GB/s", d->memory_bus_bits, dram);
    add_fact(&r->page, "Memory bus", dram > 0, text);
    sq_text_add(&r->page, "</dl>\n</section>\n");
}

typedef bool (*script_fn)(const sq_datasheet *, const char *, sq_text *, sq_text *);

static sq_status write_figure(rendering *r, const char *id, const sq_text *script,
                              const sq_text *csv, bool *is_drawn, sq_error *err)
{
    char name[SQ_SLUG_MAX + 32];
    sq_text talk = {0};
    sq_error why = {0};
    *is_drawn = false;
    if (script->is_failed || csv->is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for figure %s", id);
    snprintf(name, sizeof name, "%s.csv", id);
    SQ_TRY(sq_write_file(r->figures, name, csv->data, err));
    snprintf(name, sizeof name, "%s.gp", id);
    SQ_TRY(sq_write_file(r->figures, name, script->data, err));
    if (r->gnuplot) /* a picture that cannot be drawn leaves a note, not a failed sheet */
        *is_drawn = sq_gnuplot_run(r->gnuplot, r->figures, name, &talk, &why) == SQ_OK;
    if (r->gnuplot && !*is_drawn)
        snprintf(r->result->note, sizeof r->result->note, "%.255s", why.message);
    sq_text_free(&talk);
    return SQ_OK;
}

static sq_status add_figure(rendering *r, const char *what, const char *title, const char *caption,
                            script_fn write, sq_error *err)
{
    char id[SQ_SLUG_MAX + 16], svg[SQ_PATH_ROOM + SQ_SLUG_MAX + 64];
    sq_text script = {0}, csv = {0};
    bool is_drawn = false;
    snprintf(id, sizeof id, "%s_%s", r->slug, what);
    snprintf(svg, sizeof svg, "%s/%s.svg", r->figures, id);
    sq_status status = SQ_OK;
    if (write(r->sheet, id, &script, &csv)) {
        sq_figure figure = {.id = id, .title = title};
        status = write_figure(r, id, &script, &csv, &is_drawn, err);
        if (status == SQ_OK && is_drawn)
            status = sq_page_figure(&figure, svg, caption, &r->page, err);
    }
    sq_text_free(&script);
    sq_text_free(&csv);
    return status;
}

static sq_status add_figures(rendering *r, sq_error *err)
{
    sq_text_add(&r->page, "<section id=\"figures\">\n<h2>Figures</h2>\n");
    if (r->result->note[0]) {
        sq_text_add(&r->page, "<p class=\"note\">");
        sq_text_add_html(&r->page, r->result->note);
        sq_text_add(&r->page, "</p>\n");
    }
    SQ_TRY(add_figure(r, "roofline", "Roofline",
                      "Measured ceilings only. Slopes: what each level of memory gives. Flat: what "
                      "each unit computes, solid in a burst, dashed sustained.",
                      sq_datasheet_roofline, err));
    SQ_TRY(
        add_figure(r, "bursts", "Matrix products: burst and sustained",
                   "Burst: the first 20 ms on a rested card. Sustained: back to back, after power "
                   "and clock have settled. The SM clock stands above each bar.",
                   sq_datasheet_bursts, err));
    sq_text_add(&r->page, "</section>\n");
    return SQ_OK;
}

static const char links[] = "<a href=\"#device\">Device</a> <a href=\"#figures\">Figures</a> "
                            "<a href=\"#ceilings\">Ceilings</a> "
                            "<a href=\"#environment\">Environment</a>";

static sq_status render(rendering *r, sq_db *db, const char *out_dir, sq_error *err)
{
    char title[200], file[SQ_SLUG_MAX + 8];
    sq_scope scope = {db, r->sheet->campaign};
    snprintf(title, sizeof title, "%.127s: data sheet", r->sheet->device.name);
    sq_page_begin(&r->page, title, links);
    add_identity(r);
    SQ_TRY(add_figures(r, err));
    add_table(r);
    add_absent(r);
    SQ_TRY(sq_page_environment(&scope, &r->page, err));
    sq_page_end(&r->page);
    if (r->page.is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the page");
    snprintf(file, sizeof file, "%s.html", r->slug);
    snprintf(r->result->page, sizeof r->result->page, "%s/%s", out_dir, file);
    return sq_write_file(out_dir, file, r->page.data, err);
}

sq_status sq_datasheet_render(sq_db *db, const sq_datasheet *sheet, const char *out_dir,
                              const char *gnuplot, sq_datasheet_result *result, sq_error *err)
{
    rendering r = {.sheet = sheet, .result = result};
    *result = (sq_datasheet_result){.page = ""};
    SQ_TRY(sq_check_dir(out_dir, err));
    sq_datasheet_slug(sheet->device.name, r.slug);
    snprintf(r.figures, sizeof r.figures, "%s/figures", out_dir);
    SQ_TRY(sq_make_dirs(r.figures, err));
    r.gnuplot = sq_gnuplot_find(gnuplot, result->note, sizeof result->note);
    sq_status status = render(&r, db, out_dir, err);
    sq_text_free(&r.page);
    free(r.gnuplot);
    return status;
}
