/* watch: the driver's throttle times as the sampling loop's watch. */
#ifndef SQ_BENCH_TIME_WATCH_H
#define SQ_BENCH_TIME_WATCH_H

#include "bench/time/sampling.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the driver said at the last question. */
typedef struct {
    sq_nvml *nvml; /* NULL: nobody to ask */
    sq_nvml_throttle last;
} sq_driver_watch;

/* A watch over `state`, which must stay where it is; one that drops nothing where nvml is NULL. */
sq_watch sq_watch_driver(sq_nvml *nvml, sq_driver_watch *state);

#ifdef __cplusplus
}
#endif
#endif
