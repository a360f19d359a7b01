/* profiler_parts: what the parts of the profiler share. Internal to profile/; tests drive it with a
 * table of their own functions. */
#ifndef SQ_PROFILE_PROFILER_PARTS_H
#define SQ_PROFILE_PROFILER_PARTS_H

#include "profile/counter_config.h"
#include "profile/cupti_api.h"
#include "profile/profile.h"
#include "profile/sets.h"

#ifdef SQ_HAS_CUPTI

struct sq_profiler {
    sq_cupti api;
    CUpti_SubscriberHandle subscriber;
    CUcontext context;
    int device;
    bool is_subscribed, is_initialized;
    uint8_t *availability;
    char chip[64];                          /* as CUPTI names it; "" unknown */
    char no_counters[96], no_trace[96];     /* why; empty where they are there */
    char sets[256];                         /* those that `set` and `config` are of */
    sq_counter_set *set;
    sq_counter_config config[SQ_SET_MAX_IMAGES];
    char no_config[SQ_SET_MAX_IMAGES][96];
};

/* As sq_profiler_open, with a driver that was checked and functions that need not be CUPTI's. */
sq_status sq_profiler_open_with(const sq_cupti *api, CUcontext context, int device,
                                sq_profiler **out, sq_error *err);

#endif
#endif
