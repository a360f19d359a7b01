/* plan: from what was asked to the ordered list of runs. */
#ifndef SQ_BENCH_PLAN_H
#define SQ_BENCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/catalog.h"
#include "bench/filter.h"
#include "bench/policy.h"
#include "bench/predict.h"
#include "bench/settings.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One run: a cell and which replicate. status is SQ_RUN_OK for what shall be measured; anything
 * else was decided while planning (unsupported, skipped) and becomes a row as it is. */
typedef struct {
    sq_cell cell;
    char key[SQ_KEY_MAX];
    int place;     /* of the cell among the plan's cells */
    int64_t width; /* model width the shape was derived from; 0: none */
    int replicate, attempt;
    double tensor_bytes, launch_ns, seconds; /* predicted */
    sq_run_status status;
    char reason[SQ_REASON_MAX];
    bool is_done; /* a resumed campaign has this run already */
    bool is_sentinel; /* its cell is measured as both sides of a night */
} sq_plan_item;

enum { SQ_STRATUM_CELLS = 400 };

/* The cells are divided at random into strata of at most SQ_STRATUM_CELLS and about equal size. A
 * stratum is measured in rounds: replicate 0 of all of its cells, then replicate 1 ..., each round
 * in an order of its own. So a drift of the machine meets all cells of a stratum alike, replicates
 * of a cell lie minutes apart, and a campaign that ends early has whole cells to show. Sentinels have
 * twice the replicates: after round k comes one of them alone, replicate `replicates` + k, so that the
 * even and the odd ones are measured alike.
 * proved: by place, the checksum of the output that this campaign has proved; "" none yet. */
typedef struct {
    sq_plan_item *item;
    int count, n_cells;
    char (*proved)[SQ_HASH_TEXT];
    char hash[SQ_HASH_TEXT]; /* of cells, replicates, sentinels, policy and counters; not of seed
                                and order */
} sq_plan;

typedef struct {
    const sq_settings *groups; /* each with its defaults merged in */
    int n_groups;
    const sq_settings *overrides; /* of the command line, laid over every group; NULL: none */
    const sq_names *only_ops;     /* keep these subjects of the groups; NULL: all */
    const sq_names *only_families;
    const char *const *cells; /* keys of cells asked for one by one; NULL-ended or NULL */
    const sq_catalog *catalog;
    const sq_filter *filter;
    const sq_policy *policy;
    const sq_rates *rates;
    int replicates;
    double sentinel_share; /* of the cells; 0: none */
    bool is_random;
    sq_clock clock;       /* that every cell is measured at */
    bool is_untimed;      /* the cells are launched only: a key may say any clock */
    const char *counters; /* sets that are counted (profile/sets.h); NULL: none */
    bool counts_every_run;
    uint64_t seed;
} sq_plan_request;

/* Impossible shapes and unknown names are refused with the rule and the nearest name; *out is then
 * empty. A plan without a cell is refused too. */
sq_status sq_plan_build(const sq_plan_request *request, sq_plan *out, sq_error *err);
void sq_plan_free(sq_plan *plan);

/* --- expand.c: one group --- */

/* Called for every cell of a group, checked, its key written. */
typedef sq_status (*sq_cell_fn)(const sq_subject *subject, const sq_cell *cell, int64_t width,
                                void *arg, sq_error *err);
/* Axes and providers of the command line that no subject here has are passed over and counted in
 * used[i] (one per override setting): the caller refuses those that nobody used. */
sq_status sq_group_expand(const sq_plan_request *request, const sq_settings *group, bool *used,
                          sq_cell_fn fn, void *arg, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
