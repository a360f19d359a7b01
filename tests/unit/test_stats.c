/* stats: order statistics, and an interval whose coverage is computed the long way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "core/stats.h"

static void small_samples(void **state)
{
    (void)state;
    sq_stats none = sq_stats_of(NULL, 0);
    assert_true(none.n == 0 && none.median == 0 && none.hi == 0);
    sq_stats one = sq_stats_of((int32_t[]){7}, 1);
    assert_true(one.n == 1 && one.median == 7 && one.lo == 7 && one.hi == 7 && one.min == 7);
    assert_true(one.mad == 0);
    sq_stats two = sq_stats_of((int32_t[]){8, 5}, 2);
    assert_true(two.median == 6.5 && two.lo == 5 && two.hi == 8 && two.mad == 1.5);
}

static void samples_stay_as_they_are(void **state)
{
    (void)state;
    int32_t samples[] = {30, 10, 20, 1000, 15};
    sq_stats s = sq_stats_of(samples, 5);
    assert_true(s.median == 20 && s.min == 10 && s.mad == 10);
    assert_true(s.lo == 10 && s.hi == 1000); /* five samples have no 95 % interval */
    assert_int_equal(samples[0], 30);
    assert_int_equal(samples[4], 15);
}

static void extremes_do_not_overflow(void **state)
{
    (void)state;
    sq_stats s = sq_stats_of((int32_t[]){INT_MIN, INT_MAX, INT_MAX, INT_MIN}, 4);
    assert_true(s.median == -0.5 && s.mad == 2147483647.5);
}

/* P(X < k) for X ~ Binomial(n, 1/2), by logarithms of the gamma function. */
static double below(int n, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++)
        sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) - n * log(2));
    return sum;
}

/* Samples 1 ... n: the ends of the interval are its ranks. It covers 95 %, the next does not. */
static void the_interval_is_the_shortest_that_covers(void **state)
{
    (void)state;
    static int32_t samples[5000];
    const int sizes[] = {6,  7,   8,   9,   10,  11,   15,   20,   50,
                         99, 100, 101, 500, 999, 1000, 1001, 1200, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int n = sizes[i];
        for (int k = 0; k < n; k++)
            samples[k] = n - k;
        sq_stats s = sq_stats_of(samples, n);
        int rank = (int)s.lo;
        assert_true(s.hi == n + 1 - rank);
        assert_true(s.median == (n + 1) / 2.0);
        assert_true(below(n, rank) <= 0.025 + 1e-12);
        assert_true(below(n, rank + 1) > 0.025 - 1e-12);
    }
}

/* Ranks of the published table of 95 % intervals of the median. */
static void known_ranks(void **state)
{
    (void)state;
    static const int known[][2] = {{6, 1}, {8, 1}, {9, 2}, {11, 2}, {12, 3}, {15, 4}, {20, 6},
                                   {25, 8}, {30, 10}, {40, 14}, {50, 18}, {100, 40}};
    int32_t samples[100];
    for (int k = 0; k < 100; k++)
        samples[k] = k + 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(sq_stats_of(samples, known[i][0]).lo == known[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_samples),
        cmocka_unit_test(samples_stay_as_they_are),
        cmocka_unit_test(extremes_do_not_overflow),
        cmocka_unit_test(the_interval_is_the_shortest_that_covers),
        cmocka_unit_test(known_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
