/* night_sim: a night of cells whose truth is known, judged and confirmed as the gate would. */
#ifndef SQ_TESTS_NIGHT_SIM_H
#define SQ_TESTS_NIGHT_SIM_H

#include "core/night.h"
#include "tests/support/series.h"

typedef struct {
    int cells, runs;             /* runs: replicates a side */
    int regressed;               /* so many cells are `effect` slower tonight, in code */
    double effect;               /* ratio - 1 */
    double cv;                   /* run to run: median over the cells */
    double most_cv;              /* of the regressed cells; 0: no limit */
    double spread;               /* standard deviation of its logarithm over the cells */
    double shift;                /* of all cells tonight, whatever the binary */
    double night_sd;             /* of a cell from night to night, which both binaries share */
    double slow_share, mode_gap; /* runs that choose a slower mode, and by how much ... */
    int modes_every;             /* ... in every so many-th cell; 0: in none */
    double (*draw)(sq_source *); /* of a run, in units of the cell's cv; NULL: Gaussian */
    bool has_all;                /* cycles and set-up time, equal to the time, are tested as well */
    uint64_t kept_seed;          /* of the baseline, for nights that share one; 0: each its own */
    bool *is_found;              /* set for each regressed cell that was confirmed; or NULL */
} sim_setup;

typedef struct {
    int suspects, false_suspects;
    int confirmed, false_confirmed;
    int missed;     /* regressed cells not confirmed */
    int unresolved; /* suspects that the rerun did not settle */
    int bimodal;    /* cells flagged so */
    double inconclusive_share;
    int code; /* exit */
} sim_outcome;

sim_outcome sim_night(const sim_setup *setup, const sq_night_policy *policy, uint64_t seed);

/* Means over `nights` nights. power: share of the regressed cells that were confirmed. */
typedef struct {
    double suspects, false_suspects, false_confirmed, power, power_of_suspicion, unresolved;
    double bimodal, inconclusive_share;
    int nights, nights_with_2, nights_with_3;
} sim_summary;
sim_summary sim_nights(const sim_setup *setup, const sq_night_policy *policy, int nights,
                       uint64_t seed);
void sim_print(const char *what, const sim_summary *summary);

#endif
