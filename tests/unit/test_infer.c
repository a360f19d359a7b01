/* infer: every test against all arrangements of small groups, published tables and examples worked
 * by hand. Whether nominal rates hold is asked in test_rates.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/infer.h"
#include "core/stats.h"

static void near_to(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not %.17g", value, expected);
}

/* --- series --- */

static void quantiles(void **state)
{
    (void)state;
    double x[] = {4, 1, 3, 2};
    assert_true(sq_median(x, 4) == 2.5 && x[0] == 1 && x[3] == 4);
    near_to(sq_quantile(x, 4, 0.25), 1.75, 1e-15); /* type 7, as R and NumPy have it */
    near_to(sq_quantile(x, 4, 0.9), 3.7, 1e-15);
    assert_true(sq_quantile(x, 4, 0) == 1 && sq_quantile(x, 4, 1) == 4);
    assert_true(sq_quantile(x, 1, 0.7) == 1);
    assert_true(isnan(sq_quantile(x, 0, 0.5)) && isnan(sq_quantile(x, 4, 1.1)));
    assert_true(isnan(sq_median(x, 0)) && isnan(sq_mean(x, 0)));
}

static void deviations(void **state)
{
    (void)state;
    const double x[] = {2, 4, 4, 4, 5, 5, 7, 9}, far[] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
    near_to(sq_deviation(x, 8), sqrt(32 / 7.0), 1e-15);
    near_to(sq_deviation(far, 4), sqrt(30), 1e-12); /* one pass over the squares gives nonsense */
    assert_true(isnan(sq_deviation(x, 1)));
}

static void autocorrelation(void **state)
{
    (void)state;
    const double up[] = {1, 2, 3, 4, 5}, saw[] = {1, -1, 1, -1, 1, -1}, flat[] = {0.1, 0.1, 0.1};
    near_to(sq_lag1(up, 5), 0.4, 1e-15);
    near_to(sq_effective_size(up, 5), 5 * 0.6 / 1.4, 1e-15);
    near_to(sq_lag1(saw, 6), -5 / 6.0, 1e-15);
    assert_true(sq_effective_size(saw, 6) == 6); /* never more than there are */
    assert_true(isnan(sq_lag1(flat, 3)) && sq_effective_size(flat, 3) == 3);
    assert_true(isnan(sq_lag1(up, 2)));
}

/* --- ratios --- */

/* Welch's example by hand: logs a = {0, 1, 2}, b = {1, 2, 4, 5}: variances 1 and 10/3, squares of
 * the standard errors 1/3 and 5/6, df = (7/6)^2 / (1/18 + 25/108) = 4.75, t = 2.6126... */
static void ratio_of_runs(void **state)
{
    (void)state;
    const double a[] = {exp(1), 1, exp(2)}, b[] = {exp(4), exp(5), exp(1), exp(2)};
    sq_interval r = sq_ratio_of_runs(a, 3, b, 4);
    near_to(r.estimate, (exp(2) + exp(4)) / 2 / exp(1), 1e-14);
    near_to(sqrt(r.lo * r.hi), exp(2), 1e-12);
    double half = log(r.hi / r.lo) / 2;
    assert_true(half / sqrt(7 / 6.0) > 2.570582 && half / sqrt(7 / 6.0) < 2.776445); /* df 5, 4 */
    sq_interval back = sq_ratio_of_runs(b, 4, a, 3);
    near_to(back.lo, 1 / r.hi, 1e-12);
    near_to(back.hi, 1 / r.lo, 1e-12);
}

static void few_runs(void **state)
{
    (void)state;
    const double one[] = {3}, two[] = {6, 6 * 1.21}, same[] = {5, 5, 5};
    sq_interval r = sq_ratio_of_runs(one, 1, one, 1);
    assert_true(r.estimate == 1 && isnan(r.lo) && isnan(r.hi));
    r = sq_ratio_of_runs(one, 1, two, 2); /* one degree of freedom: t = 12.7 */
    near_to(log(r.hi / r.lo) / 2, 12.7062047364 * log(1.1) * sqrt(2) * sqrt(1.5), 1e-9);
    r = sq_ratio_of_runs(same, 3, same, 3);
    assert_true(r.estimate == 1 && r.lo == 1 && r.hi == 1);
    const double tenth[] = {0.1, 0.1, 0.1};
    r = sq_ratio_of_runs(tenth, 3, same, 3);
    assert_true(r.lo == r.estimate && r.hi == r.estimate);
    assert_true(sq_run_cv(tenth, 3, same, 3) == 0);
    assert_true(isnan(sq_ratio_of_runs(one, 0, two, 2).estimate));
}

static void spread_between_runs(void **state)
{
    (void)state;
    const double a[] = {1, exp(0.02)}, b[] = {10, 10 * exp(0.02)};
    near_to(sq_run_cv(a, 2, b, 2), sqrt((2e-4 + 2e-4) / 2), 1e-9);
    near_to(sq_run_cv(a, 2, NULL, 0), sqrt(2e-4), 1e-9);
    assert_true(isnan(sq_run_cv(a, 1, b, 1)) && isnan(sq_run_cv(a, 1, NULL, 0)));
}

static void bootstrap_repeats_itself(void **state)
{
    (void)state;
    int32_t first[6][20];
    sq_run_samples runs[6];
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 20; k++)
            first[i][k] = 1000 + 10 * i + (k * 7) % 20;
        runs[i] = (sq_run_samples){first[i], 19 + i % 2};
    }
    sq_interval x = sq_ratio_bootstrap(runs, 3, runs + 3, 3, 500, 42);
    sq_interval y = sq_ratio_bootstrap(runs, 3, runs + 3, 3, 500, 42);
    sq_interval z = sq_ratio_bootstrap(runs, 3, runs + 3, 3, 500, 43);
    assert_true(memcmp(&x, &y, sizeof x) == 0);
    assert_true(x.lo != z.lo || x.hi != z.hi);
    assert_true(x.lo < x.estimate && x.estimate < x.hi && x.lo > 1);
    near_to(x.estimate, 1049.5 / 1019.5, 1e-3);
    const sq_run_samples none = {NULL, 0};
    assert_true(isnan(sq_ratio_bootstrap(runs, 3, &none, 1, 500, 1).estimate));
    assert_true(isnan(sq_ratio_bootstrap(runs, 3, runs, 0, 500, 1).estimate));
    assert_true(isnan(sq_ratio_bootstrap(runs, 3, runs, 3, 0, 1).lo));
}

/* One run a side: what is drawn is the median of resampled samples. Of five draws from {1 ... 5} it
 * is at most k with the binomial probability that three or more are. */
static void bootstrap_of_samples_has_the_binomial_law(void **state)
{
    (void)state;
    const int32_t unit[] = {1}, five[] = {5, 3, 1, 4, 2};
    sq_interval r =
        sq_ratio_bootstrap(&(sq_run_samples){unit, 1}, 1, &(sq_run_samples){five, 5}, 1, 20000, 7);
    /* P(median = 1) = P(Bin(5, 1/5) >= 3) = 0.0579: more than 2.5 %, so the interval is all of it
     */
    assert_true(r.estimate == 3 && r.lo == 1 && r.hi == 5);
}

/* --- rank tests --- */

/* Visits all choices of `left` of the values from `at` on; counts those whose U is as far out. */
typedef struct {
    const double *all;
    int n, size;
    bool is_chosen[16];
    double u, below, above, total;
} enumeration;

static double u_of(const enumeration *e)
{
    double u = 0;
    for (int i = 0; i < e->n; i++)
        for (int k = 0; k < e->n; k++)
            if (e->is_chosen[i] && !e->is_chosen[k])
                u += e->all[i] > e->all[k] ? 1 : e->all[i] == e->all[k] ? 0.5 : 0;
    return u;
}

static void visit(enumeration *e, int at, int left)
{
    if (left == 0) {
        double u = u_of(e);
        e->total++;
        e->below += u <= e->u;
        e->above += u >= e->u;
        return;
    }
    for (int i = at; i <= e->n - left; i++) {
        e->is_chosen[i] = true;
        visit(e, i + 1, left - 1);
        e->is_chosen[i] = false;
    }
}

static void check_against_all(const double *a, int n_a, const double *b, int n_b)
{
    double all[16];
    memcpy(all, a, (size_t)n_a * sizeof *a);
    memcpy(all + n_a, b, (size_t)n_b * sizeof *b);
    sq_rank_test test = sq_mann_whitney(a, n_a, b, n_b);
    enumeration e = {.all = all, .n = n_a + n_b, .size = n_b, .u = test.u};
    visit(&e, 0, n_b);
    assert_true(test.is_exact);
    near_to(test.superiority, test.u / (n_a * n_b), 1e-15);
    near_to(test.p, fmin(1, 2 * fmin(e.below, e.above) / e.total), 1e-12);
}

static void mann_whitney_counts_all_arrangements(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed < 400; seed++) {
        double a[6], b[7];
        int n_a = 1 + (int)(seed % 6), n_b = 1 + (int)(seed / 6 % 7), values = 2 + (int)seed % 40;
        uint32_t x = seed * 2654435761u;
        for (int i = 0; i < n_a; i++)
            a[i] = (x = x * 1664525u + 1013904223u) >> 16 & 0xffff, a[i] = fmod(a[i], values);
        for (int i = 0; i < n_b; i++)
            b[i] = (x = x * 1664525u + 1013904223u) >> 16 & 0xffff, b[i] = fmod(b[i], values);
        check_against_all(a, n_a, b, n_b);
    }
}

/* The smallest two-sided p of n runs a side, 2 / C(2n, n). */
static void smallest_p(void **state)
{
    (void)state;
    static const double table[][2] = {{4, 2 / 70.0},      {5, 2 / 252.0},
                                      {6, 2 / 924.0},     {8, 2 / 12870.0},
                                      {10, 2 / 184756.0}, {20, 2 / 137846528820.0}};
    double a[20], b[20];
    for (int i = 0; i < 20; i++)
        a[i] = i, b[i] = 100 + i;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int n = (int)table[i][0];
        near_to(sq_mann_whitney(a, n, b, n).p, table[i][1], 1e-12);
        near_to(sq_mann_whitney(b, n, a, n).p, table[i][1], 1e-12);
        assert_true(sq_mann_whitney(b, n, a, n).superiority == 0);
    }
}

/* Critical values of U, two-sided 5 %, from the published table: p(u) <= .05 < p(u + 1). */
static void critical_values(void **state)
{
    (void)state;
    static const int table[][3] = {{4, 4, 0},    {5, 5, 2},     {5, 8, 6},    {6, 6, 5},
                                   {7, 10, 14},  {8, 8, 13},    {10, 10, 23}, {12, 12, 37},
                                   {15, 15, 64}, {19, 20, 119}, {20, 20, 127}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int n_a = table[i][0], n_b = table[i][1], u = table[i][2];
        for (int more = 0; more < 2; more++) {
            double a[20], b[20];
            /* b: all below a, but the last ones moved up past u + more of a's values */
            for (int k = 0; k < n_a; k++)
                a[k] = 100 + k;
            for (int k = 0, left = u + more; k < n_b; k++) {
                int pass = left < n_a ? left : n_a;
                b[n_b - 1 - k] = pass ? 99.5 + pass - 0.001 * k : 1 + k;
                left -= pass;
            }
            sq_rank_test test = sq_mann_whitney(a, n_a, b, n_b);
            assert_true(test.u == u + more);
            assert_int_equal(test.p <= 0.05, !more);
        }
    }
}

static void large_groups_are_normal(void **state)
{
    (void)state;
    double a[30], b[30], same[30];
    for (int i = 0; i < 30; i++) {
        a[i] = 2 * i;
        b[i] = 2 * i + 11;
        same[i] = 5;
    }
    sq_rank_test test = sq_mann_whitney(a, 30, b, 30);
    assert_false(test.is_exact);
    double z = (fabs(test.u - 450) - 0.5) / sqrt(900 * 61 / 12.0);
    near_to(test.p, erfc(z / sqrt(2)), 1e-12);
    assert_true(sq_mann_whitney(same, 30, same, 30).p == 1);
    assert_true(sq_mann_whitney(same, 5, same, 5).p == 1);
    assert_true(isnan(sq_mann_whitney(a, 0, b, 5).p));
    test = sq_mann_whitney(a, 20, b, 20); /* no step where the method changes */
    z = (fabs(test.u - 200) - 0.5) / sqrt(400 * 41 / 12.0);
    assert_true(test.is_exact && fabs(test.p - erfc(z / sqrt(2))) < 2e-3);
}

/* Hollander and Wolfe's ranks: 4 and 4 runs have the whole range, 5 and 5 leave two differences. */
static void hodges_lehmann(void **state)
{
    (void)state;
    const double a[] = {1, 2, 3, 4, 5}, b[] = {11, 12, 13, 14, 15};
    sq_interval s = sq_hodges_lehmann(a, 5, b, 5);
    assert_true(s.estimate == 10 && s.lo == 7 && s.hi == 13); /* third of 25: 6, 7, 7 */
    s = sq_hodges_lehmann(a, 4, b, 4);
    assert_true(s.lo == 7 && s.hi == 13); /* first of 16 */
    s = sq_hodges_lehmann(a, 3, b, 3);
    assert_true(s.estimate == 10 && isnan(s.lo) && isnan(s.hi));
    assert_true(isnan(sq_hodges_lehmann(a, 0, b, 3).estimate));
    double many[25], more[25];
    for (int i = 0; i < 25; i++) {
        many[i] = i;
        more[i] = i + 100;
    }
    s = sq_hodges_lehmann(many, 25, more, 25);
    assert_true(s.estimate == 100 && s.lo > 94 && s.hi < 106 && s.lo + s.hi == 200);
}

/* --- trend --- */

/* p of the normal approximation is near the share of all orders that rise or fall as much. */
static void permute(double *x, int n, int at, double s, double *far, double *total)
{
    if (at == n) {
        *total += 1;
        *far += fabs(sq_mann_kendall(x, n).s) >= fabs(s);
        return;
    }
    for (int i = at; i < n; i++) {
        double t = x[at];
        x[at] = x[i], x[i] = t;
        permute(x, n, at + 1, s, far, total);
        t = x[at];
        x[at] = x[i], x[i] = t;
    }
}

static void mann_kendall(void **state)
{
    (void)state;
    const double series[][6] = {{1, 2, 3, 4, 5, 6}, {1, 3, 2, 5, 4, 6}, {2, 1, 4, 3, 6, 5},
                                {6, 4, 5, 2, 3, 1}, {3, 1, 2, 5, 6, 4}, {1, 1, 2, 2, 3, 3}};
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) {
        double x[6], far = 0, total = 0;
        memcpy(x, series[i], sizeof x);
        sq_trend trend = sq_mann_kendall(series[i], 6);
        permute(x, 6, 0, trend.s, &far, &total);
        assert_true(fabs(trend.p - far / total) < 0.03);
    }
    assert_true(sq_mann_kendall(series[0], 6).s == 15 && sq_mann_kendall(series[3], 6).s == -11);
    const double flat[] = {2, 2, 2, 2, 2};
    assert_true(sq_mann_kendall(flat, 5).s == 0 && sq_mann_kendall(flat, 5).p == 1);
    assert_true(isnan(sq_mann_kendall(flat, 3).p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles),
        cmocka_unit_test(deviations),
        cmocka_unit_test(autocorrelation),
        cmocka_unit_test(ratio_of_runs),
        cmocka_unit_test(few_runs),
        cmocka_unit_test(spread_between_runs),
        cmocka_unit_test(bootstrap_repeats_itself),
        cmocka_unit_test(bootstrap_of_samples_has_the_binomial_law),
        cmocka_unit_test(mann_whitney_counts_all_arrangements),
        cmocka_unit_test(smallest_p),
        cmocka_unit_test(critical_values),
        cmocka_unit_test(large_groups_are_normal),
        cmocka_unit_test(hodges_lehmann),
        cmocka_unit_test(mann_kendall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
