/* gate_rows: a gate as rows of the store. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host.h"
#include "db/gates.h"
#include "db/verdicts.h"
#include "reports/gated.h"

enum { NIGHTS = 30 };

static double fraction(double difference)
{
    return expm1(difference); /* NAN stays */
}

static void take_counts(sq_verdict *v, const sq_gate_row *row)
{
    v->n_baseline = row->baseline ? row->baseline->n_timed : 0;
    v->n_night = row->night ? row->night->n_timed : 0;
}

static sq_verdict verdict_of_test(const sq_gate_row *row, int quantity, bool is_sentinel)
{
    const sq_night_test *t = &row->result.test[quantity];
    sq_verdict v = {.is_sentinel = is_sentinel,
                    .metric = sq_gate_quantity(quantity),
                    .effect = fraction(t->change.estimate),
                    .effect_lo = fraction(t->change.lo),
                    .effect_hi = fraction(t->change.hi),
                    .p = t->p,
                    .q = t->q,
                    .floor = fraction(t->floor),
                    .detectable = fraction(t->detectable),
                    .n_wanted = t->replicates};
    take_counts(&v, row);
    return v;
}

static sq_verdict verdict_of_count(const sq_gate_row *row, int quantity)
{
    double change =
        quantity < SQ_NIGHT_QUANTITIES ? row->result.counted[quantity - SQ_NIGHT_TESTS] : NAN;
    sq_verdict v = {.metric = sq_gate_quantity(quantity),
                    .effect = fraction(change),
                    .effect_lo = NAN,
                    .effect_hi = NAN,
                    .p = NAN,
                    .q = NAN,
                    .floor = NAN,
                    .detectable = NAN};
    take_counts(&v, row);
    return v;
}

/* The verdict of one quantity: the cell's, or what the quantity's own test says. */
static const char *name_of(const sq_gate_row *row, int quantity)
{
    if (row->result.verdict <= SQ_NIGHT_NOT_COMPARED || quantity == SQ_GATE_FAILING)
        return sq_night_verdict_name(row->result.verdict);
    if (quantity >= SQ_NIGHT_TESTS)
        return sq_night_verdict_name(SQ_NIGHT_SUSPECT_LARGER);
    if (row->standing[quantity] != SQ_STANDING_NONE)
        return sq_night_verdict_name(SQ_NIGHT_SUSPECT_SLOWER);
    if (quantity == SQ_NIGHT_TIME && row->result.verdict == SQ_NIGHT_CLOCKS_POWER)
        return sq_night_verdict_name(SQ_NIGHT_CLOCKS_POWER);
    return sq_night_verdict_name(sq_night_verdict_of(row->result.test[quantity].finding));
}

/* Time is kept of every cell that has it; other quantities where they say something. */
static bool is_kept(const sq_gate_row *row, int quantity)
{
    bool has_result = row->result.verdict <= SQ_NIGHT_NOT_COMPARED;
    if (quantity == SQ_GATE_FAILING)
        return has_result;
    if (has_result)
        return false;
    if (quantity == SQ_NIGHT_TIME || row->standing[quantity] != SQ_STANDING_NONE)
        return true;
    sq_finding finding =
        quantity < SQ_NIGHT_TESTS ? row->result.test[quantity].finding : SQ_FINDING_NONE;
    return finding == SQ_FINDING_SLOWER || finding == SQ_FINDING_FASTER;
}

static int add_row(const sq_gate_row *row, bool is_sentinel, sq_verdict *out)
{
    int n = 0;
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++) {
        if (!row->night || !is_kept(row, i) || (is_sentinel && i != SQ_NIGHT_TIME))
            continue;
        sq_verdict v =
            i < SQ_NIGHT_TESTS ? verdict_of_test(row, i, is_sentinel) : verdict_of_count(row, i);
        v.cell_key = row->night->key;
        v.verdict = name_of(row, i);
        v.confirmed = sq_standing_name(row->standing[i]);
        v.cause = row->cause;
        out[n++] = v;
    }
    return n;
}

static sq_status name_all(sq_verdict *verdict, int n, sq_error *err)
{
    for (int i = 0; i < n; i++)
        SQ_TRY(sq_uuid_new(verdict[i].uuid, err));
    return SQ_OK;
}

sq_status sq_gate_take_up(sq_judging *gate, sq_db *db, sq_error *err)
{
    sq_db_judged pending;
    bool found;
    SQ_TRY(sq_db_find_gate(db, gate->options.night, gate->options.baseline, true, &pending, &found,
                           err));
    memcpy(gate->uuid, pending.uuid, sizeof gate->uuid);
    memcpy(gate->reruns.night, pending.rerun, sizeof gate->reruns.night);
    memcpy(gate->reruns.baseline, pending.baseline_rerun, sizeof gate->reruns.baseline);
    return SQ_OK;
}

static char *write_settings(const sq_judging *gate)
{
    const sq_night_policy *p = &gate->policy;
    sq_text text = {.data = NULL};
    sq_text_printf(
        &text,
        "{\"by\": \"%s\", \"q\": %g, \"min_effect\": %g, \"setup_min_effect\": %g, \"margin\": %g, "
        "\"inconclusive_limit\": %g, \"min_replicates\": %d, \"blocks\": %d, "
        "\"allow_failed\": %d, \"across\": \"",
        gate->options.is_nightly ? "nightly" : "gate", p->q, p->min_effect, p->setup_min_effect,
        p->margin, p->inconclusive_limit, p->min_replicates, p->blocks_more,
        gate->options.allow_failed);
    sq_text_add_json(&text, gate->crossed.data ? gate->crossed.data : "");
    sq_text_add(&text, "\"}");
    if (text.is_failed)
        sq_text_free(&text);
    return text.data;
}

static sq_gate row_of(const sq_judging *gate, bool is_final, const char *settings)
{
    sq_gate_end end = sq_gate_conclude(gate);
    const sq_interval *shift = &gate->summary.control_shift;
    sq_gate g = {.judged = sq_wall_seconds(),
                 .version = gate->options.version,
                 .git_commit = gate->options.git_commit,
                 .settings = settings,
                 .exit_code = is_final ? end.code : -1,
                 .sentinels = gate->asked,
                 .sentinel_alarms = gate->alarms,
                 .controls = gate->summary.controls,
                 .control_shift = fraction(shift->estimate),
                 .control_lo = fraction(shift->lo),
                 .control_hi = fraction(shift->hi)};
    memcpy(g.uuid, gate->uuid, sizeof g.uuid);
    memcpy(g.campaign, gate->options.night, sizeof g.campaign);
    memcpy(g.baseline, gate->options.baseline, sizeof g.baseline);
    memcpy(g.rerun, gate->reruns.night, sizeof g.rerun);
    memcpy(g.baseline_rerun, gate->reruns.baseline, sizeof g.baseline_rerun);
    snprintf(g.baseline_name, sizeof g.baseline_name, "%s", gate->options.baseline_name);
    snprintf(g.why, sizeof g.why, "%s", end.why);
    return g;
}

static sq_status read_last(sq_judging *gate, sq_db *db, sq_error *err)
{
    sq_db_sentinels last;
    SQ_TRY(sq_db_last_sentinels(db, gate->night.suite, gate->options.night, NIGHTS, &last, err));
    gate->last.nights = last.nights;
    gate->last.sentinels = last.sentinels;
    gate->last.alarms = last.alarms;
    return SQ_OK;
}

static void take_name(sqlite3_stmt *row, sq_gate_row *out)
{
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        if (strcmp(sq_query_text(row, 2), sq_gate_quantity(i)) == 0)
            sq_query_copy(row, 1, out->name[i], sizeof out->name[i]);
}

/* What the store has of tonight's suspects: `sql` gives rows that begin with a cell's id, for a gate. */
static sq_status take_suspects(sq_judging *gate, sq_db *db, const char *sql,
                               void (*take)(sqlite3_stmt *stored, sq_gate_row *row), sq_error *err)
{
    const sq_scope scope = {db, gate->uuid};
    sqlite3_stmt *row = NULL;
    bool has_row = true;
    sq_status s = sq_query_plain(&scope, sql, &row, err);
    while (s == SQ_OK && (s = sq_query_step(&scope, row, &has_row, err)) == SQ_OK && has_row)
        for (int i = 0; i < gate->n_rows; i++)
            if (gate->row[i].night && gate->row[i].night->cell_id == sqlite3_column_int64(row, 0))
                take(row, &gate->row[i]);
    sqlite3_finalize(row);
    return s;
}

/* The names by which suspects can be answered: those that the store has. */
static sq_status read_names(sq_judging *gate, sq_db *db, sq_error *err)
{
    static const char sql[] = "SELECT v.cell_id, substr(v.uuid, 1, 8), v.metric FROM verdict v "
                              "JOIN gate g USING (gate_id) WHERE g.uuid = ?1 AND v.confirmed <> ''";
    return take_suspects(gate, db, sql, take_name, err);
}

static sq_status put(sq_judging *gate, sq_db *db, bool is_final, const char *settings,
                     sq_verdict *verdict, int n, sq_error *err)
{
    if (!gate->uuid[0])
        SQ_TRY(sq_uuid_new(gate->uuid, err));
    SQ_TRY(name_all(verdict, n, err));
    sq_gate g = row_of(gate, is_final, settings);
    SQ_TRY(sq_db_put_gate(db, &g, verdict, n, err));
    SQ_TRY(read_names(gate, db, err));
    return read_last(gate, db, err);
}

sq_status sq_gate_store(sq_judging *gate, sq_db *db, bool is_final, sq_error *err)
{
    size_t most = (size_t)(gate->n_rows + gate->n_sentinels) * SQ_GATE_SUSPICIONS + 1;
    sq_verdict *verdict = malloc(most * sizeof *verdict);
    char *settings = write_settings(gate);
    int n = 0;
    sq_status s =
        verdict && settings ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for verdicts");
    for (int i = 0; s == SQ_OK && i < gate->n_rows + gate->n_sentinels; i++)
        n += add_row(&gate->row[i], i >= gate->n_rows, verdict + n);
    if (s == SQ_OK)
        s = put(gate, db, is_final, settings, verdict, n, err);
    free(settings);
    free(verdict);
    return s;
}

/* --- answers --- */

/* Behind what is known of why: who answered what, and whether that covers tonight's. */
static void note_answer(sq_gate_row *row, int suspicion, const sq_answer *answer, bool is_covered)
{
    size_t n = strlen(row->cause);
    n = n < sizeof row->cause / 2 ? n : sizeof row->cause / 2; /* room for the answer */
    snprintf(row->cause + n, sizeof row->cause - n, "%s%s%s %s by %.40s: %.100s", n ? "; " : "",
             sq_gate_quantity(suspicion), is_covered ? "" : " is more than what was", answer->kind,
             answer->author, answer->reason);
    row->is_noted = true;
}

static sq_status find_answer(const sq_judging *gate, sq_db *db, sq_gate_row *row, int suspicion,
                             double now, sq_error *err)
{
    sq_answer answer;
    bool found;
    sq_run_status status = sq_night_status(row->night->status, row->night->n_runs);
    const char *failure = suspicion == SQ_GATE_FAILING ? sq_run_status_name(status) : "";
    SQ_TRY(sq_db_find_answer(db, row->night->key, sq_gate_quantity(suspicion), failure,
                             gate->options.baseline, now, &answer, &found, err));
    if (!found)
        return SQ_OK;
    bool is_covered = sq_answer_covers(&answer, fraction(sq_gate_change(row, suspicion)));
    note_answer(row, suspicion, &answer, is_covered);
    if (is_covered) {
        row->answered |= 1u << suspicion;
        row->standing[suspicion] = SQ_STANDING_UNRESOLVED; /* nobody will measure it again */
    }
    return SQ_OK;
}

static sq_status find_answers(const sq_judging *gate, sq_db *db, sq_gate_row *row, double now,
                              sq_error *err)
{
    row->is_answered = true;
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++) {
        if (row->standing[i] == SQ_STANDING_NONE)
            continue;
        SQ_TRY(find_answer(gate, db, row, i, now, err));
        row->is_answered = row->is_answered && row->answered & 1u << i;
    }
    return SQ_OK;
}

sq_status sq_gate_answer(sq_judging *gate, sq_db *db, sq_error *err)
{
    double now = sq_wall_seconds();
    for (int i = 0; i < gate->n_rows; i++)
        if (sq_gate_standing(&gate->row[i]) != SQ_STANDING_NONE)
            SQ_TRY(find_answers(gate, db, &gate->row[i], now, err));
    return SQ_OK;
}

sq_status sq_gate_find(sq_db *db, const char *night, const char *baseline, sq_gate_end *out,
                       bool *found, sq_error *err)
{
    sq_db_judged judged;
    SQ_TRY(sq_db_find_gate(db, night, baseline, false, &judged, found, err));
    out->code = judged.exit_code;
    snprintf(out->why, sizeof out->why, "%s", judged.why);
    return SQ_OK;
}

/* --- told once more --- */

static sq_standing standing_of(const char *name)
{
    for (int i = SQ_STANDING_PENDING; i <= SQ_STANDING_CONFIRMED; i++)
        if (strcmp(name, sq_standing_name((sq_standing)i)) == 0)
            return (sq_standing)i;
    return SQ_STANDING_NONE;
}

static void recall_verdict(sqlite3_stmt *stored, sq_gate_row *row)
{
    const char *metric = sq_query_text(stored, 1);
    for (int i = 0; i < SQ_GATE_SUSPICIONS; i++)
        if (strcmp(metric, sq_gate_quantity(i)) == 0)
            row->standing[i] = standing_of(sq_query_text(stored, 2));
    if (!row->is_noted)
        sq_query_copy(stored, 3, row->cause, sizeof row->cause);
}

static sq_status recall_verdicts(sq_judging *gate, sq_db *db, sq_error *err)
{
    static const char sql[] = "SELECT v.cell_id, v.metric, v.confirmed, v.cause FROM verdict v "
                              "JOIN gate g USING (gate_id) "
                              "WHERE g.uuid = ?1 AND v.role = 'cell' AND v.confirmed <> ''";
    return take_suspects(gate, db, sql, recall_verdict, err);
}

static sq_status recall(sq_judging *gate, sq_db *db, const sq_db_judged *judged, sq_error *err)
{
    sq_gate_reruns reruns;
    memcpy(gate->uuid, judged->uuid, sizeof gate->uuid);
    memcpy(reruns.night, judged->rerun, sizeof reruns.night);
    memcpy(reruns.baseline, judged->baseline_rerun, sizeof reruns.baseline);
    sq_gate_set_reruns(gate, &reruns);
    SQ_TRY(sq_gate_confirm(gate, db, true, NULL, err)); /* the changes that were seen again */
    SQ_TRY(recall_verdicts(gate, db, err));
    SQ_TRY(read_names(gate, db, err));
    gate->end.code = judged->exit_code;
    snprintf(gate->end.why, sizeof gate->end.why, "%s", judged->why);
    gate->has_end = true;
    return read_last(gate, db, err);
}

sq_status sq_gate_recall(sq_judging *gate, sq_db *db, bool *is_same, sq_error *err)
{
    sq_db_judged judged;
    bool found;
    char *settings = write_settings(gate);
    sq_status s = settings ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a gate");
    if (s == SQ_OK)
        s = sq_db_find_gate(db, gate->options.night, gate->options.baseline, false, &judged, &found,
                            err);
    *is_same = s == SQ_OK && found && strcmp(settings, judged.settings) == 0;
    if (*is_same)
        s = recall(gate, db, &judged, err);
    free(settings);
    return s;
}
