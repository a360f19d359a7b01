/* ask: see ask.h. */
#include "bench/ask.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/exchange.h"
#include "bench/wire.h"
#include "core/host.h"

/* Measuring the ceilings of a device takes seconds, and shows no sign of life meanwhile. */
static const double ceilings_seconds = 120;

void sq_asker_stop(sq_asker *asker)
{
    sq_client_stop(asker->client);
    asker->client = NULL;
    asker->cells = 0;
}

void sq_asker_kill(sq_asker *asker)
{
    sq_client_kill(asker->client);
    asker->client = NULL;
    asker->cells = 0;
}

static json_t *make_request(const sq_asker *asker, const char *verb, const sq_plan_item *item)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, asker->seed);
    return json_pack("{s:s, s:s, s:s}", "do", verb, "cell", item->key, "seed", seed);
}

static json_t *make_run_request(const sq_asker *asker, const sq_plan_item *item, const char *proved)
{
    json_t *request = make_request(asker, "run", item);
    if (request)
        json_object_set_new(request, "policy", sq_wire_policy(asker->policy));
    if (request && proved[0])
        json_object_set_new(request, "proved", json_string(proved));
    return request;
}

static sq_patience patience(const sq_asker *asker)
{
    return (sq_patience){.silence = asker->policy->timeout_seconds};
}

/* Tells a new worker the ceilings, so that it can give floors. */
static sq_status tell_ceilings(sq_asker *asker, sq_error *err)
{
    json_t *list = json_array(), *answer = NULL;
    for (int i = 0; i < asker->n_ceilings; i++)
        json_array_append_new(list, sq_wire_ceiling(&asker->ceilings[i]));
    json_t *request = json_pack("{s:s, s:o}", "do", "set-ceilings", "ceilings", list);
    if (!request)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    sq_status s = sq_exchange(asker->client, request, "done", patience(asker), NULL, &answer, err);
    json_decref(answer);
    json_decref(request);
    return s;
}

/* A worker that cannot even be told the ceilings shows its trouble with the cell itself. */
static sq_status ensure_worker(sq_asker *asker, sq_error *err)
{
    if (asker->client)
        return SQ_OK;
    SQ_TRY(sq_target_start_worker(asker->target, &asker->client, err));
    if (asker->n_ceilings && tell_ceilings(asker, err) == SQ_INTERRUPTED)
        return SQ_INTERRUPTED;
    return SQ_OK;
}

/* What a failed exchange means for the cell; a worker that did not merely refuse is of no more use. */
static sq_status blame(sq_asker *asker, sq_status s, const char *stage, const sq_error *why,
                       sq_record *record)
{
    if (sq_conclude_failed(record, s, stage, why))
        sq_asker_kill(asker);
    return SQ_OK;
}

/* --- check --- */

/* Asks the worker; releases `request`. */
static sq_status exchange(sq_asker *asker, json_t *request, const char *kind,
                          char stage[SQ_STAGE_TEXT], json_t **answer, sq_error *err)
{
    if (!request)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    sq_status s = sq_exchange(asker->client, request, kind, patience(asker), stage, answer, err);
    json_decref(request);
    return s;
}

/* A worker may have died of the cell before (a sticky error): then the check, which measures
 * nothing, is asked again of a new one. */
static sq_status check(sq_asker *asker, const sq_plan_item *item, sq_record *record, sq_error *err)
{
    json_t *answer = NULL;
    char stage[SQ_STAGE_TEXT] = "";
    SQ_TRY(ensure_worker(asker, err));
    bool was_used = asker->cells > 0;
    sq_status s =
        exchange(asker, make_request(asker, "check", item), "check", stage, &answer, err);
    if (s == SQ_IO && was_used) {
        sq_asker_kill(asker);
        SQ_TRY(ensure_worker(asker, err));
        s = exchange(asker, make_request(asker, "check", item), "check", stage, &answer, err);
    }
    asker->cells++;
    if (s == SQ_INTERRUPTED || s == SQ_OUT_OF_MEMORY)
        return s;
    if (s != SQ_OK)
        return blame(asker, s, "check", err, record);
    sq_conclude_check(record, answer, asker->policy->try_oom);
    json_decref(answer);
    return SQ_OK;
}

/* --- run --- */

/* Back to what it was before an answer that turned out to be no record. */
static void forget(sq_record *record)
{
    sq_record fresh;
    sq_record_init(&fresh, &record->cell);
    memcpy(fresh.uuid, record->uuid, sizeof fresh.uuid);
    fresh.replicate = record->replicate;
    fresh.attempt = record->attempt;
    sq_record_free(record);
    *record = fresh;
}

static sq_status take_record(sq_asker *asker, const json_t *answer, sq_record *record)
{
    sq_error why = {.status = SQ_OK};
    sq_status s = sq_wire_record_parse(json_object_get(answer, "record"), record, &why);
    if (s == SQ_OK)
        return SQ_OK;
    sq_asker_kill(asker);
    forget(record);
    sq_conclude(record, SQ_RUN_ERROR, why.message);
    return SQ_OK;
}

static sq_status run(sq_asker *asker, const sq_plan_item *item, const char *proved,
                     sq_record *record, sq_error *err)
{
    json_t *answer = NULL;
    char stage[SQ_STAGE_TEXT] = "";
    sq_status s = exchange(asker, make_run_request(asker, item, proved), "record", stage, &answer,
                           err);
    if (s == SQ_INTERRUPTED || s == SQ_OUT_OF_MEMORY)
        return s;
    if (s != SQ_OK)
        return blame(asker, s, stage, err, record);
    s = take_record(asker, answer, record);
    json_decref(answer);
    return s;
}

sq_status sq_ask_run(sq_asker *asker, const sq_plan_item *item, const char *proved,
                     sq_record *record, sq_error *err)
{
    bool is_new = asker->client == NULL;
    double start = sq_monotonic_seconds();
    record->status = SQ_RUN_OK;
    SQ_TRY(check(asker, item, record, err));
    double checked = sq_monotonic_seconds();
    if (record->status == SQ_RUN_OK)
        SQ_TRY(run(asker, item, proved, record, err));
    sq_status s = sq_record_add_number(record, is_new ? "phase_worker_ms" : "phase_check_ms",
                                       1e3 * (checked - start));
    return s == SQ_OK ? s : sq_fail(err, s, "no memory for the values of a run");
}

/* --- profile --- */

static sq_status no_profile(const sq_asker *asker, sq_record *record, const char *why)
{
    sq_value value = {.value = NAN, .spread = NAN, .sm_mhz = NAN};
    snprintf(value.validity, sizeof value.validity, "refused: %.80s", why);
    for (const sq_metric_def *m = asker->metrics; m && m->name; m++) {
        if (strncmp(m->source, "cupti:", 6) != 0)
            continue;
        snprintf(value.metric, sizeof value.metric, "%s", m->name);
        SQ_TRY(sq_record_add_value(record, &value));
    }
    return SQ_OK;
}

/* The profile's values and kernels join the record; the measured numbers stay. */
static sq_status merge(const sq_asker *asker, const json_t *answer, sq_record *record,
                       sq_error *err)
{
    sq_record profile;
    sq_record_init(&profile, &record->cell);
    sq_status s = sq_wire_record_parse(json_object_get(answer, "record"), &profile, err);
    for (int i = 0; s == SQ_OK && i < profile.n_values; i++)
        s = sq_record_add_value(record, &profile.values[i]);
    for (int i = 0; s == SQ_OK && i < profile.n_kernels; i++)
        s = sq_record_add_kernel(record, &profile.kernels[i]);
    if (s == SQ_OK && profile.n_values == 0 && profile.reason[0])
        s = no_profile(asker, record, profile.reason);
    sq_record_free(&profile);
    return s;
}

static sq_status profile(sq_asker *asker, const sq_plan_item *item, sq_record *record,
                         sq_error *err)
{
    json_t *answer = NULL;
    char stage[SQ_STAGE_TEXT] = "";
    sq_error why = {.status = SQ_OK};
    sq_status s = ensure_worker(asker, &why);
    if (s == SQ_OK)
        s = exchange(asker, make_request(asker, "profile", item), "record", stage, &answer, &why);
    asker->cells++;
    if (s == SQ_OK)
        s = merge(asker, answer, record, &why);
    json_decref(answer);
    if (s == SQ_OK)
        return SQ_OK;
    if (s == SQ_INTERRUPTED)
        return sq_fail(err, s, "%s", why.message);
    if (s != SQ_BAD_ARGUMENT)
        sq_asker_kill(asker);
    return no_profile(asker, record, why.message);
}

sq_status sq_ask_profile(sq_asker *asker, const sq_plan_item *item, sq_record *record,
                         sq_error *err)
{
    double start = sq_monotonic_seconds();
    SQ_TRY(profile(asker, item, record, err));
    sq_status s = sq_record_add_number(record, "phase_counters_ms",
                                       1e3 * (sq_monotonic_seconds() - start));
    return s == SQ_OK ? s : sq_fail(err, s, "no memory for the values of a run");
}

/* --- ceilings --- */

static sq_status take_ceilings(const json_t *answer,
                               sq_status (*take)(void *, const sq_ceiling *, sq_error *), void *arg,
                               char *note, size_t size, sq_error *err)
{
    json_t *list = json_object_get(answer, "ceilings"), *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        sq_ceiling ceiling;
        sq_error why = {.status = SQ_OK};
        if (sq_wire_ceiling_parse(item, &ceiling, &why) == SQ_OK)
            SQ_TRY(take(arg, &ceiling, err));
        else
            snprintf(note, size, "a ceiling cannot be read: %s", why.message);
    }
    return SQ_OK;
}

sq_status sq_ask_ceilings(sq_asker *asker,
                          sq_status (*take)(void *arg, const sq_ceiling *, sq_error *), void *arg,
                          char *note, size_t size, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    json_t *request = json_pack("{s:s}", "do", "ceilings"), *answer = NULL;
    note[0] = 0;
    sq_status s = request ? ensure_worker(asker, &why) : SQ_OUT_OF_MEMORY;
    if (s == SQ_OK)
        s = sq_exchange(asker->client, request, "ceilings",
                        (sq_patience){.silence = ceilings_seconds}, NULL, &answer, &why);
    json_decref(request);
    if (s == SQ_INTERRUPTED)
        return sq_fail(err, s, "%s", why.message);
    if (s != SQ_OK) {
        snprintf(note, size, "no ceilings measured: %s", why.message);
        if (s != SQ_BAD_ARGUMENT)
            sq_asker_kill(asker);
        return SQ_OK;
    }
    s = take_ceilings(answer, take, arg, note, size, err);
    json_decref(answer);
    return s;
}
