/* night_control: see night_control.h. */
#include "core/night_control.h"

#include <math.h>
#include <stdlib.h>

#include "core/infer.h"
#include "core/special.h"
#include "core/stats.h"

typedef struct {
    const sq_night_cell **cell;
    double *change; /* of each: a difference of logarithms */
    double *room;   /* for one number a cell */
    int n;
} control_cells;

static void free_controls(control_cells *controls)
{
    free(controls->cell);
    free(controls->change);
    free(controls->room);
}

static sq_status gather(const sq_night_cell *cells, int n, const sq_night_result *results,
                        control_cells *controls)
{
    size_t most = (size_t)n + 1;
    *controls = (control_cells){.cell = malloc(most * sizeof *controls->cell),
                                .change = malloc(most * sizeof(double)),
                                .room = malloc(most * sizeof(double))};
    if (!controls->cell || !controls->change || !controls->room)
        return SQ_OUT_OF_MEMORY;
    for (int i = 0; i < n; i++) {
        const sq_night_test *time = &results[i].test[SQ_NIGHT_TIME];
        if (!cells[i].is_control || time->finding == SQ_FINDING_NONE)
            continue;
        controls->change[controls->n] = time->change.estimate;
        controls->cell[controls->n++] = &cells[i];
    }
    return SQ_OK;
}

/* --- what all cells share --- */

static const sq_night_runs *runs_of(const control_cells *controls, int i, bool is_tonight)
{
    const sq_night_cell *cell = controls->cell[i];
    return &(is_tonight ? &cell->tonight : &cell->baseline)->runs[SQ_NIGHT_TIME];
}

/* How far replicate k of a side lies off that side's mean: the median over the cells that have it.
 * NAN: none has. */
static double common_deviation(control_cells *controls, bool is_tonight, int k)
{
    int n = 0;
    for (int i = 0; i < controls->n; i++) {
        const sq_night_runs *runs = runs_of(controls, i, is_tonight);
        if (k < runs->n)
            controls->room[n++] =
                log(runs->value[k]) - sq_log_moments_of(runs->value, runs->n).mean;
    }
    return sq_median(controls->room, n);
}

/* Half width of Student's interval of a difference of two nights, each of which knows its level from
 * replicates that move together in all cells. */
static double common_limit(control_cells *controls, double level)
{
    double squares = 0, share = 0;
    int df = 0;
    for (int side = 0; side < 2; side++) {
        int n = 0;
        for (double off; !isnan(off = common_deviation(controls, side, n)); n++)
            squares += off * off;
        df += n - 1;
        share += 1.0 / n;
    }
    return sq_t_quantile(1 - level / 2, df) * sqrt(squares / df * share);
}

/* --- the interval --- */

/* Where changes of nothing put their median: as far off as the interval by order statistics reaches
 * the other way, and not nearer than `least`. The changes are sorted. */
static sq_interval interval_of(control_cells *controls, double level, double least)
{
    double median = sq_median(controls->change, controls->n);
    int rank = sq_median_rank(controls->n, 1 - level);
    if (rank < 1)
        return (sq_interval){median, -INFINITY, INFINITY};
    double lo = controls->change[rank - 1], hi = controls->change[controls->n - rank];
    return (sq_interval){median, fmin(median - hi, -least), fmax(median - lo, least)};
}

sq_status sq_night_control(const sq_night_cell *cells, int n, const sq_night_policy *policy,
                           const sq_night_result *results, sq_night_summary *summary)
{
    control_cells controls;
    sq_status status = gather(cells, n, results, &controls);
    summary->control_shift = (sq_interval){NAN, NAN, NAN};
    if (status == SQ_OK && controls.n >= policy->control_min && controls.n > 0) {
        double least =
            fmax(common_limit(&controls, policy->control_level), log1p(policy->control_margin));
        sq_interval shift = interval_of(&controls, policy->control_level, least);
        summary->control_shift = shift;
        summary->is_unfit = shift.estimate < shift.lo || shift.estimate > shift.hi;
    }
    summary->controls = controls.n;
    free_controls(&controls);
    return status;
}
