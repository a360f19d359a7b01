/* slowdown: see slowdown.h. */
#include "bench/worker/slowdown.h"

#include <stdlib.h>
#include <string.h>

#include "core/stats.h"

enum { LAUNCHES = 20 }; /* the clock of the first of them is still rising */
enum { ALIGNMENT = 256 * SQ_SURPLUS_PARTS };

#define HOLD_SECONDS 2e-3

static bool holds(const char *key, const char *text, size_t n)
{
    for (; *key; key++)
        if (strncmp(key, text, n) == 0)
            return true;
    return false;
}

double sq_slowdown_share(const char *told, const char *key)
{
    for (const char *at = told; at && *at;) {
        char *text;
        double percent = strtod(at, &text);
        const char *end = strchr(at, ';');
        size_t n = end ? (size_t)(end - text) : strlen(text);
        if (percent > 0 && n > 1 && *text == ':' && holds(key, text + 1, n - 1))
            return percent / 100;
        at = end ? end + 1 : NULL;
    }
    return 0;
}

/* What a launch takes, in ns. */
static sq_status time_launch(sq_job *job, sq_cache cache, double *out, sq_error *err)
{
    const sq_rig *rig = job->rig;
    const sq_sample_request request = {.cache = cache,
                                       .launches = 1,
                                       .hold_seconds = HOLD_SECONDS,
                                       .launch = sq_job_launch,
                                       .arg = job};
    double ns[LAUNCHES];
    for (int i = 0; i < LAUNCHES; i++) {
        sq_sample sample;
        SQ_TRY(rig->backend->sample(rig->device, &request, &sample, err));
        ns[i] = sample.ns;
    }
    *out = sq_median(ns + LAUNCHES / 2, LAUNCHES - LAUNCHES / 2);
    return SQ_OK;
}

sq_status sq_slowdown_begin(sq_job *job, const sq_cell *cell, sq_slowdown *out, sq_error *err)
{
    const char *told = getenv("SEQMARK_TEST_SLOW");
    char key[SQ_KEY_MAX];
    double ns;
    *out = (sq_slowdown){.job = job};
    if (!told || !cell->subject[0] || !job->rig->backend->idle)
        return SQ_OK;
    sq_cell_key(cell, key);
    double share = sq_slowdown_share(told, key);
    if (share <= 0)
        return SQ_OK;
    SQ_TRY(time_launch(job, cell->cache, &ns, err));
    out->extra_ns = share * ns;
    return SQ_OK;
}

sq_status sq_slowdown_launch(void *arg, int copy, sq_error *err)
{
    const sq_slowdown *slow = arg;
    const sq_rig *rig = slow->job->rig;
    SQ_TRY(sq_job_launch_copy(slow->job, copy, err));
    return slow->extra_ns > 0 ? rig->backend->idle(rig->device, slow->extra_ns, err) : SQ_OK;
}

sq_status sq_surplus_add(sq_job *job, const sq_cell *cell, sq_error *err)
{
    const char *told = getenv("SEQMARK_TEST_LARGER");
    char key[SQ_KEY_MAX];
    if (!told || !cell->subject[0])
        return SQ_OK;
    sq_cell_key(cell, key);
    double wanted = sq_slowdown_share(told, key) * (double)job->bytes;
    size_t bytes = (size_t)wanted / ALIGNMENT * ALIGNMENT;
    if (bytes == 0)
        return SQ_OK;
    SQ_TRY(job->rig->backend->alloc(job->rig->device, bytes, &job->surplus, err));
    job->surplus_bytes = bytes;
    job->bytes += bytes;
    return SQ_OK;
}
