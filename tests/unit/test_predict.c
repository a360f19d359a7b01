/* Predictions: right order of magnitude on a known card, ceilings in any unit, policies' bounds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bench/predict.h"

static sq_rates h100(void)
{
    sq_device device = {.backend = "cuda",
                        .sm_count = 132,
                        .max_sm_mhz = 1980,
                        .compute_major = 9,
                        .memory_bus_bits = 5120,
                        .max_memory_mhz = 2619};
    return sq_rates_nominal(&device);
}

static void assert_near(double value, double wanted, double share)
{
    if (!(value > wanted * (1 - share) && value < wanted * (1 + share)))
        fail_msg("%g is not near %g", value, wanted);
}

/* The data sheet of an H100 SXM: 3.35 TB/s, 989 TFLOP/s dense bf16, 67 TFLOP/s f32. */
static void test_nominal_rates_of_a_known_card(void **state)
{
    (void)state;
    sq_rates rates = h100();
    assert_near(rates.bytes, 3.35e12, 0.02);
    assert_near(rates.matrix_flops, 989e12, 0.1);
    assert_near(rates.flops, 67e12, 0.02);
}

static void test_measured_ceilings_replace_the_guess(void **state)
{
    (void)state;
    sq_rates rates = h100();
    sq_rates_use(&rates, &(sq_ceiling){"copy_gbytes_per_s", "GB/s", 2900, 2890, 2910, NAN});
    sq_rates_use(&rates, &(sq_ceiling){"gemm_bf16_tflops", "TFLOP/s", 700, 690, 710, NAN});
    sq_rates_use(&rates, &(sq_ceiling){"gemm_f32_tflops", "TFLOP/s", 50, 49, 51, NAN});
    assert_near(rates.bytes, 2.9e12, 1e-6);
    assert_near(rates.matrix_flops, 700e12, 1e-6);
    assert_near(rates.flops, 50e12, 1e-6);
    /* names that look alike are other ceilings */
    sq_rates_use(&rates, &(sq_ceiling){"gemm_tf32_tflops", "TFLOP/s", 400, 399, 401, NAN});
    sq_rates_use(&rates, &(sq_ceiling){"gemm_bf16_sustained_tflops", "TFLOP/s", 1, 1, 1, NAN});
    assert_near(rates.flops, 50e12, 1e-6);
    assert_near(rates.matrix_flops, 700e12, 1e-6);
    sq_rates_use(&rates, &(sq_ceiling){"copy_gbytes_per_s", "GB/s", 0, 0, 0, NAN});
    assert_near(rates.bytes, 2.9e12, 1e-6); /* a ceiling of nothing is no ceiling */
}

static void test_launch_is_the_largest_floor(void **state)
{
    (void)state;
    sq_rates rates = h100();
    sq_cost bytes = {.bytes_read = 3e9, .bytes_written = 3e9};
    sq_cost flops = {.flops = 1e15, .matrix_flops = 1e15};
    double by_bytes = sq_predict_launch_ns(&rates, &bytes, SQ_DTYPE_BF16, "cuda/portable");
    double by_flops = sq_predict_launch_ns(&rates, &flops, SQ_DTYPE_BF16, "cuda/portable");
    sq_cost both = flops;
    both.bytes_read = bytes.bytes_read;
    assert_true(by_bytes > 6e9 / rates.bytes * 1e9);
    assert_true(by_flops > by_bytes);
    assert_near(sq_predict_launch_ns(&rates, &both, SQ_DTYPE_BF16, "cuda/portable"), by_flops,
                1e-9);
    assert_true(sq_predict_launch_ns(&rates, &flops, SQ_DTYPE_F32, "cuda/portable") > by_flops);
    assert_true(sq_predict_launch_ns(&rates, &flops, SQ_DTYPE_BF16, "cuda/naive") > by_flops);
}

static void test_run_is_bounded_by_the_policy(void **state)
{
    (void)state;
    sq_rates rates = h100();
    const sq_policy *policy = sq_policy_find("quick");
    sq_cost cost = {.flops = 1e12};
    double brief = sq_predict_run_seconds(&rates, policy, &cost, 1e4);
    double lengthy = sq_predict_run_seconds(&rates, policy, &cost, 1e9);
    assert_true(brief < 1);
    assert_true(lengthy >= 3 + 3); /* three samples of a second after three launches to warm up */
    assert_true(lengthy < 12);
    sq_policy restless = *policy;
    restless.rest = 0;
    double busy = sq_predict_run_seconds(&rates, &restless, &cost, 2e7);
    double rested = sq_predict_run_seconds(&rates, policy, &cost, 2e7);
    assert_near(rested - busy, 0.8, 1e-9); /* ten samples of 20 ms, four times as long */
    rates.rests = false;
    assert_near(sq_predict_run_seconds(&rates, policy, &cost, 2e7), busy, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nominal_rates_of_a_known_card),
        cmocka_unit_test(test_measured_ceilings_replace_the_guess),
        cmocka_unit_test(test_launch_is_the_largest_floor),
        cmocka_unit_test(test_run_is_bounded_by_the_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
