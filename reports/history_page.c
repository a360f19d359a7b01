/* history_page: the history as one HTML file. Every text of the store goes through sq_text_add_html.
 */
#include "reports/history_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/files.h"
#include "reports/page.h"

static const char links[] = "<a href=\"#summary\">Summary</a> <a href=\"#cells\">Cells</a> <a "
                            "href=\"#campaigns\">Campaigns</a> "
                            "<a href=\"#reading\">How to read this</a>";

/* More than these are drawn small only, without a table of their nights. */
enum { DRAWN_LARGE = 12 };

static void add_percent_cell(sq_text *page, double ratio)
{
    if (isnan(ratio)) {
        sq_text_add(page, "<td></td>");
        return;
    }
    sq_text_printf(page, "<td class=\"number %s\" data-value=\"%.9g\">%+.2f</td>",
                   ratio > 1 ? "slower" : "faster", ratio - 1, 100 * (ratio - 1));
}

static void add_commit(sq_text *page, const sq_history_campaign *c)
{
    char text[16];
    snprintf(text, sizeof text, "%.10s%s", c->commit, c->is_dirty ? "+" : "");
    sq_page_text(page, "key", text);
}

static void add_facts(const sq_history *h, sq_text *page)
{
    int changed = 0, changes = 0, broken = 0;
    char text[96];
    for (int i = 0; i < h->n_series; i++) {
        changed += h->series[i].n_changes > 0;
        changes += h->series[i].n_changes;
        broken += h->series[i].n_tracks > 1;
    }
    sq_text_add(page, "<section id=\"summary\">\n<h2>Summary</h2>\n<dl class=\"facts\">\n");
    snprintf(text, sizeof text, "%d, %.10s to %.10s", h->n_campaigns, h->campaign[0].started,
             h->campaign[h->n_campaigns - 1].started);
    sq_page_fact(page, "Campaigns", text);
    snprintf(text, sizeof text, "%d", h->n_series);
    sq_page_fact(page, "Cells", text);
    snprintf(text, sizeof text, "%d, in %d of the cells", changes, changed);
    sq_page_fact(page, "Changes of level", text);
    snprintf(text, sizeof text, "%d of the cells", broken);
    sq_page_fact(page, "Not joined throughout", text);
    sq_text_add(page, "</dl>\n</section>\n");
}

/* --- cells --- */

/* "attention@cuda/native/fwd/bf16/B=1,L=8/clean-cold,plain,unlocked" in its parts. */
typedef struct {
    char subject[SQ_KEY_MAX], how[SQ_KEY_MAX], shape[SQ_KEY_MAX], modes[SQ_KEY_MAX];
} key_parts;

static void cut_at_last(char *text, char separator, char *rest)
{
    char *at = strrchr(text, separator);
    strcpy(rest, at ? at + 1 : "");
    if (at)
        *at = 0;
}

static key_parts parts_of(const char *key)
{
    key_parts p;
    strcpy(p.subject, key);
    cut_at_last(p.subject, '/', p.modes);
    cut_at_last(p.subject, '/', p.shape);
    char *at = strchr(p.subject, '@');
    strcpy(p.how, at ? at + 1 : "");
    if (at)
        *at = 0;
    return p;
}

/* How many changes; all of them behind a fold where there are several. */
static void add_change_list(const sq_history *h, const sq_history_series *s, sq_text *page)
{
    sq_text_printf(page, "<td class=\"number\" data-value=\"%d\">", s->n_changes);
    if (s->n_changes < 2) {
        sq_text_printf(page, "%d</td>", s->n_changes);
        return;
    }
    sq_text_printf(page, "<details><summary>%d</summary>", s->n_changes);
    for (int i = s->n_changes - 1; i >= 0; i--) {
        const sq_history_change *change = &s->change[i];
        const sq_history_campaign *bad = &h->campaign[sq_history_first_bad(s, change)->campaign];
        char commits[SQ_HISTORY_COMMITS];
        sq_history_commits(h, s, change, commits);
        sq_text_add(page, "<div>");
        sq_text_add_html(page, bad->started);
        sq_text_printf(page, " %+.2f %% ", 100 * (change->ratio - 1));
        sq_text_add_html(page, commits);
        sq_text_add(page, "</div>");
    }
    sq_text_add(page, "</details></td>");
}

static void add_last_change(const sq_history *h, const sq_history_series *s, sq_text *page)
{
    if (s->n_changes == 0) {
        sq_text_add(page, "<td></td><td></td><td></td><td></td><td></td><td></td>");
        return;
    }
    const sq_history_change *change = &s->change[s->n_changes - 1];
    const sq_history_campaign *bad = &h->campaign[sq_history_first_bad(s, change)->campaign];
    char commits[SQ_HISTORY_COMMITS], uuid[9];
    sq_history_commits(h, s, change, commits);
    snprintf(uuid, sizeof uuid, "%.8s", bad->uuid);
    add_percent_cell(page, change->ratio);
    sq_page_text(page, "", bad->started);
    sq_page_text(page, "key", uuid);
    sq_page_text(page, "key", commits);
    sq_page_text(page, "", sq_history_kernels_word(change));
    sq_page_text(page, "", sq_history_state_word(change));
}

static void add_cell(const sq_history *h, const sq_history_series *s, sq_text *page)
{
    key_parts parts = parts_of(s->key);
    sq_text_add(page, "<tr><th scope=\"row\">");
    sq_text_add_html(page, parts.subject);
    sq_text_add(page, " <small>");
    sq_text_add_html(page, parts.how);
    sq_text_add(page, "</small><small class=\"cell\" title=\"");
    sq_text_add_html(page, parts.shape);
    sq_text_add(page, "\">");
    sq_text_add_html(page, parts.shape);
    sq_text_add(page, "</small></th><td>");
    sq_history_plot(h, s, false, page);
    sq_text_add(page, "</td>");
    sq_page_number(page, sq_history_level(s) / 1e3);
    add_last_change(h, s, page);
    add_change_list(h, s, page);
    sq_page_number(page, s->n_timed);
    sq_page_number(page, 100 * s->deviation);
    sq_page_text(page, "", parts.modes);
    sq_page_text(page, "", s->device);
    sq_text_add(page, "</tr>\n");
}

static void add_cells(const sq_history *h, sq_text *page)
{
    static const sq_page_head columns[] = {
        {"cell", "", "operator or model family, provider, pass, type and shape"},
        {"nights", "", "medians of the nights, levels (slower and faster ones coloured), changes"},
        {"level", "us", "of the newest segment"},
        {"last change", "%", "level after it over the level before it, less one"},
        {"first bad", "UTC", "start of the first campaign at the new level"},
        {"campaign", "", "the first at the new level"},
        {"commits", "", "last good .. first bad"},
        {"kernels", "", "whether the code that can run in the cell changed with it"},
        {"state", "", "went away: the level before came back"},
        {"changes", "", "all of them"},
        {"timed", "", "nights with a time"},
        {"noise", "%", "night to night, standard deviation"},
        {"modes", "", "cache, launch, clock"},
        {"device", "", ""},
    };
    sq_text_add(page, "<section id=\"cells\">\n<h2>Cells</h2>\n");
    sq_page_begin_table(page, "cells", "cells", "attention bf16 L=8192 stands");
    sq_page_columns(page, columns, sizeof columns / sizeof *columns);
    for (int i = 0; i < h->n_series; i++)
        add_cell(h, &h->series[i], page);
    sq_text_add(page, "</tbody></table></div>\n</section>\n");
}

/* --- nights of few cells --- */

static sq_status add_night(sq_db *db, const sq_history *h, const sq_history_series *s, int i,
                           sq_text *page, sq_error *err)
{
    const sq_history_night *night = &s->night[i];
    const sq_history_campaign *c = &h->campaign[night->campaign];
    char uuid[9];
    sq_text remark = {.data = NULL};
    sq_status status = sq_history_remark(db, h, s, i, &remark, err);
    snprintf(uuid, sizeof uuid, "%.8s", c->uuid);
    sq_text_add(page, "<tr>");
    sq_page_text(page, "", c->started);
    sq_page_text(page, "key", uuid);
    add_commit(page, c);
    sq_page_number(page, night->n);
    sq_page_number(page, night->ns / 1e3);
    sq_page_number(page, night->lo / 1e3);
    sq_page_number(page, night->hi / 1e3);
    add_percent_cell(page, night->ns / sq_history_before(s, night));
    sq_page_text(page, "", remark.data ? remark.data : "");
    sq_text_add(page, "</tr>\n");
    sq_text_free(&remark);
    return status;
}

static sq_status add_large(sq_db *db, const sq_history *h, int number, sq_text *page, sq_error *err)
{
    static const sq_page_head columns[] = {
        {"started", "UTC", ""},
        {"campaign", "", ""},
        {"commit", "", "+: the tree was changed"},
        {"runs", "", "replicates with a time"},
        {"median", "us", "of run medians"},
        {"lo", "us", "lower end of the 95 % interval"},
        {"hi", "us", "upper end of the 95 % interval"},
        {"over before", "%", "over the level of the segment before, less one"},
        {"remark", "", ""}};
    const sq_history_series *s = &h->series[number];
    char id[32], summary[SQ_HISTORY_SUMMARY];
    sq_history_summary(h, s, summary);
    sq_text_add(page, "<figure>\n<div class=\"chart\">");
    sq_history_plot(h, s, true, page);
    sq_text_add(page, "</div>\n<figcaption><span class=\"cell\">");
    sq_text_add_html(page, s->key);
    sq_text_add(page, "</span><br>");
    sq_text_add_html(page, summary);
    sq_text_add(page, ".</figcaption>\n</figure>\n");
    snprintf(id, sizeof id, "nights%d", number);
    sq_page_begin_table(page, id, "nights", "change");
    sq_page_columns(page, columns, sizeof columns / sizeof *columns);
    for (int i = s->n_nights - 1; i >= 0; i--)
        SQ_TRY(add_night(db, h, s, i, page, err));
    sq_text_add(page, "</tbody></table></div>\n");
    return SQ_OK;
}

static sq_status add_nights(sq_db *db, const sq_history *h, sq_text *page, sq_error *err)
{
    if (h->n_series > DRAWN_LARGE)
        return SQ_OK;
    sq_text_add(page, "<section id=\"nights\">\n<h2>Nights</h2>\n");
    for (int i = 0; i < h->n_series; i++)
        SQ_TRY(add_large(db, h, i, page, err));
    sq_text_add(page, "</section>\n");
    return SQ_OK;
}

/* --- campaigns --- */

/* How many cells became slower and faster with each campaign. */
typedef struct {
    int slower, faster;
} moved;

static moved *count_moved(const sq_history *h)
{
    moved *count = calloc((size_t)h->n_campaigns, sizeof *count);
    for (int i = 0; count && i < h->n_series; i++)
        for (int k = 0; k < h->series[i].n_changes; k++) {
            const sq_history_change *change = &h->series[i].change[k];
            moved *at = &count[sq_history_first_bad(&h->series[i], change)->campaign];
            at->slower += change->ratio > 1;
            at->faster += change->ratio <= 1;
        }
    return count;
}

static void add_campaign(const sq_history_campaign *c, moved m, sq_text *page)
{
    char uuid[9];
    snprintf(uuid, sizeof uuid, "%.8s", c->uuid);
    sq_text_add(page, "<tr>");
    sq_page_text(page, "", c->started);
    sq_page_text(page, "key", uuid);
    add_commit(page, c);
    sq_page_text(page, "", c->suite);
    sq_page_text(page, "", c->label);
    sq_page_text(page, "", c->state);
    sq_page_number(page, m.slower);
    sq_page_number(page, m.faster);
    sq_page_text(page, "", c->is_set_back ? "the clock was set back before it" : "");
    sq_text_add(page, "</tr>\n");
}

static sq_status add_campaigns(const sq_history *h, sq_text *page, sq_error *err)
{
    static const sq_page_head columns[] = {{"started", "", "by the clock, UTC"},
                                           {"campaign", "", ""},
                                           {"commit", "", "+: the tree was changed"},
                                           {"suite", "", ""},
                                           {"label", "", ""},
                                           {"state", "", ""},
                                           {"slower", "", "cells whose level rises with it"},
                                           {"faster", "", "cells whose level falls with it"},
                                           {"remark", "", ""}};
    moved *count = count_moved(h);
    if (!count)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the campaigns");
    sq_text_add(page, "<section id=\"campaigns\">\n<h2>Campaigns</h2>\n");
    sq_page_begin_table(page, "campaigns", "campaigns", "nightly");
    sq_page_columns(page, columns, sizeof columns / sizeof *columns);
    for (int i = h->n_campaigns - 1; i >= 0; i--)
        add_campaign(&h->campaign[i], count[i], page);
    sq_text_add(page, "</tbody></table></div>\n</section>\n");
    free(count);
    return SQ_OK;
}

/* --- the whole --- */

static const char reading[] =
    "<section id=\"reading\">\n<h2>How to read this</h2>\n"
    "<p>A night is the median of a cell's run medians in one campaign. Nights are cut into "
    "segments of "
    "at least three, each of one level (a thick line); a change is where one ends and the next "
    "begins: "
    "<span class=\"slower\">slower</span> or <span class=\"faster\">faster</span>. What is gone "
    "after "
    "one or two nights is no change. A dotted line: from there on another device model, driver, "
    "toolkit, "
    "timing method or policy; nights on either side are not joined. Campaigns stand in the order "
    "in "
    "which they were taken. At most one series in twenty that did not change shows a change "
    "(docs/methodology.md, History).</p>\n</section>\n";

static sq_status render(sq_db *db, const sq_history *h, const char *dir, sq_text *page,
                        sq_error *err)
{
    sq_page_begin(page, "seqmark history", links);
    add_facts(h, page);
    add_cells(h, page);
    SQ_TRY(add_nights(db, h, page, err));
    SQ_TRY(add_campaigns(h, page, err));
    sq_text_add(page, reading);
    sq_page_end(page);
    if (page->is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the page");
    return sq_write_file(dir, "history.html", page->data, err);
}

sq_status sq_history_page(sq_db *db, const sq_history *history, const char *dir,
                          char path[SQ_HISTORY_PATH], sq_error *err)
{
    sq_text page = {.data = NULL};
    SQ_TRY(sq_check_dir(dir, err));
    SQ_TRY(sq_make_dirs(dir, err));
    snprintf(path, SQ_HISTORY_PATH, "%s/history.html", dir);
    sq_status status = render(db, history, dir, &page, err);
    sq_text_free(&page);
    return status;
}
