/* tally: see tally.h. */
#include "bench/tally.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"

static const char prefix[] = "phase_", suffix[] = "_ms";

static void add(sq_tally *tally, const char *name, size_t length, double seconds)
{
    int i = 0;
    while (i < tally->n_phases && (strlen(tally->phase[i].name) != length ||
                                   memcmp(tally->phase[i].name, name, length) != 0))
        i++;
    if (i == SQ_MAX_PHASES || length >= sizeof tally->phase[0].name)
        return;
    if (i == tally->n_phases) {
        memcpy(tally->phase[i].name, name, length);
        tally->n_phases++;
    }
    tally->phase[i].seconds += seconds;
}

void sq_tally_add_phase(sq_tally *tally, const char *name, double seconds)
{
    add(tally, name, strlen(name), seconds);
    tally->campaign_seconds += seconds;
}

void sq_tally_add_part(sq_tally *tally, const char *name, double seconds)
{
    add(tally, name, strlen(name), seconds);
    tally->parts_seconds += seconds;
}

/* The phases of a record, and how much of them a later run of the cell will not have. */
static double add_phases(sq_tally *tally, const sq_record *record, double *once_seconds)
{
    double told = 0;
    *once_seconds = 0;
    for (int i = 0; i < record->n_values; i++) {
        const sq_value *value = &record->values[i];
        size_t n = strlen(value->metric), ends = strlen(prefix) + strlen(suffix);
        if (n <= ends || strncmp(value->metric, prefix, strlen(prefix)) != 0 ||
            strcmp(value->metric + n - strlen(suffix), suffix) != 0 || isnan(value->value))
            continue;
        const char *name = value->metric + strlen(prefix);
        double seconds = value->value / 1e3;
        add(tally, name, n - ends, seconds);
        told += seconds;
        if (strncmp(name, "proof_", 6) == 0 || strncmp(name, "counters_", 9) == 0)
            *once_seconds += seconds;
    }
    return told;
}

static sq_status keep_seconds(sq_tally *tally, double seconds, sq_error *err)
{
    if (tally->n_timed == tally->room) {
        int room = tally->room ? 2 * tally->room : 256;
        double *grown = realloc(tally->run_seconds, sizeof *grown * (size_t)room);
        if (!grown)
            return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the times of %d runs", room);
        tally->run_seconds = grown;
        tally->room = room;
    }
    tally->run_seconds[tally->n_timed++] = seconds;
    return SQ_OK;
}

sq_status sq_tally_add_run(sq_tally *tally, const sq_plan_item *item, const sq_record *record,
                           double seconds, sq_error *err)
{
    double once_seconds;
    double told = add_phases(tally, record, &once_seconds) + tally->parts_seconds;
    tally->parts_seconds = 0;
    add(tally, "other", 5, fmax(0, seconds - told));
    if (item->status != SQ_RUN_OK) /* decided by the plan: nothing was measured */
        return SQ_OK;
    sq_work_sum *work = &tally->work[item->replicate > 0 ? SQ_WORK_LATER : SQ_WORK_FIRST];
    if (!tally->is_choosy) {
        work->n++;
        work->seconds += seconds;
        work->once_per_cell_s += once_seconds;
    }
    tally->n_runs++;
    return record->n_samples > 0 ? keep_seconds(tally, seconds, err) : SQ_OK;
}

void sq_tally_free(sq_tally *tally)
{
    free(tally->run_seconds);
    *tally = (sq_tally){.n_runs = 0};
}

/* A later run of which none was seen is a first one without what is done once. */
static double mean_of(const sq_tally *tally, sq_work kind)
{
    const sq_work_sum *work = &tally->work[kind], *first = &tally->work[SQ_WORK_FIRST];
    if (work->n)
        return work->seconds / work->n;
    if (kind == SQ_WORK_LATER && first->n)
        return (first->seconds - first->once_per_cell_s) / first->n;
    return NAN;
}

static double extrapolate(const sq_tally *tally, const sq_plan *plan)
{
    double seconds = tally->campaign_seconds;
    for (int i = 0; i < plan->count; i++)
        if (plan->item[i].status == SQ_RUN_OK)
            seconds +=
                mean_of(tally, plan->item[i].replicate > 0 ? SQ_WORK_LATER : SQ_WORK_FIRST);
    return seconds;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const sq_phase *)a)->seconds, y = ((const sq_phase *)b)->seconds;
    return (x < y) - (x > y);
}

sq_cost_summary sq_tally_conclude(sq_tally *tally, const sq_plan *plan)
{
    sq_cost_summary cost = {.n_runs = tally->n_runs, .n_timed = tally->n_timed};
    for (int i = 0; i < tally->n_phases; i++)
        cost.seconds += tally->phase[i].seconds;
    qsort(tally->phase, (size_t)tally->n_phases, sizeof *tally->phase, by_seconds);
    cost.mean_seconds = sq_mean(tally->run_seconds, tally->n_timed);
    cost.median_seconds = sq_median(tally->run_seconds, tally->n_timed);
    cost.plan_seconds = extrapolate(tally, plan);
    return cost;
}
