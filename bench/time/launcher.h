/* launcher: what one sample launches (the call, a graph of it, a batch), with its copies in turn,
 * and how long the stream is held meanwhile. Internal to bench/time. */
#ifndef SQ_BENCH_TIME_LAUNCHER_H
#define SQ_BENCH_TIME_LAUNCHER_H

#include "bench/time/sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const sq_sampling *what;
    int next;     /* copy of the next launch */
    void **graph; /* one a copy, where graphs are launched */
    int batch;    /* launches of a sample */
    double hold_seconds;
    bool is_changed; /* samples taken so far are not comparable with later ones */
} sq_launcher;

/* With SQ_LAUNCH_GRAPH: captures a graph of `launches` launches of each copy, and launches them all
 * once. `what` must stay where it is. After a failure sq_launcher_close is still due. */
sq_status sq_launcher_open(const sq_sampling *what, int launches, sq_launcher *out, sq_error *err);
void sq_launcher_close(sq_launcher *launcher);

/* Below it the front end of a launch is a visible part of its time, and plain calls back to back
 * follow the host's pace. */
#define SQ_LAUNCH_BOUND_NS 20e3

/* One launch as the mode says; a sq_launch_fn. */
sq_status sq_launcher_launch(void *launcher, sq_error *err);

/* Launches of launch_ns each that make about 1 ms, and fewer than the launch queue holds. */
int sq_launcher_batch(double launch_ns);
/* Finds how many launches make a batch. */
sq_status sq_launcher_settle(sq_launcher *launcher, sq_error *err);

/* One sample. Every kernel must have been launched before, unheld: one that is loaded lazily cannot
 * load while the stream is held. Where it is late the launcher changes how it holds, and the caller
 * takes another. */
sq_status sq_launcher_sample(sq_launcher *launcher, sq_sample *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
