/* peer_record: see peer_record.h. */
#include "bench/peer_record.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/exchange.h"
#include "bench/peer.h"

/* A call through a foreign-function interface, and the difference of two events, take longer. */
static const double shortest_ns = 100;

double sq_peer_floor_ns(const sq_device *device, sq_cache cache, double bytes)
{
    /* Two transfers a clock of the memory; the nominal rate is never reached. */
    double rate = device->memory_bus_bits / 8 * device->max_memory_mhz * 1e6 * 2;
    bool is_cold = cache == SQ_CACHE_CLEAN_COLD || cache == SQ_CACHE_DIRTY_COLD;
    if (!is_cold || !(rate > 0))
        return shortest_ns;
    return fmax(shortest_ns, bytes / rate * 1e9);
}

/* A peer cannot say "mismatch" or "crashed": those are seen, not told. */
static sq_status read_status(const json_t *json, sq_record *record, sq_error *err)
{
    static const sq_run_status tellable[] = {SQ_RUN_OK,      SQ_RUN_UNSUPPORTED, SQ_RUN_OOM,
                                             SQ_RUN_SKIPPED, SQ_RUN_THROTTLED,   SQ_RUN_ERROR};
    const char *name = sq_message_text(json, "status", "nothing");
    sq_run_status status;
    if (sq_run_status_parse(name, &status, NULL) == SQ_OK)
        for (size_t i = 0; i < sizeof tellable / sizeof tellable[0]; i++)
            if (tellable[i] == status) {
                bool is_ok = status == SQ_RUN_OK;
                sq_conclude(record, status,
                            is_ok ? "" : sq_message_text(json, "reason", "no reason given"));
                return SQ_OK;
            }
    return sq_fail(err, SQ_BAD_ARGUMENT, "its status is \"%.40s\"", name);
}

static sq_status read_sample(const json_t *json, size_t i, int32_t *out, sq_error *err)
{
    json_int_t ns = json_integer_value(json);
    if (!json_is_integer(json) || ns <= 0 || ns > INT32_MAX)
        return sq_fail(err, SQ_BAD_ARGUMENT, "sample %zu is no positive number of nanoseconds", i);
    *out = (int32_t)ns;
    return SQ_OK;
}

static sq_status check_count(const json_t *json, const sq_policy *policy, size_t count,
                             sq_error *err)
{
    double said = sq_message_number(json, "n");
    int most = policy->max_samples > policy->min_samples ? policy->max_samples : policy->min_samples;
    if (!(said == (double)count))
        return sq_fail(err, SQ_BAD_ARGUMENT, "it says n = %g and sends %zu samples", said, count);
    if (count == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "status ok without a sample");
    if (count > (size_t)most)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%zu samples, at most %d were asked for", count, most);
    return SQ_OK;
}

static sq_status check_times(const sq_record *record, const sq_peer_bounds *bounds, sq_error *err)
{
    double sum = 0;
    for (int i = 0; i < record->n_samples; i++)
        sum += 1e-9 * record->samples[i];
    if (sum > bounds->wall_seconds)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "its samples add up to %.3g s, the whole exchange took %.3g s", sum,
                       bounds->wall_seconds);
    if (record->stats.median < bounds->floor_ns)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "its median of %g ns is below the %.3g ns that a launch must take",
                       record->stats.median, bounds->floor_ns);
    return SQ_OK;
}

static sq_status read_samples(const json_t *json, const sq_peer_bounds *bounds, sq_record *record,
                              sq_error *err)
{
    const json_t *array = json_object_get(json, "samples");
    size_t count = json_array_size(array);
    SQ_TRY(check_count(json, bounds->policy, count, err));
    int32_t *samples = calloc(count, sizeof *samples);
    sq_status s = samples ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for samples");
    for (size_t i = 0; s == SQ_OK && i < count; i++)
        s = read_sample(json_array_get(array, i), i, &samples[i], err);
    if (s == SQ_OK)
        s = sq_record_set_samples(record, samples, (int)count);
    free(samples);
    return s == SQ_OK ? check_times(record, bounds, err) : s;
}

/* NAN where the peer says nothing or nothing sensible. */
static double positive(const json_t *json, const char *key)
{
    double value = sq_message_number(json, key);
    return value >= 0 && value < 1e18 ? value : NAN;
}

static void judge_interval(const sq_policy *policy, sq_record *record)
{
    const sq_stats *stats = &record->stats;
    double width = (stats->hi - stats->lo) / stats->median;
    if (record->status != SQ_RUN_OK || !(width > policy->max_interval))
        return;
    record->status = SQ_RUN_NOISY;
    snprintf(record->reason, sizeof record->reason,
             "after %d samples the interval of the median is %.2g %% wide, %.2g %% is allowed",
             record->n_samples, 100 * width, 100 * policy->max_interval);
}

static sq_status read_timed(const json_t *json, const sq_peer_bounds *bounds, sq_record *record,
                            sq_error *err)
{
    SQ_TRY(read_samples(json, bounds, record, err));
    record->sm_mhz = positive(json, "sm_mhz");
    record->cycles = 1e-3 * record->stats.median * record->sm_mhz;
    judge_interval(bounds->policy, record);
    return sq_record_add_number(record, "dropped_samples", positive(json, "dropped"));
}

sq_status sq_peer_record_read(const json_t *answer, const sq_peer_bounds *bounds,
                              sq_record *record, sq_error *err)
{
    const json_t *json = json_object_get(answer, "record");
    if (!json_is_object(json))
        return sq_fail(err, SQ_BAD_ARGUMENT, "its record is no object");
    SQ_TRY(read_status(json, record, err));
    double peak = positive(json, "peak_bytes");
    record->setup_ns = positive(json, "setup_ns");
    record->peak_bytes = isnan(peak) ? -1 : (int64_t)peak;
    sq_peer_versions(json, record->versions, sizeof record->versions);
    if (record->versions[0])
        sq_hash_text(record->versions, record->kernel_hash);
    if (record->status != SQ_RUN_OK && record->status != SQ_RUN_THROTTLED)
        return SQ_OK;
    return read_timed(json, bounds, record, err);
}
