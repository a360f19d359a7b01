/* counter_config: a list of metrics turned into CUPTI's configuration image, by the host API alone:
 * needs no GPU and no driver. Internal to profile/. */
#ifndef SQ_PROFILE_COUNTER_CONFIG_H
#define SQ_PROFILE_COUNTER_CONFIG_H

#include "profile/cupti_api.h"
#include "profile/sets.h"

#ifdef SQ_HAS_CUPTI

enum { SQ_MAX_COUNTERS = SQ_SET_MAX_METRICS };

typedef struct {
    CUpti_Profiler_Host_Object *host;
    const char *metrics[SQ_MAX_COUNTERS]; /* those that the chip knows, in the order asked */
    size_t n_metrics;
    uint8_t *image;
    size_t image_bytes, passes;
} sq_counter_config;

/* type: ranges or PM sampling. Each name is tried alone, since one unknown name fails the whole list;
 * unknown ones are left out of config->metrics. availability: NULL offline. Failures are validity
 * texts. Close also after a failure. */
sq_status sq_counter_config_open(const sq_cupti *api, CUpti_ProfilerType type, const char *chip,
                                 const uint8_t *availability, const char *const *names,
                                 size_t n_names, sq_counter_config *config, sq_error *err);
/* The metrics of the image in range or sample `index` of counter data. */
sq_status sq_counter_config_evaluate(const sq_cupti *api, const sq_counter_config *config,
                                     const uint8_t *data, size_t data_bytes, size_t index,
                                     double *values, sq_error *err);
void sq_counter_config_close(const sq_cupti *api, sq_counter_config *config);

#endif
#endif
