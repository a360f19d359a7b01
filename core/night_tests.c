/* night_tests: see night_tests.h. */
#include "core/night_tests.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/discovery.h"
#include "core/moderate.h"
#include "core/night_noise.h"
#include "core/special.h"

typedef struct {
    const sq_night_cell *cells;
    int n, groups;
    const sq_night_policy *policy;
    sq_night_quantity quantity;
    sq_two_sides *sides;
    sq_variance_prior *prior, *independent; /* a group; as of independent runs */
    double *floor;                          /* a cell; NAN where it is not tested */
    sq_moderated *moderated;
    double *p, *q, *model_p; /* p is raised where noise reaches it more often */
} quantity_test;

static void free_test(quantity_test *t)
{
    free(t->sides);
    free(t->prior);
    free(t->independent);
    free(t->floor);
    free(t->moderated);
    free(t->p);
    free(t->q);
    free(t->model_p);
}

static sq_status allocate(quantity_test *t)
{
    size_t n = (size_t)t->n + 1; /* none is no error */
    t->sides = malloc(n * sizeof *t->sides);
    t->prior = malloc((size_t)t->groups * sizeof *t->prior);
    t->independent = malloc((size_t)t->groups * sizeof *t->independent);
    t->floor = malloc(n * sizeof *t->floor);
    t->moderated = malloc(n * sizeof *t->moderated);
    t->p = malloc(n * sizeof *t->p);
    t->q = malloc(n * sizeof *t->q);
    t->model_p = malloc(n * sizeof *t->model_p);
    bool is_ready = t->sides && t->prior && t->independent && t->floor && t->moderated && t->p &&
                    t->q && t->model_p;
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
        const sq_night_runs *a = &t->cells[i].baseline.runs[t->quantity],
                            *b = &t->cells[i].tonight.runs[t->quantity];
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

/* --- noise --- */

static void moderate_all(quantity_test *t)
{
    for (int i = 0; i < t->n; i++) {
        t->moderated[i] = sq_moderate(&t->sides[i], &t->prior[t->cells[i].group]);
        t->p[i] = t->moderated[i].p;
    }
}

/* Runs that resemble their neighbours: the variances are fitted again. */
static sq_status believe_neighbours(quantity_test *t, double correlation)
{
    if (!(correlation > 0))
        return SQ_OK;
    for (int i = 0; i < t->n; i++)
        t->sides[i] = sq_two_sides_in_series(&t->sides[i], correlation);
    return fit_groups(t);
}

/* Similar cells' is that of the two halves of the baseline, were they of different nights. */
static double floor_of(const quantity_test *t, const sq_run_noise *noise, int i)
{
    int group = t->cells[i].group;
    sq_two_sides halves = t->sides[i];
    halves.n_a = t->sides[i].n_a / 2, halves.n_b = t->sides[i].n_a - halves.n_a;
    halves.difference = 0;
    sq_moderated split = sq_moderate(&halves, &t->prior[group]);
    double errors = noise->similar[group];
    if (isnan(errors))
        errors = sq_t_quantile((1 + t->policy->floor_quantile) / 2, split.df);
    return fmax(errors * split.error, noise->own[i]);
}

/* What is found has to stand beside exchanges of runs as well. level: of single tests, at the policy's q;
 * as the t of a cell says it. */
static sq_status discover(quantity_test *t, const sq_quantity *independent, double *level)
{
    SQ_TRY(sq_false_discovery(t->p, t->n, t->q));
    *level = sq_discovery_level(t->p, t->q, t->n, t->policy->q);
    SQ_TRY(sq_raise_to_exchanges(independent, *level, t->p));
    SQ_TRY(sq_false_discovery(t->p, t->n, t->q));
    for (int i = 0; i < t->n; i++)
        t->model_p[i] = t->moderated[i].p;
    *level = sq_discovery_level(t->model_p, t->q, t->n, t->policy->q);
    return SQ_OK;
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

static sq_status test_all(quantity_test *t, sq_run_noise *noise, sq_night_result *results,
                          double *level)
{
    SQ_TRY(allocate(t));
    take_sides(t);
    SQ_TRY(fit_groups(t));
    sq_quantity independent = {t->cells,  t->sides,    t->independent, t->n,
                               t->groups, t->quantity, t->policy};
    memcpy(t->independent, t->prior, (size_t)t->groups * sizeof *t->prior);
    SQ_TRY(sq_run_noise_of(&independent, noise));
    SQ_TRY(believe_neighbours(t, noise->correlation));
    moderate_all(t);
    for (int i = 0; i < t->n; i++)
        t->floor[i] = isnan(t->p[i]) ? NAN : floor_of(t, noise, i);
    SQ_TRY(discover(t, &independent, level));
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
    sq_run_noise noise = {.own = NULL};
    sq_status status = test_all(&t, &noise, results, level);
    sq_run_noise_free(&noise);
    free_test(&t);
    return status;
}
