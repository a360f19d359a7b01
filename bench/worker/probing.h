/* probing: one probe (core/backend/probe.h) tried, timed by the sampling loop that cells are timed
 * with, checked, and turned into ceilings.
 */
#ifndef SQ_BENCH_WORKER_PROBING_H
#define SQ_BENCH_WORKER_PROBING_H

#include "bench/worker/measure.h"
#include "bench/worker/rig.h"
#include "core/backend/probe.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How long a ceiling may take. Probes with a sustained value are timed in bursts: `bursts` times
 * `burst_seconds` of launches, each after a rest. */
typedef struct {
    sq_policy policy; /* of the other probes */
    int bursts;
    double burst_seconds, rest_seconds;
    double sustained_seconds; /* 0: no sustained value */
} sq_probe_effort;

typedef struct {
    void *arg;
    sq_status (*take)(void *arg, const sq_ceiling *ceiling, sq_error *err);
    /* A ceiling that this device does not have, or that could not be measured. */
    void (*absent)(void *arg, const char *name, const char *reason);
    sq_alive_fn alive; /* of `arg`, about once a second */
} sq_ceiling_listener;

/* The state of the GPU under the last sustained load; NAN where unknown. */
typedef struct {
    sq_ceiling power, clock;
} sq_probe_load;

/* Gives the probe's ceilings to the listener. A probe that is unsupported, fails or computes
 * something wrong is told as absent; an error is one of the listener, or a device that no longer
 * works. nvml and load may be NULL. */
sq_status sq_probe_measure(const sq_rig *rig, const sq_probe *probe, const sq_probe_effort *effort,
                           const sq_ceiling_listener *listener, sq_nvml *nvml, sq_probe_load *load,
                           sq_error *err);

/* The probe of that name: the backend's, else the vendor libraries'; NULL: none. */
const sq_probe *sq_probe_find(const sq_rig *rig, const char *name);

/* A ceiling out of some readings: median, and their 95 % interval (below six: smallest and
 * largest). All NAN where n is 0. */
sq_ceiling sq_ceiling_of_readings(const char *name, const double *readings, int n);

void sq_probe_rest(double seconds);

#ifdef __cplusplus
}
#endif
#endif
