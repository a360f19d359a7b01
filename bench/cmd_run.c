/* seqmark run: plans, measures, stores; resumes what was cut short. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/clocks.h"
#include "bench/cmd_run.h"
#include "bench/output.h"
#include "bench/runner.h"
#include "bench/signals.h"
#include "bench/wire.h"
#include "core/stamp.h"
#include "profile/profile.h"
#include "reports/report.h"

static const sq_option own_options[] = {
    SQ_OPTION_HELP,
    {"suite", 0, "NAME|FILE",
     "a named set of cells: quick, nightly, paper, aa, passes, or a YAML file"},
    {"cell", 0, "KEY", "one cell by its whole key; may be repeated"},
    SQ_OPTION_DEVICE,
    SQ_OPTION_DB,
    {"label", 0, "TEXT", "a name for the campaign"},
    {"lock-clocks", 0, "MHZ|base",
     "holds the SM clock while measuring, and gives it back after (root)"},
    {"dry-run", 0, NULL, "prints the plan with predicted bytes and times, and measures nothing"},
    {"profile", 0, NULL, "launches each cell once and stores nothing: to be run under ncu or nsys"},
    {"show-config", 0, NULL, "prints every setting and where it was said, and measures nothing"},
    {"resume", 0, NULL, "continues the latest unfinished campaign of the same plan"},
    {"retry", 0, "STATUSES", "with --resume: runs with these statuses again (crashed,timeout ...)"},
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

static const char usage[] = "run [options]";
static const char text[] =
    "Plans cells, measures each in a worker process (proof, time, counters) and stores every\n"
    "result. Give --suite, --op, --family or --cell. Every axis is an option too, by its name or\n"
    "flag (\"seqmark list axes\"): --seqlen 1k..128k*2 --batch 1,8 --heads @file. Beside --suite,\n"
    "--op and --family select from the suite and everything else overrides it.";

enum { MAX_NAMED = 100, KNOWN_SECONDS = 7 * 24 * 3600 };

/* --- the store --- */

/* Marks what campaign `uuid` has already. */
static sq_status mark_done(sq_run *run, sq_db *db, const char *uuid, int *left, sq_error *err)
{
    const char *statuses[SQ_RUN_STATUS_COUNT + 1] = {NULL};
    for (int i = 0; i < run->retry.count && i < SQ_RUN_STATUS_COUNT; i++)
        statuses[i] = run->retry.item[i];
    *left = 0;
    for (int i = 0; i < run->plan.count; i++) {
        sq_plan_item *item = &run->plan.item[i];
        SQ_TRY(sq_db_has_run(db, uuid, item->key, item->replicate, statuses, &item->is_done,
                             &item->attempt, err));
        *left += !item->is_done;
        if (item->attempt > 0 && !run->plan.proved[item->place][0])
            SQ_TRY(sq_db_find_checksum(db, uuid, item->key, run->plan.proved[item->place], err));
    }
    return SQ_OK;
}

/* Plans anew in the order of campaign `found`, and marks what it has. */
static sq_status adopt(sq_run *run, sq_db *db, const sq_db_campaign *found, int *left,
                       sq_error *err)
{
    if (sq_settings_get(&run->campaign, "seed") && run->seed != found->seed)
        return sq_fail(err, SQ_BAD_ARGUMENT, "campaign %.8s was begun with seed %llu", found->uuid,
                       (unsigned long long)found->seed);
    run->seed = found->seed;
    SQ_TRY(sq_run_plan(run, err));
    SQ_TRY(mark_done(run, db, found->uuid, left, err));
    if (*left)
        fprintf(stderr, "resuming campaign %.8s: %d of %d runs are left\n", found->uuid, *left,
                run->plan.count);
    return SQ_OK;
}

static bool wants_resume(const sq_run *run)
{
    return sq_given_has(&run->given, "resume") || sq_given_has(&run->given, "retry");
}

/* The campaign to go on with, where one was asked for and there is one. */
static sq_status find_campaign(sq_run *run, sq_db *db, sq_db_campaign *found, bool *is_found,
                               int *left, sq_error *err)
{
    *is_found = false;
    *left = run->plan.count;
    if (!wants_resume(run))
        return SQ_OK;
    SQ_TRY(sq_db_find_campaign(db, run->plan.hash, found, is_found, err));
    if (*is_found)
        return adopt(run, db, found, left, err);
    fprintf(stderr, "no campaign of this plan to resume: beginning one\n");
    return SQ_OK;
}

/* --- the campaign --- */

char *sq_run_write_policy(const sq_run *run)
{
    json_t *json = sq_wire_policy(&run->policy);
    if (json && !isnan(run->max_inconclusive))
        json_object_set_new(json, "max_inconclusive", json_real(run->max_inconclusive));
    char *out = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(json);
    return out;
}

sq_status sq_run_make_campaign(sq_run *run, int argc, char **argv, sq_campaign *out, sq_error *err)
{
    const char *label = sq_given_value(&run->given, "label", "");
    run->argv = sq_command_line(argc, argv);
    run->policy_text = sq_run_write_policy(run);
    if (!run->argv || !run->policy_text)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a campaign");
    SQ_TRY(sq_campaign_new(run->has_suite ? run->suite.name : "", label, out, err));
    out->argv = run->argv;
    out->policy = run->policy_text;
    out->seed = run->seed;
    out->planned = run->plan.count;
    snprintf(out->plan_hash, sizeof out->plan_hash, "%s", run->plan.hash);
    return SQ_OK;
}

void sq_run_print_left(const sq_plan *plan, int left)
{
    int named = 0;
    fprintf(stderr, "not reached (seqmark run --resume goes on):\n");
    for (int i = 0; i < plan->count && named < MAX_NAMED; i++)
        if (!plan->item[i].is_done && ++named)
            fprintf(stderr, "  %s\n", plan->item[i].key);
    if (left > named)
        fprintf(stderr, "  and %d more\n", left - named);
}

/* "58 ok, 2 unsupported" */
static void format_counts(const sq_runner_result *result, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < SQ_RUN_STATUS_COUNT && n < size; i++)
        if (result->count[i])
            n += (size_t)snprintf(out + n, size - n, "%s%d %s", n ? ", " : "", result->count[i],
                                  sq_run_status_name((sq_run_status)i));
}

void sq_run_conclude(const sq_run *run, const sq_runner_result *result, sq_outcome *outcome)
{
    char counts[256];
    int failed = 0;
    for (int i = 0; i < SQ_RUN_STATUS_COUNT; i++)
        if (sq_status_is_failure((sq_run_status)i))
            failed += result->count[i];
    format_counts(result, counts, sizeof counts);
    if (strcmp(result->state, "interrupted") == 0)
        sq_outcome_set(outcome, SQ_EXIT_INTERRUPTED,
                       "interrupted; %d stored, %d left of this campaign (--resume goes on)",
                       result->done, result->left);
    else if (result->count[SQ_RUN_MISMATCH])
        sq_outcome_set(outcome, SQ_EXIT_WRONG, "wrong numbers: %s; first: %.700s", counts,
                       result->first_failure);
    else if (failed > run->allow_failed)
        sq_outcome_set(outcome, SQ_EXIT_FAILED, "%d run%s failed: %s; first: %.700s", failed,
                       failed == 1 ? "" : "s", counts, result->first_failure);
    else if (result->left)
        sq_outcome_set(outcome, SQ_EXIT_FINE, "the budget is spent: %s; %d left (--resume goes on)",
                       *counts ? counts : "no run fitted into it", result->left);
    else
        sq_outcome_set(outcome, SQ_EXIT_FINE, "%d run%s: %s", result->done,
                       result->done == 1 ? "" : "s", counts);
}

/* What `seqmark characterize` measured on this device, in this environment, not long ago. */
static sq_status find_known_ceilings(const sq_run *run, sq_db *db, sq_db_ceilings *out, char *from,
                                     size_t size, sq_error *err)
{
    const sq_target *target = &run->target;
    double now = (double)time(NULL);
    *out = (sq_db_ceilings){.n = 0};
    if (run->clock != SQ_CLOCK_UNLOCKED) /* those were measured at other clocks */
        return SQ_OK;
    SQ_TRY(sq_db_find_ceilings(db, "characterize", target->device.uuid,
                               target->environment.fingerprint, now - KNOWN_SECONDS, out, err));
    snprintf(from, size, "characterize %.8s, %.1f hours old", out->campaign,
             fmax(0, now - out->started) / 3600); /* a clock may have been set back since */
    return SQ_OK;
}

sq_status sq_run_measure(sq_run *run, sq_db *db, const sq_campaign *campaign,
                         sq_runner_result *result, sq_error *err)
{
    sq_progress progress;
    sq_db_ceilings known;
    char from[64];
    SQ_TRY(find_known_ceilings(run, db, &known, from, sizeof from, err));
    sq_progress_begin(&progress, &run->plan, stderr, isatty(STDERR_FILENO));
    sq_runner_options options = {.plan = &run->plan,
                                 .target = &run->target,
                                 .policy = &run->policy,
                                 .campaign = campaign,
                                 .metrics = run->metrics,
                                 .sink = sq_db_sink(db),
                                 .observer = sq_progress_observer(&progress),
                                 .budget_seconds = run->budget_seconds,
                                 .counters = run->counters,
                                 .counts_every_run = run->counts_every_run,
                                 .known = known.ceiling,
                                 .n_known = known.n,
                                 .known_from = from};
    sq_signals_install();
    sq_status s = sq_runner_run(&options, result, err);
    sq_progress_end(&progress);
    return s;
}

/* unlocked: whether the clocks were given back; that they were not is said in any case. */
static sq_status measure_locked(sq_run *run, sq_db *db, const sq_campaign *campaign,
                                sq_runner_result *result, sq_error *unlocked, sq_error *err)
{
    sq_clocks *clocks = NULL;
    sq_status s = sq_clocks_lock(&run->target.device, run->clock, &clocks, err);
    if (s != SQ_OK && s != SQ_BAD_ARGUMENT)
        s = err->status = SQ_DEVICE; /* what this machine does not allow */
    SQ_TRY(s);
    s = sq_run_measure(run, db, campaign, result, err);
    unlocked->status = sq_clocks_unlock(clocks, unlocked);
    if (unlocked->status != SQ_OK)
        fprintf(stderr, "the clocks may still be locked (nvidia-smi -rgc unlocks): %s\n",
                unlocked->message);
    return s;
}

static sq_status print_summary(const sq_run *run, sq_db *db, const sq_runner_result *result,
                               const char *uuid, sq_error *err)
{
    sq_format format;
    sq_text summary = {.data = NULL};
    SQ_TRY(sq_given_format(&run->given, &format, err));
    sq_status s = sq_report_summary(db, uuid, (int)format, &summary, err);
    if (s == SQ_OK && format == SQ_FORMAT_JSON)
        s = sq_run_add_cost(run, result, uuid, &summary, err);
    if (s == SQ_OK)
        s = sq_text_print(&summary, err);
    sq_text_free(&summary);
    return s;
}

/* A campaign whose last run was stored but that was killed before its end only needs its end. */
static sq_status end_only(sq_run *run, sq_db *db, const sq_db_campaign *found,
                          const sq_campaign *campaign, sq_error *err)
{
    sq_sink sink = sq_db_sink(db);
    if (strcmp(found->state, "finished") == 0)
        return SQ_OK;
    SQ_TRY(sq_db_resume(db, found->uuid, err));
    SQ_TRY(sink.begin(sink.self, campaign, &run->target.environment, &run->target.device,
                      sq_metrics, err));
    return sink.finish(sink.self, "finished", err);
}

sq_status sq_run_carry_out(sq_run *run, sq_db *db, int argc, char **argv, sq_run_end *end,
                           sq_error *err)
{
    sq_db_campaign found;
    bool is_found;
    int left;
    *end = (sq_run_end){.was_over = false};
    SQ_TRY(find_campaign(run, db, &found, &is_found, &left, err));
    SQ_TRY(sq_run_make_campaign(run, argc, argv, &end->campaign, err));
    if (is_found)
        snprintf(end->campaign.uuid, sizeof end->campaign.uuid, "%s", found.uuid);
    end->was_over = left == 0;
    if (end->was_over)
        return end_only(run, db, &found, &end->campaign, err);
    if (is_found)
        SQ_TRY(sq_db_resume(db, found.uuid, err));
    fprintf(stderr, "campaign %.8s: %d run%s on %s, seed %llu, into %s\n", end->campaign.uuid, left,
            left == 1 ? "" : "s", run->target.device.name, (unsigned long long)run->seed,
            sq_given_db(&run->given));
    return measure_locked(run, db, &end->campaign, &end->result, &end->unlocked, err);
}

static sq_status run_campaign(sq_run *run, sq_db *db, int argc, char **argv, sq_outcome *outcome,
                              sq_error *err)
{
    sq_run_end end;
    SQ_TRY(sq_run_carry_out(run, db, argc, argv, &end, err));
    if (end.was_over) {
        sq_outcome_set(outcome, SQ_EXIT_FINE,
                       "campaign %.8s of this plan is finished: nothing to do", end.campaign.uuid);
        return SQ_OK;
    }
    SQ_TRY(print_summary(run, db, &end.result, end.campaign.uuid, err));
    if (end.result.left && strcmp(end.result.state, "budget") == 0)
        sq_run_print_left(&run->plan, end.result.left);
    sq_run_print_cost(run, &end.result);
    sq_run_conclude(run, &end.result, outcome);
    if (end.unlocked.status != SQ_OK && outcome->code != SQ_EXIT_INTERRUPTED)
        sq_outcome_set(outcome, SQ_EXIT_UNFIT, "the clocks may still be locked: %.300s",
                       end.unlocked.message);
    return SQ_OK;
}

/* --- the verb --- */

/* Ceilings that an earlier campaign measured make better predictions; a store that cannot be read
 * is met later, where it matters. */
void sq_run_use_known_ceilings(sq_run *run)
{
    static const char sql[] =
        "SELECT name, unit, value FROM ceiling JOIN device USING (device_id) "
        "JOIN campaign USING (campaign_id) WHERE device.uuid = ?1 ORDER BY turn, campaign_id";
    const char *path = sq_given_db(&run->given);
    sq_db *db = NULL;
    sqlite3_stmt *statement = NULL;
    if (access(path, R_OK) != 0 || sq_db_open(path, SQ_DB_READ, &db, NULL) != SQ_OK)
        return;
    if (sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &statement, NULL) == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, run->target.device.uuid, -1, SQLITE_STATIC);
        while (sqlite3_step(statement) == SQLITE_ROW) {
            sq_ceiling ceiling = {.value = sqlite3_column_double(statement, 2)};
            snprintf(ceiling.name, sizeof ceiling.name, "%s", sqlite3_column_text(statement, 0));
            snprintf(ceiling.unit, sizeof ceiling.unit, "%s", sqlite3_column_text(statement, 1));
            sq_rates_use(&run->rates, &ceiling);
        }
    }
    sqlite3_finalize(statement);
    sq_db_close(db);
}

static sq_status with_store(sq_run *run, int argc, char **argv, sq_outcome *outcome, sq_error *err)
{
    sq_db *db = NULL;
    SQ_TRY(sq_command_hold(&run->target, argc, argv, err));
    SQ_TRY(sq_db_open(sq_given_db(&run->given), SQ_DB_WRITE, &db, err));
    sq_status s = run_campaign(run, db, argc, argv, outcome, err);
    sq_db_close(db);
    return s;
}

/* Beside --resume: what is left of the campaign. A store that is not there has none. */
static sq_status dry_run(sq_run *run, sq_format format, sq_error *err)
{
    const char *path = sq_given_db(&run->given);
    sq_db *db = NULL;
    sq_db_campaign found;
    bool is_found;
    int left;
    if (wants_resume(run) && access(path, F_OK) == 0) {
        SQ_TRY(sq_db_open(path, SQ_DB_READ, &db, err));
        sq_status s = find_campaign(run, db, &found, &is_found, &left, err);
        sq_db_close(db);
        SQ_TRY(s);
    }
    return sq_run_print_plan(run, format, err);
}

static sq_status execute(sq_run *run, int argc, char **argv, sq_outcome *outcome, sq_error *err)
{
    sq_format format;
    SQ_TRY(sq_given_format(&run->given, &format, err));
    if (run->given.n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "run takes options only, not \"%s\"",
                       run->given.argument[0]);
    SQ_TRY(sq_run_read(run, err));
    if (sq_given_has(&run->given, "show-config"))
        return sq_run_print_config(run, format, err);
    SQ_TRY(sq_run_open_target(run, sq_given_value(&run->given, "device", NULL), err));
    if (run->target.note[0])
        fprintf(stderr, "%s: measuring on the CPU\n", run->target.note);
    if (run->clock != SQ_CLOCK_UNLOCKED && strcmp(run->target.device.backend, "cuda") != 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--lock-clocks: device %s has no clocks to lock",
                       run->target.name);
    sq_run_use_known_ceilings(run);
    SQ_TRY(sq_run_plan(run, err));
    if (sq_given_has(&run->given, "dry-run"))
        return dry_run(run, format, err);
    if (sq_given_has(&run->given, "profile"))
        return sq_run_launch(run, outcome, err);
    return with_store(run, argc, argv, outcome, err);
}

void sq_cmd_run(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {.usage = usage, .text = text, .options = own_options};
    sq_error err = {.status = SQ_OK};
    sq_run *run = calloc(1, sizeof *run);
    if (!run) {
        sq_outcome_error(outcome, SQ_OUT_OF_MEMORY, &err);
        return;
    }
    if (sq_run_parse(run, &verb, argc, argv, outcome)) {
        sq_status s = execute(run, argc, argv, outcome, &err);
        if (s != SQ_OK)
            sq_outcome_error(outcome, s, &err);
    }
    sq_run_free(run);
    free(run);
}
