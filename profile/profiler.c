/* profiler: counters by CUPTI's range profiler (user range, user replay) and the kernel trace, for
 * one launch at a time. Order of calls and their pitfalls: NVIDIA CUPTI documentation, "Range
 * Profiling API".
 *
 * A launch must be repeatable: it reads its inputs and writes its outputs, so nothing is saved or
 * restored between passes.
 */
#include "profile/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile/activity.h"
#include "profile/counter_config.h"
#include "profile/cupti_api.h"
#include "profile/sets.h"

enum { REPEATS = 3 };

static sq_status add_absent(sq_record *record, const char *metric, const char *why)
{
    sq_value value = {.value = NAN, .spread = NAN, .sm_mhz = NAN};
    snprintf(value.metric, sizeof value.metric, "%s", metric);
    snprintf(value.validity, sizeof value.validity, "%.95s", why);
    return sq_record_add_value(record, &value);
}

static sq_status add_all_absent(sq_record *record, const sq_counter_set *set, const char *why)
{
    for (int i = 0; i < set->image[0].n; i++)
        SQ_TRY(add_absent(record, set->image[0].line[i].metric, why));
    return SQ_OK;
}

#ifdef SQ_HAS_CUPTI

struct sq_profiler {
    sq_cupti api;
    CUpti_SubscriberHandle subscriber;
    bool is_subscribed, is_initialized, has_trace;
    CUcontext context;
    CUpti_RangeProfiler_Object *range; /* while one launch is counted */
    sq_counter_config config;
    sq_counter_set *set;
    uint8_t *availability, *data;
    size_t data_bytes;
    char refused[96]; /* why counters are absent; empty where they are there */
};

static void CUPTIAPI ignore_callback(void *user, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                                     const void *data)
{
    (void)user;
    (void)domain;
    (void)id;
    (void)data;
}

static sq_status tell(const sq_profiler *p, CUptiResult code, const char *what, sq_error *err)
{
    char why[160];
    if (code == CUPTI_SUCCESS)
        return SQ_OK;
    sq_cupti_explain(&p->api, code, why, sizeof why);
    return sq_fail(err, SQ_UNSUPPORTED, "refused: %s: %s", what, why);
}

static sq_status check_support(sq_profiler *p, int device, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Initialize, init);
    SQ_TRY(tell(p, p->api.cuptiProfilerInitialize(&init), "initialize", err));
    p->is_initialized = true;
    SQ_CUPTI_PARAMS(CUpti_Profiler_DeviceSupported, supported);
    supported.cuDevice = device;
    supported.api = CUPTI_PROFILER_RANGE_PROFILING;
    SQ_TRY(tell(p, p->api.cuptiProfilerDeviceSupported(&supported), "device", err));
    if (supported.isSupported != CUPTI_PROFILER_CONFIGURATION_SUPPORTED)
        return sq_fail(err, SQ_UNSUPPORTED,
                       "refused: this GPU or its virtualization has no counters");
    return SQ_OK;
}

static sq_status read_availability(sq_profiler *p, CUcontext context, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_GetCounterAvailability, get);
    get.ctx = context;
    SQ_TRY(tell(p, p->api.cuptiProfilerGetCounterAvailability(&get), "availability", err));
    p->availability = calloc(get.counterAvailabilityImageSize, 1);
    if (!p->availability)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the counter availability");
    get.pCounterAvailabilityImage = p->availability;
    return tell(p, p->api.cuptiProfilerGetCounterAvailability(&get), "availability", err);
}

static sq_status make_config(sq_profiler *p, int device, sq_error *err)
{
    const char *names[SQ_MAX_COUNTERS];
    size_t n = 0;
    SQ_CUPTI_PARAMS(CUpti_Device_GetChipName, chip);
    chip.deviceIndex = (size_t)device;
    SQ_TRY(tell(p, p->api.cuptiDeviceGetChipName(&chip), "chip name", err));
    sq_set_free(p->set);
    SQ_TRY(sq_set_load("basic", chip.pChipName, &p->set, err));
    for (int i = 0; i < p->set->image[0].n; i++)
        if (p->set->image[0].line[i].cupti)
            names[n++] = p->set->image[0].line[i].cupti;
    return sq_counter_config_open(&p->api, CUPTI_PROFILER_TYPE_RANGE_PROFILER, chip.pChipName,
                                  p->availability, names, n, &p->config, err);
}

static sq_status set_config(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_SetConfig, set);
    set.pRangeProfilerObject = p->range;
    set.configSize = p->config.image_bytes;
    set.pConfig = p->config.image;
    set.counterDataImageSize = p->data_bytes;
    set.pCounterDataImage = p->data;
    set.range = CUPTI_UserRange;
    set.replayMode = CUPTI_UserReplay;
    set.maxRangesPerPass = REPEATS;
    set.numNestingLevels = 1;
    set.minNestingLevel = 1;
    set.targetNestingLevel = 1;
    return tell(p, p->api.cuptiRangeProfilerSetConfig(&set), "configuration", err);
}

static sq_status make_data(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_GetCounterDataSize, size);
    size.pRangeProfilerObject = p->range;
    size.pMetricNames = p->config.metrics;
    size.numMetrics = p->config.n_metrics;
    size.maxNumOfRanges = REPEATS;
    size.maxNumRangeTreeNodes = 2 * REPEATS;
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerGetCounterDataSize(&size), "counter data", err));
    p->data_bytes = size.counterDataSize;
    p->data = calloc(p->data_bytes, 1);
    if (!p->data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for counter data");
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_CounterDataImage_Initialize, init);
    init.pRangeProfilerObject = p->range;
    init.counterDataSize = p->data_bytes;
    init.pCounterData = p->data;
    return tell(p, p->api.cuptiRangeProfilerCounterDataImageInitialize(&init), "counter data", err);
}

static sq_status open_range(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Enable, enable);
    enable.ctx = p->context;
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerEnable(&enable), "enable", err));
    p->range = enable.pRangeProfilerObject;
    SQ_TRY(make_data(p, err));
    return set_config(p, err);
}

static void close_range(sq_profiler *p)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Disable, disable);
    disable.pRangeProfilerObject = p->range;
    if (p->range)
        p->api.cuptiRangeProfilerDisable(&disable);
    free(p->data);
    p->range = NULL;
    p->data = NULL;
}

static sq_status open_counters(sq_profiler *p, int device, sq_error *err)
{
    SQ_TRY(sq_driver_context(&p->context, err));
    SQ_TRY(check_support(p, device, err));
    SQ_TRY(read_availability(p, p->context, err));
    return make_config(p, device, err);
}

static sq_status open_parts(sq_profiler *p, int device, sq_error *err)
{
    SQ_TRY(sq_driver_check(err)); /* before any target-side call of CUPTI */
    SQ_TRY(sq_cupti_load(&p->api, err));
    SQ_TRY(tell(p, p->api.cuptiSubscribe(&p->subscriber, ignore_callback, NULL), "subscribe", err));
    p->is_subscribed = true;
    p->has_trace = sq_activity_register(&p->api, NULL) == SQ_OK;
    return open_counters(p, device, err);
}

sq_status sq_profiler_open(int device_index, sq_profiler **out, sq_error *err)
{
    sq_error why = {.message = ""};
    sq_profiler *p = calloc(1, sizeof *p);
    if (!p)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the profiler");
    sq_status status = sq_set_load("basic", NULL, &p->set, err);
    if (status != SQ_OK) {
        free(p);
        return status;
    }
    if (open_parts(p, device_index, &why) != SQ_OK)
        snprintf(p->refused, sizeof p->refused, "%.95s", why.message);
    *out = p;
    return SQ_OK;
}

void sq_profiler_close(sq_profiler *p)
{
    if (!p)
        return;
    if (p->config.host)
        sq_counter_config_close(&p->api, &p->config);
    SQ_CUPTI_PARAMS(CUpti_Profiler_DeInitialize, deinit);
    if (p->is_initialized)
        p->api.cuptiProfilerDeInitialize(&deinit);
    if (p->is_subscribed)
        p->api.cuptiUnsubscribe(p->subscriber);
    free(p->availability);
    sq_set_free(p->set);
    free(p);
}

typedef struct {
    sq_launch_fn launch, reset, sync;
    void *arg;
} subject;

/* One range of a pass: reset outside it, the launch alone inside. Ranges are named by their repeat,
 * not by the cell: CUPTI takes '/' in a name for nesting. */
static sq_status run_range(sq_profiler *p, const subject *s, int repeat, sq_error *err)
{
    char name[16];
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_PushRange, push);
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_PopRange, pop);
    push.pRangeProfilerObject = pop.pRangeProfilerObject = p->range;
    push.pRangeName = name;
    snprintf(name, sizeof name, "repeat%d", repeat);
    if (s->reset)
        SQ_TRY(s->reset(s->arg, err));
    SQ_TRY(s->sync(s->arg, err));
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerPushRange(&push), "range", err));
    SQ_TRY(s->launch(s->arg, err));
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerPopRange(&pop), "range", err));
    return s->sync(s->arg, err);
}

static sq_status run_pass(sq_profiler *p, const subject *s, bool *is_last, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Start, start);
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_Stop, stop);
    start.pRangeProfilerObject = stop.pRangeProfilerObject = p->range;
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerStart(&start), "start", err));
    for (int r = 0; r < REPEATS; r++)
        SQ_TRY(run_range(p, s, r, err));
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerStop(&stop), "stop", err));
    *is_last = stop.isAllPassSubmitted != 0;
    return SQ_OK;
}

static sq_status evaluate(sq_profiler *p, size_t range, double *values, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_EvaluateToGpuValues, e);
    e.pHostObject = p->config.host;
    e.pCounterDataImage = p->data;
    e.counterDataImageSize = p->data_bytes;
    e.rangeIndex = range;
    e.ppMetricNames = p->config.metrics;
    e.numMetrics = p->config.n_metrics;
    e.pMetricValues = values;
    return tell(p, p->api.cuptiProfilerHostEvaluateToGpuValues(&e), "evaluate", err);
}

static sq_status check_ranges(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_GetCounterDataInfo, info);
    info.pCounterDataImage = p->data;
    info.counterDataImageSize = p->data_bytes;
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerGetCounterDataInfo(&info), "counter data", err));
    if (info.numTotalRanges != REPEATS)
        return sq_fail(err, SQ_UNSUPPORTED, "inconsistent: %zu ranges of %d came back",
                       info.numTotalRanges, REPEATS);
    return SQ_OK;
}

/* All passes over all repeats; values in the order of config.metrics. */
static sq_status count(sq_profiler *p, const subject *s, double values[REPEATS][SQ_MAX_COUNTERS],
                       sq_error *err)
{
    SQ_TRY(open_range(p, err));
    bool is_last = false;
    for (size_t pass = 0; !is_last; pass++) {
        if (pass > p->config.passes + 8)
            return sq_fail(err, SQ_UNSUPPORTED, "inconsistent: passes do not end");
        SQ_TRY(run_pass(p, s, &is_last, err));
    }
    SQ_CUPTI_PARAMS(CUpti_RangeProfiler_DecodeData, decode);
    decode.pRangeProfilerObject = p->range;
    SQ_TRY(tell(p, p->api.cuptiRangeProfilerDecodeData(&decode), "decode", err));
    SQ_TRY(check_ranges(p, err));
    for (size_t r = 0; r < REPEATS; r++)
        SQ_TRY(evaluate(p, r, values[r], err));
    return SQ_OK;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t index_of(const sq_profiler *p, const char *cupti_name)
{
    size_t i = 0;
    while (i < p->config.n_metrics && strcmp(p->config.metrics[i], cupti_name) != 0)
        i++;
    return i;
}

/* The median over the repeats of metric i, with its spread. */
static sq_value summarize(double values[REPEATS][SQ_MAX_COUNTERS], size_t i)
{
    double v[REPEATS];
    sq_value out = {.n = REPEATS, .value = NAN, .spread = NAN, .sm_mhz = NAN, .validity = "ok"};
    for (int r = 0; r < REPEATS; r++) {
        v[r] = values[r][i];
        if (isnan(v[r])) {
            out.n = 0;
            snprintf(out.validity, sizeof out.validity, "inconsistent: not collected");
            return out;
        }
    }
    qsort(v, REPEATS, sizeof *v, compare_double);
    out.value = v[REPEATS / 2];
    if (out.value != 0)
        out.spread = (v[REPEATS - 1] - v[0]) / fabs(out.value);
    return out;
}

static sq_status add_counted(sq_profiler *p, double values[REPEATS][SQ_MAX_COUNTERS],
                             sq_record *record)
{
    const sq_set_image *image = &p->set->image[0];
    size_t clock = index_of(p, "sm__cycles_elapsed.avg.per_second");
    double sm_hz = clock < p->config.n_metrics ? summarize(values, clock).value : NAN;
    for (int l = 0; l < image->n; l++) {
        size_t i = image->line[l].cupti ? index_of(p, image->line[l].cupti) : p->config.n_metrics;
        if (i == p->config.n_metrics) {
            SQ_TRY(add_absent(record, image->line[l].metric,
                              "unsupported: this chip has no such counter"));
            continue;
        }
        sq_value value = summarize(values, i);
        snprintf(value.metric, sizeof value.metric, "%s", image->line[l].metric);
        value.sm_mhz = sm_hz / 1e6;
        SQ_TRY(sq_record_add_value(record, &value));
    }
    return SQ_OK;
}

sq_status sq_profiler_measure(sq_profiler *p, sq_launch_fn launch, sq_launch_fn reset,
                              sq_launch_fn sync, void *arg, sq_record *record, sq_error *err)
{
    const subject s = {launch, reset, sync, arg};
    if (p->has_trace)
        SQ_TRY(sq_activity_trace(&p->api, launch, reset, sync, arg, record, err));
    if (p->refused[0])
        return add_all_absent(record, p->set, p->refused);
    double values[REPEATS][SQ_MAX_COUNTERS];
    sq_error why = {.message = ""};
    sq_status status = count(p, &s, values, &why);
    close_range(p);
    if (status == SQ_UNSUPPORTED)
        return add_all_absent(record, p->set, why.message);
    if (status != SQ_OK)
        return sq_fail(err, status, "%s", why.message);
    return add_counted(p, values, record);
}

static bool is_admin_only(void)
{
    char line[128];
    bool is_restricted = false;
    FILE *file = fopen("/proc/driver/nvidia/params", "r");
    while (file && fgets(line, sizeof line, file))
        is_restricted |= strncmp(line, "RmProfilingAdminOnly: 1", 23) == 0;
    if (file)
        fclose(file);
    return is_restricted;
}

void sq_profile_describe_cupti(char *out, size_t size)
{
    sq_cupti api;
    sq_error why = {.message = ""};
    uint32_t version = 0;
    if (sq_cupti_load(&api, &why) != SQ_OK) {
        snprintf(out, size, "%s", why.message);
        return;
    }
    api.cuptiGetVersion(&version);
    snprintf(out, size, "version %u; counters %s", version,
             is_admin_only()
                 ? "for administrators only (NVreg_RestrictProfilingToAdminUsers=1): run as root"
                 : "open to every user");
}

#else

struct sq_profiler {
    sq_counter_set *set;
    char refused[96];
};

sq_status sq_profiler_open(int device_index, sq_profiler **out, sq_error *err)
{
    (void)device_index;
    sq_profiler *p = calloc(1, sizeof *p);
    if (!p)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the profiler");
    snprintf(p->refused, sizeof p->refused, "unsupported: built without CUPTI headers");
    sq_status status = sq_set_load("basic", NULL, &p->set, err);
    if (status != SQ_OK) {
        free(p);
        return status;
    }
    *out = p;
    return SQ_OK;
}

void sq_profiler_close(sq_profiler *p)
{
    if (p)
        sq_set_free(p->set);
    free(p);
}

sq_status sq_profiler_measure(sq_profiler *p, sq_launch_fn launch, sq_launch_fn reset,
                              sq_launch_fn sync, void *arg, sq_record *record, sq_error *err)
{
    (void)launch;
    (void)reset;
    (void)sync;
    (void)arg;
    (void)err;
    return add_all_absent(record, p->set, p->refused);
}

void sq_profile_describe_cupti(char *out, size_t size)
{
    snprintf(out, size, "absent: built without CUPTI headers");
}

#endif
