/* verdicts: see the header. */
#include "db/verdicts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "db/store.h"

enum { KNOWN_VERDICTS = 200, SHOWN_VERDICTS = 8 };
/* DRAM bytes vary a little from night to night, and no count has an interval. */
static const double count_slack = 0.01;

/* --- judgings --- */

static sq_status put_gate_row(sq_db *db, const sq_gate *g, int64_t *id, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_PUT_GATE);
    sq_row_text(&row, g->uuid);
    sq_row_text(&row, g->campaign);
    sq_row_text(&row, g->baseline);
    sq_row_text(&row, g->baseline_name);
    sq_row_text(&row, g->rerun);
    sq_row_text(&row, g->baseline_rerun);
    sq_row_real(&row, g->judged);
    sq_row_text(&row, g->version);
    sq_row_text(&row, g->git_commit);
    sq_row_text(&row, g->settings);
    sq_row_count(&row, g->exit_code);
    sq_row_text(&row, g->why);
    sq_row_int(&row, g->sentinels);
    sq_row_int(&row, g->sentinel_alarms);
    sq_row_int(&row, g->controls);
    sq_row_real(&row, g->control_shift);
    sq_row_real(&row, g->control_lo);
    sq_row_real(&row, g->control_hi);
    return sq_row_run(&row, id, err);
}

static sq_status put_verdict(sq_db *db, int64_t gate_id, double judged, const sq_verdict *v,
                             sq_error *err)
{
    int64_t id;
    sq_row row = sq_row_new(db, SQ_SQL_PUT_VERDICT);
    sq_row_text(&row, v->uuid);
    sq_row_int(&row, gate_id);
    sq_row_text(&row, v->cell_key);
    sq_row_text(&row, v->metric);
    sq_row_text(&row, v->is_sentinel ? "sentinel" : "cell");
    sq_row_text(&row, v->verdict);
    const double numbers[] = {v->effect, v->effect_lo, v->effect_hi, v->p,
                              v->q,      v->floor,     v->detectable};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sq_row_real(&row, numbers[i]);
    sq_row_int(&row, v->n_baseline);
    sq_row_int(&row, v->n_night);
    sq_row_count(&row, v->n_wanted > 0 ? v->n_wanted : -1);
    sq_row_text(&row, v->confirmed);
    sq_row_text(&row, v->cause);
    sq_row_real(&row, judged);
    SQ_TRY(sq_row_run(&row, &id, err));
    return id ? SQ_OK : sq_fail(err, SQ_BAD_ARGUMENT, "%s: no cell %.300s", db->path, v->cell_key);
}

static sq_status put_all(sq_db *db, const sq_gate *gate, const sq_verdict *verdicts, int n,
                         sq_error *err)
{
    int64_t gate_id;
    SQ_TRY(put_gate_row(db, gate, &gate_id, err));
    if (!gate_id)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: no campaign %s or %s", db->path, gate->campaign,
                       gate->baseline);
    for (int i = 0; i < n; i++)
        SQ_TRY(put_verdict(db, gate_id, gate->judged, &verdicts[i], err));
    return SQ_OK;
}

sq_status sq_db_put_gate(sq_db *db, const sq_gate *gate, const sq_verdict *verdicts, int n,
                         sq_error *err)
{
    SQ_TRY(sq_db_begin(db, err));
    return sq_db_end(db, put_all(db, gate, verdicts, n, err), err);
}

/* --- answers --- */

const char *const sq_answer_kinds[] = {"expected", "accepted", "flake", NULL};

sq_status sq_db_resolve_verdict(sq_db *db, const char *text, char uuid[SQ_UUID_TEXT], sq_error *err)
{
    int n = 0;
    bool found;
    sq_text listed = {.data = NULL};
    uuid[0] = 0;
    if (!text[0])
        return sq_fail(err, SQ_BAD_ARGUMENT, "the name of the verdict is empty");
    sq_row row = sq_row_new(db, SQ_SQL_MATCH_VERDICT);
    sq_row_text(&row, text);
    sq_row_int(&row, SHOWN_VERDICTS);
    sq_status status = sq_row_step(&row, &found, err);
    for (; status == SQ_OK && found; n++) {
        if (n == 0)
            sq_row_copy(&row, 0, uuid, SQ_UUID_TEXT);
        sq_text_printf(&listed, "%s %s", n ? "," : "",
                       (const char *)sqlite3_column_text(row.stmt, 1));
        status = sq_row_step(&row, &found, err);
    }
    if (status == SQ_OK && n == 0)
        status =
            sq_db_fail_unknown(db, SQ_SQL_KNOWN_VERDICTS, KNOWN_VERDICTS, "verdict", text, err);
    if (status == SQ_OK && n > 1)
        status = sq_fail(err, SQ_BAD_ARGUMENT, "\"%s\" means more than one verdict:%s", text,
                         listed.data ? listed.data : "");
    if (status != SQ_OK)
        uuid[0] = 0;
    sq_text_free(&listed);
    return status;
}

sq_status sq_db_put_answer(sq_db *db, const char *verdict_uuid, const sq_answer *answer,
                           sq_error *err)
{
    char uuid[SQ_UUID_TEXT];
    int64_t id;
    SQ_TRY(sq_uuid_new(uuid, err));
    sq_row row = sq_row_new(db, SQ_SQL_PUT_ANSWER);
    sq_row_text(&row, uuid);
    sq_row_text(&row, verdict_uuid);
    sq_row_text(&row, answer->kind);
    sq_row_text(&row, answer->reason);
    sq_row_real(&row, answer->until);
    sq_row_text(&row, answer->author);
    sq_row_real(&row, answer->made);
    SQ_TRY(sq_row_run(&row, &id, err));
    return id ? SQ_OK
              : sq_fail(err, SQ_BAD_ARGUMENT, "verdict %.8s is no suspicion: nothing to answer",
                        verdict_uuid);
}

sq_status sq_db_find_answer(sq_db *db, const char *cell_key, const char *metric,
                            const char *failure, const char *baseline_uuid, double at,
                            sq_answer *out, bool *found, sq_error *err)
{
    sq_row row = sq_row_new(db, SQ_SQL_FIND_ANSWER);
    sq_row_text(&row, cell_key);
    sq_row_text(&row, metric);
    sq_row_text(&row, baseline_uuid);
    sq_row_real(&row, at);
    sq_row_text(&row, failure);
    SQ_TRY(sq_row_step(&row, found, err));
    if (!*found)
        return SQ_OK;
    sq_row_copy(&row, 0, out->kind, sizeof out->kind);
    sq_row_copy(&row, 1, out->reason, sizeof out->reason);
    sq_row_copy(&row, 2, out->author, sizeof out->author);
    out->made = sq_row_number(&row, 3);
    out->until = sq_row_number(&row, 4);
    out->effect = sq_row_number(&row, 5);
    out->effect_lo = sq_row_number(&row, 6);
    out->effect_hi = sq_row_number(&row, 7);
    sq_row_end(&row);
    return SQ_OK;
}

bool sq_answer_covers(const sq_answer *answer, double effect)
{
    if (strcmp(answer->kind, "flake") == 0 || isnan(answer->effect) || isnan(effect))
        return true;
    bool is_count = isnan(answer->effect_lo) || isnan(answer->effect_hi);
    double lo = is_count ? answer->effect - count_slack : answer->effect_lo;
    double hi = is_count ? answer->effect + count_slack : answer->effect_hi;
    double far = answer->effect > 0 ? fmax(answer->effect, hi) : fmin(answer->effect, lo);
    return answer->effect > 0 ? effect > 0 && effect <= far : effect < 0 && effect >= far;
}
