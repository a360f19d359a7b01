/* runner: see runner.h. */
#include "bench/runner.h"

#include <stdio.h>
#include <string.h>

#include "bench/ask.h"
#include "bench/cache_probes.h"
#include "bench/peer_run.h"
#include "bench/plausible.h"
#include "bench/signals.h"
#include "core/host.h"

enum { MAX_CEILINGS = 64 };

typedef struct {
    const sq_runner_options *options;
    sq_runner_result *result;
    sq_asker timing, profiling;
    sq_cache_probes probes;
    sq_peers peers;
    sq_ceiling ceiling[MAX_CEILINGS];
    int n_ceilings;
    sq_tally tally;
    double started, last; /* last: the end of the run before */
    int replicate;        /* of the batch that `timing` works on */
} runner;

bool sq_status_is_failure(sq_run_status status)
{
    return status == SQ_RUN_CRASHED || status == SQ_RUN_TIMEOUT || status == SQ_RUN_ERROR ||
           status == SQ_RUN_MISMATCH;
}

/* --- one run --- */

static bool has_value(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return true;
    return false;
}

/* What the plan knows and the worker does not, or did not come to say. */
static sq_status describe(const sq_plan_item *item, sq_record *record, sq_error *err)
{
    const sq_cell *cell = &item->cell;
    sq_status s = SQ_OK;
    if (item->width > 0)
        s = sq_record_add_number(record, "width", (double)item->width);
    if (s == SQ_OK && item->is_sentinel)
        s = sq_record_add_number(record, "sentinel", 1);
    if (s == SQ_OK && !has_value(record, "tokens"))
        s = sq_record_add_number(record, "tokens", cell->value[SQ_AXIS_B] * cell->value[SQ_AXIS_L]);
    return s == SQ_OK ? s : sq_fail(err, s, "no memory for the values of a run");
}

static bool has_time(const sq_record *record)
{
    return record->status == SQ_RUN_OK || record->status == SQ_RUN_NOISY ||
           record->status == SQ_RUN_THROTTLED;
}

/* Counters once per cell and campaign: with its first replicate. */
static bool wants_profile(const runner *r, const sq_plan_item *item, const sq_record *record)
{
    bool is_due = item->replicate == 0 || r->options->counts_every_run;
    return r->options->counters && is_due && has_time(record) &&
           !sq_provider_is_external(item->cell.provider) &&
           strcmp(r->options->target->device.backend, "cuda") == 0;
}

static sq_status judge(const runner *r, sq_record *record, sq_error *err)
{
    const sq_device *device = &r->options->target->device;
    sq_status s = sq_judge_plausible(device, r->ceiling, r->n_ceilings, record);
    return s == SQ_OK ? s : sq_fail(err, s, "no memory for the values of a run");
}

static sq_status measure(runner *r, const sq_plan_item *item, sq_record *record, sq_error *err)
{
    double started = sq_wall_seconds();
    record->replicate = item->replicate;
    record->attempt = item->attempt;
    SQ_TRY(sq_uuid_new(record->uuid, err));
    if (item->status != SQ_RUN_OK) {
        record->status = item->status;
        snprintf(record->reason, sizeof record->reason, "%s", item->reason);
    } else {
        char *proved = r->options->plan->proved[item->place];
        SQ_TRY(sq_provider_is_external(item->cell.provider)
                   ? sq_peers_run(&r->peers, item, proved, record, err)
                   : sq_ask_run(&r->timing, item, proved, record, err));
        if (!proved[0])
            memcpy(proved, record->checksum, sizeof record->checksum);
        SQ_TRY(judge(r, record, err));
        if (wants_profile(r, item, record))
            SQ_TRY(sq_ask_profile(&r->profiling, item, record, err));
        if (has_time(record))
            SQ_TRY(sq_cache_probes_note(&r->probes, (double)r->options->target->device.l2_bytes,
                                        record));
    }
    if (!(record->started > 0)) /* NAN where the worker did not come to say */
        record->started = started;
    return describe(item, record, err);
}

static void count_row(runner *r, const sq_plan_item *item, const sq_record *record)
{
    sq_runner_result *result = r->result;
    result->count[record->status]++;
    result->done++;
    if (sq_status_is_failure(record->status) && !result->first_failure[0])
        snprintf(result->first_failure, sizeof result->first_failure, "%s %s: %s",
                 sq_run_status_name(record->status), item->key, record->reason);
}

static sq_status keep(runner *r, const sq_record *record, sq_error *err)
{
    const sq_sink *sink = &r->options->sink;
    double start = sq_monotonic_seconds();
    SQ_TRY(sink->run(sink->self, record, err));
    sq_tally_add_part(&r->tally, "store", sq_monotonic_seconds() - start);
    return SQ_OK;
}

static sq_status charge(runner *r, const sq_plan_item *item, const sq_record *record, sq_error *err)
{
    double now = sq_monotonic_seconds(), seconds = now - r->last;
    r->last = now;
    return sq_tally_add_run(&r->tally, item, record, seconds, err);
}

/* Measures one item and keeps it. */
static sq_status run_item(runner *r, sq_plan_item *item, sq_error *err)
{
    const sq_observer *observer = &r->options->observer;
    sq_record record;
    sq_record_init(&record, &item->cell);
    if (observer->started)
        observer->started(observer->self, item);
    sq_status s = measure(r, item, &record, err);
    if (s == SQ_OK)
        s = keep(r, &record, err);
    if (s == SQ_OK)
        s = charge(r, item, &record, err);
    if (s == SQ_OK) {
        item->is_done = true;
        count_row(r, item, &record);
        if (observer->finished)
            observer->finished(observer->self, item, &record);
    }
    sq_record_free(&record);
    return s;
}

/* --- the campaign --- */

/* Replicates of a cell never share a process, so a batch ends with its round. */
static void change_worker(runner *r, const sq_plan_item *item)
{
    if (item->replicate != r->replicate)
        sq_peers_stop(&r->peers);
    else if (r->timing.cells < SQ_BATCH_CELLS)
        return;
    double start = sq_monotonic_seconds();
    sq_asker_stop(&r->timing);
    sq_tally_add_part(&r->tally, "worker", sq_monotonic_seconds() - start);
    r->replicate = item->replicate;
}

static bool is_over_budget(const runner *r, const sq_plan_item *item)
{
    double budget = r->options->budget_seconds;
    return budget > 0 && sq_monotonic_seconds() - r->started + item->seconds > budget;
}

static sq_status run_items(runner *r, const char **state, sq_error *err)
{
    sq_plan *plan = r->options->plan;
    *state = "finished";
    for (int i = 0; i < plan->count; i++) {
        sq_plan_item *item = &plan->item[i];
        if (item->is_done)
            continue;
        if (sq_signals_count() > 0) {
            *state = "interrupted";
            return SQ_OK;
        }
        if (is_over_budget(r, item)) {
            *state = "budget"; /* a shorter cell further on may still fit */
            r->tally.is_choosy = true;
            continue;
        }
        change_worker(r, item);
        SQ_TRY(run_item(r, item, err));
    }
    return SQ_OK;
}

/* Stores a ceiling and keeps it for the workers to come. */
static sq_status keep_ceiling(void *arg, const sq_ceiling *ceiling, sq_error *err)
{
    runner *r = arg;
    const sq_sink *sink = &r->options->sink;
    if (r->n_ceilings < MAX_CEILINGS)
        r->ceiling[r->n_ceilings++] = *ceiling;
    return sink->ceiling(sink->self, ceiling, err);
}

static void tell(const runner *r, const char *note)
{
    const sq_observer *observer = &r->options->observer;
    if (note[0] && observer->note)
        observer->note(observer->self, note);
}

/* The ceilings of this campaign are the known ones, stored with it so that it can be read alone. */
static sq_status use_known_ceilings(runner *r, sq_error *err)
{
    char note[160];
    for (int i = 0; i < r->options->n_known; i++)
        SQ_TRY(keep_ceiling(r, &r->options->known[i], err));
    snprintf(note, sizeof note, "%d ceilings of %.100s", r->n_ceilings, r->options->known_from);
    tell(r, note);
    return SQ_OK;
}

static sq_status measure_ceilings(runner *r, sq_error *err)
{
    char note[512];
    SQ_TRY(sq_ask_ceilings(&r->timing, keep_ceiling, r, note, sizeof note, err));
    tell(r, note);
    return SQ_OK;
}

static sq_status find_ceilings(runner *r, sq_error *err)
{
    if (r->options->skips_ceilings)
        return SQ_OK;
    SQ_TRY(r->options->n_known ? use_known_ceilings(r, err) : measure_ceilings(r, err));
    r->timing.ceilings = r->profiling.ceilings = r->ceiling;
    r->timing.n_ceilings = r->profiling.n_ceilings = r->n_ceilings;
    r->peers.ceilings = r->ceiling;
    r->peers.n_ceilings = r->n_ceilings;
    return SQ_OK;
}

static int count_left(const sq_plan *plan)
{
    int left = 0;
    for (int i = 0; i < plan->count; i++)
        left += !plan->item[i].is_done;
    return left;
}

/* SQ_INTERRUPTED is the second signal: the run in flight is lost, everything before is kept. */
static sq_status carry_out(runner *r, const char **state, sq_error *err)
{
    sq_status s = find_ceilings(r, err);
    r->last = sq_monotonic_seconds();
    sq_tally_add_phase(&r->tally, "ceilings", r->last - r->started);
    if (s == SQ_OK)
        s = run_items(r, state, err);
    if (s == SQ_INTERRUPTED) {
        *state = "interrupted";
        s = SQ_OK;
    }
    if (sq_signals_count() >= 2) {
        sq_asker_kill(&r->timing);
        sq_asker_kill(&r->profiling);
        sq_peers_kill(&r->peers);
    }
    sq_asker_stop(&r->timing);
    sq_asker_stop(&r->profiling);
    sq_peers_stop(&r->peers);
    return s;
}

static void conclude(runner *r)
{
    sq_runner_result *result = r->result;
    result->cost = sq_tally_conclude(&r->tally, r->options->plan);
    memcpy(result->phase, r->tally.phase, sizeof result->phase);
    result->n_phases = r->tally.n_phases;
    sq_tally_free(&r->tally);
}

sq_status sq_runner_run(const sq_runner_options *options, sq_runner_result *result, sq_error *err)
{
    sq_asker asker = {.target = options->target,
                      .policy = options->policy,
                      .counters = options->counters,
                      .seed = options->campaign->seed};
    runner r = {.options = options,
                .result = result,
                .timing = asker,
                .profiling = asker,
                .peers = {.target = options->target,
                          .policy = options->policy,
                          .seed = options->campaign->seed,
                          .batch_cells = SQ_BATCH_CELLS},
                .started = sq_monotonic_seconds()};
    const sq_sink *sink = &options->sink;
    const char *state = "failed";
    *result = (sq_runner_result){.done = 0};
    SQ_TRY(sink->begin(sink->self, options->campaign, &options->target->environment,
                       &options->target->device, options->metrics, err));
    sq_status s = carry_out(&r, &state, err);
    result->left = count_left(options->plan);
    conclude(&r);
    if (s == SQ_OK)
        s = sink->finish(sink->self, state, err);
    else
        sink->finish(sink->self, "failed", NULL);
    snprintf(result->state, sizeof result->state, "%s", s == SQ_OK ? state : "failed");
    return s;
}
