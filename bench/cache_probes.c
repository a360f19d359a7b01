/* cache_probes: see cache_probes.h. */
#include "bench/cache_probes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "profile/cache_proof.h"

static const sq_value *find_value(const sq_record *record, const char *metric)
{
    for (int i = 0; i < record->n_values; i++)
        if (strcmp(record->values[i].metric, metric) == 0)
            return &record->values[i];
    return NULL;
}

static sq_cache_probe *find_probe(sq_cache_probes *probes, const sq_cell *cell)
{
    for (int i = 0; i < probes->n; i++)
        if (probes->probe[i].kind == cell->kind && probes->probe[i].cache == cell->cache &&
            strcmp(probes->probe[i].subject, cell->subject) == 0)
            return &probes->probe[i];
    return NULL;
}

/* The ratio of a row that was counted itself. */
static sq_value judge(const sq_record *record, const sq_value *counted, double l2_bytes,
                      bool *is_judged)
{
    const sq_value *compulsory = find_value(record, "bytes_read");
    sq_cache_verdict verdict = sq_cache_judge(
        record->cell.cache, compulsory ? compulsory->value : NAN, counted->value, l2_bytes);
    sq_value out = {.metric = "cold_read_ratio",
                    .value = verdict.ratio,
                    .n = counted->n,
                    .spread = counted->spread,
                    .sm_mhz = counted->sm_mhz};
    snprintf(out.validity, sizeof out.validity, "%s", verdict.validity);
    *is_judged = verdict.is_judged;
    return out;
}

static sq_status add(sq_record *record, const sq_value *value)
{
    if (strncmp(value->validity, "inconsistent: ", 14) == 0 && !record->reason[0])
        snprintf(record->reason, sizeof record->reason, "%s", value->validity + 14);
    return sq_record_add_value(record, value);
}

sq_status sq_cache_probes_note(sq_cache_probes *probes, double l2_bytes, sq_record *record)
{
    const sq_cell *cell = &record->cell;
    const sq_value *counted = find_value(record, "dram_bytes_read");
    sq_cache_probe *probe = find_probe(probes, cell);
    bool is_judged;
    if (!counted)
        return probe ? add(record, &probe->value) : SQ_OK;
    sq_value value = judge(record, counted, l2_bytes, &is_judged);
    if (is_judged && !probe && probes->n < SQ_MAX_CACHE_PROBES) {
        probe = &probes->probe[probes->n++];
        *probe = (sq_cache_probe){.kind = cell->kind, .cache = cell->cache, .value = value};
        snprintf(probe->subject, sizeof probe->subject, "%s", cell->subject);
    }
    return add(record, &value);
}
