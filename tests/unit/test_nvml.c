/* nvml: every fact that a driver may give, refuse or not know, against tests/support/fake_nvml.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profile/nvml.h"
#include "profile/profile.h"

#define PCI "00000000:01:00.0"

static sq_nvml_state read_state(const char *script)
{
    sq_nvml_state state;
    sq_error err = {.message = ""};
    setenv("FAKE_NVML", script, 1);
    if (sq_nvml_read(PCI, &state, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return state;
}

static int setup(void **state)
{
    (void)state;
    unsetenv("FAKE_NVML");
    return setenv("SEQMARK_NVML", SQ_FAKE_NVML, 1);
}

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want)))
        fail_msg("%g where %g belongs", got, want);
}

/* --- all there --- */

static void test_every_fact_in_its_unit(void **state)
{
    (void)state;
    sq_nvml_state s = read_state(
        "driver=580.1 sm_mhz=1755 memory_mhz=2619 max_sm_mhz=1980 max_memory_mhz=2620 "
        "temperature=61 memory_temperature=70 slowdown=90 margin=25 power_average=412500 "
        "power_instant=498000 limit=700000 energy=123456 sbe=3 dbe=1 remapped_correctable=2 "
        "remapped_uncorrectable=4 ecc=1 mig=0 persistence=1 virtualization=1 pcie_generation=4 "
        "pcie_width=8 max_pcie_generation=5 max_pcie_width=16 processes=self reasons=4 "
        "sw_power=5000000 sync_boost=0 below_base=1000000 sw_thermal=2000000 hw_thermal=3000000 "
        "hw_brake=4000000");
    assert_near(s.sm_mhz, 1755);
    assert_near(s.memory_mhz, 2619);
    assert_near(s.max_sm_mhz, 1980);
    assert_near(s.max_memory_mhz, 2620);
    assert_near(s.temperature_c, 61);
    assert_near(s.memory_temperature_c, 70);
    assert_near(s.slowdown_c, 90);
    assert_near(s.headroom_c, 25); /* the driver's own margin, not 90 - 61 */
    assert_near(s.power_w, 412.5);
    assert_near(s.power_instant_w, 498);
    assert_near(s.power_limit_w, 700);
    assert_near(s.energy_j, 123.456);
    assert_near(s.ecc_corrected, 3);
    assert_near(s.ecc_uncorrected, 1);
    assert_near(s.remapped_rows, 6);
    assert_near(s.other_processes, 0);
    assert_near(s.pcie_generation, 4);
    assert_near(s.pcie_width, 8);
    assert_near(s.max_pcie_generation, 5);
    assert_near(s.max_pcie_width, 16);
    const double ms[SQ_THROTTLE_COUNT] = {5, 0, 1, 2, 3, 4};
    for (int i = 0; i < SQ_THROTTLE_COUNT; i++)
        assert_near(s.throttle.ms[i], ms[i]);
    assert_true(s.throttle.has_reasons && s.throttle.reasons == 4);
    assert_string_equal(s.driver, "580.1");
    assert_string_equal(s.ecc, "on");
    assert_string_equal(s.mig, "off");
    assert_string_equal(s.persistence, "on");
    assert_string_equal(s.virtualization, "passthrough");
}

/* --- parts missing --- */

static void assert_all_unknown(const sq_nvml_state *s)
{
    const double numbers[] = {
        s->sm_mhz,          s->memory_mhz,           s->max_sm_mhz,          s->max_memory_mhz,
        s->temperature_c,   s->memory_temperature_c, s->slowdown_c,          s->headroom_c,
        s->power_w,         s->power_instant_w,      s->power_limit_w,       s->energy_j,
        s->ecc_corrected,   s->ecc_uncorrected,      s->remapped_rows,       s->other_processes,
        s->pcie_generation, s->pcie_width,           s->max_pcie_generation, s->max_pcie_width};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!isnan(numbers[i]))
            fail_msg("number %zu is %g, not unknown", i, numbers[i]);
    for (int i = 0; i < SQ_THROTTLE_COUNT; i++)
        assert_true(isnan(s->throttle.ms[i]));
    assert_false(s->throttle.has_reasons);
    assert_string_equal(s->driver, "");
    assert_string_equal(s->ecc, "");
    assert_string_equal(s->mig, "");
    assert_string_equal(s->persistence, "");
    assert_string_equal(s->virtualization, "");
}

static void test_nothing_supported_is_unknown_not_zero(void **state)
{
    (void)state;
    sq_nvml_state s = read_state("");
    assert_all_unknown(&s);
}

static void test_no_permission_is_unknown(void **state)
{
    (void)state;
    sq_nvml_state s = read_state("temperature=!4 sm_mhz=!4 fields=!4 processes=!4 energy=!4 "
                                 "ecc=!4 mig=!4 persistence=!4 reasons=!4 margin=!4 limit=!4");
    assert_all_unknown(&s);
}

static void test_one_refused_field_leaves_the_others(void **state)
{
    (void)state;
    sq_nvml_state s = read_state("sw_power=!4 sw_thermal=7000000 mig=1 temperature=50");
    assert_true(isnan(s.throttle.ms[SQ_THROTTLE_SW_POWER]));
    assert_near(s.throttle.ms[SQ_THROTTLE_SW_THERMAL], 7);
    assert_string_equal(s.mig, "on");
    assert_near(s.temperature_c, 50);
}

static void test_headroom_without_a_margin(void **state)
{
    (void)state;
    sq_nvml_state s = read_state("temperature=61 slowdown=90");
    assert_near(s.headroom_c, 29);
    s = read_state("temperature=61 margin=25");
    assert_near(s.slowdown_c, 86);
}

static void test_power_by_the_older_call(void **state)
{
    (void)state;
    assert_near(read_state("power=300000").power_w, 300);
    assert_near(read_state("power=300000 power_average=200000").power_w, 200);
}

static void test_single_readings(void **state)
{
    (void)state;
    sq_nvml *nvml;
    setenv("FAKE_NVML", "power=300000 power_instant=450000 temperature=61", 1);
    assert_int_equal(sq_nvml_open(PCI, &nvml, NULL), SQ_OK);
    assert_near(sq_nvml_power_w(nvml), 450);
    assert_near(sq_nvml_temperature_c(nvml), 61);
    setenv("FAKE_NVML", "power=300000", 1);
    assert_near(sq_nvml_power_w(nvml), 300);
    assert_true(isnan(sq_nvml_temperature_c(nvml)));
    sq_nvml_close(nvml);
}

static void test_an_old_driver_gives_what_it_has(void **state)
{
    (void)state;
    setenv("SEQMARK_NVML", SQ_FAKE_NVML_OLD, 1);
    sq_nvml_state s = read_state("driver=450.80 temperature=55 power=250000 sm_mhz=1400 "
                                 "reasons=32 sw_thermal=1 energy=5 margin=9");
    assert_near(s.temperature_c, 55);
    assert_near(s.power_w, 250);
    assert_near(s.sm_mhz, 1400);
    assert_true(s.throttle.has_reasons && s.throttle.reasons == 32);
    assert_true(isnan(s.throttle.ms[SQ_THROTTLE_SW_THERMAL]) && isnan(s.energy_j));
    assert_true(isnan(s.headroom_c) && isnan(s.other_processes));
    setup(NULL);
}

static void assert_refused(const char *script, const char *word)
{
    sq_nvml_state s;
    sq_error err = {.message = ""};
    setenv("FAKE_NVML", script, 1);
    assert_int_equal(sq_nvml_read(PCI, &s, &err), SQ_UNSUPPORTED);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" where %s belongs", err.message, word);
    assert_all_unknown(&s);
}

static void test_refusals_say_why(void **state)
{
    (void)state;
    assert_refused("init=!9", "error 9");
    assert_refused("init=!4", "no permission");
    assert_refused("pci=00000000:02:00.0", "no GPU at " PCI);
    setenv("SEQMARK_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    assert_refused("", "absent");
    setenv("SEQMARK_NVML", "libm.so.6", 1);
    assert_refused("", "too old");
    setup(NULL);
}

static void test_no_handle_knows_nothing(void **state)
{
    (void)state;
    sq_nvml_state s;
    sq_nvml_throttle t;
    sq_nvml_snapshot(NULL, &s);
    assert_all_unknown(&s);
    sq_nvml_read_throttle(NULL, &t);
    assert_true(isnan(t.ms[0]) && !t.has_reasons);
    assert_true(isnan(sq_nvml_energy_j(NULL)) && isnan(sq_nvml_headroom_c(NULL)));
    assert_true(isnan(sq_nvml_power_w(NULL)) && isnan(sq_nvml_temperature_c(NULL)));
    sq_nvml_close(NULL);
}

static void test_doctor_line(void **state)
{
    (void)state;
    char line[200];
    setenv("FAKE_NVML", "driver=580.1", 1);
    sq_profile_describe_nvml(line, sizeof line);
    assert_string_equal(line, "present, driver 580.1");
    setenv("FAKE_NVML", "init=!9", 1);
    sq_profile_describe_nvml(line, sizeof line);
    assert_non_null(strstr(line, "absent: "));
}

/* --- who else --- */

static void test_other_processes(void **state)
{
    (void)state;
    assert_near(read_state("processes=self,parent").other_processes, 0);
    assert_near(read_state("processes=self,1").other_processes, 1);
    assert_true(isnan(read_state("processes=self,999999999").other_processes));
}

/* --- two readings --- */

static sq_nvml_throttle throttle(double sw_power, double sw_thermal, double hw_thermal,
                                 double brake)
{
    return (sq_nvml_throttle){.ms = {sw_power, 0, 0, sw_thermal, hw_thermal, brake}};
}

static void test_difference(void **state)
{
    (void)state;
    sq_nvml_state a = read_state("energy=1000 sbe=1 dbe=0 sw_power=1000000 hw_brake=9000000");
    sq_nvml_state b = read_state("energy=3500 sbe=2 dbe=1 sw_power=6000000 hw_brake=8000000");
    sq_nvml_change change = sq_nvml_difference(&a, &b);
    assert_near(change.energy_j, 2.5);
    assert_near(change.ecc_errors, 2);
    assert_near(change.throttled_ms[SQ_THROTTLE_SW_POWER], 5);
    assert_true(isnan(change.throttled_ms[SQ_THROTTLE_HW_BRAKE]));   /* ran backwards */
    assert_true(isnan(change.throttled_ms[SQ_THROTTLE_SW_THERMAL])); /* never known */
}

static bool disturbed(sq_nvml_throttle before, sq_nvml_throttle after, const char *word)
{
    char why[96] = "";
    bool is_disturbed = sq_nvml_disturbed(&before, &after, why, sizeof why);
    if (!strstr(why, word))
        fail_msg("\"%s\" where \"%s\" belongs", why, word);
    return is_disturbed;
}

static void test_what_disturbs(void **state)
{
    (void)state;
    sq_nvml_throttle none = throttle(0, 0, 0, 0), unknown = throttle(0, NAN, NAN, NAN);
    assert_false(disturbed(none, none, ""));
    assert_false(disturbed(none, throttle(5000, 0, 0, 0), "")); /* the software power cap */
    assert_true(disturbed(none, throttle(0, 12, 0, 0), "by the driver for 12 ms"));
    assert_true(disturbed(none, throttle(0, 0, 3.5, 0), "by the hardware for 3.5 ms"));
    assert_true(disturbed(none, throttle(0, 0, 0, 1), "power brake for 1 ms"));
    assert_false(disturbed(throttle(0, 7, 7, 7), throttle(9, 7, 7, 7), "")); /* all before */
    assert_false(disturbed(unknown, unknown, ""));
}

static void test_bits_decide_where_no_time_is_kept(void **state)
{
    (void)state;
    sq_nvml_throttle none = throttle(0, 0, 0, 0), unknown = throttle(0, NAN, NAN, NAN);
    sq_nvml_throttle seen = unknown, cap = unknown, known = none;
    seen.has_reasons = cap.has_reasons = known.has_reasons = true;
    seen.reasons = known.reasons = 0x20;
    cap.reasons = 0x4;
    assert_true(disturbed(unknown, seen, "by the driver (seen"));
    assert_true(disturbed(seen, unknown, "by the driver (seen"));
    assert_false(disturbed(unknown, cap, ""));
    assert_false(disturbed(none, known, "")); /* the counter stood still */
    seen.reasons = 0x8;
    assert_true(disturbed(unknown, seen, "hardware"));
    seen.reasons = 0x80;
    assert_true(disturbed(unknown, seen, "power brake"));
    seen.has_reasons = false;
    assert_false(disturbed(unknown, seen, ""));
}

static void test_counters_that_run_are_seen(void **state)
{
    (void)state;
    sq_nvml *nvml;
    sq_nvml_throttle before, after;
    char why[96];
    setenv("FAKE_NVML", "hw_thermal=5e8/s energy=1e6/s tick_ms=1", 1);
    assert_int_equal(sq_nvml_open(PCI, &nvml, NULL), SQ_OK);
    double joules = sq_nvml_energy_j(nvml);
    sq_nvml_read_throttle(nvml, &before);
    do {
        usleep(2000);
        sq_nvml_read_throttle(nvml, &after);
    } while (after.ms[SQ_THROTTLE_HW_THERMAL] <= before.ms[SQ_THROTTLE_HW_THERMAL]);
    assert_true(sq_nvml_energy_j(nvml) > joules);
    assert_true(sq_nvml_disturbed(&before, &after, why, sizeof why));
    sq_nvml_close(nvml);
}

/* --- clocks --- */

static sq_status lock(const char *script, int mhz, sq_error *err)
{
    sq_nvml *nvml = NULL;
    setenv("FAKE_NVML", script, 1);
    if (sq_nvml_open(PCI, &nvml, err) != SQ_OK)
        fail_msg("%s", err->message);
    sq_status status = sq_nvml_lock_clocks(nvml, mhz, err);
    if (status == SQ_OK)
        status = sq_nvml_unlock_clocks(nvml, err);
    sq_nvml_close(nvml);
    return status;
}

static void test_clocks_are_locked_or_it_is_said_why_not(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        int mhz;
        sq_status status;
        const char *words;
    } cases[] = {
        {"lock=0 unlock=0 max_sm_mhz=1980", 1980, SQ_OK, ""},
        {"lock=0 unlock=0", 1200, SQ_OK, ""},
        {"lock=0 unlock=0 max_sm_mhz=1980", -1, SQ_OK, ""},
        {"lock=0 unlock=0 max_sm_mhz=1980", 1981, SQ_BAD_ARGUMENT, "up to 1980 MHz"},
        {"lock=!4", 1200, SQ_UNSUPPORTED, "lock clocks to 1200 MHz: no permission"},
        {"lock=!4", -1, SQ_UNSUPPORTED, "lock clocks to base: no permission"},
        {"", 1200, SQ_UNSUPPORTED, "this GPU, or this part of one, cannot"},
        {"lock=!2", 1200, SQ_BAD_ARGUMENT, "error 2"},
        {"lock=!999", 1200, SQ_UNSUPPORTED, "error 999"},
        {"lock=0 unlock=!4", 1200, SQ_UNSUPPORTED, "unlock clocks: no permission"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sq_error err = {.message = ""};
        assert_int_equal(lock(cases[i].script, cases[i].mhz, &err), cases[i].status);
        if (!strstr(err.message, cases[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fact_in_its_unit),
        cmocka_unit_test(test_nothing_supported_is_unknown_not_zero),
        cmocka_unit_test(test_no_permission_is_unknown),
        cmocka_unit_test(test_one_refused_field_leaves_the_others),
        cmocka_unit_test(test_headroom_without_a_margin),
        cmocka_unit_test(test_power_by_the_older_call),
        cmocka_unit_test(test_single_readings),
        cmocka_unit_test(test_an_old_driver_gives_what_it_has),
        cmocka_unit_test(test_refusals_say_why),
        cmocka_unit_test(test_no_handle_knows_nothing),
        cmocka_unit_test(test_doctor_line),
        cmocka_unit_test(test_other_processes),
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_what_disturbs),
        cmocka_unit_test(test_bits_decide_where_no_time_is_kept),
        cmocka_unit_test(test_counters_that_run_are_seen),
        cmocka_unit_test_setup(test_clocks_are_locked_or_it_is_said_why_not, setup),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
