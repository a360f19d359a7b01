/* status: texts, and errors that carry one sentence, cut where it does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/status.h"

static void every_status_has_its_own_text(void **state)
{
    (void)state;
    for (int i = 0; i < SQ_STATUS_COUNT; i++) {
        assert_true(strlen(sq_status_text((sq_status)i)) > 0);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(sq_status_text((sq_status)i), sq_status_text((sq_status)k));
    }
    assert_string_equal(sq_status_text(SQ_OUT_OF_MEMORY), "out of memory");
    assert_non_null(sq_status_text((sq_status)SQ_STATUS_COUNT));
    assert_non_null(sq_status_text((sq_status)-1));
}

static void a_failure_names_thing_and_place(void **state)
{
    (void)state;
    sq_error err;
    int line = __LINE__ + 1;
    assert_int_equal(sq_fail(&err, SQ_IO, "open %s: %d", "x.db", 7), SQ_IO);
    assert_int_equal(err.status, SQ_IO);
    assert_int_equal(err.line, line);
    assert_non_null(strstr(err.file, "test_status.c"));
    assert_string_equal(err.message, "open x.db: 7");
    assert_int_equal(sq_fail(NULL, SQ_DEVICE, "nobody listens to %s", "this"), SQ_DEVICE);
}

static void a_long_message_is_cut_and_ended(void **state)
{
    (void)state;
    sq_error err;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    sq_fail(&err, SQ_INTERNAL, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void a_failure_may_quote_the_one_it_replaces(void **state)
{
    (void)state;
    sq_error err;
    sq_fail(&err, SQ_IO, "inner");
    sq_fail(&err, SQ_STORE, "outer: %s, again: %s", err.message, err.message);
    assert_string_equal(err.message, "outer: inner, again: inner");
}

static sq_status counted(sq_status status, int *calls)
{
    ++*calls;
    return status;
}

static sq_status try_both(sq_status first, int *calls)
{
    SQ_TRY(counted(first, calls));
    SQ_TRY(counted(SQ_OK, calls));
    return SQ_OK;
}

static void try_evaluates_once_and_stops(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(try_both(SQ_OK, &calls), SQ_OK);
    assert_int_equal(calls, 2);
    calls = 0;
    assert_int_equal(try_both(SQ_TIMEOUT, &calls), SQ_TIMEOUT);
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_own_text),
        cmocka_unit_test(a_failure_names_thing_and_place),
        cmocka_unit_test(a_long_message_is_cut_and_ended),
        cmocka_unit_test(a_failure_may_quote_the_one_it_replaces),
        cmocka_unit_test(try_evaluates_once_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
