#include "profile/range.h"

#ifdef SQ_HAS_CUPTI

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WARM_UP_SECONDS 0.01 /* setting a pass up lets the clock fall */
enum { MAX_WARM_UP = 200 };

typedef struct {
    const sq_cupti *api;
    CUcontext context;
    const sq_counter_config *config;
    const sq_launches *launches;
    CUpti_RangeProfiler_Object *object;
    uint8_t *data;
    size_t data_bytes;
} range;

static sq_status judge(const range *r, CUptiResult code, const char *what, sq_error *err)
{
    return sq_cupti_judge(r->api, code, what, err);
}

/* --- set-up --- */

static sq_status make_data(range *r, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_GetCounterDataSize, size);
    size.pRangeProfilerObject = r->object;
    size.pMetricNames = (const char **)r->config->metrics;
    size.numMetrics = r->config->n_metrics;
    size.maxNumOfRanges = SQ_COUNT_REPEATS;
    size.maxNumRangeTreeNodes = 2 * SQ_COUNT_REPEATS;
    SQ_TRY(judge(r, r->api->cuptiRangeProfilerGetCounterDataSize(&size), "counter data", err));
    r->data_bytes = size.counterDataSize;
    r->data = calloc(r->data_bytes, 1);
    if (!r->data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for counter data");
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_CounterDataImage_Initialize, init);
    init.pRangeProfilerObject = r->object;
    init.counterDataSize = r->data_bytes;
    init.pCounterData = r->data;
    return judge(r, r->api->cuptiRangeProfilerCounterDataImageInitialize(&init), "counter data",
                 err);
}

static sq_status set_config(range *r, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_SetConfig, set);
    set.pRangeProfilerObject = r->object;
    set.configSize = r->config->image_bytes;
    set.pConfig = r->config->image;
    set.counterDataImageSize = r->data_bytes;
    set.pCounterDataImage = r->data;
    set.range = CUPTI_UserRange;
    set.replayMode = CUPTI_UserReplay;
    set.maxRangesPerPass = SQ_COUNT_REPEATS;
    set.numNestingLevels = 1;
    set.minNestingLevel = 1;
    set.targetNestingLevel = 1;
    return judge(r, r->api->cuptiRangeProfilerSetConfig(&set), "configuration", err);
}

static sq_status open_range(range *r, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Enable, enable);
    enable.ctx = r->context;
    SQ_TRY(judge(r, r->api->cuptiRangeProfilerEnable(&enable), "enable", err));
    r->object = enable.pRangeProfilerObject;
    SQ_TRY(make_data(r, err));
    return set_config(r, err);
}

static void close_range(range *r)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Disable, disable);
    disable.pRangeProfilerObject = r->object;
    if (r->object)
        r->api->cuptiRangeProfilerDisable(&disable);
    free(r->data);
}

/* --- passes --- */

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Outside of any range, so not counted. */
static sq_status warm_up(const sq_launches *l, sq_error *err)
{
    double start = clock_seconds();
    for (int i = 0; i < MAX_WARM_UP && (i == 0 || clock_seconds() - start < WARM_UP_SECONDS); i++) {
        SQ_TRY(l->launch(l->arg, err));
        SQ_TRY(l->sync(l->arg, err));
    }
    return SQ_OK;
}

/* Reset outside of the range, the launch alone inside. Ranges are named by their repeat, not by the
 * cell: CUPTI takes '/' in a name for nesting. */
static sq_status run_range(range *r, int repeat, sq_error *err)
{
    const sq_launches *l = r->launches;
    char name[24];
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_PushRange, push);
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_PopRange, pop);
    push.pRangeProfilerObject = pop.pRangeProfilerObject = r->object;
    push.pRangeName = name;
    snprintf(name, sizeof name, "repeat%d", repeat);
    if (l->reset)
        SQ_TRY(l->reset(l->arg, err));
    SQ_TRY(l->sync(l->arg, err));
    SQ_TRY(judge(r, r->api->cuptiRangeProfilerPushRange(&push), "range", err));
    SQ_TRY(l->launch(l->arg, err));
    SQ_TRY(judge(r, r->api->cuptiRangeProfilerPopRange(&pop), "range", err));
    return l->sync(l->arg, err);
}

static sq_status run_pass(range *r, bool *is_last, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Start, start);
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Stop, stop);
    start.pRangeProfilerObject = stop.pRangeProfilerObject = r->object;
    SQ_TRY(judge(r, r->api->cuptiRangeProfilerStart(&start), "start", err));
    sq_status status = warm_up(r->launches, err);
    for (int i = 0; i < SQ_COUNT_REPEATS && status == SQ_OK; i++)
        status = run_range(r, i, err);
    CUptiResult code = r->api->cuptiRangeProfilerStop(&stop);
    *is_last = stop.isAllPassSubmitted != 0;
    return status == SQ_OK ? judge(r, code, "stop", err) : status;
}

static sq_status run_passes(range *r, sq_error *err)
{
    bool is_last = false;
    for (size_t pass = 0; !is_last; pass++) {
        if (pass > r->config->passes + 8)
            return sq_fail(err, SQ_UNSUPPORTED, "inconsistent: the passes do not end");
        SQ_TRY(run_pass(r, &is_last, err));
    }
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_DecodeData, decode);
    decode.pRangeProfilerObject = r->object;
    return judge(r, r->api->cuptiRangeProfilerDecodeData(&decode), "decode", err);
}

/* --- values --- */

static sq_status check_ranges(range *r, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_GetCounterDataInfo, info);
    info.pCounterDataImage = r->data;
    info.counterDataImageSize = r->data_bytes;
    SQ_TRY(judge(r, r->api->cuptiRangeProfilerGetCounterDataInfo(&info), "counter data", err));
    if (info.numTotalRanges != SQ_COUNT_REPEATS)
        return sq_fail(err, SQ_UNSUPPORTED, "inconsistent: %zu launches of %d were counted",
                       info.numTotalRanges, SQ_COUNT_REPEATS);
    return SQ_OK;
}

static sq_status count(range *r, double values[SQ_COUNT_REPEATS][SQ_SET_MAX_METRICS], sq_error *err)
{
    SQ_TRY(open_range(r, err));
    SQ_TRY(run_passes(r, err));
    SQ_TRY(check_ranges(r, err));
    for (size_t i = 0; i < SQ_COUNT_REPEATS; i++)
        SQ_TRY(sq_counter_config_evaluate(r->api, r->config, r->data, r->data_bytes, i, values[i],
                                          err));
    return SQ_OK;
}

sq_status sq_range_count(const sq_cupti *api, CUcontext context, const sq_counter_config *config,
                         const sq_launches *launches,
                         double values[SQ_COUNT_REPEATS][SQ_SET_MAX_METRICS], sq_error *err)
{
    range r = {.api = api, .context = context, .config = config, .launches = launches};
    sq_status status = count(&r, values, err);
    close_range(&r);
    return status;
}

#else
typedef int sq_no_range; /* ISO C wants a declaration in every file */
#endif
