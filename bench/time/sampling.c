/* sampling: see sampling.h. */
#include "bench/time/sampling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/time/warmup.h"

#define LONG_LAUNCH_SECONDS 0.2 /* beyond it LONG_LAUNCH_SAMPLES are enough */
#define ASK_SECONDS 20e-3       /* between questions to the watch */
enum { LONG_LAUNCH_SAMPLES = 3, FIGURE_SAMPLES = 7 };

/* Dropping may double a run's samples and time; then it ends with what is left. */
enum { SPENT_FACTOR = 2 };

typedef struct {
    const sq_sampling *what;
    const sqt_policy *policy;
    sq_launcher launcher;
    int32_t *ns;
    int32_t *khz;                  /* SM clock of each sample, 0 where unknown */
    double seconds, taken_seconds; /* sums of the launches: of kept samples, of all */
    int taken;
    double asked_at, last_beat; /* by the clock */
    int asked_n;                /* samples that the watch has passed */
    double asked_seconds;
    double rest_owed;
    sqt_result *result;
} run;

/* --- enough --- */

static bool is_enough(const run *r)
{
    const sqt_policy *policy = r->policy;
    int n = r->result->n;
    bool is_long = n > 0 && r->seconds / n / r->launcher.batch > LONG_LAUNCH_SECONDS;
    int least = is_long && policy->min_samples > LONG_LAUNCH_SAMPLES ? LONG_LAUNCH_SAMPLES
                                                                     : policy->min_samples;
    if (n < least)
        return false;
    if (n >= policy->max_samples || r->seconds >= policy->max_seconds)
        return true;
    sq_stats stats = sq_stats_of(r->ns, n);
    return stats.median > 0 && stats.hi - stats.lo <= policy->target_interval * stats.median;
}

static bool is_spent(const run *r)
{
    return r->result->n_dropped > 0 && (r->taken >= SPENT_FACTOR * r->policy->max_samples ||
                                        r->taken_seconds >= SPENT_FACTOR * r->policy->max_seconds);
}

/* --- one sample --- */

/* Forgets the kept samples: they were batches of another size, or held. */
static void restart(run *r)
{
    r->result->n = r->asked_n = 0;
    r->seconds = r->asked_seconds = 0;
    r->launcher.is_changed = false;
}

static sq_status take(run *r, sq_error *err)
{
    sqt_result *result = r->result;
    sq_sample sample;
    int batch = r->launcher.batch;
    SQ_TRY(sq_launcher_sample(&r->launcher, &sample, err));
    if (r->launcher.is_changed)
        restart(r);
    sq_sampling_rest(r->what, r->policy, 1e-9 * sample.ns * batch, &r->rest_owed);
    if (sample.is_late) {
        result->n_late++;
        return SQ_OK;
    }
    double seconds = 1e-9 * sample.ns * batch;
    r->ns[result->n] = sample.ns;
    r->khz[result->n++] = sample.sm_mhz > 0 ? (int32_t)lround(1e3 * sample.sm_mhz) : 0;
    r->seconds += seconds;
    r->taken_seconds += seconds;
    r->taken++;
    return SQ_OK;
}

/* --- the watch --- */

/* Drops what was taken since the last question where the device was slowed meanwhile. */
static void ask(run *r)
{
    const sq_watch *watch = &r->what->watch;
    sqt_result *result = r->result;
    char why[sizeof result->drop_reason] = "";
    if (!watch->was_slowed)
        return;
    if (watch->was_slowed(watch->arg, why, sizeof why) && result->n > r->asked_n) {
        result->n_dropped += result->n - r->asked_n;
        result->n = r->asked_n;
        r->seconds = r->asked_seconds;
        snprintf(result->drop_reason, sizeof result->drop_reason, "%s", why);
    }
    r->asked_n = result->n;
    r->asked_seconds = r->seconds;
    r->asked_at = sq_sampling_clock(r->what);
}

static sq_status take_samples(run *r, sq_error *err)
{
    ask(r); /* what was before does not count */
    for (;;) {
        bool is_done = is_enough(r) || is_spent(r);
        if (is_done || sq_sampling_clock(r->what) - r->asked_at >= ASK_SECONDS)
            ask(r);
        if (is_done && (is_enough(r) || is_spent(r)))
            return SQ_OK;
        SQ_TRY(take(r, err));
        sq_sampling_beat(r->what, &r->last_beat);
    }
}

/* --- the clock --- */

/* The median over the samples long enough to tell it, else the mean over the whole of them. */
static double clock_of(const run *r, double whole_mhz)
{
    int n = 0;
    for (int i = 0; i < r->result->n; i++)
        if (r->khz[i] > 0)
            r->khz[n++] = r->khz[i];
    return n > 0 ? 1e-3 * sq_stats_of(r->khz, n).median : whole_mhz;
}

static sq_status sample_with_clock(run *r, sq_error *err)
{
    const sq_backend *backend = r->what->backend;
    double mhz = NAN;
    if (backend->clock_start)
        SQ_TRY(backend->clock_start(r->what->device, err));
    SQ_TRY(take_samples(r, err));
    if (backend->clock_stop)
        SQ_TRY(backend->clock_stop(r->what->device, &mhz, err));
    r->result->sm_mhz = clock_of(r, mhz);
    return SQ_OK;
}

/* --- the run --- */

static sq_status check(const sq_sampling *what, const sqt_policy *policy, sq_error *err)
{
    SQ_TRY(sq_modes_check(what->cache, what->mode, err));
    if (policy->min_samples < 1 || policy->max_samples < policy->min_samples)
        return sq_fail(err, SQ_BAD_ARGUMENT, "policy: %d to %d samples is no range",
                       policy->min_samples, policy->max_samples);
    if (!(policy->max_seconds > 0 && policy->max_launch_seconds > 0 &&
          policy->warmup_seconds >= 0 && policy->target_interval >= 0 && policy->rest >= 0 &&
          policy->rest <= SQ_LONGEST_REST))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "policy: a negative time or interval, no time, or a rest beyond %d launches",
                       SQ_LONGEST_REST);
    bool is_rotating = what->cache == SQ_CACHE_ROTATE;
    if (is_rotating ? what->copies < 2 : what->copies != 1)
        return sq_fail(err, SQ_BAD_ARGUMENT, "cache %s with %d sets of inputs: it needs %s",
                       sq_cache_name(what->cache), what->copies, is_rotating ? "2 or more" : "1");
    return SQ_OK;
}

static sq_status warm_up_and_sample(run *r, sq_error *err)
{
    SQ_TRY(sq_launcher_open(r->what, 1, &r->launcher, err));
    SQ_TRY(sq_warm_up(&r->launcher, r->policy, r->result, err));
    if (r->what->warmed)
        r->what->warmed(r->what->warmed_arg);
    if (r->result->is_too_long)
        return SQ_OK;
    SQ_TRY(sq_launcher_settle(&r->launcher, err));
    r->asked_at = r->last_beat = sq_sampling_clock(r->what);
    SQ_TRY(sample_with_clock(r, err));
    r->result->batch = r->launcher.batch;
    if (r->launcher.hold_seconds == 0)
        r->result->n_unheld = r->result->n;
    return SQ_OK;
}

sq_status sq_sampling_run(const sq_sampling *what, const sqt_policy *policy, int32_t *ns,
                          sqt_result *result, sq_error *err)
{
    *result = (sqt_result){.batch = 1, .warmup_drift = NAN, .sm_mhz = NAN, .launch_seconds = NAN};
    SQ_TRY(check(what, policy, err));
    run r = {.what = what, .policy = policy, .ns = ns, .result = result};
    r.launcher.what = what;
    r.khz = calloc((size_t)policy->max_samples, sizeof *r.khz);
    sq_status status =
        r.khz ? warm_up_and_sample(&r, err)
              : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d samples", policy->max_samples);
    sq_launcher_close(&r.launcher);
    free(r.khz);
    return status;
}

/* --- figures of short launches --- */

/* Every sample of a figure must be held: one with gaps would be no figure. */
static sq_status take_figure(sq_launcher *launcher, int launches, sq_figure *out, sq_error *err)
{
    int32_t ns[FIGURE_SAMPLES];
    sq_sample sample;
    *out = (sq_figure){.ns = NAN, .spread = NAN, .launches = launches};
    while (out->n < FIGURE_SAMPLES) {
        SQ_TRY(sq_launcher_sample(launcher, &sample, err));
        if (launcher->is_changed)
            return sq_fail(err, SQ_UNSUPPORTED,
                           "the launch waits for the device, or is too many "
                           "kernels for the launch queue");
        if (!sample.is_late)
            ns[out->n++] = sample.ns;
    }
    sq_stats stats = sq_stats_of(ns, out->n);
    int32_t most = ns[0];
    for (int i = 1; i < out->n; i++)
        most = ns[i] > most ? ns[i] : most;
    out->ns = stats.median;
    out->spread = stats.median > 0 ? (most - stats.min) / stats.median : NAN;
    return SQ_OK;
}

sq_status sq_sampling_figure(const sq_sampling *what, sq_launch mode, double launch_ns,
                             sq_figure *out, sq_error *err)
{
    sq_sampling hot = *what;
    sq_launcher launcher;
    int launches = sq_launcher_batch(launch_ns);
    bool is_graph = mode == SQ_LAUNCH_GRAPH;
    hot.cache = SQ_CACHE_HOT;
    hot.mode = mode;
    hot.copies = 1;
    sq_status status = sq_launcher_open(&hot, launches, &launcher, err);
    if (status == SQ_OK) {
        launcher.batch = is_graph ? 1 : launches;
        status = take_figure(&launcher, launches, out, err);
    }
    if (status == SQ_OK && is_graph)
        out->ns /= launches;
    sq_launcher_close(&launcher);
    return status;
}
