#include "tests/profile/fake_cupti.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile/counts.h"

fake_cupti fake;

enum { MAX_NAMES = 128, MAX_RECORDS = 256 };

struct CUpti_Profiler_Host_Object {
    char names[MAX_NAMES][160];
    size_t n, index; /* which image of the process */
};

static CUptiResult result_of(const char *function)
{
    bool is_failing = fake.failing && strcmp(fake.failing, function) == 0;
    return is_failing ? fake.result : CUPTI_SUCCESS;
}

#define SIMPLE(function, type)                                                                     \
    static CUptiResult CUPTIAPI fake_##function(type *p)                                           \
    {                                                                                              \
        (void)p;                                                                                   \
        return result_of(#function);                                                               \
    }

/* --- the process --- */

static CUptiResult CUPTIAPI fake_cuptiGetVersion(uint32_t *version)
{
    *version = CUPTI_API_VERSION;
    return CUPTI_SUCCESS;
}

static CUptiResult CUPTIAPI fake_cuptiGetResultString(CUptiResult result, const char **text)
{
    *text = result == CUPTI_ERROR_INVALID_OPERATION ? "CUPTI_ERROR_INVALID_OPERATION" : NULL;
    return CUPTI_SUCCESS;
}

static CUptiResult CUPTIAPI fake_cuptiSubscribe(CUpti_SubscriberHandle *subscriber,
                                                CUpti_CallbackFunc callback, void *user)
{
    (void)callback, (void)user;
    *subscriber = NULL;
    return result_of("cuptiSubscribe");
}

static CUptiResult CUPTIAPI fake_cuptiUnsubscribe(CUpti_SubscriberHandle subscriber)
{
    (void)subscriber;
    return CUPTI_SUCCESS;
}

static CUptiResult CUPTIAPI fake_cuptiDeviceGetChipName(CUpti_Device_GetChipName_Params *p)
{
    p->pChipName = fake.chip;
    return result_of("cuptiDeviceGetChipName");
}

SIMPLE(cuptiProfilerInitialize, CUpti_Profiler_Initialize_Params)
SIMPLE(cuptiProfilerDeInitialize, CUpti_Profiler_DeInitialize_Params)

static CUptiResult CUPTIAPI
fake_cuptiProfilerDeviceSupported(CUpti_Profiler_DeviceSupported_Params *p)
{
    p->isSupported = fake.supported;
    p->architecture = p->sli = p->confidentialCompute = p->cmp = p->wsl =
        CUPTI_PROFILER_CONFIGURATION_SUPPORTED;
    p->vGpu = fake.vgpu;
    return result_of("cuptiProfilerDeviceSupported");
}

static CUptiResult CUPTIAPI
fake_cuptiProfilerGetCounterAvailability(CUpti_Profiler_GetCounterAvailability_Params *p)
{
    p->counterAvailabilityImageSize = 16;
    return result_of("cuptiProfilerGetCounterAvailability");
}

/* --- host --- */

static size_t n_images;

static CUptiResult CUPTIAPI
fake_cuptiProfilerHostInitialize(CUpti_Profiler_Host_Initialize_Params *p)
{
    CUptiResult result = result_of("cuptiProfilerHostInitialize");
    if (result == CUPTI_SUCCESS) {
        p->pHostObject = calloc(1, sizeof *p->pHostObject);
        fake.hosts_open++;
    }
    return result;
}

static CUptiResult CUPTIAPI
fake_cuptiProfilerHostDeinitialize(CUpti_Profiler_Host_Deinitialize_Params *p)
{
    free(p->pHostObject);
    fake.hosts_open--;
    return CUPTI_SUCCESS;
}

/* As CUPTI does: one unknown name fails the list. */
static CUptiResult CUPTIAPI
fake_cuptiProfilerHostConfigAddMetrics(CUpti_Profiler_Host_ConfigAddMetrics_Params *p)
{
    for (size_t i = 0; i < p->numMetrics; i++) {
        if (fake.unknown && strcmp(p->ppMetricNames[i], fake.unknown) == 0)
            return CUPTI_ERROR_INVALID_PARAMETER;
        snprintf(p->pHostObject->names[p->pHostObject->n++], 160, "%s", p->ppMetricNames[i]);
    }
    return result_of("cuptiProfilerHostConfigAddMetrics");
}

static CUptiResult CUPTIAPI
fake_cuptiProfilerHostGetConfigImageSize(CUpti_Profiler_Host_GetConfigImageSize_Params *p)
{
    p->configImageSize = 8;
    return result_of("cuptiProfilerHostGetConfigImageSize");
}

static CUptiResult CUPTIAPI
fake_cuptiProfilerHostGetConfigImage(CUpti_Profiler_Host_GetConfigImage_Params *p)
{
    p->pHostObject->index = n_images++;
    return result_of("cuptiProfilerHostGetConfigImage");
}

static CUptiResult CUPTIAPI
fake_cuptiProfilerHostGetNumOfPasses(CUpti_Profiler_Host_GetNumOfPasses_Params *p)
{
    p->numOfPasses = fake.passes;
    return result_of("cuptiProfilerHostGetNumOfPasses");
}

static double value_of(const char *name, size_t image, size_t range)
{
    if (fake.missing && strcmp(name, fake.missing) == 0)
        return NAN;
    if (strcmp(name, "sm__cycles_elapsed.avg.per_second") == 0)
        return 1.7e9;
    if (strcmp(name, "sm__inst_executed.sum") == 0)
        return 1000 * (image == 1 ? fake.drift : 1) * (1 + fake.scatter * (double)range);
    return 100 + (double)range;
}

static CUptiResult CUPTIAPI
fake_cuptiProfilerHostEvaluateToGpuValues(CUpti_Profiler_Host_EvaluateToGpuValues_Params *p)
{
    for (size_t i = 0; i < p->numMetrics; i++)
        p->pMetricValues[i] = value_of(p->ppMetricNames[i], p->pHostObject->index, p->rangeIndex);
    return result_of("cuptiProfilerHostEvaluateToGpuValues");
}

/* --- ranges --- */

static size_t passes_done;

static CUptiResult CUPTIAPI fake_cuptiRangeProfilerEnable(CUpti_RangeProfiler_Enable_Params *p)
{
    CUptiResult result = result_of("cuptiRangeProfilerEnable");
    passes_done = 0;
    p->pRangeProfilerObject = (CUpti_RangeProfiler_Object *)&passes_done;
    fake.ranges_enabled += result == CUPTI_SUCCESS;
    return result;
}

static CUptiResult CUPTIAPI fake_cuptiRangeProfilerDisable(CUpti_RangeProfiler_Disable_Params *p)
{
    (void)p;
    fake.ranges_enabled--;
    return CUPTI_SUCCESS;
}

static CUptiResult CUPTIAPI
fake_cuptiRangeProfilerGetCounterDataSize(CUpti_RangeProfiler_GetCounterDataSize_Params *p)
{
    p->counterDataSize = 32;
    return result_of("cuptiRangeProfilerGetCounterDataSize");
}

SIMPLE(cuptiRangeProfilerCounterDataImageInitialize,
       CUpti_RangeProfiler_CounterDataImage_Initialize_Params)
SIMPLE(cuptiRangeProfilerSetConfig, CUpti_RangeProfiler_SetConfig_Params)
SIMPLE(cuptiRangeProfilerStart, CUpti_RangeProfiler_Start_Params)

static CUptiResult CUPTIAPI fake_cuptiRangeProfilerStop(CUpti_RangeProfiler_Stop_Params *p)
{
    p->isAllPassSubmitted = ++passes_done >= fake.passes && !fake.never_ends;
    return result_of("cuptiRangeProfilerStop");
}

static CUptiResult CUPTIAPI
fake_cuptiRangeProfilerPushRange(CUpti_RangeProfiler_PushRange_Params *p)
{
    (void)p;
    fake.ranges_open++;
    return result_of("cuptiRangeProfilerPushRange");
}

static CUptiResult CUPTIAPI fake_cuptiRangeProfilerPopRange(CUpti_RangeProfiler_PopRange_Params *p)
{
    (void)p;
    fake.ranges_open--;
    return result_of("cuptiRangeProfilerPopRange");
}

SIMPLE(cuptiRangeProfilerDecodeData, CUpti_RangeProfiler_DecodeData_Params)

static CUptiResult CUPTIAPI
fake_cuptiRangeProfilerGetCounterDataInfo(CUpti_RangeProfiler_GetCounterDataInfo_Params *p)
{
    p->numTotalRanges = SQ_COUNT_REPEATS - fake.lost_ranges;
    return result_of("cuptiRangeProfilerGetCounterDataInfo");
}

/* --- trace --- */

static CUpti_BuffersCallbackRequestFunc request;
static CUpti_BuffersCallbackCompleteFunc complete;
static CUpti_ActivityKernel10 records[MAX_RECORDS];
static size_t n_records, next_record;

static CUptiResult CUPTIAPI
fake_cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc ask,
                                    CUpti_BuffersCallbackCompleteFunc take)
{
    request = ask;
    complete = take;
    return result_of("cuptiActivityRegisterCallbacks");
}

static CUptiResult CUPTIAPI fake_cuptiActivityEnable(CUpti_ActivityKind kind)
{
    CUptiResult result = kind == CUPTI_ACTIVITY_KIND_MEMSET ? result_of("cuptiActivityEnable")
                                                            : CUPTI_SUCCESS;
    fake.kinds_enabled += result == CUPTI_SUCCESS;
    return result;
}

static CUptiResult CUPTIAPI fake_cuptiActivityDisable(CUpti_ActivityKind kind)
{
    (void)kind;
    fake.kinds_enabled--;
    return CUPTI_SUCCESS;
}

static CUptiResult CUPTIAPI fake_cuptiActivityFlushAll(uint32_t flag)
{
    uint8_t *buffer;
    size_t size, most;
    (void)flag;
    request(&buffer, &size, &most);
    next_record = 0;
    complete(NULL, 0, buffer, size, n_records ? 1 : 0);
    n_records = 0;
    return CUPTI_SUCCESS;
}

static CUptiResult CUPTIAPI fake_cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid,
                                                            CUpti_Activity **record)
{
    (void)buffer, (void)valid;
    if (next_record == n_records)
        return CUPTI_ERROR_MAX_LIMIT_REACHED;
    *record = (CUpti_Activity *)&records[next_record++];
    return CUPTI_SUCCESS;
}

/* The later kernel is recorded first; a launch takes longer the more there were. */
static void record_kernels(void)
{
    for (int i = fake.kernels - 1; i >= 0 && n_records < MAX_RECORDS; i--) {
        CUpti_ActivityKernel10 *k = &records[n_records++];
        uint64_t start = fake.has_no_stamps ? 0 : (uint64_t)(1000 * fake.launches + 100 * i + 1);
        memset(k, 0, sizeof *k);
        k->kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
        k->start = start;
        k->end = start + (uint64_t)(10 + fake.launches);
        k->gridX = 7 + i;
        k->gridY = k->gridZ = k->blockY = k->blockZ = 1;
        k->blockX = 128;
        k->registersPerThread = 40;
        k->staticSharedMemory = 1024;
        k->dynamicSharedMemory = 2048;
        k->name = i == 0 ? "_ZN3foo4gemmILi64EEEvPKfi" : "plain_c_kernel";
    }
}

/* --- sampling --- */

static CUptiResult CUPTIAPI
fake_cuptiPmSamplingGetCounterAvailability(CUpti_PmSampling_GetCounterAvailability_Params *p)
{
    p->counterAvailabilityImageSize = 16;
    return result_of("cuptiPmSamplingGetCounterAvailability");
}

static CUptiResult CUPTIAPI fake_cuptiPmSamplingEnable(CUpti_PmSampling_Enable_Params *p)
{
    p->pPmSamplingObject = (CUpti_PmSampling_Object *)&passes_done;
    return result_of("cuptiPmSamplingEnable");
}

SIMPLE(cuptiPmSamplingDisable, CUpti_PmSampling_Disable_Params)

static CUptiResult CUPTIAPI fake_cuptiPmSamplingSetConfig(CUpti_PmSampling_SetConfig_Params *p)
{
    if (p->triggerMode == CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_TIME_INTERVAL &&
        !fake.has_time_trigger)
        return CUPTI_ERROR_NOT_SUPPORTED;
    return result_of("cuptiPmSamplingSetConfig");
}

static CUptiResult CUPTIAPI
fake_cuptiPmSamplingGetCounterDataSize(CUpti_PmSampling_GetCounterDataSize_Params *p)
{
    p->counterDataSize = 32;
    return result_of("cuptiPmSamplingGetCounterDataSize");
}

SIMPLE(cuptiPmSamplingCounterDataImageInitialize,
       CUpti_PmSampling_CounterDataImage_Initialize_Params)

static CUptiResult CUPTIAPI fake_cuptiPmSamplingStart(CUpti_PmSampling_Start_Params *p)
{
    CUptiResult result = result_of("cuptiPmSamplingStart");
    (void)p;
    fake.is_sampling = result == CUPTI_SUCCESS;
    return result;
}

static CUptiResult CUPTIAPI fake_cuptiPmSamplingStop(CUpti_PmSampling_Stop_Params *p)
{
    (void)p;
    fake.is_sampling = false;
    return result_of("cuptiPmSamplingStop");
}

static CUptiResult CUPTIAPI fake_cuptiPmSamplingDecodeData(CUpti_PmSampling_DecodeData_Params *p)
{
    p->overflow = fake.overflows;
    return result_of("cuptiPmSamplingDecodeData");
}

static CUptiResult CUPTIAPI
fake_cuptiPmSamplingGetCounterDataInfo(CUpti_PmSampling_GetCounterDataInfo_Params *p)
{
    p->numCompletedSamples = FAKE_SAMPLES;
    return result_of("cuptiPmSamplingGetCounterDataInfo");
}

static CUptiResult CUPTIAPI fake_cuptiPmSamplingCounterDataGetSampleInfo(
    CUpti_PmSampling_CounterData_GetSampleInfo_Params *p)
{
    p->startTimestamp = 1700000000000000000u + 50000 * p->sampleIndex;
    if (p->sampleIndex < fake.gap_at)
        p->startTimestamp -= fake.gap_ns;
    p->endTimestamp = p->startTimestamp + 50000;
    return result_of("cuptiPmSamplingCounterDataGetSampleInfo");
}

/* --- the fake --- */

const sq_cupti *fake_table(void)
{
    static const sq_cupti table = {
#define SQ_X(name) .name = fake_##name,
        SQ_CUPTI_FUNCTIONS(SQ_X)
#undef SQ_X
    };
    return &table;
}

void fake_reset(void)
{
    n_images = n_records = 0;
    fake = (fake_cupti){.chip = "GH100",
                        .supported = CUPTI_PROFILER_CONFIGURATION_SUPPORTED,
                        .vgpu = CUPTI_PROFILER_CONFIGURATION_SUPPORTED,
                        .drift = 1,
                        .passes = 2,
                        .kernels = 2,
                        .has_time_trigger = true};
}

static sq_status launch(void *arg, sq_error *err)
{
    (void)arg, (void)err;
    fake.launches++;
    fake.counted += fake.ranges_open;
    if (fake.kinds_enabled > 0)
        record_kernels();
    return SQ_OK;
}

static sq_status reset(void *arg, sq_error *err)
{
    (void)arg, (void)err;
    fake.resets++;
    return SQ_OK;
}

static sq_status sync_all(void *arg, sq_error *err)
{
    (void)arg, (void)err;
    return SQ_OK;
}

sq_launches fake_launches(void)
{
    return (sq_launches){.launch = launch, .reset = reset, .sync = sync_all};
}
