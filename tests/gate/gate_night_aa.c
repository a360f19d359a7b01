/* Nights on which nothing changed: a confirmed regression would be a false alarm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/discovery.h"
#include "tests/gate/night_sim.h"

static const sim_setup quiet = {
    .cells = 2000, .runs = 5, .cv = 0.01, .spread = 0.5, .night_sd = 0.005};

static void hundred_nights(void **state)
{
    (void)state;
    sq_night_policy policy = sq_night_policy_default();
    sim_summary nights = sim_nights(&quiet, &policy, 100, 5000);
    sim_print("A/A, CV 1 %", &nights);
    assert_true(nights.nights_with_2 <= 2);
    assert_true(nights.unresolved <= 0.2);
}

/* A quiet card ends the night with 0, not with "inconclusive". */
static void quiet_nights_are_good(void **state)
{
    (void)state;
    sim_setup setup = quiet;
    sq_night_policy policy = sq_night_policy_default();
    setup.cv = 0.005;
    sim_summary nights = sim_nights(&setup, &policy, 20, 6000);
    sim_print("A/A, CV 0.5 %", &nights);
    assert_int_equal(nights.nights_with_2, 0);
    assert_true(nights.nights_with_3 <= 2);
}

/* Run medians of other laws, also in the confirmation. */
static void other_noise(void **state)
{
    (void)state;
    enum { NIGHTS = 5 };
    sq_night_policy policy = sq_night_policy_default();
    for (int k = SQ_GAUSSIAN + 1; k < SQ_SERIES; k++) {
        sim_setup setup = quiet;
        setup.draw = sq_all_series[k].draw;
        sim_summary nights = sim_nights(&setup, &policy, NIGHTS, 7000);
        sim_print(sq_all_series[k].name, &nights);
        assert_true(nights.false_confirmed <= 0.5);
    }
}

/* Sentinels: 5 % of the cells measured as both sides on one night; no night's shift is in between.
 * The rate of thirty nights, and its interval. */
static void sentinels(void **state)
{
    (void)state;
    enum { NIGHTS = 30 };
    sim_setup setup = quiet;
    sq_night_policy policy = sq_night_policy_default();
    setup.cells = 100;
    setup.night_sd = 0;
    int alarms = 0;
    for (int night = 0; night < NIGHTS; night++)
        alarms += sim_night(&setup, &policy, 8000 + (uint64_t)night).suspects;
    sq_interval rate = sq_rate(alarms, NIGHTS * setup.cells);
    print_message("sentinels: %d alarms in %d cells, rate %.5f, 95 %% %.5f ... %.5f\n", alarms,
                  NIGHTS * setup.cells, rate.estimate, rate.lo, rate.hi);
    assert_true(rate.hi < 0.005);
}

/* Everything is 3 % slower, the cells too that cannot be: not 2, but 5. */
static void foreign_load(void **state)
{
    (void)state;
    sim_setup setup = quiet;
    sq_night_policy policy = sq_night_policy_default();
    setup.cells = 200;
    setup.shift = 0.03;
    for (uint64_t seed = 1; seed <= 5; seed++)
        assert_int_equal(sim_night(&setup, &policy, seed).code, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hundred_nights), cmocka_unit_test(quiet_nights_are_good),
        cmocka_unit_test(other_noise),    cmocka_unit_test(sentinels),
        cmocka_unit_test(foreign_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
