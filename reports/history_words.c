/* history_words: what is said of nights and of changes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "reports/history.h"
#include "reports/query.h"

const sq_history_night *sq_history_last_good(const sq_history_series *s,
                                             const sq_history_change *change)
{
    return &s->night[s->segment[change->before].last];
}

const sq_history_night *sq_history_first_bad(const sq_history_series *s,
                                             const sq_history_change *change)
{
    return &s->night[s->segment[change->after].first];
}

void sq_history_commits(const sq_history *h, const sq_history_series *s,
                        const sq_history_change *change, char out[SQ_HISTORY_COMMITS])
{
    const sq_history_campaign *good = &h->campaign[sq_history_last_good(s, change)->campaign],
                              *bad = &h->campaign[sq_history_first_bad(s, change)->campaign];
    snprintf(out, SQ_HISTORY_COMMITS, "%.10s%s..%.10s%s",
             good->commit[0] ? good->commit : "unknown", good->is_dirty ? "+" : "",
             bad->commit[0] ? bad->commit : "unknown", bad->is_dirty ? "+" : "");
}

double sq_history_before(const sq_history_series *s, const sq_history_night *night)
{
    int k = night->segment;
    if (k < 1 || s->segment[k - 1].track != night->track)
        return NAN;
    return s->segment[k - 1].ns;
}

double sq_history_level(const sq_history_series *s)
{
    int i = s->n_nights - 1;
    while (i >= 0 && s->night[i].segment < 0)
        i--;
    return i >= 0 ? s->segment[s->night[i].segment].ns : NAN;
}

const char *sq_history_kernels_word(const sq_history_change *change)
{
    return change->has_new_code ? "changed" : "the same";
}

const char *sq_history_state_word(const sq_history_change *change)
{
    return change->is_gone ? "went away" : "stands";
}

void sq_history_summary(const sq_history *h, const sq_history_series *s,
                        char out[SQ_HISTORY_SUMMARY])
{
    const sq_history_campaign *first = &h->campaign[s->night[0].campaign],
                              *last = &h->campaign[s->night[s->n_nights - 1].campaign];
    snprintf(out, SQ_HISTORY_SUMMARY,
             "%.128s: %d night%s with a time, %.10s to %.10s, noise %.2g %% a night, %d change%s",
             s->device, s->n_timed, s->n_timed == 1 ? "" : "s", first->started, last->started,
             100 * s->deviation, s->n_changes, s->n_changes == 1 ? "" : "s");
}

static void separate(sq_text *out)
{
    if (out->length)
        sq_text_add(out, "; ");
}

const sq_history_change *sq_history_begins(const sq_history_series *s, int night)
{
    for (int i = 0; i < s->n_changes; i++)
        if (s->segment[s->change[i].after].first == night)
            return &s->change[i];
    return NULL;
}

/* The night before stands on something else: every such field. */
static sq_status add_break(sq_db *db, const sq_history *h, const sq_history_series *s, int night,
                           sq_text *out, sq_error *err)
{
    if (night == 0 || s->night[night].ground == s->night[night - 1].ground)
        return SQ_OK;
    const sq_footing *a = &h->ground[s->night[night - 1].ground],
                     *b = &h->ground[s->night[night].ground];
    bool is_joined = s->night[night - 1].track == s->night[night].track;
    sq_across known = 0;
    for (;;) {
        sq_join field = sq_footing_differs(a, b, known);
        if (field == SQ_JOIN_GROUND)
            return SQ_OK;
        separate(out);
        SQ_TRY(sq_footing_describe(db, a, b, field, out, err));
        sq_text_add(out, is_joined ? " (joined)" : "");
        known |= 1u << field;
    }
}

/* --- what may differ and is told --- */

/* The card and the rest of the environment; what is in a footing is told as a break. */
static const char surroundings_sql[] =
    "SELECT d.uuid AS card, e.cublas, e.cufft, e.cudnn, e.cupti, e.compiler, e.flags, e.host, "
    "e.kernel, e.os, e.cpu, e.ecc, e.mig, e.power_limit_w AS \"power limit\" "
    "FROM environment e JOIN device d ON d.device_id = ?2 WHERE e.env_id = ?1";

static sq_status find_surroundings(const sq_scope *scope, const sq_history_night *night,
                                   sqlite3_stmt **row, bool *has_row, sq_error *err)
{
    SQ_TRY(sq_query_plain(scope, surroundings_sql, row, err));
    sqlite3_bind_int64(*row, 1, night->env_id);
    sqlite3_bind_int64(*row, 2, night->device_id);
    return sq_query_step(scope, *row, has_row, err);
}

static void tell_differences(sqlite3_stmt *a, sqlite3_stmt *b, sq_text *out)
{
    for (int i = 0; i < sqlite3_column_count(a); i++) {
        const char *x = sq_query_text(a, i), *y = sq_query_text(b, i);
        if (strcmp(x, y) == 0)
            continue;
        separate(out);
        sq_text_printf(out, "%s: %s and %s", sqlite3_column_name(a, i), *x ? x : "unknown",
                       *y ? y : "unknown");
    }
}

static sq_status add_surroundings(sq_db *db, const sq_history_series *s, int night, sq_text *out,
                                  sq_error *err)
{
    const sq_history_night *at = &s->night[night], *before = night > 0 ? at - 1 : at;
    const sq_scope scope = {db, NULL};
    sqlite3_stmt *a = NULL, *b = NULL;
    bool has_a = false, has_b = false;
    if (at->env_id == before->env_id && at->device_id == before->device_id)
        return SQ_OK;
    sq_status status = find_surroundings(&scope, before, &a, &has_a, err);
    if (status == SQ_OK)
        status = find_surroundings(&scope, at, &b, &has_b, err);
    if (has_a && has_b)
        tell_differences(a, b, out);
    sqlite3_finalize(a);
    sqlite3_finalize(b);
    return status;
}

sq_status sq_history_remark(sq_db *db, const sq_history *h, const sq_history_series *s, int night,
                            sq_text *out, sq_error *err)
{
    const sq_history_night *n = &s->night[night];
    const sq_history_campaign *c = &h->campaign[n->campaign];
    const sq_history_change *change = sq_history_begins(s, night);
    if (change)
        sq_text_printf(out, "change %+.2f %%", 100 * (change->ratio - 1));
    SQ_TRY(add_break(db, h, s, night, out, err));
    SQ_TRY(add_surroundings(db, s, night, out, err));
    if (n->n == 0) {
        separate(out);
        sq_text_add(out, sq_run_status_name(n->status));
    }
    if (n->is_off) {
        separate(out);
        sq_text_add(out, "off the level");
    }
    if (c->is_set_back) {
        separate(out);
        sq_text_add(out, "the clock was set back before it");
    }
    if (strcmp(c->state, "finished") != 0) {
        separate(out);
        sq_text_add(out, c->state);
    }
    return SQ_OK;
}
