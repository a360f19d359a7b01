/* cmd_nightly_confirm: suspects measured again, tonight's program and the baseline's in turn. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/cmd_nightly.h"
#include "bench/output.h"
#include "bench/signals.h"

enum { COUNTED_RUNS = 6 }; /* of each side: counted bytes vary a little too */

enum { SIDE_A, SIDE_B }; /* the baseline's program, tonight's */

/* One program and its campaign. */
typedef struct {
    sq_target target; /* of A; B is the run's */
    const sq_target *in_use;
    sq_campaign campaign;
    sq_plan plan;
    bool is_there;
} side;

typedef struct {
    sq_night *night;
    sq_db *db;
    sq_judging *gate;
    sq_suspect *suspect;
    const char **key[2]; /* of each side, NULL-ended */
    int n;
    const char *counters;
    side side[2];
    char *argv;
    char why[400]; /* there is no A */
} confirmation;

/* --- suspects --- */

static sq_status take_suspects(confirmation *c, sq_error *err)
{
    int all = sq_gate_suspects(c->gate, NULL, 0), n[2] = {0, 0};
    c->n = all < c->night->max_suspects ? all : c->night->max_suspects;
    c->suspect = calloc((size_t)c->n + 1, sizeof *c->suspect);
    for (int i = 0; i < 2; i++)
        c->key[i] = calloc((size_t)c->n + 1, sizeof *c->key[i]);
    if (!c->suspect || !c->key[SIDE_A] || !c->key[SIDE_B])
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the suspects");
    sq_gate_suspects(c->gate, c->suspect, c->n);
    c->counters = NULL;
    for (int i = 0; i < c->n; i++) {
        const sq_suspect *suspect = &c->suspect[i];
        bool is_peer = strstr(suspect->key, "@external:") != NULL; /* its software is not kept */
        bool has_a = c->side[SIDE_A].is_there && !suspect->is_failing && !is_peer;
        if (has_a || suspect->is_failing) /* a number with none beside it would say nothing */
            c->key[SIDE_B][n[SIDE_B]++] = suspect->key;
        if (has_a)
            c->key[SIDE_A][n[SIDE_A]++] = suspect->key;
        if (suspect->wants_counters)
            c->counters = c->night->run.counters;
    }
    return SQ_OK;
}

static void drop_suspects(confirmation *c)
{
    free(c->suspect);
    for (int i = 0; i < 2; i++) {
        free((void *)c->key[i]);
        c->key[i] = NULL;
        sq_plan_free(&c->side[i].plan);
    }
    c->suspect = NULL;
}

/* --- the two programs --- */

/* Without it suspects stay unresolved, which is no error. */
static void open_baseline(confirmation *c)
{
    sq_error why = {.status = SQ_OK};
    side *a = &c->side[SIDE_A];
    sq_status s = sq_night_check_program(&c->night->baseline, &why);
    if (s == SQ_OK)
        s = sq_target_open_tree(&c->night->run.target, c->night->baseline.tree, &a->target, &why);
    a->in_use = &a->target;
    a->is_there = s == SQ_OK;
    snprintf(c->why, sizeof c->why, "%.390s", s == SQ_OK ? "" : why.message);
    if (s != SQ_OK)
        fprintf(stderr, "suspects cannot be confirmed: %s\n", c->why);
}

/* A campaign that is there before it is named by the gate, and a gate that names it before there are
 * runs: a kill in between loses nothing. */
static sq_status begin_campaign(confirmation *c, side *s, char uuid[SQ_UUID_TEXT], sq_error *err)
{
    const sq_run *run = &c->night->run;
    sq_sink sink = sq_db_sink(c->db);
    SQ_TRY(sq_campaign_new("confirm", "", &s->campaign, err));
    s->campaign.argv = c->argv;
    s->campaign.policy = run->policy_text;
    s->campaign.seed = run->seed;
    if (s == &c->side[SIDE_A])
        snprintf(s->campaign.git_commit, sizeof s->campaign.git_commit, "%s",
                 c->night->baseline.git_commit);
    if (uuid[0]) {
        memcpy(s->campaign.uuid, uuid, sizeof s->campaign.uuid);
        return SQ_OK;
    }
    memcpy(uuid, s->campaign.uuid, sizeof s->campaign.uuid);
    SQ_TRY(sink.begin(sink.self, &s->campaign, &s->in_use->environment, &s->in_use->device,
                      run->metrics, err));
    return sink.finish(sink.self, "finished", err);
}

static sq_status begin_campaigns(confirmation *c, sq_error *err)
{
    sq_gate_reruns reruns = sq_gate_reruns_of(c->gate); /* of a night that goes on */
    SQ_TRY(begin_campaign(c, &c->side[SIDE_B], reruns.night, err));
    if (c->key[SIDE_A][0])
        SQ_TRY(begin_campaign(c, &c->side[SIDE_A], reruns.baseline, err));
    sq_gate_set_reruns(c->gate, &reruns);
    return sq_gate_store(c->gate, c->db, false, err);
}

/* --- rounds --- */

static sq_status make_plan(const confirmation *c, int which, int replicates, side *s, sq_error *err)
{
    const sq_run *run = &c->night->run;
    sq_plan_request request = {.cells = c->key[which],
                               .catalog = &s->in_use->catalog,
                               .policy = &run->policy,
                               .rates = &run->rates,
                               .replicates = replicates,
                               .is_random = true,
                               .clock = run->clock,
                               .counters = c->counters,
                               .seed = run->seed};
    SQ_TRY(sq_plan_build(&request, &s->plan, err));
    for (int i = 0; i < s->plan.count; i++) {
        sq_plan_item *item = &s->plan.item[i];
        SQ_TRY(sq_db_has_run(c->db, s->campaign.uuid, item->key, item->replicate, NULL,
                             &item->is_done, &item->attempt, err));
    }
    return SQ_OK;
}

/* The runs a side that say all that they can of a cell. */
static int runs_of(const confirmation *c, const char *key)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->suspect[i].key, key) == 0)
            return c->suspect[i].is_failing        ? 1
                   : c->suspect[i].is_counts_alone ? COUNTED_RUNS
                                                   : INT_MAX;
    return INT_MAX;
}

/* What of a plan is to be run now: one round. */
static sq_plan round_of(const confirmation *c, const side *s, int replicate, sq_error *err)
{
    sq_plan round = {.n_cells = s->plan.n_cells, .proved = s->plan.proved};
    round.item = malloc(((size_t)s->plan.n_cells + 1) * sizeof *round.item);
    if (!round.item)
        sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a round");
    for (int i = 0; round.item && i < s->plan.count; i++) {
        const sq_plan_item *item = &s->plan.item[i];
        bool is_wanted = !item->is_done && replicate < runs_of(c, item->key);
        if (item->replicate == replicate && is_wanted)
            round.item[round.count++] = *item;
    }
    return round;
}

/* These are about tonight's program. */
static const char *const test_options[] = {"SEQMARK_TEST_SLOW", "SEQMARK_TEST_LARGER"};
enum { TEST_OPTIONS = sizeof test_options / sizeof *test_options };

static void hide_test_options(char *kept[TEST_OPTIONS])
{
    for (int i = 0; i < TEST_OPTIONS; i++) {
        const char *told = getenv(test_options[i]);
        kept[i] = told ? strdup(told) : NULL;
        unsetenv(test_options[i]);
    }
}

static void restore_test_options(char *kept[TEST_OPTIONS])
{
    for (int i = 0; i < TEST_OPTIONS; i++) {
        if (kept[i])
            setenv(test_options[i], kept[i], 1);
        free(kept[i]);
    }
}

static sq_status measure(confirmation *c, side *s, int replicate, sq_plan *round, sq_error *err)
{
    sq_run *run = &c->night->run;
    sq_runner_result result;
    sq_runner_options options = {.plan = round,
                                 .target = s->in_use,
                                 .policy = &run->policy,
                                 .campaign = &s->campaign,
                                 .metrics = run->metrics,
                                 .sink = sq_db_sink(c->db),
                                 .counters = replicate < COUNTED_RUNS ? c->counters : NULL,
                                 .counts_every_run = true,
                                 .skips_ceilings = true};
    SQ_TRY(sq_db_resume(c->db, s->campaign.uuid, err));
    SQ_TRY(sq_runner_run(&options, &result, err));
    return strcmp(result.state, "interrupted") == 0 ? SQ_INTERRUPTED : SQ_OK;
}

static sq_status run_round(confirmation *c, int which, int replicate, sq_error *err)
{
    side *s = &c->side[which];
    char *kept[TEST_OPTIONS] = {NULL};
    if (!s->plan.count)
        return SQ_OK;
    sq_plan round = round_of(c, s, replicate, err);
    sq_status status = round.item ? SQ_OK : SQ_OUT_OF_MEMORY;
    if (which == SIDE_A)
        hide_test_options(kept);
    if (status == SQ_OK && round.count)
        status = measure(c, s, replicate, &round, err);
    restore_test_options(kept);
    free(round.item);
    return status;
}

/* Blocks [from, to), each A B B A. */
static sq_status run_blocks(confirmation *c, int from, int to, sq_error *err)
{
    static const int order[] = {SIDE_A, SIDE_B, SIDE_B, SIDE_A};
    bool has_a = c->side[SIDE_A].plan.count > 0;
    for (int block = from; block < to; block++) {
        if (isatty(STDERR_FILENO) || block == from)
            fprintf(stderr, "measuring %d suspect%s again: block %d of %d\n", c->n,
                    c->n == 1 ? "" : "s", block + 1, to);
        for (int i = 0; i < 4; i++) {
            if (sq_signals_count() > 0)
                return SQ_INTERRUPTED;
            SQ_TRY(run_round(c, order[i], 2 * block + i / 2, err));
        }
        if (!has_a) /* cells that fail: once */
            return SQ_OK;
    }
    return SQ_OK;
}

/* --- the whole --- */

/* The baseline's program may not have what a cell needs. */
static sq_status make_plans(confirmation *c, int replicates, sq_error *err)
{
    side *a = &c->side[SIDE_A];
    sq_error why = {.status = SQ_OK};
    bool has_a = c->key[SIDE_A][0] != NULL;
    SQ_TRY(make_plan(c, SIDE_B, has_a ? replicates : 1, &c->side[SIDE_B], err));
    if (has_a && make_plan(c, SIDE_A, replicates, a, &why) != SQ_OK) {
        sq_plan_free(&a->plan);
        snprintf(c->why, sizeof c->why, "%.390s", why.message);
    }
    return SQ_OK;
}

/* Suspects of which there is something to measure, blocks [from, to). */
static sq_status measure_blocks(confirmation *c, int from, int to, sq_error *err)
{
    if (!c->key[SIDE_B][0])
        return SQ_OK;
    if (from == 0)
        SQ_TRY(begin_campaigns(c, err));
    SQ_TRY(make_plans(c, 2 * to, err));
    return run_blocks(c, from, to, err);
}

static sq_status stage(confirmation *c, int from, int to, bool is_last, sq_error *err)
{
    sq_status s = take_suspects(c, err);
    if (s == SQ_OK)
        s = measure_blocks(c, from, to, err);
    drop_suspects(c);
    return s == SQ_OK ? sq_gate_confirm(c->gate, c->db, is_last, c->why, err) : s;
}

static sq_status confirm(confirmation *c, sq_error *err)
{
    sq_gate_blocks blocks = sq_gate_blocks_of(c->gate);
    sq_gate_give_up(c->gate, c->night->max_suspects, "more suspects than --max-suspects");
    open_baseline(c);
    bool is_alone = !c->side[SIDE_A].is_there;
    SQ_TRY(stage(c, 0, blocks.first, is_alone, err));
    return is_alone ? SQ_OK : stage(c, blocks.first, blocks.all, true, err);
}

sq_status sq_night_confirm(sq_night *night, sq_db *db, sq_judging *gate, sq_error *err)
{
    confirmation c = {.night = night, .db = db, .gate = gate};
    c.side[SIDE_B] = (side){.in_use = &night->run.target, .is_there = true};
    c.argv = sq_command_line(night->argc, night->argv);
    sq_status s = c.argv ? confirm(&c, err) : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory");
    sq_target_close(&c.side[SIDE_A].target);
    free(c.argv);
    return s;
}
