/* measure: see measure.h. */
#include "bench/worker/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/judge.h"
#include "bench/time/launcher.h"
#include "bench/worker/phases.h"
#include "bench/worker/slowdown.h"

/* Nothing lowers the clock of a device that has none of its own. */
static sqt_policy policy_of(const sq_policy *policy, const sq_backend *backend)
{
    return (sqt_policy){.rest = backend->clock_start ? policy->rest : 0,
                        .warmup_launches = policy->warmup_launches,
                        .warmup_seconds = policy->warmup_seconds,
                        .min_samples = policy->min_samples,
                        .max_samples = policy->max_samples,
                        .max_seconds = policy->max_seconds,
                        .target_interval = policy->target_interval,
                        .max_launch_seconds =
                            fmin(policy->max_cell_seconds, SQ_LONGEST_LAUNCH_SECONDS)};
}

/* --- where the time goes --- */

typedef struct {
    sq_stopwatch watch;
    sq_record *record;
} phases;

static void on_warmed(void *arg)
{
    phases *p = arg;
    sq_stopwatch_lap(&p->watch, "phase_warmup_ms", p->record);
}

/* --- the status --- */

static void skip_long(const sqt_policy *policy, const sqt_result *result, sq_record *record)
{
    record->status = SQ_RUN_SKIPPED;
    snprintf(record->reason, sizeof record->reason, "a launch takes %.3g s, the limit is %.3g s",
             result->launch_seconds, policy->max_launch_seconds);
}

/* --- launches among many --- */

/* What a launch takes among many, without the front end of a single one. */
static sq_status add_figure(const sq_sampling *what, sq_launch mode, sq_record *record,
                            sq_error *err)
{
    sq_figure figure = {.ns = NAN, .spread = NAN};
    sq_error why = {.status = SQ_OK};
    sq_status status = sq_sampling_figure(what, mode, record->stats.median, &figure, &why);
    if (status != SQ_OK && status != SQ_UNSUPPORTED)
        return sq_fail(err, status, "%s", why.message);
    sq_value v = {.value = figure.ns,
                  .n = figure.n,
                  .spread = figure.spread,
                  .sm_mhz = NAN,
                  .validity = "ok"};
    snprintf(v.metric, sizeof v.metric, "%s_ns", sq_launch_name(mode));
    if (status != SQ_OK)
        snprintf(v.validity, sizeof v.validity, "unsupported: %.80s", why.message);
    return sq_record_add_value(record, &v);
}

static sq_status add_figures(const sq_sampling *what, sq_record *record, sq_error *err)
{
    bool is_cell = record->cell.subject[0] != 0; /* else a probe of the device */
    bool is_launch_bound = record->stats.n > 0 && record->stats.median < SQ_LAUNCH_BOUND_NS;
    if (!is_cell || !is_launch_bound || !what->backend->capture)
        return SQ_OK;
    SQ_TRY(add_figure(what, SQ_LAUNCH_BATCH, record, err));
    return add_figure(what, SQ_LAUNCH_GRAPH, record, err);
}

static sq_status keep(const sq_sampling *what, const sq_job *job, const sq_policy *policy,
                      const int32_t *ns, const sqt_result *result, sq_record *record, sq_error *err)
{
    SQ_TRY(sq_record_set_samples(record, ns, result->n));
    record->sm_mhz = result->sm_mhz;
    record->cycles = result->n > 0 ? 1e-3 * record->stats.median * record->sm_mhz : NAN;
    sq_judge_samples(policy, result, record);
    if (record->cell.cache == SQ_CACHE_ROTATE)
        SQ_TRY(sq_record_add_number(record, "copies", job->copies));
    SQ_TRY(sq_judge_add_numbers(result, record));
    return add_figures(what, record, err);
}

sq_status sq_measure(sq_job *job, const sq_policy *policy, sq_cache cache, sq_alive_fn alive,
                     void *alive_arg, sq_record *record, sq_error *err)
{
    sqt_policy limits = policy_of(policy, job->rig->backend);
    sq_slowdown slow;
    SQ_TRY(sq_slowdown_begin(job, &record->cell, &slow, err));
    sq_sampling what = {.backend = job->rig->backend,
                        .device = job->rig->device,
                        .cache = cache,
                        .mode = record->cell.launch,
                        .copies = job->copies > 1 ? job->copies : 1,
                        .launch = sq_slowdown_launch,
                        .arg = &slow,
                        .watch = job->rig->watch,
                        .alive = alive,
                        .alive_arg = alive_arg};
    phases p = {.record = record};
    what.warmed = on_warmed;
    what.warmed_arg = &p;
    sqt_result result;
    int32_t *ns = malloc((size_t)policy->max_samples * sizeof *ns);
    if (!ns)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d samples", policy->max_samples);
    sq_stopwatch_start(&p.watch);
    sq_status status = sq_sampling_run(&what, &limits, ns, &result, err);
    sq_stopwatch_lap(&p.watch, "phase_samples_ms", record);
    if (status == SQ_OK && result.is_too_long)
        skip_long(&limits, &result, record);
    else if (status == SQ_OK)
        status = keep(&what, job, policy, ns, &result, record, err);
    sq_stopwatch_lap(&p.watch, "phase_figures_ms", record);
    free(ns);
    return status;
}
