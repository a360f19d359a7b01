/* cooldown: waits while the fake driver says hot, and not a moment where it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "bench/worker/cooldown.h"

static const sq_cooldown_limits limits = {
    .hot_c = 10, .cool_c = 20, .longest_seconds = 0.1, .poll_seconds = 0.002};

static sq_nvml *nvml;
static int beats, beats_until_cool;

static void on_alive(void *arg)
{
    (void)arg;
    if (++beats == beats_until_cool)
        setenv("FAKE_NVML", "margin=20", 1);
}

static int setup(void **state)
{
    (void)state;
    beats = beats_until_cool = 0;
    setenv("SEQMARK_NVML", SQ_FAKE_NVML, 1);
    setenv("FAKE_NVML", "margin=9", 1);
    return sq_nvml_open("0000:01:00.0", &nvml, NULL) != SQ_OK;
}

static int teardown(void **state)
{
    (void)state;
    sq_nvml_close(nvml);
    return 0;
}

static sq_cooldown rest(double seconds)
{
    return sq_cooldown_rest(seconds, &limits, nvml, on_alive, NULL);
}

static void test_waits_until_cool(void **state)
{
    (void)state;
    beats_until_cool = 4;
    sq_cooldown done = rest(-1);
    assert_true(done.seconds > 0 && done.headroom_c == 20 && !done.is_still_hot);
    assert_int_equal(beats, 4);
}

static void test_between_the_limits_nothing_is_waited_for(void **state)
{
    (void)state;
    setenv("FAKE_NVML", "margin=10", 1);
    sq_cooldown done = rest(-1);
    assert_true(done.seconds == 0 && !done.is_still_hot);
    assert_int_equal(beats, 0);
}

static void test_gives_up_after_the_longest_wait(void **state)
{
    (void)state;
    sq_cooldown done = rest(-1);
    assert_true(done.is_still_hot && done.seconds >= 0.1 && done.headroom_c == 9);
    assert_true(beats > 1);
}

static void test_unknown_heat_is_not_waited_for(void **state)
{
    (void)state;
    setenv("FAKE_NVML", "margin=!4", 1);
    assert_true(rest(-1).seconds == 0);
    assert_true(sq_cooldown_rest(-1, &limits, NULL, on_alive, NULL).seconds == 0);
    assert_int_equal(beats, 0);
}

static void test_headroom_by_the_threshold(void **state)
{
    (void)state;
    setenv("FAKE_NVML", "temperature=85 slowdown=90", 1);
    sq_cooldown done = rest(-1);
    assert_true(done.is_still_hot && done.headroom_c == 5);
}

static void test_a_fixed_rest_needs_no_driver(void **state)
{
    (void)state;
    sq_cooldown done = sq_cooldown_rest(0.01, &limits, NULL, on_alive, NULL);
    assert_true(done.seconds >= 0.01 && isnan(done.headroom_c) && !done.is_still_hot);
    assert_true(beats >= 1);
    beats = 0;
    assert_true(rest(0).seconds == 0); /* off, though it is hot */
    assert_int_equal(beats, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits_until_cool, setup, teardown),
        cmocka_unit_test_setup_teardown(test_between_the_limits_nothing_is_waited_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_gives_up_after_the_longest_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_heat_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headroom_by_the_threshold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fixed_rest_needs_no_driver, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
