/* profile_page: the profile of one run as one HTML file. Every text of the store goes through
 * sq_text_add_html. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/files.h"
#include "reports/gnuplot.h"
#include "reports/page.h"
#include "reports/profile_data.h"

static const char links[] =
    "<a href=\"#verdict\">Verdict</a> <a href=\"#kernels\">Kernels</a> "
    "<a href=\"#ceilings\">Ceilings</a> <a href=\"#roofline\">Roofline</a> "
    "<a href=\"#instructions\">Instructions</a> <a href=\"#stalls\">Stalls</a> "
    "<a href=\"#values\">All values</a>";

static void add_paragraph(sq_text *page, const char *class, const char *text)
{
    if (!*text)
        return;
    sq_text_printf(page, "<p class=\"%s\">", class);
    sq_text_add_html(page, text);
    sq_text_add(page, "</p>\n");
}

static void begin_section(sq_text *page, const char *id, const char *title)
{
    sq_text_printf(page, "<section id=\"%s\">\n<h2>%s</h2>\n", id, title);
}

static void end_section(sq_text *page)
{
    sq_text_add(page, "</section>\n");
}

/* A cell with a percentage and its bar; `mark`: lines at the verdict's thresholds. */
static void add_bar(sq_text *page, double pct, const char *class)
{
    if (isnan(pct)) {
        sq_text_add(page, "<td class=\"absent\">absent</td><td></td>");
        return;
    }
    sq_text_printf(page,
                   "<td class=\"number\">%.1f %%</td><td class=\"bar %s\"><span><i "
                   "style=\"width:%.1f%%\"></i></span></td>",
                   pct, class, fmin(fmax(pct, 0), 100));
}

/* --- head --- */

static void add_facts(const sq_profile *p, sq_text *page)
{
    sq_text_add(page, "<dl class=\"facts\">\n");
    for (int i = 0; i < p->n_facts; i++) {
        const char *text = p->fact[i].text;
        sq_text_add(page, "<div><dt>");
        sq_text_add_html(page, p->fact[i].name);
        sq_text_add(page, *text ? "</dt><dd>" : "</dt><dd class=\"unknown\">");
        sq_text_add_html(page, *text ? text : "unknown");
        sq_text_add(page, "</dd></div>\n");
    }
    sq_text_add(page, "</dl>\n");
}

static void add_head(const sq_profile *p, const char *note, sq_text *page)
{
    char text[900];
    add_paragraph(page, "cell", p->key);
    sq_text_add(page, "<p><span class=\"status ");
    sq_text_add_html(page, p->status);
    sq_text_add(page, "\">");
    sq_text_add_html(page, p->status);
    sq_text_add(page, "</span> ");
    sq_profile_time_text(p, text, sizeof text);
    sq_text_add_html(page, text);
    sq_text_add(page, ". Proved: ");
    sq_profile_proof_text(p, text, sizeof text);
    sq_text_add_html(page, text);
    sq_text_add(page, ".</p>\n");
    if (*p->reason && p->median_ns > 0)
        add_paragraph(page, "note", p->reason);
    add_paragraph(page, "note", note);
}

/* --- verdict --- */

static void add_verdict(const sq_model *m, sq_text *page)
{
    const sq_evidence *e = &m->evidence;
    begin_section(page, "verdict", "Verdict");
    sq_text_printf(page, "<div class=\"verdict %s\">\n", sq_verdict_kind_name(m->verdict.kind));
    add_paragraph(page, "words", m->verdict.words);
    sq_text_add(page, "<table class=\"bars\"><tbody>\n");
    for (int i = 0; i < SQ_LIMITS; i++) {
        sq_text_add(page, i == m->verdict.limit ? "<tr class=\"limit\">" : "<tr>");
        sq_text_printf(page, "<th scope=\"row\">%s</th>", sq_limit_name((sq_limit)i));
        add_bar(page, e->use_pct[i], "marked");
        sq_page_text(page, "quiet", isnan(e->use_pct[i]) && e->absent[i] ? e->absent[i] : "");
        sq_text_add(page, "</tr>\n");
    }
    sq_text_printf(page,
                   "</tbody></table>\n<p class=\"quiet\">Percent of peak by counters. At %d %% "
                   "(solid line) a unit binds; where none reaches %d %% (dotted), latency "
                   "does.</p>\n</div>\n",
                   SQ_VERDICT_BOUND_PCT, SQ_VERDICT_BUSY_PCT);
    end_section(page);
}

/* --- kernels --- */

static void add_kernel(const sq_profile *p, const sq_profile_kernel *k, sq_text *page)
{
    char text[96];
    sq_kernel_short_name(k->name, text, sizeof text);
    sq_text_add(page, "<tr><th scope=\"row\"><code title=\"");
    sq_text_add_html(page, k->name);
    sq_text_add(page, "\">");
    sq_text_add_html(page, text);
    sq_text_add(page, "</code></th>");
    add_bar(page, 100 * k->ns / p->kernel_ns, "");
    sq_format_ns(k->ns, text, sizeof text);
    sq_page_text(page, "number", text);
    sq_text_printf(page, "<td class=\"number\">%d</td>", k->launches);
    sq_page_text(page, "number", k->grid);
    sq_page_text(page, "number", k->block);
    sq_text_printf(page, "<td class=\"number\">%d</td>", k->registers);
    sq_format_bytes(k->shared_bytes, text, sizeof text);
    sq_page_text(page, "number", text);
    sq_text_add(page, "</tr>\n");
}

static void add_kernels(const sq_profile *p, sq_text *page)
{
    char text[600];
    begin_section(page, "kernels", "Where the time goes");
    if (p->n_kernels)
        sq_text_add(page, "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th>Kernel</th>"
                          "<th colspan=\"2\">Share</th><th class=\"number\">Time</th><th "
                          "class=\"number\">Launches</th><th class=\"number\">Grid</th>"
                          "<th class=\"number\">Block</th><th class=\"number\">Registers</th><th "
                          "class=\"number\">Shared memory</th></tr></thead>\n"
                          "<tbody>\n");
    for (int i = 0; i < p->n_kernels; i++)
        add_kernel(p, &p->kernel[i], page);
    if (p->n_kernels)
        sq_text_add(page, "</tbody></table></div>\n");
    sq_profile_gap_text(p, text, sizeof text);
    add_paragraph(page, p->n_kernels ? "quiet" : "empty", text);
    double lost = sq_profile_number(p, "kernels_lost", NULL);
    if (lost > 0)
        sq_text_printf(page, "<p class=\"note\">%.0f kernels are missing from the trace.</p>\n",
                       lost);
    end_section(page);
}

/* --- ceilings --- */

static void add_quantity(sq_text *page, double value, const char *unit)
{
    char number[32];
    sq_format_quantity(value, number);
    if (isnan(value))
        sq_text_add(page, "<td></td>");
    else
        sq_text_printf(page, "<td class=\"number\">%s %s</td>", number, unit);
}

static void add_uses(const sq_model *m, sq_text *page)
{
    begin_section(page, "ceilings", "Percent of each ceiling");
    sq_text_add(page, "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th>Resource</th>"
                      "<th colspan=\"2\">Used</th><th class=\"number\">Achieved</th><th "
                      "class=\"number\">Ceiling</th><th>Of what</th>"
                      "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < SQ_USES; i++) {
        const sq_use *use = &m->use[i];
        sq_text_printf(page, "<tr><th scope=\"row\">%s</th>", use->name);
        add_bar(page, use->pct, "");
        add_quantity(page, use->achieved, use->unit);
        add_quantity(page, use->ceiling, use->unit);
        sq_page_text(page, "quiet", use->basis);
        sq_text_add(page, "</tr>\n");
    }
    sq_text_add(page, "</tbody></table></div>\n<p class=\"quiet\">Achieved: counted work over the "
                      "time by events. A ceiling is what this device reached itself, where "
                      "<code>seqmark characterize</code> or a campaign measured it.</p>\n");
    end_section(page);
}

/* --- roofline --- */

static sq_status add_figure(const char *title, const char *dir, const char *hash, const char *id,
                            bool is_drawn, const char *caption, sq_text *page, sq_error *err)
{
    char svg[SQ_PATH_ROOM + 128];
    if (is_drawn) {
        snprintf(svg, sizeof svg, "%s/%s.svg", dir, id);
        sq_text_add(page, "<figure><div class=\"scroll picture\" tabindex=\"0\">\n");
        SQ_TRY(sq_page_picture(title, svg, page, err));
        sq_text_add(page, "</div><figcaption>");
        sq_text_add_html(page, caption);
        sq_text_printf(page,
                       " <span class=\"files\"><a href=\"%s/%s.svg\">SVG</a> <a "
                       "href=\"%s/%s.png\">PNG</a> <a href=\"%s/%s.gp\">script</a></span>"
                       "</figcaption></figure>\n",
                       hash, id, hash, id, hash, id);
    } else {
        add_paragraph(page, "quiet", caption);
    }
    return SQ_OK;
}

static void add_level(const sq_level *level, sq_text *page)
{
    char text[64];
    sq_text_printf(page, "<tr><th scope=\"row\">%s</th>", level->name);
    if (isnan(level->bytes)) {
        sq_text_add(page, "<td class=\"absent\">absent</td><td></td><td></td>");
    } else {
        sq_format_bytes(level->bytes, text, sizeof text);
        sq_page_text(page, "number", text);
        add_quantity(page, level->intensity, "");
        add_quantity(page, level->gbytes_per_s, "GB/s");
    }
    add_quantity(page, level->roof_gbytes_per_s, "GB/s");
    sq_page_text(page, "quiet",
                 *level->absent ? level->absent
                 : *level->roof ? level->roof
                                : "no roof measured");
    sq_text_add(page, "</tr>\n");
}

static sq_status add_roofline(const sq_profile *p, const sq_model *m, sq_plotter *plotter,
                              sq_text *page, sq_error *err)
{
    bool is_drawn;
    SQ_TRY(sq_plot_roofline(plotter, p, m, &is_drawn, err));
    begin_section(page, "roofline", "Hierarchical roofline");
    SQ_TRY(add_figure("Hierarchical roofline", plotter->dir, p->hash, "roofline", is_drawn,
                      "One point a memory level: the same rate over the bytes that moved there. "
                      "The dotted line is what is left to the level's roof; a point left of the "
                      "ring moved more than the compulsory bytes. Flops are compulsory ones.",
                      page, err));
    sq_text_add(page, "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th>Level</th>"
                      "<th class=\"number\">Bytes moved</th><th class=\"number\">Flops per "
                      "byte</th><th class=\"number\">Rate</th><th class=\"number\">Roof</th>"
                      "<th>Of what</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < SQ_LEVELS; i++)
        add_level(&m->level[i], page);
    sq_text_add(page, "</tbody></table></div>\n");
    end_section(page);
    return SQ_OK;
}

/* --- instructions, stalls --- */

static void add_shares(const char *id, const char *title, const char *whole, const sq_share *share,
                       int n, sq_text *page)
{
    sq_text absent = {0};
    bool is_any = false;
    begin_section(page, id, title);
    for (int i = 0; i < n; i++) {
        if (isnan(share[i].pct))
            continue;
        if (!is_any)
            sq_text_add(page, "<table class=\"bars\"><tbody>\n");
        is_any = true;
        sq_text_add(page, "<tr><th scope=\"row\">");
        sq_text_add_html(page, share[i].name);
        sq_text_add(page, "<small>");
        sq_text_add_html(page, share[i].meaning ? share[i].meaning : "");
        sq_text_add(page, "</small></th>");
        add_bar(page, share[i].pct, "");
        sq_text_add(page, "</tr>\n");
    }
    sq_text_add(page, is_any ? "</tbody></table>\n" : "");
    sq_share_absent_text(share, n, &absent);
    add_paragraph(page, "quiet", is_any ? whole : n ? "" : "None was counted.");
    add_paragraph(page, "quiet", absent.data ? absent.data : "");
    sq_text_free(&absent);
    end_section(page);
}

/* --- numbers over time --- */

static sq_status write_csv(const char *dir, const char *name, const sq_curve *series, sq_error *err)
{
    sq_text csv = {0};
    sq_table *table = sq_curve_table(series);
    sq_status status = table ? sq_table_render(table, SQ_FORMAT_CSV, &csv) : SQ_OUT_OF_MEMORY;
    if (status == SQ_OK)
        status = sq_write_file(dir, name, csv.data ? csv.data : "", err);
    sq_table_free(table);
    sq_text_free(&csv);
    return status;
}

static sq_status add_series(const sq_profile *p, const char *id, const char *title,
                            const char *words, const sq_curve *series, sq_plotter *plotter,
                            sq_text *page, sq_error *err)
{
    bool is_drawn;
    char csv[64];
    snprintf(csv, sizeof csv, "%s.csv", id);
    SQ_TRY(sq_plot_curve(plotter, id, title, p, series, &is_drawn, err));
    begin_section(page, id, title);
    add_paragraph(page, "words", words);
    if (series->n_rows) {
        SQ_TRY(write_csv(plotter->dir, csv, series, err));
        SQ_TRY(add_figure(title, plotter->dir, p->hash, id, is_drawn, "", page, err));
        sq_text_printf(page, "<p class=\"quiet\"><a href=\"%s/%s\">%d rows as csv</a></p>\n",
                       p->hash, csv, series->n_rows);
    }
    end_section(page);
    return SQ_OK;
}

static sq_status add_all_series(const sq_profile *p, const sq_profile_options *o,
                                sq_plotter *plotter, sq_text *page, sq_error *err)
{
    char text[900];
    if (o->sustain) {
        sq_curve_sustain_text(p, o->sustain, text, sizeof text);
        SQ_TRY(
            add_series(p, "sustain", "Burst and sustained", text, o->sustain, plotter, page, err));
    }
    if (o->timeline) {
        sq_curve_timeline_text(p, o->timeline, text, sizeof text);
        SQ_TRY(add_series(p, "timeline", "Timeline", text, o->timeline, plotter, page, err));
    }
    return SQ_OK;
}

/* --- all values --- */

static void add_value(const sq_profile_value *v, sq_text *page)
{
    sq_text_add(page, "<tr><th scope=\"row\"><span title=\"");
    sq_text_add_html(page, v->source);
    sq_text_add(page, "\">");
    sq_text_add_html(page, v->of.metric);
    sq_text_add(page, "</span></th>");
    sq_page_number(page, v->of.value);
    sq_page_text(page, "", v->unit);
    sq_page_number(page, v->of.n);
    sq_page_number(page, 100 * v->of.spread);
    sq_page_number(page, v->of.sm_mhz);
    sq_page_text(page, strcmp(v->of.validity, "ok") ? "absent" : "", v->of.validity);
    sq_page_text(page, "quiet", v->doc);
    sq_text_add(page, "</tr>\n");
}

static void add_values(const sq_profile *p, sq_text *page)
{
    static const char *const heads[] = {"metric",     "value",          "unit",     "repeats",
                                        "spread (%)", "SM clock (MHz)", "validity", "what it is"};
    begin_section(page, "values", "All values");
    if (!p->n_values) {
        sq_text_add(page, "<p class=\"empty\">None is stored.</p>\n");
        end_section(page);
        return;
    }
    sq_page_begin_table(page, "values", "values", "dram bytes");
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        sq_page_column(page, heads[i], "", "");
    sq_text_add(page, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < p->n_values; i++)
        add_value(&p->value[i], page);
    sq_text_add(page, "</tbody></table></div>\n");
    end_section(page);
}

/* --- the whole --- */

static sq_status add_body(const sq_profile *p, const sq_model *m, const sq_profile_options *o,
                          sq_plotter *plotter, sq_text *page, sq_error *err)
{
    add_verdict(m, page);
    add_kernels(p, page);
    add_uses(m, page);
    SQ_TRY(add_roofline(p, m, plotter, page, err));
    sq_text_add(page, "<div class=\"pair\">\n");
    add_shares("instructions", "Instruction mix", "Percent of executed warp instructions, by pipe.",
               m->mix, m->n_mix, page);
    add_shares("stalls", "Stalls", "Percent of warp time, by what the warp waited for.", m->stall,
               m->n_stalls, page);
    sq_text_add(page, "</div>\n");
    SQ_TRY(add_all_series(p, o, plotter, page, err));
    begin_section(page, "facts", "Where and how");
    add_facts(p, page);
    end_section(page);
    add_values(p, page);
    return SQ_OK;
}

static sq_status write_page(const sq_profile *p, const sq_model *m, const sq_profile_options *o,
                            sq_plotter *plotter, sq_profile_result *result, sq_error *err)
{
    char name[SQ_HASH_TEXT + 8], title[256];
    sq_text page = {0}, body = {0};
    snprintf(name, sizeof name, "%s.html", p->hash);
    snprintf(title, sizeof title, "Profile of %.64s", p->subject);
    sq_status status = add_body(p, m, o, plotter, &body, err);
    if (status == SQ_OK) {
        snprintf(result->note, sizeof result->note, "%s", plotter->note);
        sq_page_begin(&page, title, links);
        add_head(p, plotter->note, &page);
        sq_text_add(&page, body.data ? body.data : "");
        sq_page_end(&page);
        status = page.is_failed || body.is_failed
                     ? sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the page")
                     : sq_write_file(o->out_dir, name, page.data, err);
    }
    sq_text_free(&page);
    sq_text_free(&body);
    return status;
}

static sq_status render(const sq_profile *p, const sq_profile_options *o, sq_profile_result *result,
                        sq_error *err)
{
    char dir[SQ_PATH_ROOM + 64];
    sq_plotter plotter = {.dir = dir};
    snprintf(dir, sizeof dir, "%s/%s", o->out_dir, p->hash);
    snprintf(result->page, sizeof result->page, "%s/%s.html", o->out_dir, p->hash);
    SQ_TRY(sq_make_dirs(dir, err));
    sq_model *model = malloc(sizeof *model);
    if (!model)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a profile");
    sq_model_of(p, model);
    char *gnuplot = sq_gnuplot_find(o->gnuplot, plotter.note, sizeof plotter.note);
    plotter.gnuplot = gnuplot;
    sq_status status = write_page(p, model, o, &plotter, result, err);
    free(gnuplot);
    free(model);
    return status;
}

sq_status sq_profile_render(sq_db *db, const sq_profile_options *options, sq_profile_result *result,
                            sq_error *err)
{
    sq_profile profile;
    *result = (sq_profile_result){.page = ""};
    SQ_TRY(sq_check_dir(options->out_dir, err));
    sq_status status = sq_profile_read(db, options->run_id, &profile, err);
    if (status == SQ_OK)
        status = render(&profile, options, result, err);
    sq_profile_free(&profile);
    return status;
}
