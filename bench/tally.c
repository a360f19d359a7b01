/* tally: see tally.h. */
#include "bench/tally.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grow.h"

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

static sq_status keep_time(sq_tally *tally, double seconds, sq_work kind, sq_error *err)
{
    if (!sq_grow(&tally->timed, tally->n_timed, sizeof *tally->timed))
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the times of %d runs",
                       tally->n_timed + 1);
    tally->timed[tally->n_timed++] = (sq_timed_run){seconds, kind};
    return SQ_OK;
}

static sq_work kind_of(const sq_plan_item *item)
{
    return item->replicate > 0 ? SQ_WORK_LATER : SQ_WORK_FIRST;
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
    const sq_work kind = tally->is_choosy ? SQ_WORK_CHOSEN : kind_of(item);
    sq_work_sum *work = &tally->work[kind];
    work->n++;
    work->seconds += seconds;
    work->once_per_cell_s += once_seconds;
    tally->n_runs++;
    return record->n_samples > 0 ? keep_time(tally, seconds, kind, err) : SQ_OK;
}

void sq_tally_free(sq_tally *tally)
{
    free(tally->timed);
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
            seconds += mean_of(tally, kind_of(&plan->item[i]));
    return seconds;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const sq_timed_run *)a)->seconds, y = ((const sq_timed_run *)b)->seconds;
    return (x > y) - (x < y);
}

static double mean(const sq_tally *tally)
{
    double sum = 0;
    for (int i = 0; i < tally->n_timed; i++)
        sum += tally->timed[i].seconds;
    return tally->n_timed ? sum / tally->n_timed : NAN;
}

/* Of the sorted runs, each with its kind's weight: half of all weight lies on either side. */
static double median(const sq_tally *tally, const double weight[SQ_WORK_KINDS])
{
    double all = 0, below = 0, last = NAN;
    for (int i = 0; i < tally->n_timed; i++)
        all += weight[tally->timed[i].kind];
    for (int i = 0; i < tally->n_timed; i++) {
        const double own = weight[tally->timed[i].kind];
        if (own <= 0)
            continue;
        if (2 * below == all)
            return (last + tally->timed[i].seconds) / 2;
        last = tally->timed[i].seconds;
        below += own;
        if (2 * below > all)
            return last;
    }
    return NAN;
}

/* A kind that the plan has and that no timed run is of: NAN. */
static double plan_median(const sq_tally *tally, const sq_plan *plan)
{
    int timed[SQ_WORK_KINDS] = {0};
    double weight[SQ_WORK_KINDS] = {0};
    for (int i = 0; i < tally->n_timed; i++)
        timed[tally->timed[i].kind]++;
    for (int i = 0; i < plan->count; i++)
        weight[kind_of(&plan->item[i])] += plan->item[i].status == SQ_RUN_OK;
    for (int kind = 0; kind < SQ_WORK_KINDS; kind++) {
        if (weight[kind] > 0 && !timed[kind])
            return NAN;
        if (weight[kind] > 0)
            weight[kind] /= timed[kind];
    }
    return median(tally, weight);
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
    if (tally->n_timed)
        qsort(tally->timed, (size_t)tally->n_timed, sizeof *tally->timed, by_time);
    cost.mean_seconds = mean(tally);
    cost.median_seconds = median(tally, (const double[SQ_WORK_KINDS]){1, 1, 1});
    cost.plan_seconds = extrapolate(tally, plan);
    cost.plan_median_seconds = plan_median(tally, plan);
    return cost;
}
