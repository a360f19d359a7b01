/* rng: known bits, distribution, and a slice that is the slice of the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

static const sq_draw normal = {SQ_DRAW_NORMAL, 0, 1, 0};

/* First outputs of splitmix64 from state 0 (the generator's published test vector). */
static void mix_is_splitmix64(void **state)
{
    (void)state;
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    assert_true(sq_rng_mix(0) == 0xe220a8397b1dcdafu);
    assert_true(sq_rng_mix(golden) == 0x6e789e6aa1b965f4u);
    assert_true(sq_rng_mix(2 * golden) == 0x06c45d188009454fu);
}

typedef struct {
    double mean, variance, skew, min, max;
} moments;

enum { DRAWS = 1 << 20 };

static moments measure(sq_draw draw, uint64_t seed, uint32_t tensor, int64_t first)
{
    moments m = {.min = INFINITY, .max = -INFINITY};
    double sum = 0, squares = 0, cubes = 0;
    for (int64_t i = 0; i < DRAWS; i++) {
        double x = sq_rng_draw(draw, seed, tensor, first + i);
        sum += x, squares += x * x, cubes += x * x * x;
        m.min = fmin(m.min, x), m.max = fmax(m.max, x);
    }
    m.mean = sum / DRAWS;
    m.variance = squares / DRAWS - m.mean * m.mean;
    m.skew = cubes / DRAWS;
    return m;
}

/* Bounds are five standard errors of 2^20 draws; an index beyond 2^32 is as good as any. */
static void normal_has_its_moments(void **state)
{
    (void)state;
    for (uint32_t tensor = 0; tensor < 3; tensor++) {
        moments m = measure(normal, 42, tensor, tensor * (INT64_C(1) << 33));
        assert_true(fabs(m.mean) < 5 * 0.001);
        assert_true(fabs(m.variance - 1) < 5 * 0.0015);
        assert_true(fabs(m.skew) < 5 * 0.003);
        assert_true(m.min >= -2 * sqrt(3) - 1e-4 && m.max <= 2 * sqrt(3) + 1e-4);
        assert_true(m.min < -3 && m.max > 3);
    }
    moments moved = measure((sq_draw){SQ_DRAW_NORMAL, 10, 0.5f, 0}, 7, 0, 0);
    assert_true(fabs(moved.mean - 10) < 0.01 && fabs(moved.variance - 0.25) < 0.01);
}

static void uniform_stays_in_its_interval(void **state)
{
    (void)state;
    moments m = measure((sq_draw){SQ_DRAW_UNIFORM, -1, 3, 0}, 42, 5, 0);
    assert_true(fabs(m.mean - 1) < 5 * 0.00113);
    assert_true(fabs(m.variance - 16.0 / 12) < 5 * 0.0012);
    assert_true(m.min >= -1 && m.min < -0.99 && m.max < 3 && m.max > 2.99);
}

static void constant_ramp_and_stair(void **state)
{
    (void)state;
    const sq_draw ramp = {SQ_DRAW_RAMP, 1, 0.25f, 4};
    const sq_draw stair = {SQ_DRAW_STAIR, -1, 2, 4};
    const float want[] = {1, 1.25f, 1.5f, 1.75f, 1, 1.25f};
    for (int i = 0; i < 6; i++) {
        assert_true(sq_rng_draw(ramp, 1, 2, i) == want[i]);
        assert_true(sq_rng_draw(stair, 1, 2, i) == (i < 4 ? -1 : 1));
        assert_true(sq_rng_draw((sq_draw){SQ_DRAW_CONSTANT, -3, 0, 0}, 1, 2, i) == -3);
    }
}

/* Correlation of two sequences of draws, |r| < 5 / sqrt(n) where they are independent. */
static double correlation(uint64_t seed_a, uint32_t tensor_a, int64_t first_a, uint64_t seed_b,
                          uint32_t tensor_b, int64_t first_b)
{
    double sum = 0;
    for (int64_t i = 0; i < DRAWS; i++)
        sum += (double)sq_rng_draw(normal, seed_a, tensor_a, first_a + i) *
               (double)sq_rng_draw(normal, seed_b, tensor_b, first_b + i);
    return sum / DRAWS;
}

static void streams_are_independent(void **state)
{
    (void)state;
    const double bound = 5 / sqrt(DRAWS);
    assert_true(fabs(correlation(1, 0, 0, 1, 0, 0) - 1) < 0.01); /* the measure does measure */
    assert_true(fabs(correlation(1, 0, 0, 1, 0, 1)) < bound);
    assert_true(fabs(correlation(1, 0, 0, 1, 0, INT64_C(1) << 32)) < bound);
    assert_true(fabs(correlation(1, 0, 0, 1, 1, 0)) < bound);
    assert_true(fabs(correlation(1, 0, 0, 2, 0, 0)) < bound);
}

static void fill_is_draw(void **state)
{
    (void)state;
    enum { N = 1001 };
    static uint32_t room[N];
    const sq_draw draws[] = {normal,
                             {SQ_DRAW_UNIFORM, 0, 1, 0},
                             {SQ_DRAW_CONSTANT, 2, 0, 0},
                             {SQ_DRAW_RAMP, 0, 1, 7}};
    const int64_t base = (INT64_C(1) << 40) + 3;
    for (int d = 0; d < SQ_DTYPE_COUNT; d++)
        for (size_t k = 0; k < sizeof draws / sizeof *draws; k++) {
            sq_tensor t = sq_tensor_dense(room, (sq_dtype)d, 1, (int64_t[]){N});
            sq_rng_fill(&t, base, draws[k], 9, 4);
            for (int64_t i = 0; i < N; i++) {
                double want =
                    sq_round_to((sq_dtype)d, (double)sq_rng_draw(draws[k], 9, 4, base + i));
                assert_true(sq_load(room, (sq_dtype)d, i) == want);
            }
        }
}

enum { A = 5, B = 7, C = 11 };

/* Fills `view` of a poisoned copy: inside, the bits of the whole fill; outside, nothing moves. */
static void check_view(sq_dtype dtype, int axis, int64_t start, int64_t count, int second,
                       int64_t second_start, int64_t second_count)
{
    static uint32_t whole_room[A * B * C], room[A * B * C], is_inside[A * B * C];
    const int64_t dims[] = {A, B, C};
    size_t size = sq_dtype_size(dtype);
    sq_tensor whole = sq_tensor_dense(whole_room, dtype, 3, dims);
    sq_tensor base = sq_tensor_dense(room, dtype, 3, dims);
    sq_rng_fill(&whole, 0, normal, 3, 1);
    memset(room, 0xff, sizeof room);
    memset(is_inside, 0, sizeof is_inside);
    sq_tensor view = sq_tensor_slice(&base, axis, start, count);
    view = sq_tensor_slice(&view, second, second_start, second_count);
    int64_t offset = ((char *)view.data - (char *)base.data) / (int64_t)size;
    sq_rng_fill(&view, offset, normal, 3, 1);
    for (int64_t i = 0; i < sq_tensor_count(&view); i++)
        is_inside[offset + sq_tensor_offset(&view, i)] = 1;
    for (size_t i = 0; i < A * B * C; i++) {
        const unsigned char *got = (unsigned char *)room + i * size;
        const unsigned char poison[] = {0xff, 0xff, 0xff, 0xff};
        assert_memory_equal(got, is_inside[i] ? (unsigned char *)whole_room + i * size : poison,
                            size);
    }
}

static void a_slice_of_the_fill_is_the_fill_of_the_slice(void **state)
{
    (void)state;
    for (int d = 0; d < SQ_DTYPE_COUNT; d++) {
        check_view((sq_dtype)d, 0, 1, 3, 0, 1, 2);
        check_view((sq_dtype)d, 1, 2, 4, 2, 0, C);
        check_view((sq_dtype)d, 2, 3, 5, 1, 1, 1);
        check_view((sq_dtype)d, 2, 10, 1, 0, 4, 1);
        check_view((sq_dtype)d, 1, 0, 0, 0, 0, A);
    }
}

static void checksum_terms_tell_order_and_bits(void **state)
{
    (void)state;
    uint64_t ab = sq_rng_checksum_term(0, 1) + sq_rng_checksum_term(1, 2);
    assert_true(ab == sq_rng_checksum_term(1, 2) + sq_rng_checksum_term(0, 1));
    assert_true(ab != sq_rng_checksum_term(0, 2) + sq_rng_checksum_term(1, 1));
    for (int bit = 0; bit < 32; bit++)
        assert_true(sq_rng_checksum_term(5, 0) != sq_rng_checksum_term(5, UINT32_C(1) << bit));
}

static void draws_come_back_from_their_text(void **state)
{
    (void)state;
    static const sq_draw draws[] = {{SQ_DRAW_NORMAL, 0, 1, 0},
                                    {SQ_DRAW_NORMAL, 1e-38f, 0.1f, 0},
                                    {SQ_DRAW_UNIFORM, -0.333333343f, 3.4e38f, 0},
                                    {SQ_DRAW_CONSTANT, 1.0f / 3, 0, 0},
                                    {SQ_DRAW_RAMP, -7, 0.7f, INT64_C(1) << 40}};
    for (size_t i = 0; i < sizeof draws / sizeof draws[0]; i++) {
        char text[SQ_DRAW_TEXT];
        sq_draw back;
        sq_error err = {.status = SQ_OK};
        sq_draw_format(draws[i], text);
        if (sq_draw_parse(text, &back, &err) != SQ_OK)
            fail_msg("%s", err.message);
        assert_int_equal(back.kind, draws[i].kind);
        assert_true(back.a == draws[i].a && back.b == draws[i].b);
        assert_int_equal(back.period, draws[i].period);
    }
}

static void texts_that_are_no_draw_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "normal",
                                      "normal(0)",
                                      "normal(0,1",
                                      "normal(0,1))",
                                      "normal(,)",
                                      "normal(0,inf)",
                                      "uniform(nan,1)",
                                      "constant(1,2)",
                                      "constant(1e99)",
                                      "ramp(0,1)",
                                      "stair(0,1)",
                                      "ramp(0,1,0)",
                                      "ramp(0,1,1e300)",
                                      "normal(0, 1) ",
                                      "(0,1)",
                                      "a name that is longer than any kind of draw(1)"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sq_draw draw;
        sq_error err = {.status = SQ_OK};
        if (sq_draw_parse(bad[i], &draw, &err) != SQ_BAD_ARGUMENT || !err.message[0])
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mix_is_splitmix64),
        cmocka_unit_test(draws_come_back_from_their_text),
        cmocka_unit_test(texts_that_are_no_draw_are_refused),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(uniform_stays_in_its_interval),
        cmocka_unit_test(constant_ramp_and_stair),
        cmocka_unit_test(streams_are_independent),
        cmocka_unit_test(fill_is_draw),
        cmocka_unit_test(a_slice_of_the_fill_is_the_fill_of_the_slice),
        cmocka_unit_test(checksum_terms_tell_order_and_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
