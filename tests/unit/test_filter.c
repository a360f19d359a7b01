/* The filter's grammar, its truth on cells, and the columns of its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bench/filter.h"
#include "bench/subject.h"

static sq_cell attention_cell(const char *axes)
{
    sq_subject subject;
    sq_cell cell;
    sq_error err;
    assert_int_equal(sq_subject_find(SQ_KIND_OP, "attention", &subject, &err), SQ_OK);
    sq_subject_init_cell(&subject, &cell);
    strcpy(cell.provider, "cuda/portable");
    assert_int_equal(sq_axis_parse_assignments(cell.axes, axes, cell.value, &err), SQ_OK);
    return cell;
}

static void keeps(const char *text, bool wanted)
{
    sq_cell cell = attention_cell("B=2,L=8k,H=16,D=128,window=2048");
    sq_filter *filter = NULL;
    sq_error err = {.status = SQ_OK};
    if (sq_filter_parse(text, &filter, &err) != SQ_OK)
        fail_msg("%s: %s", text, err.message);
    if (sq_filter_keeps(filter, &cell, 2048) != wanted)
        fail_msg("%s is not %s", text, wanted ? "true" : "false");
    sq_filter_free(filter);
}

static void refuses(const char *text, const char *with)
{
    sq_filter *filter = NULL;
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_filter_parse(text, &filter, &err), SQ_BAD_ARGUMENT);
    assert_null(filter);
    if (!strstr(err.message, with))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, err.message, with);
}

static void test_compares_axes_and_fields(void **state)
{
    (void)state;
    keeps("L<=8k", true);
    keeps("L<8192", false);
    keeps("seqlen>=8k", true);
    keeps("H!=16", false);
    keeps("dtype==bf16", true);
    keeps("dtype=bf16", true);
    keeps("subject~tent", true);
    keeps("subject~scan", false);
    keeps("provider==cuda/portable", true);
    keeps("kind==block", false);
    keeps("op==attention", true);
    keeps("family==attention", false);
    keeps("width==2k", true);
    keeps("tokens==16k", true);
    keeps("cache==\"clean-cold\"", true);
    keeps("launch==plain", true);
    keeps("launch==graph or launch==batch", false);
}

static void test_joins_with_the_usual_precedence(void **state)
{
    (void)state;
    keeps("L==1 and L==2 or L==8k", true);
    keeps("L==8k or L==1 and L==2", true);
    keeps("(L==8k or L==1) and L==2", false);
    keeps("not L==1 and not (dtype==f32 or H<4)", true);
    keeps("not not L==8k", true);
}

static void test_axis_of_another_subject_is_false(void **state)
{
    (void)state;
    keeps("taps==4", false);
    keeps("taps!=4", false);
    keeps("not taps==4", true);
}

static void test_no_filter_keeps_everything(void **state)
{
    (void)state;
    sq_cell cell = attention_cell("");
    assert_true(sq_filter_keeps(NULL, &cell, 0));
}

static void test_errors_name_the_column(void **state)
{
    (void)state;
    refuses("", "column 1");
    refuses("L<=8k and", "column 10");
    refuses("L 8k", "column 3");
    refuses("L<=", "column 4");
    refuses("(L<=8k", "column 7");
    refuses("L<=8k dtype==bf16", "column 7");
    refuses("dtipe==bf16", "did you mean \"dtype\"");
    refuses("subject~'scan", "quote without its end");
}

static void test_values_that_never_hold_are_refused(void **state)
{
    (void)state;
    refuses("dtype==bf61", "column 8: unknown dtype \"bf61\"; did you mean \"bf16\"?");
    refuses("L>1 and op!=atention", "column 13: unknown subject \"atention\"; did you mean");
    refuses("pass==fwdd", "did you mean \"fwd\"");
    refuses("cache==warm", "clean-cold");
    refuses("launch==grahp", "did you mean \"graph\"");
    refuses("kind==blok", "did you mean \"block\"");
    refuses("dtype<bf16", "is a text");
    refuses("L<abc", "column 3: L is a number");
    refuses("width==wide", "width is a number");
    refuses("seqln<8", "did you mean \"seqlen\"");
    keeps("gate==none", false);
    keeps("dtype~f16", true);
}

static void test_deep_nesting_is_refused(void **state)
{
    (void)state;
    char text[400];
    memset(text, '(', sizeof text - 1);
    text[sizeof text - 1] = 0;
    refuses(text, "too deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compares_axes_and_fields),
        cmocka_unit_test(test_joins_with_the_usual_precedence),
        cmocka_unit_test(test_axis_of_another_subject_is_false),
        cmocka_unit_test(test_no_filter_keeps_everything),
        cmocka_unit_test(test_errors_name_the_column),
        cmocka_unit_test(test_values_that_never_hold_are_refused),
        cmocka_unit_test(test_deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
