/* energy: joules of a launch, by the driver's total-energy counter.
 *
 * Launches are repeated back to back (hot, unless the job has copies that take turns: clearing the
 * cache would be measured along; short ones by a graph, else the host's pace would decide how much
 * of the power between idle and full is theirs) for a while that begins and ends at ticks of the
 * counter; the power that the GPU takes with nothing running, measured the same way before, is
 * subtracted. The interval comes from one tick of energy in the window and the interval of the idle
 * power.
 */
#ifndef SQ_BENCH_WORKER_ENERGY_H
#define SQ_BENCH_WORKER_ENERGY_H

#include "bench/worker/measure.h"
#include "profile/nvml.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double idle_seconds, load_seconds; /* least windows, from tick to tick */
    double tick_seconds;               /* a counter that stands still for longer does not tick */
} sq_energy_plan;

extern const sq_energy_plan sq_energy_plan_default; /* 1 s, 2 s, 1 s */

/* A mean over a window of ticks. half: half the width of its interval. validity: "ok" or why there
 * is none. */
typedef struct {
    double watts, half;
    int ticks;
    char validity[96];
} sq_power;

/* The device must have nothing to do. nvml NULL, or without the counter: not an error but a
 * validity. An error is a lack of memory or threads. */
sq_status sq_energy_idle(sq_nvml *nvml, const sq_energy_plan *plan, sq_alive_fn alive,
                         void *alive_arg, sq_power *out, sq_error *err);

/* Runs the job (prepared; its launch takes about launch_seconds) and adds energy_j_per_launch,
 * energy_j_per_token, energy_is_graph, load_power_w and idle_power_w to the record, absent ones
 * with their reason. An error is a failed launch. */
sq_status sq_energy_measure(sq_job *job, sq_nvml *nvml, const sq_energy_plan *plan,
                            double launch_seconds, const sq_power *idle, sq_alive_fn alive,
                            void *alive_arg, sq_record *record, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
