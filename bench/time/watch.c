/* watch: see watch.h. */
#include "bench/time/watch.h"

static bool was_slowed(void *arg, char *why, size_t size)
{
    sq_driver_watch *state = arg;
    sq_nvml_throttle now;
    sq_nvml_read_throttle(state->nvml, &now);
    bool is_disturbed = sq_nvml_disturbed(&state->last, &now, why, size);
    state->last = now;
    return is_disturbed;
}

sq_watch sq_watch_driver(sq_nvml *nvml, sq_driver_watch *state)
{
    *state = (sq_driver_watch){.nvml = nvml};
    if (!nvml)
        return (sq_watch){.was_slowed = NULL};
    sq_nvml_read_throttle(nvml, &state->last);
    return (sq_watch){was_slowed, state};
}
