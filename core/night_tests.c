/* night_tests: see night_tests.h. */
#include "core/night_tests.h"

#include <math.h>
#include <stdlib.h>

#include "core/discovery.h"
#include "core/moderate.h"
#include "core/splits.h"
#include "core/stats.h"

typedef struct {
    const sq_night_cell *cells;
    int n, groups;
    const sq_night_policy *policy;
    sq_night_quantity quantity;
    sq_two_sides *sides;
    sq_variance_prior *prior; /* a group */
    double *floor;            /* a cell; NAN where it is not tested */
    sq_moderated *moderated;
    double *p, *q;
} quantity_test;

static const sq_night_runs *baseline_of(const quantity_test *t, int i)
{
    return &t->cells[i].baseline.runs[t->quantity];
}

static void free_test(quantity_test *t)
{
    free(t->sides);
    free(t->prior);
    free(t->floor);
    free(t->moderated);
    free(t->p);
    free(t->q);
}

static sq_status allocate(quantity_test *t)
{
    size_t n = (size_t)t->n + 1; /* none is no error */
    t->sides = malloc(n * sizeof *t->sides);
    t->prior = malloc((size_t)t->groups * sizeof *t->prior);
    t->floor = malloc(n * sizeof *t->floor);
    t->moderated = malloc(n * sizeof *t->moderated);
    t->p = malloc(n * sizeof *t->p);
    t->q = malloc(n * sizeof *t->q);
    bool is_ready = t->sides && t->prior && t->floor && t->moderated && t->p && t->q;
    return is_ready ? SQ_OK : SQ_OUT_OF_MEMORY;
}

static int groups_of(const sq_night_cell *cells, int n)
{
    int groups = 1;
    for (int i = 0; i < n; i++)
        groups = cells[i].group >= groups ? cells[i].group + 1 : groups;
    return groups;
}

static void take_sides(quantity_test *t)
{
    int least = t->policy->min_replicates;
    for (int i = 0; i < t->n; i++) {
        const sq_night_runs *a = baseline_of(t, i), *b = &t->cells[i].tonight.runs[t->quantity];
        bool is_enough = a->n >= least && b->n >= least;
        t->sides[i] = sq_two_sides_of(a->value, is_enough ? a->n : 0, b->value, b->n);
    }
}

enum { ALL_GROUPS = -1 };

static bool is_in(const quantity_test *t, int i, int group)
{
    return group == ALL_GROUPS || t->cells[i].group == group;
}

/* --- variances, fitted within groups --- */

static sq_status fit(const quantity_test *t, int group, sq_variance_prior *prior, int *known)
{
    sq_two_sides *members = malloc((size_t)(t->n + 1) * sizeof *members);
    if (!members)
        return SQ_OUT_OF_MEMORY;
    *known = 0;
    for (int i = 0; i < t->n; i++)
        if (is_in(t, i, group) && t->sides[i].df > 0)
            members[(*known)++] = t->sides[i];
    sq_status status = sq_variance_prior_fit(members, *known, prior);
    free(members);
    return status;
}

static sq_status fit_groups(quantity_test *t)
{
    sq_variance_prior of_all;
    int known;
    SQ_TRY(fit(t, ALL_GROUPS, &of_all, &known));
    for (int group = 0; group < t->groups; group++) {
        SQ_TRY(fit(t, group, &t->prior[group], &known));
        if (known < t->policy->group_min)
            t->prior[group] = of_all;
    }
    return SQ_OK;
}

/* --- A/A floor: the baseline's runs against themselves --- */

enum { DRAWS_OF_A_CELL = 200, DRAWS_FOR_A_POOL = 20 };

typedef struct {
    double *logs;   /* of one cell */
    double *change; /* splits drawn */
    int n;
    int64_t distinct; /* splits that there are */
} split_pool;

static sq_status open_pool(const quantity_test *t, split_pool *pool)
{
    int longest = 1;
    for (int i = 0; i < t->n; i++)
        longest = baseline_of(t, i)->n > longest ? baseline_of(t, i)->n : longest;
    *pool = (split_pool){
        .logs = malloc((size_t)longest * sizeof(double)),
        .change = malloc(((size_t)t->n * DRAWS_FOR_A_POOL + DRAWS_OF_A_CELL) * sizeof(double))};
    return pool->logs && pool->change ? SQ_OK : SQ_OUT_OF_MEMORY;
}

static void close_pool(split_pool *pool)
{
    free(pool->logs);
    free(pool->change);
}

/* Splits of a cell, in units of `unit`. */
static void add_splits(const quantity_test *t, int i, double unit, int draws, split_pool *pool)
{
    const sq_night_runs *runs = baseline_of(t, i);
    int32_t distinct = sq_splits(runs->n);
    if (distinct == 0)
        return;
    for (int k = 0; k < runs->n; k++)
        pool->logs[k] = log(runs->value[k]);
    pool->distinct += distinct;
    for (int draw = 0; draw < draws; draw++) {
        int64_t index = (int64_t)i * DRAWS_OF_A_CELL + draw;
        double change = sq_split_difference(pool->logs, runs->n, t->policy->seed, index);
        pool->change[pool->n++] = fabs(change) / unit;
    }
}

/* NAN where there are too few splits to know. */
static double pool_quantile(const quantity_test *t, split_pool *pool)
{
    if (pool->distinct < t->policy->floor_values)
        return NAN;
    sq_sort(pool->change, pool->n);
    return sq_quantile(pool->change, pool->n, t->policy->floor_quantile);
}

/* In standard errors of each cell's comparison: in ns a few cells with two far modes, or the noisy
 * half of a group, would set the floor of the quiet ones. */
static double floor_of_group(const quantity_test *t, int group, split_pool *pool)
{
    pool->n = 0, pool->distinct = 0;
    for (int i = 0; i < t->n; i++)
        if (is_in(t, i, group) && t->moderated[i].error > 0)
            add_splits(t, i, t->moderated[i].error, DRAWS_FOR_A_POOL, pool);
    return pool_quantile(t, pool);
}

static double floor_of_cell(const quantity_test *t, int i, split_pool *pool)
{
    if (sq_splits(baseline_of(t, i)->n) < t->policy->floor_values)
        return NAN;
    pool->n = 0, pool->distinct = 0;
    add_splits(t, i, 1, DRAWS_OF_A_CELL, pool);
    return pool_quantile(t, pool);
}

/* Of similar cells, else of all; 0 where even all have too few splits: then the policy's minimum
 * stands alone. */
static void pooled_floors(const quantity_test *t, split_pool *pool, double *group)
{
    double all = NAN;
    bool is_all_known = false;
    for (int g = 0; g < t->groups; g++) {
        group[g] = floor_of_group(t, g, pool);
        if (isnan(group[g]) && !is_all_known)
            all = floor_of_group(t, ALL_GROUPS, pool), is_all_known = true;
        if (isnan(group[g]))
            group[g] = isnan(all) ? 0 : all;
    }
}

static sq_status find_floors(quantity_test *t)
{
    split_pool pool;
    sq_status status = open_pool(t, &pool);
    double *group = malloc((size_t)t->groups * sizeof *group);
    if (status == SQ_OK && group) {
        pooled_floors(t, &pool, group);
        for (int i = 0; i < t->n; i++) {
            double own = floor_of_cell(t, i, &pool);
            double similar = group[t->cells[i].group] * t->moderated[i].error;
            t->floor[i] = isnan(own) ? similar : own;
        }
    }
    close_pool(&pool);
    free(group);
    return group ? status : SQ_OUT_OF_MEMORY;
}

/* --- what a test says --- */

double sq_night_least(const sq_night_policy *policy, sq_night_quantity quantity)
{
    return log1p(quantity == SQ_NIGHT_SETUP ? policy->setup_min_effect : policy->min_effect);
}

static sq_finding finding_of(const quantity_test *t, const sq_night_test *test)
{
    double size = fabs(test->change.estimate);
    bool is_found = test->q <= t->policy->q && size >= sq_night_least(t->policy, t->quantity) &&
                    size >= test->floor;
    if (is_found)
        return test->change.estimate > 0 ? SQ_FINDING_SLOWER : SQ_FINDING_FASTER;
    bool is_equal = test->p_equal <= t->policy->equivalence_level;
    return is_equal ? SQ_FINDING_UNCHANGED : SQ_FINDING_INCONCLUSIVE;
}

static double margin_of(const quantity_test *t)
{
    return fmax(log1p(t->policy->margin),
                t->quantity == SQ_NIGHT_SETUP ? sq_night_least(t->policy, t->quantity) : 0);
}

/* In standard errors, at some degrees of freedom, which most cells of a group share. */
typedef struct {
    double df, interval, detectable;
} widths;

static widths widths_at(double df, double level, double power)
{
    sq_moderated unit = {.error = 1, .df = df};
    return (widths){df, sq_moderated_interval(&unit, 0.95).hi, sq_detectable(&unit, level, power)};
}

static void conclude(const quantity_test *t, int i, double level, const widths *width,
                     sq_night_test *test)
{
    const sq_night_policy *policy = t->policy;
    const sq_moderated *moderated = &t->moderated[i];
    double margin = margin_of(t), middle = moderated->difference;
    double half = width->interval * moderated->error, least = sq_night_least(policy, t->quantity);
    test->change = (sq_interval){middle, middle - half, middle + half};
    test->p_equal = sq_equivalence_p(moderated, margin);
    test->detectable = fmax(width->detectable * moderated->error, fmax(test->floor, least));
    test->finding = finding_of(t, test);
    if (test->finding == SQ_FINDING_INCONCLUSIVE)
        test->replicates = sq_replicates_for(&t->sides[i], &t->prior[t->cells[i].group], margin,
                                             level, policy->power);
}

static void conclude_group(const quantity_test *t, int group, double level,
                           sq_night_result *results)
{
    widths width = {.df = NAN};
    for (int i = 0; i < t->n; i++) {
        if (!is_in(t, i, group) || isnan(t->p[i]))
            continue;
        if (width.df != t->moderated[i].df)
            width = widths_at(t->moderated[i].df, level, t->policy->power);
        conclude(t, i, level, &width, &results[i].test[t->quantity]);
    }
}

static void conclude_all(const quantity_test *t, double level, sq_night_result *results)
{
    for (int i = 0; i < t->n; i++)
        results[i].test[t->quantity] = (sq_night_test){.finding = SQ_FINDING_NONE,
                                                       .change = {NAN, NAN, NAN},
                                                       .p = t->p[i],
                                                       .q = t->q[i],
                                                       .p_equal = NAN,
                                                       .floor = t->floor[i],
                                                       .detectable = NAN};
    for (int group = 0; group < t->groups; group++)
        conclude_group(t, group, level, results);
}

static sq_status test_all(quantity_test *t, sq_night_result *results, double *level)
{
    SQ_TRY(allocate(t));
    take_sides(t);
    SQ_TRY(fit_groups(t));
    for (int i = 0; i < t->n; i++) {
        t->moderated[i] = sq_moderate(&t->sides[i], &t->prior[t->cells[i].group]);
        t->p[i] = t->moderated[i].p;
    }
    SQ_TRY(find_floors(t));
    SQ_TRY(sq_false_discovery(t->p, t->n, t->q));
    *level = sq_discovery_level(t->p, t->q, t->n, t->policy->q);
    conclude_all(t, *level, results);
    return SQ_OK;
}

sq_status sq_night_test_quantity(const sq_night_cell *cells, int n, const sq_night_policy *policy,
                                 sq_night_quantity quantity, sq_night_result *results,
                                 double *level)
{
    quantity_test t = {.cells = cells,
                       .n = n,
                       .groups = groups_of(cells, n),
                       .policy = policy,
                       .quantity = quantity};
    sq_status status = test_all(&t, results, level);
    free_test(&t);
    return status;
}
