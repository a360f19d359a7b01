/* history_tables: the history in the forms of core/table. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "reports/history.h"

static bool is_for_people(sq_format format)
{
    return format == SQ_FORMAT_TABLE || format == SQ_FORMAT_MD;
}

static void add_commit(sq_table *table, const sq_history_campaign *c)
{
    char text[16];
    snprintf(text, sizeof text, "%.10s%s", c->commit, c->is_dirty ? "+" : "");
    sq_table_text(table, text);
}

static void add_percent(sq_table *table, double ratio)
{
    char text[24];
    snprintf(text, sizeof text, "%+.2f", 100 * (ratio - 1));
    sq_table_text(table, isnan(ratio) ? "" : text);
}

static double level_of(const sq_history_series *s, const sq_history_night *night)
{
    return night->segment < 0 ? NAN : s->segment[night->segment].ns;
}

/* --- nights --- */

static const char *const night_columns[] = {"campaign",    "started UTC", "commit", "runs",
                                            "median us",   "lo us",       "hi us",  "level us",
                                            "over before", "remark",      NULL};

static const char *const night_fields[] = {
    "key",         "device",   "campaign", "suite",   "label",      "started_utc",
    "commit",      "is_dirty", "state",    "runs",    "status",     "median_ns",
    "lo_ns",       "hi_ns",    "track",    "segment", "segment_ns", "change",
    "over_before", "is_off",   "remark",   NULL};

static void add_night(sq_table *table, const sq_history *h, const sq_history_series *s, int i,
                      const char *remark)
{
    const sq_history_night *night = &s->night[i];
    const sq_history_campaign *c = &h->campaign[night->campaign];
    char uuid[9];
    snprintf(uuid, sizeof uuid, "%.8s", c->uuid);
    sq_table_text(table, uuid);
    sq_table_text(table, c->started);
    add_commit(table, c);
    sq_table_number(table, night->n, 4);
    sq_table_number(table, night->ns / 1e3, 5);
    sq_table_number(table, night->lo / 1e3, 5);
    sq_table_number(table, night->hi / 1e3, 5);
    sq_table_number(table, level_of(s, night) / 1e3, 5);
    sq_table_number(table, night->ns / sq_history_before(s, night), 4);
    sq_table_text(table, remark);
}

static void add_night_fields(sq_table *table, const sq_history *h, const sq_history_series *s,
                             int i, const char *remark)
{
    const sq_history_night *night = &s->night[i];
    const sq_history_campaign *c = &h->campaign[night->campaign];
    const sq_history_change *change = sq_history_begins(s, i);
    const char *const texts[] = {s->key,   s->device,  c->uuid,  c->suite,
                                 c->label, c->started, c->commit};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        sq_table_text(table, texts[k]);
    sq_table_number(table, c->is_dirty, 1);
    sq_table_text(table, c->state);
    sq_table_number(table, night->n, 4);
    sq_table_text(table, sq_run_status_name(night->status));
    const double numbers[] = {night->ns,
                              night->lo,
                              night->hi,
                              night->track,
                              night->segment < 0 ? (double)NAN : night->segment,
                              level_of(s, night),
                              change ? change->ratio : NAN,
                              night->ns / sq_history_before(s, night),
                              night->is_off};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        sq_table_number(table, numbers[k], 6);
    sq_table_text(table, remark);
}

static sq_status add_nights(sq_db *db, const sq_history *h, const sq_history_series *s,
                            bool is_brief, sq_table *table, sq_error *err)
{
    for (int i = 0; i < s->n_nights; i++) {
        sq_text remark = {.data = NULL};
        sq_status status = sq_history_remark(db, h, s, i, &remark, err);
        if (status == SQ_OK)
            (is_brief ? add_night : add_night_fields)(table, h, s, i,
                                                      remark.data ? remark.data : "");
        sq_text_free(&remark);
        SQ_TRY(status);
    }
    return SQ_OK;
}

/* --- changes --- */

static const char *const change_columns[] = {"first bad", "started UTC", "last good", "commits",
                                             "change %",  "from us",     "to us",     "kernels",
                                             "state",     NULL};

static void add_change(sq_table *table, const sq_history *h, const sq_history_series *s,
                       const sq_history_change *change)
{
    const sq_history_campaign *good = &h->campaign[sq_history_last_good(s, change)->campaign],
                              *bad = &h->campaign[sq_history_first_bad(s, change)->campaign];
    char commits[SQ_HISTORY_COMMITS], uuid[9];
    sq_history_commits(h, s, change, commits);
    snprintf(uuid, sizeof uuid, "%.8s", bad->uuid);
    sq_table_text(table, uuid);
    sq_table_text(table, bad->started);
    snprintf(uuid, sizeof uuid, "%.8s", good->uuid);
    sq_table_text(table, uuid);
    sq_table_text(table, commits);
    add_percent(table, change->ratio);
    sq_table_number(table, s->segment[change->before].ns / 1e3, 5);
    sq_table_number(table, s->segment[change->after].ns / 1e3, 5);
    sq_table_text(table, sq_history_kernels_word(change));
    sq_table_text(table, sq_history_state_word(change));
}

/* --- one cell --- */

/* Frees the table, which may be NULL: no memory. */
static sq_status render(sq_table *table, sq_format format, sq_text *out, sq_error *err)
{
    sq_status status = table ? sq_table_render(table, format, out) : SQ_OUT_OF_MEMORY;
    sq_table_free(table);
    return status == SQ_OK ? SQ_OK : sq_fail(err, status, "no memory for a table");
}

/* The nights of n series, one row each. */
static sq_status add_night_table(sq_db *db, const sq_history *h, const sq_history_series *s, int n,
                                 sq_format format, sq_text *out, sq_error *err)
{
    bool is_brief = is_for_people(format);
    sq_table *table = sq_table_new(is_brief ? night_columns : night_fields);
    sq_status status = SQ_OK;
    for (int i = 0; table && i < n && status == SQ_OK; i++)
        status = add_nights(db, h, &s[i], is_brief, table, err);
    if (status == SQ_OK)
        return render(table, format, out, err);
    sq_table_free(table);
    return status;
}

static sq_status add_changes(const sq_history *h, const sq_history_series *s, sq_format format,
                             sq_text *out, sq_error *err)
{
    if (s->n_changes == 0)
        return SQ_OK;
    sq_table *table = sq_table_new(change_columns);
    for (int i = 0; table && i < s->n_changes; i++)
        add_change(table, h, s, &s->change[i]);
    SQ_TRY(render(table, format, out, err));
    sq_text_add(out, "\n");
    return SQ_OK;
}

static void add_heading(const sq_history *h, const sq_history_series *s, sq_format format,
                        sq_text *out)
{
    char summary[SQ_HISTORY_SUMMARY];
    sq_text_add(out, format == SQ_FORMAT_MD ? "## " : "");
    (format == SQ_FORMAT_MD ? sq_text_add_md : sq_text_add_plain)(out, s->key);
    sq_text_add(out, format == SQ_FORMAT_MD ? "\n\n" : "\n");
    sq_history_summary(h, s, summary);
    (format == SQ_FORMAT_MD ? sq_text_add_md : sq_text_add_plain)(out, summary);
    sq_text_add(out, "\n\n");
}

static sq_status add_series(sq_db *db, const sq_history *h, const sq_history_series *s,
                            sq_format format, sq_text *out, sq_error *err)
{
    add_heading(h, s, format, out);
    SQ_TRY(add_changes(h, s, format, out, err));
    return add_night_table(db, h, s, 1, format, out, err);
}

static sq_status add_one_cell(sq_db *db, const sq_history *h, sq_format format, sq_text *out,
                              sq_error *err)
{
    if (!is_for_people(format))
        return add_night_table(db, h, h->series, h->n_series, format, out, err);
    for (int i = 0; i < h->n_series; i++) {
        sq_text_add(out, i ? "\n" : "");
        SQ_TRY(add_series(db, h, &h->series[i], format, out, err));
    }
    return SQ_OK;
}

/* --- many cells --- */

static const char *const cell_columns[] = {"change %", "first bad", "started UTC", "commits",
                                           "kernels",  "state",     "changes",     "nights",
                                           "level us", "noise %",   "key",         NULL};

static const char *const cell_fields[] = {"key",
                                          "device",
                                          "nights",
                                          "timed",
                                          "tracks",
                                          "changes",
                                          "level_ns",
                                          "noise",
                                          "last_change",
                                          "first_bad_campaign",
                                          "first_bad",
                                          "first_bad_commit",
                                          "last_good_campaign",
                                          "last_good_commit",
                                          "is_new_code",
                                          "is_gone",
                                          NULL};

static void add_cell(sq_table *table, const sq_history *h, const sq_history_series *s)
{
    const sq_history_change *change = s->n_changes ? &s->change[s->n_changes - 1] : NULL;
    const sq_history_campaign *bad =
        change ? &h->campaign[sq_history_first_bad(s, change)->campaign] : NULL;
    char commits[SQ_HISTORY_COMMITS] = "", uuid[9] = "";
    if (change)
        sq_history_commits(h, s, change, commits);
    snprintf(uuid, sizeof uuid, "%.8s", bad ? bad->uuid : "");
    add_percent(table, change ? change->ratio : NAN);
    sq_table_text(table, uuid);
    sq_table_text(table, bad ? bad->started : "");
    sq_table_text(table, commits);
    sq_table_text(table, change ? sq_history_kernels_word(change) : "");
    sq_table_text(table, change ? sq_history_state_word(change) : "");
    sq_table_number(table, s->n_changes, 4);
    sq_table_number(table, s->n_timed, 4);
    sq_table_number(table, sq_history_level(s) / 1e3, 5);
    sq_table_number(table, 100 * s->deviation, 2);
    sq_table_text(table, s->key);
}

static void add_cell_fields(sq_table *table, const sq_history *h, const sq_history_series *s)
{
    const sq_history_change *change = s->n_changes ? &s->change[s->n_changes - 1] : NULL;
    const sq_history_campaign *good = NULL, *bad = NULL;
    if (change) {
        good = &h->campaign[sq_history_last_good(s, change)->campaign];
        bad = &h->campaign[sq_history_first_bad(s, change)->campaign];
    }
    const double numbers[] = {s->n_nights,
                              s->n_timed,
                              s->n_tracks,
                              s->n_changes,
                              sq_history_level(s),
                              s->deviation,
                              change ? change->ratio : NAN};
    const char *const texts[] = {bad ? bad->uuid : "", bad ? bad->started : "",
                                 bad ? bad->commit : "", good ? good->uuid : "",
                                 good ? good->commit : ""};
    sq_table_text(table, s->key);
    sq_table_text(table, s->device);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sq_table_number(table, numbers[i], 6);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sq_table_text(table, texts[i]);
    sq_table_number(table, change ? change->has_new_code : NAN, 1);
    sq_table_number(table, change ? change->is_gone : NAN, 1);
}

static sq_status add_cells(const sq_history *h, sq_format format, sq_text *out, sq_error *err)
{
    bool is_brief = is_for_people(format);
    sq_table *table = sq_table_new(is_brief ? cell_columns : cell_fields);
    for (int i = 0; table && i < h->n_series; i++)
        (is_brief ? add_cell : add_cell_fields)(table, h, &h->series[i]);
    return render(table, format, out, err);
}

/* --- the whole --- */

static void add_notes(const sq_history *h, sq_text *notes)
{
    int changed = 0, broken = 0;
    for (int i = 0; i < h->n_series; i++) {
        changed += h->series[i].n_changes > 0;
        broken += h->series[i].n_tracks > 1;
    }
    sq_text_printf(notes, "%d cell%s in %d campaign%s, %d with a change of level\n", h->n_series,
                   h->n_series == 1 ? "" : "s", h->n_campaigns, h->n_campaigns == 1 ? "" : "s",
                   changed);
    if (broken)
        sq_text_printf(notes,
                       "%d of them stood on different things (remarks say which): nights on either "
                       "side are not joined; --across joins them\n",
                       broken);
    for (int i = 0; i < h->n_campaigns; i++)
        if (h->campaign[i].is_set_back)
            sq_text_printf(notes,
                           "the clock was set back before campaign %.8s (%s): it stays where it "
                           "was taken\n",
                           h->campaign[i].uuid, h->campaign[i].started);
}

sq_status sq_history_table(sq_db *db, const sq_history *history, bool is_one_cell, sq_format format,
                           sq_text *out, sq_text *notes, sq_error *err)
{
    SQ_TRY(is_one_cell ? add_one_cell(db, history, format, out, err)
                       : add_cells(history, format, out, err));
    add_notes(history, notes);
    if (out->is_failed || notes->is_failed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the history");
    return SQ_OK;
}
