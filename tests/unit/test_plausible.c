/* Plausibility: what is refused, what is flagged, and what a cache may have saved. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "bench/plausible.h"

static const sq_device h100 = {.backend = "cuda",
                               .arch = "sm_90",
                               .sm_count = 132,
                               .l2_bytes = 50 << 20,
                               .max_sm_mhz = 1980,
                               .max_memory_mhz = 2619,
                               .memory_bus_bits = 5120};

static const sq_ceiling ceilings[] = {
    {"copy_gbytes_per_s", "GB/s", 3000, 2990, 3010, NAN},
    {"read_gbytes_per_s", "GB/s", 3050, 3040, 3060, NAN},
    {"l2_read_gbytes_per_s", "GB/s", 7000, 6990, 7010, NAN},
    {"gemm_bf16_tflops", "TFLOP/s", 800, 795, 805, 1755},
    {"gemm_f32_tflops", "TFLOP/s", 50, 49, 51, NAN},
};
enum { N_CEILINGS = sizeof ceilings / sizeof ceilings[0] };

/* A run of `ns` nanoseconds with this work. */
typedef struct {
    double ns, sm_mhz, read, written, flops;
    sq_cache cache;
    sq_launch launch;
    sq_dtype dtype;
} demand;

static sq_record record_of(demand d)
{
    sq_record record;
    sq_cell cell = {.kind = SQ_KIND_OP, .dtype = d.dtype, .cache = d.cache, .launch = d.launch};
    int32_t samples[10];
    sq_record_init(&record, &cell);
    for (int i = 0; i < 10; i++)
        samples[i] = (int32_t)d.ns;
    sq_record_set_samples(&record, samples, 10);
    record.status = SQ_RUN_OK;
    record.sm_mhz = d.sm_mhz > 0 ? d.sm_mhz : (double)NAN;
    record.cycles = d.ns;
    sq_record_add_number(&record, "bytes_read", d.read);
    sq_record_add_number(&record, "bytes_written", d.written);
    sq_record_add_number(&record, "flops", d.flops);
    sq_record_add_number(&record, "graph_ns", d.ns);
    return record;
}

static double number_of(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return record->values[i].value;
    return NAN;
}

/* 'r'efused, 'f'lagged or ' '. *pct: the flag's value. */
static char verdict_on(const sq_device *device, demand d, double *pct)
{
    sq_record record = record_of(d);
    assert_int_equal(sq_judge_plausible(device, ceilings, N_CEILINGS, &record), SQ_OK);
    bool is_refused = record.status == SQ_RUN_ERROR;
    *pct = number_of(&record, "above_ceiling_pct");
    if (is_refused) {
        assert_memory_equal(record.reason, "implausible: ", 13);
        assert_true(record.n_samples == 0 && isnan(record.cycles) && isnan(*pct));
        assert_true(isnan(number_of(&record, "graph_ns")));
        assert_true(number_of(&record, "flops") == d.flops); /* the work itself is no time */
    }
    sq_record_free(&record);
    return is_refused ? 'r' : isnan(*pct) ? ' ' : 'f';
}

static char verdict(demand d)
{
    double pct;
    return verdict_on(&h100, d, &pct);
}

static void test_cold_reads_are_judged_by_the_bus(void **state)
{
    (void)state;
    double pct; /* the bus gives 3352 GB/s, a read was seen to give 3050 */
    assert_int_equal(verdict((demand){.ns = 1e6, .read = 3.0e9}), ' ');
    assert_int_equal(verdict((demand){.ns = 1e6, .read = 3.12e9}), ' '); /* 2.3 % above */
    assert_int_equal(verdict_on(&h100, (demand){.ns = 1e6, .read = 3.2e9}, &pct), 'f');
    assert_true(fabs(pct - 100 * (3200.0 / 3050 - 1)) < 1e-9);
    assert_int_equal(verdict((demand){.ns = 1e6, .read = 3.4e9}), 'f'); /* clocks may be 2 % off */
    assert_int_equal(verdict((demand){.ns = 1e6, .read = 3.43e9}), 'r');
    assert_int_equal(verdict((demand){.ns = 1e6, .read = 3.43e9, .cache = SQ_CACHE_DIRTY_COLD}),
                     'r');
}

static void test_what_the_cache_holds_need_not_be_moved(void **state)
{
    (void)state;
    demand small = {.ns = 8e3, .read = 40e6}; /* 5000 GB/s, all of it fits */
    demand cold = small, graph = small, rotate = small, hot = small;
    hot.cache = SQ_CACHE_HOT;
    rotate.cache = SQ_CACHE_ROTATE;
    graph.launch = SQ_LAUNCH_GRAPH; /* only the first launch of it is cold */
    assert_int_equal(verdict(cold), 'r');
    assert_int_equal(verdict(hot), ' ');
    assert_int_equal(verdict(graph), ' ');
    assert_int_equal(verdict(rotate), ' ');
    demand writes = {.ns = 8e3, .read = 1e6, .written = 40e6}; /* may stay in L2 */
    assert_int_equal(verdict(writes), ' ');
    demand large = {.ns = 1e6, .read = 3.6e9, .cache = SQ_CACHE_HOT}; /* 52 MB of it at most */
    assert_int_equal(verdict(large), 'r');
}

static void test_hot_reads_are_judged_by_l2(void **state)
{
    (void)state;
    assert_int_equal(verdict((demand){.ns = 4e3, .read = 28e6, .cache = SQ_CACHE_HOT}), ' ');
    assert_int_equal(verdict((demand){.ns = 4e3, .read = 32e6, .cache = SQ_CACHE_HOT}), 'f');
    /* 64 bytes a clock and SM at 1980 MHz: 16.7 TB/s */
    assert_int_equal(verdict((demand){.ns = 2e3, .read = 36e6, .cache = SQ_CACHE_HOT}), 'r');
}

static void test_operations_are_judged_at_the_clock_observed(void **state)
{
    (void)state;
    const demand fast = {.ns = 1e6, .flops = 0.9e12, .dtype = SQ_DTYPE_BF16};
    demand at_1400 = fast, f32 = fast, low = fast;
    at_1400.sm_mhz = 1400; /* the tensor cores' peak is then 757 TFLOP/s */
    f32.dtype = SQ_DTYPE_F32;
    low.flops = 0.8e12;
    assert_int_equal(verdict(fast), 'f'); /* 1071 at the highest clock, 800 measured */
    assert_int_equal(verdict(at_1400), 'r');
    assert_int_equal(verdict(f32), 'r'); /* even by way of TF32: 535 */
    assert_int_equal(verdict(low), ' ');
}

static void test_the_clock_of_a_short_run_is_not_its_own(void **state)
{
    (void)state;
    const demand brief = {.ns = 1e4, .flops = 0.9e10, .dtype = SQ_DTYPE_BF16, .sm_mhz = 345};
    const demand longer = {.ns = 1e5, .flops = 0.9e11, .dtype = SQ_DTYPE_BF16, .sm_mhz = 345};
    assert_int_equal(verdict(brief), 'f');
    assert_int_equal(verdict(longer), 'r');
}

/* The time that the bytes need, and the verdict on a row just above and just below it. */
static double floor_of(demand d)
{
    sq_record record = record_of(d);
    double ns = sq_plausible_floor_ns(&record.cell, d.read, d.written, &h100);
    sq_record_free(&record);
    if (ns > 0) {
        d.ns = 1.001 * ns;
        assert_int_not_equal(verdict(d), 'r');
        d.ns = 0.999 * ns;
        assert_int_equal(verdict(d), 'r');
    }
    return ns;
}

static void test_the_floor_is_where_rows_are_refused(void **state)
{
    (void)state;
    const double rate = 1.02 * 3352.32; /* GB/s: 5120 bits, 2619 MHz, two transfers */
    assert_true(fabs(floor_of((demand){.read = 1e9}) - 1e9 / rate) < 1);
    assert_true(fabs(floor_of((demand){.read = 1e9, .written = 50 << 20}) - 1e9 / rate) < 1);
    assert_true(floor_of((demand){.read = 1e9, .written = 1e9}) < 2e9 / rate - 1e4);
    assert_true(floor_of((demand){.read = 1e9, .cache = SQ_CACHE_HOT}) < 1e9 / rate - 1e4);
    assert_true(floor_of((demand){.written = 40e6}) == 0);
    sq_device cpu = h100;
    strcpy(cpu.backend, "cpu");
    sq_cell cell = {.cache = SQ_CACHE_CLEAN_COLD};
    assert_true(sq_plausible_floor_ns(&cell, 1e9, 1e9, &cpu) == 0);
}

static void test_unknown_bounds_nothing(void **state)
{
    (void)state;
    double pct;
    const demand wild = {.ns = 1e3, .read = 1e12, .flops = 1e15, .dtype = SQ_DTYPE_BF16};
    sq_device cpu = h100, next = h100, no_l2 = h100;
    strcpy(cpu.backend, "cpu");
    strcpy(next.arch, "sm_999");
    next.memory_bus_bits = NAN;
    no_l2.l2_bytes = -1;
    assert_int_equal(verdict_on(&cpu, wild, &pct), ' ');
    assert_int_equal(verdict_on(&next, wild, &pct), 'f'); /* its own ceilings still hold */
    assert_int_equal(verdict_on(&no_l2, (demand){.ns = 1e6, .written = 3.6e9, .read = 1e9}, &pct),
                     ' ');
    sq_record record = record_of(wild);
    record.n_values = 0;
    assert_int_equal(sq_judge_plausible(&h100, ceilings, N_CEILINGS, &record), SQ_OK);
    assert_int_equal(record.status, SQ_RUN_OK);
    sq_record_free(&record);
}

static void test_rows_without_a_time_stay_as_they_are(void **state)
{
    (void)state;
    sq_record record = record_of((demand){.ns = 1e3, .read = 1e12});
    sq_record_set_samples(&record, NULL, 0);
    record.status = SQ_RUN_MISMATCH;
    assert_int_equal(sq_judge_plausible(&h100, ceilings, N_CEILINGS, &record), SQ_OK);
    assert_int_equal(record.status, SQ_RUN_MISMATCH);
    assert_true(isnan(number_of(&record, "above_ceiling_pct")));
    sq_record_free(&record);
}

static void test_without_ceilings_only_peaks_count(void **state)
{
    (void)state;
    sq_record record = record_of((demand){.ns = 1e6, .read = 3.3e9});
    assert_int_equal(sq_judge_plausible(&h100, NULL, 0, &record), SQ_OK);
    assert_int_equal(record.status, SQ_RUN_OK);
    assert_true(isnan(number_of(&record, "above_ceiling_pct")));
    sq_record_free(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cold_reads_are_judged_by_the_bus),
        cmocka_unit_test(test_what_the_cache_holds_need_not_be_moved),
        cmocka_unit_test(test_hot_reads_are_judged_by_l2),
        cmocka_unit_test(test_operations_are_judged_at_the_clock_observed),
        cmocka_unit_test(test_the_clock_of_a_short_run_is_not_its_own),
        cmocka_unit_test(test_the_floor_is_where_rows_are_refused),
        cmocka_unit_test(test_unknown_bounds_nothing),
        cmocka_unit_test(test_rows_without_a_time_stay_as_they_are),
        cmocka_unit_test(test_without_ceilings_only_peaks_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
