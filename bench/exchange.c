/* exchange: see exchange.h. */
#include "bench/exchange.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/wire.h"
#include "core/host.h"
#include "core/text.h"

static bool is_message(const json_t *message, const char *kind)
{
    const char *is = json_string_value(json_object_get(message, "is"));
    return is && strcmp(is, kind) == 0;
}

const char *sq_message_text(const json_t *message, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text && *text ? text : fallback;
}

double sq_message_number(const json_t *message, const char *key)
{
    const json_t *value = json_object_get(message, key);
    if (json_is_number(value))
        return json_number_value(value);
    return json_is_string(value) ? strtod(json_string_value(value), NULL) : NAN;
}

/* A message that is not the answer: a stage is kept and fine. */
static sq_status pass_over(const sq_client *client, const json_t *message, const char *kind,
                           char stage[SQ_STAGE_TEXT], sq_error *err)
{
    const char *who = sq_client_name(client);
    if (is_message(message, "stage")) {
        if (stage)
            snprintf(stage, SQ_STAGE_TEXT, "%s", sq_message_text(message, "stage", ""));
        return SQ_OK;
    }
    if (is_message(message, "error"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s refuses: %.300s", who,
                       sq_message_text(message, "message", "no reason given"));
    return sq_fail(err, SQ_INTERNAL, "%s answered \"%.40s\" where %s belongs", who,
                   sq_message_text(message, "is", "?"), kind);
}

sq_status sq_exchange(sq_client *client, const json_t *request, const char *kind,
                      sq_patience patience, char stage[SQ_STAGE_TEXT], json_t **out, sq_error *err)
{
    const double until = patience.total > 0 ? sq_monotonic_seconds() + patience.total : INFINITY;
    *out = NULL;
    /* A dead worker is described by its end, which receiving finds; not by the broken pipe. */
    sq_client_send(client, request, NULL);
    for (;;) {
        json_t *message = NULL;
        const double left = until - sq_monotonic_seconds();
        const double wait = fmax(0, fmin(patience.silence, left));
        sq_status got = sq_client_receive(client, wait, &message, err);
        if (got == SQ_TIMEOUT && wait < patience.silence)
            return sq_fail(err, SQ_TIMEOUT, "not done after %g s", patience.total);
        SQ_TRY(got);
        if (is_message(message, kind)) {
            *out = message;
            return SQ_OK;
        }
        sq_status s = pass_over(client, message, kind, stage, err);
        json_decref(message);
        SQ_TRY(s);
    }
}

sq_status sq_exchange_ceilings(sq_client *client, const sq_ceiling *ceilings, int n,
                               sq_patience patience, sq_error *err)
{
    json_t *list = json_array(), *answer = NULL;
    for (int i = 0; i < n; i++)
        json_array_append_new(list, sq_wire_ceiling(&ceilings[i]));
    json_t *request = json_pack("{s:s, s:o}", "do", "set-ceilings", "ceilings", list);
    if (!request)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    sq_status s = sq_exchange(client, request, "done", patience, NULL, &answer, err);
    json_decref(answer);
    json_decref(request);
    return s;
}

/* --- rows --- */

void sq_conclude(sq_record *record, sq_run_status status, const char *reason)
{
    record->status = status;
    snprintf(record->reason, sizeof record->reason, "%.*s", SQ_REASON_MAX - 1, reason);
}

bool sq_conclude_failed(sq_record *record, sq_status status, const char *stage,
                        const sq_error *why)
{
    char reason[SQ_REASON_MAX];
    if (status == SQ_BAD_ARGUMENT) {
        sq_conclude(record, SQ_RUN_ERROR, why->message);
        return false;
    }
    snprintf(reason, sizeof reason, "%.240s%s%.31s", why->message, *stage ? ", in stage " : "",
             stage);
    sq_conclude(record,
                status == SQ_TIMEOUT ? SQ_RUN_TIMEOUT
                : status == SQ_IO    ? SQ_RUN_CRASHED
                                     : SQ_RUN_ERROR,
                reason);
    return true;
}

void sq_conclude_check(sq_record *record, const json_t *answer, bool try_oom)
{
    double bytes = sq_message_number(answer, "bytes");
    double free_bytes = sq_message_number(answer, "free_bytes");
    char need[32], have[32], reason[SQ_REASON_MAX];
    if (!json_is_true(json_object_get(answer, "supported"))) {
        sq_conclude(record, SQ_RUN_UNSUPPORTED,
                    sq_message_text(answer, "reason", "no reason given"));
    } else if (bytes > free_bytes && !try_oom) {
        sq_format_bytes(bytes, need, sizeof need);
        sq_format_bytes(free_bytes, have, sizeof have);
        snprintf(reason, sizeof reason, "needs %s, %s are free (predicted; --try-oom on tries)",
                 need, have);
        sq_conclude(record, SQ_RUN_OOM, reason);
        record->peak_bytes = (int64_t)bytes;
    }
}
