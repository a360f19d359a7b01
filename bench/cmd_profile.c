/* seqmark profile: one cell, measured and counted as a campaign of its own, and the page about it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ask.h"
#include "bench/cmd_run.h"
#include "bench/subject.h"
#include "core/curve.h"
#include "profile/profile.h"
#include "reports/files.h"
#include "reports/profile.h"

static const sq_option options[] = {
    SQ_OPTION_HELP,
    {"counters", 0, "SETS",
     "sets to count: basic, roofline, stalls ..., all, a file, or off (default roofline, stalls, "
     "mix, "
     "flops)"},
    {"sustain", 0, "TIME", "throughput, clock and power while the cell runs back to back for 10s"},
    {"timeline", 0, NULL, "counters sampled over time while the cell is repeated"},
    {"stored", 0, NULL, "measures nothing: shows the run, or the newest counted run of the cell"},
    SQ_OPTION_DEVICE,
    SQ_OPTION_DB,
    {"out", 0, "DIR", "where the page goes (default out/profile)"},
    {"gnuplot", 0, "PROGRAM", "the gnuplot to use (default: the one on PATH)"},
    {"policy", 0, "NAME", "measuring policy: quick (default), nightly, paper"},
    {"seed", 0, "N", "seed of the inputs (default: drawn, and stored)"},
    {"timeout", 0, "TIME", "kills a worker that is silent for longer"},
    {"output", 'o', "FORMAT", "table (default), md, csv, json, jsonl, or html: the page itself"},
    {NULL, 0, NULL, NULL},
};

static const char default_sets[] = "roofline,stalls,mix,flops";
/* The tensor operations of f16 are in a set of their own. */
static const char default_f16_sets[] = "roofline,stalls,mix,flops,tensor";

static const double longest_sustain = 600;

/* Zero-initialise; profile_free. */
typedef struct {
    sq_given given;
    sq_format format;
    const char *what;       /* as given: key, hash prefix or run */
    char key[SQ_KEY_MAX];   /* of the cell */
    char width[24];         /* model width of the run it was found by; "" none */
    char device[24];        /* "": the best */
    double sustain_seconds; /* 0: not asked */
    bool is_html, is_stored, has_timeline;
    sq_run run;
    int64_t run_id; /* what is shown; 0: nothing was stored */
    sq_curve sustain, timeline;
} profile;

static void profile_free(profile *p)
{
    sq_run_free(&p->run);
    sq_curve_free(&p->sustain);
    sq_curve_free(&p->timeline);
}

/* --- the page --- */

static sq_status show(const profile *p, sq_db *db, sq_error *err)
{
    sq_text text = {.data = NULL};
    sq_profile_result result;
    const sq_profile_options o = {.run_id = p->run_id,
                                  .out_dir = sq_given_value(&p->given, "out", "out/profile"),
                                  .gnuplot = sq_given_value(&p->given, "gnuplot", NULL),
                                  .sustain = p->sustain_seconds > 0 ? &p->sustain : NULL,
                                  .timeline = p->has_timeline ? &p->timeline : NULL};
    SQ_TRY(sq_profile_render(db, &o, &result, err));
    sq_status s = p->is_html ? sq_read_file(result.page, &text, err)
                             : sq_profile_print(db, &o, (int)p->format, &text, err);
    if (s == SQ_OK)
        s = sq_text_print(&text, err);
    sq_text_free(&text);
    if (result.note[0])
        fprintf(stderr, "%s\n", result.note);
    fprintf(stderr, "%s\n", result.page);
    return s;
}

/* --- which run, which cell --- */

/* The first column of a row, and the second as text into `text` (may be NULL). 0: no row. */
static sq_status find_number(sq_db *db, const char *sql, const char *what, int64_t *out, char *text,
                             size_t size, sq_error *err)
{
    sqlite3_stmt *row = NULL;
    *out = 0;
    if (sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &row, NULL) != SQLITE_OK)
        return sq_fail(err, SQ_STORE, "query: %s", sqlite3_errmsg(sq_db_handle(db)));
    sqlite3_bind_text(row, 1, what, -1, SQLITE_STATIC);
    if (sqlite3_step(row) == SQLITE_ROW) {
        const char *second = text ? (const char *)sqlite3_column_text(row, 1) : NULL;
        *out = sqlite3_column_int64(row, 0);
        if (text)
            snprintf(text, size, "%s", second ? second : "");
    }
    sqlite3_finalize(row);
    return SQ_OK;
}

/* A cell's newest run need not be its counted one; a run is shown as it is. */
static sq_status prefer_counted(sq_db *db, const char *what, int64_t *run_id, sq_error *err)
{
    static const char sql[] =
        "SELECT other.run_id FROM run JOIN cell USING (cell_id) JOIN run AS other USING (cell_id) "
        "JOIN campaign ON campaign.campaign_id = other.campaign_id "
        "WHERE run.run_id = ?1 AND EXISTS (SELECT 1 FROM value JOIN metric ON metric.name = "
        "value.metric WHERE value.run_id = other.run_id AND source LIKE 'cupti:%') "
        "ORDER BY turn DESC, other.run_id DESC LIMIT 1";
    static const char is_cell[] = "SELECT count(*) FROM run JOIN cell USING (cell_id) "
                                  "WHERE key = ?1 OR hash LIKE ?1 || '%'";
    int64_t cells = 0, counted = 0;
    char id[24];
    SQ_TRY(find_number(db, is_cell, what, &cells, NULL, 0, err));
    snprintf(id, sizeof id, "%lld", (long long)*run_id);
    if (cells && strcmp(id, what) != 0)
        SQ_TRY(find_number(db, sql, id, &counted, NULL, 0, err));
    if (counted)
        *run_id = counted;
    return SQ_OK;
}

static sq_status show_stored(profile *p, sq_error *err)
{
    sq_db *db = NULL;
    SQ_TRY(sq_db_open(sq_given_db(&p->given), SQ_DB_READ, &db, err));
    sq_status s = sq_db_resolve_run(db, p->what, &p->run_id, err);
    if (s == SQ_OK)
        s = prefer_counted(db, p->what, &p->run_id, err);
    if (s == SQ_OK)
        s = show(p, db, err);
    sq_db_close(db);
    return s;
}

/* The cell of a stored run, with the width that its shape was matched to. */
static sq_status look_up(profile *p, sq_error *err)
{
    static const char sql[] =
        "SELECT CAST(value AS INTEGER), key FROM run JOIN cell USING (cell_id) LEFT JOIN value ON "
        "value.run_id = run.run_id AND metric = 'width' WHERE run.run_id = ?1";
    sq_db *db = NULL;
    int64_t run_id = 0, width = 0;
    char id[24];
    SQ_TRY(sq_db_open(sq_given_db(&p->given), SQ_DB_READ, &db, err));
    sq_status s = sq_db_resolve_run(db, p->what, &run_id, err);
    snprintf(id, sizeof id, "%lld", (long long)run_id);
    if (s == SQ_OK)
        s = find_number(db, sql, id, &width, p->key, sizeof p->key, err);
    if (width > 0)
        snprintf(p->width, sizeof p->width, "%lld", (long long)width);
    sq_db_close(db);
    return s;
}

/* A whole key needs no store; everything else is looked up there. */
static sq_status find_cell(profile *p, sq_cell *cell, sq_error *err)
{
    sq_subject subject;
    if (strchr(p->what, '@') && strlen(p->what) < sizeof p->key)
        snprintf(p->key, sizeof p->key, "%s", p->what);
    else
        SQ_TRY(look_up(p, err));
    return sq_cell_parse(p->key, cell, &subject, err);
}

/* --- measuring --- */

/* What `seqmark run --cell KEY` would plan, counted more. */
static sq_status plan(profile *p, sq_error *err)
{
    sq_cell cell;
    sq_run *run = &p->run;
    SQ_TRY(find_cell(p, &cell, err));
    bool is_cpu = strncmp(cell.provider, "cpu/", 4) == 0;
    run->given = p->given;
    run->cells[0] = p->key;
    if (p->width[0])
        SQ_TRY(sq_settings_set(&run->overrides, "width", p->width, "the stored run", err));
    SQ_TRY(sq_run_read(run, err));
    if (!sq_given_has(&p->given, "counters"))
        run->counters = cell.dtype == SQ_DTYPE_F16 ? default_f16_sets : default_sets;
    SQ_TRY(sq_run_open_target(run, sq_given_value(&p->given, "device", is_cpu ? "cpu" : "0"), err));
    return sq_run_plan(run, err);
}

static sq_status ask_curves(profile *p, sq_error *err)
{
    const sq_run *run = &p->run;
    sq_asker asker = {.target = &run->target, .policy = &run->policy, .seed = run->seed};
    sq_status s = SQ_OK;
    if (p->sustain_seconds > 0)
        s = sq_ask_sustain(&asker, &run->plan.item[0], p->sustain_seconds, &p->sustain, err);
    if (s == SQ_OK && p->has_timeline)
        s = sq_ask_timeline(&asker, &run->plan.item[0], &p->timeline, err);
    sq_asker_stop(&asker);
    return s;
}

/* A cell that did not run has no curves either. */
static sq_status add_curves(profile *p, const sq_runner_result *result, sq_error *err)
{
    if (result->count[SQ_RUN_OK] || result->count[SQ_RUN_NOISY] || result->count[SQ_RUN_THROTTLED])
        return ask_curves(p, err);
    snprintf(p->sustain.reason, sizeof p->sustain.reason, "the cell was not measured");
    p->timeline = p->sustain;
    return SQ_OK;
}

static sq_status measure(profile *p, sq_db *db, int argc, char **argv, sq_outcome *outcome,
                         sq_error *err)
{
    static const char sql[] = "SELECT run_id FROM run JOIN campaign USING (campaign_id) WHERE "
                              "campaign.uuid = ?1";
    sq_campaign campaign;
    sq_runner_result result;
    SQ_TRY(sq_run_make_campaign(&p->run, argc, argv, &campaign, err));
    snprintf(campaign.suite, sizeof campaign.suite, "profile");
    fprintf(stderr, "campaign %.8s: profile of %s on %s, into %s\n", campaign.uuid, p->key,
            p->run.target.device.name, sq_given_db(&p->given));
    SQ_TRY(sq_run_measure(&p->run, db, &campaign, &result, err));
    SQ_TRY(find_number(db, sql, campaign.uuid, &p->run_id, NULL, 0, err));
    sq_status s = p->run_id ? add_curves(p, &result, err) : SQ_OK;
    if (s == SQ_OK && p->run_id)
        s = show(p, db, err);
    sq_run_conclude(&p->run, &result, outcome);
    if (s != SQ_INTERRUPTED)
        return s;
    sq_outcome_set(outcome, SQ_EXIT_INTERRUPTED,
                   "interrupted; the run is stored: seqmark profile %lld --stored shows it",
                   (long long)p->run_id);
    return SQ_OK;
}

static sq_status plan_and_measure(profile *p, int argc, char **argv, sq_outcome *outcome,
                                  sq_error *err)
{
    sq_db *db = NULL;
    SQ_TRY(plan(p, err));
    SQ_TRY(sq_command_hold(&p->run.target, argc, argv, err));
    SQ_TRY(sq_db_open(sq_given_db(&p->given), SQ_DB_WRITE, &db, err));
    sq_status s = measure(p, db, argc, argv, outcome, err);
    sq_db_close(db);
    return s;
}

/* --- the verb --- */

static sq_status read_sustain(profile *p, sq_error *err)
{
    const char *text = sq_given_value(&p->given, "sustain", NULL);
    if (!text)
        return SQ_OK;
    if (!sq_parse_duration(text, &p->sustain_seconds) || !(p->sustain_seconds >= 0.5) ||
        p->sustain_seconds > longest_sustain)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--sustain \"%s\": from 0.5s to %.0fs, like 10s", text,
                       longest_sustain);
    return SQ_OK;
}

static sq_status check_stored(const profile *p, sq_error *err)
{
    static const char *const not_beside[] = {"counters", "sustain", "timeline", "device",
                                             "policy",   "seed",    "timeout",  NULL};
    for (int i = 0; p->is_stored && not_beside[i]; i++)
        if (sq_given_has(&p->given, not_beside[i]))
            return sq_fail(err, SQ_BAD_ARGUMENT,
                           "--stored measures nothing; --%s cannot be given beside it",
                           not_beside[i]);
    return SQ_OK;
}

static sq_status read_words(profile *p, sq_error *err)
{
    if (p->given.n_arguments != 1)
        return sq_fail(err, SQ_BAD_ARGUMENT, "profile takes one cell or run");
    p->what = p->given.argument[0];
    p->is_stored = sq_given_has(&p->given, "stored");
    p->has_timeline = sq_given_has(&p->given, "timeline");
    SQ_TRY(sq_given_page_format(&p->given, &p->format, &p->is_html, err));
    SQ_TRY(read_sustain(p, err));
    return check_stored(p, err);
}

static sq_status execute(profile *p, int argc, char **argv, sq_outcome *outcome, sq_error *err)
{
    SQ_TRY(read_words(p, err));
    return p->is_stored ? show_stored(p, err) : plan_and_measure(p, argc, argv, outcome, err);
}

void sq_cmd_profile(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {
        .usage = "profile CELL|RUN [options]",
        .text =
            "Measures one cell, takes its counters and kernel trace, stores both as a campaign of "
            "suite\n\"profile\", and shows where the time goes: kernels, percent of each "
            "ceiling, roofline,\ninstruction mix, stalls, and a verdict. Writes an HTML page "
            "too. CELL: key or hash prefix.",
        .options = options};
    sq_error err = {.status = SQ_OK};
    profile *p = calloc(1, sizeof *p);
    sq_status s = p ? SQ_OK : sq_fail(&err, SQ_OUT_OF_MEMORY, "no memory for a profile");
    if (p && sq_verb_parse(&verb, argc, argv, &p->given, outcome))
        s = execute(p, argc, argv, outcome, &err);
    if (s != SQ_OK)
        sq_outcome_error(outcome, s, &err);
    if (p)
        profile_free(p);
    free(p);
}
