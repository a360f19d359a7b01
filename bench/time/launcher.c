/* launcher: see launcher.h. */
#include "bench/time/launcher.h"

#include <math.h>
#include <stdlib.h>

/* The hold is a time-out, not a cost: it ends when the host is done. It must end by itself, because
 * a launch that waits for the device while the stream is held would wait for ever. */
#define FIRST_HOLD_SECONDS 2e-3
#define LONGEST_HOLD_SECONDS 64e-3

/* A window of about 1 ms makes the events' 0.5 us resolution nothing; the launch queue holds about
 * 1,000 launches, and one that is full would wait for the held stream. */
#define BATCH_NS 1e6
enum { PROBE_BATCH = 16, LARGEST_BATCH = 512 };

sq_status sq_launcher_launch(void *launcher, sq_error *err)
{
    sq_launcher *l = launcher;
    const sq_sampling *what = l->what;
    int copy = l->next;
    l->next = (copy + 1) % what->copies;
    if (l->graph)
        return what->backend->replay(what->device, l->graph[copy], err);
    return what->launch(what->arg, copy, err);
}

typedef struct {
    const sq_sampling *what;
    int copy;
} turn;

static sq_status launch_turn(void *arg, sq_error *err)
{
    const turn *one = arg;
    return one->what->launch(one->what->arg, one->copy, err);
}

static sq_status capture_all(sq_launcher *l, int launches, sq_error *err)
{
    const sq_sampling *what = l->what;
    if (!what->backend->capture)
        return sq_fail(err, SQ_UNSUPPORTED, "backend %s has no graphs", what->backend->name);
    void **graph = calloc((size_t)what->copies, sizeof *graph);
    if (!graph)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %d graphs", what->copies);
    sq_status status = SQ_OK;
    for (int i = 0; i < what->copies && status == SQ_OK; i++) {
        turn one = {what, i};
        status = what->backend->capture(what->device, launch_turn, &one, launches, &graph[i], err);
    }
    l->graph = graph;
    return status;
}

static sq_status launch_all(sq_launcher *l, sq_error *err)
{
    l->next = 0;
    for (int i = 0; i < l->what->copies; i++)
        SQ_TRY(sq_launcher_launch(l, err));
    return l->what->backend->sync(l->what->device, err);
}

sq_status sq_launcher_open(const sq_sampling *what, int launches, sq_launcher *out, sq_error *err)
{
    *out = (sq_launcher){.what = what, .batch = 1, .hold_seconds = FIRST_HOLD_SECONDS};
    if (what->mode != SQ_LAUNCH_GRAPH)
        return SQ_OK;
    SQ_TRY(launch_all(out, err)); /* what is loaded lazily must not load within a capture */
    SQ_TRY(capture_all(out, launches, err));
    return launch_all(out, err);
}

void sq_launcher_close(sq_launcher *launcher)
{
    const sq_sampling *what = launcher->what;
    for (int i = 0; launcher->graph && i < what->copies; i++)
        what->backend->discard(what->device, launcher->graph[i]);
    free(launcher->graph);
    launcher->graph = NULL;
}

/* A longer hold, then a smaller batch, then none: the launch itself waits for the device, or it is
 * more kernels than the queue holds. */
static void be_late(sq_launcher *l)
{
    if (l->hold_seconds < LONGEST_HOLD_SECONDS) {
        l->hold_seconds *= 2;
        return;
    }
    l->is_changed = true;
    if (l->batch > 1) {
        l->batch /= 2;
        return;
    }
    l->hold_seconds = 0;
}

sq_status sq_launcher_sample(sq_launcher *launcher, sq_sample *out, sq_error *err)
{
    const sq_sampling *what = launcher->what;
    sq_sample_request request = {.cache = what->cache,
                                 .launches = launcher->batch,
                                 .hold_seconds = launcher->hold_seconds,
                                 .launch = sq_launcher_launch,
                                 .arg = launcher};
    SQ_TRY(what->backend->sample(what->device, &request, out, err));
    if (out->is_late)
        be_late(launcher);
    return SQ_OK;
}

int sq_launcher_batch(double launch_ns)
{
    double wanted = BATCH_NS / fmax(launch_ns, 1) + 1;
    return wanted > LARGEST_BATCH ? LARGEST_BATCH : wanted < 2 ? 2 : (int)wanted;
}

sq_status sq_launcher_settle(sq_launcher *launcher, sq_error *err)
{
    sq_sample probe;
    if (launcher->what->mode != SQ_LAUNCH_BATCH)
        return SQ_OK;
    launcher->batch = PROBE_BATCH;
    do
        SQ_TRY(sq_launcher_sample(launcher, &probe, err));
    while (probe.is_late);
    if (launcher->batch == PROBE_BATCH) /* a smaller one is all that can be held */
        launcher->batch = sq_launcher_batch(probe.ns);
    launcher->is_changed = false;
    return SQ_OK;
}
