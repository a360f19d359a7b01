/* infer: ratios of runs, and trends. Rank tests are in ranks.c. */
#include "core/infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "core/special.h"
#include "core/stats.h"

static const sq_interval no_interval = {NAN, NAN, NAN};

/* --- ratio of run medians --- */

sq_log_moments sq_log_moments_of(const double *values, int n)
{
    sq_log_moments m = {.n = n};
    if (n < 1)
        return m;
    double first = log(values[0]), sum = 0; /* from the first one: equal values have no deviation */
    for (int i = 0; i < n; i++)
        sum += log(values[i]) - first;
    m.mean = first + sum / n;
    for (int i = 0; i < n; i++)
        m.squares += pow(log(values[i]) - m.mean, 2);
    return m;
}

static double median_of_copy(const double *values, int n)
{
    double *copy = n > 0 ? malloc((size_t)n * sizeof *copy) : NULL;
    if (!copy)
        return NAN;
    memcpy(copy, values, (size_t)n * sizeof *copy);
    double median = sq_median(copy, n);
    free(copy);
    return median;
}

/* Half width of the 95 % interval of the difference of the means. */
static double half_width(const sq_log_moments *a, const sq_log_moments *b)
{
    double square, df;
    if (a->n < 2 || b->n < 2) { /* Student: the variance of the side that has one */
        df = a->n + b->n - 2;
        square = (a->squares + b->squares) / df * (1.0 / a->n + 1.0 / b->n);
    } else { /* Welch, with Satterthwaite's degrees of freedom */
        double mean_a = a->squares / (a->n - 1) / a->n, mean_b = b->squares / (b->n - 1) / b->n;
        square = mean_a + mean_b;
        df = square * square / (mean_a * mean_a / (a->n - 1) + mean_b * mean_b / (b->n - 1));
    }
    if (square == 0)
        return 0;
    return sq_t_quantile(0.975, df) * sqrt(square);
}

sq_interval sq_ratio_of_runs(const double *a, int n_a, const double *b, int n_b)
{
    sq_interval ratio = no_interval;
    if (n_a < 1 || n_b < 1)
        return ratio;
    ratio.estimate = median_of_copy(b, n_b) / median_of_copy(a, n_a);
    if (n_a + n_b < 3)
        return ratio;
    sq_log_moments of_a = sq_log_moments_of(a, n_a), of_b = sq_log_moments_of(b, n_b);
    double middle = of_b.mean - of_a.mean, half = half_width(&of_a, &of_b);
    ratio.lo = half > 0 ? exp(middle - half) : ratio.estimate;
    ratio.hi = half > 0 ? exp(middle + half) : ratio.estimate;
    return ratio;
}

double sq_run_cv(const double *a, int n_a, const double *b, int n_b)
{
    int df = n_a + n_b - (n_a > 0) - (n_b > 0);
    if (df < 1)
        return NAN;
    return sqrt((sq_log_moments_of(a, n_a).squares + sq_log_moments_of(b, n_b).squares) / df);
}

/* --- hierarchical bootstrap --- */

/* A run ready to be drawn from: its sorted samples, and for each the probability that the median of
 * as many samples drawn with replacement is at most it. So one number draws a whole resampled run.
 */
typedef struct {
    double *sorted, *below;
    int n;
} resampled_run;

typedef struct {
    resampled_run *run;
    double *median; /* room for one draw */
    int n;
} resampled_side;

static void free_side(resampled_side *side)
{
    for (int i = 0; side->run && i < side->n; i++) {
        free(side->run[i].sorted);
        free(side->run[i].below);
    }
    free(side->run);
    free(side->median);
}

/* The m-th smallest of n draws is at most the k-th sample (k from 0) where at least m draws are: a
 * binomial tail, which is an incomplete beta function. m: the lower middle one. */
static bool prepare_run(const sq_run_samples *samples, resampled_run *run)
{
    int n = samples->n, m = (n + 1) / 2;
    run->n = n;
    run->sorted = n > 0 ? malloc((size_t)n * sizeof *run->sorted) : NULL;
    run->below = n > 0 ? malloc((size_t)n * sizeof *run->below) : NULL;
    if (!run->sorted || !run->below)
        return false;
    for (int k = 0; k < n; k++) {
        run->sorted[k] = samples->ns[k];
        run->below[k] = sq_incomplete_beta(m, n - m + 1, (k + 1.0) / n);
    }
    sq_sort(run->sorted, n);
    return true;
}

static bool prepare_side(const sq_run_samples *runs, int n, resampled_side *side)
{
    side->n = n;
    side->run = n > 0 ? calloc((size_t)n, sizeof *side->run) : NULL;
    side->median = n > 0 ? malloc((size_t)n * sizeof *side->median) : NULL;
    bool is_ready = side->run && side->median;
    for (int i = 0; is_ready && i < n; i++)
        is_ready = prepare_run(&runs[i], &side->run[i]);
    return is_ready;
}

/* Uniform in (0, 1) from the upper 53 bits. */
static double unit_of(uint64_t bits)
{
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

/* The median of a resampled run. Of an even number it is the lower or the upper middle one, which
 * lie symmetrically, by the lowest bit. */
static double draw_median(const resampled_run *run, uint64_t bits)
{
    double u = unit_of(bits);
    int lo = 0, hi = run->n - 1;
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (run->below[middle] >= u)
            hi = middle;
        else
            lo = middle + 1;
    }
    bool is_upper = run->n % 2 == 0 && (bits & 1);
    return run->sorted[is_upper ? run->n - 1 - lo : lo];
}

enum { DRAW_RUN, DRAW_SAMPLES, DRAW_KINDS };

/* Draw number `draw` of one side: the median of its medians. */
static double draw_side(resampled_side *side, uint64_t seed, int which_side, int draw)
{
    uint32_t stream = (uint32_t)(which_side * DRAW_KINDS);
    for (int i = 0; i < side->n; i++) {
        int64_t index = (int64_t)draw * side->n + i;
        double u = unit_of(sq_rng_bits(seed, stream + DRAW_RUN, index));
        const resampled_run *run = &side->run[(int)(u * side->n)];
        side->median[i] = draw_median(run, sq_rng_bits(seed, stream + DRAW_SAMPLES, index));
    }
    return sq_median(side->median, side->n);
}

static double median_of_side(resampled_side *side)
{
    for (int i = 0; i < side->n; i++)
        side->median[i] = sq_median(side->run[i].sorted, side->run[i].n);
    return sq_median(side->median, side->n);
}

sq_interval sq_ratio_bootstrap(const sq_run_samples *a, int n_a, const sq_run_samples *b, int n_b,
                               int draws, uint64_t seed)
{
    sq_interval ratio = no_interval;
    resampled_side side_a = {.n = 0}, side_b = {.n = 0};
    bool is_ready = prepare_side(a, n_a, &side_a) && prepare_side(b, n_b, &side_b);
    double *drawn = draws > 0 ? malloc((size_t)draws * sizeof *drawn) : NULL;
    if (is_ready && drawn) {
        for (int i = 0; i < draws; i++)
            drawn[i] = draw_side(&side_b, seed, 1, i) / draw_side(&side_a, seed, 0, i);
        sq_sort(drawn, draws);
        ratio = (sq_interval){median_of_side(&side_b) / median_of_side(&side_a),
                              sq_quantile(drawn, draws, 0.025), sq_quantile(drawn, draws, 0.975)};
    }
    free(drawn);
    free_side(&side_a);
    free_side(&side_b);
    return ratio;
}
