/* sustain: see sustain.h. */
#include "bench/worker/sustain.h"

#include <math.h>

#include "bench/worker/load.h"

/* The device waits some 20 us for the host between two chunks. */
#define CHUNK_SECONDS 20e-3
#define ALIVE_SECONDS 1.0

/* The first launch loads the kernel, so the second one is the measure. */
static sq_status time_launch(sq_job *job, double *seconds, sq_error *err)
{
    SQ_TRY(sq_job_run_once(job, err));
    double start = sq_job_clock();
    SQ_TRY(sq_job_run_once(job, err));
    *seconds = sq_job_clock() - start;
    return SQ_OK;
}

static sq_status start_clock(sq_job *job, sq_error *err)
{
    const sq_backend *backend = job->rig->backend;
    return backend->clock_start ? backend->clock_start(job->rig->device, err) : SQ_OK;
}

static sq_status stop_clock(sq_job *job, double *mhz, sq_error *err)
{
    const sq_backend *backend = job->rig->backend;
    *mhz = NAN;
    return backend->clock_stop ? backend->clock_stop(job->rig->device, mhz, err) : SQ_OK;
}

/* Chunks until `interval` is over. */
static sq_status take_point(const sq_job_load *load, sq_nvml *nvml, double interval,
                            sq_sustain_point *point, sq_error *err)
{
    double start = sq_job_clock(), now = start;
    int launches = 0;
    SQ_TRY(start_clock(load->job, err));
    for (; now - start < interval; now = sq_job_clock()) {
        SQ_TRY(sq_load_run(load, err));
        launches += load->chunk;
    }
    SQ_TRY(stop_clock(load->job, &point->sm_mhz, err));
    point->launches_per_s = launches / (now - start);
    point->power_w = sq_nvml_power_w(nvml);
    point->temperature_c = sq_nvml_temperature_c(nvml);
    return SQ_OK;
}

sq_status sq_sustain_run(sq_job *job, sq_nvml *nvml, double seconds, double interval,
                         sq_alive_fn alive, void *alive_arg, sq_sustain_point *points, int *n,
                         sq_error *err)
{
    double launch_seconds;
    *n = 0;
    alive(alive_arg);
    SQ_TRY(time_launch(job, &launch_seconds, err));
    const sq_job_load load = sq_load_plain(job, launch_seconds, fmin(CHUNK_SECONDS, interval));
    double start = sq_job_clock(), last_alive = start, now = start;
    while (now - start < seconds && *n < SQ_SUSTAIN_MAX_POINTS) {
        sq_sustain_point *point = &points[(*n)++];
        SQ_TRY(take_point(&load, nvml, interval, point, err));
        now = sq_job_clock();
        point->seconds = now - start;
        if (now - last_alive >= ALIVE_SECONDS) {
            last_alive = now;
            alive(alive_arg);
        }
    }
    return SQ_OK;
}
