/* characterize: see characterize.h. */
#include "bench/characterize.h"

#include <string.h>

#include "bench/exchange.h"
#include "bench/signals.h"
#include "bench/wire.h"

/* Between signs of life; filling some GiB or loading a library takes seconds. */
static const double silence_seconds = 60;

static sq_status take_ceiling(const json_t *message, const sq_ceiling_observer *observer,
                              sq_error *err)
{
    sq_ceiling ceiling;
    SQ_TRY(sq_wire_ceiling_parse(json_object_get(message, "ceiling"), &ceiling, err));
    return observer->ceiling(observer->self, &ceiling, err);
}

static sq_status take_message(const json_t *message, const sq_ceiling_observer *observer,
                              bool *is_done, sq_error *err)
{
    const char *is = sq_message_text(message, "is", "?");
    *is_done = strcmp(is, "done") == 0;
    if (*is_done || strcmp(is, "stage") == 0)
        return SQ_OK;
    if (strcmp(is, "ceiling") == 0)
        return take_ceiling(message, observer, err);
    if (strcmp(is, "error") == 0)
        return sq_fail(err, SQ_DEVICE, "the worker gives up: %.300s",
                       sq_message_text(message, "message", "no reason given"));
    if (strcmp(is, "absent") != 0)
        return sq_fail(err, SQ_INTERNAL, "the worker answered \"%.40s\" where a ceiling belongs",
                       is);
    observer->absent(observer->self, sq_message_text(message, "name", "?"),
                     sq_message_text(message, "reason", "no reason given"));
    return SQ_OK;
}

static sq_status listen_to(sq_client *client, const sq_ceiling_observer *observer, sq_error *err)
{
    bool is_done = false;
    while (!is_done) {
        json_t *message = NULL;
        SQ_TRY(sq_client_receive(client, silence_seconds, &message, err));
        sq_status s = take_message(message, observer, &is_done, err);
        json_decref(message);
        SQ_TRY(s);
        if (!is_done && sq_signals_count() > 0)
            return sq_fail(err, SQ_INTERRUPTED, "interrupted");
    }
    return SQ_OK;
}

sq_status sq_ask_characterize(const sq_target *target, const sq_ceiling_observer *observer,
                              sq_error *err)
{
    sq_client *client = NULL;
    SQ_TRY(sq_target_start_worker(target, &client, err));
    json_t *request = json_pack("{s:s}", "do", "characterize");
    sq_status s = request ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    if (s == SQ_OK)
        sq_client_send(client, request, NULL); /* a dead worker is found by receiving */
    if (s == SQ_OK)
        s = listen_to(client, observer, err);
    json_decref(request);
    if (s == SQ_OK)
        sq_client_stop(client);
    else
        sq_client_kill(client);
    return s;
}
