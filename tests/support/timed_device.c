/* timed_device: see timed_device.h. */
#include "tests/support/timed_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rng.h"

static sq_status launch(void *arg, int copy, sq_error *err)
{
    sq_backend_device *device = arg;
    if (device->is_capturing) {
        device->captures++;
        return device->refuses_capture ? sq_fail(err, SQ_DEVICE, "no capture here") : SQ_OK;
    }
    if (device->k < TIMED_ROOM)
        device->turns[device->k] = copy;
    device->now += 1e-9 * device->ns(device, device->k, device->now);
    device->k++;
    if (device->fails_at && device->k == device->fails_at)
        return sq_fail(err, SQ_DEVICE, "launch %d fails", device->k);
    return SQ_OK;
}

static sq_status fake_sync(sq_backend_device *device, sq_error *err)
{
    (void)device, (void)err;
    return SQ_OK;
}

static sq_status fake_sample(sq_backend_device *device, const sq_sample_request *request,
                             sq_sample *out, sq_error *err)
{
    double hold = request->hold_seconds;
    device->samples++;
    device->now += TIMED_OVERHEAD_SECONDS;
    if (request->cache == SQ_CACHE_HOT)
        SQ_TRY(request->launch(request->arg, err));
    double start = device->now;
    for (int i = 0; i < request->launches; i++)
        SQ_TRY(request->launch(request->arg, err));
    *out = (sq_sample){.ns = (int32_t)lround(1e9 * (device->now - start) / request->launches),
                       .sm_mhz = device->sample_mhz,
                       .is_late = hold > 0 && device->enqueue_seconds * request->launches > hold};
    return SQ_OK;
}

/* A graph is how often it launches copy 0. */
static sq_status fake_capture(sq_backend_device *device, sq_launch_fn fn, void *arg, int launches,
                              void **out, sq_error *err)
{
    sq_status status = SQ_OK;
    *out = NULL;
    device->is_capturing = true;
    for (int i = 0; i < launches && status == SQ_OK; i++)
        status = fn(arg, err);
    device->is_capturing = false;
    if (status != SQ_OK)
        return SQ_UNSUPPORTED;
    int *made = malloc(sizeof *made);
    *made = launches;
    *out = made;
    device->graphs++;
    return SQ_OK;
}

static sq_status fake_replay(sq_backend_device *device, void *captured, sq_error *err)
{
    device->replays++;
    for (int i = 0; i < *(int *)captured; i++)
        SQ_TRY(launch(device, 0, err));
    return SQ_OK;
}

static void fake_discard(sq_backend_device *device, void *captured)
{
    device->graphs -= captured != NULL;
    free(captured);
}

static sq_status fake_clock_start(sq_backend_device *device, sq_error *err)
{
    (void)device, (void)err;
    return SQ_OK;
}

static sq_status fake_clock_stop(sq_backend_device *device, double *mhz, sq_error *err)
{
    (void)err;
    *mhz = device->run_mhz;
    return SQ_OK;
}

const sq_backend timed_backend = {.name = "numbers",
                                  .sync = fake_sync,
                                  .sample = fake_sample,
                                  .capture = fake_capture,
                                  .replay = fake_replay,
                                  .discard = fake_discard,
                                  .clock_start = fake_clock_start,
                                  .clock_stop = fake_clock_stop};

static double fake_clock(void *arg)
{
    return ((const sq_backend_device *)arg)->now;
}

static void fake_sleep(void *arg, double seconds)
{
    sq_backend_device *device = arg;
    device->slept += seconds;
    device->now += seconds;
}

const sqt_policy timed_policy = {.warmup_launches = 3,
                                 .warmup_seconds = 0.025,
                                 .min_samples = 10,
                                 .max_samples = 100,
                                 .max_seconds = 0.2,
                                 .target_interval = 0.005,
                                 .max_launch_seconds = 2};

timing *timing_new(timed_script ns)
{
    timing *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->device = (sq_backend_device){.ns = ns, .now = 1000, .sample_mhz = NAN, .run_mhz = NAN};
    t->policy = timed_policy;
    t->what = (sq_sampling){.backend = &timed_backend,
                            .device = &t->device,
                            .cache = SQ_CACHE_CLEAN_COLD,
                            .mode = SQ_LAUNCH_PLAIN,
                            .copies = 1,
                            .launch = launch,
                            .arg = &t->device,
                            .clock = fake_clock,
                            .sleep = fake_sleep,
                            .clock_arg = &t->device};
    return t;
}

sq_status timing_measure(timing *t)
{
    return sq_sampling_run(&t->what, &t->policy, t->ns, &t->result, &t->err);
}

void timing_run(timing *t)
{
    if (timing_measure(t) == SQ_OK && t->device.graphs == 0)
        return;
    printf("FAIL timed device: %s, %d graphs left\n", t->err.message, t->device.graphs);
    abort();
}

/* --- scripts --- */

double timed_uniform(int k)
{
    return (double)(sq_rng_bits(9, 1, k) >> 11) / 9007199254740992.0;
}

double timed_steady(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)k, (void)s;
    return 100 * TIMED_US;
}

/* 30 % too slow at first, with a time constant of 15 ms. */
double timed_settling(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)k;
    return 100 * TIMED_US * (1 + 0.3 * exp(-(s - 1000) / 0.015));
}

/* Doubles every 50 ms, for ever. */
double timed_trending(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)k;
    return 100 * TIMED_US * exp2((s - 1000) / 0.05);
}

double timed_bimodal(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)s;
    return (timed_uniform(k) < 0.5 ? 100 : 110) * TIMED_US;
}

double timed_spiky(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)s;
    return (k % 20 == 7 ? 1000 : 100 + 0.1 * timed_uniform(k)) * TIMED_US;
}

double timed_noisy(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)s;
    return (100 + 4 * timed_uniform(k)) * TIMED_US;
}

double timed_long_launch(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)s;
    return (300 + 10 * timed_uniform(k)) * 1e3 * TIMED_US;
}

double timed_short_launch(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)k, (void)s;
    return 5 * TIMED_US;
}

double timed_first_is_slow(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)s;
    return k == 0 ? 900 * 1e3 * TIMED_US : 1e3 * TIMED_US;
}

double timed_endless(const sq_backend_device *d, int k, double s)
{
    (void)d, (void)k, (void)s;
    return 5000 * 1e3 * TIMED_US;
}
