/* tally: what a campaign's runs cost, all in, and where the time went.
 *
 * A run is charged with the time from the end of the run before it to its own end: workers started
 * and ended in between, messages and the store are in it. Its parts are the values phase_*_ms of its
 * record; what they leave is "other". First runs of a cell (with its proof and counters) and later
 * ones are two kinds of work: how many of each a budget allows says nothing of the rest, so the time
 * of a whole plan, and the median over its runs, are extrapolated by kind.
 */
#ifndef SQ_BENCH_TALLY_H
#define SQ_BENCH_TALLY_H

#include "bench/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_PHASES = 16 };

typedef struct {
    char name[24]; /* "samples" of phase_samples_ms; "other"; "ceilings" */
    double seconds;
} sq_phase;

/* CHOSEN: for being short, to fill what was left of a budget: no sample of the plan. */
typedef enum { SQ_WORK_FIRST, SQ_WORK_LATER, SQ_WORK_CHOSEN, SQ_WORK_KINDS } sq_work;

typedef struct {
    int n;
    double seconds;          /* of n runs */
    double once_per_cell_s;  /* of them: proof and counters */
} sq_work_sum;

typedef struct {
    double seconds;
    sq_work kind;
} sq_timed_run;

/* Zero-initialise; sq_tally_free. */
typedef struct {
    sq_phase phase[SQ_MAX_PHASES];
    int n_phases;
    sq_timed_run *timed; /* every run that has a time, in order */
    int n_timed;
    int n_runs;
    double campaign_seconds; /* spent before the first run: ceilings */
    double parts_seconds;    /* of the next run, told by sq_tally_add_part */
    sq_work_sum work[SQ_WORK_KINDS];
    bool is_choosy; /* what comes now is SQ_WORK_CHOSEN */
} sq_tally;

/* Time spent on no run. */
void sq_tally_add_phase(sq_tally *tally, const char *name, double seconds);
/* A part of the next run that its record does not tell. */
void sq_tally_add_part(sq_tally *tally, const char *name, double seconds);
/* One run, charged with `seconds`. */
sq_status sq_tally_add_run(sq_tally *tally, const sq_plan_item *item, const sq_record *record,
                           double seconds, sq_error *err);
void sq_tally_free(sq_tally *tally);

typedef struct {
    int n_runs, n_timed;
    double seconds;
    double median_seconds, mean_seconds; /* of the runs that have a time; NAN without any */
    /* Of the whole plan at this pace, and the median over its runs; NAN where no first run was made,
     * the median also where the plan has later runs and none was timed. */
    double plan_seconds, plan_median_seconds;
} sq_cost_summary;

/* Sorts the timed runs and the phases (the longest first). */
sq_cost_summary sq_tally_conclude(sq_tally *tally, const sq_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
