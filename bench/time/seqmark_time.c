/* seqmark_time: the C ABI over sampling.h. */
#include "bench/time/seqmark_time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/time/watch.h"

struct sqt_timer {
    const sq_backend *backend;
    sq_backend_device *device;
    sq_nvml *nvml; /* NULL on the CPU, and where NVML cannot be had */
    sq_driver_watch watch;
    sq_error err;
};

static _Thread_local sq_error open_err; /* a failed open leaves no timer to ask */

int sqt_abi(void)
{
    return SQT_ABI;
}

static int code_of(sq_status status)
{
    switch (status) {
    case SQ_OK:
        return SQT_OK;
    case SQ_BAD_ARGUMENT:
    case SQ_BAD_SHAPE:
        return SQT_BAD_ARGUMENT;
    case SQ_UNSUPPORTED:
        return SQT_UNSUPPORTED;
    case SQ_OUT_OF_MEMORY:
        return SQT_OUT_OF_MEMORY;
    case SQ_DEVICE:
        return SQT_DEVICE_FAILED;
    case SQ_INTERRUPTED:
        return SQT_LAUNCH_FAILED;
    default:
        return SQT_INTERNAL;
    }
}

/* --- life --- */

static const sq_backend *backend_named(const char *name)
{
    static const sq_backend *const backends[] = {
        &sq_backend_cpu,
#ifdef SQ_WITH_CUDA
        &sq_backend_cuda,
#endif
    };
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

static sq_status find_device(const char *text, const sq_backend **backend, int *index,
                             sq_error *err)
{
    char *end = NULL;
    *index = 0;
    *backend = &sq_backend_cpu;
    if (strcmp(text, "cpu") == 0)
        return SQ_OK;
    long number = strtol(text, &end, 10);
    if (end == text || *end || number < 0 || number > 1023)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "device \"%.32s\" is neither cpu nor the number of a GPU", text);
    *backend = backend_named("cuda");
    if (!*backend)
        return sq_fail(err, SQ_UNSUPPORTED, "this library was built without CUDA");
    int count = (*backend)->count(err);
    if (count == 0)
        return SQ_UNSUPPORTED;
    if (number >= count)
        return sq_fail(err, SQ_UNSUPPORTED, "device %ld: there are %d", number, count);
    *index = (int)number;
    return SQ_OK;
}

static sq_status open_timer(const char *device, void *stream, sqt_timer *timer, sq_error *err)
{
    int index;
    if (!device)
        return sq_fail(err, SQ_BAD_ARGUMENT, "sqt_open: device is NULL");
    SQ_TRY(find_device(device, &timer->backend, &index, err));
    SQ_TRY(timer->backend->open(index, &timer->device, err));
    if (timer->backend != &sq_backend_cpu)
        (void)sq_nvml_open(timer->backend->facts(timer->device)->pci, &timer->nvml, NULL);
    if (!stream)
        return SQ_OK;
    if (!timer->backend->use_stream)
        return sq_fail(err, SQ_UNSUPPORTED, "backend %s has no streams", timer->backend->name);
    return timer->backend->use_stream(timer->device, stream, err);
}

int sqt_open(const char *device, void *stream, sqt_timer **out)
{
    sqt_timer *timer = calloc(1, sizeof *timer);
    sq_status status = SQ_OK;
    open_err = (sq_error){.status = SQ_OK};
    if (!out)
        status = sq_fail(&open_err, SQ_BAD_ARGUMENT, "sqt_open: out is NULL");
    else if (!timer)
        status = sq_fail(&open_err, SQ_OUT_OF_MEMORY, "sqt_open: no memory");
    else
        status = open_timer(device, stream, timer, &open_err);
    if (out)
        *out = status == SQ_OK ? timer : NULL;
    if (status != SQ_OK)
        sqt_close(timer);
    return code_of(status);
}

void sqt_close(sqt_timer *timer)
{
    if (!timer)
        return;
    if (timer->device)
        timer->backend->close(timer->device);
    sq_nvml_close(timer->nvml);
    free(timer);
}

const char *sqt_message(const sqt_timer *timer)
{
    return timer ? timer->err.message : open_err.message;
}

void *sqt_stream(sqt_timer *timer)
{
    return timer ? timer->backend->stream(timer->device) : NULL;
}

/* What every call starts with: a timer, and no message left from the call before. */
static sq_error *start(sqt_timer *timer)
{
    sq_error *err = timer ? &timer->err : &open_err;
    *err = (sq_error){.status = SQ_OK};
    return err;
}

/* --- inputs --- */

static sq_status fill(sqt_timer *timer, void *data, const char *dtype, int64_t count,
                      const char *draw, uint64_t seed, uint32_t id, sq_error *err)
{
    sq_dtype type;
    sq_draw drawn;
    if (!timer || !dtype || !draw || (!data && count > 0))
        return sq_fail(err, SQ_BAD_ARGUMENT, "sqt_fill: timer, data, dtype or draw is NULL");
    if (count < 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "sqt_fill: %lld elements", (long long)count);
    SQ_TRY(sq_dtype_parse(dtype, &type, err));
    SQ_TRY(sq_draw_parse(draw, &drawn, err));
    sq_tensor tensor = sq_tensor_dense(data, type, 1, &count);
    return timer->backend->fill(timer->device, &tensor, 0, drawn, seed, id, err);
}

int sqt_fill(sqt_timer *timer, void *data, const char *dtype, int64_t count, const char *draw,
             uint64_t seed, uint32_t id)
{
    return code_of(fill(timer, data, dtype, count, draw, seed, id, start(timer)));
}

/* --- time --- */

static sq_status cool(sqt_timer *timer, sq_error *err)
{
    if (!timer)
        return sq_fail(err, SQ_BAD_ARGUMENT, "sqt_cool: timer is NULL");
    return timer->backend->cool(timer->device, err);
}

int sqt_cool(sqt_timer *timer)
{
    return code_of(cool(timer, start(timer)));
}

typedef struct {
    sqt_launch launch;
    void *arg;
} caller;

static sq_status launch_caller(void *arg, int copy, sq_error *err)
{
    const caller *c = arg;
    int code = c->launch(c->arg, copy);
    return code == 0 ? SQ_OK
                     : sq_fail(err, SQ_INTERRUPTED, "the launch returned %d (copy %d)", code, copy);
}

static sq_status measure(sqt_timer *timer, const sqt_policy *policy, const char *cache,
                         const char *mode, const sq_sampling *what, int32_t *samples,
                         sqt_result *result, sq_error *err)
{
    sq_sampling sampling = *what;
    const caller *c = what->arg;
    if (!timer || !policy || !cache || !mode || !c->launch || !samples || !result)
        return sq_fail(
            err, SQ_BAD_ARGUMENT,
            "sqt_measure: timer, policy, cache, mode, launch, samples or result is NULL");
    SQ_TRY(sq_cache_parse(cache, &sampling.cache, err));
    SQ_TRY(sq_launch_parse(mode, &sampling.mode, err));
    sampling.backend = timer->backend;
    sampling.device = timer->device;
    sampling.watch = sq_watch_driver(timer->nvml, &timer->watch);
    return sq_sampling_run(&sampling, policy, samples, result, err);
}

int sqt_measure(sqt_timer *timer, const sqt_policy *policy, const char *cache, const char *mode,
                int copies, sqt_launch launch, void *arg, int32_t *samples, sqt_result *result)
{
    caller c = {launch, arg};
    sq_sampling what = {.copies = copies, .launch = launch_caller, .arg = &c};
    return code_of(measure(timer, policy, cache, mode, &what, samples, result, start(timer)));
}
