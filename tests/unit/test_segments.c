/* segments: the cut against every cut there is, and the rates of false and found changes by
 * simulation. Fixed seeds; what is asserted leaves four standard errors to what was seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>

#include "core/rng.h"
#include "core/segments.h"
#include "tests/support/series.h"

enum { MAX_NIGHTS = 1000, MAX_SEGMENTS = MAX_NIGHTS / SQ_SEGMENT_MIN + 1 };

/* --- against every cut --- */

static double cost_at(const double *value, const double *weight, int first, int end, double level)
{
    double cost = 0;
    for (int i = first; i < end; i++)
        cost += weight[i] * fabs(value[i] - level);
    return cost;
}

/* A weighted median is one of the values. */
static double least_cost(const double *value, const double *weight, int first, int end)
{
    double least = INFINITY;
    for (int i = first; i < end; i++)
        least = fmin(least, cost_at(value, weight, first, end, value[i]));
    return least;
}

/* The least over all cuts of the nights from `first` on. */
static double every_cut(const double *value, const double *weight, int first, int n, double penalty)
{
    double least = least_cost(value, weight, first, n);
    for (int end = first + SQ_SEGMENT_MIN; end <= n - SQ_SEGMENT_MIN; end++)
        least = fmin(least, least_cost(value, weight, first, end) + penalty +
                                every_cut(value, weight, end, n, penalty));
    return least;
}

static double cost_of(const double *value, const double *weight, const sq_segment *segment,
                      int count, double penalty)
{
    double cost = penalty * (count - 1);
    for (int k = 0; k < count; k++)
        cost += cost_at(value, weight, segment[k].first, segment[k].end, segment[k].level);
    return cost;
}

static void is_a_cut(const sq_segment *segment, int count, int n)
{
    assert_true(count >= 1);
    assert_int_equal(segment[0].first, 0);
    assert_int_equal(segment[count - 1].end, n);
    for (int k = 0; k < count; k++) {
        assert_true(count == 1 || segment[k].end - segment[k].first >= SQ_SEGMENT_MIN);
        assert_true(k == 0 || segment[k].first == segment[k - 1].end);
    }
}

static double uniform(uint64_t seed, int64_t at)
{
    return ((double)(sq_rng_bits(seed, 1, at) >> 11) + 0.5) * 0x1p-53;
}

/* Steps, ties, unequal weights; every other series on a level of 1e3 times its steps. */
static void make_series(uint64_t seed, int n, double *value, double *weight)
{
    double level = seed % 2 ? 0 : 1e3;
    bool has_ties = seed % 3 == 0;
    for (int i = 0; i < n; i++) {
        if (uniform(seed, 3 * i) < 0.2)
            level += 4 * uniform(seed + 1, i) - 2;
        double noise = uniform(seed, 3 * i + 1);
        value[i] = has_ties ? floor(2 * (level + noise)) / 2 : level + noise;
        weight[i] = seed % 5 == 0 ? 1 : 0.2 + 2 * uniform(seed, 3 * i + 2);
    }
}

static void cut_is_the_best_of_all(void **state)
{
    (void)state;
    static const double penalties[] = {0.05, 0.5, 2, 10, INFINITY};
    for (uint64_t seed = 1; seed <= 120; seed++)
        for (size_t p = 0; p < sizeof penalties / sizeof *penalties; p++) {
            int n = 1 + (int)(seed % 17);
            double value[17], weight[17];
            sq_segment segment[MAX_SEGMENTS];
            make_series(seed, n, value, weight);
            int count = sq_potts(value, weight, n, penalties[p], segment);
            is_a_cut(segment, count, n);
            double penalty = isfinite(penalties[p]) ? penalties[p] : 0;
            double cost = cost_of(value, weight, segment, count, penalty);
            double best = isfinite(penalties[p]) ? every_cut(value, weight, 0, n, penalty)
                                                 : least_cost(value, weight, 0, n);
            if (fabs(cost - best) > 1e-9)
                fail_msg("seed %d, %d nights, penalty %g: %.12g, not %.12g", (int)seed, n,
                         penalties[p], cost, best);
        }
}

static void a_long_series_is_cut(void **state)
{
    (void)state;
    static double value[MAX_NIGHTS], weight[MAX_NIGHTS];
    static sq_segment segment[MAX_SEGMENTS];
    for (int i = 0; i < MAX_NIGHTS; i++) {
        value[i] = (i / 100) % 2 + 0.1 * uniform(5, i);
        weight[i] = 1;
    }
    int count = sq_potts(value, weight, MAX_NIGHTS, 1, segment);
    is_a_cut(segment, count, MAX_NIGHTS);
    assert_int_equal(count, 10);
    for (int k = 0; k < count; k++)
        assert_int_equal(segment[k].first, 100 * k);
    assert_int_equal(sq_potts(value, weight, 0, 1, segment), 0);
}

/* --- series of nights: noise of standard deviation 1 --- */

/* Weaker than that of launches. */
static double ar1(sq_source *s)
{
    return s->before = 0.4 * s->before + sqrt(1 - 0.16) * sq_draw_gaussian(s);
}

static const sq_series *law_of(int k)
{
    static const sq_series of_nights = {"AR(1)", ar1, 0};
    return k == SQ_AR1 ? &of_nights : &sq_all_series[k];
}

/* `before` nights, then `after` nights at a level that is higher by `step` and rises by `drift` a
 * night, all in deviations of half a percent; segments of them. */
static int cut_of(const sq_series *law, uint64_t seed, int before, int after, double step,
                  double drift, sq_segment segment[MAX_SEGMENTS])
{
    double value[MAX_NIGHTS];
    sq_source s = {.seed = seed};
    sq_night_noise noise;
    s.before = sq_draw_gaussian(&s);
    for (int i = 0; i < before + after; i++) {
        double moved = i < before ? 0 : step + drift * (i - before);
        value[i] = 12 + 0.005 * (law->draw(&s) + moved);
    }
    sq_nights nights = {.value = value, .n = before + after};
    int count = sq_segments_of(&nights, 0, segment, &noise);
    is_a_cut(segment, count, before + after);
    return count;
}

static double share_of_false(const sq_series *law, int n, int series)
{
    sq_segment segment[MAX_SEGMENTS];
    int found = 0;
    for (int i = 0; i < series; i++)
        found += cut_of(law, (uint64_t)(1000 + i), n, 0, 0, 0, segment) > 1;
    return (double)found / series;
}

/* At most 5 % of the series of a cell may show a change that is none; three standard errors of the
 * number of series are left to it. */
static void unchanged_cells_show_no_change(void **state)
{
    (void)state;
    static const int sizes[][2] = {{8, 3000}, {12, 3000}, {20, 1500}, {60, 600}, {365, 60}};
    for (int k = 0; k < SQ_SERIES; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int n = sizes[i][0], series = sizes[i][1];
            double share = share_of_false(law_of(k), n, series);
            double most = 0.05 + 3 * sqrt(0.05 * 0.95 / series);
            print_message("%-8s %3d nights: %.4f (at most %.4f)\n", law_of(k)->name, n, share,
                          most);
            if (share > most)
                fail_msg("%s, %d nights: %.3f of the series show a change", law_of(k)->name, n,
                         share);
        }
}

/* Share of series whose last change is at the step, give or take a night. */
static double share_found(const sq_series *law, int before, int after, double step)
{
    enum { SERIES = 200 };
    sq_segment segment[MAX_SEGMENTS];
    int found = 0;
    for (int i = 0; i < SERIES; i++) {
        int count = cut_of(law, (uint64_t)(5000 + i), before, after, step, 0, segment);
        found += count > 1 && abs(segment[count - 1].first - before) <= 1;
    }
    return (double)found / SERIES;
}

/* 5 % are ten deviations of 0.5 %, and five of 1 %. */
static void a_step_is_found_after_three_nights(void **state)
{
    (void)state;
    for (int k = 0; k < SQ_SERIES; k++)
        assert_true(share_found(law_of(k), 30, 3, 10) >= 0.9);
    assert_true(share_found(law_of(SQ_GAUSSIAN), 3, 3, 10) >= 0.9);
    assert_true(share_found(law_of(SQ_GAUSSIAN), 30, 3, 5) >= 0.85);
    assert_true(share_found(law_of(SQ_GAUSSIAN), 300, 3, 5) >= 0.85);
    assert_true(share_found(law_of(SQ_GAUSSIAN), 30, 5, 3) >= 0.7);
}

/* +0.3 % a night at a deviation of 0.5 %: by the twelfth night of it. A series that begins with it may be
 * one whose nights are correlated; beside a kept baseline it is found (gate_night_drift). */
static void drift_is_found_by_night_12(void **state)
{
    (void)state;
    enum { SERIES = 200 };
    static const int quiet[] = {0, 5, 20, 100};
    for (size_t q = 0; q < sizeof quiet / sizeof *quiet; q++) {
        sq_segment segment[MAX_SEGMENTS];
        int found = 0;
        for (int i = 0; i < SERIES; i++)
            found += cut_of(law_of(SQ_GAUSSIAN), (uint64_t)(9000 + i), quiet[q], 12, 0, 0.6,
                            segment) > 1;
        double share = (double)found / SERIES, required = quiet[q] ? 0.95 : 0.7;
        if (share < required)
            fail_msg("after %d nights: found in %.3f of the series", quiet[q], share);
    }
}

/* --- filters, weights, noise --- */

static int cut_plain(const double *value, const double *error, int n, double min_step,
                     sq_segment *segment)
{
    sq_nights nights = {.value = value, .error = error, .n = n};
    sq_night_noise noise;
    return sq_segments_of(&nights, min_step, segment, &noise);
}

static void make_noise(double *value, int n, uint64_t seed)
{
    sq_source s = {.seed = seed};
    for (int i = 0; i < n; i++)
        value[i] = 0.003 * sq_draw_gaussian(&s);
}

static void what_goes_away_is_no_change(void **state)
{
    (void)state;
    double value[40];
    sq_segment segment[MAX_SEGMENTS];
    for (int nights = 1; nights <= 4; nights++) {
        make_noise(value, 40, 3);
        for (int i = 0; i < nights; i++)
            value[20 + i] += 0.08;
        assert_int_equal(cut_plain(value, NULL, 40, 0, segment), nights < 3 ? 1 : 3);
    }
}

static void the_last_two_nights_are_no_change_yet(void **state)
{
    (void)state;
    double value[40];
    sq_segment segment[MAX_SEGMENTS];
    make_noise(value, 40, 4);
    for (int i = 37; i < 40; i++) {
        value[i] += 0.08;
        assert_int_equal(cut_plain(value, NULL, i + 1, 0, segment), i < 39 ? 1 : 2);
    }
    assert_int_equal(segment[1].first, 37);
}

static void a_small_step_is_none(void **state)
{
    (void)state;
    double value[60];
    sq_segment segment[MAX_SEGMENTS];
    make_noise(value, 60, 5);
    for (int i = 30; i < 60; i++)
        value[i] += 0.012;
    assert_int_equal(cut_plain(value, NULL, 60, 0.005, segment), 2);
    assert_int_equal(cut_plain(value, NULL, 60, 0.02, segment), 1);
    assert_int_equal(segment[0].first, 0);
    assert_int_equal(segment[0].end, 60);
}

/* Five nights of one disturbed replicate each: their own intervals say so. */
static void nights_weigh_by_their_error(void **state)
{
    (void)state;
    double value[40], error[40];
    sq_segment segment[MAX_SEGMENTS];
    make_noise(value, 40, 6);
    for (int i = 0; i < 40; i++)
        error[i] = 0.001;
    for (int i = 20; i < 25; i++)
        value[i] += 0.03;
    assert_int_equal(cut_plain(value, error, 40, 0, segment), 3);
    for (int i = 20; i < 25; i++)
        error[i] = 0.03;
    assert_int_equal(cut_plain(value, error, 40, 0, segment), 1);
}

/* Ten steps in 600 nights; means over series, as one alone knows its correlation to 0.1 only. */
static void noise_is_known_beside_steps(void **state)
{
    (void)state;
    enum { NIGHTS = 600, SERIES = 20 };
    static double value[NIGHTS];
    static sq_segment segment[MAX_SEGMENTS];
    sq_night_noise noise, mean = {0, 0};
    for (uint64_t k = 0; k < SERIES; k++) {
        sq_source s = {.seed = 80 + k};
        s.before = sq_draw_gaussian(&s);
        for (int i = 0; i < NIGHTS; i++)
            value[i] = 0.01 * ar1(&s) + 0.05 * (i / 60);
        sq_nights nights = {.value = value, .n = NIGHTS};
        sq_segments_of(&nights, 0, segment, &noise);
        mean.deviation += noise.deviation / SERIES;
        mean.correlation += noise.correlation / SERIES;
    }
    assert_true(mean.deviation > 0.0095 && mean.deviation < 0.012);
    assert_true(mean.correlation > 0.33 && mean.correlation < 0.57);
}

/* The nights of unchanged code are the A/A: what new code does every third night is no noise. */
static void noise_is_of_nights_with_the_same_code(void **state)
{
    (void)state;
    enum { NIGHTS = 90 };
    double value[NIGHTS];
    bool has_new_code[NIGHTS];
    sq_segment segment[MAX_SEGMENTS];
    sq_night_noise apart, together;
    make_noise(value, NIGHTS, 9);
    for (int i = 0; i < NIGHTS; i++) {
        has_new_code[i] = i % 3 == 0;
        value[i] += i / 3 % 2 ? 0.03 : 0;
    }
    sq_nights nights = {.value = value, .has_new_code = has_new_code, .n = NIGHTS};
    assert_int_equal(sq_segments_of(&nights, 0, segment, &apart), NIGHTS / 3);
    nights.has_new_code = NULL;
    sq_segments_of(&nights, 0, segment, &together);
    assert_true(apart.deviation < 0.0045);
    assert_true(together.deviation > 2 * apart.deviation);
}

static void few_and_equal_nights_are_one_segment(void **state)
{
    (void)state;
    double value[30] = {0};
    sq_segment segment[MAX_SEGMENTS];
    for (int n = 1; n <= 30; n++) {
        assert_int_equal(cut_plain(value, NULL, n, 0, segment), 1);
        is_a_cut(segment, 1, n);
        assert_true(segment[0].level == 0);
    }
    assert_int_equal(cut_plain(value, NULL, 0, 0, segment), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_is_the_best_of_all),
        cmocka_unit_test(a_long_series_is_cut),
        cmocka_unit_test(unchanged_cells_show_no_change),
        cmocka_unit_test(a_step_is_found_after_three_nights),
        cmocka_unit_test(drift_is_found_by_night_12),
        cmocka_unit_test(what_goes_away_is_no_change),
        cmocka_unit_test(the_last_two_nights_are_no_change_yet),
        cmocka_unit_test(a_small_step_is_none),
        cmocka_unit_test(nights_weigh_by_their_error),
        cmocka_unit_test(noise_is_known_beside_steps),
        cmocka_unit_test(noise_is_of_nights_with_the_same_code),
        cmocka_unit_test(few_and_equal_nights_are_one_segment),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
