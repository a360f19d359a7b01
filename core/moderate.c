/* moderate: see moderate.h. */
#include "core/moderate.h"

#include <math.h>
#include <stdlib.h>

#include "core/serial.h"
#include "core/special.h"
#include "core/stats.h"

sq_two_sides sq_two_sides_of(const double *a, int n_a, const double *b, int n_b)
{
    sq_two_sides sides = {n_a, n_b, NAN, NAN, 0, 0};
    if (n_a < 1 || n_b < 1)
        return sides;
    sq_log_moments of_a = sq_log_moments_of(a, n_a), of_b = sq_log_moments_of(b, n_b);
    sides.difference = of_b.mean - of_a.mean;
    sides.df = n_a + n_b - 2;
    if (sides.df > 0)
        sides.variance = (of_a.squares + of_b.squares) / sides.df;
    return sides;
}

sq_two_sides sq_two_sides_in_series(const sq_two_sides *sides, double correlation)
{
    sq_two_sides series = *sides;
    series.correlation = correlation;
    if (!(sides->df > 0))
        return series;
    sq_serial_squares a = sq_serial_squares_of(sides->n_a, correlation),
                      b = sq_serial_squares_of(sides->n_b, correlation);
    double expected = a.expected + b.expected;
    series.variance = sides->variance * sides->df / expected;
    series.df = expected * expected / (a.of_square + b.of_square);
    return series;
}

/* --- the prior --- */

static int known_variances(const sq_two_sides *cells, int n, double *variance)
{
    int known = 0;
    for (int i = 0; i < n; i++)
        if (cells[i].df > 0)
            variance[known++] = cells[i].variance;
    return known;
}

/* log s^2, less what the logarithm of chi^2 with so many degrees of freedom is on average. */
static double centred_log(const sq_two_sides *cell, double least)
{
    double half = cell->df / 2;
    return log(fmax(cell->variance, least)) - sq_digamma(half) + log(half);
}

/* Moments over the cells: of the centred logarithms, and of the variance that chi^2 alone gives
 * them. */
typedef struct {
    double mean, variance, chance, df_all;
} log_variances;

static log_variances describe(const sq_two_sides *cells, int n, int known, double least)
{
    log_variances of = {0, 0, 0, 0};
    for (int i = 0; i < n; i++)
        if (cells[i].df > 0) {
            of.mean += centred_log(&cells[i], least) / known;
            of.chance += sq_trigamma(cells[i].df / 2) / known;
            of.df_all += cells[i].df;
        }
    for (int i = 0; i < n; i++)
        if (cells[i].df > 0)
            of.variance += pow(centred_log(&cells[i], least) - of.mean, 2) / (known - 1);
    return of;
}

static sq_variance_prior prior_of(const log_variances *of)
{
    double excess = of->variance - of->chance;
    if (!(excess > 0))
        return (sq_variance_prior){INFINITY, exp(of->mean), of->df_all};
    double half = sq_trigamma_inverse(excess);
    return (sq_variance_prior){2 * half, exp(of->mean + sq_digamma(half) - log(half)), of->df_all};
}

sq_status sq_variance_prior_fit(const sq_two_sides *cells, int n, sq_variance_prior *out)
{
    *out = (sq_variance_prior){0, 0, INFINITY};
    if (n < 2)
        return SQ_OK;
    double *variance = malloc((size_t)n * sizeof *variance);
    if (!variance)
        return SQ_OUT_OF_MEMORY;
    int known = known_variances(cells, n, variance);
    double least = 1e-5 * sq_median(variance, known);
    free(variance);
    if (known < 2 || !(least > 0)) /* most cells without any spread: nothing to fit */
        return SQ_OK;
    log_variances of = describe(cells, n, known, least);
    *out = prior_of(&of);
    return SQ_OK;
}

/* --- one cell --- */

double sq_moderated_variance(double variance, double df, const sq_variance_prior *prior)
{
    if (isinf(prior->d0))
        return prior->s0_squared;
    double own = df > 0 ? df * variance : 0;
    return (prior->d0 * prior->s0_squared + own) / (prior->d0 + df);
}

static double of_cell(const sq_two_sides *cell, const sq_variance_prior *prior)
{
    return sq_moderated_variance(cell->variance, cell->df, prior);
}

/* Variance of a side's mean, in variances of a run. */
static double share_of(int n, double correlation)
{
    return sq_serial_inflation(n, correlation) / n;
}

double sq_moderated_df(double df, const sq_variance_prior *prior)
{
    return fmin(prior->d0 + df, prior->df_all);
}

static double two_sided_p(double t, double df)
{
    return isinf(t) ? 0 : 2 * sq_t_cdf(-fabs(t), df);
}

sq_moderated sq_moderate(const sq_two_sides *cell, const sq_variance_prior *prior)
{
    double df = sq_moderated_df(cell->df, prior);
    if (isnan(cell->difference) || !(df > 0))
        return (sq_moderated){cell->difference, NAN, NAN, NAN, NAN};
    double share = share_of(cell->n_a, cell->correlation) + share_of(cell->n_b, cell->correlation);
    sq_moderated test = {cell->difference, sqrt(of_cell(cell, prior) * share), df, 0, 1};
    if (test.difference != 0) {
        test.t = test.difference / test.error;
        test.p = two_sided_p(test.t, df);
    }
    return test;
}

sq_interval sq_moderated_interval(const sq_moderated *test, double level)
{
    double half = sq_t_quantile((1 + level) / 2, test->df) * test->error;
    return (sq_interval){test->difference, test->difference - half, test->difference + half};
}

double sq_equivalence_p(const sq_moderated *test, double margin)
{
    double room = margin - fabs(test->difference); /* the nearer limit decides */
    if (isnan(test->error) || test->error == 0)
        return isnan(test->error) ? NAN : room > 0 ? 0 : 1;
    return sq_t_cdf(-room / test->error, test->df);
}

static double standard_errors(double df, double alpha, double power)
{
    return sq_t_quantile(1 - alpha / 2, df) + sq_t_quantile(power, df);
}

double sq_detectable(const sq_moderated *test, double alpha, double power)
{
    return standard_errors(test->df, alpha, power) * test->error;
}

enum { MOST_REPLICATES = 1000 };

static double detectable_with(int n, double variance, double correlation,
                              const sq_variance_prior *prior, double alpha, double power)
{
    double df = prior->d0 + 2 * n - 2; /* the cells of the fit gain runs as well */
    double error = sqrt(variance * 2 * share_of(n, correlation));
    return standard_errors(df, alpha, power) * error;
}

/* Less than the quantile of t: it is the normal one's series in 1 / df (Fisher and Cornish, Technometrics
 * 2, 1960, 209), whose further terms are positive. */
static double less_than_t(double z, double df)
{
    return z + (pow(z, 3) + z) / (4 * df);
}

/* Fewer runs than this do not make it. */
static int fewest(double variance, double correlation, const sq_variance_prior *prior,
                  double margin, double alpha, double power)
{
    double z_alpha = sq_normal_quantile(1 - alpha / 2), z_power = sq_normal_quantile(power);
    double start = ceil(2 * variance * pow((z_alpha + z_power) / margin, 2));
    if (!(start <= MOST_REPLICATES))
        return MOST_REPLICATES + 1;
    int n = start < 2 ? 2 : (int)start;
    for (; n <= MOST_REPLICATES; n++) {
        double df = prior->d0 + 2 * n - 2, error = sqrt(variance * 2 * share_of(n, correlation));
        if ((less_than_t(z_alpha, df) + less_than_t(z_power, df)) * error <= margin)
            break;
    }
    return n;
}

int sq_replicates_for(const sq_two_sides *cell, const sq_variance_prior *prior, double margin,
                      double alpha, double power)
{
    if (!(cell->df + prior->d0 > 0))
        return 0;
    double variance = of_cell(cell, prior), r = cell->correlation;
    int n = fewest(variance, r, prior, margin, alpha, power);
    while (n <= MOST_REPLICATES && detectable_with(n, variance, r, prior, alpha, power) > margin)
        n++;
    return n <= MOST_REPLICATES ? n : 0;
}
