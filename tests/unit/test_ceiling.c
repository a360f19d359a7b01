/* Ceilings by name, and the theoretical peaks of known cards. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/ceiling.h"

static sq_device card(const char *arch, int sms, double bus_bits, double memory_mhz)
{
    sq_device d = {.backend = "cuda",
                   .sm_count = sms,
                   .memory_bus_bits = bus_bits,
                   .max_memory_mhz = memory_mhz,
                   .l2_bytes = -1};
    snprintf(d.arch, sizeof d.arch, "%s", arch);
    return d;
}

static void assert_near(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * expected))
        fail_msg("%g, expected %g", value, expected);
}

/* The vendor's own data sheets: dense figures at the boost clock. */
static void test_peaks_are_those_of_the_data_sheets(void **state)
{
    (void)state;
    sq_device h100 = card("sm_90", 132, 5120, 2619), a100 = card("sm_80", 108, 5120, 1512);
    sq_device b200 = card("sm_100", 148, 8192, 3996), l40 = card("sm_89", 142, 384, 9001);
    assert_near(sq_peak_rate(&h100, SQ_PEAK_DRAM, NAN), 3352, 0.001);
    assert_near(sq_peak_rate(&h100, SQ_PEAK_HALF, 1830), 989.4, 0.005);
    assert_near(sq_peak_rate(&h100, SQ_PEAK_TF32, 1830), 494.7, 0.005);
    assert_near(sq_peak_rate(&h100, SQ_PEAK_FP8, 1830), 1978.9, 0.005);
    assert_near(sq_peak_rate(&h100, SQ_PEAK_SIMT, 1980), 66.9, 0.005);
    assert_near(sq_peak_rate(&h100, SQ_PEAK_MUFU, 1980), 4181.8, 0.005);
    assert_near(sq_peak_rate(&a100, SQ_PEAK_DRAM, NAN), 1935, 0.001);
    assert_near(sq_peak_rate(&a100, SQ_PEAK_HALF, 1410), 312, 0.005);
    assert_near(sq_peak_rate(&a100, SQ_PEAK_INT8, 1410), 624, 0.005);
    assert_near(sq_peak_rate(&a100, SQ_PEAK_SIMT, 1410), 19.5, 0.005);
    assert_near(sq_peak_rate(&b200, SQ_PEAK_HALF, 1850), 2250, 0.005);
    assert_near(sq_peak_rate(&l40, SQ_PEAK_HALF, 2490), 362.1, 0.005);
}

static void test_unknown_is_no_number(void **state)
{
    (void)state;
    sq_device h100 = card("sm_90", 132, NAN, NAN), a100 = card("sm_80", 108, 5120, 1512);
    sq_device next = card("sm_999", 100, 5120, 2000), cpu = card("sm_90", 4, 1, 1);
    strcpy(cpu.backend, "cpu");
    assert_true(isnan(sq_peak_rate(&h100, SQ_PEAK_DRAM, 1980)));
    assert_true(isnan(sq_peak_rate(&h100, SQ_PEAK_HALF, NAN)));
    assert_true(isnan(sq_peak_rate(&h100, SQ_PEAK_NONE, 1980)));
    assert_true(isnan(sq_peak_rate(&a100, SQ_PEAK_FP8, 1410))); /* has no such unit */
    assert_true(isnan(sq_peak_rate(&next, SQ_PEAK_HALF, 1410)));
    assert_true(isnan(sq_peak_rate(&cpu, SQ_PEAK_SIMT, 1410)));
    assert_true(isnan(sq_peak_flops(&next, SQ_DTYPE_BF16, 1410)));
    assert_false(isnan(sq_peak_rate(&next, SQ_PEAK_DRAM, NAN)));
}

static void test_the_fastest_unit_of_a_type_counts(void **state)
{
    (void)state;
    sq_device h100 = card("sm_90", 132, 5120, 2619);
    assert_near(sq_peak_flops(&h100, SQ_DTYPE_BF16, 1830), 989.4, 0.005);
    assert_near(sq_peak_flops(&h100, SQ_DTYPE_F16, 1830), 989.4, 0.005);
    assert_near(sq_peak_flops(&h100, SQ_DTYPE_F32, 1830), 494.7, 0.005); /* by way of TF32 */
}

static void test_names_are_one_each_and_carry_their_unit(void **state)
{
    (void)state;
    static const struct {
        const char *end, *unit;
    } units[] = {{"_ns", "ns"},           {"gbytes_per_s", "GB/s"},
                 {"_tflops", "TFLOP/s"},  {"_tops", "TOP/s"},
                 {"gops_per_s", "Gop/s"}, {"_w", "W"},
                 {"_mhz", "MHz"},         {NULL, NULL}};
    for (const sq_ceiling_def *def = sq_ceiling_defs; def->name; def++) {
        bool is_matched = false;
        size_t length = strlen(def->name);
        for (int i = 0; units[i].end; i++) {
            size_t n = strlen(units[i].end);
            if (length > n && strcmp(def->name + length - n, units[i].end) == 0)
                is_matched = strcmp(def->unit, units[i].unit) == 0;
        }
        if (!is_matched)
            fail_msg("%s is in %s", def->name, def->unit);
        assert_ptr_equal(sq_ceiling_find(def->name), def); /* the first of its name */
        assert_true(length < sizeof(((sq_ceiling *)0)->name));
    }
    assert_null(sq_ceiling_find("copy"));
}

static void test_value_by_name(void **state)
{
    (void)state;
    sq_ceiling list[2] = {sq_ceiling_new("copy_gbytes_per_s"), sq_ceiling_new("chase_l2_ns")};
    assert_true(isnan(list[0].value) && isnan(list[0].lo) && isnan(list[0].sm_mhz));
    assert_string_equal(list[1].unit, "ns");
    list[1].value = 130;
    assert_true(sq_ceiling_value(list, 2, "chase_l2_ns") == 130);
    assert_true(isnan(sq_ceiling_value(list, 1, "chase_l2_ns")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peaks_are_those_of_the_data_sheets),
        cmocka_unit_test(test_unknown_is_no_number),
        cmocka_unit_test(test_the_fastest_unit_of_a_type_counts),
        cmocka_unit_test(test_names_are_one_each_and_carry_their_unit),
        cmocka_unit_test(test_value_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
