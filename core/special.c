/* special: see special.h. Log gamma is libm's. */
#include "core/special.h"

#include <float.h>
#include <math.h>

static const double sqrt_2pi = 2.50662827463100050242;
static const double sqrt_2 = 1.41421356237309504880;

/* --- incomplete beta --- */

/* Continued fraction of I_x(a, b) by Lentz's method (Press et al., Numerical Recipes, 6.4). Needs
 * about sqrt(max(a, b)) steps where x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    enum { MAX_STEPS = 100000 };
    double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), h = d;
    for (int m = 1; m < MAX_STEPS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        h *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1) < 4 * DBL_EPSILON)
            break;
    }
    return h;
}

/* What Stirling's series of log gamma(x) adds to (x - 1/2) log x - x + log(2 pi) / 2; x >= 50. */
static double stirling_rest(double x)
{
    double y = 1 / (x * x);
    return (1 / 12.0 - y * (1 / 360.0 - y / 1260)) / x;
}

/* log gamma(a + b) - log gamma(a); for a large a by the series, whose difference keeps its digits.
 */
static double log_gamma_step(double a, double b)
{
    if (a < 50)
        return lgamma(a + b) - lgamma(a);
    return (a + b - 0.5) * log1p(b / a) + b * log(a) - b + stirling_rest(a + b) - stirling_rest(a);
}

static double log_beta(double a, double b)
{
    double large = fmax(a, b), small = fmin(a, b);
    return lgamma(small) - log_gamma_step(large, small);
}

/* I_x(a, b) from both x and y = 1 - x, so that neither loses its digits near 0. */
static double beta_of(double a, double b, double x, double y)
{
    if (x <= 0 || y <= 0)
        return x <= 0 ? 0 : 1;
    double log_x = x < 0.5 ? log(x) : log1p(-y), log_y = y < 0.5 ? log(y) : log1p(-x);
    double front = exp(a * log_x + b * log_y - log_beta(a, b));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

double sq_incomplete_beta(double a, double b, double x)
{
    if (!(a > 0) || !(b > 0) || !(x >= 0) || !(x <= 1))
        return NAN;
    return beta_of(a, b, x, 1 - x);
}

/* --- tails: P(X > x) for x >= 0, and the density --- */

static double t_tail(double t, double df)
{
    if (isinf(df))
        return 0.5 * erfc(t / sqrt_2);
    double square = t * t, sum = df + square;
    if (isinf(square))
        return 0;
    return 0.5 * beta_of(df / 2, 0.5, df / sum, square / sum);
}

static double t_density(double t, double df)
{
    if (isinf(df))
        return exp(-t * t / 2) / sqrt_2pi;
    return exp(-(df + 1) / 2 * log1p(t * t / df) - log_beta(df / 2, 0.5)) / sqrt(df);
}

/* The t >= 0 with P(T > t) = q, 0 < q <= 1/2: Newton's method on the logarithm of the tail, within
 * a bracket that halves wherever a step would leave it. */
static double t_of_tail(double q, double df)
{
    double lo = 0, hi = 1;
    while (t_tail(hi, df) > q && hi < DBL_MAX / 4)
        lo = hi, hi *= 2;
    double t = (lo + hi) / 2;
    for (int step = 0; step < 200; step++) {
        double tail = t_tail(t, df);
        if (tail > q)
            lo = t;
        else
            hi = t;
        double next = t + tail / t_density(t, df) * log(tail / q);
        if (!(next > lo && next < hi))
            next = (lo + hi) / 2;
        if (fabs(next - t) <= 2 * DBL_EPSILON * t)
            return next;
        t = next;
    }
    return t;
}

double sq_t_cdf(double t, double df)
{
    if (isnan(t) || !(df > 0))
        return NAN;
    double tail = t_tail(fabs(t), df);
    return t > 0 ? 1 - tail : tail;
}

double sq_t_quantile(double p, double df)
{
    if (!(p > 0 && p < 1) || !(df > 0))
        return NAN;
    if (p == 0.5)
        return 0;
    return p < 0.5 ? -t_of_tail(p, df) : t_of_tail(1 - p, df);
}

double sq_normal_cdf(double z)
{
    return sq_t_cdf(z, INFINITY);
}

double sq_normal_quantile(double p)
{
    return sq_t_quantile(p, INFINITY);
}

/* --- derivatives of log gamma: recurrence up to where the asymptotic series holds --- */

enum { SERIES_FROM = 12 };

double sq_digamma(double x)
{
    if (!(x > 0))
        return NAN;
    double sum = 0;
    for (; x < SERIES_FROM; x++)
        sum -= 1 / x;
    double y = 1 / (x * x);
    double series = y * (1 / 12.0 - y * (1 / 120.0 - y * (1 / 252.0 - y * (1 / 240.0 - y / 132))));
    return sum + log(x) - 0.5 / x - series;
}

double sq_trigamma(double x)
{
    if (!(x > 0))
        return NAN;
    double sum = 0;
    for (; x < SERIES_FROM; x++)
        sum += 1 / (x * x);
    double y = 1 / (x * x);
    double series = y * (1 / 6.0 - y * (1 / 30.0 - y * (1 / 42.0 - y * (1 / 30.0 - y * 5 / 66))));
    return sum + (1 + series) / x + y / 2;
}

double sq_tetragamma(double x)
{
    if (!(x > 0))
        return NAN;
    double sum = 0;
    for (; x < SERIES_FROM; x++)
        sum -= 2 / (x * x * x);
    double y = 1 / (x * x);
    double series = y * (1 / 2.0 - y * (1 / 6.0 - y * (1 / 6.0 - y * (3 / 10.0 - y * 5 / 6))));
    return sum - y * (1 + 1 / x + series);
}

/* Newton's method on 1 / trigamma, which is nearly a straight line: from a start below the root it
 * rises to it and needs no bracket (Smyth 2004, appendix). */
double sq_trigamma_inverse(double y)
{
    if (!(y > 0))
        return NAN;
    double x = 0.5 + 1 / y;
    for (int step = 0; step < 100; step++) {
        double value = sq_trigamma(x);
        double more = value * (1 - value / y) / sq_tetragamma(x);
        x += more;
        if (fabs(more) <= 1e-14 * x)
            break;
    }
    return x;
}
