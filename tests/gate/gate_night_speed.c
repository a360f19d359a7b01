/* Verdicts over 10,000 cells of 5 replicates a side: how long they take is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/host.h"
#include "tests/gate/night_sim.h"

static void ten_thousand_cells(void **state)
{
    (void)state;
    sim_setup setup = {.cells = 10000,
                       .runs = 5,
                       .regressed = 100,
                       .effect = 0.05,
                       .cv = 0.005,
                       .spread = 0.5,
                       .night_sd = 0.005,
                       .has_all = true};
    sq_night_policy policy = sq_night_policy_default();
    double start = sq_monotonic_seconds();
    sim_outcome night = sim_night(&setup, &policy, 1);
    print_message(
        "10,000 cells x 5 x 2, time, cycles and set-up: %.2f s to draw, judge and confirm\n",
        sq_monotonic_seconds() - start);
    assert_true(night.missed <= 5 && night.false_confirmed == 0 && night.code == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ten_thousand_cells)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
