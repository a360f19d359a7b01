/* Causality, prefixes, batch order and chunks: every operator and every block on the CPU reference.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/support/properties.h"

#define MAX_WORK 2e6 /* of one run: a dozen of them are made for each shape */
#define DRIFT_MAX_WORK 2e7

static sq_case_filter filter;

static int open_rig(void **state)
{
    static sq_rig rig;
    sq_error err;
    rig = (sq_rig){.backend = &sq_backend_cpu, .providers = sq_providers_cpu};
    *state = &rig;
    return rig.backend->open(0, &rig.device, &err) == SQ_OK ? 0 : -1;
}

static int close_rig(void **state)
{
    sq_rig *rig = *state;
    rig->backend->close(rig->device);
    return 0;
}

static void expect_all_passed(const sq_case_counts *counts)
{
    printf("%d passed, %d failed (%d do not apply)\n", counts->passed, counts->failed,
           counts->unsupported);
    assert_int_equal(counts->failed, 0);
    assert_true(counts->passed > 0 || filter.op);
}

static void operators_keep_them(void **state)
{
    sq_case_counts counts = {0};
    sq_properties_of_ops(*state, &filter, MAX_WORK, &counts);
    expect_all_passed(&counts);
}

static void blocks_keep_them(void **state)
{
    sq_case_counts counts = {0};
    sq_properties_of_blocks(*state, &filter, "cpu/ref", &counts);
    expect_all_passed(&counts);
}

/* Steps of every recurrence, and every pass of one: here the provider is the reference. */
static void nothing_drifts(void **state)
{
    sq_case_counts steps = {0}, passes = {0};
    sq_case_filter some = filter;
    some.pass = "step";
    sq_properties_of_drift(*state, &some, DRIFT_MAX_WORK, &steps);
    expect_all_passed(&steps);
    some = (sq_case_filter){.program = filter.program, .op = "retention"};
    if (sq_case_is_selected(filter.op, some.op))
        sq_properties_of_drift(*state, &some, DRIFT_MAX_WORK, &passes);
    expect_all_passed(&passes);
    assert_int_equal(steps.unsupported + passes.unsupported, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_keep_them),
        cmocka_unit_test(blocks_keep_them),
        cmocka_unit_test(nothing_drifts),
    };
    sq_case_filter_parse(argc, argv, &filter);
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
