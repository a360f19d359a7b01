/* probing: see probing.h. */
#include "bench/worker/probing.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ceiling.h"

enum { MAX_SAMPLES = 4096, MAX_ROUNDS = 64, HOST_SAMPLES = 200 };

static const double sustained_sample_seconds = 0.02, sustained_round_seconds = 0.25;
static const double longest_launch_seconds = 2;

/* A probe as a job, so that it is sampled as cells are. */
typedef struct {
    sq_job job;
    const sq_probe *probe;
    sq_probe_run *run;
    int repeats; /* launches of a sample */
} probe_job;

/* What was seen of one ceiling. */
typedef struct {
    int32_t ns[MAX_SAMPLES];
    int n;
    double sm_mhz[MAX_ROUNDS], power_w[MAX_ROUNDS];
    int n_mhz, n_power;
} sightings;

typedef struct {
    probe_job job;
    const sq_rig *rig;
    const sq_probe *probe;
    const sq_probe_effort *effort;
    const sq_ceiling_listener *listener;
    sq_nvml *nvml;
    sightings seen;
} measuring;

static sq_status launch(sq_job *job, sq_error *err)
{
    probe_job *p = (probe_job *)job;
    for (int i = 0; i < p->repeats; i++)
        SQ_TRY(p->probe->launch(p->run, err));
    return SQ_OK;
}

static const sq_job_ops job_ops = {.launch = launch};

void sq_probe_rest(double seconds)
{
    poll(NULL, 0, (int)ceil(1e3 * seconds));
}

const sq_probe *sq_probe_find(const sq_rig *rig, const char *name)
{
    const sq_probe *lists[] = {rig->backend->probes, rig->vendor_probes};
    for (int i = 0; i < 2; i++)
        for (const sq_probe *p = lists[i]; p && p->name; p++)
            if (strcmp(p->name, name) == 0)
                return p;
    return NULL;
}

/* --- values --- */

static sq_ceiling ceiling_of(const measuring *m, const char *name)
{
    sq_ceiling ceiling = sq_ceiling_new(name);
    sq_stats stats = sq_stats_of(m->seen.ns, m->seen.n);
    double amount = m->job.run->amount * m->job.repeats, clocks[MAX_ROUNDS];
    bool is_rate = m->probe->kind == SQ_PROBE_RATE;
    ceiling.value = is_rate ? amount / stats.median : stats.median / amount;
    ceiling.lo = is_rate ? amount / stats.hi : stats.lo / amount;
    ceiling.hi = is_rate ? amount / stats.lo : stats.hi / amount;
    memcpy(clocks, m->seen.sm_mhz, sizeof clocks);
    ceiling.sm_mhz = sq_median(clocks, m->seen.n_mhz);
    return ceiling;
}

sq_ceiling sq_ceiling_of_readings(const char *name, const double *readings, int n)
{
    enum { SCALE = 1000 }; /* a thousandth is kept */
    int32_t scaled[MAX_ROUNDS];
    sq_ceiling ceiling = sq_ceiling_new(name);
    n = n < MAX_ROUNDS ? n : MAX_ROUNDS;
    for (int i = 0; i < n; i++)
        scaled[i] = (int32_t)lround(SCALE * readings[i]);
    if (n == 0)
        return ceiling;
    sq_stats stats = sq_stats_of(scaled, n);
    ceiling.value = stats.median / SCALE;
    ceiling.lo = stats.lo / SCALE;
    ceiling.hi = stats.hi / SCALE;
    return ceiling;
}

/* --- samples --- */

static void keep(sightings *seen, const sq_record *record)
{
    for (int i = 0; i < record->n_samples && seen->n < MAX_SAMPLES; i++)
        seen->ns[seen->n++] = record->samples[i];
    if (!isnan(record->sm_mhz) && seen->n_mhz < MAX_ROUNDS)
        seen->sm_mhz[seen->n_mhz++] = record->sm_mhz;
}

/* One run of the sampling loop; its samples are added to what was seen. */
static sq_status sample(measuring *m, const sq_policy *policy, sq_cache cache, sq_error *err)
{
    sq_record record;
    sq_cell none = {.kind = SQ_KIND_OP};
    sq_record_init(&record, &none);
    sq_status status =
        sq_measure(&m->job.job, policy, cache, m->listener->alive, m->listener->arg, &record, err);
    if (status == SQ_OK && record.n_samples == 0)
        status = sq_fail(err, SQ_TIMEOUT, "%s", record.reason);
    if (status == SQ_OK)
        keep(&m->seen, &record);
    sq_record_free(&record);
    return status;
}

static sq_cache cache_of(const sq_probe *probe)
{
    return probe->timing == SQ_PROBE_COLD ? SQ_CACHE_CLEAN_COLD : SQ_CACHE_HOT;
}

/* How long the host is in launch(), with nothing enqueued before it. */
static sq_status sample_host(measuring *m, sq_error *err)
{
    const sq_rig *rig = m->rig;
    SQ_TRY(sq_job_run_once(&m->job.job, err));
    for (int i = 0; i < HOST_SAMPLES; i++) {
        double start = sq_job_clock();
        SQ_TRY(launch(&m->job.job, err));
        m->seen.ns[m->seen.n++] = (int32_t)lround(1e9 * (sq_job_clock() - start));
        SQ_TRY(rig->backend->sync(rig->device, err));
    }
    return SQ_OK;
}

/* Each burst starts on a card that has rested, and ends before its power limit answers. */
static sq_status sample_bursts(measuring *m, sq_error *err)
{
    const sq_policy policy = {.warmup_launches = 1,
                              .min_samples = 3,
                              .max_samples = MAX_SAMPLES / 8,
                              .max_seconds = m->effort->burst_seconds,
                              .max_interval = INFINITY,
                              .max_cell_seconds = longest_launch_seconds};
    for (int i = 0; i < m->effort->bursts; i++) {
        sq_probe_rest(m->effort->rest_seconds);
        m->listener->alive(m->listener->arg);
        SQ_TRY(sample(m, &policy, cache_of(m->probe), err));
    }
    return SQ_OK;
}

static sq_status sample_ceiling(measuring *m, sq_error *err)
{
    m->seen = (sightings){.n = 0};
    if (m->probe->timing == SQ_PROBE_HOST)
        return sample_host(m, err);
    if (m->probe->sustained)
        return sample_bursts(m, err);
    return sample(m, &m->effort->policy, cache_of(m->probe), err);
}

static void read_power(measuring *m)
{
    sq_nvml_state state;
    sq_nvml_snapshot(m->nvml, &state);
    if (!isnan(state.power_w) && m->seen.n_power < MAX_ROUNDS)
        m->seen.power_w[m->seen.n_power++] = state.power_w;
}

/* Back to back for the whole time; what counts is the second half, when clock and power have
 * settled. */
static sq_status sustain(measuring *m, double launch_ns, sq_error *err)
{
    double seconds = m->effort->sustained_seconds, start = sq_job_clock();
    const sq_policy policy = {.warmup_launches = 1,
                              .min_samples = 3,
                              .max_samples = MAX_SAMPLES / 8,
                              .max_seconds = sustained_round_seconds / 2, /* hot: each runs twice */
                              .max_interval = INFINITY,
                              .max_cell_seconds = longest_launch_seconds};
    m->job.repeats = (int)fmax(1, ceil(1e9 * sustained_sample_seconds / launch_ns));
    for (double now = start; now - start < seconds; now = sq_job_clock()) {
        if (now - start < seconds / 2)
            m->seen = (sightings){.n = 0};
        SQ_TRY(sample(m, &policy, SQ_CACHE_HOT, err));
        read_power(m);
        m->listener->alive(m->listener->arg);
    }
    return SQ_OK;
}

/* --- one probe --- */

/* The fewest ns per amount of some launches; INFINITY where the variant cannot be had. */
static sq_status try_variant(measuring *m, int variant, double *cost, sq_error *err)
{
    static const sq_policy trial = {.warmup_launches = 1,
                                    .min_samples = 3,
                                    .max_samples = 3,
                                    .max_seconds = 1,
                                    .max_interval = INFINITY,
                                    .max_cell_seconds = 2};
    *cost = INFINITY;
    m->seen = (sightings){.n = 0};
    sq_status status = m->probe->choose(m->job.run, variant, err);
    if (status == SQ_OK)
        status = sample(m, &trial, cache_of(m->probe), err);
    if (status == SQ_UNSUPPORTED)
        return SQ_OK;
    if (status == SQ_OK)
        *cost = sq_stats_of(m->seen.ns, m->seen.n).min / m->job.run->amount;
    return status;
}

static sq_status choose_best(measuring *m, sq_error *err)
{
    double best = INFINITY, cost;
    int chosen = 0, variants = m->job.run->variants;
    for (int v = 0; v < variants && variants > 1; v++) {
        SQ_TRY(try_variant(m, v, &cost, err));
        m->listener->alive(m->listener->arg);
        if (cost < best) {
            best = cost;
            chosen = v;
        }
    }
    if (variants > 1 && isinf(best))
        return sq_fail(err, SQ_UNSUPPORTED, "none of %d ways to do it is possible: %.200s",
                       variants, err ? err->message : "");
    return m->probe->choose(m->job.run, chosen, err);
}

static sq_status give(measuring *m, const sq_ceiling *ceiling, sq_error *err)
{
    return m->listener->take(m->listener->arg, ceiling, err);
}

static void note_load(const measuring *m, sq_probe_load *load)
{
    const sightings *seen = &m->seen;
    load->power = sq_ceiling_of_readings("load_power_w", seen->power_w, seen->n_power);
    load->clock = sq_ceiling_of_readings("load_sm_mhz", seen->sm_mhz, seen->n_mhz);
}

/* Measures, checks and fills ceiling[0] and, where there is one, the sustained ceiling[1]. */
static sq_status measure_opened(measuring *m, sq_probe_load *load, sq_ceiling ceiling[2], int *n,
                                sq_error *err)
{
    SQ_TRY(choose_best(m, err));
    SQ_TRY(sample_ceiling(m, err));
    SQ_TRY(m->probe->check(m->job.run, err));
    ceiling[(*n)++] = ceiling_of(m, m->probe->name);
    if (!m->probe->sustained || !(m->effort->sustained_seconds > 0))
        return SQ_OK;
    SQ_TRY(sustain(m, sq_stats_of(m->seen.ns, m->seen.n).median, err));
    SQ_TRY(m->probe->check(m->job.run, err));
    ceiling[(*n)++] = ceiling_of(m, m->probe->sustained);
    if (load)
        note_load(m, load);
    return SQ_OK;
}

/* A device that no longer works ends the whole measuring; anything else only this ceiling. */
static sq_status excuse(const measuring *m, const char *name, const sq_error *why, sq_error *err)
{
    m->listener->absent(m->listener->arg, name, why->message);
    return m->rig->backend->sync(m->rig->device, err);
}

static sq_status measure_all(measuring *m, sq_probe_load *load, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    sq_ceiling ceiling[2];
    int n = 0;
    sq_status status = m->probe->open(m->probe, m->rig->device,
                                      m->rig->backend->stream(m->rig->device), &m->job.run, &why);
    if (status == SQ_OK)
        status = measure_opened(m, load, ceiling, &n, &why);
    sq_status outcome =
        status == SQ_OK ? SQ_OK : excuse(m, n ? m->probe->sustained : m->probe->name, &why, err);
    for (int i = 0; i < n && outcome == SQ_OK; i++)
        outcome = give(m, &ceiling[i], err);
    m->probe->close(m->job.run);
    return outcome;
}

sq_status sq_probe_measure(const sq_rig *rig, const sq_probe *probe, const sq_probe_effort *effort,
                           const sq_ceiling_listener *listener, sq_nvml *nvml, sq_probe_load *load,
                           sq_error *err)
{
    measuring *m = calloc(1, sizeof *m);
    if (!m)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the samples of %s", probe->name);
    *m = (measuring){.job = {.job = {.ops = &job_ops, .rig = rig}, .probe = probe, .repeats = 1},
                     .rig = rig,
                     .probe = probe,
                     .effort = effort,
                     .listener = listener,
                     .nvml = nvml};
    sq_status status = measure_all(m, load, err);
    free(m);
    return status;
}
