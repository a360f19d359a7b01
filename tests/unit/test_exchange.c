/* exchange: what children answer, or do instead, over real pipes of a shell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "bench/exchange.h"

/* The outcome of one request to a shell that runs `script`. */
static sq_status ask(const char *script, sq_patience patience, char stage[SQ_STAGE_TEXT],
                     json_t **answer, sq_error *err)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    sq_client *client = NULL;
    json_t *request = json_pack("{ss}", "do", "run");
    assert_int_equal(sq_client_start(argv, &client, err), SQ_OK);
    sq_client_call(client, "the shell");
    sq_status s = sq_exchange(client, request, "record", patience, stage, answer, err);
    json_decref(request);
    sq_client_kill(client);
    return s;
}

static void expect(const char *script, sq_patience patience, sq_status status, const char *text)
{
    sq_error err = {.status = SQ_OK};
    json_t *answer = NULL;
    assert_int_equal(ask(script, patience, NULL, &answer, &err), status);
    assert_null(answer);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" does not say \"%s\"", err.message, text);
}

static void stages_come_before_the_answer(void **state)
{
    (void)state;
    sq_error err = {.status = SQ_OK};
    char stage[SQ_STAGE_TEXT] = "";
    json_t *answer = NULL;
    assert_int_equal(ask("read line; echo '{\"is\":\"stage\",\"stage\":\"one\"}';"
                         "echo '{\"is\":\"stage\",\"stage\":\"two\"}';"
                         "echo '{\"is\":\"record\",\"n\":\"18\",\"m\":2}'",
                         (sq_patience){.silence = 20}, stage, &answer, &err),
                     SQ_OK);
    assert_string_equal(stage, "two");
    assert_true(sq_message_number(answer, "n") == 18 && sq_message_number(answer, "m") == 2);
    assert_true(isnan(sq_message_number(answer, "is not there")));
    assert_string_equal(sq_message_text(answer, "is", ""), "record");
    assert_string_equal(sq_message_text(answer, "m", "no text"), "no text");
    json_decref(answer);
}

static void failures_say_who_and_how(void **state)
{
    (void)state;
    const sq_patience patient = {.silence = 20};
    expect("exit 3", patient, SQ_IO, "the shell ended with exit code 3");
    expect("echo sorry >&2; kill -9 $$", patient, SQ_IO, "the shell died of signal 9");
    expect("echo hello", patient, SQ_INTERNAL, "the shell wrote no message but \"hello\"");
    expect("printf '\\033[1m\\377\\n'", patient, SQ_INTERNAL, "\"\xef\xbf\xbd[1m\xef\xbf\xbd\"");
    expect("echo '{\"is\":\"dance\"}'", patient, SQ_INTERNAL, "answered \"dance\" where record");
    expect("echo '{\"is\":\"error\",\"message\":\"no\"}'; sleep 9", patient, SQ_BAD_ARGUMENT,
           "the shell refuses: no");
}

static void patience_ends_with_silence_and_with_endless_signs_of_life(void **state)
{
    (void)state;
    expect("sleep 60", (sq_patience){.silence = 0.3}, SQ_TIMEOUT, "silent for 0.3 s");
    expect("while sleep 0.02; do echo '{\"is\":\"stage\",\"stage\":\"x\"}'; done",
           (sq_patience){.silence = 20, .total = 0.5}, SQ_TIMEOUT, "not done after 0.5 s");
}

static void a_refusal_is_no_reason_to_replace_the_child(void **state)
{
    (void)state;
    sq_error why = {.message = "why"};
    sq_record record;
    sq_record_init(&record, &(sq_cell){.subject = "rmsnorm"});
    assert_false(sq_conclude_failed(&record, SQ_BAD_ARGUMENT, "proof", &why));
    assert_int_equal(record.status, SQ_RUN_ERROR);
    assert_true(sq_conclude_failed(&record, SQ_TIMEOUT, "proof", &why));
    assert_int_equal(record.status, SQ_RUN_TIMEOUT);
    assert_string_equal(record.reason, "why, in stage proof");
    assert_true(sq_conclude_failed(&record, SQ_IO, "", &why));
    assert_int_equal(record.status, SQ_RUN_CRASHED);
    assert_string_equal(record.reason, "why");
    sq_record_free(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_come_before_the_answer),
        cmocka_unit_test(failures_say_who_and_how),
        cmocka_unit_test(patience_ends_with_silence_and_with_endless_signs_of_life),
        cmocka_unit_test(a_refusal_is_no_reason_to_replace_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
