/* Cells whose runs choose between two modes: few false alarms, and no blindness beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/gate/night_sim.h"

static const sim_setup two_modes = {
    .cells = 2000, .runs = 5, .cv = 0.003, .spread = 0.5, .night_sd = 0.005, .modes_every = 1};

static void every_cell_has_two_modes(void **state)
{
    (void)state;
    enum { NIGHTS = 4 };
    static const double gaps[] = {0.03, 0.06, 0.12, 0.30}, shares[] = {0.1, 0.33};
    sq_night_policy policy = sq_night_policy_default();
    for (int i = 0; i < 8; i++) {
        sim_setup setup = two_modes;
        setup.mode_gap = gaps[i / 2], setup.slow_share = shares[i % 2];
        sim_summary nights = sim_nights(&setup, &policy, NIGHTS, 8000);
        print_message("gap %.2f, share %.2f: ", setup.mode_gap, setup.slow_share);
        sim_print("", &nights);
        assert_true(nights.false_confirmed <= 1);
    }
}

/* One cell in ten has a mode 30 % away in a third of its runs: the others' regressions are found,
 * and it is named. */
static void others_are_seen(void **state)
{
    (void)state;
    enum { NIGHTS = 10 };
    sim_setup setup = two_modes;
    sq_night_policy policy = sq_night_policy_default();
    setup.modes_every = 10, setup.mode_gap = 0.30, setup.slow_share = 0.33;
    setup.cv = 0.005, setup.regressed = 20, setup.effect = 0.05; /* two of them have modes */
    sim_summary nights = sim_nights(&setup, &policy, NIGHTS, 8100);
    sim_print("one cell in ten bimodal", &nights);
    assert_true(nights.false_confirmed <= 0.5 && nights.power >= 0.8);
    assert_true(nights.bimodal >= 100); /* of 200; five runs may all be in one mode */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_has_two_modes),
        cmocka_unit_test(others_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
