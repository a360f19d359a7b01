/* peer_record: see peer_record.h. */
#include "bench/peer_record.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/exchange.h"
#include "bench/judge.h"
#include "bench/peer.h"

/* A call through a foreign-function interface, and the difference of two events, take longer. */
static const double shortest_ns = 100;

/* A peer cannot say "mismatch" or "crashed": those are seen, not told; and "throttled" is judged from
 * its counts. */
static sq_status read_status(const json_t *json, sq_record *record, sq_error *err)
{
    static const sq_run_status tellable[] = {SQ_RUN_OK,      SQ_RUN_UNSUPPORTED, SQ_RUN_OOM,
                                             SQ_RUN_SKIPPED, SQ_RUN_ERROR};
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
                             int n_dropped, sq_error *err)
{
    double said = sq_message_number(json, "n");
    int most = policy->max_samples > policy->min_samples ? policy->max_samples : policy->min_samples;
    if (!(said == (double)count))
        return sq_fail(err, SQ_BAD_ARGUMENT, "it says n = %g and sends %zu samples", said, count);
    if (count == 0 && n_dropped == 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "a time without a sample, kept or dropped");
    if (count > (size_t)most)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%zu samples, at most %d were asked for", count, most);
    return SQ_OK;
}

static sq_status check_times(const sq_record *record, const sq_peer_bounds *bounds, sq_error *err)
{
    double sum = 0, least = fmax(shortest_ns, bounds->floor_ns);
    for (int i = 0; i < record->n_samples; i++)
        sum += 1e-9 * record->samples[i];
    if (sum > bounds->wall_seconds)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "its samples add up to %.3g s, the whole exchange took %.3g s", sum,
                       bounds->wall_seconds);
    if (record->n_samples > 0 && record->stats.median < least)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "its median of %g ns is below the %.3g ns that a launch must take",
                       record->stats.median, least);
    return SQ_OK;
}

static sq_status read_samples(const json_t *json, const sq_peer_bounds *bounds, int n_dropped,
                              sq_record *record, sq_error *err)
{
    const json_t *array = json_object_get(json, "samples");
    size_t count = json_array_size(array);
    SQ_TRY(check_count(json, bounds->policy, count, n_dropped, err));
    int32_t *samples = calloc(count + 1, sizeof *samples);
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

/* A count that is not told is 0. */
static sq_status read_count(const json_t *json, const char *key, int *out, sq_error *err)
{
    const json_t *value = json_object_get(json, key);
    json_int_t count = json_integer_value(value);
    *out = 0;
    if (!value || json_is_null(value))
        return SQ_OK;
    if (!json_is_integer(value) || count < 0 || count > INT_MAX)
        return sq_fail(err, SQ_BAD_ARGUMENT, "its \"%s\" is no count", key);
    *out = (int)count;
    return SQ_OK;
}

/* What stands beside the samples, as the timing library has it. */
static sq_status read_result(const json_t *json, sqt_result *out, sq_error *err)
{
    *out = (sqt_result){.sm_mhz = positive(json, "sm_mhz"),
                        .warmup_drift = sq_message_number(json, "warmup_drift")};
    SQ_TRY(read_count(json, "dropped", &out->n_dropped, err));
    SQ_TRY(read_count(json, "late", &out->n_late, err));
    SQ_TRY(read_count(json, "unheld", &out->n_unheld, err));
    SQ_TRY(read_count(json, "batch", &out->batch, err));
    SQ_TRY(read_count(json, "warmup_launches", &out->warmup_launches, err));
    snprintf(out->drop_reason, sizeof out->drop_reason, "%s",
             sq_message_text(json, "drop_reason", "the peer does not say why"));
    return SQ_OK;
}

static sq_status read_timed(const json_t *json, const sq_peer_bounds *bounds, sq_record *record,
                            sq_error *err)
{
    sqt_result result;
    SQ_TRY(read_result(json, &result, err));
    SQ_TRY(read_samples(json, bounds, result.n_dropped, record, err));
    result.n = record->n_samples;
    record->sm_mhz = result.sm_mhz;
    record->cycles = result.n > 0 ? 1e-3 * record->stats.median * record->sm_mhz : NAN;
    sq_judge_samples(bounds->policy, &result, record);
    return sq_judge_add_numbers(&result, record);
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
    return record->status == SQ_RUN_OK ? read_timed(json, bounds, record, err) : SQ_OK;
}
