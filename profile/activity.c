#include "profile/activity.h"

#ifdef SQ_HAS_CUPTI

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile/counts.h"
#include "profile/demangle.h"

enum { BUFFER_BYTES = 1 << 20, MAX_KERNELS = 4096 };

typedef struct {
    uint64_t start;
    sq_kernel_record kernel;
} traced_kernel;

typedef struct {
    traced_kernel *kernels;
    int n, n_lost;
    double sum_ns;
} traced_launch;

/* CUPTI's callbacks carry no argument, and run on CUPTI's thread: the one global of this module. */
static struct {
    pthread_mutex_t lock;
    const sq_cupti *api;
    traced_kernel kernels[MAX_KERNELS];
    int n, n_lost; /* lost: beyond MAX_KERNELS or without timestamps */
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- what CUPTI calls --- */

static void CUPTIAPI request_buffer(uint8_t **buffer, size_t *size, size_t *max_records)
{
    void *memory = NULL;
    *max_records = 0;
    *size = posix_memalign(&memory, 64, BUFFER_BYTES) == 0 ? BUFFER_BYTES : 0;
    *buffer = memory;
}

/* A new slot, or NULL where it cannot be kept. */
static sq_kernel_record *take(uint64_t start, uint64_t end, const char *symbol)
{
    if (trace.n == MAX_KERNELS || start == 0 || end == 0) {
        trace.n_lost++;
        return NULL;
    }
    traced_kernel *out = &trace.kernels[trace.n++];
    *out = (traced_kernel){.start = start, .kernel = {.ns = (int64_t)(end - start)}};
    snprintf(out->kernel.symbol, sizeof out->kernel.symbol, "%s", symbol ? symbol : "?");
    return &out->kernel;
}

static void take_kernel(const CUpti_ActivityKernel10 *k)
{
    sq_kernel_record *out = take(k->start, k->end, k->name);
    if (!out)
        return;
    const int32_t grid[3] = {k->gridX, k->gridY, k->gridZ};
    const int32_t block[3] = {k->blockX, k->blockY, k->blockZ};
    memcpy(out->grid, grid, sizeof grid);
    memcpy(out->block, block, sizeof block);
    out->registers = k->registersPerThread;
    out->shared_bytes = k->staticSharedMemory + k->dynamicSharedMemory;
}

static void take_record(const CUpti_Activity *record)
{
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
        take_kernel((const CUpti_ActivityKernel10 *)record);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
        const CUpti_ActivityMemcpy6 *copy = (const CUpti_ActivityMemcpy6 *)record;
        take(copy->start, copy->end, "[memcpy]");
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
        const CUpti_ActivityMemset4 *fill = (const CUpti_ActivityMemset4 *)record;
        take(fill->start, fill->end, "[memset]");
    }
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
        take_record(record);
    pthread_mutex_unlock(&trace.lock);
    free(buffer);
}

sq_status sq_activity_register(const sq_cupti *api, sq_error *err)
{
    trace.api = api;
    return sq_cupti_judge(api, api->cuptiActivityRegisterCallbacks(request_buffer, complete_buffer),
                          "kernel trace", err);
}

/* --- launches --- */

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

static sq_status take_launch(traced_launch *out, sq_error *err)
{
    sq_status status = SQ_OK;
    pthread_mutex_lock(&trace.lock);
    *out = (traced_launch){.n = trace.n,
                           .n_lost = trace.n_lost,
                           .kernels = malloc((size_t)(trace.n + 1) * sizeof *out->kernels)};
    if (out->kernels) {
        memcpy(out->kernels, trace.kernels, (size_t)trace.n * sizeof *out->kernels);
        qsort(out->kernels, (size_t)out->n, sizeof *out->kernels, by_start);
        for (int i = 0; i < out->n; i++)
            out->sum_ns += (double)out->kernels[i].kernel.ns;
    } else {
        status = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a trace of %d kernels", trace.n);
    }
    pthread_mutex_unlock(&trace.lock);
    return status;
}

/* What `reset` launched is dropped. */
static sq_status trace_launch(const sq_cupti *api, const sq_launches *l, traced_launch *out,
                              sq_error *err)
{
    if (l->reset)
        SQ_TRY(l->reset(l->arg, err));
    SQ_TRY(l->sync(l->arg, err));
    api->cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    clear_trace();
    SQ_TRY(l->launch(l->arg, err));
    SQ_TRY(l->sync(l->arg, err));
    api->cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    return take_launch(out, err);
}

/* The first launch after enabling is patched, and not kept. */
static sq_status trace_launches(const sq_cupti *api, const sq_launches *l,
                                traced_launch launches[SQ_TRACED_LAUNCHES], sq_error *err)
{
    SQ_TRY(l->launch(l->arg, err));
    for (int i = 0; i < SQ_TRACED_LAUNCHES; i++)
        SQ_TRY(trace_launch(api, l, &launches[i], err));
    return SQ_OK;
}

/* --- the record --- */

static const CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                           CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET};
enum { KINDS = sizeof kinds / sizeof *kinds };

static sq_status enable(const sq_cupti *api, sq_error *err)
{
    for (int i = 0; i < KINDS; i++) {
        CUptiResult code = api->cuptiActivityEnable(kinds[i]);
        for (int k = 0; k < i && code != CUPTI_SUCCESS; k++)
            api->cuptiActivityDisable(kinds[k]);
        SQ_TRY(sq_cupti_judge(api, code, "kernel trace", err));
    }
    return SQ_OK;
}

static int by_sum(const void *a, const void *b)
{
    double x = ((const traced_launch *)a)->sum_ns, y = ((const traced_launch *)b)->sum_ns;
    return (x > y) - (x < y);
}

static sq_status add_kernels(const traced_launch *launch, sq_record *record)
{
    for (int i = 0; i < launch->n; i++) {
        sq_kernel_record *kernel = &launch->kernels[i].kernel;
        sq_demangle(kernel->symbol, kernel->name, sizeof kernel->name);
        SQ_TRY(sq_record_add_kernel(record, kernel));
    }
    return SQ_OK;
}

static sq_status hand_over(traced_launch launches[SQ_TRACED_LAUNCHES], sq_record *record)
{
    double sums[SQ_TRACED_LAUNCHES];
    qsort(launches, SQ_TRACED_LAUNCHES, sizeof *launches, by_sum);
    for (int i = 0; i < SQ_TRACED_LAUNCHES; i++)
        sums[i] = launches[i].sum_ns;
    sq_value value = sq_counts_summary("activity_ns", sums, SQ_TRACED_LAUNCHES);
    const traced_launch *median = &launches[SQ_TRACED_LAUNCHES / 2];
    if (median->n_lost > 0) {
        SQ_TRY(sq_record_add_number(record, "kernels_lost", median->n_lost));
        SQ_TRY(sq_counts_add_absent(record, "activity_ns", "inconsistent: kernels lost"));
    } else if (median->n == 0) {
        SQ_TRY(sq_counts_add_absent(record, "activity_ns", "inconsistent: no kernel was traced"));
    } else {
        SQ_TRY(sq_record_add_value(record, &value));
    }
    return add_kernels(median, record);
}

sq_status sq_activity_trace(const sq_cupti *api, const sq_launches *launches, sq_record *record,
                            sq_error *err)
{
    traced_launch traced[SQ_TRACED_LAUNCHES] = {{.n = 0}};
    SQ_TRY(enable(api, err));
    sq_status status = trace_launches(api, launches, traced, err);
    for (int i = 0; i < KINDS; i++)
        api->cuptiActivityDisable(kinds[i]);
    if (status == SQ_OK)
        status = hand_over(traced, record);
    for (int i = 0; i < SQ_TRACED_LAUNCHES; i++)
        free(traced[i].kernels);
    return status;
}

#else
typedef int sq_no_activity; /* ISO C wants a declaration in every file */
#endif
