/* activity: which kernels a launch ran (CUPTI activity API). Internal to profile/. */
#ifndef SQ_PROFILE_ACTIVITY_H
#define SQ_PROFILE_ACTIVITY_H

#include "profile/cupti_api.h"
#include "profile/profile.h"

#ifdef SQ_HAS_CUPTI

/* Registers the buffer callbacks; once a process. */
sq_status sq_activity_register(const sq_cupti *api, sq_error *err);

/* Traces one launch, after `reset` has run and been waited for, and adds its kernels to the record
 * in the order they started. */
sq_status sq_activity_trace(const sq_cupti *api, sq_launch_fn launch, sq_launch_fn reset,
                            sq_launch_fn sync, void *arg, sq_record *record, sq_error *err);

#endif
#endif
