/* load: see load.h. */
#include "bench/worker/load.h"

enum { MAX_CHUNK = 10000 };

int sq_load_chunk(double launch_seconds, double seconds)
{
    double chunk = seconds / launch_seconds;
    return chunk >= MAX_CHUNK ? MAX_CHUNK : chunk >= 1 ? (int)chunk : 1;
}

sq_status sq_load_run(sq_job *job, int launches, sq_error *err)
{
    for (int i = 0; i < launches; i++)
        SQ_TRY(sq_job_launch_next(job, err));
    return job->rig->backend->sync(job->rig->device, err);
}
