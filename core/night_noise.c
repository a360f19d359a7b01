/* night_noise: see night_noise.h. */
#include "core/night_noise.h"

#include <math.h>
#include <stdlib.h>

#include "core/exchange.h"
#include "core/serial.h"
#include "core/splits.h"
#include "core/stats.h"

enum { SPLITS_OF_A_CELL = 200, SPLITS_FOR_A_GROUP = 10 };

/* A reading of the cells, one after the other. a, b: logarithms of the runs of the cell at hand. */
typedef struct {
    const sq_quantity *of;
    double *a, *b, *split;
} reader;

static const sq_night_runs *baseline_of(const sq_quantity *of, int i)
{
    return &of->cells[i].baseline.runs[of->quantity];
}

static const sq_night_runs *tonight_of(const sq_quantity *of, int i)
{
    return &of->cells[i].tonight.runs[of->quantity];
}

static int longest_of(const sq_quantity *of)
{
    int longest = 1;
    for (int i = 0; i < of->n; i++) {
        int a = baseline_of(of, i)->n, b = tonight_of(of, i)->n;
        longest = a > longest ? a : longest;
        longest = b > longest ? b : longest;
    }
    return longest;
}

static sq_status open_reader(const sq_quantity *of, reader *r)
{
    size_t longest = (size_t)longest_of(of);
    *r = (reader){
        .of = of,
        .a = malloc(2 * longest * sizeof(double)),
        .split = malloc(((size_t)of->n * SPLITS_FOR_A_GROUP + SPLITS_OF_A_CELL) * sizeof(double))};
    r->b = r->a ? r->a + longest : NULL;
    return r->a && r->split ? SQ_OK : SQ_OUT_OF_MEMORY;
}

static void close_reader(reader *r)
{
    free(r->a);
    free(r->split);
}

static void take_logs(const sq_night_runs *runs, double *logs)
{
    for (int k = 0; k < runs->n; k++)
        logs[k] = log(runs->value[k]);
}

static const sq_variance_prior *prior_of(const sq_quantity *of, int i)
{
    return &of->prior[of->cells[i].group];
}

/* Of a run, by one side alone. */
static double variance_of(const reader *r, int i, const sq_night_runs *runs)
{
    double df = runs->n - 1;
    double squares = sq_log_moments_of(runs->value, runs->n).squares;
    return sq_moderated_variance(df > 0 ? squares / df : NAN, df, prior_of(r->of, i));
}

/* --- neighbours --- */

/* Each side in units of the other's variance, which its own values are not in. */
static void add_neighbours(const reader *r, int i, sq_serial *serial)
{
    const sq_night_runs *a = baseline_of(r->of, i), *b = tonight_of(r->of, i);
    double of_a = variance_of(r, i, a), of_b = variance_of(r, i, b);
    if (!(of_a > 0 && of_b > 0))
        return;
    sq_serial_add(serial, r->a, a->n, 1 / of_b);
    sq_serial_add(serial, r->b, b->n, 1 / of_a);
}

static double correlation_of(const reader *r)
{
    sq_serial serial = {.series = 0};
    for (int i = 0; i < r->of->n; i++) {
        const sq_night_runs *a = baseline_of(r->of, i), *b = tonight_of(r->of, i);
        if (!(r->of->sides[i].df > 0))
            continue;
        take_logs(a, r->a);
        take_logs(b, r->b);
        add_neighbours(r, i, &serial);
    }
    return sq_serial_correlation(&serial);
}

/* --- splits of the baseline --- */

enum { ALL_GROUPS = -1 };

/* |difference| of splits of one cell, in units of `unit`. */
static void add_splits(const reader *r, int i, double unit, int draws, double *split)
{
    const sq_night_runs *runs = baseline_of(r->of, i);
    take_logs(runs, r->a);
    for (int n = 0; n < draws; n++) {
        int64_t draw = (int64_t)i * SPLITS_OF_A_CELL + n;
        split[n] = fabs(sq_split_difference(r->a, runs->n, r->of->policy->seed, draw)) / unit;
    }
}

/* Standard error of a split of the baseline, by tonight's runs; 0: not known. */
static double split_error(const reader *r, int i)
{
    int n = baseline_of(r->of, i)->n, half = n / 2;
    double variance = variance_of(r, i, tonight_of(r->of, i));
    return half > 0 && variance > 0 ? sqrt(variance * (1.0 / half + 1.0 / (n - half))) : 0;
}

/* Fewer do not know what one in twenty exceeds where one of them is odd. */
enum { QUANTILE_CELLS = 40 };

/* The splits of a cell are not independent: a new cell's rank is one among so many cells. */
static double quantile_of_group(const reader *r, int group)
{
    const sq_quantity *of = r->of;
    int cells = 0;
    for (int i = 0; i < of->n; i++) {
        bool is_in = group == ALL_GROUPS || of->cells[i].group == group;
        double unit = is_in && of->sides[i].df > 0 ? split_error(r, i) : 0;
        if (unit > 0)
            add_splits(r, i, unit, SPLITS_FOR_A_GROUP, r->split + SPLITS_FOR_A_GROUP * cells++);
    }
    if (cells < QUANTILE_CELLS)
        return NAN;
    sq_sort(r->split, SPLITS_FOR_A_GROUP * cells);
    double share = of->policy->floor_quantile * (cells + 1) / cells;
    return sq_quantile(r->split, SPLITS_FOR_A_GROUP * cells, fmin(share, 1));
}

static double quantile_of_cell(const reader *r, int i)
{
    if (sq_splits(baseline_of(r->of, i)->n) < r->of->policy->floor_values)
        return 0;
    add_splits(r, i, 1, SPLITS_OF_A_CELL, r->split);
    sq_sort(r->split, SPLITS_OF_A_CELL);
    return sq_quantile(r->split, SPLITS_OF_A_CELL, r->of->policy->floor_quantile);
}

static void find_quantiles(const reader *r, sq_run_noise *noise)
{
    double all = NAN;
    bool is_all_known = false;
    for (int group = 0; group < r->of->groups; group++) {
        noise->similar[group] = quantile_of_group(r, group);
        if (isnan(noise->similar[group]) && !is_all_known)
            all = quantile_of_group(r, ALL_GROUPS), is_all_known = true;
        if (isnan(noise->similar[group]))
            noise->similar[group] = all;
    }
    for (int i = 0; i < r->of->n; i++)
        noise->own[i] = quantile_of_cell(r, i);
}

sq_status sq_run_noise_of(const sq_quantity *quantity, sq_run_noise *out)
{
    reader r;
    *out = (sq_run_noise){.similar = malloc((size_t)quantity->groups * sizeof(double)),
                          .own = malloc(((size_t)quantity->n + 1) * sizeof(double))};
    sq_status opened = open_reader(quantity, &r);
    bool is_ready = out->similar && out->own && opened == SQ_OK;
    if (is_ready) {
        out->correlation = correlation_of(&r);
        find_quantiles(&r, out);
    }
    close_reader(&r);
    return is_ready ? SQ_OK : SQ_OUT_OF_MEMORY;
}

void sq_run_noise_free(sq_run_noise *noise)
{
    free(noise->similar);
    free(noise->own);
}

/* --- exchanges --- */

static void add_exchanges(const reader *r, double level, const double *p, sq_exchanges *exchanges)
{
    for (int i = 0; i < r->of->n; i++) {
        const sq_night_runs *a = baseline_of(r->of, i), *b = tonight_of(r->of, i);
        if (!(p[i] > level && r->of->sides[i].df > 0))
            continue;
        take_logs(a, r->a);
        take_logs(b, r->b);
        sq_exchanges_add(exchanges, r->a, a->n, r->b, b->n, prior_of(r->of, i), r->of->policy->seed,
                         i);
    }
    sq_exchanges_sort(exchanges);
}

static bool is_any_reached(const double *p, int n, double level)
{
    for (int i = 0; i < n; i++)
        if (p[i] <= level)
            return true;
    return false;
}

sq_status sq_raise_to_exchanges(const sq_quantity *quantity, double level, double *p)
{
    if (!is_any_reached(p, quantity->n, level))
        return SQ_OK;
    reader r;
    sq_exchanges exchanges;
    sq_status opened = open_reader(quantity, &r);
    sq_status status = sq_exchanges_open(&exchanges, quantity->n, level);
    bool is_ready = opened == SQ_OK && status == SQ_OK;
    if (is_ready) {
        add_exchanges(&r, level, p, &exchanges);
        for (int i = 0; i < quantity->n; i++)
            p[i] = sq_exchanges_p(&exchanges, p[i]);
    }
    sq_exchanges_close(&exchanges);
    close_reader(&r);
    return is_ready ? SQ_OK : SQ_OUT_OF_MEMORY;
}
