/* range: one configuration image counted over repeated launches by CUPTI's range profiler (user
 * range, user replay). Order of calls and their pitfalls: NVIDIA CUPTI documentation, "Range
 * Profiling API". Internal to profile/. */
#ifndef SQ_PROFILE_RANGE_H
#define SQ_PROFILE_RANGE_H

#include "profile/counter_config.h"
#include "profile/counts.h"
#include "profile/profile.h"

#ifdef SQ_HAS_CUPTI

/* Launches SQ_COUNT_REPEATS times in each pass, after launches that count nothing and bring the
 * clocks up. values: in the order of config->metrics. SQ_UNSUPPORTED with a validity text where
 * CUPTI refuses; another error is one of the launch. */
sq_status sq_range_count(const sq_cupti *api, CUcontext context, const sq_counter_config *config,
                         const sq_launches *launches,
                         double values[SQ_COUNT_REPEATS][SQ_SET_MAX_METRICS], sq_error *err);

#endif
#endif
