/* The profiler over a table of functions that fail as they are told: every refusal ends as a validity
 * and spoils nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "profile/counts.h"
#include "profile/demangle.h"
#include "tests/profile/fake_cupti.h"

static sq_record record;

static int set_up(void **state)
{
    static const sq_cell none = {.kind = SQ_KIND_OP};
    (void)state;
    fake_reset();
    sq_record_init(&record, &none);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sq_record_free(&record);
    assert_int_equal(fake.hosts_open, 0); /* whatever failed, nothing stays open */
    assert_int_equal(fake.ranges_enabled, 0);
    assert_int_equal(fake.kinds_enabled, 0);
    assert_false(fake.is_sampling);
    return 0;
}

static sq_profiler *open_fake(void)
{
    sq_profiler *p = NULL;
    sq_error err = {.message = ""};
    assert_int_equal(sq_profiler_open_with(fake_table(), NULL, 0, &p, &err), SQ_OK);
    return p;
}

static void measure(const char *sets)
{
    sq_error err = {.message = ""};
    sq_profiler *p = open_fake();
    const sq_launches launches = fake_launches();
    if (sq_profiler_measure(p, sets, &launches, &record, &err) != SQ_OK)
        fail_msg("%s", err.message);
    sq_profiler_close(p);
}

static const sq_value *value_of(const char *metric)
{
    const sq_value *found = NULL;
    for (int i = 0; i < record.n_values; i++)
        if (strcmp(record.values[i].metric, metric) == 0) {
            assert_null(found); /* the store keeps one value a metric and run */
            found = &record.values[i];
        }
    if (!found)
        fail_msg("no value %s", metric);
    return found;
}

static void check_absent(const char *metric, const char *says)
{
    const sq_value *value = value_of(metric);
    assert_true(isnan(value->value));
    if (!strstr(value->validity, says))
        fail_msg("%s: \"%s\" lacks \"%s\"", metric, value->validity, says);
}

/* --- what works --- */

static void test_values_with_spread_and_clock(void **state)
{
    (void)state;
    measure("basic");
    const sq_value *read = value_of("dram_bytes_read");
    assert_true(read->value == 101 && read->n == 3);
    assert_true(fabs(read->spread - 2.0 / 101) < 1e-12);
    assert_true(fabs(read->sm_mhz - 1700) < 1e-9);
    assert_string_equal(read->validity, "ok");
    assert_int_equal(fake.counted, 3 * 2); /* repeats x passes: warm-up is not counted */
    assert_true(fake.launches > fake.counted + 5);
    assert_true(fake.resets >= 3 * 2 + 5);
}

static void test_kernels_of_the_median_launch(void **state)
{
    (void)state;
    measure("basic");
    assert_int_equal(record.n_kernels, 2);
    assert_int_equal(record.kernels[0].grid[0], 7); /* in the order they started */
    assert_int_equal(record.kernels[0].shared_bytes, 3072);
    assert_int_equal(record.kernels[0].registers, 40);
    assert_string_equal(record.kernels[0].symbol, "_ZN3foo4gemmILi64EEEvPKfi");
    assert_string_equal(record.kernels[1].name, "plain_c_kernel");
    const sq_value *sum = value_of("activity_ns");
    assert_int_equal(sum->n, 5);
    assert_true(sum->value == (double)(record.kernels[0].ns + record.kernels[1].ns));
    assert_true(sum->spread > 0);
}

static void test_a_profiler_serves_many_cells_and_sets(void **state)
{
    (void)state;
    static const char *const sets[] = {"basic", "basic", "stalls,mix", "all", "basic"};
    static const int passes[] = {2, 2, 4, 12, 2}; /* two an image */
    sq_profiler *p = open_fake();
    const sq_launches launches = fake_launches();
    sq_cell none = {.kind = SQ_KIND_OP};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        sq_record_free(&record);
        sq_record_init(&record, &none);
        assert_int_equal(sq_profiler_measure(p, sets[i], &launches, &record, NULL), SQ_OK);
        assert_string_equal(value_of("counter_time_ns")->validity, "ok");
        assert_int_equal(sq_profiler_passes(p), passes[i]);
    }
    sq_profiler_close(p);
}

static void test_scalar_arithmetic_is_summed(void **state)
{
    (void)state;
    measure("flops");
    assert_true(value_of("thread_ffma")->value == 101);
    assert_true(value_of("counted_flops_f32")->value == 4 * 101);
}

/* --- what a chip does not have --- */

static void test_one_unknown_metric_spoils_no_other(void **state)
{
    (void)state;
    fake.unknown = "dram__bytes_read.sum";
    measure("basic");
    check_absent("dram_bytes_read", "unsupported: GH100 has no counter dram__bytes_read.sum");
    assert_string_equal(value_of("dram_bytes_written")->validity, "ok");
}

static void test_what_the_set_knows_to_be_absent(void **state)
{
    (void)state;
    fake.chip = "GB203";
    measure("basic");
    check_absent("l2_hit_pct", "unsupported: GB203 has no counter");
    assert_string_equal(value_of("dram_bytes_read")->validity, "ok");
}

/* --- refusals --- */

static void test_refusals_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *function;
        CUptiResult result;
        const char *says;
    } cases[] = {
        {"cuptiProfilerGetCounterAvailability", CUPTI_ERROR_INSUFFICIENT_PRIVILEGES,
         "refused: no permission"},
        {"cuptiRangeProfilerStart", CUPTI_ERROR_INSUFFICIENT_PRIVILEGES, "refused: no permission"},
        {"cuptiRangeProfilerSetConfig", CUPTI_ERROR_HARDWARE_BUSY, "refused: another process"},
        {"cuptiProfilerDeviceSupported", CUPTI_ERROR_MIG_DEVICE_NOT_SUPPORTED,
         "unsupported: a MIG slice"},
        {"cuptiProfilerInitialize", CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED,
         "unsupported: a vGPU"},
        {"cuptiRangeProfilerEnable", CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED,
         "confidential computing"},
        {"cuptiProfilerHostInitialize", CUPTI_ERROR_INVALID_OPERATION,
         "refused: host object: CUPTI_ERROR_INVALID_OPERATION (7)"},
        {"cuptiProfilerHostGetConfigImage", CUPTI_ERROR_INVALID_OPERATION, "refused: configuration"},
        {"cuptiRangeProfilerStop", CUPTI_ERROR_INVALID_OPERATION, "refused: stop"},
        {"cuptiRangeProfilerDecodeData", CUPTI_ERROR_INVALID_OPERATION, "refused: decode"},
        {"cuptiRangeProfilerPushRange", CUPTI_ERROR_INVALID_OPERATION, "refused: range"},
        {"cuptiProfilerHostEvaluateToGpuValues", CUPTI_ERROR_INVALID_OPERATION,
         "refused: evaluate"},
        {"cuptiDeviceGetChipName", CUPTI_ERROR_UNKNOWN, "refused: chip name"},
    };
    sq_cell none = {.kind = SQ_KIND_OP};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_reset();
        fake.failing = cases[i].function;
        fake.result = cases[i].result;
        sq_record_free(&record);
        sq_record_init(&record, &none);
        measure("basic");
        check_absent("dram_bytes_read", cases[i].says);
        assert_int_equal(record.n_kernels, 2); /* the trace needs none of it */
        assert_string_equal(value_of("activity_ns")->validity, "ok");
        fake.ranges_open = 0;
    }
}

static void test_another_profiler_in_the_process(void **state)
{
    (void)state;
    fake.failing = "cuptiSubscribe";
    fake.result = CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
    measure("basic");
    check_absent("dram_bytes_read", "refused: another profiler holds this process");
    check_absent("activity_ns", "refused: another profiler holds this process");
    assert_int_equal(fake.launches, 0);
}

static void test_a_refused_trace_leaves_the_counters(void **state)
{
    (void)state;
    static const char *const functions[] = {"cuptiActivityEnable",
                                            "cuptiActivityRegisterCallbacks"};
    sq_cell none = {.kind = SQ_KIND_OP};
    for (int i = 0; i < 2; i++) {
        fake_reset();
        fake.failing = functions[i];
        fake.result = CUPTI_ERROR_INVALID_OPERATION;
        sq_record_free(&record);
        sq_record_init(&record, &none);
        measure("basic");
        check_absent("activity_ns", "refused: kernel trace: CUPTI_ERROR_INVALID_OPERATION (7)");
        assert_int_equal(record.n_kernels, 0);
        assert_true(value_of("dram_bytes_read")->value == 101);
    }
}

static void test_unsupported_configurations(void **state)
{
    (void)state;
    fake.supported = CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED;
    fake.vgpu = CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED;
    measure("basic");
    check_absent("dram_bytes_read", "unsupported: this GPU has no counters, for it is a vGPU");
}

static void test_a_vgpu_whose_host_forbids_counters(void **state)
{
    (void)state;
    fake.supported = CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED;
    fake.vgpu = CUPTI_PROFILER_CONFIGURATION_DISABLED;
    measure("basic");
    check_absent("dram_bytes_read", "refused: no permission on this vGPU");
}

static void test_an_unknown_set_is_an_error(void **state)
{
    (void)state;
    sq_error err = {.message = ""};
    sq_profiler *p = open_fake();
    const sq_launches launches = fake_launches();
    assert_int_equal(sq_profiler_measure(p, "basics", &launches, &record, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "did you mean \"basic\""));
    sq_profiler_close(p);
}

/* A failed launch is no matter of CUPTI. */
static sq_status broken(void *arg, sq_error *err)
{
    (void)arg;
    return sq_fail(err, SQ_DEVICE, "illegal address");
}

static void test_a_failed_launch_is_an_error(void **state)
{
    (void)state;
    sq_error err = {.message = ""};
    sq_profiler *p = open_fake();
    sq_launches launches = fake_launches();
    launches.launch = broken;
    assert_int_equal(sq_profiler_measure(p, "basic", &launches, &record, &err), SQ_DEVICE);
    assert_string_equal(err.message, "illegal address");
    sq_profiler_close(p);
}

/* --- counts that cannot be --- */

static void test_drift_between_images(void **state)
{
    (void)state;
    fake.drift = 1.1;
    measure("roofline,mix");
    assert_true(value_of("instructions")->value == 1000); /* the first image stands */
    assert_string_equal(value_of("dram_bytes_read")->validity, "ok");
    check_absent("inst_xu", "inconsistent: instructions differ by 9.1 % between passes");
}

/* Kernels that poll vary; images whose repeats overlap are alike. */
static void test_scatter_is_no_drift(void **state)
{
    (void)state;
    fake.drift = 1.1;
    fake.scatter = 0.1;
    measure("roofline,mix");
    assert_string_equal(value_of("inst_xu")->validity, "ok");
    assert_true(value_of("instructions")->spread > 0.1);
}

static void test_launches_that_do_different_work(void **state)
{
    (void)state;
    fake.scatter = 1;
    measure("basic");
    check_absent("dram_bytes_read", "inconsistent: instructions differ by 100 % between launches");
}

static void test_a_counter_that_was_not_collected(void **state)
{
    (void)state;
    fake.missing = "dram__bytes_read.sum";
    measure("basic");
    check_absent("dram_bytes_read", "inconsistent: not collected");
    assert_string_equal(value_of("dram_bytes_written")->validity, "ok");
}

static void test_passes_that_do_not_end(void **state)
{
    (void)state;
    fake.never_ends = 1;
    measure("basic");
    check_absent("dram_bytes_read", "inconsistent: the passes do not end");
}

static void test_lost_ranges(void **state)
{
    (void)state;
    fake.lost_ranges = 1;
    measure("basic");
    check_absent("dram_bytes_read", "inconsistent: 2 launches of 3 were counted");
}

static void test_kernels_without_timestamps(void **state)
{
    (void)state;
    fake.has_no_stamps = true;
    measure("basic");
    check_absent("activity_ns", "inconsistent: kernels lost");
    assert_true(value_of("kernels_lost")->value == 2);
}

static void test_a_launch_without_kernels(void **state)
{
    (void)state;
    fake.kernels = 0;
    measure("basic");
    check_absent("activity_ns", "inconsistent: no kernel was traced");
}

/* --- timeline --- */

static sq_timeline sample(void)
{
    sq_timeline timeline;
    sq_error err = {.message = ""};
    sq_profiler *p = open_fake();
    const sq_launches launches = fake_launches();
    fake.passes = 1;
    if (sq_profiler_timeline(p, &launches, &timeline, &err) != SQ_OK)
        fail_msg("%s", err.message);
    sq_profiler_close(p);
    return timeline;
}

static void check_timeline(const sq_timeline *t)
{
    assert_string_equal(t->validity, "ok");
    assert_int_equal(t->n_rows, FAKE_SAMPLES);
    assert_true(t->n_launches >= 3 && t->interval_ns >= 10000);
    assert_int_equal(fake.launches, t->n_launches + 2);
    assert_true(t->rows[0] == 0);
    assert_true(t->rows[1 + t->n_metrics] == 50000); /* no precision lost on a clock since 1970 */
}

static void test_a_timeline(void **state)
{
    (void)state;
    sq_timeline t = sample();
    check_timeline(&t);
    assert_int_equal(t.n_metrics, 24);
    assert_string_equal(t.metrics[0], "pm_sm_hz");
    sq_timeline_free(&t);
}

/* A sample that lies 1.7 s before the others, as one card gave, is not kept. */
static void test_early_samples_are_dropped(void **state)
{
    (void)state;
    for (size_t early = 1; early <= 3; early += 2) {
        fake_reset();
        fake.gap_at = early;
        fake.gap_ns = 1700000000;
        sq_timeline t = sample();
        assert_int_equal(t.n_dropped, early);
        assert_int_equal(t.n_rows, FAKE_SAMPLES - (int)early);
        assert_true(t.rows[0] == 0);
        for (int i = 0; i < t.n_rows; i++)
            assert_true(t.rows[i * (1 + t.n_metrics)] == 50000.0 * i);
        sq_timeline_free(&t);
    }
}

/* Pauses within the series, or of a few intervals, are the device's. */
static void test_other_pauses_are_kept(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t ns;
    } pauses[] = {{FAKE_SAMPLES / 2, 1700000000}, {1, 500000}};
    for (int i = 0; i < 2; i++) {
        fake_reset();
        fake.gap_at = pauses[i].at;
        fake.gap_ns = pauses[i].ns;
        sq_timeline t = sample();
        assert_int_equal(t.n_dropped, 0);
        assert_int_equal(t.n_rows, FAKE_SAMPLES);
        sq_timeline_free(&t);
    }
}

static void test_a_card_without_nvlink_or_fixed_timer(void **state)
{
    (void)state;
    fake.unknown = "nvlrx__bytes.sum";
    fake.has_time_trigger = false;
    sq_timeline t = sample();
    check_timeline(&t);
    assert_int_equal(t.n_metrics, 23);
    assert_string_equal(t.metrics[22], "pm_nvlink_out_bytes");
    sq_timeline_free(&t);
}

static void test_refused_timelines(void **state)
{
    (void)state;
    static const struct {
        const char *function, *says;
    } cases[] = {
        {"cuptiPmSamplingGetCounterAvailability", "refused: no permission"},
        {"cuptiPmSamplingEnable", "refused: no permission"},
        {"cuptiPmSamplingStart", "refused: no permission"},
        {"cuptiPmSamplingStop", "refused: no permission"},
        {"cuptiPmSamplingCounterDataGetSampleInfo", "refused: no permission"},
        {"cuptiProfilerInitialize", "refused: no permission"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_reset();
        fake.failing = cases[i].function;
        fake.result = CUPTI_ERROR_INSUFFICIENT_PRIVILEGES;
        sq_timeline t = sample();
        assert_int_equal(t.n_rows, 0);
        assert_non_null(strstr(t.validity, cases[i].says));
        sq_timeline_free(&t);
    }
}

static void test_an_overflowed_timeline(void **state)
{
    (void)state;
    fake.overflows = true;
    sq_timeline t = sample();
    assert_int_equal(t.n_rows, 0);
    assert_non_null(strstr(t.validity, "inconsistent: the buffer of samples overflowed"));
    sq_timeline_free(&t);
}

/* --- names --- */

static void test_names_as_people_read_them(void **state)
{
    (void)state;
    static const struct {
        const char *symbol, *name;
    } cases[] = {
        {"_ZN3foo4gemmILi64EEEvPKfi", "foo::gemm<64>"},
        {"_Z11scan_kernelPfx", "scan_kernel"},
        {"_ZN12_GLOBAL__N_14tileIfLb1EEEvT_", "(anonymous namespace)::tile<float, true>"},
        {"plain_c_kernel", "plain_c_kernel"},
        {"[memset]", "[memset]"},
        {"", ""},
    };
    char name[192];
    sq_demangle("_Z1fv", name, sizeof name);
    if (strcmp(name, "_Z1fv") == 0)
        skip(); /* no C++ runtime here */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sq_demangle(cases[i].symbol, name, sizeof name);
        assert_string_equal(name, cases[i].name);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_with_spread_and_clock),
        TEST(test_kernels_of_the_median_launch),
        TEST(test_a_profiler_serves_many_cells_and_sets),
        TEST(test_scalar_arithmetic_is_summed),
        TEST(test_one_unknown_metric_spoils_no_other),
        TEST(test_what_the_set_knows_to_be_absent),
        TEST(test_refusals_are_told_apart),
        TEST(test_another_profiler_in_the_process),
        TEST(test_a_refused_trace_leaves_the_counters),
        TEST(test_unsupported_configurations),
        TEST(test_a_vgpu_whose_host_forbids_counters),
        TEST(test_an_unknown_set_is_an_error),
        TEST(test_a_failed_launch_is_an_error),
        TEST(test_drift_between_images),
        TEST(test_scatter_is_no_drift),
        TEST(test_launches_that_do_different_work),
        TEST(test_a_counter_that_was_not_collected),
        TEST(test_passes_that_do_not_end),
        TEST(test_lost_ranges),
        TEST(test_kernels_without_timestamps),
        TEST(test_a_launch_without_kernels),
        TEST(test_a_timeline),
        TEST(test_early_samples_are_dropped),
        TEST(test_other_pauses_are_kept),
        TEST(test_a_card_without_nvlink_or_fixed_timer),
        TEST(test_refused_timelines),
        TEST(test_an_overflowed_timeline),
        TEST(test_names_as_people_read_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
