/* night: what a night of measurements says about each cell beside its baseline, and the exit code
 * that follows. Pure functions; docs/methodology.md, "The night", has the rules and their sources.
 *
 *   sq_night_judge     verdicts, from both campaigns; suspects among them
 *   sq_confirm_...     what the interleaved rerun of a suspect says
 *   sq_night_exit      one exit code
 *
 * A change is a difference of logarithms everywhere: exp() of it is the ratio tonight / baseline.
 */
#ifndef SQ_CORE_NIGHT_H
#define SQ_CORE_NIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/paired.h"
#include "core/record.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double q;                /* share of false discoveries among suspects */
    double min_effect;       /* of time and cycles: ratio - 1 */
    double setup_min_effect; /* of set-up time, which the host's own noise moves */
    double exact_effect;     /* of memory, DRAM bytes and registers */
    double margin;     /* `unchanged` is shown to be less than this: ratio - 1 */
    double equivalence_level;  /* of that test */
    double power;              /* of "smallest detectable change" */
    double floor_quantile;     /* of |log ratio| of the baseline with itself */
    int floor_values;          /* splits from which a cell's own quantile counts as well */
    int group_min;             /* cells below which a group is judged by the spread of all */
    int min_replicates;        /* runs a side below which nothing is tested */
    int control_min;           /* control cells below which they judge nothing */
    double control_level;      /* share of nights like the baseline's that they may call unfit */
    double control_margin;     /* shift that is never called unfit: ratio - 1 */
    double inconclusive_limit; /* share of the compared cells */
    int blocks;                /* A/B/B/A blocks of a confirmation ... */
    int blocks_more;           /* ... and in all, where those leave it unresolved; at most 16 */
    double confirm_level;      /* of its one-sided test */
    uint64_t seed;             /* of the random splits */
} sq_night_policy;
sq_night_policy sq_night_policy_default(void);

/* Positive numbers, one a run that has it; none where n = 0. In the order of the replicates. */
typedef struct {
    const double *value;
    int n;
} sq_night_runs;

/* What can be found to differ: three quantities that are tested, then three without much noise. */
typedef enum {
    SQ_NIGHT_TIME,
    SQ_NIGHT_CYCLES,
    SQ_NIGHT_SETUP,
    SQ_NIGHT_TESTS,
    SQ_NIGHT_MEMORY = SQ_NIGHT_TESTS,
    SQ_NIGHT_DRAM,
    SQ_NIGHT_REGISTERS,
    SQ_NIGHT_QUANTITIES,
    SQ_NIGHT_COUNTS = SQ_NIGHT_QUANTITIES - SQ_NIGHT_TESTS
} sq_night_quantity;
/* "time", "cycles", "setup", "peak_bytes", "dram_bytes", "registers" */
const char *sq_night_quantity_name(sq_night_quantity quantity);

typedef struct {
    bool is_present;                    /* the campaign has this cell */
    sq_run_status status;               /* of all its runs: sq_night_status */
    sq_night_runs runs[SQ_NIGHT_TESTS]; /* ns, cycles, ns; cycles only of SM-bound cells */
    double counted[SQ_NIGHT_COUNTS];    /* bytes, bytes, registers a thread; NAN unknown */
    double spread[SQ_NIGHT_COUNTS];     /* from the least count of the same to the most */
} sq_night_side;

typedef struct {
    int group; /* of similar cells, 0 and up: sq_night_group */
    bool
        is_control; /* kernel hash and harness are those of the baseline: nothing can have changed */
    sq_night_side baseline, tonight;
} sq_night_cell;

/* Worst first: a run that is wrong, then failing, then those that have a time. */
sq_run_status sq_night_status(const sq_run_status *runs, int n);
/* Cells whose spread is alike: launch-bound ones (below 20 us), and above that those that wait for
 * memory and those that follow the SM clock. */
int sq_night_group(double median_ns, bool is_sm_bound);

/* What one test says by itself. */
typedef enum {
    SQ_FINDING_NONE, /* not tested: too few runs, or no such quantity */
    SQ_FINDING_SLOWER,
    SQ_FINDING_FASTER,
    SQ_FINDING_UNCHANGED,
    SQ_FINDING_INCONCLUSIVE
} sq_finding;

typedef struct {
    sq_finding finding;
    sq_interval change;   /* 95 % */
    double p, q, p_equal; /* p: of t, and as often as exchanges of runs reach it; p_equal: of the
                             equivalence test */
    double floor;         /* A/A floor, a difference of logarithms as well */
    double detectable;    /* smallest change that this night finds, with the policy's power */
    int replicates;       /* a side, that make `margin` detectable; 0: more than 1,000 */
} sq_night_test;

#define SQ_NIGHT_VERDICTS(X)                                                                       \
    X(MISMATCH, "mismatch")           /* wrong numbers */                                          \
    X(NEWLY_FAILING, "newly_failing") /* worked in the baseline */                                 \
    X(FAILED_BEFORE, "failed_before") /* failed there too */                                       \
    X(FAILED_NEW, "failed_new")       /* is not in the baseline; counts like those */              \
    X(NOT_COMPARED, "not_compared")   /* one side has no time: new, left out, unsupported */       \
    X(SUSPECT_SLOWER, "suspect_slower")                                                            \
    X(SUSPECT_LARGER, "suspect_larger") /* memory, DRAM bytes or registers */                      \
    X(CLOCKS_POWER, "clocks_power")     /* SM-bound: time and cycles disagree */                   \
    X(SUSPECT_FASTER, "suspect_faster")                                                            \
    X(INCONCLUSIVE, "inconclusive")                                                                \
    X(UNCHANGED, "unchanged")

typedef enum {
#define SQ_X(symbol, text) SQ_NIGHT_##symbol,
    SQ_NIGHT_VERDICTS(SQ_X)
#undef SQ_X
        SQ_NIGHT_VERDICT_COUNT
} sq_night_verdict;
const char *sq_night_verdict_name(sq_night_verdict verdict);
/* What a finding alone makes of a cell. */
sq_night_verdict sq_night_verdict_of(sq_finding finding);

typedef struct {
    sq_night_verdict verdict;
    unsigned suspects; /* bit 1 << quantity: each has to be confirmed; empty for faster ones */
    sq_night_test test[SQ_NIGHT_TESTS];
    double counted[SQ_NIGHT_COUNTS]; /* differences of logarithms; NAN unknown */
    bool is_bimodal;                 /* times have two modes that one side alone visits both of */
    double mode_gap;                 /* between them */
} sq_night_result;

typedef struct {
    int count[SQ_NIGHT_VERDICT_COUNT];
    int compared;                 /* cells whose time was tested */
    double inconclusive_share;    /* of those */
    double level[SQ_NIGHT_TESTS]; /* of one test, at the policy's q */
    int controls;
    sq_interval control_shift; /* median change of the control cells; lo, hi: where A/A puts it */
    bool is_unfit;             /* it is not in there */
} sq_night_summary;

/* Fills results[0 .. n) and the summary. */
sq_status sq_night_judge(const sq_night_cell *cells, int n, const sq_night_policy *policy,
                         sq_night_result *results, sq_night_summary *summary);

/* --- confirmation: A is the baseline's kept binary, B tonight's --- */

typedef enum {
    SQ_CONFIRMED,
    SQ_DISMISSED,
    SQ_UNRESOLVED,    /* the rerun could not say: too few blocks, or too much noise */
    SQ_CONFIRM_CLOCKS /* slower in time and not in cycles */
} sq_rerun_outcome;

typedef struct {
    sq_rerun_outcome outcome;
    sq_interval change; /* 95 %, of the blocks */
    double p;           /* one-sided, slower */
    int blocks;         /* that had all four numbers */
} sq_confirmation;

/* Is a cell slower? `cycles`: the same blocks in cycles for an SM-bound cell, else NULL.
 * min_effect: of the quantity (the policy's min_effect or setup_min_effect). */
sq_confirmation sq_confirm_slower(const sq_block *time, const sq_block *cycles, int n,
                                  double min_effect, const sq_night_policy *policy);
/* Is a counted quantity larger? apart: what counts of the same may lie apart by; where it hides a
 * change of the policy's size, SQ_UNRESOLVED. */
sq_rerun_outcome sq_confirm_larger(double baseline, double tonight, double apart,
                                   const sq_night_policy *policy);
/* Does a newly failing cell fail again? */
sq_rerun_outcome sq_confirm_failing(sq_run_status rerun);

/* --- exit code --- */

typedef struct {
    bool is_interrupted, has_error, is_unfit;
    int mismatches;
    int confirmed;  /* regressions, newly failing cells among them; acknowledged ones are not */
    int unresolved; /* suspects that no rerun settled, or that there was no binary to rerun for */
    int failed;     /* cells beyond those that the suite allows to fail */
    bool is_empty;  /* no cell could be compared */
    double inconclusive_share, inconclusive_limit;
    double missing_share; /* part of it: cells with a time in the baseline and none tonight */
} sq_night_tally;

typedef struct {
    int code;
    const char *why; /* "confirmed regression"; static */
} sq_night_end;
/* 130 > 1 > 5 > 4 > 2 > 6 > 3 > 0 where several hold. */
sq_night_end sq_night_exit(const sq_night_tally *tally);

#ifdef __cplusplus
}
#endif
#endif
