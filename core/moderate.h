/* moderate: the same question asked of many cells, each with few runs, so that all of them say how
 * far to trust one's variance (limma: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004, article 3).
 *
 * Everything is on logarithms of run medians: a difference d is a ratio exp(d). A question without
 * an answer gives NAN. Nominal rates are held by simulation in tests/gate.
 */
#ifndef SQ_CORE_MODERATE_H
#define SQ_CORE_MODERATE_H

#include "core/infer.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the run medians of two sides say, before anything is borrowed. */
typedef struct {
    int n_a, n_b;
    double difference;   /* of the means, b - a */
    double variance, df; /* of a run, pooled within the sides; df = n_a + n_b - 2; 0: NAN */
    double correlation;  /* of a run with the next of its side (core/serial.h) */
} sq_two_sides;
/* Positive run medians. NAN where a side is empty. The correlation is 0. */
sq_two_sides sq_two_sides_of(const double *a, int n_a, const double *b, int n_b);
/* The same where runs resemble the ones before them, and the sides are of different nights: they show
 * less of their variance, and on fewer degrees of freedom. */
sq_two_sides sq_two_sides_in_series(const sq_two_sides *sides, double correlation);

/* Variances of cells are drawn around s0_squared as d0 s0^2 / chi^2(d0). d0 = INFINITY: all are the
 * same; d0 = 0: nothing is known, and a cell has its own variance alone. */
typedef struct {
    double d0, s0_squared;
    double df_all; /* all degrees of freedom behind the fit: no test has more */
} sq_variance_prior;
/* Fitted to similar cells by the moments of log s^2. Cells without a variance (df = 0) are passed
 * over; less than two give d0 = 0. A variance of 0 (equal integers of ns) counts as 1e-5 of the
 * median one, since it has no logarithm. SQ_OUT_OF_MEMORY or SQ_OK. */
sq_status sq_variance_prior_fit(const sq_two_sides *cells, int n, sq_variance_prior *out);

/* Of a run of a cell whose own variance, on df degrees of freedom, is `variance`. */
double sq_moderated_variance(double variance, double df, const sq_variance_prior *prior);
/* Degrees of freedom of its test. */
double sq_moderated_df(double df, const sq_variance_prior *prior);

/* Moderated t of one cell, two-sided. */
typedef struct {
    double difference, error, df; /* error: standard error of the difference */
    double t, p;
} sq_moderated;
sq_moderated sq_moderate(const sq_two_sides *cell, const sq_variance_prior *prior);

/* Interval of the difference that covers it with `level` (0.95). */
sq_interval sq_moderated_interval(const sq_moderated *test, double level);

/* Two one-sided tests (Schuirmann 1987): p of "the difference is at least `margin` either way"; a
 * small one shows that the sides are equivalent. */
double sq_equivalence_p(const sq_moderated *test, double margin);

/* The difference that a two-sided test at `alpha` finds with probability `power`. */
double sq_detectable(const sq_moderated *test, double alpha, double power);

/* How many runs a side make `margin` such a difference, with the cell's variance as it is known now;
 * 0: more than 1,000. */
int sq_replicates_for(const sq_two_sides *cell, const sq_variance_prior *prior, double margin,
                      double alpha, double power);

#ifdef __cplusplus
}
#endif
#endif
