/* ask: see ask.h. */
#include "bench/ask.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/wire.h"
#include "core/text.h"

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

static sq_status make_request(const sq_asker *asker, const char *verb, const sq_plan_item *item,
                              json_t **out, sq_error *err)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, asker->seed);
    *out = json_pack("{s:s, s:s, s:s}", "do", verb, "cell", item->key, "seed", seed);
    bool is_made = *out != NULL;
    if (is_made && strcmp(verb, "run") == 0)
        is_made = json_object_set_new(*out, "policy", sq_wire_policy(asker->policy)) == 0;
    return is_made ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
}

static bool is_message(const json_t *message, const char *kind)
{
    const char *is = json_string_value(json_object_get(message, "is"));
    return is && strcmp(is, kind) == 0;
}

static const char *text_of(const json_t *message, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text && *text ? text : fallback;
}

/* Asks and waits for a message `kind`; stages on the way are signs of life. `stage` (may be NULL)
 * receives the last one. */
static sq_status ask(sq_asker *asker, json_t *request, const char *kind, double seconds,
                     char stage[32], json_t **out, sq_error *err)
{
    *out = NULL;
    /* A dead worker is described by its end, which receiving finds; not by the broken pipe. */
    sq_client_send(asker->client, request, NULL);
    for (;;) {
        json_t *message = NULL;
        SQ_TRY(sq_client_receive(asker->client, seconds, &message, err));
        if (is_message(message, kind)) {
            *out = message;
            return SQ_OK;
        }
        if (is_message(message, "stage") && stage)
            snprintf(stage, 32, "%s", text_of(message, "stage", ""));
        sq_status s = SQ_OK;
        if (is_message(message, "error"))
            s = sq_fail(err, SQ_BAD_ARGUMENT, "the worker refuses: %.300s",
                        text_of(message, "message", "no reason given"));
        else if (!is_message(message, "stage"))
            s = sq_fail(err, SQ_INTERNAL, "the worker answered \"%.40s\" where %s belongs",
                        text_of(message, "is", "?"), kind);
        json_decref(message);
        SQ_TRY(s);
    }
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
    sq_status s = ask(asker, request, "done", asker->policy->timeout_seconds, NULL, &answer, err);
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

static void conclude(sq_record *record, sq_run_status status, const char *reason)
{
    record->status = status;
    snprintf(record->reason, sizeof record->reason, "%.*s", SQ_REASON_MAX - 1, reason);
}

/* What a failed exchange means for the cell. The worker is of no more use. */
static sq_status blame(sq_asker *asker, sq_status s, const char *stage, const sq_error *why,
                       sq_record *record)
{
    char reason[SQ_REASON_MAX];
    if (s == SQ_BAD_ARGUMENT) {
        conclude(record, SQ_RUN_ERROR, why->message);
        return SQ_OK; /* a refusal: the worker is well */
    }
    snprintf(reason, sizeof reason, "%.240s%s%.31s", why->message, *stage ? ", in stage " : "",
             stage);
    sq_asker_kill(asker);
    conclude(record,
             s == SQ_TIMEOUT ? SQ_RUN_TIMEOUT
             : s == SQ_IO    ? SQ_RUN_CRASHED
                             : SQ_RUN_ERROR,
             reason);
    return SQ_OK;
}

/* --- check --- */

static double number_of(const json_t *message, const char *key)
{
    const json_t *value = json_object_get(message, key);
    if (json_is_number(value))
        return json_number_value(value);
    return json_is_string(value) ? strtod(json_string_value(value), NULL) : NAN;
}

/* Unsupported cells and those that cannot fit become rows without being tried. */
static void judge_check(const sq_asker *asker, const json_t *answer, sq_record *record)
{
    double bytes = number_of(answer, "bytes"), free_bytes = number_of(answer, "free_bytes");
    char need[32], have[32], reason[SQ_REASON_MAX];
    if (!json_is_true(json_object_get(answer, "supported"))) {
        snprintf(reason, sizeof reason, "%.300s", text_of(answer, "reason", "no reason given"));
        conclude(record, SQ_RUN_UNSUPPORTED, reason);
    } else if (bytes > free_bytes && !asker->policy->try_oom) {
        sq_format_bytes(bytes, need, sizeof need);
        sq_format_bytes(free_bytes, have, sizeof have);
        snprintf(reason, sizeof reason, "needs %s, %s are free (predicted; --try-oom on tries)",
                 need, have);
        conclude(record, SQ_RUN_OOM, reason);
        record->peak_bytes = (int64_t)bytes;
    }
}

static sq_status exchange(sq_asker *asker, const char *verb, const char *kind,
                          const sq_plan_item *item, char stage[32], json_t **answer, sq_error *err)
{
    json_t *request = NULL;
    SQ_TRY(make_request(asker, verb, item, &request, err));
    sq_status s = ask(asker, request, kind, asker->policy->timeout_seconds, stage, answer, err);
    json_decref(request);
    return s;
}

/* A worker may have died of the cell before (a sticky error): then the check, which measures
 * nothing, is asked again of a new one. */
static sq_status check(sq_asker *asker, const sq_plan_item *item, sq_record *record, sq_error *err)
{
    json_t *answer = NULL;
    char stage[32] = "";
    SQ_TRY(ensure_worker(asker, err));
    bool was_used = asker->cells > 0;
    sq_status s = exchange(asker, "check", "check", item, stage, &answer, err);
    if (s == SQ_IO && was_used) {
        sq_asker_kill(asker);
        SQ_TRY(ensure_worker(asker, err));
        s = exchange(asker, "check", "check", item, stage, &answer, err);
    }
    asker->cells++;
    if (s == SQ_INTERRUPTED || s == SQ_OUT_OF_MEMORY)
        return s;
    if (s != SQ_OK)
        return blame(asker, s, "check", err, record);
    judge_check(asker, answer, record);
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
    conclude(record, SQ_RUN_ERROR, why.message);
    return SQ_OK;
}

sq_status sq_ask_run(sq_asker *asker, const sq_plan_item *item, sq_record *record, sq_error *err)
{
    json_t *answer = NULL;
    char stage[32] = "";
    record->status = SQ_RUN_OK;
    SQ_TRY(check(asker, item, record, err));
    if (record->status != SQ_RUN_OK)
        return SQ_OK;
    sq_status s = exchange(asker, "run", "record", item, stage, &answer, err);
    if (s == SQ_INTERRUPTED || s == SQ_OUT_OF_MEMORY)
        return s;
    if (s != SQ_OK)
        return blame(asker, s, stage, err, record);
    s = take_record(asker, answer, record);
    json_decref(answer);
    return s;
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

sq_status sq_ask_profile(sq_asker *asker, const sq_plan_item *item, sq_record *record,
                         sq_error *err)
{
    json_t *answer = NULL;
    char stage[32] = "";
    sq_error why = {.status = SQ_OK};
    sq_status s = ensure_worker(asker, &why);
    if (s == SQ_OK)
        s = exchange(asker, "profile", "record", item, stage, &answer, &why);
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
        s = ask(asker, request, "ceilings", ceilings_seconds, NULL, &answer, &why);
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
