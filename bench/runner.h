/* runner: carries a plan out. Starts workers, gives each a batch of cells, kills the silent, turns
 * every failure into a row, and keeps going.
 *
 * Workers see at most SQ_BATCH_CELLS runs and never two runs of one cell. A worker that dies is
 * replaced; the run in flight becomes `crashed` or `timeout`.
 */
#ifndef SQ_BENCH_RUNNER_H
#define SQ_BENCH_RUNNER_H

#include "bench/plan.h"
#include "bench/tally.h"
#include "bench/target.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_BATCH_CELLS = 40 };

/* What is told while it runs; every function may be NULL. */
typedef struct {
    void *self;
    void (*started)(void *self, const sq_plan_item *item);
    void (*finished)(void *self, const sq_plan_item *item, const sq_record *record);
    void (*note)(void *self, const char *line);
} sq_observer;

typedef struct {
    sq_plan *plan;
    const sq_target *target;
    const sq_policy *policy;
    const sq_campaign *campaign; /* its seed is the seed of all inputs */
    const sq_metric_def *metrics;
    sq_sink sink;
    sq_observer observer;
    double budget_seconds; /* 0: none */
    const char *counters;  /* sets counted once of each measured cell; NULL: none; CUDA only */
    bool counts_every_run; /* not once of each cell */
    /* Ceilings of this device that were measured before; with none (n 0) the few that are needed
     * are measured first, unless skips_ceilings: then rows have no floors. known_from: whose they
     * are, for the note. */
    const sq_ceiling *known;
    int n_known;
    const char *known_from;
    bool skips_ceilings;
} sq_runner_options;

typedef struct {
    int count[SQ_RUN_STATUS_COUNT]; /* rows of this call, by status */
    int done, left;                 /* runs stored; runs of the plan not reached */
    char state[16];                 /* "finished", "budget", "interrupted" */
    char first_failure[SQ_KEY_MAX + SQ_REASON_MAX + 32];
    sq_cost_summary cost; /* of the runs of this call */
    sq_phase phase[SQ_MAX_PHASES];
    int n_phases;
} sq_runner_result;

/* Runs every item that is not done. An error means that the campaign could not be kept (the store
 * failed, no worker could be started): it is then left unfinished, to be resumed. */
sq_status sq_runner_run(const sq_runner_options *options, sq_runner_result *result, sq_error *err);

/* crashed, timeout, error, mismatch: what counts as a failed run. */
bool sq_status_is_failure(sq_run_status status);

#ifdef __cplusplus
}
#endif
#endif
