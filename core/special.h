/* special: the special functions that statistics need beyond libm. Relative error below 1e-10 where
 * GSL was the judge (tests/oracle). An argument outside the domain gives NAN. */
#ifndef SQ_CORE_SPECIAL_H
#define SQ_CORE_SPECIAL_H

#ifdef __cplusplus
extern "C" {
#endif

/* Regularised incomplete beta function I_x(a, b); a, b > 0, 0 <= x <= 1. */
double sq_incomplete_beta(double a, double b, double x);

double sq_normal_cdf(double z);
double sq_normal_quantile(double p); /* 0 < p < 1 */

/* Student's t with df > 0 degrees of freedom, which need not be whole; INFINITY: normal. */
double sq_t_cdf(double t, double df);
double sq_t_quantile(double p, double df); /* 0 < p < 1 */

/* First, second and third derivative of log gamma; x > 0. */
double sq_digamma(double x);
double sq_trigamma(double x);
double sq_tetragamma(double x);
/* The x whose trigamma is y > 0. */
double sq_trigamma_inverse(double y);

#ifdef __cplusplus
}
#endif
#endif
