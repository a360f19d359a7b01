/* load: see load.h. */
#include "bench/worker/load.h"

#include "bench/time/launcher.h"

enum { MAX_CHUNK = 10000 };

static int chunk_of(double launch_seconds, double seconds)
{
    double chunk = seconds / launch_seconds;
    return chunk >= MAX_CHUNK ? MAX_CHUNK : chunk >= 1 ? (int)chunk : 1;
}

sq_job_load sq_load_plain(sq_job *job, double launch_seconds, double seconds)
{
    return (sq_job_load){
        .job = job, .chunk = chunk_of(launch_seconds, seconds), .graph_launches = 1};
}

static int multiple_of(int unit, int least)
{
    return (least + unit - 1) / unit * unit;
}

/* A graph holds whole turns of the copies. */
static sq_status capture(sq_job_load *load, double launch_ns, sq_error *err)
{
    const sq_rig *rig = load->job->rig;
    int launches = multiple_of(load->job->copies, sq_launcher_batch(launch_ns));
    SQ_TRY(rig->backend->capture(rig->device, sq_job_launch_next, load->job, launches, &load->graph,
                                 err));
    load->graph_launches = launches;
    load->chunk = multiple_of(launches, load->chunk);
    return SQ_OK;
}

sq_status sq_load_open(sq_job *job, double launch_seconds, double seconds, sq_job_load *out,
                       sq_error *err)
{
    sq_error why;
    double launch_ns = 1e9 * launch_seconds;
    *out = sq_load_plain(job, launch_seconds, seconds);
    if (launch_ns >= SQ_LAUNCH_BOUND_NS || !job->rig->backend->capture)
        return SQ_OK;
    sq_status status = capture(out, launch_ns, &why);
    if (status == SQ_OK || status == SQ_UNSUPPORTED)
        return SQ_OK;
    return sq_fail(err, status, "%s", why.message);
}

sq_status sq_load_run(const sq_job_load *load, sq_error *err)
{
    const sq_rig *rig = load->job->rig;
    for (int i = 0; i < load->chunk; i += load->graph_launches)
        SQ_TRY(load->graph ? rig->backend->replay(rig->device, load->graph, err)
                           : sq_job_launch_next(load->job, err));
    return rig->backend->sync(rig->device, err);
}

void sq_load_close(sq_job_load *load)
{
    const sq_rig *rig = load->job->rig;
    if (load->graph)
        rig->backend->discard(rig->device, load->graph);
    load->graph = NULL;
}
