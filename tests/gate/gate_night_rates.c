/* Each rule of the night alone, on series of every kind: what is promised at a level holds there. A rate
 * may be lower. Where it is the rate of a simulation, three standard errors of the number of trials
 * are left to it and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "core/discovery.h"
#include "core/moderate.h"
#include "core/modes.h"
#include "core/night.h"
#include "core/paired.h"
#include "core/special.h"
#include "tests/support/series.h"

enum { MOST_CELLS = 3000, RUNS = 5 };

static void is_at_most(double nominal, double value, double trials, const char *what,
                       const sq_series *law)
{
    double most = nominal + 3 * sqrt(nominal * (1 - nominal) / trials);
    print_message("%-36s %-8s %.4f (nominal %.3f, at most %.4f of %.0f)\n", what, law->name, value,
                  nominal, most, trials);
    if (!(value <= most))
        fail_msg("%s, %s: %.4f is more than %.4f", what, law->name, value, most);
}

static void is_at_least(double least, double value, const char *what, const sq_series *law)
{
    print_message("%-36s %-8s %.4f (at least %.3f)\n", what, law->name, value, least);
    if (!(value >= least))
        fail_msg("%s, %s: %.4f is less than %.3f", what, law->name, value, least);
}

/* --- nights --- */

/* Run medians spread by 1 %, times exp(0.5 z) from cell to cell. The runs of a side are in a row: of
 * AR(1) each resembles the one before it, by 0.7. */
typedef struct {
    double cv[MOST_CELLS], a[MOST_CELLS][RUNS], b[MOST_CELLS][RUNS];
    sq_night_cell cell[MOST_CELLS];
    sq_night_result result[MOST_CELLS];
    sq_night_summary summary;
} night;

static void draw_row(const sq_series *law, sq_source *s, double cv, double offset, double *runs,
                     int n)
{
    s->before = sq_draw_gaussian(s);
    for (int k = 0; k < n; k++)
        runs[k] = exp(offset + cv * law->draw(s));
}

/* The first `changed` cells have another level tonight. */
static void draw_night(const sq_series *law, sq_source *s, int cells, int changed, double ratio,
                       night *x)
{
    for (int i = 0; i < cells; i++) {
        x->cv[i] = 0.01 * exp(0.5 * sq_draw_gaussian(s));
        draw_row(law, s, x->cv[i], 0, x->a[i], RUNS);
        draw_row(law, s, x->cv[i], i < changed ? log(ratio) : 0, x->b[i], RUNS);
    }
}

static void judge(night *x, int cells, const sq_night_policy *policy)
{
    for (int i = 0; i < cells; i++) {
        sq_night_side side = {.is_present = true, .counted = {NAN, NAN, NAN}};
        x->cell[i] = (sq_night_cell){.is_control = true, .baseline = side, .tonight = side};
        x->cell[i].baseline.runs[SQ_NIGHT_TIME] = (sq_night_runs){x->a[i], RUNS};
        x->cell[i].tonight.runs[SQ_NIGHT_TIME] = (sq_night_runs){x->b[i], RUNS};
    }
    assert_int_equal(sq_night_judge(x->cell, cells, policy, x->result, &x->summary), SQ_OK);
}

static const sq_night_test *test_of(const night *x, int i)
{
    return &x->result[i].test[SQ_NIGHT_TIME];
}

/* --- single cells --- */

/* Shares of cells. */
typedef struct {
    double found, missed, above, split;
} shares;

static bool is_split_above(const sq_series *law, sq_source *s, double cv, double floor)
{
    double runs[RUNS];
    draw_row(law, s, cv, 0, runs, RUNS);
    double two = log(runs[0] * runs[1]) / 2, three = log(runs[2] * runs[3] * runs[4]) / 3;
    return fabs(two - three) > floor;
}

static void add_night(const sq_series *law, sq_source *s, const night *x, shares *sum)
{
    for (int i = 0; i < MOST_CELLS; i++) {
        const sq_night_test *test = test_of(x, i);
        sum->found += test->p <= 0.05;
        sum->missed += test->change.lo > 0 || test->change.hi < 0;
        sum->above += fabs(test->change.estimate) > test->floor;
        sum->split += is_split_above(law, s, x->cv[i], test->floor);
    }
}

/* The test, its interval, and the floor: what is exceeded by one cell in twenty at most, when nothing
 * changed, by tonight's difference as by another split of as many runs in two and three. */
static void cells_that_did_not_change(void **state)
{
    (void)state;
    enum { NIGHTS = 2, CELLS = NIGHTS * MOST_CELLS };
    static night x;
    sq_night_policy policy = sq_night_policy_default();
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        sq_source s = {.seed = 40 + (uint64_t)k};
        shares sum = {0, 0, 0, 0};
        for (int i = 0; i < NIGHTS; i++) {
            draw_night(law, &s, MOST_CELLS, 0, 1, &x);
            judge(&x, MOST_CELLS, &policy);
            add_night(law, &s, &x, &sum);
        }
        is_at_most(0.05, sum.found / CELLS, CELLS, "moderated t", law);
        is_at_most(0.05, sum.missed / CELLS, CELLS, "its interval misses", law);
        is_at_most(0.05, sum.above / CELLS, CELLS, "differences above the floor", law);
        is_at_most(0.05, sum.split / CELLS, CELLS, "new splits above the floor", law);
    }
}

static void cells_that_did(void **state)
{
    (void)state;
    static night x;
    sq_night_policy policy = sq_night_policy_default();
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        sq_source s = {.seed = 50 + (uint64_t)k};
        double equal = 0;
        draw_night(law, &s, MOST_CELLS, MOST_CELLS, 1 + policy.margin, &x);
        judge(&x, MOST_CELLS, &policy);
        for (int i = 0; i < MOST_CELLS; i++)
            equal += test_of(&x, i)->p_equal <= policy.equivalence_level;
        is_at_most(policy.equivalence_level, equal / MOST_CELLS, MOST_CELLS,
                   "called unchanged, 2 % slower", law);
    }
}

/* The difference that a test at 5 % finds in 80 % of the cells: cells of one spread. */
static void detectable_changes(void **state)
{
    (void)state;
    static sq_two_sides cell[MOST_CELLS];
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 60 + (uint64_t)k};
        sq_variance_prior prior;
        double found = 0;
        for (int i = 0; i < MOST_CELLS; i++) {
            double a[RUNS], b[RUNS];
            sq_draw_medians(&sq_all_series[k], &s, a, RUNS);
            sq_draw_medians(&sq_all_series[k], &s, b, RUNS);
            cell[i] = sq_two_sides_of(a, RUNS, b, RUNS);
        }
        assert_int_equal(sq_variance_prior_fit(cell, MOST_CELLS, &prior), SQ_OK);
        for (int i = 0; i < MOST_CELLS; i++) {
            sq_moderated test = sq_moderate(&cell[i], &prior);
            test.difference += sq_detectable(&test, 0.05, 0.8);
            found += test.difference / test.error > sq_t_quantile(0.975, test.df);
        }
        is_at_least(0.72, found / MOST_CELLS, "found of what is detectable", &sq_all_series[k]);
        assert_true(found / MOST_CELLS <= 0.92);
    }
}

/* --- many cells --- */

enum { FAMILY = 100 };

typedef struct {
    int found, wrong;
} discoveries;

static discoveries discover(const sq_series *law, sq_source *s, int changed, night *x)
{
    sq_night_policy policy = sq_night_policy_default();
    discoveries of = {0, 0};
    draw_night(law, s, FAMILY, changed, 1.05, x);
    judge(x, FAMILY, &policy);
    for (int i = 0; i < FAMILY; i++) {
        bool is_found = test_of(x, i)->q <= policy.q;
        of.found += is_found;
        of.wrong += is_found && i >= changed;
    }
    return of;
}

/* Nothing changed: q <= 5 % may be seen on 5 % of the nights. Some did: 5 % of what is found may be
 * wrong, on average; as a share of the night's it counts as one trial. */
static void false_discoveries(void **state)
{
    (void)state;
    enum { NIGHTS = 300, CHANGED = 10 };
    static const double power[SQ_SERIES] = {0.9, 0.9, 0.25, 0.9, 0.75};
    static night x;
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        sq_source s = {.seed = 300 + (uint64_t)k};
        double nights = 0, share = 0, found = 0;
        for (int i = 0; i < NIGHTS; i++) {
            nights += discover(law, &s, 0, &x).found > 0;
            discoveries some = discover(law, &s, CHANGED, &x);
            share += some.found ? (double)some.wrong / some.found : 0;
            found += some.found - some.wrong;
        }
        is_at_most(0.05, nights / NIGHTS, NIGHTS, "nights with a false discovery", law);
        is_at_most(0.05, share / NIGHTS, NIGHTS * CHANGED, "share of false discoveries", law);
        is_at_least(power[k], found / NIGHTS / CHANGED, "discovered of what is 5 % slower", law);
    }
}

/* --- the control --- */

/* Nights whose controls say "unfit" with no margin beside A/A. */
static void control_of_the_night(void **state)
{
    (void)state;
    enum { NIGHTS = 1000, SLOW = 50, CONTROLS = 20 };
    static night x;
    sq_night_policy policy = sq_night_policy_default();
    policy.control_margin = 0;
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 600 + (uint64_t)k};
        int unfit = 0, seen = 0;
        for (int i = 0; i < NIGHTS; i++) {
            draw_night(&sq_all_series[k], &s, CONTROLS, 0, 1, &x);
            judge(&x, CONTROLS, &policy);
            unfit += x.summary.is_unfit;
        }
        for (int i = 0; i < SLOW; i++) {
            draw_night(&sq_all_series[k], &s, CONTROLS, CONTROLS, 1.02, &x);
            judge(&x, CONTROLS, &policy);
            seen += x.summary.is_unfit;
        }
        is_at_most(policy.control_level, (double)unfit / NIGHTS, NIGHTS, "unfit nights",
                   &sq_all_series[k]);
        is_at_least(0.8, (double)seen / SLOW, "nights seen that are 2 % slower", &sq_all_series[k]);
    }
}

/* The same where half of the variance of a run is on all cells alike, but of AR(1): what moves all cells
 * from run to run and stays has moved the night. */
static void control_of_shared_noise(void **state)
{
    (void)state;
    enum { NIGHTS = 1000, CONTROLS = 20 };
    static night x;
    sq_night_policy policy = sq_night_policy_default();
    policy.control_margin = 0;
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        sq_source s = {.seed = 650 + (uint64_t)k};
        int unfit = 0;
        if (k == SQ_AR1)
            continue;
        for (int i = 0; i < NIGHTS; i++) {
            double shared[2][RUNS];
            draw_row(law, &s, 0.01, 0, shared[0], RUNS);
            draw_row(law, &s, 0.01, 0, shared[1], RUNS);
            draw_night(law, &s, CONTROLS, 0, 1, &x);
            for (int j = 0; j < CONTROLS * RUNS; j++) {
                x.a[j / RUNS][j % RUNS] *= shared[0][j % RUNS];
                x.b[j / RUNS][j % RUNS] *= shared[1][j % RUNS];
            }
            judge(&x, CONTROLS, &policy);
            unfit += x.summary.is_unfit;
        }
        is_at_most(policy.control_level, (double)unfit / NIGHTS, NIGHTS,
                   "unfit nights, noise of all cells", law);
    }
}

/* --- confirmation --- */

static void draw_blocks(const sq_series *law, sq_source *s, double ratio, sq_block *block, int n)
{
    s->before = sq_draw_gaussian(s);
    for (int i = 0; i < n; i++) {
        block[i].a[0] = exp(0.01 * law->draw(s));
        block[i].b[0] = ratio * exp(0.01 * law->draw(s));
        block[i].b[1] = ratio * exp(0.01 * law->draw(s));
        block[i].a[1] = exp(0.01 * law->draw(s));
    }
}

/* Also where each run resembles the one before: two of a side are between two of the other. */
static void sign_flips_in_blocks(void **state)
{
    (void)state;
    enum { SUSPECTS = 10000, BLOCKS = 10 };
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 700 + (uint64_t)k};
        double at_5 = 0, at_1 = 0;
        for (int i = 0; i < SUSPECTS; i++) {
            sq_block block[BLOCKS];
            double difference[BLOCKS];
            draw_blocks(&sq_all_series[k], &s, 1, block, BLOCKS);
            for (int j = 0; j < BLOCKS; j++)
                difference[j] = sq_block_difference(&block[j]);
            double p = sq_sign_flip_p(difference, BLOCKS);
            at_5 += p <= 0.05;
            at_1 += p <= 0.01;
        }
        is_at_most(0.05, at_5 / SUSPECTS, SUSPECTS, "sign flips at 5 %", &sq_all_series[k]);
        is_at_most(0.01, at_1 / SUSPECTS, SUSPECTS, "sign flips at 1 %", &sq_all_series[k]);
    }
}

static double share_of(const sq_series *law, uint64_t seed, double ratio, sq_rerun_outcome outcome)
{
    enum { SUSPECTS = 1000 };
    sq_night_policy policy = sq_night_policy_default();
    sq_source s = {.seed = seed};
    int n = policy.blocks_more, times = 0;
    for (int i = 0; i < SUSPECTS; i++) {
        sq_block block[SQ_SIGN_FLIP_EXACT];
        draw_blocks(law, &s, ratio, block, n);
        times += sq_confirm_slower(block, NULL, n, policy.min_effect, &policy).outcome == outcome;
    }
    return (double)times / SUSPECTS;
}

/* What did not change is confirmed no more often than its test's level, what is slower by the least
 * that counts dismissed no more often than its bound's; what is 5 % slower is confirmed. */
static void confirmations(void **state)
{
    (void)state;
    sq_night_policy policy = sq_night_policy_default();
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        double least = 1 + policy.min_effect;
        is_at_most(policy.confirm_level, share_of(law, 800, 1, SQ_CONFIRMED), 1000,
                   "confirmed, unchanged", law);
        is_at_most(0.05, share_of(law, 810, least, SQ_DISMISSED), 1000, "dismissed, 2 % slower",
                   law);
        is_at_least(k == SQ_SPIKY ? 0.94 : 0.98, share_of(law, 820, 1.05, SQ_CONFIRMED),
                    "confirmed, 5 % slower", law);
    }
}

/* --- modes, rates --- */

/* One series in a hundred of one level is called bimodal, of as many runs as there are. */
static void modes_of_one_level(void **state)
{
    (void)state;
    enum { SERIES = 4000 };
    static const int sizes[] = {8, 10, 14, 20};
    for (int k = 0; k < SQ_SERIES; k++)
        for (int j = 0; j < 4; j++) {
            sq_source s = {.seed = 900 + (uint64_t)k};
            double flagged = 0, far = 0;
            for (int i = 0; i < SERIES; i++) {
                double x[20], y[20];
                sq_modes modes;
                for (int run = 0; run < sizes[j]; run++) {
                    x[run] = sq_all_series[k].draw(&s);
                    y[run] = x[run] + (run % 3 ? 0 : 30);
                }
                assert_int_equal(sq_modes_of(x, sizes[j], &modes), SQ_OK);
                flagged += modes.is_bimodal;
                assert_int_equal(sq_modes_of(y, sizes[j], &modes), SQ_OK);
                far += modes.is_bimodal;
            }
            char what[32];
            snprintf(what, sizeof what, "called bimodal, %d runs", sizes[j]);
            if (k != SQ_BIMODAL)
                is_at_most(0.01, flagged / SERIES, SERIES, what, &sq_all_series[k]);
            is_at_least(0.8, far / SERIES, "with far modes", &sq_all_series[k]);
        }
}

/* The exact interval of a rate holds it at least as often as it says, whatever the rate. */
static void rate_interval(void **state)
{
    (void)state;
    enum { TRIALS = 60 };
    for (double rate = 0.005; rate < 1; rate += 0.0171) {
        double covered = 0, mass = pow(1 - rate, TRIALS);
        for (int k = 0; k <= TRIALS; k++) {
            sq_interval interval = sq_rate(k, TRIALS);
            covered += interval.lo <= rate && rate <= interval.hi ? mass : 0;
            mass *= (TRIALS - k) / (k + 1.0) * rate / (1 - rate);
        }
        assert_true(covered >= 0.95);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_that_did_not_change), cmocka_unit_test(cells_that_did),
        cmocka_unit_test(detectable_changes),        cmocka_unit_test(false_discoveries),
        cmocka_unit_test(control_of_the_night),      cmocka_unit_test(control_of_shared_noise),
        cmocka_unit_test(sign_flips_in_blocks),      cmocka_unit_test(confirmations),
        cmocka_unit_test(modes_of_one_level),        cmocka_unit_test(rate_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
