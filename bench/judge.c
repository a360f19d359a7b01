/* judge: see judge.h. */
#include "bench/judge.h"

#include <math.h>
#include <stdio.h>

void sq_judge_samples(const sq_policy *policy, const sqt_result *result, sq_record *record)
{
    const sq_stats *stats = &record->stats;
    double width = stats->median > 0 ? (stats->hi - stats->lo) / stats->median : INFINITY;
    record->status = SQ_RUN_OK;
    record->reason[0] = 0;
    if (result->n_dropped > result->n) {
        record->status = SQ_RUN_THROTTLED;
        snprintf(record->reason, sizeof record->reason, "%d of %lld samples were dropped: %s",
                 result->n_dropped, (long long)result->n + result->n_dropped, result->drop_reason);
    } else if (width > policy->max_interval) {
        record->status = SQ_RUN_NOISY;
        snprintf(record->reason, sizeof record->reason,
                 "after %d samples the interval of the median is %.2g %% wide, %.2g %% is allowed",
                 result->n, 100 * width, 100 * policy->max_interval);
    }
}

static sq_status add_doubt(sq_record *record, const char *metric, int count, const char *why)
{
    sq_value v = {.value = count, .n = 1, .spread = NAN, .sm_mhz = NAN};
    if (count == 0)
        return SQ_OK;
    snprintf(v.metric, sizeof v.metric, "%s", metric);
    snprintf(v.validity, sizeof v.validity, "inconsistent: %.80s", why);
    return sq_record_add_value(record, &v);
}

sq_status sq_judge_add_numbers(const sqt_result *result, sq_record *record)
{
    if (record->cell.launch == SQ_LAUNCH_BATCH)
        SQ_TRY(sq_record_add_number(record, "batch_launches", result->batch));
    SQ_TRY(sq_record_add_number(record, "warmup_launches", result->warmup_launches));
    SQ_TRY(sq_record_add_number(record, "warmup_drift", result->warmup_drift));
    SQ_TRY(add_doubt(record, "dropped_samples", result->n_dropped, result->drop_reason));
    SQ_TRY(add_doubt(record, "late_samples", result->n_late,
                     "the hold ended before the host was done; taken again"));
    return add_doubt(record, "unheld_samples", result->n_unheld,
                     "the launch cannot be held: the host's gaps are inside");
}
