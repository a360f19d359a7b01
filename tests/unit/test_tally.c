/* What runs cost and where the time went: sums, shares, and the time of a plan by kinds of work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "bench/tally.h"

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) < 1e-9))
        fail_msg("%g, not %g", got, want);
}

enum { CELLS = 10, REPLICATES = 3 };

static sq_plan_item items[CELLS * REPLICATES];

static sq_plan a_plan(void)
{
    for (int i = 0; i < CELLS * REPLICATES; i++)
        items[i] = (sq_plan_item){.replicate = i / CELLS, .status = SQ_RUN_OK};
    return (sq_plan){.item = items, .count = CELLS * REPLICATES, .n_cells = CELLS};
}

static sq_plan_item item_of(int replicate)
{
    return (sq_plan_item){.replicate = replicate, .status = SQ_RUN_OK};
}

/* A run of 0.1 s of samples; the first of a cell has 0.2 s of proof and 0.3 s of counters too. */
static void add_run(sq_tally *tally, int replicate, double seconds)
{
    sq_record record;
    sq_plan_item item = item_of(replicate);
    sq_record_init(&record, &item.cell);
    assert_int_equal(sq_record_set_samples(&record, (int32_t[]){7}, 1), SQ_OK);
    assert_int_equal(sq_record_add_number(&record, "phase_samples_ms", 100), SQ_OK);
    assert_int_equal(sq_record_add_number(&record, "tokens", 1e6), SQ_OK);
    if (replicate == 0) {
        assert_int_equal(sq_record_add_number(&record, "phase_proof_ms", 200), SQ_OK);
        assert_int_equal(sq_record_add_number(&record, "phase_counters_ms", 300), SQ_OK);
    }
    assert_int_equal(sq_tally_add_run(tally, &item, &record, seconds, NULL), SQ_OK);
    sq_record_free(&record);
}

static double phase(const sq_tally *tally, const char *name)
{
    for (int i = 0; i < tally->n_phases; i++)
        if (strcmp(tally->phase[i].name, name) == 0)
            return tally->phase[i].seconds;
    return NAN;
}

static void test_phases_add_up(void **state)
{
    (void)state;
    sq_tally tally = {.n_runs = 0};
    sq_plan plan = a_plan();
    sq_tally_add_phase(&tally, "ceilings", 2);
    add_run(&tally, 0, 0.7);
    sq_tally_add_part(&tally, "worker", 0.4); /* of the next run */
    add_run(&tally, 1, 0.6);
    add_run(&tally, 1, 0.2);
    sq_cost_summary cost = sq_tally_conclude(&tally, &plan);
    assert_int_equal(cost.n_runs, 3);
    assert_near(cost.seconds, 2 + 0.7 + 0.6 + 0.2);
    assert_near(cost.median_seconds, 0.6);
    assert_near(cost.mean_seconds, 0.5);
    assert_near(phase(&tally, "samples"), 0.3);
    assert_near(phase(&tally, "proof"), 0.2);
    assert_near(phase(&tally, "worker"), 0.4);
    assert_near(phase(&tally, "other"), 0.1 + 0.1 + 0.1);
    assert_string_equal(tally.phase[0].name, "ceilings"); /* the longest first */
    assert_true(isnan(phase(&tally, "tokens")));
    sq_tally_free(&tally);
}

static void test_a_plan_is_extrapolated_by_kind(void **state)
{
    (void)state;
    sq_tally tally = {.n_runs = 0};
    sq_plan plan = a_plan();
    plan.item[3].status = SQ_RUN_SKIPPED; /* costs nothing */
    sq_tally_add_phase(&tally, "ceilings", 2);
    for (int i = 0; i < 4; i++)
        add_run(&tally, 0, 0.8);
    add_run(&tally, 2, 0.2);
    tally.is_choosy = true;
    add_run(&tally, 1, 0.1); /* short ones, taken since they fitted: no sample of the plan */
    add_run(&tally, 0, 0.1);
    double seconds = sq_tally_conclude(&tally, &plan).plan_seconds;
    assert_near(seconds, 2 + 9 * 0.8 + 20 * 0.2);
    sq_tally_free(&tally);
}

/* Of a campaign that made first runs only, the later ones are expected without proof and counters. */
static void test_later_runs_are_first_ones_without_what_is_done_once(void **state)
{
    (void)state;
    sq_tally tally = {.n_runs = 0};
    sq_plan plan = a_plan();
    add_run(&tally, 0, 0.8);
    assert_near(sq_tally_conclude(&tally, &plan).plan_seconds, 10 * 0.8 + 20 * 0.3);
    sq_tally_free(&tally);
    sq_cost_summary none = sq_tally_conclude(&tally, &plan);
    assert_true(isnan(none.plan_seconds) && isnan(none.median_seconds) && none.n_runs == 0);
}

/* First runs are 10 of the plan's 30, and 3 of 5 of those made. */
static void test_the_median_of_a_plan_weighs_kinds_as_the_plan_does(void **state)
{
    (void)state;
    sq_tally tally = {.n_runs = 0};
    sq_plan plan = a_plan();
    add_run(&tally, 0, 0.9);
    add_run(&tally, 0, 0.7);
    add_run(&tally, 0, 0.8);
    assert_true(isnan(sq_tally_conclude(&tally, &plan).plan_median_seconds));
    add_run(&tally, 1, 0.3);
    add_run(&tally, 1, 0.2);
    tally.is_choosy = true;
    add_run(&tally, 1, 0.01);
    sq_cost_summary cost = sq_tally_conclude(&tally, &plan);
    assert_near(cost.median_seconds, (0.3 + 0.7) / 2);
    assert_near(cost.plan_median_seconds, 0.3);
    sq_tally_free(&tally);
}

/* They cost next to nothing and would flatter the rest. */
static void test_rows_without_a_time_are_no_runs_of_the_median(void **state)
{
    (void)state;
    sq_tally tally = {.n_runs = 0};
    sq_plan plan = a_plan();
    sq_plan_item item = item_of(0);
    sq_record refused;
    sq_record_init(&refused, &item.cell);
    refused.status = SQ_RUN_UNSUPPORTED;
    for (int i = 0; i < 9; i++)
        assert_int_equal(sq_tally_add_run(&tally, &item, &refused, 0.01, NULL), SQ_OK);
    add_run(&tally, 0, 0.8);
    sq_cost_summary cost = sq_tally_conclude(&tally, &plan);
    assert_int_equal(cost.n_runs, 10);
    assert_int_equal(cost.n_timed, 1);
    assert_near(cost.median_seconds, 0.8);
    assert_near(cost.plan_seconds, 10 * 0.089 + 20 * (0.089 - 0.05));
    sq_tally_free(&tally);
    sq_record_free(&refused);
}

static void test_more_phases_than_room_are_no_harm(void **state)
{
    (void)state;
    sq_tally tally = {.n_runs = 0};
    char name[2] = "a";
    for (; name[0] <= 'z'; name[0]++)
        sq_tally_add_part(&tally, name, 1);
    assert_int_equal(tally.n_phases, SQ_MAX_PHASES);
    sq_tally_free(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases_add_up),
        cmocka_unit_test(test_a_plan_is_extrapolated_by_kind),
        cmocka_unit_test(test_later_runs_are_first_ones_without_what_is_done_once),
        cmocka_unit_test(test_the_median_of_a_plan_weighs_kinds_as_the_plan_does),
        cmocka_unit_test(test_rows_without_a_time_are_no_runs_of_the_median),
        cmocka_unit_test(test_more_phases_than_room_are_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
