/* ask: see ask.h. */
#include "bench/ask.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/exchange.h"
#include "bench/wire.h"
#include "core/host.h"
#include "profile/sets.h"

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

static json_t *make_profile_request(const sq_asker *asker, const sq_plan_item *item)
{
    json_t *request = make_request(asker, "profile", item);
    if (request && asker->counters)
        json_object_set_new(request, "set", json_string(asker->counters));
    return request;
}

static sq_patience patience(const sq_asker *asker)
{
    return (sq_patience){.silence = asker->policy->timeout_seconds};
}

/* A worker that cannot even be told the ceilings shows its trouble with the cell itself. */
static sq_status ensure_worker(sq_asker *asker, sq_error *err)
{
    if (asker->client)
        return SQ_OK;
    SQ_TRY(sq_target_start_worker(asker->target, &asker->client, err));
    if (asker->n_ceilings && sq_exchange_ceilings(asker->client, asker->ceilings, asker->n_ceilings,
                                                  patience(asker), err) == SQ_INTERRUPTED)
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

static sq_status take_record(sq_asker *asker, const json_t *answer, sq_record *record)
{
    sq_error why = {.status = SQ_OK};
    sq_status s = sq_wire_record_parse(json_object_get(answer, "record"), record, &why);
    if (s == SQ_OK)
        return SQ_OK;
    sq_asker_kill(asker);
    sq_record_restart(record);
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

static const char *sets_of(const sq_asker *asker)
{
    return asker->counters ? asker->counters : "basic";
}

static bool has_value(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return true;
    return false;
}

static sq_status add_absent(const sq_set_image *image, const char *validity, sq_record *record)
{
    for (int i = 0; i < image->n; i++)
        if (!has_value(record, image->line[i].metric))
            SQ_TRY(sq_record_add_measured(record, image->line[i].metric, NAN, 0, NAN, validity));
    return SQ_OK;
}

/* Which chip it is, nobody came to say: what would have been counted on a GH100. */
static sq_status no_profile(const sq_asker *asker, sq_record *record, const char *why)
{
    sq_counter_set *set = NULL;
    char validity[96];
    snprintf(validity, sizeof validity, "refused: %.80s", why);
    SQ_TRY(sq_set_load(sets_of(asker), NULL, &set, NULL));
    sq_status s = SQ_OK;
    if (!has_value(record, "activity_ns"))
        s = sq_record_add_measured(record, "activity_ns", NAN, 0, NAN, validity);
    for (int i = 0; s == SQ_OK && i < set->n_images; i++)
        s = add_absent(&set->image[i], validity, record);
    sq_set_free(set);
    return s;
}

/* The profile's values and kernels join the record; the measured numbers stay. */
static sq_status merge(const sq_asker *asker, const json_t *answer, sq_record *record,
                       sq_error *err)
{
    sq_record profile;
    sq_record_init(&profile, &record->cell);
    sq_status s = sq_wire_record_parse(json_object_get(answer, "record"), &profile, err);
    for (int i = 0; s == SQ_OK && i < profile.n_values; i++)
        if (!has_value(record, profile.values[i].metric))
            s = sq_record_add_value(record, &profile.values[i]);
    for (int i = 0; s == SQ_OK && i < profile.n_kernels; i++)
        s = sq_record_add_kernel(record, &profile.kernels[i]);
    if (s == SQ_OK && profile.status != SQ_RUN_OK)
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
        s = exchange(asker, make_profile_request(asker, item), "record", stage, &answer, &why);
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

/* --- launch --- */

sq_status sq_ask_launch(sq_asker *asker, const sq_plan_item *item, sq_error *err)
{
    json_t *answer = NULL;
    char stage[SQ_STAGE_TEXT] = "";
    SQ_TRY(ensure_worker(asker, err));
    sq_status s =
        exchange(asker, make_request(asker, "launch", item), "done", stage, &answer, err);
    json_decref(answer);
    if (s != SQ_OK && s != SQ_BAD_ARGUMENT)
        sq_asker_kill(asker);
    return s;
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

/* --- curves --- */

/* The message, which the caller releases, or NULL and the reason in the curve. */
static sq_status ask_curve(sq_asker *asker, json_t *request, const char *kind, double seconds,
                           json_t **answer, sq_curve *out, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    sq_status s = ensure_worker(asker, &why);
    *out = (sq_curve){.interval_ns = NAN};
    *answer = NULL;
    if (s == SQ_OK && !request)
        s = sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for a request");
    if (s == SQ_OK)
        s = sq_exchange(asker->client, request, kind,
                        (sq_patience){.silence = asker->policy->timeout_seconds + seconds}, NULL,
                        answer, &why);
    json_decref(request);
    asker->cells++;
    if (s == SQ_INTERRUPTED)
        return sq_fail(err, s, "%s", why.message);
    if (s == SQ_OK)
        return SQ_OK;
    snprintf(out->reason, sizeof out->reason, "refused: %.300s", why.message);
    if (s != SQ_BAD_ARGUMENT)
        sq_asker_kill(asker);
    return SQ_OK;
}

/* Numbers of one row; what is no number is absent. SQ_BAD_ARGUMENT: not a list of that length. */
static sq_status take_row(const json_t *row, sq_curve *curve, int i, sq_error *err)
{
    if (!json_is_array(row) || json_array_size(row) != (size_t)curve->n_columns)
        return sq_fail(err, SQ_BAD_ARGUMENT, "row %d is no list of %d numbers", i + 1,
                       curve->n_columns);
    for (int k = 0; k < curve->n_columns; k++)
        if (json_is_number(json_array_get(row, (size_t)k)))
            sq_curve_row(curve, i)[k] = json_number_value(json_array_get(row, (size_t)k));
    if (isnan(sq_curve_row(curve, i)[0]))
        return sq_fail(err, SQ_BAD_ARGUMENT, "row %d has no time", i + 1);
    return SQ_OK;
}

/* What cannot be read makes a curve without rows that says so. */
static sq_status take_rows(const json_t *rows, const char *const *columns, int n_columns,
                           sq_curve *out, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    int n = json_array_size(rows) < SQ_CURVE_ROWS ? (int)json_array_size(rows) : SQ_CURVE_ROWS;
    sq_status s = sq_curve_new(out, columns, n_columns, n, &why);
    for (int i = 0; s == SQ_OK && i < n; i++)
        s = take_row(json_array_get(rows, (size_t)i), out, i, &why);
    if (s == SQ_OUT_OF_MEMORY)
        return sq_fail(err, s, "%s", why.message);
    if (s != SQ_OK) {
        sq_curve_free(out);
        out->interval_ns = NAN;
        snprintf(out->reason, sizeof out->reason, "inconsistent: %.280s", why.message);
    }
    return SQ_OK;
}

static void add_reason(const json_t *answer, sq_curve *out)
{
    const char *validity = sq_message_text(answer, "validity", "ok");
    if (strcmp(validity, "ok") != 0 && !out->reason[0])
        snprintf(out->reason, sizeof out->reason, "%.300s", validity);
}

sq_status sq_ask_sustain(sq_asker *asker, const sq_plan_item *item, double seconds, sq_curve *out,
                         sq_error *err)
{
    static const char *const columns[] = {"seconds", "launches_per_s", "sm_mhz", "power_w",
                                          "temperature_c"};
    json_t *answer, *request = make_request(asker, "sustain", item);
    if (request)
        json_object_set_new(request, "seconds", json_real(seconds));
    SQ_TRY(ask_curve(asker, request, "sustain", seconds, &answer, out, err));
    if (!answer)
        return SQ_OK;
    sq_status s = take_rows(json_object_get(answer, "points"), columns, 5, out, err);
    add_reason(answer, out);
    json_decref(answer);
    return s;
}

/* Names of the metrics behind "seconds". *n_columns is 0 where they cannot be read. */
static void list_columns(const json_t *metrics, const char *columns[SQ_CURVE_COLUMNS],
                         int *n_columns)
{
    size_t n = json_array_size(metrics);
    *n_columns = 0;
    columns[0] = "seconds";
    for (size_t i = 0; i < n && i + 1 < SQ_CURVE_COLUMNS; i++)
        if (!(columns[i + 1] = json_string_value(json_array_get(metrics, i))))
            return;
    *n_columns = n + 1 <= SQ_CURVE_COLUMNS ? (int)n + 1 : 0;
}

sq_status sq_ask_timeline(sq_asker *asker, const sq_plan_item *item, sq_curve *out, sq_error *err)
{
    const char *columns[SQ_CURVE_COLUMNS];
    int n_columns;
    json_t *answer;
    SQ_TRY(ask_curve(asker, make_request(asker, "timeline", item), "timeline", 0, &answer, out,
                     err));
    if (!answer)
        return SQ_OK;
    list_columns(json_object_get(answer, "metrics"), columns, &n_columns);
    sq_status s = take_rows(json_object_get(answer, "rows"), columns, n_columns, out, err);
    out->interval_ns = sq_message_number(answer, "interval_ns");
    out->n_dropped = (int)json_integer_value(json_object_get(answer, "dropped"));
    for (int i = 0; s == SQ_OK && i < out->n_rows; i++)
        sq_curve_row(out, i)[0] *= 1e-9;
    add_reason(answer, out);
    json_decref(answer);
    return s;
}
