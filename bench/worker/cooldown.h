/* cooldown: a rest before a run, so that heat of the cells before it does not slow it down. */
#ifndef SQ_BENCH_WORKER_COOLDOWN_H
#define SQ_BENCH_WORKER_COOLDOWN_H

#include "bench/worker/measure.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Degrees are headroom: what is left until the GPU holds its clocks down. */
typedef struct {
    double hot_c;  /* closer than this is waited out ... */
    double cool_c; /* ... until there is this much */
    double longest_seconds, poll_seconds;
} sq_cooldown_limits;

extern const sq_cooldown_limits sq_cooldown_limits_default; /* 10 C, 20 C, 180 s, 0.5 s */

typedef struct {
    double seconds;    /* rested; 0: there was no need */
    double headroom_c; /* at the end; NAN unknown */
    bool is_still_hot; /* the longest wait did not get there */
} sq_cooldown;

/* seconds > 0: rests so long. < 0: rests while the GPU is hot; not at all where the headroom is
 * unknown (nvml may be NULL). 0: does nothing. `alive` is called now and then. */
sq_cooldown sq_cooldown_rest(double seconds, const sq_cooldown_limits *limits, sq_nvml *nvml,
                             sq_alive_fn alive, void *alive_arg);

#ifdef __cplusplus
}
#endif
#endif
