/* cmd_run: what the parts of `seqmark run` share. */
#ifndef SQ_BENCH_CMD_RUN_H
#define SQ_BENCH_CMD_RUN_H

#include "bench/command.h"
#include "bench/plan.h"
#include "bench/runner.h"
#include "bench/suite.h"
#include "bench/target.h"
#include "profile/sets.h"

enum { SQ_MAX_CELL_OPTIONS = 64 };

/* One `seqmark run`, from its words to its plan. Zero-initialise; sq_run_free. */
typedef struct {
    sq_given given;
    const char *default_suite; /* where --suite is not given; NULL: none */
    sq_option *options;      /* the verb's own, then the settings */
    sq_option *axis_options; /* every axis of every subject as an option */
    bool has_suite;
    sq_suite suite;
    sq_settings campaign;  /* default < suite < command line */
    sq_settings overrides; /* the command line's, for every group */
    sq_settings *groups;   /* the suite's, with its defaults; or one of the command line */
    int n_groups;
    sq_names ops, families; /* of the command line, to select from a suite */
    sq_names retry;         /* statuses whose runs a resumed campaign repeats */
    const char *cells[SQ_MAX_CELL_OPTIONS + 1];
    sq_filter *filter;
    sq_policy policy;
    sq_rates rates;
    int replicates, allow_failed;
    double max_inconclusive; /* the suite's, for who judges its nights; NAN: it says none */
    double sentinel_share; /* of cells that are measured as both sides of a night */
    bool is_random;
    const char *counters;       /* sets to count each cell by; NULL: none. Points into `campaign` */
    bool counts_every_run;       /* of a cell, not its first alone */
    sq_counter_set *counter_set; /* what they are */
    sq_metric_def *metrics;      /* what the store may hold: ours, and those of the user's set */
    uint64_t seed;
    sq_clock clock; /* to lock while measuring */
    double budget_seconds;
    sq_target target;
    sq_plan plan;
    char *argv, *policy_text; /* as the store keeps them */
} sq_run;

/* --- cmd_run_request.c --- */

/* As sq_verb_parse, of a verb whose options are the settings and axes beside its own. */
bool sq_run_parse(sq_run *run, const sq_verb *verb, int argc, char **argv, sq_outcome *outcome);
/* Reads suite and settings. */
sq_status sq_run_read(sq_run *run, sq_error *err);
/* Starts the device's worker once and plans; the seed counts. */
sq_status sq_run_open_target(sq_run *run, const char *device, sq_error *err);
sq_status sq_run_plan(sq_run *run, sq_error *err);
void sq_run_free(sq_run *run);

/* --- cmd_run.c --- */

/* A campaign of the plan, with a uuid of its own; its texts belong to `run`. */
sq_status sq_run_make_campaign(sq_run *run, int argc, char **argv, sq_campaign *out, sq_error *err);
/* Carries the plan out, with progress on stderr. */
sq_status sq_run_measure(sq_run *run, sq_db *db, const sq_campaign *campaign,
                         sq_runner_result *result, sq_error *err);
/* Ceilings that an earlier campaign measured make better predictions. */
void sq_run_use_known_ceilings(sq_run *run);
/* The policy as the store keeps it, with the suite's limit of a night; free() it. NULL: no memory. */
char *sq_run_write_policy(const sq_run *run);
/* To stderr: cells that a budget did not reach. */
void sq_run_print_left(const sq_plan *plan, int left);

/* How a campaign ended. */
typedef struct {
    sq_campaign campaign;
    sq_runner_result result; /* empty where nothing was left to do */
    bool was_over;
    sq_error unlocked; /* whether locked clocks were given back */
} sq_run_end;
/* Begins a campaign of the plan, or goes on with the one that --resume finds, and measures it. */
sq_status sq_run_carry_out(sq_run *run, sq_db *db, int argc, char **argv, sq_run_end *end,
                           sq_error *err);
/* Exit code and last line. */
void sq_run_conclude(const sq_run *run, const sq_runner_result *result, sq_outcome *outcome);

/* --- cmd_run_launch.c --- */

/* `run --profile`: launches each cell of the plan once, measures and stores nothing. */
sq_status sq_run_launch(const sq_run *run, sq_outcome *outcome, sq_error *err);

/* --- cmd_run_print.c --- */

sq_status sq_run_print_plan(const sq_run *run, sq_format format, sq_error *err);
sq_status sq_run_print_config(const sq_run *run, sq_format format, sq_error *err);

/* --- cmd_run_cost.c --- */

/* To stderr: median and mean of a run, the share of each phase, and the time of the whole plan where
 * a part of it is left. */
void sq_run_print_cost(const sq_run *run, const sq_runner_result *result);
/* Wraps the JSON array `results` into one object with the campaign and its cost. */
sq_status sq_run_add_cost(const sq_run *run, const sq_runner_result *result, const char *campaign,
                          sq_text *results, sq_error *err);

#endif
