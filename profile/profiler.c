/* profiler: opens CUPTI once a process, then traces and counts one launch after another. */
#include "profile/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profile/activity.h"
#include "profile/counts.h"
#include "profile/profiler_parts.h"
#include "profile/range.h"
#include "profile/sets.h"

static void keep_reason(char out[96], const char *start, const char *message)
{
    size_t used = strlen(start);
    memcpy(out, start, used);
    snprintf(out + used, 96 - used, "%.*s", (int)(95 - used), message);
}

/* Every metric of the sets without a number. */
static sq_status add_all_absent(sq_record *record, const sq_counter_set *set, const char *why)
{
    sq_image_counts *counts = calloc((size_t)set->n_images, sizeof *counts);
    if (!counts)
        return SQ_OUT_OF_MEMORY;
    for (int i = 0; i < set->n_images; i++) {
        counts[i].image = &set->image[i];
        keep_reason(counts[i].refused, "", why);
    }
    sq_status status = sq_counts_keep(counts, set->n_images, "this chip", record);
    free(counts);
    return status;
}

#ifdef SQ_HAS_CUPTI

static void CUPTIAPI ignore_callback(void *user, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                                     const void *data)
{
    (void)user;
    (void)domain;
    (void)id;
    (void)data;
}

static sq_status judge(const sq_profiler *p, CUptiResult code, const char *what, sq_error *err)
{
    return sq_cupti_judge(&p->api, code, what, err);
}

/* --- opening --- */

static sq_status initialize(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_Initialize, init);
    SQ_TRY(judge(p, p->api.cuptiProfilerInitialize(&init), "initialize", err));
    p->is_initialized = true;
    return SQ_OK;
}

static sq_status check_support(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_DeviceSupported, s);
    s.cuDevice = p->device;
    s.api = CUPTI_PROFILER_RANGE_PROFILING;
    SQ_TRY(judge(p, p->api.cuptiProfilerDeviceSupported(&s), "device", err));
    const CUpti_Profiler_Support_Level good = CUPTI_PROFILER_CONFIGURATION_SUPPORTED;
    if (s.isSupported == good)
        return SQ_OK;
    if (s.vGpu == CUPTI_PROFILER_CONFIGURATION_DISABLED)
        return sq_fail(err, SQ_UNSUPPORTED,
                       "refused: no permission on this vGPU: its hypervisor must allow counters");
    const char *what = s.architecture != good          ? "of its architecture"
                       : s.vGpu != good                ? "it is a vGPU"
                       : s.confidentialCompute != good ? "of confidential computing"
                       : s.sli != good                 ? "of SLI"
                       : s.cmp != good                 ? "it is a mining card"
                       : s.wsl != good                 ? "of WSL"
                                                       : "CUPTI says so";
    return sq_fail(err, SQ_UNSUPPORTED, "unsupported: this GPU has no counters, for %s", what);
}

static sq_status read_availability(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Profiler_GetCounterAvailability, get);
    get.ctx = p->context;
    SQ_TRY(judge(p, p->api.cuptiProfilerGetCounterAvailability(&get), "availability", err));
    p->availability = calloc(get.counterAvailabilityImageSize, 1);
    if (!p->availability)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the counter availability");
    get.pCounterAvailabilityImage = p->availability;
    return judge(p, p->api.cuptiProfilerGetCounterAvailability(&get), "availability", err);
}

static sq_status read_chip(sq_profiler *p, sq_error *err)
{
    SQ_CUPTI_PARAMS(CUpti_Device_GetChipName, chip);
    chip.deviceIndex = (size_t)p->device;
    SQ_TRY(judge(p, p->api.cuptiDeviceGetChipName(&chip), "chip name", err));
    snprintf(p->chip, sizeof p->chip, "%s", chip.pChipName);
    return SQ_OK;
}

static sq_status open_counters(sq_profiler *p, sq_error *err)
{
    SQ_TRY(initialize(p, err));
    SQ_TRY(read_chip(p, err));
    SQ_TRY(check_support(p, err));
    return read_availability(p, err);
}

/* The trace needs no permission, so it may be had where counters are refused. */
static void open_parts(sq_profiler *p)
{
    sq_error why = {.message = ""};
    if (judge(p, p->api.cuptiSubscribe(&p->subscriber, ignore_callback, NULL), "subscribe", &why) !=
        SQ_OK) {
        keep_reason(p->no_counters, "", why.message);
        keep_reason(p->no_trace, "", why.message);
        return;
    }
    p->is_subscribed = true;
    if (sq_activity_register(&p->api, &why) != SQ_OK)
        keep_reason(p->no_trace, "", why.message);
    if (open_counters(p, &why) != SQ_OK)
        keep_reason(p->no_counters, "", why.message);
}

static sq_profiler *new_profiler(sq_error *err)
{
    sq_profiler *p = calloc(1, sizeof *p);
    if (!p)
        sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the profiler");
    return p;
}

sq_status sq_profiler_open_with(const sq_cupti *api, CUcontext context, int device,
                                sq_profiler **out, sq_error *err)
{
    sq_profiler *p = *out = new_profiler(err);
    if (!p)
        return SQ_OUT_OF_MEMORY;
    p->api = *api;
    p->context = context;
    p->device = device;
    open_parts(p);
    return SQ_OK;
}

static sq_status find_parts(sq_cupti *api, CUcontext *context, sq_error *err)
{
    SQ_TRY(sq_driver_check(err)); /* before any target-side call of CUPTI */
    SQ_TRY(sq_cupti_load(api, err));
    return sq_driver_context(context, err);
}

sq_status sq_profiler_open(int device_index, sq_profiler **out, sq_error *err)
{
    sq_cupti api;
    CUcontext context;
    sq_error why = {.message = ""};
    if (find_parts(&api, &context, &why) == SQ_OK)
        return sq_profiler_open_with(&api, context, device_index, out, err);
    sq_profiler *p = *out = new_profiler(err);
    if (!p)
        return SQ_OUT_OF_MEMORY;
    keep_reason(p->no_counters, "unsupported: ", why.message);
    keep_reason(p->no_trace, "unsupported: ", why.message);
    return SQ_OK;
}

static void drop_set(sq_profiler *p)
{
    for (int i = 0; p->set && i < p->set->n_images; i++)
        if (p->config[i].host)
            sq_counter_config_close(&p->api, &p->config[i]);
    sq_set_free(p->set);
    p->set = NULL;
    p->sets[0] = 0;
}

void sq_profiler_close(sq_profiler *p)
{
    if (!p)
        return;
    drop_set(p);
    SQ_CUPTI_PARAMS(CUpti_Profiler_DeInitialize, deinit);
    if (p->is_initialized)
        p->api.cuptiProfilerDeInitialize(&deinit);
    if (p->is_subscribed)
        p->api.cuptiUnsubscribe(p->subscriber);
    free(p->availability);
    free(p);
}

/* --- measuring --- */

static void configure(sq_profiler *p, int i)
{
    const sq_set_image *image = &p->set->image[i];
    const char *names[SQ_SET_MAX_METRICS];
    size_t n = 0;
    sq_error why = {.message = ""};
    for (int k = 0; k < image->n; k++)
        if (image->line[k].cupti)
            names[n++] = image->line[k].cupti;
    p->no_config[i][0] = 0;
    if (sq_counter_config_open(&p->api, CUPTI_PROFILER_TYPE_RANGE_PROFILER, p->chip,
                               p->availability, names, n, &p->config[i], &why) != SQ_OK)
        keep_reason(p->no_config[i], "", why.message);
}

/* Cells of a campaign are counted by the same sets: their images are made once. */
static sq_status use_sets(sq_profiler *p, const char *sets, sq_error *err)
{
    if (p->set && strcmp(p->sets, sets) == 0)
        return SQ_OK;
    drop_set(p);
    memset(p->config, 0, sizeof p->config);
    SQ_TRY(sq_set_load(sets, p->chip[0] ? p->chip : NULL, &p->set, err));
    snprintf(p->sets, sizeof p->sets, "%s", sets);
    for (int i = 0; i < p->set->n_images && !p->no_counters[0]; i++)
        configure(p, i);
    return SQ_OK;
}

static sq_status trace(sq_profiler *p, const sq_launches *launches, sq_record *record,
                       sq_error *err)
{
    sq_error why = {.message = ""};
    if (p->no_trace[0])
        return sq_counts_add_absent(record, "activity_ns", p->no_trace);
    sq_status status = sq_activity_trace(&p->api, launches, record, &why);
    if (status == SQ_UNSUPPORTED)
        return sq_counts_add_absent(record, "activity_ns", why.message);
    return status == SQ_OK ? SQ_OK : sq_fail(err, status, "%s", why.message);
}

static sq_status count_image(sq_profiler *p, int i, const sq_launches *launches,
                             sq_image_counts *counts, sq_error *err)
{
    sq_error why = {.message = ""};
    const sq_counter_config *config = &p->config[i];
    *counts = (sq_image_counts){.image = &p->set->image[i],
                                .n_known = config->n_metrics,
                                .known = config->metrics};
    if (p->no_config[i][0]) {
        keep_reason(counts->refused, "", p->no_config[i]);
        return SQ_OK;
    }
    sq_status status =
        sq_range_count(&p->api, p->context, config, launches, counts->value, &why);
    if (status == SQ_UNSUPPORTED)
        keep_reason(counts->refused, "", why.message);
    else if (status != SQ_OK)
        return sq_fail(err, status, "%s", why.message);
    return SQ_OK;
}

static sq_status count(sq_profiler *p, const sq_launches *launches, sq_record *record,
                       sq_error *err)
{
    sq_image_counts *counts = calloc((size_t)p->set->n_images, sizeof *counts);
    if (!counts)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for counters");
    sq_status status = SQ_OK;
    for (int i = 0; i < p->set->n_images && status == SQ_OK; i++)
        status = count_image(p, i, launches, &counts[i], err);
    if (status == SQ_OK)
        status = sq_counts_keep(counts, p->set->n_images, p->chip, record);
    free(counts);
    return status;
}

sq_status sq_profiler_measure(sq_profiler *p, const char *sets, const sq_launches *launches,
                              sq_record *record, sq_error *err)
{
    SQ_TRY(use_sets(p, sets, err));
    SQ_TRY(trace(p, launches, record, err));
    if (p->no_counters[0])
        return add_all_absent(record, p->set, p->no_counters);
    return count(p, launches, record, err);
}

int sq_profiler_passes(const sq_profiler *p)
{
    size_t passes = 0;
    for (int i = 0; p->set && i < p->set->n_images; i++)
        passes += p->config[i].passes;
    return (int)passes;
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
             !is_admin_only() ? "open to every user"
             : geteuid() == 0
                 ? "for administrators only, of which you are one"
                 : "for administrators only (NVreg_RestrictProfilingToAdminUsers=1): run as root");
}

#else

struct sq_profiler {
    char nothing;
};

static const char no_headers[] = "unsupported: built without CUPTI headers";

sq_status sq_profiler_open(int device_index, sq_profiler **out, sq_error *err)
{
    (void)device_index;
    *out = calloc(1, sizeof **out);
    return *out ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the profiler");
}

void sq_profiler_close(sq_profiler *p)
{
    free(p);
}

int sq_profiler_passes(const sq_profiler *p)
{
    (void)p;
    return 0;
}

sq_status sq_profiler_measure(sq_profiler *p, const char *sets, const sq_launches *launches,
                              sq_record *record, sq_error *err)
{
    sq_counter_set *set;
    (void)p;
    (void)launches;
    SQ_TRY(sq_set_load(sets, NULL, &set, err));
    sq_status status = sq_counts_add_absent(record, "activity_ns", no_headers);
    if (status == SQ_OK)
        status = add_all_absent(record, set, no_headers);
    sq_set_free(set);
    return status;
}

void sq_profile_describe_cupti(char *out, size_t size)
{
    snprintf(out, size, "absent: built without CUPTI headers");
}

#endif
