/* compare: NaN and infinities, bounds, types, views, and sums over many elements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "core/compare.h"

static const sq_tolerance tight = {1e-6, 1e-6}, loose = {1e30, 1e30};

static sq_tensor row(float *data, int64_t n)
{
    return sq_tensor_dense(data, SQ_DTYPE_F32, 1, &n);
}

static sq_compare_result rows(float *got, float *want, int64_t n, sq_tolerance tolerance)
{
    sq_tensor a = row(got, n), b = row(want, n);
    return sq_compare(&a, &b, tolerance);
}

static void equal_is_ok(void **state)
{
    (void)state;
    float x[] = {1, -2, 0, 1e38f}, inf[] = {1, INFINITY, -INFINITY, 2};
    sq_compare_result r = rows(x, x, 4, (sq_tolerance){0, 0});
    assert_true(r.is_ok && r.rel_l2 == 0 && r.max_abs == 0);
    assert_true(rows(inf, inf, 4, (sq_tolerance){0, 0}).is_ok);
    assert_true(rows(x, x, 0, tight).is_ok);
}

static void measures_what_it_says(void **state)
{
    (void)state;
    float want[] = {3, 4, 0, 0}, got[] = {3, 4, 0, -0.5f};
    sq_compare_result r = rows(got, want, 4, loose);
    assert_true(fabs(r.rel_l2 - 0.5 / 5) < 1e-12);   /* 0.5 over the norm 5 */
    assert_true(fabs(r.max_abs - 0.5 / 2.5) < 1e-12); /* 0.5 over the root mean square 2.5 */
    assert_int_equal(r.worst, 3);
    assert_true(r.got_worst == -0.5 && r.want_worst == 0 && r.is_ok);
    assert_false(rows(got, want, 4, (sq_tolerance){0.099, 1}).is_ok);
    assert_false(rows(got, want, 4, (sq_tolerance){1, 0.199}).is_ok);
    assert_true(rows(got, want, 4, (sq_tolerance){0.101, 0.201}).is_ok);
}

/* Subnormal numbers have fewer bits: their last one is no error, half of their size is. */
static void subnormal_numbers_are_coarse(void **state)
{
    (void)state;
    float want[] = {-1.43367e-41f, 1.2e-41f}, got[] = {-1.43437e-41f, 1.2e-41f};
    assert_true(rows(got, want, 2, tight).is_ok);
    float normal[] = {-1.43367e-37f, 1.2e-37f}, off[] = {-1.43437e-37f, 1.2e-37f};
    assert_false(rows(off, normal, 2, tight).is_ok);
    float half[] = {-0.7e-38f, 0.6e-38f}, whole[] = {-1.4e-38f, 1.2e-38f};
    assert_false(rows(half, whole, 2, tight).is_ok);
}

static void check_broken(float got_value, float want_value)
{
    float got[] = {1, 2, got_value, 4, NAN}, want[] = {1, 2, want_value, 4, 5};
    sq_compare_result r = rows(got, want, 5, loose);
    assert_false(r.is_ok);
    assert_true(isinf(r.rel_l2) && isinf(r.max_abs));
    assert_int_equal(r.worst, 2);
    assert_true(isnan(got_value) ? isnan(r.got_worst) : r.got_worst == (double)got_value);
}

static void non_finite_is_a_mismatch(void **state)
{
    (void)state;
    check_broken(NAN, 3);
    check_broken(NAN, INFINITY);
    check_broken(INFINITY, 3);
    check_broken(-INFINITY, INFINITY);
    check_broken(3, INFINITY);
    check_broken(3, NAN); /* a reference that is NaN proves nothing */
    check_broken(NAN, NAN);
}

/* Even a bound that is itself NaN or infinite lets no NaN pass. */
static void no_tolerance_lets_nan_pass(void **state)
{
    (void)state;
    float got[] = {NAN}, want[] = {1}, near[] = {1.5f};
    assert_false(rows(got, want, 1, (sq_tolerance){NAN, NAN}).is_ok);
    assert_false(rows(near, want, 1, (sq_tolerance){NAN, NAN}).is_ok);
}

static void zero_must_be_zero(void **state)
{
    (void)state;
    float zero[] = {0, -0.0f, 0}, tiny[] = {0, 1e-38f, 0};
    assert_true(rows(zero, zero, 3, (sq_tolerance){0, 0}).is_ok);
    sq_compare_result r = rows(tiny, zero, 3, (sq_tolerance){1e30, 1e30});
    assert_false(r.is_ok);
    assert_true(isinf(r.rel_l2) && isinf(r.max_abs));
    assert_int_equal(r.worst, 1);
    assert_true(rows(zero, tiny, 3, (sq_tolerance){1, 2}).is_ok);
}

static void other_dims_are_a_mismatch(void **state)
{
    (void)state;
    float x[6] = {0};
    sq_tensor a = sq_tensor_dense(x, SQ_DTYPE_F32, 2, (int64_t[]){2, 3});
    sq_tensor b = sq_tensor_dense(x, SQ_DTYPE_F32, 2, (int64_t[]){3, 2});
    sq_tensor c = sq_tensor_dense(x, SQ_DTYPE_F32, 1, (int64_t[]){6});
    assert_false(sq_compare(&a, &b, loose).is_ok);
    assert_false(sq_compare(&a, &c, loose).is_ok);
}

static void types_may_differ(void **state)
{
    (void)state;
    float want[] = {1, 0.5f, -3, 1.0f / 3};
    uint16_t got[4];
    for (int d = SQ_DTYPE_BF16; d <= SQ_DTYPE_F16; d++) {
        for (int i = 0; i < 4; i++)
            sq_store(got, (sq_dtype)d, i, (double)want[i]);
        sq_tensor a = sq_tensor_dense(got, (sq_dtype)d, 1, (int64_t[]){4}), b = row(want, 4);
        sq_compare_result r = sq_compare(&a, &b, (sq_tolerance){0.01, 0.01});
        assert_true(r.is_ok && r.rel_l2 > 0);
        assert_int_equal(r.worst, 3);
    }
}

/* The worst element of a view is told in the row-major order of its dims. */
static void views_compare_element_by_element(void **state)
{
    (void)state;
    float want[12], got[40];
    for (int i = 0; i < 40; i++)
        got[i] = NAN; /* what lies between the elements does not count */
    for (int i = 0; i < 12; i++)
        want[i] = (float)i;
    sq_tensor a = {.data = got, .dtype = SQ_DTYPE_F32, .rank = 2, .dim = {3, 4, 1, 1, 1, 1},
                   .stride = {1, 10}};
    sq_tensor b = sq_tensor_dense(want, SQ_DTYPE_F32, 2, (int64_t[]){3, 4});
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++)
            got[i + 10 * k] = (float)(4 * i + k);
    assert_true(sq_compare(&a, &b, (sq_tolerance){0, 0}).is_ok);
    got[2 + 10 * 1] += 1;
    sq_compare_result r = sq_compare(&a, &b, tight);
    assert_false(r.is_ok);
    assert_int_equal(r.worst, 9);
    assert_true(r.got_worst == 10 && r.want_worst == 9);
    r = sq_compare(&b, &a, tight);
    assert_int_equal(r.worst, 9);
    assert_true(r.got_worst == 9 && r.want_worst == 10);
}

/* Longer than one chunk, with the error at any place of it. */
static void every_place_is_looked_at(void **state)
{
    (void)state;
    enum { N = 5000 };
    static float want[N], got[N];
    for (int i = 0; i < N; i++)
        want[i] = got[i] = 1;
    for (int i = 0; i < N; i += 7) {
        got[i] = 2;
        sq_compare_result r = rows(got, want, N, tight);
        assert_false(r.is_ok);
        assert_int_equal(r.worst, i);
        got[i] = NAN;
        assert_false(rows(got, want, N, loose).is_ok);
        got[i] = 1;
    }
    assert_true(rows(got, want, N, (sq_tolerance){0, 0}).is_ok);
}

/* A stride of 0 stands for 2^24 equal elements: the sums must not lose the small ones. */
static void long_sums_stay_exact(void **state)
{
    (void)state;
    float got = 1.001f, want = 1;
    const int64_t n = INT64_C(1) << 24;
    sq_tensor a = row(&got, n), b = row(&want, n);
    a.stride[0] = b.stride[0] = 0;
    sq_compare_result r = sq_compare(&a, &b, loose);
    double d = (double)got - 1;
    assert_true(fabs(r.rel_l2 - d) < 1e-12 && fabs(r.max_abs - d) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_is_ok),
        cmocka_unit_test(measures_what_it_says),
        cmocka_unit_test(subnormal_numbers_are_coarse),
        cmocka_unit_test(non_finite_is_a_mismatch),
        cmocka_unit_test(no_tolerance_lets_nan_pass),
        cmocka_unit_test(zero_must_be_zero),
        cmocka_unit_test(other_dims_are_a_mismatch),
        cmocka_unit_test(types_may_differ),
        cmocka_unit_test(views_compare_element_by_element),
        cmocka_unit_test(every_place_is_looked_at),
        cmocka_unit_test(long_sums_stay_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
