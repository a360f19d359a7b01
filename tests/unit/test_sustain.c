/* sustain: points of a fake GPU's clock and driver while a launch repeats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "bench/worker/load.h"
#include "bench/worker/sustain.h"

static int launches, fail_at, clock_readings, beats;
static bool is_clock_running;
static sq_backend backend;
static sq_rig rig = {.backend = &backend};
static sq_nvml *nvml;
static sq_sustain_point points[SQ_SUSTAIN_MAX_POINTS];

static sq_status launch(sq_job *job, sq_error *err)
{
    (void)job;
    if (++launches == fail_at)
        return sq_fail(err, SQ_DEVICE, "the kernel fell over");
    nanosleep(&(struct timespec){0, 1000000}, NULL);
    return SQ_OK;
}

static const sq_job_ops ops = {.launch = launch};
static sq_job job = {.ops = &ops, .rig = &rig, .copies = 1};

static sq_status start_clock(sq_backend_device *device, sq_error *err)
{
    (void)device, (void)err;
    assert_false(is_clock_running);
    is_clock_running = true;
    return SQ_OK;
}

/* A clock that falls, as a card does that grows warm. */
static sq_status stop_clock(sq_backend_device *device, double *mhz, sq_error *err)
{
    (void)device, (void)err;
    assert_true(is_clock_running);
    is_clock_running = false;
    *mhz = 1980 - 10 * clock_readings++;
    return SQ_OK;
}

static void on_alive(void *arg)
{
    (void)arg;
    beats++;
}

static int setup(void **state)
{
    (void)state;
    launches = fail_at = clock_readings = beats = 0;
    is_clock_running = false;
    backend = sq_backend_cpu;
    backend.clock_start = start_clock;
    backend.clock_stop = stop_clock;
    setenv("SEQMARK_NVML", SQ_FAKE_NVML, 1);
    setenv("FAKE_NVML", "power_instant=700000 temperature=70", 1);
    return sq_nvml_open("0000:01:00.0", &nvml, NULL) != SQ_OK;
}

static int teardown(void **state)
{
    (void)state;
    sq_nvml_close(nvml);
    return 0;
}

static int sustain(sq_nvml *handle)
{
    int n = -1;
    sq_error err = {.message = ""};
    if (sq_sustain_run(&job, handle, 0.2, 0.02, on_alive, NULL, points, &n, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return n;
}

static void test_points_over_time(void **state)
{
    (void)state;
    int n = sustain(nvml);
    assert_true(n >= 2 && n <= 10);
    double last = 0, counted = 0;
    for (int i = 0; i < n; i++) {
        assert_true(points[i].seconds > last);
        counted += points[i].launches_per_s * (points[i].seconds - last);
        last = points[i].seconds;
        assert_true(points[i].sm_mhz == 1980 - 10 * i);
        assert_true(points[i].power_w == 700 && points[i].temperature_c == 70);
    }
    assert_true(last >= 0.2);
    /* the rates over their intervals are all launches but the two that found the pace */
    assert_true(counted >= launches - 2 - 1e-6);
    assert_true(beats >= 1);
}

static void test_what_nobody_tells_is_unknown(void **state)
{
    (void)state;
    backend.clock_start = NULL;
    backend.clock_stop = NULL;
    int n = sustain(NULL);
    for (int i = 0; i < n; i++)
        assert_true(isnan(points[i].sm_mhz) && isnan(points[i].power_w) &&
                    isnan(points[i].temperature_c));
}

static void test_a_failed_launch_ends_it(void **state)
{
    (void)state;
    int n;
    sq_error err = {.message = ""};
    fail_at = 30;
    assert_int_equal(sq_sustain_run(&job, nvml, 5, 0.02, on_alive, NULL, points, &n, &err),
                     SQ_DEVICE);
    assert_string_equal(err.message, "the kernel fell over");
}

static void test_copies_take_turns(void **state)
{
    (void)state;
    job.copies = 3;
    job.copy = 0;
    const sq_job_load seven = {.job = &job, .chunk = 7, .graph_launches = 1};
    assert_int_equal(sq_load_run(&seven, NULL), SQ_OK);
    assert_int_equal(launches, 7);
    assert_int_equal(job.copy, 7 % 3);
    job.copies = 1;
    job.copy = 0;
    assert_int_equal(sq_load_run(&seven, NULL), SQ_OK);
    assert_int_equal(job.copy, 0);
}

static void test_chunks(void **state)
{
    (void)state;
    assert_int_equal(sq_load_plain(&job, 1e-3, 20e-3).chunk, 20);
    assert_int_equal(sq_load_plain(&job, 2.0, 20e-3).chunk, 1);
    assert_int_equal(sq_load_plain(&job, 0, 20e-3).chunk, 10000); /* below the clock's resolution */
}

/* --- graphs --- */

static sq_status capture_status;
static int captured, replays, graphs;

static sq_status capture(sq_backend_device *device, sq_launch_fn fn, void *arg, int n, void **graph,
                         sq_error *err)
{
    (void)device, (void)fn, (void)arg;
    if (capture_status != SQ_OK)
        return sq_fail(err, capture_status, "no graph of this");
    captured = n;
    graphs++;
    *graph = &captured;
    return SQ_OK;
}

static sq_status replay(sq_backend_device *device, void *graph, sq_error *err)
{
    (void)device, (void)err;
    assert_ptr_equal(graph, &captured);
    replays++;
    return SQ_OK;
}

static void discard(sq_backend_device *device, void *graph)
{
    (void)device;
    assert_ptr_equal(graph, &captured);
    graphs--;
}

static void have_graphs(sq_status status)
{
    backend.capture = capture;
    backend.replay = replay;
    backend.discard = discard;
    capture_status = status;
    captured = replays = graphs = 0;
}

static void test_short_launches_are_replayed(void **state)
{
    (void)state;
    sq_job_load load;
    have_graphs(SQ_OK);
    job.copies = 7;
    assert_int_equal(sq_load_open(&job, 10e-6, 5e-3, &load, NULL), SQ_OK);
    job.copies = 1;
    assert_int_equal(captured, 105); /* 1 ms and one, in whole turns of the copies */
    assert_int_equal(load.chunk, 525);
    assert_int_equal(sq_load_run(&load, NULL), SQ_OK);
    assert_int_equal(replays, 5);
    assert_int_equal(launches, 0);
    sq_load_close(&load);
    assert_int_equal(graphs, 0);
}

static void test_long_launches_are_plain(void **state)
{
    (void)state;
    sq_job_load load;
    have_graphs(SQ_OK);
    assert_int_equal(sq_load_open(&job, 1e-3, 5e-3, &load, NULL), SQ_OK);
    assert_int_equal(sq_load_run(&load, NULL), SQ_OK);
    assert_int_equal(launches, 5);
    assert_int_equal(captured, 0);
    sq_load_close(&load);
}

static void test_what_cannot_be_captured_is_plain(void **state)
{
    (void)state;
    sq_job_load load;
    sq_error err = {.message = ""};
    have_graphs(SQ_UNSUPPORTED);
    assert_int_equal(sq_load_open(&job, 19e-6, 100e-6, &load, &err), SQ_OK);
    assert_int_equal(sq_load_run(&load, NULL), SQ_OK);
    assert_int_equal(launches, 5);
    sq_load_close(&load);
    have_graphs(SQ_DEVICE);
    assert_int_equal(sq_load_open(&job, 19e-6, 100e-6, &load, &err), SQ_DEVICE);
    assert_string_equal(err.message, "no graph of this");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_points_over_time),
        TEST(test_what_nobody_tells_is_unknown),
        TEST(test_a_failed_launch_ends_it),
        TEST(test_copies_take_turns),
        TEST(test_chunks),
        TEST(test_short_launches_are_replayed),
        TEST(test_long_launches_are_plain),
        TEST(test_what_cannot_be_captured_is_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
