/* axes: values, lists, assignments, and what each refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/axes.h"

static const char *const positions[] = {"none", "rope", "alibi", NULL};
static const sq_axis axes[] = {
    {"B", "batch", "batch", SQ_AXIS_INT, 8, 1, 65536, NULL},
    {"L", "seqlen", "length", SQ_AXIS_INT, 2048, 1, 16777216, NULL},
    {"eps", "eps", "epsilon", SQ_AXIS_REAL, 1e-6, 0, 1, NULL},
    {"pos", "position", "encoding", SQ_AXIS_CHOICE, 0, 0, 2, positions},
    {.name = NULL},
};
enum { B, L, EPS, POS, COUNT };

static void finds_by_name_and_by_flag(void **state)
{
    (void)state;
    assert_int_equal(sq_axis_count(axes), COUNT);
    assert_int_equal(sq_axis_find(axes, "L"), L);
    assert_int_equal(sq_axis_find(axes, "seqlen"), L);
    assert_int_equal(sq_axis_find(axes, "l"), -1);
    assert_int_equal(sq_axis_find(axes, ""), -1);
}

static void check_value(int axis, const char *text, double want)
{
    sq_error err;
    double got = -1;
    if (sq_axis_parse(&axes[axis], text, &got, &err) != SQ_OK)
        fail_msg("%s: %s", text, err.message);
    assert_true(got == want && !signbit(got));
}

static void reads_values(void **state)
{
    (void)state;
    check_value(L, "8192", 8192);
    check_value(L, "8k", 8192);
    check_value(L, "1M", 1048576);
    check_value(L, "0.5k", 512);
    check_value(L, "1e3", 1000);
    check_value(EPS, "1e-6", 1e-6);
    check_value(EPS, "-0", 0);
    check_value(POS, "none", 0);
    check_value(POS, "alibi", 2);
}

/* The refusal of `text` holds every one of the words. */
static void check_refused(int axis, const char *text, const char *a, const char *b, const char *c)
{
    sq_error err = {.message = ""};
    double values[SQ_MAX_AXIS_VALUES];
    int count = -1;
    assert_int_equal(sq_axis_parse_list(&axes[axis], text, values, &count, &err), SQ_BAD_ARGUMENT);
    assert_int_equal(count, -1);
    const char *words[] = {axes[axis].name, a, b, c};
    for (int i = 0; i < 4; i++)
        if (!strstr(err.message, words[i]))
            fail_msg("\"%s\": \"%s\" does not hold \"%s\"", text, err.message, words[i]);
}

static void refusals_name_axis_value_and_range(void **state)
{
    (void)state;
    check_refused(L, "0", "0", "[1, 16777216]", "outside");
    check_refused(L, "-5", "-5", "[1, 16777216]", "outside");
    check_refused(L, "17M", "17825792", "[1, 16777216]", "outside");
    check_refused(L, "2.5", "2.5", "[1, 16777216]", "not an integer");
    check_refused(EPS, "2", "2", "[0, 1]", "outside");
    check_refused(POS, "rop", "rop", "did you mean \"rope\"", "none, rope, alibi");
    check_refused(POS, "", "empty", "", "");
}

static void refuses_what_is_no_number(void **state)
{
    (void)state;
    const char *bad[] = {"x", "8x", "8 ", " 8", "0x10", "nan", "inf", "-inf", "1e999", "1e308k",
                         "8kk", ".", "+", "-", "e5", "k", "1e", "8\n", "--8", "1_000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_refused(L, bad[i], "", "", "");
}

static void check_list(int axis, const char *text, int count, const double *want)
{
    sq_error err;
    double got[SQ_MAX_AXIS_VALUES];
    int n = -1;
    if (sq_axis_parse_list(&axes[axis], text, got, &n, &err) != SQ_OK)
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(n, count);
    for (int i = 0; i < n; i++)
        assert_true(fabs(got[i] - want[i]) <= 1e-12 * fabs(want[i]));
}

static void reads_lists(void **state)
{
    (void)state;
    check_list(L, "5", 1, (double[]){5});
    check_list(L, "1,8,64", 3, (double[]){1, 8, 64});
    check_list(L, "1k..8k*2", 4, (double[]){1024, 2048, 4096, 8192});
    check_list(L, "1..10*3", 3, (double[]){1, 3, 9});
    check_list(L, "4..4*2", 1, (double[]){4});
    check_list(L, "100..400+100", 4, (double[]){100, 200, 300, 400});
    check_list(L, "1..10+4", 3, (double[]){1, 5, 9});
    check_list(L, "1e3..3e+3+1e3", 3, (double[]){1000, 2000, 3000});
    check_list(L, "7,1..4*2,9", 5, (double[]){7, 1, 2, 4, 9});
    check_list(L, "2..8*2,1k", 4, (double[]){2, 4, 8, 1024});
    check_list(POS, "rope,none", 2, (double[]){1, 0});
}

/* Steps that are no binary fractions still reach the end, and do not pass it. */
static void real_ranges_reach_their_end(void **state)
{
    (void)state;
    double got[SQ_MAX_AXIS_VALUES];
    int n = 0;
    assert_int_equal(sq_axis_parse_list(&axes[EPS], "0.1..1+0.1", got, &n, NULL), SQ_OK);
    assert_int_equal(n, 10);
    assert_true(got[9] == 1);
    assert_int_equal(sq_axis_parse_list(&axes[EPS], "0.1..0.7+0.1", got, &n, NULL), SQ_OK);
    assert_int_equal(n, 7); /* 0.1 + 6 * 0.1 is a bit above 0.7 */
    assert_true(got[6] == 0.7);
    assert_int_equal(sq_axis_parse_list(&axes[EPS], "1e-6..1*10", got, &n, NULL), SQ_OK);
    assert_int_equal(n, 7);
    assert_true(got[6] == 1);
}

static void refuses_bad_lists(void **state)
{
    (void)state;
    check_refused(L, "", "empty", "", "");
    check_refused(L, ",", "empty", "", "");
    check_refused(L, "1,,2", "empty", "", "");
    check_refused(L, "1,", "empty", "", "");
    check_refused(L, "1..8", "no range", "1..8", "");
    check_refused(L, "1..", "no range", "", "");
    check_refused(L, "..8*2", "no range", "", "");
    check_refused(L, "1..8*", "no range", "", "");
    check_refused(L, "1..8*2x", "no range", "", "");
    check_refused(L, "1..8*2..3", "no range", "", "");
    check_refused(L, "1..8*1", "factor", "above 1", "");
    check_refused(L, "1..8*0.5", "factor", "above 1", "");
    check_refused(L, "1..8*-2", "factor", "above 1", "");
    check_refused(L, "1..8+0", "step", "above 0", "");
    check_refused(L, "1..8+-1", "step", "above 0", "");
    check_refused(L, "8..1*2", "ends before", "8..1*2", "");
    check_refused(L, "0..8*2", "above 0", "", "");
    check_refused(L, "0..8+2", "outside", "[1, 16777216]", "");
    check_refused(L, "1..99M*2", "outside", "[1, 16777216]", "");
    check_refused(L, "1..8*1.5", "1.5", "not an integer", "");
    check_refused(L, "1..9,x", "no range", "", "");
    check_refused(EPS, "0..1*2", "starts above 0", "", "");
    check_refused(POS, "none..rope*2", "unknown", "", "");
}

static void refuses_more_than_fits(void **state)
{
    (void)state;
    check_refused(L, "1..16777216+1", "more than 256", "", "");
    check_refused(L, "1..16777216*1.0000001", "", "", "");
    check_refused(EPS, "0..1+1e-300", "more than 256", "", "");
    double got[SQ_MAX_AXIS_VALUES];
    int n = 0;
    assert_int_equal(sq_axis_parse_list(&axes[L], "1..256+1", got, &n, NULL), SQ_OK);
    assert_int_equal(n, SQ_MAX_AXIS_VALUES);
    check_refused(L, "1..257+1", "more than 256", "", "");
    char text[400];
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    check_refused(L, text, "too long", "", "");
    text[128] = '\0';
    check_refused(L, text, "too long", "", "");
    text[127] = '\0';
    check_refused(L, text, "outside", "", "");
}

static void reads_assignments(void **state)
{
    (void)state;
    double value[SQ_MAX_AXES];
    sq_error err;
    assert_int_equal(sq_axis_parse_assignments(axes, "", value, &err), SQ_OK);
    assert_true(value[B] == 8 && value[L] == 2048 && value[EPS] == 1e-6 && value[POS] == 0);
    assert_int_equal(sq_axis_parse_assignments(axes, "pos=rope,seqlen=64k", value, &err), SQ_OK);
    assert_true(value[B] == 8 && value[L] == 65536 && value[EPS] == 1e-6 && value[POS] == 1);
}

static void refuses_bad_assignments(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"seqlan=4", "did you mean \"seqlen\""}, {"zzz=4", "Known: B, batch, L, seqlen"},
        {"B", "axis=value"},   {"B=", "not a number"},    {"=4", "unknown axis"},
        {"B=1,B=2", "twice"},  {"L=1,seqlen=2", "twice"}, {"B=1,", "empty"},
        {",B=1", "empty"},     {"B=0", "[1, 65536]"},     {"B=1=2", "not a number"},
        {"B=1..2*2", "not a number"},
    };
    double value[SQ_MAX_AXES];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sq_error err = {.message = ""};
        assert_int_equal(sq_axis_parse_assignments(axes, bad[i][0], value, &err), SQ_BAD_ARGUMENT);
        if (!strstr(err.message, bad[i][1]))
            fail_msg("\"%s\": %s", bad[i][0], err.message);
    }
}

static void formats_canonically(void **state)
{
    (void)state;
    static const struct {
        int axis;
        double value;
        const char *text;
    } cases[] = {{L, 16777216, "16777216"}, {L, 1, "1"}, {EPS, 1e-6, "1e-06"}, {EPS, 0.5, "0.5"},
                 {EPS, -0.0, "0"}, {EPS, 1e9, "1000000000"}, {EPS, 1.0 / 3, "0.333333333"},
                 {POS, 1, "rope"}, {POS, 9, "?"}, {POS, -1, "?"}, {POS, NAN, "?"}};
    char text[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sq_axis_format(&axes[cases[i].axis], cases[i].value, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
    sq_axis_format(&axes[L], 123456, text, 4);
    assert_string_equal(text, "123");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name_and_by_flag),
        cmocka_unit_test(reads_values),
        cmocka_unit_test(refusals_name_axis_value_and_range),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(reads_lists),
        cmocka_unit_test(real_ranges_reach_their_end),
        cmocka_unit_test(refuses_bad_lists),
        cmocka_unit_test(refuses_more_than_fits),
        cmocka_unit_test(reads_assignments),
        cmocka_unit_test(refuses_bad_assignments),
        cmocka_unit_test(formats_canonically),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
