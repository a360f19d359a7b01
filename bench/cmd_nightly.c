/* seqmark nightly: a campaign, its verdicts beside a baseline, the suspects measured again, a report
 * and one exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd_nightly.h"
#include "bench/hook.h"
#include "bench/signals.h"

static const sq_option own_options[] = {
    SQ_OPTION_HELP,
    {"baseline", 0, "NAME",
     "what the night is held against (\"seqmark baseline set\"); must be given"},
    {"suite", 0, "NAME|FILE",
     "what to measure (default nightly); --op and --family select from it"},
    SQ_OPTION_DEVICE,
    SQ_OPTION_DB,
    {"label", 0, "TEXT", "a name for the campaign"},
    {"resume", 0, NULL, "goes on with the latest night of this plan, wherever it was ended"},
    {"sentinels", 0, "SHARE",
     "of the cells, measured as both sides: the gate's own check (default 5%)"},
    {"max-suspects", 0, "N", "that are measured again, the worst first (default 100)"},
    {"hook", 0, "COMMAND",
     "run at the end, without a shell; $SEQMARK_EXIT_CODE and $SEQMARK_LINE tell"},
    SQ_GATE_OPTIONS,
    SQ_OPTION_OUTPUT,
    {NULL, 0, NULL, NULL},
};

static const char usage[] = "nightly --baseline NAME [options]";
static const char text[] =
    "Locks the GPU, checks it, measures the suite (5 replicates where nothing is said), judges "
    "every "
    "cell\nbeside the baseline, measures the suspects again in turn with the program that is kept "
    "with the\nbaseline, and ends with one exit code: 0 as good or better, 2 confirmed regression, "
    "3 "
    "inconclusive,\n4 wrong numbers, 5 environment unfit, 6 cells failed, 130 interrupted. All "
    "settings of run are\noptions too.";

enum { REPLICATES = 5, MAX_SUSPECTS = 100 };

/* --- what was asked for --- */

static sq_status read_max_suspects(sq_night *night, sq_error *err)
{
    const char *told = sq_given_value(&night->run.given, "max-suspects", NULL);
    char *end;
    night->max_suspects = MAX_SUSPECTS;
    if (!told)
        return SQ_OK;
    long value = strtol(told, &end, 10);
    if (end == told || *end || value < 0 || value > 10000)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--max-suspects \"%s\": from 0 to 10000", told);
    night->max_suspects = (int)value;
    return SQ_OK;
}

static sq_status check_hook(const char *hook, sq_error *err)
{
    char *words[SQ_HOOK_WORDS + 1], *room = hook ? malloc(strlen(hook) + 1) : NULL;
    if (!hook)
        return SQ_OK;
    sq_status s = room ? sq_hook_split(hook, room, words, err)
                       : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the hook");
    free(room);
    return s;
}

static sq_status read_night(sq_night *night, sq_error *err)
{
    sq_run *run = &night->run;
    sq_format format;
    if (run->given.n_arguments)
        return sq_fail(err, SQ_BAD_ARGUMENT, "nightly takes options only, not \"%s\"",
                       run->given.argument[0]);
    if (!sq_given_has(&run->given, "baseline"))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "--baseline NAME must be given (\"seqmark baseline list\" names them)");
    SQ_TRY(sq_given_format(&run->given, &format, err));
    SQ_TRY(check_hook(sq_given_value(&run->given, "hook", NULL), err));
    SQ_TRY(sq_gate_given(&run->given, &night->gate, err));
    SQ_TRY(read_max_suspects(night, err));
    SQ_TRY(sq_run_read(run, err));
    run->sentinel_share = 0.05;
    SQ_TRY(sq_given_share(&run->given, "sentinels", &run->sentinel_share, err));
    if (!sq_settings_get(&run->campaign, "replicates"))
        run->replicates = REPLICATES;
    night->gate.allow_failed = run->allow_failed;
    night->gate.is_nightly = true;
    return SQ_OK;
}

static sq_status find_baseline(sq_night *night, sq_db *db, sq_error *err)
{
    const char *name = sq_given_value(&night->run.given, "baseline", "");
    SQ_TRY(sq_db_find_baseline(db, name, &night->baseline, err));
    snprintf(night->baseline_text, sizeof night->baseline_text, "baseline:%s",
             night->baseline.name);
    return sq_gate_baseline(db, night->baseline_text, &night->gate, err);
}

/* --- the night --- */

static void set_interrupted(sq_outcome *outcome, const char *what)
{
    sq_outcome_set(outcome, SQ_EXIT_INTERRUPTED, "interrupted; %s (--resume goes on)", what);
}

static sq_status publish(sq_night *night, sq_db *db, sq_judging *gate, sq_outcome *outcome,
                         sq_error *err)
{
    SQ_TRY(sq_gate_store(gate, db, true, err));
    sq_gate_end end = sq_gate_conclude(gate);
    SQ_TRY(sq_gate_publish(gate, &night->run.given, err));
    sq_outcome_set(outcome, end.code, "%s", end.why);
    return SQ_OK;
}

static sq_status confirm(sq_night *night, sq_db *db, sq_judging *gate, sq_outcome *outcome,
                         sq_error *err)
{
    SQ_TRY(sq_gate_store(gate, db, false, err));
    sq_status s = sq_night_confirm(night, db, gate, err);
    if (s == SQ_INTERRUPTED)
        set_interrupted(outcome, "the suspects are still to be confirmed");
    return s;
}

static sq_status judge(sq_night *night, sq_db *db, sq_outcome *outcome, sq_error *err)
{
    sq_judging *gate = NULL;
    SQ_TRY(sq_gate_open(db, &night->gate, &gate, err));
    sq_status s = sq_gate_take_up(gate, db, err);
    if (sq_gate_suspects(gate, NULL, 0) == 0)
        sq_gate_give_up(gate, 0, "the night is unfit");
    else if (s == SQ_OK)
        s = confirm(night, db, gate, outcome, err);
    if (s == SQ_OK)
        s = publish(night, db, gate, outcome, err);
    sq_gate_free(gate);
    return s == SQ_INTERRUPTED ? SQ_OK : s;
}

/* The report of a night that was judged. */
static sq_status tell_again(const sq_night *night, sq_db *db, sq_error *err)
{
    sq_judging *gate = NULL;
    bool is_same;
    SQ_TRY(sq_gate_open(db, &night->gate, &gate, err));
    sq_status s = sq_gate_recall(gate, db, &is_same, err);
    if (s == SQ_OK && is_same)
        s = sq_gate_publish(gate, &night->run.given, err);
    else if (s == SQ_OK)
        fprintf(stderr,
                "it was judged by other limits than these: no report is written (seqmark gate "
                "judges by these)\n");
    sq_gate_free(gate);
    return s;
}

/* A night that was judged to its end stays so, unless there is more of it now. */
static sq_status judge_once(sq_night *night, sq_db *db, bool has_more, sq_outcome *outcome,
                            sq_error *err)
{
    sq_gate_end end;
    bool found;
    SQ_TRY(sq_gate_find(db, night->gate.night, night->gate.baseline, &end, &found, err));
    if (!found || has_more)
        return judge(night, db, outcome, err);
    SQ_TRY(tell_again(night, db, err));
    sq_outcome_set(outcome, end.code, "campaign %.8s was judged already: %.800s", night->gate.night,
                   end.why);
    return SQ_OK;
}

static sq_status measure(sq_night *night, sq_db *db, sq_run_end *end, sq_error *err)
{
    sq_run *run = &night->run;
    SQ_TRY(sq_run_carry_out(run, db, night->argc, night->argv, end, err));
    memcpy(night->gate.night, end->campaign.uuid, sizeof night->gate.night);
    night->gate.night_text = end->campaign.label[0] ? end->campaign.label : night->gate.night;
    if (strcmp(night->gate.night, night->gate.baseline) == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "the latest campaign of this plan is baseline %s itself: leave --resume out",
                       night->baseline.name);
    if (end->was_over)
        return SQ_OK;
    if (end->result.left && strcmp(end->result.state, "budget") == 0)
        sq_run_print_left(&run->plan, end->result.left);
    sq_run_print_cost(run, &end->result);
    return SQ_OK;
}

static sq_status pass(sq_night *night, sq_db *db, sq_outcome *outcome, sq_error *err)
{
    sq_run_end end;
    SQ_TRY(find_baseline(night, db, err));
    SQ_TRY(sq_night_preflight(night, db, err));
    SQ_TRY(measure(night, db, &end, err));
    if (sq_signals_count() == 0)
        return judge_once(night, db, !end.was_over, outcome, err);
    char what[96];
    snprintf(what, sizeof what, "%d runs stored, %d left of this campaign", end.result.done,
             end.result.left);
    set_interrupted(outcome, what);
    return SQ_OK;
}

static sq_status execute(sq_night *night, sq_outcome *outcome, sq_error *err)
{
    sq_run *run = &night->run;
    sq_db *db = NULL;
    SQ_TRY(read_night(night, err));
    SQ_TRY(sq_run_open_target(run, sq_given_value(&run->given, "device", NULL), err));
    if (run->target.note[0])
        fprintf(stderr, "%s: measuring on the CPU\n", run->target.note);
    sq_run_use_known_ceilings(run);
    SQ_TRY(sq_run_plan(run, err));
    SQ_TRY(sq_command_hold(&run->target, night->argc, night->argv, err));
    sq_status s = sq_given_open_store(&run->given, &db, err);
    if (s == SQ_TIMEOUT)
        return err->status = SQ_DEVICE; /* another night writes into this store: exit code 5 */
    SQ_TRY(s);
    sq_signals_install();
    s = pass(night, db, outcome, err);
    sq_db_close(db);
    return s;
}

static void call_hook(const sq_night *night, const sq_outcome *outcome)
{
    const char *hook = sq_given_value(&night->run.given, "hook", NULL);
    sq_error err = {.status = SQ_OK};
    char line[sizeof outcome->why + 32];
    snprintf(line, sizeof line, "seqmark: exit %d: %s", outcome->code, outcome->why);
    if (hook && sq_hook_run(hook, outcome->code, line, &err) != SQ_OK)
        fprintf(stderr, "%s\n", err.message);
}

void sq_cmd_nightly(int argc, char **argv, sq_outcome *outcome)
{
    static const sq_verb verb = {.usage = usage, .text = text, .options = own_options};
    sq_error err = {.status = SQ_OK};
    sq_night *night = calloc(1, sizeof *night);
    if (!night) {
        sq_outcome_error(outcome, SQ_OUT_OF_MEMORY, &err);
        return;
    }
    night->run.default_suite = "nightly";
    night->argc = argc, night->argv = argv;
    if (sq_run_parse(&night->run, &verb, argc, argv, outcome)) {
        sq_status s = execute(night, outcome, &err);
        if (s != SQ_OK)
            sq_outcome_error(outcome, s, &err);
        call_hook(night, outcome);
    }
    sq_run_free(&night->run);
    free(night);
}
