/* special: published values, and identities over the whole domain. tests/oracle compares with GSL.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "core/special.h"

static void near_to(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not %.17g", value, expected);
}

/* Two-sided 5 % and one-sided 0.05 % points of Student's t, as in every table of it. */
static void quantiles_of_t(void **state)
{
    (void)state;
    static const double table[][3] = {
        {1, 12.7062047364, 636.619249},    {2, 4.30265272991, 31.599054577},
        {3, 3.18244630528, 12.923978637},  {4, 2.7764451052, 8.6103015814},
        {5, 2.57058183564, 6.8688266259},  {8, 2.30600413503, 5.0413054334},
        {10, 2.22813885196, 4.5868938587}, {30, 2.0422724563, 3.6459586351},
        {120, 1.9799304050, 3.3734537671}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        near_to(sq_t_quantile(0.975, table[i][0]), table[i][1], 1e-9);
        near_to(sq_t_quantile(0.9995, table[i][0]), table[i][2], 1e-7);
        near_to(sq_t_quantile(0.025, table[i][0]), -table[i][1], 1e-9);
    }
    near_to(sq_normal_quantile(0.975), 1.95996398454005424, 1e-13);
    near_to(sq_t_quantile(0.975, INFINITY), 1.95996398454005424, 1e-13);
    near_to(sq_t_quantile(0.975, 1e9), 1.95996398454005424, 1e-8);
}

static void quantile_and_cdf_are_inverse(void **state)
{
    (void)state;
    static const double ps[] = {1e-12, 1e-5, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-9};
    static const double dfs[] = {0.3, 1, 1.7, 4, 33.3, 1e4, 1e7, INFINITY};
    for (size_t i = 0; i < sizeof ps / sizeof *ps; i++)
        for (size_t k = 0; k < sizeof dfs / sizeof *dfs; k++)
            near_to(sq_t_cdf(sq_t_quantile(ps[i], dfs[k]), dfs[k]), ps[i], 1e-9);
    assert_true(sq_t_quantile(0.5, 3) == 0);
}

/* Cauchy and t2 have closed forms; the arcsine law is I_x(1/2, 1/2); I_x(1, b) = 1 - (1 - x)^b. */
static void closed_forms(void **state)
{
    (void)state;
    const double pi = acos(-1);
    for (double t = -40; t < 40; t += 0.37) {
        near_to(sq_t_cdf(t, 1), t < 0 ? atan(-1 / t) / pi : 1 - atan(1 / t) / pi, 1e-11);
        near_to(sq_t_cdf(t, 2), 1 / (2 * (2 + t * t) * (1 - t / sqrt(2 + t * t)) / 2), 1e-9);
    }
    for (double x = 0.01; x < 1; x += 0.03) {
        near_to(sq_incomplete_beta(0.5, 0.5, x), 2 / pi * asin(sqrt(x)), 1e-12);
        near_to(sq_incomplete_beta(1, 7, x), -expm1(7 * log1p(-x)), 1e-12);
        near_to(sq_incomplete_beta(300, 200, x) + sq_incomplete_beta(200, 300, 1 - x), 1, 1e-11);
    }
    assert_true(sq_incomplete_beta(2, 3, 0) == 0 && sq_incomplete_beta(2, 3, 1) == 1);
}

static void derivatives_of_log_gamma(void **state)
{
    (void)state;
    const double euler = 0.57721566490153286061, pi = acos(-1);
    near_to(sq_digamma(1), -euler, 1e-13);
    near_to(sq_digamma(0.5), -euler - 2 * log(2), 1e-13);
    near_to(sq_trigamma(1), pi * pi / 6, 1e-13);
    near_to(sq_trigamma(0.5), pi * pi / 2, 1e-13);
    for (double x = 0.05; x < 200; x *= 1.3) {
        near_to(sq_digamma(x + 1), sq_digamma(x) + 1 / x, 1e-10);
        near_to(sq_trigamma(x), sq_trigamma(x + 1) + 1 / (x * x), 1e-12);
    }
}

static void outside_the_domain(void **state)
{
    (void)state;
    assert_true(isnan(sq_t_quantile(0, 4)) && isnan(sq_t_quantile(1, 4)));
    assert_true(isnan(sq_t_quantile(0.5, 0)) && isnan(sq_t_cdf(1, -1)));
    assert_true(isnan(sq_t_cdf(NAN, 3)) && isnan(sq_normal_quantile(NAN)));
    assert_true(isnan(sq_incomplete_beta(0, 1, 0.5)) && isnan(sq_incomplete_beta(1, 1, 1.01)));
    assert_true(isnan(sq_digamma(0)) && isnan(sq_trigamma(-1)));
    assert_true(sq_t_cdf(INFINITY, 3) == 1 && sq_t_cdf(-INFINITY, 3) == 0);
    assert_true(sq_normal_cdf(-40) < 1e-300 && sq_normal_cdf(40) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_of_t),     cmocka_unit_test(quantile_and_cdf_are_inverse),
        cmocka_unit_test(closed_forms),       cmocka_unit_test(derivatives_of_log_gamma),
        cmocka_unit_test(outside_the_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
