/* Each rule of the night alone, on series of every kind: what is promised at a level holds there.
 * What does not hold is asserted as well. Bounds leave four standard errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "core/discovery.h"
#include "core/moderate.h"
#include "core/modes.h"
#include "core/night.h"
#include "core/paired.h"
#include "core/special.h"
#include "core/stats.h"
#include "tests/support/series.h"

enum { CELLS = 3000, RUNS = 5 };

static void is_between(double value, double lo, double hi, const char *what, const sq_series *law)
{
    print_message("%s, %s: %.4f\n", what, law->name, value);
    if (!(value >= lo && value <= hi))
        fail_msg("%s, %s: %.4f is not in %.3f ... %.3f", what, law->name, value, lo, hi);
}

/* --- tests of single cells --- */

/* Sides of cells whose true ratio is `ratio`; all of one spread. */
static void draw_sides(const sq_series *law, uint64_t seed, double ratio, sq_two_sides *sides)
{
    sq_source s = {.seed = seed};
    for (int i = 0; i < CELLS; i++) {
        double a[RUNS], b[RUNS];
        sq_draw_medians(law, &s, a, RUNS);
        sq_draw_medians(law, &s, b, RUNS);
        for (int k = 0; k < RUNS; k++)
            b[k] *= ratio;
        sides[i] = sq_two_sides_of(a, RUNS, b, RUNS);
    }
}

/* Shares of cells. */
typedef struct {
    double found, covered, found_detectable, equal_at_margin;
} shares;

static shares ask(const sq_series *law, uint64_t seed)
{
    static sq_two_sides same[CELLS];
    sq_variance_prior prior;
    shares share = {0, 0, 0, 0};
    double margin = log1p(0.02);
    draw_sides(law, seed, 1, same);
    assert_int_equal(sq_variance_prior_fit(same, CELLS, &prior), SQ_OK);
    for (int i = 0; i < CELLS; i++) {
        sq_moderated test = sq_moderate(&same[i], &prior);
        sq_interval interval = sq_moderated_interval(&test, 0.95);
        share.found += test.p <= 0.05;
        share.covered += interval.lo <= 0 && 0 <= interval.hi;
        sq_moderated moved = test;
        moved.difference += sq_detectable(&test, 0.05, 0.8);
        share.found_detectable += moved.difference / moved.error > sq_t_quantile(0.975, moved.df);
        moved.difference = test.difference + margin;
        share.equal_at_margin += sq_equivalence_p(&moved, margin) <= 0.05;
    }
    return (shares){share.found / CELLS, share.covered / CELLS, share.found_detectable / CELLS,
                    share.equal_at_margin / CELLS};
}

/* Standard error of 5 % of 3,000: 0.4 %. Spikes and modes are rarer than nominal: they raise a
 * cell's own variance when they are there. */
static void moderated_tests(void **state)
{
    (void)state;
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        shares share = ask(law, 40 + (uint64_t)k);
        bool is_normal = k == SQ_GAUSSIAN || k == SQ_AR1;
        is_between(share.found, is_normal ? 0.034 : 0.02, 0.066, "moderated t", law);
        is_between(share.covered, 0.934, is_normal ? 0.966 : 0.98, "its interval", law);
        is_between(share.equal_at_margin, 0.01, 0.066, "equivalence of what is not", law);
        is_between(share.found_detectable, 0.75, 0.92, "power at the detectable change", law);
    }
}

/* --- many cells, whose spread differs --- */

enum { FAMILY = 300 };

typedef struct {
    int found, wrong;
} discoveries;

/* One night: the first `changed` cells are 5 % slower. */
static discoveries discover(const sq_series *law, sq_source *s, int changed)
{
    sq_two_sides sides[FAMILY];
    double p[FAMILY], q[FAMILY];
    for (int i = 0; i < FAMILY; i++) {
        double run[2][RUNS], cv = 0.01 * exp(0.5 * sq_draw_gaussian(s));
        for (int k = 0; k < 2 * RUNS; k++)
            run[k / RUNS][k % RUNS] =
                exp(cv * law->draw(s) + (k >= RUNS && i < changed ? 0.05 : 0));
        sides[i] = sq_two_sides_of(run[0], RUNS, run[1], RUNS);
    }
    sq_variance_prior prior;
    assert_int_equal(sq_variance_prior_fit(sides, FAMILY, &prior), SQ_OK);
    for (int i = 0; i < FAMILY; i++)
        p[i] = sq_moderate(&sides[i], &prior).p;
    assert_int_equal(sq_false_discovery(p, FAMILY, q), SQ_OK);
    discoveries of = {0, 0};
    for (int i = 0; i < FAMILY; i++) {
        of.found += q[i] <= 0.05;
        of.wrong += q[i] <= 0.05 && i >= changed;
    }
    return of;
}

/* Nothing changed: q <= 5 % may be seen on 5 % of the nights. Some changed: 5 % of what is found, on
 * average, may be wrong. Not of cells with two modes: five runs that all are in one say nothing of the
 * other, and if tonight's five are all in that, no test can tell. Confirmation can. */
static void false_discoveries(void **state)
{
    (void)state;
    enum { NIGHTS = 400, CHANGED = 30 };
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        sq_source s = {.seed = 300 + (uint64_t)k};
        if (k == SQ_AR1) /* below */
            continue;
        double nights = 0, share = 0;
        for (int night = 0; night < NIGHTS; night++) {
            nights += discover(law, &s, 0).found > 0;
            discoveries some = discover(law, &s, CHANGED);
            share += some.found ? (double)some.wrong / some.found : 0;
        }
        is_between(nights / NIGHTS, 0, k == SQ_BIMODAL ? 0.3 : 0.094,
                   "nights with a false discovery", law);
        is_between(share / NIGHTS, 0, k == SQ_BIMODAL ? 0.08 : 0.06, "share of false discoveries",
                   law);
    }
}

/* Runs in a row that resemble their neighbours are not five replicates: that is why a campaign draws
 * the order of its runs, and why suspects are run in turn. */
static void neighbours_are_no_replicates(void **state)
{
    (void)state;
    enum { NIGHTS = 50 };
    sq_source s = {.seed = 9};
    int nights = 0;
    for (int night = 0; night < NIGHTS; night++)
        nights += discover(&sq_all_series[SQ_AR1], &s, 0).found > 0;
    is_between((double)nights / NIGHTS, 0.9, 1, "nights, runs in a row", &sq_all_series[SQ_AR1]);
}

/* --- the A/A floor and the control --- */

typedef struct {
    double a[CELLS][RUNS], b[CELLS][RUNS];
    sq_night_cell cell[CELLS];
    sq_night_result result[CELLS];
    sq_night_summary summary;
} aa_night;

static void judge_aa(const sq_series *law, sq_source *s, int cells, const sq_night_policy *policy,
                     aa_night *night)
{
    for (int i = 0; i < cells; i++) {
        for (int k = 0; k < 2 * RUNS; k++)
            (k < RUNS ? night->a : night->b)[i][k % RUNS] = exp(0.01 * law->draw(s));
        sq_night_side side = {.is_present = true, .counted = {NAN, NAN, NAN}};
        night->cell[i] = (sq_night_cell){.is_control = true, .baseline = side, .tonight = side};
        night->cell[i].baseline.runs[SQ_NIGHT_TIME] = (sq_night_runs){night->a[i], RUNS};
        night->cell[i].tonight.runs[SQ_NIGHT_TIME] = (sq_night_runs){night->b[i], RUNS};
    }
    assert_int_equal(sq_night_judge(night->cell, cells, policy, night->result, &night->summary),
                     SQ_OK);
}

static double mean_log(const sq_series *law, sq_source *s, int n)
{
    double sum = 0;
    for (int k = 0; k < n; k++)
        sum += 0.01 * law->draw(s);
    return sum / n;
}

/* The floor is the 95 % quantile of |log ratio| of two and three runs of the same code: new ones
 * exceed it in 5 % of the cells. With five runs it is that of similar cells, in each one's own
 * standard errors, which do not know of a spike that has not come yet. */
static void floor_of_the_baseline(void **state)
{
    (void)state;
    static aa_night night;
    static const double most[SQ_SERIES] = {0.07, 0.13, 0.2, 0.08, 0.24};
    sq_night_policy policy = sq_night_policy_default();
    for (int k = 0; k < SQ_SERIES; k++) {
        const sq_series *law = &sq_all_series[k];
        sq_source s = {.seed = 500 + (uint64_t)k};
        judge_aa(law, &s, CELLS, &policy, &night);
        double above = 0, suspects = 0;
        for (int i = 0; i < CELLS; i++) {
            above += fabs(mean_log(law, &s, 2) - mean_log(law, &s, 3)) >
                     night.result[i].test[SQ_NIGHT_TIME].floor;
            suspects += night.result[i].suspects != 0;
        }
        is_between(above / CELLS, 0.034, most[k], "new splits above the floor", law);
        is_between(suspects / CELLS, 0, k == SQ_AR1 ? 0.1 : 0.01, "suspects", law);
    }
}

/* Nights whose controls say "unfit" with no margin beside A/A. */
static void control_of_the_night(void **state)
{
    (void)state;
    enum { NIGHTS = 400, CONTROLS = 40 };
    static aa_night night;
    sq_night_policy policy = sq_night_policy_default();
    policy.control_margin = 0;
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 600 + (uint64_t)k};
        int unfit = 0;
        for (int i = 0; i < NIGHTS; i++) {
            judge_aa(&sq_all_series[k], &s, CONTROLS, &policy, &night);
            unfit += night.summary.is_unfit;
        }
        is_between((double)unfit / NIGHTS, 0, 0.05, "unfit nights", &sq_all_series[k]);
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
        is_between(at_5 / SUSPECTS, 0.03, 0.059, "sign flips at 5 %", &sq_all_series[k]);
        is_between(at_1 / SUSPECTS, 0.003, 0.014, "sign flips at 1 %", &sq_all_series[k]);
    }
}

/* A suspect that did not change is confirmed hardly ever; one that is 5 % slower nearly always. */
static void confirmations(void **state)
{
    (void)state;
    enum { SUSPECTS = 1000 };
    sq_night_policy policy = sq_night_policy_default();
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 800 + (uint64_t)k};
        double wrong = 0, right = 0, missed = 0;
        for (int i = 0; i < SUSPECTS; i++) {
            sq_block same[SQ_SIGN_FLIP_EXACT], slower[SQ_SIGN_FLIP_EXACT];
            draw_blocks(&sq_all_series[k], &s, 1, same, policy.blocks_more);
            draw_blocks(&sq_all_series[k], &s, 1.05, slower, policy.blocks_more);
            wrong += sq_confirm_slower(same, NULL, policy.blocks_more, policy.min_effect, &policy)
                         .outcome == SQ_CONFIRMED;
            sq_rerun_outcome outcome =
                sq_confirm_slower(slower, NULL, policy.blocks_more, policy.min_effect, &policy)
                    .outcome;
            right += outcome == SQ_CONFIRMED;
            missed += outcome == SQ_DISMISSED;
        }
        is_between(wrong / SUSPECTS, 0, 0.005, "confirmed, unchanged", &sq_all_series[k]);
        is_between(right / SUSPECTS, k == SQ_SPIKY ? 0.94 : 0.98, 1, "confirmed, 5 % slower",
                   &sq_all_series[k]);
        is_between(missed / SUSPECTS, 0, 0.002, "dismissed, 5 % slower", &sq_all_series[k]);
    }
}

/* --- modes, rates --- */

/* Below twenty runs the limit of the gap rises so that one series in a hundred is called bimodal;
 * spikes lie together often enough to look like a mode. */
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
            print_message("%d runs: ", sizes[j]);
            if (k == SQ_GAUSSIAN || k == SQ_AR1)
                is_between(flagged / SERIES, 0, 0.02, "flagged", &sq_all_series[k]);
            is_between(far / SERIES, 0.8, 1, "far modes flagged", &sq_all_series[k]);
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
        cmocka_unit_test(moderated_tests),
        cmocka_unit_test(false_discoveries),
        cmocka_unit_test(neighbours_are_no_replicates),
        cmocka_unit_test(floor_of_the_baseline),
        cmocka_unit_test(control_of_the_night),
        cmocka_unit_test(sign_flips_in_blocks),
        cmocka_unit_test(confirmations),
        cmocka_unit_test(modes_of_one_level),
        cmocka_unit_test(rate_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
