/* worker: reads requests, answers them. One line in, one answer out, stages in between. */
#include "bench/worker/worker.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/verify/fuzz.h"
#include "bench/verify/verify.h"
#include "bench/wire.h"
#include "bench/worker/characterize.h"
#include "bench/worker/environment.h"
#include "bench/worker/profiling.h"
#include "bench/worker/session.h"

typedef struct {
    sq_session session;
    sq_device device;
    int out_fd;
    bool is_gone; /* the parent no longer reads, or the device no longer works */
    int exit_code;
} server;

/* --- sending --- */

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        length -= (size_t)n;
    }
    return true;
}

static void leave(server *s, int exit_code)
{
    s->is_gone = true;
    s->exit_code = exit_code;
}

/* Sends and releases `json`; NULL is what jansson makes of a lack of memory. */
static void reply(server *s, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    bool is_sent =
        text && write_all(s->out_fd, text, strlen(text)) && write_all(s->out_fd, "\n", 1);
    free(text);
    json_decref(json);
    if (!is_sent)
        leave(s, SQ_WORKER_FAILED);
}

static void send_error(server *s, const char *message)
{
    reply(s, json_pack("{ss ss}", "is", "error", "message", message));
}

static void send_stage(void *arg, const char *stage)
{
    reply(arg, json_pack("{ss ss}", "is", "stage", "stage", stage));
}

/* --- requests --- */

static json_t *list_providers(sq_providers_fn providers)
{
    json_t *all = json_object();
    for (int i = 0; sq_ops[i]; i++) {
        json_t *names = json_array();
        for (const sq_provider *p = providers(sq_ops[i]); p->name; p++)
            json_array_append_new(names, json_string(p->name));
        json_object_set_new(all, sq_ops[i]->name, names);
    }
    return all;
}

static sq_status do_hello(server *s, const json_t *request, sq_error *err)
{
    (void)request;
    (void)err;
    sq_environment environment;
    sq_environment_read(&s->device, &environment);
    reply(s, json_pack("{ss so so so}", "is", "hello", "device", sq_wire_device(&s->device),
                       "environment", sq_wire_environment(&environment), "providers",
                       list_providers(s->session.rig.providers)));
    return SQ_OK;
}

static json_t *write_ceilings(const sq_ceilings *ceilings)
{
    json_t *array = json_array();
    for (int i = 0; i < ceilings->n; i++)
        json_array_append_new(array, sq_wire_ceiling(&ceilings->ceiling[i]));
    return array;
}

static void alive_at_ceilings(void *arg)
{
    send_stage(arg, "ceilings");
}

static sq_status do_ceilings(server *s, const json_t *request, sq_error *err)
{
    (void)request;
    alive_at_ceilings(s);
    SQ_TRY(sq_ceilings_measure(&s->session.rig, alive_at_ceilings, s, &s->session.ceilings, err));
    reply(s,
          json_pack("{ss so}", "is", "ceilings", "ceilings", write_ceilings(&s->session.ceilings)));
    return SQ_OK;
}

static sq_status send_ceiling(void *arg, const sq_ceiling *ceiling, sq_error *err)
{
    server *s = arg;
    reply(s, json_pack("{ss so}", "is", "ceiling", "ceiling", sq_wire_ceiling(ceiling)));
    return s->is_gone ? sq_fail(err, SQ_IO, "nobody listens") : SQ_OK;
}

static void send_absent(void *arg, const char *name, const char *reason)
{
    reply(arg, json_pack("{ss ss ss}", "is", "absent", "name", name, "reason", reason));
}

static void alive_at_probe(void *arg)
{
    send_stage(arg, "characterize");
}

static sq_status do_characterize(server *s, const json_t *request, sq_error *err)
{
    (void)request;
    const sq_ceiling_listener listener = {
        .arg = s, .take = send_ceiling, .absent = send_absent, .alive = alive_at_probe};
    SQ_TRY(sq_characterize(&s->session.rig, &listener, err));
    reply(s, json_pack("{ss}", "is", "done"));
    return SQ_OK;
}

static sq_status do_set_ceilings(server *s, const json_t *request, sq_error *err)
{
    const json_t *array = json_object_get(request, "ceilings");
    size_t count = json_array_size(array);
    sq_ceilings ceilings = {.n = (int)count};
    if (!json_is_array(array) || count > SQ_MAX_CEILINGS)
        return sq_fail(err, SQ_BAD_ARGUMENT, "set-ceilings: needs an array of at most %d",
                       SQ_MAX_CEILINGS);
    for (size_t i = 0; i < count; i++)
        SQ_TRY(sq_wire_ceiling_parse(json_array_get(array, i), &ceilings.ceiling[i], err));
    s->session.ceilings = ceilings;
    reply(s, json_pack("{ss}", "is", "done"));
    return SQ_OK;
}

static uint64_t read_seed(const json_t *request)
{
    const char *seed = json_string_value(json_object_get(request, "seed"));
    return seed ? strtoull(seed, NULL, 10) : 0;
}

static sq_status read_task(const json_t *request, sq_task *task, sq_error *err)
{
    const char *key = json_string_value(json_object_get(request, "cell"));
    const char *proved = json_string_value(json_object_get(request, "proved"));
    const json_t *policy = json_object_get(request, "policy");
    memset(task, 0, sizeof *task);
    if (!key)
        return sq_fail(err, SQ_BAD_ARGUMENT, "the request names no cell");
    SQ_TRY(sq_cell_parse(key, &task->cell, &task->subject, err));
    task->seed = read_seed(request);
    snprintf(task->proved, sizeof task->proved, "%s", proved ? proved : "");
    return policy ? sq_wire_policy_parse(policy, &task->policy, err) : SQ_OK;
}

/* A count of bytes, or null where it is unknown. */
static json_t *write_bytes(double bytes)
{
    return isnan(bytes) ? json_null() : json_integer((json_int_t)bytes);
}

static sq_status do_check(server *s, const json_t *request, sq_error *err)
{
    sq_task task;
    sq_fit fit;
    SQ_TRY(read_task(request, &task, err));
    sq_session_check(&s->session, &task, &fit);
    reply(s,
          json_pack("{ss sO sb ss so so}", "is", "check", "cell", json_object_get(request, "cell"),
                    "supported", fit.is_supported, "reason", fit.reason, "bytes",
                    write_bytes(fit.bytes), "free_bytes", write_bytes(fit.free_bytes)));
    return SQ_OK;
}

/* Whether the device does not recover from what happened. */
static bool is_sick(const server *s)
{
    const sq_rig *rig = &s->session.rig;
    sq_error err = {.status = SQ_OK};
    return rig->backend->sync(rig->device, &err) != SQ_OK &&
           rig->backend->sync(rig->device, &err) != SQ_OK;
}

static void send_record(server *s, sq_record *record)
{
    const bool must_leave = record->status == SQ_RUN_ERROR && is_sick(s);
    reply(s, json_pack("{ss so}", "is", "record", "record", sq_wire_record(record)));
    sq_record_free(record);
    if (must_leave && !s->is_gone)
        leave(s, SQ_WORKER_STICKY);
}

static sq_status do_run(server *s, const json_t *request, sq_error *err)
{
    sq_task task;
    sq_record record;
    SQ_TRY(read_task(request, &task, err));
    if (!json_object_get(request, "policy"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "run: no policy");
    sq_session_run(&s->session, &task, &record);
    send_record(s, &record);
    return SQ_OK;
}

static sq_status do_profile(server *s, const json_t *request, sq_error *err)
{
    const char *sets = json_string_value(json_object_get(request, "set"));
    sq_task task;
    sq_record record;
    SQ_TRY(read_task(request, &task, err));
    sq_session_profile(&s->session, &task, sets ? sets : "basic", &record);
    send_record(s, &record);
    return SQ_OK;
}

/* NAN travels as null. */
static json_t *write_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

enum { SUSTAIN_MOST_SECONDS = 600 };

static json_t *write_points(const sq_sustain_point *points, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        const sq_sustain_point *p = &points[i];
        json_array_append_new(array, json_pack("[ffooo]", p->seconds, p->launches_per_s,
                                               write_number(p->sm_mhz), write_number(p->power_w),
                                               write_number(p->temperature_c)));
    }
    return array;
}

static sq_status do_sustain(server *s, const json_t *request, sq_error *err)
{
    sq_task task;
    int n;
    double seconds = json_number_value(json_object_get(request, "seconds"));
    SQ_TRY(read_task(request, &task, err));
    if (!(seconds > 0 && seconds <= SUSTAIN_MOST_SECONDS))
        return sq_fail(err, SQ_BAD_ARGUMENT, "sustain: \"seconds\" must be above 0, at most %d",
                       SUSTAIN_MOST_SECONDS);
    sq_sustain_point *points = calloc(SQ_SUSTAIN_MAX_POINTS, sizeof *points);
    if (!points)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "sustain: no memory");
    sq_status status = sq_session_sustain(&s->session, &task, seconds, points, &n, err);
    if (status == SQ_OK)
        reply(s, json_pack("{ss so}", "is", "sustain", "points", write_points(points, n)));
    free(points);
    return status;
}

static json_t *write_rows(const sq_timeline *timeline)
{
    json_t *rows = json_array();
    const double *value = timeline->rows;
    for (int i = 0; i < timeline->n_rows; i++) {
        json_t *row = json_array();
        for (int k = 0; k <= timeline->n_metrics; k++)
            json_array_append_new(row, write_number(*value++));
        json_array_append_new(rows, row);
    }
    return rows;
}

static sq_status do_timeline(server *s, const json_t *request, sq_error *err)
{
    sq_task task;
    sq_timeline timeline;
    SQ_TRY(read_task(request, &task, err));
    SQ_TRY(sq_session_timeline(&s->session, &task, &timeline, err));
    json_t *metrics = json_array();
    for (int i = 0; i < timeline.n_metrics; i++)
        json_array_append_new(metrics, json_string(timeline.metrics[i]));
    reply(s, json_pack("{ss ss so si si so so}", "is", "timeline", "validity", timeline.validity,
                       "interval_ns", write_number(timeline.interval_ns), "launches",
                       timeline.n_launches, "dropped", timeline.n_dropped, "metrics", metrics,
                       "rows", write_rows(&timeline)));
    sq_timeline_free(&timeline);
    return SQ_OK;
}

static sq_status do_launch(server *s, const json_t *request, sq_error *err)
{
    sq_task task;
    SQ_TRY(read_task(request, &task, err));
    SQ_TRY(sq_session_launch(&s->session, &task, err));
    reply(s, json_pack("{ss}", "is", "done"));
    return SQ_OK;
}

static sq_status read_paths(const json_t *request, const char *paths[SQ_MAX_OUT], int *n,
                            sq_error *err)
{
    const json_t *array = json_object_get(request, "outputs");
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > SQ_MAX_OUT)
        return sq_fail(err, SQ_BAD_ARGUMENT, "prove: needs at most %d outputs", SQ_MAX_OUT);
    *n = (int)count;
    for (size_t i = 0; i < count; i++)
        if (!(paths[i] = json_string_value(json_array_get(array, i))))
            return sq_fail(err, SQ_BAD_ARGUMENT, "prove: an output is no path");
    return SQ_OK;
}

static sq_status do_prove(server *s, const json_t *request, sq_error *err)
{
    const char *paths[SQ_MAX_OUT];
    const json_t *device = json_object_get(request, "device");
    sq_device measured = s->device;
    sq_task task;
    sq_record record;
    int n = 0;
    SQ_TRY(read_task(request, &task, err));
    if (!json_object_get(request, "policy"))
        return sq_fail(err, SQ_BAD_ARGUMENT, "prove: no policy");
    SQ_TRY(read_paths(request, paths, &n, err));
    if (device)
        SQ_TRY(sq_wire_device_parse(device, &measured, err));
    sq_session_prove(&s->session, &task, paths, n, &measured, &record);
    send_record(s, &record);
    return SQ_OK;
}

static void send_verification(server *s, const sq_verification *v)
{
    reply(s, json_pack("{ss ss ss ss ss ss ss ss so so so}", "is", "verification", "case", v->name,
                       "kind", v->kind, "subject", v->subject, "verdict",
                       sq_verdict_name(v->verdict), "reason", v->reason, "provider", v->provider,
                       "tensor", v->tensor, "rel_l2", write_number(v->rel_l2), "max_abs",
                       write_number(v->max_abs), "tolerance", write_number(v->tolerance)));
}

/* A failure that the device does not recover from ends this process as a crash does: it is no
 * refusal, and the next request needs another process. */
static sq_status refuse_or_leave(server *s, sq_status status, const sq_error *err)
{
    if (!is_sick(s))
        return status;
    fprintf(stderr, "%s\n", err->message);
    leave(s, SQ_WORKER_STICKY);
    return SQ_OK;
}

static sq_status do_verify(server *s, const json_t *request, sq_error *err)
{
    const char *folder = json_string_value(json_object_get(request, "case"));
    const char *dtype_name = json_string_value(json_object_get(request, "dtype"));
    sq_dtype dtype;
    sq_verification v;
    if (!folder || !dtype_name)
        return sq_fail(err, SQ_BAD_ARGUMENT, "verify: needs a case and a dtype");
    SQ_TRY(sq_dtype_parse(dtype_name, &dtype, err));
    const sq_status status = sq_verify_case(&s->session.rig, folder, dtype, &v, err);
    if (status != SQ_OK)
        return refuse_or_leave(s, status, err);
    send_verification(s, &v);
    return SQ_OK;
}

/* Which cell the fuzz of this seed proves: known before anything runs that may end this process. */
static sq_status do_draw(server *s, const json_t *request, sq_error *err)
{
    const char *op = json_string_value(json_object_get(request, "op"));
    const char *provider = json_string_value(json_object_get(request, "provider"));
    const uint64_t seed = read_seed(request);
    char key[SQ_KEY_MAX];
    sq_replay drawn;
    SQ_TRY(sq_fuzz_draw(&s->session.rig, seed, op, provider,
                        json_number_value(json_object_get(request, "max_work")), &drawn, err));
    sq_cell_key(&drawn.cell, key);
    reply(s, json_pack("{ss ss ss ss}", "is", "drawn", "cell", key, "layout",
                       sq_layout_name(drawn.layout), "values", sq_values_name(drawn.values)));
    return SQ_OK;
}

static sq_status do_replay(server *s, const json_t *request, sq_error *err)
{
    const char *layout = json_string_value(json_object_get(request, "layout"));
    const char *values = json_string_value(json_object_get(request, "values"));
    sq_task task;
    sq_verification v;
    SQ_TRY(read_task(request, &task, err));
    sq_replay replay = {.cell = task.cell, .subject = task.subject, .seed = task.seed};
    SQ_TRY(sq_layout_parse(layout ? layout : "dense", &replay.layout, err));
    SQ_TRY(sq_values_parse(values ? values : "usual", &replay.values, err));
    const double max_work = json_number_value(json_object_get(request, "max_work"));
    const sq_status status = sq_replay_run(&s->session.rig, &replay, max_work, &v, err);
    if (status != SQ_OK)
        return refuse_or_leave(s, status, err);
    send_verification(s, &v);
    return SQ_OK;
}

static const struct {
    const char *name;
    sq_status (*serve)(server *s, const json_t *request, sq_error *err);
} verbs[] = {
    {"hello", do_hello},       {"check", do_check},
    {"ceilings", do_ceilings}, {"set-ceilings", do_set_ceilings},
    {"characterize", do_characterize},
    {"run", do_run},           {"profile", do_profile},
    {"sustain", do_sustain},   {"timeline", do_timeline},
    {"launch", do_launch},
    {"prove", do_prove},       {"verify", do_verify},
    {"draw", do_draw},         {"replay", do_replay},
};

static sq_status serve_request(server *s, const json_t *request, sq_error *err)
{
    const char *name = json_string_value(json_object_get(request, "do"));
    if (!name)
        return sq_fail(err, SQ_BAD_ARGUMENT, "a request needs \"do\"");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return verbs[i].serve(s, request, err);
    return sq_fail(err, SQ_BAD_ARGUMENT, "unknown request \"%s\"", name);
}

static void serve_line(server *s, const char *line)
{
    json_error_t where;
    sq_error err = {.status = SQ_OK};
    json_t *request = json_loads(line, 0, &where);
    if (!request) {
        send_error(s, where.text);
        return;
    }
    if (serve_request(s, request, &err) != SQ_OK)
        send_error(s, err.message[0] ? err.message : sq_status_text(err.status));
    json_decref(request);
}

static void serve_lines(server *s, FILE *in)
{
    char *line = NULL;
    size_t size = 0;
    while (!s->is_gone && getline(&line, &size, in) > 0)
        serve_line(s, line);
    free(line);
}

/* --- life --- */

static sq_status open_device(const sq_worker_options *options, server *s, sq_error *err)
{
    sq_rig *rig = &s->session.rig;
    int count = options->backend->count(err);
    if (count == 0)
        return err->status != SQ_OK ? err->status : sq_fail(err, SQ_DEVICE, "no device");
    if (options->device < 0 || options->device >= count)
        return sq_fail(err, SQ_BAD_ARGUMENT, "there is no device %d: %s has %d", options->device,
                       options->backend->name, count);
    SQ_TRY(options->backend->open(options->device, &rig->device, err));
    s->device = *options->backend->facts(rig->device);
    return SQ_OK;
}

int sq_worker_serve(const sq_worker_options *options)
{
    server s = {.session = {.rig = {.backend = options->backend,
                                    .providers = options->providers,
                                    .fusions = options->fusions,
                                    .vendor_probes = options->vendor_probes},
                            .on_stage = send_stage},
                .out_fd = options->out_fd};
    s.session.arg = &s;
    sq_error err = {.status = SQ_OK};
    if (open_device(options, &s, &err) != SQ_OK) {
        send_error(&s, err.message);
        return SQ_WORKER_NO_DEVICE;
    }
    FILE *in = fdopen(options->in_fd, "r");
    if (in) {
        serve_lines(&s, in);
        fclose(in);
    } else {
        send_error(&s, "the requests cannot be read");
        s.exit_code = SQ_WORKER_FAILED;
    }
    sq_session_close(&s.session);
    s.session.rig.backend->close(s.session.rig.device);
    return s.exit_code;
}
