/* Cells that become 0.3 % slower every night, in code, are found beside a baseline that is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "tests/gate/night_sim.h"

enum { NIGHTS = 12, SERIES = 5, DRIFTING = 20 };

/* How many of the drifting cells were confirmed by each night, and the false ones of all nights. */
static double drift(uint64_t seed, int *found_by)
{
    bool is_found[DRIFTING] = {false};
    sq_night_policy policy = sq_night_policy_default();
    double wrong = 0;
    for (int night = 1; night <= NIGHTS; night++) {
        sim_setup setup = {.cells = 1000,
                           .runs = 5,
                           .regressed = DRIFTING,
                           .effect = pow(1.003, night) - 1,
                           .cv = 0.005,
                           .spread = 0.5,
                           .night_sd = 0.005,
                           .kept_seed = seed,
                           .is_found = is_found};
        wrong += sim_night(&setup, &policy, seed * 100 + (uint64_t)night).false_confirmed;
        for (int i = 0; i < DRIFTING; i++)
            found_by[night] += is_found[i];
    }
    return wrong;
}

static void found_by_the_twelfth_night(void **state)
{
    (void)state;
    int found_by[NIGHTS + 1] = {0};
    double wrong = 0;
    for (uint64_t seed = 1; seed <= SERIES; seed++)
        wrong += drift(seed, found_by);
    for (int night = 1; night <= NIGHTS; night++)
        print_message("night %d (+%.1f %%): %.2f found\n", night, 100 * (pow(1.003, night) - 1),
                      (double)found_by[night] / SERIES / DRIFTING);
    assert_true(found_by[NIGHTS] >= 0.95 * SERIES * DRIFTING);
    assert_true(found_by[4] <= 0.1 * SERIES * DRIFTING); /* 1.2 % is below the minimum */
    assert_true(wrong <= 0.5 * SERIES * NIGHTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(found_by_the_twelfth_night)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
