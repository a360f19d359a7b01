/* vitals: what a record carries of the driver's word, and what it says where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/worker/vitals.h"
#include "profile/profile.h"

static const sq_device gpu = {.backend = "cuda", .pci = "0000:01:00.0"};
static sq_record record;
static sq_vitals vitals;

static int setup(void **state)
{
    (void)state;
    static const sq_cell cell = {.kind = SQ_KIND_OP};
    sq_record_init(&record, &cell);
    return setenv("SEQMARK_NVML", SQ_FAKE_NVML, 1);
}

static int teardown(void **state)
{
    (void)state;
    sq_vitals_close(&vitals);
    sq_record_free(&record);
    return 0;
}

static const sq_value *find(const char *metric)
{
    for (int i = 0; i < record.n_values; i++)
        if (strcmp(record.values[i].metric, metric) == 0)
            return &record.values[i];
    fail_msg("no value %s", metric);
    return NULL;
}

static void assert_value(const char *metric, double want)
{
    const sq_value *value = find(metric);
    assert_string_equal(value->validity, "ok");
    if (value->value != want)
        fail_msg("%s is %g, not %g", metric, value->value, want);
}

/* A run between two scripts of the fake driver. */
static void run_between(const char *before, const char *after)
{
    setenv("FAKE_NVML", before, 1);
    sq_vitals_open(&gpu, &vitals);
    sq_vitals_begin(&vitals);
    setenv("FAKE_NVML", after, 1);
    assert_int_equal(sq_vitals_end(&vitals, &record), SQ_OK);
}

static void test_before_and_after(void **state)
{
    (void)state;
    run_between("sm_mhz=1980 sw_power=1000000 sw_thermal=0 hw_thermal=0 hw_brake=0 sbe=4 dbe=0",
                "sm_mhz=1500 sw_power=81000000 sw_thermal=2500000 hw_thermal=0 hw_brake=7000000 "
                "sbe=5 dbe=0 temperature=66 power_average=690000 memory_mhz=2619 processes=self");
    assert_value("sm_mhz_before", 1980);
    assert_value("sm_mhz_after", 1500);
    assert_value("memory_mhz", 2619);
    assert_value("temperature_c", 66);
    assert_value("power_w", 690);
    assert_value("throttle_sw_power_ms", 80);
    assert_value("throttle_sw_thermal_ms", 2.5);
    assert_value("throttle_hw_thermal_ms", 0);
    assert_value("throttle_hw_brake_ms", 7);
    assert_value("ecc_errors", 1);
    assert_value("gpu_processes", 0);
    assert_true(record.sm_mhz == 1500); /* no better clock was known */
}

static void test_every_value_has_its_row_in_the_metric_table(void **state)
{
    (void)state;
    run_between("", "");
    assert_true(record.n_values > 0);
    for (int i = 0; i < record.n_values; i++)
        assert_non_null(sq_metric_find(record.values[i].metric));
}

static void test_the_watch_tells_each_slowdown_once(void **state)
{
    (void)state;
    char why[96] = "";
    setenv("FAKE_NVML", "hw_thermal=5000000 sw_power=0", 1);
    sq_vitals_open(&gpu, &vitals);
    sq_watch watch = sq_vitals_watch(&vitals);
    watch.was_slowed(watch.arg, why, sizeof why); /* what was before is forgotten */
    assert_false(watch.was_slowed(watch.arg, why, sizeof why));
    setenv("FAKE_NVML", "hw_thermal=9000000 sw_power=8000000", 1);
    assert_true(watch.was_slowed(watch.arg, why, sizeof why));
    assert_string_equal(why, "thermal slowdown by the hardware for 4 ms");
    assert_false(watch.was_slowed(watch.arg, why, sizeof why));
    setenv("FAKE_NVML", "hw_thermal=9000000 sw_power=99000000", 1);
    assert_false(watch.was_slowed(watch.arg, why, sizeof why)); /* the software power cap */
}

static void test_without_nvml_there_is_nothing_to_watch(void **state)
{
    (void)state;
    setenv("SEQMARK_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    sq_vitals_open(&gpu, &vitals);
    assert_null(sq_vitals_watch(&vitals).was_slowed);
}

static void test_a_measured_clock_stays(void **state)
{
    (void)state;
    record.sm_mhz = 1711;
    run_between("sm_mhz=1980", "sm_mhz=1980");
    assert_true(record.sm_mhz == 1711);
}

static void test_what_the_driver_keeps_to_itself(void **state)
{
    (void)state;
    run_between("sm_mhz=1980", "temperature=50");
    assert_value("temperature_c", 50);
    assert_true(isnan(find("power_w")->value));
    assert_string_equal(find("power_w")->validity, "unsupported: the driver does not tell");
    assert_string_equal(find("throttle_hw_brake_ms")->validity,
                        "unsupported: the driver does not tell");
    assert_true(isnan(record.sm_mhz));
}

static void test_absent_nvml_is_a_reason_on_every_value(void **state)
{
    (void)state;
    setenv("SEQMARK_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    run_between("", "");
    assert_int_equal(record.n_values, 11);
    for (int i = 0; i < record.n_values; i++) {
        assert_true(isnan(record.values[i].value));
        assert_non_null(strstr(record.values[i].validity, "unsupported: NVML absent"));
    }
}

static void test_the_cpu_has_none(void **state)
{
    (void)state;
    sq_vitals_open(&(sq_device){.backend = "cpu"}, &vitals);
    sq_vitals_begin(&vitals);
    assert_int_equal(sq_vitals_end(&vitals, &record), SQ_OK);
    assert_int_equal(record.n_values, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_before_and_after, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_value_has_its_row_in_the_metric_table, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_watch_tells_each_slowdown_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_nvml_there_is_nothing_to_watch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_measured_clock_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_driver_keeps_to_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent_nvml_is_a_reason_on_every_value, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_cpu_has_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
