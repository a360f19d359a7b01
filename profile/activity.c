#include "profile/activity.h"

#ifdef SQ_HAS_CUPTI

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 20, MAX_KERNELS = 4096 };

typedef struct {
    uint64_t start;
    sq_kernel_record kernel;
} traced_kernel;

/* CUPTI's callbacks carry no argument, and run on CUPTI's thread: the one global of this module. */
static struct {
    pthread_mutex_t lock;
    const sq_cupti *api;
    traced_kernel kernels[MAX_KERNELS];
    int n, n_lost; /* lost: beyond MAX_KERNELS or without timestamps */
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void CUPTIAPI request_buffer(uint8_t **buffer, size_t *size, size_t *max_records)
{
    void *memory = NULL;
    *max_records = 0;
    *size = posix_memalign(&memory, 64, BUFFER_BYTES) == 0 ? BUFFER_BYTES : 0;
    *buffer = memory;
}

static void take_kernel(const CUpti_ActivityKernel10 *k)
{
    if (trace.n == MAX_KERNELS || k->start == 0 || k->end == 0) {
        trace.n_lost++;
        return;
    }
    traced_kernel *out = &trace.kernels[trace.n++];
    *out =
        (traced_kernel){.start = k->start,
                        .kernel = {.ns = (int64_t)(k->end - k->start),
                                   .grid = {k->gridX, k->gridY, k->gridZ},
                                   .block = {k->blockX, k->blockY, k->blockZ},
                                   .registers = k->registersPerThread,
                                   .shared_bytes = k->staticSharedMemory + k->dynamicSharedMemory}};
    snprintf(out->kernel.name, sizeof out->kernel.name, "%s", k->name ? k->name : "?");
}

static void CUPTIAPI complete_buffer(CUcontext context, uint32_t stream, uint8_t *buffer,
                                     size_t size, size_t valid)
{
    (void)context;
    (void)stream;
    (void)size;
    CUpti_Activity *record = NULL;
    pthread_mutex_lock(&trace.lock);
    while (valid > 0 &&
           trace.api->cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS)
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
            take_kernel((const CUpti_ActivityKernel10 *)record);
    pthread_mutex_unlock(&trace.lock);
    free(buffer);
}

sq_status sq_activity_register(const sq_cupti *api, sq_error *err)
{
    char why[160];
    trace.api = api;
    CUptiResult code = api->cuptiActivityRegisterCallbacks(request_buffer, complete_buffer);
    if (code == CUPTI_SUCCESS)
        return SQ_OK;
    sq_cupti_explain(api, code, why, sizeof why);
    return sq_fail(err, SQ_UNSUPPORTED, "kernel trace refused: %s", why);
}

static void clear_trace(void)
{
    pthread_mutex_lock(&trace.lock);
    trace.n = trace.n_lost = 0;
    pthread_mutex_unlock(&trace.lock);
}

static int by_start(const void *a, const void *b)
{
    uint64_t x = ((const traced_kernel *)a)->start, y = ((const traced_kernel *)b)->start;
    return (x > y) - (x < y);
}

static sq_status hand_over(sq_record *record)
{
    sq_status status = SQ_OK;
    pthread_mutex_lock(&trace.lock);
    qsort(trace.kernels, (size_t)trace.n, sizeof *trace.kernels, by_start);
    for (int i = 0; i < trace.n && status == SQ_OK; i++)
        status = sq_record_add_kernel(record, &trace.kernels[i].kernel);
    if (status == SQ_OK && trace.n_lost > 0)
        status = sq_record_add_number(record, "kernels_lost", trace.n_lost);
    pthread_mutex_unlock(&trace.lock);
    return status;
}

/* Everything between enabling and disabling; what `reset` launched is dropped. */
static sq_status trace_launch(const sq_cupti *api, sq_launch_fn launch, sq_launch_fn reset,
                              sq_launch_fn sync, void *arg, sq_error *err)
{
    if (reset) {
        SQ_TRY(reset(arg, err));
        SQ_TRY(sync(arg, err));
        api->cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    }
    clear_trace();
    SQ_TRY(launch(arg, err));
    SQ_TRY(sync(arg, err));
    api->cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    return SQ_OK;
}

sq_status sq_activity_trace(const sq_cupti *api, sq_launch_fn launch, sq_launch_fn reset,
                            sq_launch_fn sync, void *arg, sq_record *record, sq_error *err)
{
    char why[160];
    CUptiResult code = api->cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    if (code != CUPTI_SUCCESS) {
        sq_cupti_explain(api, code, why, sizeof why);
        return sq_fail(err, SQ_UNSUPPORTED, "kernel trace refused: %s", why);
    }
    sq_status status = trace_launch(api, launch, reset, sync, arg, err);
    api->cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    return status == SQ_OK ? hand_over(record) : status;
}

#else
typedef int sq_no_activity; /* ISO C wants a declaration in every file */
#endif
