/* moderate, serial, exchange, discovery, modes, paired, splits: small examples worked out beside the code. The fits of
 * the prior were computed with trigamma by Euler and Maclaurin's sum, and bisection. Whether nominal
 * rates hold is asked in tests/gate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "core/discovery.h"
#include "core/exchange.h"
#include "core/moderate.h"
#include "core/modes.h"
#include "core/paired.h"
#include "core/serial.h"
#include "core/special.h"
#include "core/splits.h"

static void near_to(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not %.17g", value, expected);
}

/* --- moderated t --- */

static sq_two_sides with_variance(double variance, double df)
{
    return (sq_two_sides){(int)df / 2 + 1, (int)df - (int)df / 2 + 1, 0.01, variance, df, 0};
}

static void two_sides(void **state)
{
    (void)state;
    const double a[] = {1, exp(0.02)}, b[] = {exp(0.05), exp(0.05), exp(0.08)};
    sq_two_sides s = sq_two_sides_of(a, 2, b, 3);
    near_to(s.difference, 0.05, 1e-12);
    near_to(s.variance, (2e-4 + 6e-4) / 3, 1e-12);
    assert_true(s.n_a == 2 && s.n_b == 3 && s.df == 3);
    assert_true(isnan(sq_two_sides_of(a, 1, b, 1).variance));
    assert_true(isnan(sq_two_sides_of(a, 0, b, 3).difference));
}

static void prior_of_few_cells(void **state)
{
    (void)state;
    const sq_two_sides same[] = {with_variance(0.5, 4), with_variance(1, 4),   with_variance(2, 4),
                                 with_variance(8, 4),   with_variance(0.1, 4), with_variance(3, 4)},
                       mixed[] = {with_variance(1, 8),  with_variance(0.3, 8),
                                  with_variance(4, 6),  {1, 1, 0, NAN, 0, 0},
                                  with_variance(20, 8), with_variance(0.05, 4)},
                       alike[] = {with_variance(1, 8), with_variance(1.1, 8),
                                  with_variance(0.9, 8)};
    sq_variance_prior prior;
    assert_int_equal(sq_variance_prior_fit(same, 6, &prior), SQ_OK);
    near_to(prior.d0, 1.9647933140410538, 1e-9);
    near_to(prior.s0_squared, 0.8415447624000295, 1e-9);
    assert_true(prior.df_all == 24);
    assert_int_equal(sq_variance_prior_fit(mixed, 6, &prior), SQ_OK);
    near_to(prior.d0, 1.019894317664046, 1e-9);
    near_to(prior.s0_squared, 0.3541683160710714, 1e-9);
    assert_int_equal(sq_variance_prior_fit(alike, 3, &prior), SQ_OK);
    assert_true(isinf(prior.d0));
    near_to(prior.s0_squared, 1.1352201316713915, 1e-9);
    assert_int_equal(sq_variance_prior_fit(alike, 1, &prior), SQ_OK);
    assert_true(prior.d0 == 0);
}

/* Runs of whole ns may all be equal: such a cell borrows the others' variance. */
static void no_spread_is_no_certainty(void **state)
{
    (void)state;
    const sq_two_sides cells[] = {with_variance(0, 8), with_variance(1e-4, 8),
                                  with_variance(2e-4, 8), with_variance(1e-4, 8)},
                       flat[] = {with_variance(0, 8), with_variance(0, 8)};
    sq_variance_prior prior;
    assert_int_equal(sq_variance_prior_fit(cells, 4, &prior), SQ_OK);
    sq_moderated test = sq_moderate(&cells[0], &prior);
    assert_true(test.error > 0 && test.p > 0 && test.p < 1);
    assert_int_equal(sq_variance_prior_fit(flat, 2, &prior), SQ_OK);
    assert_true(prior.d0 == 0);
    assert_true(sq_moderate(&flat[0], &prior).p == 0); /* a step between two constants */
}

static void between_own_and_common_variance(void **state)
{
    (void)state;
    sq_two_sides cell = {5, 5, 0.03, 4e-4, 8, 0};
    sq_variance_prior prior = {4, 1e-4, 1000}, none = {0, 0, INFINITY},
                      all = {INFINITY, 1e-4, 1000};
    sq_moderated t = sq_moderate(&cell, &prior), student = sq_moderate(&cell, &none),
                 common = sq_moderate(&cell, &all);
    near_to(t.error, sqrt((4 * 1e-4 + 8 * 4e-4) / 12 * 0.4), 1e-12);
    assert_true(t.df == 12 && student.df == 8 && common.df == 1000);
    near_to(t.p, 2 * sq_t_cdf(-0.03 / t.error, 12), 1e-12);
    near_to(student.error, sqrt(4e-4 * 0.4), 1e-12);
    near_to(common.error, sqrt(1e-4 * 0.4), 1e-12);
    sq_interval i = sq_moderated_interval(&student, 0.95);
    near_to(i.hi - i.estimate, 2.3060041350333704 * student.error, 1e-9);
    cell.df = 0, cell.n_a = cell.n_b = 1, cell.variance = NAN;
    assert_true(isnan(sq_moderate(&cell, &none).p) && sq_moderate(&cell, &prior).df == 4);
}

static void equivalence(void **state)
{
    (void)state;
    sq_moderated test = {.difference = 0.005, .error = 0.004, .df = 10};
    near_to(sq_equivalence_p(&test, 0.02), sq_t_cdf(-0.015 / 0.004, 10), 1e-12);
    test.difference = -0.005;
    near_to(sq_equivalence_p(&test, 0.02), sq_t_cdf(-0.015 / 0.004, 10), 1e-12);
    test.difference = 0.02;
    near_to(sq_equivalence_p(&test, 0.02), 0.5, 1e-12);
    test.error = 0;
    assert_true(sq_equivalence_p(&test, 0.03) == 0 && sq_equivalence_p(&test, 0.01) == 1);
}

/* (t_.975 + t_.8) s sqrt(2 / n), and the least n where that is below the margin. */
static void how_many_runs(void **state)
{
    (void)state;
    sq_two_sides cell = {5, 5, 0, 1e-4, 8, 0};
    sq_variance_prior none = {0, 0, INFINITY}, all = {INFINITY, 1e-4, INFINITY};
    sq_moderated test = sq_moderate(&cell, &none);
    near_to(sq_detectable(&test, 0.05, 0.8), (2.306004 + 0.888890) * 0.01 * sqrt(0.4), 1e-5);
    assert_int_equal(sq_replicates_for(&cell, &all, 0.02, 0.05, 0.8), 4); /* 2 (2.8016 / 2)^2 */
    int n = sq_replicates_for(&cell, &none, 0.01, 0.05, 0.8);
    double df = 2 * n - 2, less = 2 * n - 4;
    assert_true((sq_t_quantile(0.975, df) + sq_t_quantile(0.8, df)) * sqrt(2.0 / n) <= 1);
    assert_true((sq_t_quantile(0.975, less) + sq_t_quantile(0.8, less)) * sqrt(2.0 / (n - 1)) > 1);
    assert_int_equal(sq_replicates_for(&cell, &none, 1e-5, 0.05, 0.8), 0);
}

/* No fewer would do, at levels as low as those of thousands of cells, in a row or not. */
static void as_few_runs_as_do(void **state)
{
    (void)state;
    static const double margins[] = {0.006, 0.01, 0.03}, rows[] = {0, 0.5};
    sq_two_sides independent = {5, 5, 0, 1e-4, 8, 0};
    for (int i = 0; i < 12; i++) {
        double d0 = i / 6 ? 3 : 0, margin = margins[i % 3], r = rows[i / 3 % 2];
        sq_two_sides cell = sq_two_sides_in_series(&independent, r);
        sq_variance_prior prior = {d0, 1e-4, INFINITY};
        double s = sqrt(sq_moderated_variance(cell.variance, cell.df, &prior));
        int least = 2;
        for (double df;
             df = d0 + 2 * least - 2, (sq_t_quantile(1 - 1e-5, df) + sq_t_quantile(0.8, df)) * s *
                                              sqrt(2 * sq_serial_inflation(least, r) / least) >
                                          margin;)
            least++;
        assert_int_equal(sq_replicates_for(&cell, &prior, margin, 2e-5, 0.8), least);
    }
}

/* --- runs in a row --- */

/* Of five runs, by the 5 x 5 matrices themselves. */
static void neighbours_know_less(void **state)
{
    (void)state;
    enum { N = 5 };
    const double r = 0.6;
    double s[N][N], m[N][N], trace = 0, square = 0, all = 0;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            s[i][k] = pow(r, abs(i - k)), all += s[i][k];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            m[i][k] = s[i][k];
            for (int j = 0; j < N; j++)
                m[i][k] -= s[j][k] / N;
        }
    for (int i = 0; i < N; i++) {
        trace += m[i][i];
        for (int k = 0; k < N; k++)
            square += m[i][k] * m[k][i];
    }
    sq_serial_squares of = sq_serial_squares_of(N, r);
    near_to(sq_serial_inflation(N, r), all / N, 1e-12);
    near_to(of.expected, trace, 1e-12);
    near_to(of.of_square, square, 1e-12);
    sq_two_sides cell = {N, N, 0.03, 4e-4, 8, 0}, row = sq_two_sides_in_series(&cell, r);
    near_to(row.variance, 4e-4 * 8 / (2 * trace), 1e-12);
    near_to(row.df, 2 * trace * trace / square, 1e-12);
    sq_variance_prior none = {0, 0, INFINITY};
    near_to(sq_moderate(&row, &none).error, sqrt(row.variance * 2 * all / N / N), 1e-12);
    cell = sq_two_sides_in_series(&cell, 0);
    assert_true(cell.df == 8 && cell.variance == 4e-4);
}

static void correlation_of_rows(void **state)
{
    (void)state;
    const double up[] = {1, 2, 3, 4, 5}, turns[] = {1, 2, 1, 2, 1};
    sq_serial serial = {.series = 0};
    sq_serial_add(&serial, up, 5, 1);
    assert_true(sq_serial_correlation(&serial) == 0); /* one series has no standard error */
    sq_serial_add(&serial, up, 2, 1);
    sq_serial_add(&serial, up, 5, 3);
    assert_int_equal(serial.series, 2);
    near_to(serial.excess, 4 * (4 - 1) / 2.0, 1e-12);
    for (int i = 0; i < 10; i++)
        sq_serial_add(&serial, up, 5, 1);
    assert_true(sq_serial_correlation(&serial) == 0.9); /* a drift: as much as is believed */
    for (int i = 0; i < 60; i++)
        sq_serial_add(&serial, turns, 5, 1);
    assert_true(sq_serial_correlation(&serial) == 0);
}

/* --- exchanges --- */

/* One of two runs of either side changes places: no side is as it was. */
static void halves_change_places(void **state)
{
    (void)state;
    const double a[] = {0, 0.001}, b[] = {1, 1.001};
    sq_variance_prior all = {INFINITY, 0.01, 1000};
    sq_exchanges exchanges;
    assert_int_equal(sq_exchanges_open(&exchanges, 5, 0.05), SQ_OK);
    sq_exchanges_add(&exchanges, a, 2, b, 2, &all, 1, 0);
    assert_true(exchanges.drawn == 4 && exchanges.n == 0); /* a change of ten errors is on both */
    sq_exchanges_add(&exchanges, (double[]){0, 1}, 2, (double[]){0, 1}, 2, &all, 1, 1);
    sq_exchanges_sort(&exchanges);
    double p = 2 * sq_t_cdf(-1 / 0.1, 1000); /* {0, 0} and {1, 1}, two exchanges of four */
    assert_true(exchanges.drawn == 8 && exchanges.n == 2);
    near_to(exchanges.p[0], p, 1e-9);
    near_to(sq_exchanges_p(&exchanges, 2 * p), 0.25, 1e-12);
    assert_true(sq_exchanges_p(&exchanges, p / 2) == p / 2);
    assert_true(sq_exchanges_p(&exchanges, 0.06) == 0.06 && isnan(sq_exchanges_p(&exchanges, NAN)));
    const double five[] = {0, 1, 2, 3, 4}, six[] = {0, 1, 2, 3, 4, 5};
    sq_exchanges_add(&exchanges, five, 5, five, 5, &all, 1, 2);
    assert_int_equal(exchanges.drawn, 108);
    sq_exchanges_add(&exchanges, six, 6, five, 5, &all, 1, 2);
    sq_exchanges_add(&exchanges, six, 6, six, 6, &all, 1, 2);
    assert_int_equal(exchanges.drawn, 308);
    sq_exchanges_close(&exchanges);
}

/* --- many tests --- */

/* Benjamini and Hochberg's own example: 15 p values, of which q = .05 keeps four. */
static void benjamini_hochberg(void **state)
{
    (void)state;
    const double p[] = {0.0201, 0.0001, 0.0004, NAN,    0.0019, 0.0095, 0.0278, 0.0298,
                        0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0};
    double q[16];
    assert_int_equal(sq_false_discovery(p, 16, q), SQ_OK);
    int kept = 0;
    for (int i = 0; i < 16; i++)
        kept += q[i] <= 0.05;
    assert_int_equal(kept, 4);
    near_to(q[1], 0.0015, 1e-12);
    near_to(q[4], 0.0019 * 15 / 3, 1e-12);
    near_to(q[5], 0.0095 * 15 / 4, 1e-12);
    near_to(q[6], 0.0298 * 15 / 7, 1e-12); /* the next one's is less */
    assert_true(isnan(q[3]) && q[15] == 1);
    assert_true(sq_discovery_level(p, q, 16, 0.05) == 0.0095);
    near_to(sq_discovery_level(p, q, 16, 0.001), 0.001 / 15, 1e-12);
    assert_true(isnan(sq_discovery_level(p + 3, q + 3, 1, 0.05)));
}

/* 0 of 100, 5 of 100, 100 of 100: exact tables. */
static void rate_of_alarms(void **state)
{
    (void)state;
    sq_interval none = sq_rate(0, 100), five = sq_rate(5, 100), all = sq_rate(100, 100);
    assert_true(none.estimate == 0 && none.lo == 0 && all.hi == 1);
    near_to(none.hi, 1 - pow(0.025, 0.01), 1e-9);
    near_to(all.lo, pow(0.025, 0.01), 1e-9);
    near_to(five.lo, 0.016432, 1e-4);
    near_to(five.hi, 0.112835, 1e-4);
    assert_true(isnan(sq_rate(0, 0).estimate));
}

/* 5 % of 210 cells, rounded up; the choice is a cell's own, whatever its place, and others the next
 * night. */
static void sentinels(void **state)
{
    (void)state;
    enum { CELLS = 210 };
    uint64_t hash[CELLS], turned[CELLS];
    bool chosen[CELLS], again[CELLS], next[CELLS];
    int n = 0, both = 0;
    for (int i = 0; i < CELLS; i++)
        hash[i] = turned[CELLS - 1 - i] = (uint64_t)i * 0x9e3779b97f4a7c15u;
    assert_int_equal(sq_pick_sentinels(hash, CELLS, 1, 0.05, chosen), SQ_OK);
    assert_int_equal(sq_pick_sentinels(turned, CELLS, 1, 0.05, again), SQ_OK);
    assert_int_equal(sq_pick_sentinels(hash, CELLS, 2, 0.05, next), SQ_OK);
    for (int i = 0; i < CELLS; i++) {
        n += chosen[i], both += chosen[i] && next[i];
        assert_true(chosen[i] == again[CELLS - 1 - i]);
    }
    assert_int_equal(n, 11);
    assert_true(both < 5);
    assert_int_equal(sq_pick_sentinels(hash, 0, 1, 0.05, chosen), SQ_OK);
}

/* --- modes --- */

static void two_modes(void **state)
{
    (void)state;
    const double two[] = {1.00, 1.20, 1.01, 1.21, 1.02, 1.00, 1.20, 1.01};
    sq_modes modes;
    assert_int_equal(sq_modes_of(two, 8, &modes), SQ_OK);
    assert_true(modes.is_bimodal && modes.n_low == 5 && modes.n_high == 3);
    assert_true(modes.low == 1.01 && modes.high == 1.20);
    near_to(modes.gap, 0.18, 1e-9);
    near_to(modes.within, 0.006, 1e-9); /* of the five; 0.0033 of the others */
    const double even[] = {1, 2, 3, 4, 5, 6, 7, 8}, spike[] = {1, 1.01, 1.02, 1, 1.01, 1.02, 1, 9};
    assert_int_equal(sq_modes_of(even, 8, &modes), SQ_OK);
    assert_true(!modes.is_bimodal && modes.n_low == 4);
    assert_int_equal(sq_modes_of(spike, 8, &modes), SQ_OK);
    assert_true(!modes.is_bimodal && modes.n_high == 1); /* one run is no mode */
    assert_int_equal(sq_modes_of(two, 7, &modes), SQ_OK);
    assert_false(modes.is_bimodal);
    assert_int_equal(sq_modes_of(two, 1, &modes), SQ_OK);
    assert_true(modes.n_low == 0);
}

/* --- pairs --- */

static void sign_flips(void **state)
{
    (void)state;
    const double up[] = {1, 2, 3, 4}, mixed[] = {3, -1, 2}, equal[] = {0.1, 0.1, 0.1, -0.1};
    assert_true(sq_sign_flip_p(up, 4) == 1 / 16.0);
    assert_true(sq_sign_flip_p(mixed, 3) ==
                2 / 8.0); /* 6 and 4 of 6, 4, 2, 0 and their opposites */
    assert_true(sq_sign_flip_p(equal, 4) == 5 / 16.0); /* four sums of 0.2 are reached, rounded */
    assert_true(sq_sign_flip_p((double[]){0, 0}, 2) == 1);
    assert_true(isnan(sq_sign_flip_p(up, 0)) && isnan(sq_sign_flip_p(up, 17)));
    double many[16];
    for (int i = 0; i < 16; i++)
        many[i] = 1 + i;
    assert_true(sq_sign_flip_p(many, 16) == 0x1p-16);
}

static void blocks(void **state)
{
    (void)state;
    sq_block block = {{100, 103}, {105, 106}};
    near_to(sq_block_difference(&block), log(105 * 106 / (100.0 * 103)) / 2, 1e-12);
    block.b[1] = 0;
    assert_true(isnan(sq_block_difference(&block)));
    const double d[] = {1, 2, 3};
    sq_interval i = sq_paired_interval(d, 3, 0.95);
    near_to(i.hi - 2, 4.302652729911275 / sqrt(3), 1e-9);
    assert_true(isnan(sq_paired_interval(d, 1, 0.95).hi));
}

static void splits(void **state)
{
    (void)state;
    assert_true(sq_splits(1) == 0 && sq_splits(2) == 1 && sq_splits(5) == 10);
    assert_true(sq_splits(6) == 10 && sq_splits(7) == 35 && sq_splits(100) == INT32_MAX);
    const double x[] = {1, 2, 4, 8, 16}, y[] = {2, 4, 8, 16, 32};
    int seen[32] = {0}, kinds = 0;
    for (int draw = 0; draw < 400; draw++) {
        double d = sq_split_difference(x, 5, 9, draw); /* powers of 2: the sum tells who */
        int chosen = (int)lrint((31 / 3.0 - d) / (5 / 6.0));
        kinds += seen[chosen]++ == 0;
        near_to(sq_split_difference(y, 5, 9, draw), 2 * d, 1e-12);
    }
    assert_int_equal(kinds, 10);
    for (int i = 0; i < 32; i++)
        assert_true(seen[i] == 0 || (seen[i] > 15 && seen[i] < 70));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sides),
        cmocka_unit_test(prior_of_few_cells),
        cmocka_unit_test(no_spread_is_no_certainty),
        cmocka_unit_test(between_own_and_common_variance),
        cmocka_unit_test(equivalence),
        cmocka_unit_test(how_many_runs),
        cmocka_unit_test(as_few_runs_as_do),
        cmocka_unit_test(neighbours_know_less),
        cmocka_unit_test(correlation_of_rows),
        cmocka_unit_test(halves_change_places),
        cmocka_unit_test(benjamini_hochberg),
        cmocka_unit_test(rate_of_alarms),
        cmocka_unit_test(sentinels),
        cmocka_unit_test(two_modes),
        cmocka_unit_test(sign_flips),
        cmocka_unit_test(blocks),
        cmocka_unit_test(splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
