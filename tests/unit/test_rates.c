/* A/A simulation: nothing differs, so every rule at 5 % may say so in 5 % of the campaigns,
 * whatever the series looks like. Where a rule does not hold, that is asserted as well: samples of
 * one run are no replicates. Fixed seeds; the bounds leave four standard errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "core/infer.h"
#include "core/special.h"
#include "core/stats.h"
#include "tests/support/series.h"

enum { SAMPLES = SQ_SERIES_SAMPLES };

static void is_between(double value, double lo, double hi, const char *what, const sq_series *law)
{
    if (!(value >= lo && value <= hi))
        fail_msg("%s, %s: %.4f is not in %.3f ... %.3f", what, law->name, value, lo, hi);
}

/* --- within a run --- */

/* Share of runs whose interval holds the true median. */
static double coverage_within(const sq_series *law, int n)
{
    enum { RUNS = 6000 };
    int32_t ns[100];
    sq_source s = {.seed = 100 + (uint64_t)n};
    double truth = 1e5 * (1 + 0.003 * law->median);
    int held = 0;
    for (int i = 0; i < RUNS; i++) {
        sq_draw_run(law, &s, 0, ns, n);
        sq_stats stats = sq_stats_of(ns, n);
        held += stats.lo - 1 <= truth && truth <= stats.hi + 1; /* samples are whole ns */
    }
    return (double)held / RUNS;
}

static void interval_of_the_median_covers(void **state)
{
    (void)state;
    for (int k = 0; k < SQ_SERIES; k++)
        for (int n = 10; n <= 100; n += 45) {
            double share = coverage_within(&sq_all_series[k], n);
            if (k ==
                SQ_AR1) /* neighbours repeat each other: too narrow, and the run is the replicate */
                is_between(share, 0.5, 0.85, "interval of the median", &sq_all_series[k]);
            else
                is_between(share, 0.94, 0.995, "interval of the median", &sq_all_series[k]);
        }
}

static double false_trends(const sq_series *law)
{
    enum { RUNS = 3000 };
    sq_source s = {.seed = 7};
    int n = 0;
    for (int i = 0; i < RUNS; i++) {
        int32_t ns[SAMPLES];
        double x[SAMPLES];
        sq_draw_run(law, &s, 0, ns, SAMPLES);
        for (int k = 0; k < SAMPLES; k++)
            x[k] = ns[k];
        n += sq_mann_kendall(x, SAMPLES).p <= 0.05;
    }
    return (double)n / RUNS;
}

static void trend_needs_independent_samples(void **state)
{
    (void)state;
    for (int k = 0; k < SQ_SERIES; k++)
        is_between(false_trends(&sq_all_series[k]), k == SQ_AR1 ? 0.2 : 0.034,
                   k == SQ_AR1 ? 0.6 : 0.066, "false trends", &sq_all_series[k]);
}

/* n (1 - r) / (1 + r) with r = 0.7: 0.176 of what there is; all of it for the others. */
static void effective_size_sees_autocorrelation(void **state)
{
    (void)state;
    enum { LENGTH = 4000 };
    static double x[LENGTH];
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 8};
        for (int i = 0; i < LENGTH; i++)
            x[i] = sq_all_series[k].draw(&s);
        double share = sq_effective_size(x, LENGTH) / LENGTH;
        is_between(share, k == SQ_AR1 ? 0.14 : 0.9, k == SQ_AR1 ? 0.22 : 1, "effective size",
                   &sq_all_series[k]);
    }
}

/* --- between runs --- */

/* What each rule says of two sides of n runs of the same code: shares of campaigns. */
typedef struct {
    double welch, ranks, shift;
} alarms;

static alarms false_alarms(const sq_series *law, int n_a, int n_b)
{
    enum { CAMPAIGNS = 2000 };
    sq_source s = {.seed = 31 + (uint64_t)n_a};
    alarms share = {0, 0, 0};
    for (int i = 0; i < CAMPAIGNS; i++) {
        double a[10], b[10];
        sq_draw_medians(law, &s, a, n_a);
        sq_draw_medians(law, &s, b, n_b);
        sq_interval ratio = sq_ratio_of_runs(a, n_a, b, n_b),
                    shift = sq_hodges_lehmann(a, n_a, b, n_b);
        share.welch += (ratio.lo > 1 || ratio.hi < 1) / (double)CAMPAIGNS;
        share.ranks += (sq_mann_whitney(a, n_a, b, n_b).p <= 0.05) / (double)CAMPAIGNS;
        share.shift += (shift.lo > 0 || shift.hi < 0) / (double)CAMPAIGNS;
    }
    return share;
}

/* The largest exact level at or below 5 % of n_a and n_b: 0.0317 for 5 and 5, 0.0432 for 10 and 10.
 * Welch's is nominal for Gaussian runs and stays below it where tails are heavy; two runs of a rare
 * mode make it at most a little larger. */
static void rules_over_runs_hold_their_rate(void **state)
{
    (void)state;
    static const int sizes[][2] = {{3, 3}, {5, 5}, {4, 8}};
    for (int k = 0; k < SQ_SERIES; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            alarms share = false_alarms(&sq_all_series[k], sizes[i][0], sizes[i][1]);
            is_between(share.welch, 0.004, 0.07, "Welch", &sq_all_series[k]);
            is_between(share.ranks, 0, 0.066, "Mann-Whitney", &sq_all_series[k]);
            is_between(share.shift, 0, 0.066, "Hodges-Lehmann", &sq_all_series[k]);
        }
    alarms ten = false_alarms(&sq_all_series[SQ_GAUSSIAN], 10, 10);
    is_between(ten.welch, 0.032, 0.068, "Welch", &sq_all_series[SQ_GAUSSIAN]);
    is_between(ten.ranks, 0.028, 0.062, "Mann-Whitney", &sq_all_series[SQ_GAUSSIAN]);
}

/* The same test over the samples of one run a side finds a difference between any two runs. */
static void samples_are_no_replicates(void **state)
{
    (void)state;
    enum { CAMPAIGNS = 400 };
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 5};
        int found = 0;
        for (int i = 0; i < CAMPAIGNS; i++) {
            double x[2][SAMPLES];
            for (int side = 0; side < 2; side++) {
                int32_t ns[SAMPLES];
                sq_draw_run(&sq_all_series[k], &s, 1, ns, SAMPLES);
                for (int j = 0; j < SAMPLES; j++)
                    x[side][j] = ns[j];
            }
            found += sq_mann_whitney(x[0], SAMPLES, x[1], SAMPLES).p <= 0.05;
        }
        is_between((double)found / CAMPAIGNS, 0.4, 1, "Mann-Whitney on samples", &sq_all_series[k]);
    }
}

/* A side that is 5 % slower: the interval must hold 1.05 as often as it says. */
static void interval_holds_a_true_ratio(void **state)
{
    (void)state;
    enum { CAMPAIGNS = 2000 };
    for (int k = 0; k < SQ_SERIES; k++) {
        sq_source s = {.seed = 77};
        int held = 0;
        for (int i = 0; i < CAMPAIGNS; i++) {
            double a[5], b[5];
            sq_draw_medians(&sq_all_series[k], &s, a, 5);
            sq_draw_medians(&sq_all_series[k], &s, b, 5);
            for (int j = 0; j < 5; j++)
                b[j] *= 1.05;
            sq_interval r = sq_ratio_of_runs(a, 5, b, 5);
            held += r.lo <= 1.05 && 1.05 <= r.hi;
        }
        is_between((double)held / CAMPAIGNS, 0.93, 0.997, "interval of a ratio", &sq_all_series[k]);
    }
}

/* Fewer runs than five and the bootstrap promises more than it keeps: it never leaves the range of
 * the medians it was given. */
static double bootstrap_coverage(const sq_series *law, int n)
{
    enum { CAMPAIGNS = 500, DRAWS = 400 };
    sq_source s = {.seed = 19};
    int held = 0;
    for (int i = 0; i < CAMPAIGNS; i++) {
        int32_t ns[20][SAMPLES];
        sq_run_samples run[20];
        for (int k = 0; k < 2 * n; k++) {
            sq_draw_run(law, &s, 1, ns[k], SAMPLES);
            run[k] = (sq_run_samples){ns[k], SAMPLES};
        }
        sq_interval r = sq_ratio_bootstrap(run, n, run + n, n, DRAWS, (uint64_t)i);
        held += r.lo <= 1 && 1 <= r.hi;
    }
    return (double)held / CAMPAIGNS;
}

static void bootstrap_needs_runs(void **state)
{
    (void)state;
    for (int k = 0; k < SQ_SERIES; k++)
        is_between(bootstrap_coverage(&sq_all_series[k], 10), 0.92, 1, "bootstrap of ten runs",
                   &sq_all_series[k]);
    is_between(bootstrap_coverage(&sq_all_series[SQ_GAUSSIAN], 3), 0.75, 0.94,
               "bootstrap of three runs", &sq_all_series[SQ_GAUSSIAN]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interval_of_the_median_covers),
        cmocka_unit_test(trend_needs_independent_samples),
        cmocka_unit_test(effective_size_sees_autocorrelation),
        cmocka_unit_test(rules_over_runs_hold_their_rate),
        cmocka_unit_test(samples_are_no_replicates),
        cmocka_unit_test(interval_holds_a_true_ratio),
        cmocka_unit_test(bootstrap_needs_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
