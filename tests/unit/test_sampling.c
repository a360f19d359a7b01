/* The sampling loop on scripts of times: warm-up, and when it is enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/time/warmup.h"
#include "tests/support/timed_device.h"

static double interval(const timing *b, int n)
{
    sq_stats stats = sq_stats_of(b->ns, n);
    return (stats.hi - stats.lo) / stats.median;
}

/* --- stationarity --- */

static void stationary_is_a_level_that_stays(void **state)
{
    (void)state;
    double drift;
    int32_t ns[90];
    for (int i = 0; i < 90; i++)
        ns[i] = 1000 + (int32_t)(20 * timed_uniform(i)) + (i % 9 == 4 ? 9000 : 0); /* spikes */
    assert_true(sq_is_stationary(ns, 90, &drift));
    for (int i = 0; i < 90; i++)
        ns[i] = timed_uniform(i) < 0.5 ? 1000 : 1300; /* two modes */
    assert_true(sq_is_stationary(ns, 90, &drift));
    for (int i = 0; i < 90; i++)
        ns[i] = 1000 + (i >= 60 ? 15 : 0); /* a step of 1.5 % */
    assert_false(sq_is_stationary(ns, 90, &drift));
    assert_true(fabs(drift - 0.015) < 1e-12);
    for (int i = 0; i < 90; i++)
        ns[i] = 2000 - 3 * i; /* a slope of 5 % a third */
    assert_false(sq_is_stationary(ns, 90, &drift));
    assert_true(drift < -0.04);
    for (int i = 0; i < 90; i++)
        ns[i] = i < 30 ? 5000 : 1000; /* the first third is forgotten */
    assert_true(sq_is_stationary(ns, 90, &drift) && drift == 0);
}

static void too_little_is_not_stationary(void **state)
{
    (void)state;
    double drift;
    static const int32_t ns[] = {1000, 1000, 1000};
    static const int32_t zero[] = {0, 0, 0};
    assert_false(sq_is_stationary(ns, 0, &drift));
    assert_false(sq_is_stationary(ns, 2, &drift));
    assert_true(isnan(drift));
    assert_true(sq_is_stationary(ns, 3, &drift));
    assert_false(sq_is_stationary(zero, 3, &drift));
}

static double warmup_seconds(const timing *b)
{
    double seconds = b->device.now - 1000 - TIMED_OVERHEAD_SECONDS * b->device.samples;
    for (int i = 0; i < b->result.n; i++)
        seconds -= 1e-9 * b->ns[i];
    return seconds;
}

static void a_steady_launch_is_warmed_up_no_longer_than_asked(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    timing_run(b);
    assert_in_range(b->result.warmup_launches, 250, 251); /* 25 ms of 0.1 ms */
    assert_true(fabs(b->result.warmup_drift) < 1e-6);
    assert_true(fabs(b->result.launch_seconds - 100e-6) < 1e-9);
    free(b);
}

static void a_settling_launch_is_warmed_up_until_it_has_settled(void **state)
{
    (void)state;
    timing *b = timing_new(timed_settling);
    timing_run(b);
    assert_true(warmup_seconds(b) > 0.03 && warmup_seconds(b) < 0.1);
    assert_true(fabs(b->result.warmup_drift) <= 0.01);
    free(b);
}

static void a_warm_up_ends_at_its_cap(void **state)
{
    (void)state;
    timing *b = timing_new(timed_trending);
    timing_run(b);
    assert_true(warmup_seconds(b) > 0.1 && warmup_seconds(b) < 0.102);
    assert_true(b->result.warmup_drift > 0.3);
    free(b);
}

static void a_warm_up_of_no_time_is_the_launches_asked_for(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    b->policy.warmup_seconds = 0;
    timing_run(b);
    assert_int_equal(b->result.warmup_launches, 3);
    free(b);
}

/* --- enough --- */

static void a_steady_launch_takes_the_fewest_samples(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    timing_run(b);
    assert_int_equal(b->result.n, 10);
    for (int i = 0; i < 10; i++)
        assert_in_range(b->ns[i], 99999, 100001);
    assert_int_equal(b->result.batch, 1);
    free(b);
}

static void samples_end_when_the_interval_is_narrow(void **state)
{
    (void)state;
    timing *b = timing_new(timed_noisy);
    b->policy.max_samples = TIMED_ROOM;
    b->policy.max_seconds = 10;
    timing_run(b);
    assert_in_range(b->result.n, 11, TIMED_ROOM - 1);
    assert_true(interval(b, b->result.n) <= 0.005);
    assert_true(interval(b, b->result.n - 1) > 0.005);
    free(b);
}

static void spikes_do_not_keep_it_from_ending(void **state)
{
    (void)state;
    timing *b = timing_new(timed_spiky);
    timing_run(b);
    assert_in_range(b->result.n, 10, 20);
    free(b);
}

static void two_modes_end_at_the_cap(void **state)
{
    (void)state;
    timing *b = timing_new(timed_bimodal);
    timing_run(b);
    assert_int_equal(b->result.n, 100);
    b->policy.max_seconds = 0.004; /* 40 launches of 0.1 ms */
    timing_run(b);
    assert_in_range(b->result.n, 36, 40);
    free(b);
}

static void long_launches_need_three_samples(void **state)
{
    (void)state;
    timing *b = timing_new(timed_long_launch);
    timing_run(b);
    assert_int_equal(b->result.n, 3);
    assert_int_equal(b->result.warmup_launches, 3);
    b->policy.min_samples = 2;
    timing_run(b);
    assert_int_equal(b->result.n, 2);
    free(b);
}

static void a_launch_too_long_is_believed_when_seen_twice(void **state)
{
    (void)state;
    timing *b = timing_new(timed_endless);
    timing_run(b);
    assert_true(b->result.is_too_long && b->result.n == 0 && b->device.samples == 0);
    assert_in_range(b->device.k, 1, 3);
    free(b);
    b = timing_new(timed_first_is_slow);
    b->policy.max_launch_seconds = 0.4;
    timing_run(b);
    assert_false(b->result.is_too_long);
    assert_int_equal(b->result.n, 10);
    free(b);
}

static void policies_that_cannot_be_are_refused(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    b->policy.min_samples = 0;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    b->policy = timed_policy;
    b->policy.max_samples = 9;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    b->policy = timed_policy;
    b->policy.warmup_seconds = NAN;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    b->policy = timed_policy;
    b->policy.rest = -1;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    b->policy.rest = 101;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    b->policy = timed_policy;
    b->what.mode = SQ_LAUNCH_BATCH;
    assert_int_equal(timing_measure(b), SQ_BAD_ARGUMENT);
    assert_int_equal(b->device.k, 0);
    free(b);
}

static void a_failing_launch_ends_it(void **state)
{
    (void)state;
    static const int when[] = {1, 100, 255}; /* warm-up, warm-up, samples */
    for (size_t i = 0; i < sizeof when / sizeof when[0]; i++) {
        timing *b = timing_new(timed_steady);
        b->device.fails_at = when[i];
        assert_int_equal(timing_measure(b), SQ_DEVICE);
        assert_non_null(strstr(b->err.message, "fails"));
        assert_int_equal(b->device.k, when[i]);
        free(b);
    }
}

/* --- the rest --- */

static void the_clock_is_of_the_samples_or_of_the_run(void **state)
{
    (void)state;
    timing *b = timing_new(timed_steady);
    timing_run(b);
    assert_true(isnan(b->result.sm_mhz));
    b->device.run_mhz = 1700;
    timing_run(b);
    assert_true(b->result.sm_mhz == 1700);
    b->device.sample_mhz = 1755;
    timing_run(b);
    assert_true(b->result.sm_mhz == 1755);
    free(b);
}

static int beats;

static void beat(void *arg)
{
    beats += arg != NULL;
}

static void signs_of_life_come_once_a_second(void **state)
{
    (void)state;
    timing *b = timing_new(timed_long_launch);
    b->what.alive = beat;
    b->what.alive_arg = b;
    b->policy.min_samples = b->policy.max_samples = 20;
    b->policy.max_seconds = 10;
    beats = 0;
    double start = b->device.now;
    b->policy.target_interval = 0;
    timing_run(b);
    double seconds = b->device.now - start; /* launches of 0.3 s */
    assert_true(beats <= seconds && beats >= seconds / 1.4 - 2);
    free(b);
}

static void a_rest_is_a_multiple_of_the_work_before_it(void **state)
{
    (void)state;
    for (int rest = 0; rest <= 2; rest++) {
        timing *b = timing_new(timed_steady);
        b->policy.rest = rest;
        timing_run(b);
        double owed = rest * 100e-6 * b->device.k;
        assert_true(b->device.slept <= owed + 1e-9);
        assert_true(b->device.slept > owed - 1e-3 - 1e-9); /* the last of warm-up and samples */
        assert_true(rest == 0 ||
                    b->result.warmup_launches < 250 / rest); /* rests are of its time */
        assert_int_equal(b->ns[0], 100000);
        free(b);
    }
}

static void no_rest_is_longer_than_the_power_limit_remembers(void **state)
{
    (void)state;
    double owed = 0;
    timing *b = timing_new(timed_steady);
    b->policy.rest = 4;
    sq_sampling_rest(&b->what, &b->policy, 2.0, &owed);
    assert_true(b->device.slept == 0.1 && owed == 0);
    free(b);
}

static void short_launches_owe_a_rest_until_it_is_worth_a_sleep(void **state)
{
    (void)state;
    double owed = 0;
    timing *b = timing_new(timed_steady);
    b->policy.rest = 0.5;
    for (int i = 0; i < 99; i++)
        sq_sampling_rest(&b->what, &b->policy, 10e-6, &owed);
    assert_true(b->device.slept == 0);
    sq_sampling_rest(&b->what, &b->policy, 11e-6, &owed);
    assert_true(b->device.slept > 0.5e-3 && b->device.slept < 0.51e-3);
    assert_true(owed == 0);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stationary_is_a_level_that_stays),
        cmocka_unit_test(too_little_is_not_stationary),
        cmocka_unit_test(a_steady_launch_is_warmed_up_no_longer_than_asked),
        cmocka_unit_test(a_settling_launch_is_warmed_up_until_it_has_settled),
        cmocka_unit_test(a_warm_up_ends_at_its_cap),
        cmocka_unit_test(a_warm_up_of_no_time_is_the_launches_asked_for),
        cmocka_unit_test(a_steady_launch_takes_the_fewest_samples),
        cmocka_unit_test(samples_end_when_the_interval_is_narrow),
        cmocka_unit_test(spikes_do_not_keep_it_from_ending),
        cmocka_unit_test(two_modes_end_at_the_cap),
        cmocka_unit_test(long_launches_need_three_samples),
        cmocka_unit_test(a_launch_too_long_is_believed_when_seen_twice),
        cmocka_unit_test(policies_that_cannot_be_are_refused),
        cmocka_unit_test(a_failing_launch_ends_it),
        cmocka_unit_test(the_clock_is_of_the_samples_or_of_the_run),
        cmocka_unit_test(signs_of_life_come_once_a_second),
        cmocka_unit_test(a_rest_is_a_multiple_of_the_work_before_it),
        cmocka_unit_test(no_rest_is_longer_than_the_power_limit_remembers),
        cmocka_unit_test(short_launches_owe_a_rest_until_it_is_worth_a_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
