/* Probes: the CPU's find sane ceilings; faked ones show how each outcome is told: variants that
 * cannot be, wrong results, no memory, a sustained value below the burst. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "bench/worker/characterize.h"
#include "core/ceiling.h"

enum { MAX_TOLD = 32 };

typedef struct {
    sq_ceiling ceiling[MAX_TOLD];
    int n, n_absent, beats;
    char absent[MAX_TOLD][64], reason[MAX_TOLD][480];
    bool refuses;
} told;

static sq_status take(void *arg, const sq_ceiling *ceiling, sq_error *err)
{
    told *t = arg;
    if (t->refuses)
        return sq_fail(err, SQ_IO, "nobody listens");
    t->ceiling[t->n++] = *ceiling;
    return SQ_OK;
}

static void miss(void *arg, const char *name, const char *reason)
{
    told *t = arg;
    snprintf(t->absent[t->n_absent], sizeof t->absent[0], "%s", name);
    snprintf(t->reason[t->n_absent++], sizeof t->reason[0], "%s", reason);
}

static void beat(void *arg)
{
    ((told *)arg)->beats++;
}

static sq_ceiling_listener listen_to(told *t)
{
    return (sq_ceiling_listener){.arg = t, .take = take, .absent = miss, .alive = beat};
}

/* --- a fake probe, whose launch lasts as long as it is told --- */

static struct {
    double seconds[4]; /* of a launch of each variant; 0: the variant cannot be */
    int chosen, launches, opened, closed, fails_after;
    sq_status at_open, at_check;
} fake;
static sq_probe_run fake_run;

static sq_status fake_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                           sq_probe_run **out, sq_error *err)
{
    (void)probe, (void)device, (void)stream;
    *out = NULL;
    if (fake.at_open != SQ_OK)
        return sq_fail(err, fake.at_open, "not here");
    fake_run = (sq_probe_run){.variants = 3, .amount = 1e6};
    *out = &fake_run;
    fake.opened++;
    return SQ_OK;
}

static sq_status fake_choose(sq_probe_run *run, int variant, sq_error *err)
{
    (void)run;
    fake.chosen = variant;
    return fake.seconds[variant] > 0 ? SQ_OK : sq_fail(err, SQ_UNSUPPORTED, "no variant");
}

static sq_status fake_launch(sq_probe_run *run, sq_error *err)
{
    (void)run;
    double seconds = fake.seconds[fake.chosen];
    if (fake.fails_after && fake.launches >= fake.fails_after)
        return sq_fail(err, SQ_DEVICE, "launch failed");
    if (fake.launches++ > 300)
        seconds *= 2; /* the card slows down under the load */
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * seconds)}, NULL);
    return SQ_OK;
}

static sq_status fake_check(sq_probe_run *run, sq_error *err)
{
    (void)run;
    return fake.at_check == SQ_OK ? SQ_OK : sq_fail(err, fake.at_check, "computed 3, 4 is right");
}

static void fake_close(sq_probe_run *run)
{
    fake.closed += run != NULL;
}

static const sq_probe fake_probe = {.name = "gemm_bf16_tflops",
                                    .kind = SQ_PROBE_RATE,
                                    .timing = SQ_PROBE_HOT,
                                    .sustained = "gemm_bf16_sustained_tflops",
                                    .open = fake_open,
                                    .choose = fake_choose,
                                    .launch = fake_launch,
                                    .check = fake_check,
                                    .close = fake_close};

static const sq_probe_effort effort = {.policy = {.warmup_launches = 1,
                                                  .min_samples = 5,
                                                  .max_samples = 5,
                                                  .max_seconds = 0.1,
                                                  .max_interval = INFINITY,
                                                  .max_cell_seconds = 1},
                                       .bursts = 2,
                                       .burst_seconds = 0.01,
                                       .sustained_seconds = 0};

static sq_rig rig = {.backend = &sq_backend_cpu};

static told measure(const sq_probe *probe, const sq_probe_effort *how, sq_status expected)
{
    told t = {.n = 0};
    sq_error err = {.message = ""};
    sq_ceiling_listener listener = listen_to(&t);
    assert_int_equal(sq_probe_measure(&rig, probe, how, &listener, NULL, NULL, &err), expected);
    assert_int_equal(fake.opened, fake.closed);
    return t;
}

static void reset(double first, double second, double third)
{
    memset(&fake, 0, sizeof fake);
    fake.seconds[0] = first;
    fake.seconds[1] = second;
    fake.seconds[2] = third;
}

static void test_the_fastest_variant_counts(void **state)
{
    (void)state;
    reset(4e-3, 0, 1e-3);
    told t = measure(&fake_probe, &effort, SQ_OK);
    assert_int_equal(t.n, 1);
    assert_int_equal(fake.chosen, 2);
    assert_string_equal(t.ceiling[0].unit, "TFLOP/s");
    assert_true(t.ceiling[0].lo <= t.ceiling[0].value && t.ceiling[0].value <= t.ceiling[0].hi);
    assert_true(t.ceiling[0].hi <= 1.0); /* 1e6 in 1 ms or more */
    assert_true(t.beats > 0);
}

static void test_no_variant_at_all_is_absent(void **state)
{
    (void)state;
    reset(0, 0, 0);
    told t = measure(&fake_probe, &effort, SQ_OK);
    assert_int_equal(t.n, 0);
    assert_int_equal(t.n_absent, 1);
    assert_string_equal(t.absent[0], "gemm_bf16_tflops");
    assert_non_null(strstr(t.reason[0], "no variant"));
}

static void test_wrong_results_give_no_ceiling(void **state)
{
    (void)state;
    reset(1e-4, 1e-4, 1e-4);
    fake.at_check = SQ_MISMATCH;
    told t = measure(&fake_probe, &effort, SQ_OK);
    assert_int_equal(t.n, 0);
    assert_string_equal(t.reason[0], "computed 3, 4 is right");
}

static void test_what_cannot_be_opened_is_absent(void **state)
{
    (void)state;
    static const sq_status outcomes[] = {SQ_UNSUPPORTED, SQ_OUT_OF_MEMORY, SQ_DEVICE};
    for (int i = 0; i < 3; i++) {
        reset(1e-4, 1e-4, 1e-4);
        fake.at_open = outcomes[i];
        told t = measure(&fake_probe, &effort, SQ_OK);
        assert_int_equal(t.n, 0);
        assert_string_equal(t.reason[0], "not here");
    }
}

static void test_a_launch_that_fails_is_absent(void **state)
{
    (void)state;
    reset(1e-4, 1e-4, 1e-4);
    fake.fails_after = 20;
    told t = measure(&fake_probe, &effort, SQ_OK);
    assert_int_equal(t.n, 0);
    assert_string_equal(t.reason[0], "launch failed");
}

static void test_sustained_is_the_settled_half(void **state)
{
    (void)state;
    sq_probe_effort longer = effort;
    longer.sustained_seconds = 1.5;
    reset(1e-3, 2e-3, 2e-3);
    told t = measure(&fake_probe, &longer, SQ_OK);
    assert_int_equal(t.n, 2);
    assert_string_equal(t.ceiling[1].name, "gemm_bf16_sustained_tflops");
    assert_true(t.ceiling[1].value <= 0.5); /* 1e6 in 2 ms or more: nothing of the first half */
    assert_true(t.ceiling[1].lo <= t.ceiling[1].value && t.ceiling[1].value <= t.ceiling[1].hi);
}

static void test_steps_are_ns_over_amount(void **state)
{
    (void)state;
    sq_probe steps = fake_probe;
    steps.name = "round_trip_ns";
    steps.kind = SQ_PROBE_STEPS;
    steps.timing = SQ_PROBE_HOST;
    steps.sustained = NULL;
    reset(1e-4, 1e-4, 1e-4);
    told t = measure(&steps, &effort, SQ_OK);
    assert_int_equal(t.n, 1);
    assert_true(t.ceiling[0].value >= 0.1); /* 1e5 ns or more over 1e6 */
    assert_true(t.ceiling[0].lo <= t.ceiling[0].value && t.ceiling[0].value <= t.ceiling[0].hi);
}

static void test_a_listener_that_is_gone_ends_it(void **state)
{
    (void)state;
    told t = {.refuses = true};
    sq_error err = {.message = ""};
    sq_ceiling_listener listener = listen_to(&t);
    reset(1e-4, 1e-4, 1e-4);
    assert_int_equal(sq_probe_measure(&rig, &fake_probe, &effort, &listener, NULL, NULL, &err),
                     SQ_IO);
    assert_int_equal(fake.closed, 1);
}

static void test_readings(void **state)
{
    (void)state;
    const double watts[] = {70.5, 71, 70.25};
    sq_ceiling idle = sq_ceiling_of_readings("idle_power_w", watts, 3);
    assert_true(idle.value == 70.5 && idle.lo == 70.25 && idle.hi == 71);
    assert_true(isnan(sq_ceiling_of_readings("idle_power_w", watts, 0).value));
}

static void test_the_cpu_has_its_ceilings(void **state)
{
    (void)state;
    told t = {.n = 0};
    sq_error err = {.message = ""};
    sq_ceiling_listener listener = listen_to(&t);
    assert_int_equal(sq_characterize(&rig, &listener, &err), SQ_OK);
    for (int i = 0; i < t.n_absent; i++)
        fail_msg("%s: %s", t.absent[i], t.reason[i]);
    assert_int_equal(t.n, 5);
    for (int i = 0; i < t.n; i++) {
        const sq_ceiling *c = &t.ceiling[i];
        assert_non_null(sq_ceiling_find(c->name));
        assert_true(c->value > 0 && c->lo <= c->value && c->value <= c->hi);
        assert_true(isnan(c->sm_mhz));
    }
}

static int open_cpu(void **state)
{
    (void)state;
    return sq_backend_cpu.open(0, &rig.device, NULL);
}

static int close_cpu(void **state)
{
    (void)state;
    sq_backend_cpu.close(rig.device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_fastest_variant_counts),
        cmocka_unit_test(test_no_variant_at_all_is_absent),
        cmocka_unit_test(test_wrong_results_give_no_ceiling),
        cmocka_unit_test(test_what_cannot_be_opened_is_absent),
        cmocka_unit_test(test_a_launch_that_fails_is_absent),
        cmocka_unit_test(test_sustained_is_the_settled_half),
        cmocka_unit_test(test_steps_are_ns_over_amount),
        cmocka_unit_test(test_a_listener_that_is_gone_ends_it),
        cmocka_unit_test(test_readings),
        cmocka_unit_test(test_the_cpu_has_its_ceilings),
    };
    return cmocka_run_group_tests(tests, open_cpu, close_cpu);
}
