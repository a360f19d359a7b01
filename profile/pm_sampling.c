/* pm_sampling: counters over time. CUPTI samples the whole device by a timer of its own, in one pass,
 * and serializes nothing; the launch is repeated meanwhile. */
#include "profile/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "profile/profiler_parts.h"

void sq_timeline_free(sq_timeline *timeline)
{
    free(timeline->metrics);
    free(timeline->rows);
    *timeline = (sq_timeline){.n_rows = 0};
}

#ifdef SQ_HAS_CUPTI

#define TARGET_SECONDS 0.002   /* of launches */
#define SAMPLES_PER_LAUNCH 100.0
#define SHORTEST_INTERVAL 10e-6 /* below it the hardware buffer overflows on a large GPU */
#define LONGEST_INTERVAL 1e-3
#define EARLY_INTERVALS 100.0 /* no sample is this late after the one before, once they come */
#define EARLY_SHARE 10        /* at most a tenth of the samples is early */
enum { LEAST_LAUNCHES = 3, MOST_LAUNCHES = 64, MAX_SAMPLES = 20000, BUFFER_BYTES = 256 << 20 };

typedef struct {
    sq_profiler *p;
    const sq_launches *launches;
    sq_counter_set *set;
    sq_counter_config config;
    uint8_t *availability, *data;
    size_t data_bytes;
    CUpti_PmSampling_Object *object;
    bool is_started;
    double interval; /* seconds */
    uint64_t origin; /* start of the first sample */
} sampler;

static sq_status judge(const sampler *s, CUptiResult code, const char *what, sq_error *err)
{
    return sq_cupti_judge(&s->p->api, code, what, err);
}

/* --- launches --- */

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static sq_status launch_once(const sq_launches *l, double *seconds, sq_error *err)
{
    double start = clock_seconds();
    SQ_TRY(l->launch(l->arg, err));
    SQ_TRY(l->sync(l->arg, err));
    *seconds = clock_seconds() - start;
    return SQ_OK;
}

/* How many launches, and how often to look, by a launch that was timed after a first one. */
static sq_status choose(sampler *s, sq_timeline *out, sq_error *err)
{
    double seconds = 0;
    SQ_TRY(launch_once(s->launches, &seconds, err));
    SQ_TRY(launch_once(s->launches, &seconds, err));
    double n = ceil(TARGET_SECONDS / seconds);
    out->n_launches = (int)fmin(fmax(n, LEAST_LAUNCHES), MOST_LAUNCHES);
    double longest = fmax(LONGEST_INTERVAL, seconds * out->n_launches * 2 / MAX_SAMPLES);
    s->interval = fmin(fmax(seconds / SAMPLES_PER_LAUNCH, SHORTEST_INTERVAL), longest);
    out->interval_ns = 1e9 * s->interval;
    return SQ_OK;
}

/* --- set-up --- */

static sq_status read_availability(sampler *s, sq_error *err)
{
    const sq_cupti *api = &s->p->api;
    SQ_CUPTI_PARAMS(CUpti_PmSampling_GetCounterAvailability, get);
    get.deviceIndex = (size_t)s->p->device;
    SQ_TRY(judge(s, api->cuptiPmSamplingGetCounterAvailability(&get), "availability", err));
    s->availability = calloc(get.counterAvailabilityImageSize, 1);
    if (!s->availability)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the counter availability");
    get.pCounterAvailabilityImage = s->availability;
    return judge(s, api->cuptiPmSamplingGetCounterAvailability(&get), "availability", err);
}

static sq_status configure(sampler *s, sq_error *err)
{
    const char *names[SQ_SET_MAX_METRICS];
    size_t n = 0;
    SQ_TRY(sq_set_load("timeline", s->p->chip, &s->set, err));
    const sq_set_image *image = &s->set->image[0];
    for (int i = 0; i < image->n; i++)
        if (image->line[i].cupti)
            names[n++] = image->line[i].cupti;
    SQ_TRY(sq_counter_config_open(&s->p->api, CUPTI_PROFILER_TYPE_PM_SAMPLING, s->p->chip,
                                  s->availability, names, n, &s->config, err));
    if (s->config.passes != 1)
        return sq_fail(err, SQ_UNSUPPORTED, "unsupported: the set takes %zu passes on %s",
                       s->config.passes, s->p->chip);
    return SQ_OK;
}

static sq_status make_data(sampler *s, sq_error *err)
{
    const sq_cupti *api = &s->p->api;
    SQ_CUPTI_PARAMS(CUpti_PmSampling_GetCounterDataSize, size);
    size.pPmSamplingObject = s->object;
    size.pMetricNames = s->config.metrics;
    size.numMetrics = s->config.n_metrics;
    size.maxSamples = MAX_SAMPLES;
    SQ_TRY(judge(s, api->cuptiPmSamplingGetCounterDataSize(&size), "counter data", err));
    s->data_bytes = size.counterDataSize;
    s->data = calloc(s->data_bytes, 1);
    if (!s->data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for samples");
    SQ_CUPTI_PARAMS(CUpti_PmSampling_CounterDataImage_Initialize, init);
    init.pPmSamplingObject = s->object;
    init.counterDataSize = s->data_bytes;
    init.pCounterData = s->data;
    return judge(s, api->cuptiPmSamplingCounterDataImageInitialize(&init), "counter data", err);
}

/* Chips without a timer of fixed frequency (Turing, GA100) count system clocks, of about a GHz. */
static sq_status set_config(sampler *s, sq_error *err)
{
    const sq_cupti *api = &s->p->api;
    SQ_CUPTI_PARAMS(CUpti_PmSampling_SetConfig, set);
    set.pPmSamplingObject = s->object;
    set.configSize = s->config.image_bytes;
    set.pConfig = s->config.image;
    set.hardwareBufferSize = BUFFER_BYTES;
    set.samplingInterval = (uint64_t)(1e9 * s->interval);
    set.triggerMode = CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_TIME_INTERVAL;
    set.hwBufferAppendMode = CUPTI_PM_SAMPLING_HARDWARE_BUFFER_APPEND_MODE_KEEP_OLDEST;
    CUptiResult code = api->cuptiPmSamplingSetConfig(&set);
    if (code == CUPTI_ERROR_NOT_SUPPORTED || code == CUPTI_ERROR_INVALID_PARAMETER) {
        set.triggerMode = CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_SYSCLK_INTERVAL;
        code = api->cuptiPmSamplingSetConfig(&set);
    }
    return judge(s, code, "configuration", err);
}

static sq_status open_sampler(sampler *s, sq_error *err)
{
    SQ_TRY(read_availability(s, err));
    SQ_TRY(configure(s, err));
    SQ_CUPTI_PARAMS(CUpti_PmSampling_Enable, enable);
    enable.deviceIndex = (size_t)s->p->device;
    SQ_TRY(judge(s, s->p->api.cuptiPmSamplingEnable(&enable), "enable", err));
    s->object = enable.pPmSamplingObject;
    SQ_TRY(set_config(s, err));
    return make_data(s, err);
}

static CUptiResult stop(sampler *s)
{
    SQ_CUPTI_PARAMS(CUpti_PmSampling_Stop, params);
    params.pPmSamplingObject = s->object;
    s->is_started = false;
    return s->p->api.cuptiPmSamplingStop(&params);
}

static void close_sampler(sampler *s)
{
    SQ_CUPTI_PARAMS(CUpti_PmSampling_Disable, disable);
    disable.pPmSamplingObject = s->object;
    if (s->is_started)
        stop(s);
    if (s->object)
        s->p->api.cuptiPmSamplingDisable(&disable);
    if (s->config.host)
        sq_counter_config_close(&s->p->api, &s->config);
    sq_set_free(s->set);
    free(s->availability);
    free(s->data);
}

/* --- sampling --- */

static sq_status run(sampler *s, int n, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_PmSampling_Start, start);
    start.pPmSamplingObject = s->object;
    double seconds;
    SQ_TRY(s->launches->sync(s->launches->arg, err));
    SQ_TRY(judge(s, s->p->api.cuptiPmSamplingStart(&start), "start", err));
    s->is_started = true;
    for (int i = 0; i < n; i++)
        SQ_TRY(launch_once(s->launches, &seconds, err));
    return judge(s, stop(s), "stop", err);
}

static sq_status decode(sampler *s, size_t *n, sq_error *err)
{
    const sq_cupti *api = &s->p->api;
    SQ_CUPTI_PARAMS(CUpti_PmSampling_DecodeData, data);
    data.pPmSamplingObject = s->object;
    data.pCounterDataImage = s->data;
    data.counterDataImageSize = s->data_bytes;
    SQ_TRY(judge(s, api->cuptiPmSamplingDecodeData(&data), "decode", err));
    if (data.overflow)
        return sq_fail(err, SQ_UNSUPPORTED, "inconsistent: the buffer of samples overflowed");
    SQ_CUPTI_PARAMS(CUpti_PmSampling_GetCounterDataInfo, info);
    info.pCounterDataImage = s->data;
    info.counterDataImageSize = s->data_bytes;
    SQ_TRY(judge(s, api->cuptiPmSamplingGetCounterDataInfo(&info), "counter data", err));
    *n = info.numCompletedSamples;
    return *n > 0 ? SQ_OK : sq_fail(err, SQ_UNSUPPORTED, "inconsistent: no sample was taken");
}

static sq_status read_sample(sampler *s, size_t i, double *row, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_PmSampling_CounterData_GetSampleInfo, info);
    info.pPmSamplingObject = s->object;
    info.pCounterDataImage = s->data;
    info.counterDataImageSize = s->data_bytes;
    info.sampleIndex = i;
    SQ_TRY(judge(s, s->p->api.cuptiPmSamplingCounterDataGetSampleInfo(&info), "sample", err));
    if (i == 0)
        s->origin = info.startTimestamp;
    row[0] = (double)(info.startTimestamp - s->origin);
    return sq_counter_config_evaluate(&s->p->api, &s->config, s->data, s->data_bytes, i, row + 1,
                                      err);
}

/* Our names of the columns, in the order of config.metrics. */
static sq_status name_columns(const sampler *s, sq_timeline *out, sq_error *err)
{
    const sq_set_image *image = &s->set->image[0];
    out->metrics = calloc(s->config.n_metrics, sizeof *out->metrics);
    if (!out->metrics)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a timeline");
    for (int i = 0; i < image->n && out->n_metrics < (int)s->config.n_metrics; i++)
        if (image->line[i].cupti == s->config.metrics[out->n_metrics])
            snprintf(out->metrics[out->n_metrics++], sizeof *out->metrics, "%s",
                     image->line[i].metric);
    return SQ_OK;
}

static sq_status read_samples(sampler *s, size_t n, sq_timeline *out, sq_error *err)
{
    size_t columns = 1 + s->config.n_metrics;
    out->rows = calloc(n * columns, sizeof *out->rows);
    if (!out->rows)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a timeline");
    for (size_t i = 0; i < n; i++)
        SQ_TRY(read_sample(s, i, out->rows + i * columns, err));
    out->n_rows = (int)n;
    return SQ_OK;
}

/* The timer may have left a sample or two before it was started for good, up to seconds before the
 * others: they are taken away, and time starts with the first that stays. */
static void drop_early(sq_timeline *t)
{
    const int columns = 1 + t->n_metrics, most = t->n_rows > 2 ? 1 + t->n_rows / EARLY_SHARE : 0;
    for (int i = 1; i <= most && i < t->n_rows; i++)
        if (t->rows[i * columns] - t->rows[(i - 1) * columns] > EARLY_INTERVALS * t->interval_ns)
            t->n_dropped = i;
    t->n_rows -= t->n_dropped;
    memmove(t->rows, t->rows + (size_t)t->n_dropped * columns,
            (size_t)t->n_rows * columns * sizeof *t->rows);
    const double start = t->rows[0];
    for (int i = 0; i < t->n_rows; i++)
        t->rows[i * columns] -= start;
}

static sq_status sample(sampler *s, sq_timeline *out, sq_error *err)
{
    size_t n = 0;
    SQ_TRY(choose(s, out, err));
    SQ_TRY(open_sampler(s, err));
    SQ_TRY(run(s, out->n_launches, err));
    SQ_TRY(decode(s, &n, err));
    SQ_TRY(name_columns(s, out, err));
    SQ_TRY(read_samples(s, n, out, err));
    drop_early(out);
    return SQ_OK;
}

sq_status sq_profiler_timeline(sq_profiler *p, const sq_launches *launches, sq_timeline *timeline,
                               sq_error *err)
{
    sampler s = {.p = p, .launches = launches};
    sq_error why = {.message = ""};
    *timeline = (sq_timeline){.interval_ns = NAN, .validity = "ok"};
    if (p->no_counters[0]) {
        snprintf(timeline->validity, sizeof timeline->validity, "%s", p->no_counters);
        return SQ_OK;
    }
    sq_status status = sample(&s, timeline, &why);
    close_sampler(&s);
    if (status == SQ_OK)
        return SQ_OK;
    timeline->n_rows = 0;
    snprintf(timeline->validity, sizeof timeline->validity, "%.95s", why.message);
    return status == SQ_UNSUPPORTED ? SQ_OK : sq_fail(err, status, "%s", why.message);
}

#else

sq_status sq_profiler_timeline(sq_profiler *p, const sq_launches *launches, sq_timeline *timeline,
                               sq_error *err)
{
    (void)p;
    (void)launches;
    (void)err;
    *timeline = (sq_timeline){.interval_ns = NAN,
                              .validity = "unsupported: built without CUPTI headers"};
    return SQ_OK;
}

#endif
