/* activity: which kernels a launch ran, and for how long (CUPTI activity API). Internal to profile/. */
#ifndef SQ_PROFILE_ACTIVITY_H
#define SQ_PROFILE_ACTIVITY_H

#include "profile/cupti_api.h"
#include "profile/profile.h"

#ifdef SQ_HAS_CUPTI

enum { SQ_TRACED_LAUNCHES = 5 };

/* Registers the buffer callbacks; once a process. */
sq_status sq_activity_register(const sq_cupti *api, sq_error *err);

/* Traces SQ_TRACED_LAUNCHES launches, each after `reset`, and adds activity_ns (the median of their
 * sums) and the kernels of the median launch, in the order they started: kernels of a CUDA graph one
 * by one, copies and fills of the device as "[memcpy]" and "[memset]". SQ_UNSUPPORTED with a validity
 * text where CUPTI refuses. */
sq_status sq_activity_trace(const sq_cupti *api, const sq_launches *launches, sq_record *record,
                            sq_error *err);

#endif
#endif
