/* Which samples are dropped because the device was slowed, and when the watch is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/time/watch.h"
#include "tests/support/timed_device.h"

/* --- drops --- */

/* The answers of a watch, one a question; the last one holds for all later ones. */
typedef struct {
    const char *answers; /* '.' fine, 'x' slowed */
    int asked;
    const sq_backend_device *device;
    double at[64]; /* when it was asked */
} answers;

static bool answer(void *arg, char *why, size_t size)
{
    answers *a = arg;
    size_t last = strlen(a->answers) - 1;
    char said = a->answers[(size_t)a->asked < last ? (size_t)a->asked : last];
    if (a->asked < 64)
        a->at[a->asked] = a->device->now;
    a->asked++;
    if (said == 'x')
        snprintf(why, size, "power brake for %d ms", a->asked);
    return said == 'x';
}

static timing *watched(timed_script ns, answers *a, const char *said)
{
    timing *b = timing_new(ns);
    *a = (answers){.answers = said, .device = &b->device};
    b->what.watch = (sq_watch){answer, a};
    return b;
}

static void nothing_is_dropped_where_nothing_was_slowed(void **state)
{
    (void)state;
    answers a;
    timing *b = watched(timed_bimodal, &a, "."); /* 100 samples of about 0.13 ms */
    timing_run(b);
    assert_int_equal(b->result.n, 100);
    assert_int_equal(b->result.n_dropped, 0);
    assert_string_equal(b->result.drop_reason, "");
    assert_int_equal(a.asked, 2); /* before and after: all is over within 20 ms */
    free(b);
    b = watched(timed_bimodal, &a, ".");
    b->policy.max_samples = TIMED_ROOM;
    timing_run(b);
    assert_in_range(a.asked, 4, 5); /* 55 ms */
    for (int i = 1; i + 1 < a.asked; i++)
        assert_true(a.at[i] - a.at[i - 1] >= 0.02 && a.at[i] - a.at[i - 1] < 0.021);
    free(b);
}

static void what_was_before_the_samples_drops_none(void **state)
{
    (void)state;
    answers a;
    timing *b = watched(timed_steady, &a, "x.");
    timing_run(b);
    assert_int_equal(b->result.n, 10);
    assert_int_equal(b->result.n_dropped, 0);
    free(b);
}

static void samples_since_the_last_question_are_dropped(void **state)
{
    (void)state;
    answers a;
    timing *b = watched(timed_bimodal, &a, "..x.");
    b->policy.max_samples = TIMED_ROOM;
    b->policy.max_seconds = 10;
    timing_run(b);
    assert_int_equal(b->result.n, TIMED_ROOM);
    assert_in_range(b->result.n_dropped, 140, 155); /* 20 ms of 0.135 ms */
    assert_string_equal(b->result.drop_reason, "power brake for 3 ms");
    assert_int_equal(b->device.samples, b->result.n + b->result.n_dropped);
    free(b);
}

static void the_last_samples_are_asked_about_too(void **state)
{
    (void)state;
    answers a;
    timing *b = watched(timed_steady, &a, ".x.");
    timing_run(b);
    assert_int_equal(b->result.n_dropped, 10);
    assert_int_equal(b->result.n, 10); /* taken again */
    free(b);
}

static void it_ends_where_all_is_dropped(void **state)
{
    (void)state;
    answers a;
    timing *b = watched(timed_steady, &a, "x");
    timing_run(b);
    assert_int_equal(b->result.n, 0);
    assert_in_range(b->result.n_dropped, 100, 220);
    assert_int_equal(b->device.samples, b->result.n_dropped);
    free(b);
    b = watched(timed_long_launch, &a, "x");
    timing_run(b);
    assert_int_equal(b->result.n, 0);
    assert_in_range(b->result.n_dropped, 2, 6);
    free(b);
}

/* The throttle times of a fake driver move in the middle of the samples. */
static double heated(const sq_backend_device *d, int k, double s)
{
    if (k == 255)
        setenv("FAKE_NVML", "sw_power=0 sw_thermal=0 hw_thermal=7000000 hw_brake=0", 1);
    return timed_steady(d, k, s);
}

static double power_capped(const sq_backend_device *d, int k, double s)
{
    if (k == 255)
        setenv("FAKE_NVML", "sw_power=7000000 sw_thermal=0 hw_thermal=0 hw_brake=0", 1);
    return timed_steady(d, k, s);
}

static void the_driver_drops_for_heat_and_not_for_the_power_cap(void **state)
{
    (void)state;
    static const timed_script scripts[] = {heated, power_capped};
    setenv("SEQMARK_NVML", SQ_FAKE_NVML, 1);
    for (int i = 0; i < 2; i++) {
        sq_nvml *nvml = NULL;
        sq_driver_watch watch;
        setenv("FAKE_NVML", "sw_power=0 sw_thermal=0 hw_thermal=0 hw_brake=0", 1);
        assert_int_equal(sq_nvml_open("0000:01:00.0", &nvml, NULL), SQ_OK);
        timing *b = timing_new(scripts[i]);
        b->what.watch = sq_watch_driver(nvml, &watch);
        timing_run(b);
        assert_int_equal(b->result.n, 10);
        assert_int_equal(b->result.n_dropped, i == 0 ? 10 : 0);
        assert_int_equal(strstr(b->result.drop_reason, "7 ms") != NULL, i == 0);
        sq_nvml_close(nvml);
        free(b);
    }
    assert_null(sq_watch_driver(NULL, &(sq_driver_watch){NULL}).was_slowed);
    unsetenv("SEQMARK_NVML");
    unsetenv("FAKE_NVML");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_dropped_where_nothing_was_slowed),
        cmocka_unit_test(what_was_before_the_samples_drops_none),
        cmocka_unit_test(samples_since_the_last_question_are_dropped),
        cmocka_unit_test(the_last_samples_are_asked_about_too),
        cmocka_unit_test(it_ends_where_all_is_dropped),
        cmocka_unit_test(the_driver_drops_for_heat_and_not_for_the_power_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
