/* meter: see meter.h. */
#include "bench/worker/meter.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench/worker/job.h"

enum { POLL_MS = 1, MAX_TICKS = 8192 };

struct sq_meter {
    sq_nvml *nvml;
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below */
    bool is_ended;
    int n;
    sq_tick tick[MAX_TICKS];
};

static void keep_tick(sq_meter *m, double seconds, double joules)
{
    pthread_mutex_lock(&m->lock);
    if (m->n < MAX_TICKS)
        m->tick[m->n++] = (sq_tick){.seconds = seconds, .joules = joules};
    pthread_mutex_unlock(&m->lock);
}

static bool goes_on(sq_meter *m)
{
    pthread_mutex_lock(&m->lock);
    bool is_ended = m->is_ended;
    pthread_mutex_unlock(&m->lock);
    return !is_ended;
}

static void *watch(void *arg)
{
    sq_meter *m = arg;
    double last = sq_nvml_energy_j(m->nvml);
    while (goes_on(m)) {
        poll(NULL, 0, POLL_MS);
        double joules = sq_nvml_energy_j(m->nvml);
        if (joules > last)
            keep_tick(m, sq_job_clock(), joules);
        if (!isnan(joules))
            last = joules;
    }
    return NULL;
}

sq_status sq_meter_start(sq_nvml *nvml, sq_meter **out, sq_error *err)
{
    sq_meter *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the energy meter");
    m->nvml = nvml;
    pthread_mutex_init(&m->lock, NULL);
    int code = pthread_create(&m->thread, NULL, watch, m);
    if (code != 0) {
        pthread_mutex_destroy(&m->lock);
        free(m);
        return sq_fail(err, SQ_INTERNAL, "energy meter: %s", strerror(code));
    }
    *out = m;
    return SQ_OK;
}

int sq_meter_count(sq_meter *m, sq_tick *last)
{
    pthread_mutex_lock(&m->lock);
    int n = m->n;
    if (n > 0)
        *last = m->tick[n - 1];
    pthread_mutex_unlock(&m->lock);
    return n;
}

int sq_meter_read(sq_meter *m, sq_tick *out, int most)
{
    pthread_mutex_lock(&m->lock);
    int n = m->n < most ? m->n : most;
    memcpy(out, m->tick, (size_t)n * sizeof *out);
    pthread_mutex_unlock(&m->lock);
    return n;
}

void sq_meter_stop(sq_meter *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->is_ended = true;
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
