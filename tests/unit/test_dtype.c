/* dtype: 16-bit floats over every bit pattern, and rounding at the edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/dtype.h"

/* The value of a 16-bit float by the definition of its format. */
static double by_definition(uint16_t bits, int exponent_bits)
{
    int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    int fraction = bits & ((1 << fraction_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

static void every_pattern(int exponent_bits, float (*widen)(uint16_t), uint16_t (*narrow)(float))
{
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t bits = (uint16_t)i;
        double want = by_definition(bits, exponent_bits);
        float got = widen(bits);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(widen(narrow(got))));
            continue;
        }
        assert_true((double)got == want && !signbit(got) == !signbit(want));
        assert_int_equal(narrow(got), bits);
    }
}

/* Half-way between neighbours goes to the even one; a hair to either side goes to the nearer. */
static void every_half_way(int exponent_bits, uint16_t (*narrow)(float))
{
    uint16_t infinity = (uint16_t)(((1 << exponent_bits) - 1) << (15 - exponent_bits));
    for (uint16_t low = 0; low + 1 < infinity; low++) {
        double below = by_definition(low, exponent_bits);
        double above = by_definition((uint16_t)(low + 1), exponent_bits);
        float middle = (float)((below + above) / 2);
        assert_int_equal(narrow(middle), low & 1 ? low + 1 : low);
        assert_int_equal(narrow(-middle), 0x8000 | (low & 1 ? low + 1 : low));
        assert_int_equal(narrow(nextafterf(middle, 0)), low);
        assert_int_equal(narrow(nextafterf(middle, INFINITY)), low + 1);
    }
}

static void bf16_is_its_definition(void **state)
{
    (void)state;
    every_pattern(8, sq_bf16_to_f32, sq_f32_to_bf16);
    every_half_way(8, sq_f32_to_bf16);
}

static void f16_is_its_definition(void **state)
{
    (void)state;
    every_pattern(5, sq_f16_to_f32, sq_f32_to_f16);
    every_half_way(5, sq_f32_to_f16);
}

static void overflow_becomes_infinity(void **state)
{
    (void)state;
    assert_int_equal(sq_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(sq_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(sq_f32_to_f16(-FLT_MAX), 0xfc00);
    assert_int_equal(sq_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(sq_f32_to_bf16(FLT_MAX), 0x7f80);
    assert_int_equal(sq_f32_to_bf16(-INFINITY), 0xff80);
}

/* A NaN whose payload sits in the bits that are cut off. */
static void nan_stays_nan(void **state)
{
    (void)state;
    for (uint32_t sign = 0; sign < 2; sign++) {
        uint32_t bits = sign << 31 | 0x7f800001;
        float nan;
        memcpy(&nan, &bits, sizeof nan);
        assert_true(isnan(sq_bf16_to_f32(sq_f32_to_bf16(nan))));
        assert_true(isnan(sq_f16_to_f32(sq_f32_to_f16(nan))));
        for (int i = 0; i < SQ_DTYPE_COUNT; i++)
            assert_true(isnan(sq_round_to((sq_dtype)i, NAN)));
    }
}

static void stored_is_loaded(void **state)
{
    (void)state;
    const double exact[] = {0, 1, -2.5, 0.0078125, 192};
    for (int d = 0; d < SQ_DTYPE_COUNT; d++) {
        uint32_t room[5] = {0};
        for (int i = 0; i < 5; i++)
            sq_store(room, (sq_dtype)d, i, exact[i]);
        for (int i = 0; i < 5; i++)
            assert_true(sq_load(room, (sq_dtype)d, i) == exact[i]);
    }
    assert_true(sq_round_to(SQ_DTYPE_F32, 1.0 + ldexp(1, -30)) == 1);
    assert_true(sq_round_to(SQ_DTYPE_BF16, 1.00390625) == 1);     /* half-way, even below */
    assert_true(sq_round_to(SQ_DTYPE_F16, 1.0 / 3) == 0.333251953125);
    assert_true(sq_round_to(SQ_DTYPE_F16, 1e300) == INFINITY);
    assert_true(sq_round_to(SQ_DTYPE_I32, -2147483648.0) == -2147483648.0);
    assert_true(sq_round_to(SQ_DTYPE_I32, -1.75) == -1);
}

static void names_and_sizes(void **state)
{
    (void)state;
    sq_error err;
    for (int i = 0; i < SQ_DTYPE_COUNT; i++) {
        sq_dtype dtype = SQ_DTYPE_COUNT;
        assert_int_equal(sq_dtype_parse(sq_dtype_name((sq_dtype)i), &dtype, &err), SQ_OK);
        assert_int_equal(dtype, i);
    }
    assert_int_equal(sq_dtype_size(SQ_DTYPE_F32), 4);
    assert_int_equal(sq_dtype_size(SQ_DTYPE_BF16), 2);
    assert_int_equal(sq_dtype_size(SQ_DTYPE_F16), 2);
    assert_int_equal(sq_dtype_size(SQ_DTYPE_I32), 4);
    assert_string_equal(sq_dtype_name(SQ_DTYPE_COUNT), "unknown");
    sq_dtype untouched = SQ_DTYPE_F16;
    assert_int_equal(sq_dtype_parse("fb16", &untouched, &err), SQ_BAD_ARGUMENT);
    assert_int_equal(untouched, SQ_DTYPE_F16);
    assert_non_null(strstr(err.message, "did you mean \"bf16\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_is_its_definition),    cmocka_unit_test(f16_is_its_definition),
        cmocka_unit_test(overflow_becomes_infinity), cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(stored_is_loaded),          cmocka_unit_test(names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
