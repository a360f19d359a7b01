/* energy: launches that cost a known energy, by the fake driver's counter; every way to get none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/worker/energy.h"
#include "profile/library.h"
#include "profile/profile.h"

#define JOULES_PER_LAUNCH 0.25
#define IDLE_WATTS 50.0
#define TOKENS 128.0

static const sq_energy_plan plan = {.idle_seconds = 0.2, .load_seconds = 0.2, .tick_seconds = 0.3};
static const sq_power no_idle = {.watts = 0, .half = 0, .ticks = 3, .validity = "ok"};

static void (*add_energy)(double millijoules);
static sq_nvml *nvml;
static sq_record record;
static sq_rig rig;
static int launches, beats, fail_at;
static double millijoules;

static sq_status launch(sq_job *job, sq_error *err)
{
    (void)job;
    if (++launches == fail_at)
        return sq_fail(err, SQ_DEVICE, "the kernel fell over");
    nanosleep(&(struct timespec){0, 1000000}, NULL);
    add_energy(millijoules);
    return SQ_OK;
}

static const sq_job_ops ops = {.launch = launch};
static sq_job job = {.ops = &ops, .rig = &rig, .copies = 1, .tokens = TOKENS};

static void on_alive(void *arg)
{
    (void)arg;
    beats++;
}

static int setup(void **state)
{
    (void)state;
    static const sq_cell cell = {.kind = SQ_KIND_OP};
    char why[200];
    void *library = sq_library_open(SQ_FAKE_NVML, why, sizeof why);
    sq_record_init(&record, &cell);
    launches = fail_at = 0;
    millijoules = 1e3 * JOULES_PER_LAUNCH;
    rig.backend = &sq_backend_cpu;
    setenv("SEQMARK_NVML", SQ_FAKE_NVML, 1);
    setenv("FAKE_NVML", "energy=50000/s tick_ms=5", 1);
    return !sq_library_find(library, "fake_nvml_add_energy", &add_energy) ||
           sq_backend_cpu.open(0, &rig.device, NULL) != SQ_OK ||
           sq_nvml_open("0000:01:00.0", &nvml, NULL) != SQ_OK;
}

static int teardown(void **state)
{
    (void)state;
    sq_nvml_close(nvml);
    sq_record_free(&record);
    sq_backend_cpu.close(rig.device);
    return 0;
}

static const sq_value *find(const char *metric)
{
    assert_non_null(sq_metric_find(metric));
    for (int i = 0; i < record.n_values; i++)
        if (strcmp(record.values[i].metric, metric) == 0)
            return &record.values[i];
    fail_msg("no value %s", metric);
    return NULL;
}

static void measure_on(sq_nvml *handle, const sq_power *idle)
{
    sq_error err = {.message = ""};
    if (sq_energy_measure(&job, handle, &plan, 1e-3, idle, on_alive, NULL, &record, &err) != SQ_OK)
        fail_msg("%s", err.message);
}

static void assert_about(double got, double want, double half)
{
    if (!(fabs(got - want) <= half + 0.5 * want))
        fail_msg("%g where about %g belongs", got, want);
}

static void test_idle_power(void **state)
{
    (void)state;
    sq_power idle;
    assert_int_equal(sq_energy_idle(nvml, &plan, on_alive, NULL, &idle, NULL), SQ_OK);
    assert_string_equal(idle.validity, "ok");
    assert_about(idle.watts, IDLE_WATTS, idle.half);
    assert_true(idle.half > 0 && idle.ticks >= 3);
    assert_int_equal(launches, 0);
}

static void test_a_launch_costs_what_it_costs(void **state)
{
    (void)state;
    sq_power idle;
    assert_int_equal(sq_energy_idle(nvml, &plan, on_alive, NULL, &idle, NULL), SQ_OK);
    measure_on(nvml, &idle);
    const sq_value *launch_value = find("energy_j_per_launch");
    assert_string_equal(launch_value->validity, "ok");
    assert_about(launch_value->value, JOULES_PER_LAUNCH,
                 launch_value->spread / 2 * launch_value->value);
    assert_true(launch_value->n > 10 && launch_value->n <= launches);
    assert_true(launch_value->spread > 0);
    assert_true(find("energy_is_graph")->value == 0); /* a millisecond is no short launch */
    assert_true(find("energy_j_per_token")->value == launch_value->value / TOKENS);
    assert_true(find("idle_power_w")->value == idle.watts);
    assert_true(find("load_power_w")->value > idle.watts);
}

static void assert_none(const char *metric, const char *why)
{
    const sq_value *value = find(metric);
    assert_true(isnan(value->value));
    if (strncmp(value->validity, why, strlen(why)) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", metric, value->validity, why);
}

static void test_no_nvml_is_unsupported(void **state)
{
    (void)state;
    sq_power idle;
    assert_int_equal(sq_energy_idle(NULL, &plan, on_alive, NULL, &idle, NULL), SQ_OK);
    measure_on(NULL, &idle);
    assert_none("idle_power_w", "unsupported: there is no NVML");
    assert_none("load_power_w", "unsupported: there is no NVML");
    assert_none("energy_j_per_launch", "unsupported: there is no NVML");
    assert_none("energy_j_per_token", "unsupported: there is no NVML");
    assert_int_equal(launches, 0);
}

static void test_no_counter_is_unsupported(void **state)
{
    (void)state;
    setenv("FAKE_NVML", "energy=!3", 1);
    measure_on(nvml, &no_idle);
    assert_none("energy_j_per_launch", "unsupported: the driver keeps no energy counter");
    assert_int_equal(launches, 0);
}

static void test_a_counter_that_never_ticks_is_refused(void **state)
{
    (void)state;
    millijoules = 0;
    setenv("FAKE_NVML", "energy=123456", 1);
    measure_on(nvml, &no_idle);
    assert_none("load_power_w", "refused: the energy counter stood still");
    assert_none("energy_j_per_launch", "refused: the energy counter stood still");
    assert_string_equal(find("idle_power_w")->validity, "ok");
}

static void test_unknown_idle_power_gives_no_energy(void **state)
{
    (void)state;
    sq_power idle = {.watts = NAN, .half = NAN, .validity = "refused: not today"};
    measure_on(nvml, &idle);
    assert_none("energy_j_per_launch", "refused: not today");
    assert_string_equal(find("load_power_w")->validity, "ok");
}

static void test_no_more_than_idle_is_inconsistent(void **state)
{
    (void)state;
    sq_power idle = {.watts = 1e6, .half = 1, .ticks = 9, .validity = "ok"};
    measure_on(nvml, &idle);
    assert_none("energy_j_per_launch", "inconsistent: no more than idle");
}

static void test_a_throttled_window_is_inconsistent(void **state)
{
    (void)state;
    setenv("FAKE_NVML", "energy=50000/s tick_ms=5 hw_thermal=5e8/s", 1);
    measure_on(nvml, &no_idle);
    assert_none("energy_j_per_launch", "inconsistent: thermal slowdown by the hardware for");
}

static void test_a_failed_launch_is_an_error(void **state)
{
    (void)state;
    sq_error err = {.message = ""};
    fail_at = 20;
    assert_int_equal(
        sq_energy_measure(&job, nvml, &plan, 1e-3, &no_idle, on_alive, NULL, &record, &err),
        SQ_DEVICE);
    assert_string_equal(err.message, "the kernel fell over");
    assert_int_equal(record.n_values, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idle_power),
        TEST(test_a_launch_costs_what_it_costs),
        TEST(test_no_nvml_is_unsupported),
        TEST(test_no_counter_is_unsupported),
        TEST(test_a_counter_that_never_ticks_is_refused),
        TEST(test_unknown_idle_power_gives_no_energy),
        TEST(test_no_more_than_idle_is_inconsistent),
        TEST(test_a_throttled_window_is_inconsistent),
        TEST(test_a_failed_launch_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
