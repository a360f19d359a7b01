#include "profile/counter_config.h"

#include "profile/profile.h"

#ifdef SQ_HAS_CUPTI

#include <stdlib.h>

/* What a host object is made for. */
typedef struct {
    const sq_cupti *api;
    CUpti_ProfilerType type;
    const char *chip;
    const uint8_t *availability;
} target;

static CUptiResult open_host(const target *t, CUpti_Profiler_Host_Object **host)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_Initialize, p);
    p.profilerType = t->type;
    p.pChipName = t->chip;
    p.pCounterAvailabilityImage = t->availability;
    CUptiResult code = t->api->cuptiProfilerHostInitialize(&p);
    *host = code == CUPTI_SUCCESS ? p.pHostObject : NULL;
    return code;
}

static void close_host(const sq_cupti *api, CUpti_Profiler_Host_Object *host)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_Deinitialize, p);
    p.pHostObject = host;
    if (host)
        api->cuptiProfilerHostDeinitialize(&p);
}

static CUptiResult add_metrics(const sq_cupti *api, CUpti_Profiler_Host_Object *host,
                               const char **names, size_t n)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_ConfigAddMetrics, p);
    p.pHostObject = host;
    p.ppMetricNames = names;
    p.numMetrics = n;
    return api->cuptiProfilerHostConfigAddMetrics(&p);
}

static CUptiResult image_size(const sq_cupti *api, CUpti_Profiler_Host_Object *host, size_t *bytes)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_GetConfigImageSize, size);
    size.pHostObject = host;
    CUptiResult code = api->cuptiProfilerHostGetConfigImageSize(&size);
    *bytes = size.configImageSize;
    return code;
}

/* What a card lacks (NVLink) shows in the image only. */
static int is_known(const target *t, const char *name)
{
    CUpti_Profiler_Host_Object *host = NULL;
    size_t bytes;
    int known = open_host(t, &host) == CUPTI_SUCCESS &&
                add_metrics(t->api, host, &name, 1) == CUPTI_SUCCESS &&
                image_size(t->api, host, &bytes) == CUPTI_SUCCESS;
    close_host(t->api, host);
    return known;
}

static CUptiResult make_image(const sq_cupti *api, sq_counter_config *config)
{
    CUptiResult code = image_size(api, config->host, &config->image_bytes);
    if (code != CUPTI_SUCCESS)
        return code;
    config->image = calloc(config->image_bytes, 1);
    if (!config->image)
        return CUPTI_ERROR_OUT_OF_MEMORY;
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_GetConfigImage, get);
    get.pHostObject = config->host;
    get.configImageSize = config->image_bytes;
    get.pConfigImage = config->image;
    code = api->cuptiProfilerHostGetConfigImage(&get);
    if (code != CUPTI_SUCCESS)
        return code;
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_GetNumOfPasses, passes);
    passes.configImageSize = config->image_bytes;
    passes.pConfigImage = config->image;
    code = api->cuptiProfilerHostGetNumOfPasses(&passes);
    config->passes = passes.numOfPasses;
    return code;
}

sq_status sq_counter_config_open(const sq_cupti *api, CUpti_ProfilerType type, const char *chip,
                                 const uint8_t *availability, const char *const *names,
                                 size_t n_names, sq_counter_config *config, sq_error *err)
{
    const target t = {api, type, chip, availability};
    *config = (sq_counter_config){.host = NULL};
    CUptiResult code = open_host(&t, &config->host);
    if (code != CUPTI_SUCCESS)
        return sq_cupti_judge(api, code, "host object", err);
    for (size_t i = 0; i < n_names && config->n_metrics < SQ_MAX_COUNTERS; i++)
        if (is_known(&t, names[i]))
            config->metrics[config->n_metrics++] = names[i];
    if (config->n_metrics == 0)
        return sq_fail(err, SQ_UNSUPPORTED, "unsupported: %s knows no metric of the set", chip);
    code = add_metrics(api, config->host, config->metrics, config->n_metrics);
    if (code != CUPTI_SUCCESS)
        return sq_cupti_judge(api, code, "metric list", err);
    code = make_image(api, config);
    return sq_cupti_judge(api, code, "configuration", err);
}

sq_status sq_counter_config_evaluate(const sq_cupti *api, const sq_counter_config *config,
                                     const uint8_t *data, size_t data_bytes, size_t index,
                                     double *values, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Host_EvaluateToGpuValues, e);
    e.pHostObject = config->host;
    e.pCounterDataImage = data;
    e.counterDataImageSize = data_bytes;
    e.rangeIndex = index;
    e.ppMetricNames = (const char **)config->metrics;
    e.numMetrics = config->n_metrics;
    e.pMetricValues = values;
    return sq_cupti_judge(api, api->cuptiProfilerHostEvaluateToGpuValues(&e), "evaluate", err);
}

void sq_counter_config_close(const sq_cupti *api, sq_counter_config *config)
{
    close_host(api, config->host);
    free(config->image);
    *config = (sq_counter_config){.host = NULL};
}

sq_status sq_counters_offline_passes(const char *chip, bool is_sampled,
                                     const char *const *cupti_names, int count, int *passes,
                                     sq_error *err)
{
    sq_cupti api;
    sq_counter_config config;
    SQ_TRY(sq_cupti_load(&api, err));
    CUpti_ProfilerType type =
        is_sampled ? CUPTI_PROFILER_TYPE_PM_SAMPLING : CUPTI_PROFILER_TYPE_RANGE_PROFILER;
    sq_status status =
        sq_counter_config_open(&api, type, chip, NULL, cupti_names, (size_t)count, &config, err);
    size_t k = 0;
    for (int i = 0; i < count && status == SQ_OK; i++) {
        if (k < config.n_metrics && config.metrics[k] == cupti_names[i])
            k++;
        else
            status = sq_fail(err, SQ_UNSUPPORTED, "%s has no metric %s", chip, cupti_names[i]);
    }
    *passes = status == SQ_OK ? (int)config.passes : 0;
    sq_counter_config_close(&api, &config);
    return status;
}

#else

sq_status sq_counters_offline_passes(const char *chip, bool is_sampled,
                                     const char *const *cupti_names, int count, int *passes,
                                     sq_error *err)
{
    (void)chip;
    (void)is_sampled;
    (void)cupti_names;
    (void)count;
    *passes = 0;
    return sq_fail(err, SQ_UNSUPPORTED, "built without CUPTI headers");
}

#endif
