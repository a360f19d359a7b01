/* cupti_api: CUPTI loaded at run time, as a table of functions. Internal to profile/. */
#ifndef SQ_PROFILE_CUPTI_API_H
#define SQ_PROFILE_CUPTI_API_H

#include "core/status.h"

#ifdef SQ_HAS_CUPTI
#include <cuda.h>
#include <cupti.h>
#include <cupti_pmsampling.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>

#define SQ_CUPTI_FUNCTIONS(X)                                                                      \
    X(cuptiGetVersion)                                                                             \
    X(cuptiGetResultString)                                                                        \
    X(cuptiSubscribe)                                                                              \
    X(cuptiUnsubscribe)                                                                            \
    X(cuptiActivityRegisterCallbacks)                                                              \
    X(cuptiActivityEnable)                                                                         \
    X(cuptiActivityDisable)                                                                        \
    X(cuptiActivityFlushAll)                                                                       \
    X(cuptiActivityGetNextRecord)                                                                  \
    X(cuptiDeviceGetChipName)                                                                      \
    X(cuptiProfilerInitialize)                                                                     \
    X(cuptiProfilerDeInitialize)                                                                   \
    X(cuptiProfilerDeviceSupported)                                                                \
    X(cuptiProfilerGetCounterAvailability)                                                         \
    X(cuptiProfilerHostInitialize)                                                                 \
    X(cuptiProfilerHostDeinitialize)                                                               \
    X(cuptiProfilerHostConfigAddMetrics)                                                           \
    X(cuptiProfilerHostGetConfigImageSize)                                                         \
    X(cuptiProfilerHostGetConfigImage)                                                             \
    X(cuptiProfilerHostGetNumOfPasses)                                                             \
    X(cuptiProfilerHostEvaluateToGpuValues)                                                        \
    X(cuptiRangeProfilerEnable)                                                                    \
    X(cuptiRangeProfilerDisable)                                                                   \
    X(cuptiRangeProfilerGetCounterDataSize)                                                        \
    X(cuptiRangeProfilerCounterDataImageInitialize)                                                \
    X(cuptiRangeProfilerSetConfig)                                                                 \
    X(cuptiRangeProfilerStart)                                                                     \
    X(cuptiRangeProfilerStop)                                                                      \
    X(cuptiRangeProfilerPushRange)                                                                 \
    X(cuptiRangeProfilerPopRange)                                                                  \
    X(cuptiRangeProfilerDecodeData)                                                                \
    X(cuptiRangeProfilerGetCounterDataInfo)                                                        \
    X(cuptiPmSamplingGetCounterAvailability)                                                       \
    X(cuptiPmSamplingEnable)                                                                       \
    X(cuptiPmSamplingDisable)                                                                      \
    X(cuptiPmSamplingSetConfig)                                                                    \
    X(cuptiPmSamplingGetCounterDataSize)                                                           \
    X(cuptiPmSamplingCounterDataImageInitialize)                                                   \
    X(cuptiPmSamplingStart)                                                                        \
    X(cuptiPmSamplingStop)                                                                         \
    X(cuptiPmSamplingDecodeData)                                                                   \
    X(cuptiPmSamplingGetCounterDataInfo)                                                           \
    X(cuptiPmSamplingCounterDataGetSampleInfo)

typedef struct {
#define SQ_X(name) __typeof__(&name) name;
    SQ_CUPTI_FUNCTIONS(SQ_X)
#undef SQ_X
} sq_cupti;

/* A zeroed parameter struct of a CUPTI call, with its size set as the library wants it. */
#define SQ_CUPTI_PARAMS(type, name) type##_Params name = {.structSize = type##_Params_STRUCT_SIZE}

/* Loads libnvperf_host (which libcupti finds only when it is loaded already), then libcupti, and
 * compares its version with that of the headers. Needs no driver. The libraries stay loaded. The
 * message of a failure starts with "CUPTI". */
sq_status sq_cupti_load(sq_cupti *api, sq_error *err);

/* SQ_OK for success; else SQ_UNSUPPORTED with a validity text: "refused: ..." where somebody may
 * change it (permission, another client), "unsupported: ..." where the machine cannot. what: the
 * step, for results that do not speak for themselves. */
sq_status sq_cupti_judge(const sq_cupti *api, CUptiResult result, const char *what, sq_error *err);

/* SQ_OK where a driver with a device is there: without one, target calls of CUPTI 13.0 crash. */
sq_status sq_driver_check(sq_error *err);
/* The current context of the calling thread. */
sq_status sq_driver_context(CUcontext *out, sq_error *err);
#endif

#endif
