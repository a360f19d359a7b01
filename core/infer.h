/* infer: what two groups of runs, or one series, say about what made them.
 *
 * The run is the replicate: every test over groups takes one number a run (its median). Samples of
 * one run share its process, addresses and clocks, so a test over them finds differences between
 * any two runs of the same code. Where an answer does not exist (too few runs, equal values, no
 * memory) it is NAN. tests/unit/test_rates.c holds each to its nominal rate by simulation.
 */
#ifndef SQ_CORE_INFER_H
#define SQ_CORE_INFER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double estimate, lo, hi;
} sq_interval;

/* Of n >= 1 positive run medians: the mean of their logarithms, and the sum of the squared deviations
 * from it. */
typedef struct {
    int n;
    double mean, squares;
} sq_log_moments;
sq_log_moments sq_log_moments_of(const double *values, int n);

/* Ratio b / a of positive run medians: estimate is the ratio of the medians of run medians; lo and
 * hi are Welch's 95 % interval of the difference of mean logarithms, which is the same parameter
 * where logarithms of run medians lie symmetrically. One run on one side: Student's, with the
 * other's variance. One run on both: no interval. */
sq_interval sq_ratio_of_runs(const double *a, int n_a, const double *b, int n_b);

/* Standard deviation of the logarithms of positive run medians within the two sides, pooled: the
 * run-to-run coefficient of variation, which a difference between the sides does not raise. Either
 * side may be empty; together they need one run more than there are sides with runs. */
double sq_run_cv(const double *a, int n_a, const double *b, int n_b);

/* The samples of one run, ns. */
typedef struct {
    const int32_t *ns;
    int n;
} sq_run_samples;

/* The same ratio by hierarchical bootstrap: runs drawn with replacement, then samples within each,
 * `draws` times; 95 % percentile interval. The same seed gives the same interval on every machine.
 * With fewer than five runs a side it covers less than it says: for display beside the above. Every
 * run needs a sample, and each side a run. */
sq_interval sq_ratio_bootstrap(const sq_run_samples *a, int n_a, const sq_run_samples *b, int n_b,
                               int draws, uint64_t seed);

/* Mann-Whitney test, two-sided. u: pairs with b > a, ties half. superiority: u / (n_a n_b), the
 * probability that a run of b takes longer. p is exact (also with ties, which are counted as they
 * lie) up to n_a n_b = 400, else by the tie-corrected normal distribution. */
typedef struct {
    double u, p, superiority;
    bool is_exact;
} sq_rank_test;
sq_rank_test sq_mann_whitney(const double *a, int n_a, const double *b, int n_b);

/* Hodges-Lehmann shift: median of the differences b - a, and its 95 % interval by the ranks of the
 * Mann-Whitney test (no interval below four runs a side). */
sq_interval sq_hodges_lehmann(const double *a, int n_a, const double *b, int n_b);

/* Mann-Kendall test of a monotone trend in n >= 4 values, two-sided, normal with ties corrected. s:
 * pairs that rise less pairs that fall. Assumes independent values: a series with autocorrelation
 * shows trends that are none. Equal values: p = 1. */
typedef struct {
    double s, p;
} sq_trend;
sq_trend sq_mann_kendall(const double *values, int n);

#ifdef __cplusplus
}
#endif
#endif
