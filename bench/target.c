/* target: see target.h. */
#include "bench/target.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/gpu_lock.h"
#include "bench/paths.h"
#include "bench/wire.h"

/* Opening a CUDA context on a busy node takes seconds. */
static const double hello_seconds = 60;

sq_status sq_target_start_worker(const sq_target *target, sq_client **out, sq_error *err)
{
    return sq_client_start(target->argv, out, err);
}

sq_status sq_target_start_cpu_worker(sq_client **out, sq_error *err)
{
    char program[1024];
    const char *argv[] = {program, "--worker", "cpu", NULL};
    *out = NULL;
    if (!sq_program_path(program, sizeof program))
        return sq_fail(err, SQ_IO, "cannot find this program's own path");
    return sq_client_start(argv, out, err);
}

static sq_status read_hello(const json_t *hello, sq_target *out, sq_error *err)
{
    const char *is = json_string_value(json_object_get(hello, "is"));
    const char *message = json_string_value(json_object_get(hello, "message"));
    if (!is || strcmp(is, "hello") != 0)
        return sq_fail(err, SQ_DEVICE, "%s", message ? message : "the worker does not greet");
    SQ_TRY(sq_wire_device_parse(json_object_get(hello, "device"), &out->device, err));
    SQ_TRY(
        sq_wire_environment_parse(json_object_get(hello, "environment"), &out->environment, err));
    snprintf(out->catalog.backend, sizeof out->catalog.backend, "%s", out->device.backend);
    return sq_catalog_parse(json_object_get(hello, "providers"), &out->catalog, err);
}

static sq_status greet(sq_target *out, sq_error *err)
{
    sq_client *client = NULL;
    json_t *request = json_pack("{s:s}", "do", "hello"), *hello = NULL;
    sq_status s = request ? sq_client_start(out->argv, &client, err)
                          : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    if (s == SQ_OK) {
        /* A worker that ended at once is best described by its own end, not by the broken pipe. */
        sq_client_send(client, request, NULL);
        s = sq_client_receive(client, hello_seconds, &hello, err);
    }
    if (s == SQ_OK)
        s = read_hello(hello, out, err);
    json_decref(hello);
    json_decref(request);
    if (s == SQ_TIMEOUT)
        sq_client_kill(client);
    else
        sq_client_stop(client);
    return s;
}

static sq_status open_cpu(sq_target *out, sq_error *err)
{
    strcpy(out->name, "cpu");
    if (!sq_program_path(out->program, sizeof out->program))
        return sq_fail(err, SQ_IO, "cannot find this program's own path");
    const char *argv[] = {out->program, "--worker", "cpu", NULL};
    memcpy(out->argv, argv, sizeof argv);
    return greet(out, err);
}

static sq_status open_cuda(const char *index, sq_target *out, sq_error *err)
{
    snprintf(out->name, sizeof out->name, "%s", index);
    if (!sq_cuda_worker_path(out->program, sizeof out->program))
        return sq_fail(err, SQ_DEVICE,
                       "no seqmark-worker beside this program, in "
                       "$SEQMARK_WORKER or on PATH");
    const char *argv[] = {out->program, "--device", out->name, NULL};
    memcpy(out->argv, argv, sizeof argv);
    return greet(out, err);
}

static bool is_index(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n > 0 && n < 4 && !text[n];
}

sq_status sq_target_open(const char *device, sq_target *out, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    if (device && strcmp(device, "cpu") == 0)
        return open_cpu(out, err);
    if (device && !is_index(device))
        return sq_fail(err, SQ_BAD_ARGUMENT, "--device \"%s\": cpu, or the number of a GPU",
                       device);
    sq_status s = open_cuda(device ? device : "0", out, &why);
    if (s == SQ_OK)
        return SQ_OK;
    sq_target_close(out);
    if (device)
        return sq_fail(err, SQ_DEVICE, "device %s: %s", device, why.message);
    snprintf(out->note, sizeof out->note, "%.390s", why.message);
    return open_cpu(out, err);
}

sq_status sq_target_open_tree(const sq_target *like, const char *tree, sq_target *out,
                              sq_error *err)
{
    bool is_cpu = strcmp(like->device.backend, "cpu") == 0;
    snprintf(out->name, sizeof out->name, "%s", like->name);
    int n = snprintf(out->program, sizeof out->program, "%s/bin/%s", tree,
                     is_cpu ? "seqmark" : "seqmark-worker");
    if (n >= (int)sizeof out->program || access(out->program, X_OK) != 0)
        return sq_fail(err, SQ_IO, "no program to run in %.300s", tree);
    const char *argv[] = {out->program, is_cpu ? "--worker" : "--device",
                          is_cpu ? "cpu" : out->name, NULL};
    memcpy(out->argv, argv, sizeof argv);
    SQ_TRY(greet(out, err));
    return strcmp(out->device.uuid, like->device.uuid) == 0
               ? SQ_OK
               : sq_fail(err, SQ_DEVICE, "the program in %.300s finds another device", tree);
}

void sq_target_close(sq_target *target)
{
    if (target->is_held)
        sq_gpu_lock_drop(target->lock_fd);
    sq_catalog_free(&target->catalog);
    *target = (sq_target){.name = ""};
}

sq_status sq_target_hold(sq_target *target, const char *command, sq_error *err)
{
    SQ_TRY(sq_gpu_lock_take(&target->device, command, &target->lock_fd, err));
    target->is_held = true;
    return SQ_OK;
}
