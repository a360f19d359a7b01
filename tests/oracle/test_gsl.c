/* Statistics against the GNU Scientific Library, which judges here and is linked nowhere else: its
 * licence is GPL-3. Skipped where libgsl-dev is not installed. */
#include <stdio.h>

#ifndef SQ_HAS_GSL
int main(void)
{
    puts("skipped: libgsl-dev is not installed");
    return 77;
}
#else

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_sf_gamma.h>
#include <gsl/gsl_sf_psi.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

#include "core/rng.h"
#include "core/special.h"
#include "core/stats.h"

enum { POINTS = 4000 };

/* Uniform in (0, 1); one stream a question. */
static double draw(uint32_t stream, int i)
{
    return ((double)(sq_rng_bits(20, stream, i) >> 11) + 0.5) * 0x1p-53;
}

/* Between lo and hi, evenly in the logarithm. */
static double draw_scale(uint32_t stream, int i, double lo, double hi)
{
    return lo * pow(hi / lo, draw(stream, i));
}

static void near_to(double value, double expected, double relative, const char *what, double x,
                    double y)
{
    if (!(fabs(value - expected) <= relative * fabs(expected) + 1e-300))
        fail_msg("%s(%.17g, %.17g): %.17g is not %.17g", what, x, y, value, expected);
}

static void incomplete_beta(void **state)
{
    (void)state;
    for (int i = 0; i < POINTS; i++) {
        double a = draw_scale(1, i, 0.1, 1e3), b = draw_scale(2, i, 0.1, 1e3);
        double mean = a / (a + b), sd = sqrt(mean * (1 - mean) / (a + b + 1));
        double x = fmin(1, fmax(0, mean + 8 * sd * (draw(3, i) - 0.5)));
        double other = gsl_sf_beta_inc(a, b, x);
        if (other > 1e-200)
            near_to(sq_incomplete_beta(a, b, x), other, 1e-9, "I", a, b);
    }
}

static void student(void **state)
{
    (void)state;
    int compared = 0;
    for (int i = 0; i < POINTS; i++) {
        double df = draw_scale(4, i, 0.5, 1e6), t = 12 * (draw(5, i) - 0.5), p = draw(6, i);
        near_to(sq_t_cdf(t, df), gsl_cdf_tdist_P(t, df), 1e-9, "t_cdf", t, df);
        double other = gsl_cdf_tdist_Pinv(p, df);
        if (isnan(other)) /* its iteration does not end everywhere */
            continue;
        near_to(sq_t_quantile(p, df), other, 2e-7, "t_quantile", p, df);
        compared++;
    }
    assert_true(compared > POINTS * 9 / 10);
}

static void normal(void **state)
{
    (void)state;
    for (int i = 0; i < POINTS; i++) {
        double z = 16 * (draw(7, i) - 0.5), p = draw_scale(8, i, 1e-15, 0.999999);
        near_to(sq_normal_cdf(z), gsl_cdf_ugaussian_P(z), 1e-13, "normal_cdf", z, 0);
        near_to(sq_normal_quantile(p), gsl_cdf_ugaussian_Pinv(p), 1e-9, "normal_quantile", p, 0);
    }
}

static void psi(void **state)
{
    (void)state;
    for (int i = 0; i < POINTS; i++) {
        double x = draw_scale(9, i, 1e-3, 1e4);
        near_to(sq_trigamma(x), gsl_sf_psi_1(x), 1e-12, "trigamma", x, 0);
        near_to(sq_tetragamma(x), gsl_sf_psi_n(2, x), 1e-12, "tetragamma", x, 0);
        near_to(sq_trigamma_inverse(gsl_sf_psi_1(x)), x, 1e-12, "trigamma_inverse", x, 0);
        if (fabs(x - 1.4616321449683623) > 0.1) /* its zero */
            near_to(sq_digamma(x), gsl_sf_psi(x), 1e-11, "digamma", x, 0);
    }
}

static void descriptions(void **state)
{
    (void)state;
    for (int n = 3; n < 200; n += 7) {
        double x[200];
        for (int i = 0; i < n; i++)
            x[i] = 1e6 * (1 + draw(10, 1000 * n + i) * draw(11, 1000 * n + i));
        size_t size = (size_t)n;
        near_to(sq_mean(x, n), gsl_stats_mean(x, 1, size), 1e-13, "mean", n, 0);
        near_to(sq_deviation(x, n), gsl_stats_sd(x, 1, size), 1e-11, "deviation", n, 0);
        double before[200];
        for (int i = 0; i < n; i++)
            before[i] = x[i];
        sq_sort(x, n);
        gsl_sort(before, 1, size);
        for (double p = 0; p <= 1; p += 0.0625)
            near_to(sq_quantile(x, n, p), gsl_stats_quantile_from_sorted_data(before, 1, size, p),
                    1e-13, "quantile", n, p);
        near_to(sq_median(x, n), gsl_stats_median_from_sorted_data(before, 1, size), 1e-15,
                "median", n, 0);
    }
}

/* The rank of the order-statistic interval is where GSL's binomial distribution says. */
static void interval_of_the_median(void **state)
{
    (void)state;
    static int32_t samples[600];
    for (int i = 0; i < 600; i++)
        samples[i] = i + 1;
    for (int n = 6; n <= 600; n++) {
        unsigned rank = (unsigned)sq_stats_of(samples, n).lo;
        assert_true(gsl_cdf_binomial_P(rank - 1, 0.5, (unsigned)n) <= 0.025);
        assert_true(gsl_cdf_binomial_P(rank, 0.5, (unsigned)n) > 0.025);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(incomplete_beta), cmocka_unit_test(student),
        cmocka_unit_test(normal),          cmocka_unit_test(psi),
        cmocka_unit_test(descriptions),    cmocka_unit_test(interval_of_the_median),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
