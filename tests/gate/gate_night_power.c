/* 2,000 cells of which 20 became 5 % slower, 5 replicates a side, spread over cells, and a shift of
 * each cell's own from night to night: what is found, and what is found wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/gate/night_sim.h"

enum { NIGHTS = 20 };

static const sim_setup issue_night = {.cells = 2000,
                                      .runs = 5,
                                      .regressed = 20,
                                      .effect = 0.05,
                                      .cv = 0.01,
                                      .spread = 0.5,
                                      .night_sd = 0.005};

static sim_summary simulate(double cv, const char *what)
{
    sim_setup setup = issue_night;
    sq_night_policy policy = sq_night_policy_default();
    setup.cv = cv;
    sim_summary nights = sim_nights(&setup, &policy, NIGHTS, 1);
    sim_print(what, &nights);
    return nights;
}

static void spread_of_one_percent(void **state)
{
    (void)state;
    sim_summary nights = simulate(0.01, "20 x +5 %, CV 1 %");
    assert_true(nights.false_confirmed <= 0.5 && nights.power >= 0.80);
    assert_int_equal(nights.nights_with_2, NIGHTS);
}

static void spread_of_half_a_percent(void **state)
{
    (void)state;
    sim_summary nights = simulate(0.005, "20 x +5 %, CV 0.5 %");
    assert_true(nights.false_confirmed <= 0.5 && nights.power >= 0.96);
    assert_true(nights.inconclusive_share <= 0.15);
}

/* What five runs cannot see is called inconclusive and not unchanged. */
static void spread_of_two_percent(void **state)
{
    (void)state;
    sim_summary nights = simulate(0.02, "20 x +5 %, CV 2 %");
    assert_true(nights.false_confirmed <= 0.5 && nights.power >= 0.15);
    assert_true(nights.inconclusive_share >= 0.7);
}

/* 3 % in five of 200 cells whose own CV is at most 0.5 %, beside others that spread widely; the
 * baseline is of the same day, so that cells shift by 0.1 %. */
static void few_quiet_cells(void **state)
{
    (void)state;
    enum { TIMES = 100 };
    sim_setup setup = {.cells = 200,
                       .runs = 5,
                       .regressed = 5,
                       .effect = 0.03,
                       .cv = 0.005,
                       .most_cv = 0.005,
                       .spread = 1,
                       .night_sd = 0.001};
    sq_night_policy policy = sq_night_policy_default();
    sim_summary nights = sim_nights(&setup, &policy, TIMES, 900);
    sim_print("5 x +3 % of 200, CV up to 0.5 %", &nights);
    assert_true(nights.power >= 0.98 && nights.false_confirmed <= 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_of_one_percent),
        cmocka_unit_test(spread_of_half_a_percent),
        cmocka_unit_test(spread_of_two_percent),
        cmocka_unit_test(few_quiet_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
