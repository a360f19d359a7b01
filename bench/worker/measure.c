/* measure: see measure.h. */
#include "bench/worker/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LONG_LAUNCH_SECONDS 0.2   /* beyond it LONG_LAUNCH_SAMPLES are enough */
#define ALIVE_SECONDS 1.0         /* between signs of life */
#define LONGEST_SAMPLE_SECONDS 2.1 /* a sample is an int32 of nanoseconds */
enum { LONG_LAUNCH_SAMPLES = 3 };

typedef struct {
    int32_t *ns;
    double *sm_mhz;
    int n, n_mhz;
    double sum_seconds;
} samples;

typedef struct {
    sq_alive_fn fn;
    void *arg;
    double last;
} pulse;

static void beat(pulse *p)
{
    double now = sq_job_clock();
    if (now - p->last < ALIVE_SECONDS)
        return;
    p->last = now;
    p->fn(p->arg);
}

/* Launches until the policy's count and time are reached. *launch_seconds: the shortest seen, host
 * time with the wait. Stops early where launches are beyond `limit`. */
static sq_status warm_up(sq_job *job, const sq_policy *policy, double limit, pulse *p,
                         double *launch_seconds, sq_error *err)
{
    double start = sq_job_clock(), now = start;
    *launch_seconds = INFINITY;
    for (int n = 0; n < policy->warmup_launches || now - start < policy->warmup_seconds; n++) {
        SQ_TRY(sq_job_run_once(job, err));
        double end = sq_job_clock();
        *launch_seconds = fmin(*launch_seconds, end - now);
        now = end;
        beat(p);
        /* One hiccup must not skip a cell: only a launch far too long is believed at once. */
        if (*launch_seconds > (n == 0 ? 3 * limit : limit))
            break;
    }
    return SQ_OK;
}

static double interval(const sq_stats *stats)
{
    return stats->median > 0 ? (stats->hi - stats->lo) / stats->median : INFINITY;
}

static bool is_enough(const sq_policy *policy, const samples *s)
{
    bool is_long = s->n > 0 && s->sum_seconds / s->n > LONG_LAUNCH_SECONDS;
    int least = is_long && policy->min_samples > LONG_LAUNCH_SAMPLES ? LONG_LAUNCH_SAMPLES
                                                                     : policy->min_samples;
    if (s->n < least)
        return false;
    if (s->n >= policy->max_samples || s->sum_seconds >= policy->max_seconds)
        return true;
    sq_stats stats = sq_stats_of(s->ns, s->n);
    return interval(&stats) <= policy->target_interval;
}

static sq_status take_samples(sq_job *job, const sq_policy *policy, sq_cache cache, int capacity,
                              pulse *p, samples *s, sq_error *err)
{
    const sq_rig *rig = job->rig;
    while (s->n < capacity && !is_enough(policy, s)) {
        double mhz = NAN;
        SQ_TRY(rig->backend->sample(rig->device, cache, sq_job_launch, job, &s->ns[s->n], &mhz,
                                    err));
        s->sum_seconds += 1e-9 * s->ns[s->n++];
        if (!isnan(mhz))
            s->sm_mhz[s->n_mhz++] = mhz;
        beat(p);
    }
    return SQ_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void judge(const sq_policy *policy, const samples *s, sq_record *record)
{
    if (s->n_mhz > 0) {
        qsort(s->sm_mhz, (size_t)s->n_mhz, sizeof *s->sm_mhz, by_value);
        record->sm_mhz = s->sm_mhz[s->n_mhz / 2];
        record->cycles = 1e-3 * record->stats.median * record->sm_mhz;
    }
    double width = interval(&record->stats);
    record->status = SQ_RUN_OK;
    if (width > policy->max_interval) {
        record->status = SQ_RUN_NOISY;
        snprintf(record->reason, sizeof record->reason,
                 "after %d samples the interval of the median is %.2g %% wide, %.2g %% is allowed",
                 s->n, 100 * width, 100 * policy->max_interval);
    }
}

static void skip_long(double seconds, double limit, sq_record *record)
{
    record->status = SQ_RUN_SKIPPED;
    snprintf(record->reason, sizeof record->reason, "a launch takes %.3g s, the limit is %.3g s",
             seconds, limit);
}

sq_status sq_measure(sq_job *job, const sq_policy *policy, sq_cache cache, sq_alive_fn alive,
                     void *alive_arg, sq_record *record, sq_error *err)
{
    pulse p = {.fn = alive, .arg = alive_arg, .last = sq_job_clock()};
    double limit = fmin(policy->max_cell_seconds, LONGEST_SAMPLE_SECONDS), launch_seconds;
    SQ_TRY(warm_up(job, policy, limit, &p, &launch_seconds, err));
    if (launch_seconds > limit) {
        skip_long(launch_seconds, limit, record);
        return SQ_OK;
    }
    int capacity = policy->max_samples > policy->min_samples ? policy->max_samples
                                                             : policy->min_samples;
    samples s = {.ns = calloc((size_t)capacity, sizeof *s.ns),
                 .sm_mhz = calloc((size_t)capacity, sizeof *s.sm_mhz)};
    sq_status status = SQ_OK;
    if (!s.ns || !s.sm_mhz)
        status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d samples", capacity);
    if (status == SQ_OK)
        status = take_samples(job, policy, cache, capacity, &p, &s, err);
    if (status == SQ_OK && s.n > 0 && (status = sq_record_set_samples(record, s.ns, s.n)) == SQ_OK)
        judge(policy, &s, record);
    free(s.ns);
    free(s.sm_mhz);
    return status;
}
