/* worker: requests in, answers out, over real descriptors; a bad request is answered and survived.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/wire.h"
#include "bench/worker/worker.h"

#define KEY "attention@cpu/ref/fwd/f32/B=1,L=9,H=2,D=64/clean-cold,plain,unlocked"
#define BLOCK_KEY "block:mamba@cpu/ref/fwd/f32/B=2,L=8,D=64/clean-cold,plain,unlocked"
#define POLICY                                                                                     \
    "\"policy\":{\"warmup_launches\":1,\"warmup_seconds\":0,\"min_samples\":3,\"max_samples\":3,"  \
    "\"max_seconds\":1,\"target_interval\":0.01,\"max_interval\":1e9,\"rest\":0,\"max_cell_"       \
    "seconds\":2,"                                                                                 \
    "\"timeout_seconds\":60,\"proof_work\":100000,\"try_oom\":false,\"energy\":false,\"cooldown_"  \
    "seconds\":0}"

/* Serves `requests` on device `device`; the answers, one JSON value a line, as an array. */
static json_t *serve(const char *requests, int device, int *exit_code)
{
    FILE *in = tmpfile(), *out = tmpfile();
    assert_non_null(in);
    assert_non_null(out);
    assert_true(fputs(requests, in) >= 0 && fflush(in) == 0);
    rewind(in);
    sq_worker_options options = {.backend = &sq_backend_cpu,
                                 .providers = sq_providers_cpu,
                                 .device = device,
                                 .in_fd = dup(fileno(in)),
                                 .out_fd = fileno(out)};
    *exit_code = sq_worker_serve(&options);
    if (*exit_code == SQ_WORKER_NO_DEVICE)
        close(options.in_fd);
    rewind(out);
    json_t *answers = json_array();
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, out) > 0) {
        json_t *answer = json_loads(line, 0, NULL);
        assert_non_null(answer);
        json_array_append_new(answers, answer);
    }
    free(line);
    fclose(in);
    fclose(out);
    return answers;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* The answer of kind `is`; the last where there are several. */
static const json_t *answer_of(const json_t *answers, const char *is)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(answers); i++)
        if (strcmp(text_of(json_array_get(answers, i), "is"), is) == 0)
            found = json_array_get(answers, i);
    assert_non_null(found);
    return found;
}

static void hello_names_device_and_providers(void **state)
{
    (void)state;
    int exit_code;
    sq_device device;
    sq_environment environment;
    json_t *answers = serve("{\"do\":\"hello\"}\n", 0, &exit_code);
    const json_t *hello = answer_of(answers, "hello");
    assert_int_equal(exit_code, 0);
    assert_int_equal(sq_wire_device_parse(json_object_get(hello, "device"), &device, NULL), SQ_OK);
    assert_string_equal(device.backend, "cpu");
    const json_t *sent = json_object_get(hello, "environment");
    assert_int_equal(sq_wire_environment_parse(sent, &environment, NULL), SQ_OK);
    assert_int_equal(strlen(environment.fingerprint), 16);
    assert_true(environment.host[0] && environment.kernel[0] && environment.compiler[0]);
    const json_t *names = json_object_get(json_object_get(hello, "providers"), "attention");
    assert_string_equal(json_string_value(json_array_get(names, 0)), "cpu/ref");
    json_decref(answers);
}

static void a_missing_device_is_said_at_once(void **state)
{
    (void)state;
    int exit_code;
    json_t *answers = serve("{\"do\":\"hello\"}\n", 7, &exit_code);
    assert_int_equal(exit_code, SQ_WORKER_NO_DEVICE);
    assert_int_equal(json_array_size(answers), 1);
    assert_non_null(strstr(text_of(answer_of(answers, "error"), "message"), "no device 7"));
    json_decref(answers);
}

static void expect_run(const char *key)
{
    char request[1024];
    int exit_code;
    snprintf(request, sizeof request,
             "{\"do\":\"run\",\"cell\":\"%s\",\"seed\":\"7\"," POLICY "}\n", key);
    json_t *answers = serve(request, 0, &exit_code);
    const json_t *record = json_object_get(answer_of(answers, "record"), "record");
    assert_int_equal(exit_code, 0);
    if (strcmp(text_of(record, "status"), "ok") != 0)
        fail_msg("%s: %s", text_of(record, "status"), text_of(record, "reason"));
    assert_int_equal(json_array_size(json_object_get(record, "samples")), 3);
    assert_int_equal(json_array_size(json_object_get(record, "checks")), 1);
    answer_of(answers, "stage");
    json_decref(answers);
}

static void operators_and_blocks_run(void **state)
{
    (void)state;
    expect_run(KEY);
    expect_run(BLOCK_KEY);
}

static void check_answers_for_a_cell(void **state)
{
    (void)state;
    int exit_code;
    json_t *answers = serve("{\"do\":\"check\",\"cell\":\"" KEY "\"}\n", 0, &exit_code);
    const json_t *check = answer_of(answers, "check");
    assert_string_equal(text_of(check, "cell"), KEY);
    assert_true(json_is_true(json_object_get(check, "supported")));
    assert_true(json_integer_value(json_object_get(check, "bytes")) == 4 * 9 * 2 * 64 * 4);
    assert_true(json_integer_value(json_object_get(check, "free_bytes")) > 0);
    json_decref(answers);
}

static void counters_on_the_cpu_are_unsupported(void **state)
{
    (void)state;
    int exit_code;
    json_t *answers =
        serve("{\"do\":\"profile\",\"cell\":\"" KEY "\",\"seed\":\"7\"}\n", 0, &exit_code);
    const json_t *record = json_object_get(answer_of(answers, "record"), "record");
    assert_string_equal(text_of(record, "status"), "unsupported");
    json_decref(answers);
}

static void a_timeline_on_the_cpu_is_refused(void **state)
{
    (void)state;
    int exit_code;
    json_t *answers = serve("{\"do\":\"timeline\",\"cell\":\"" KEY "\"}\n", 0, &exit_code);
    assert_non_null(
        strstr(text_of(answer_of(answers, "error"), "message"), "backend cpu has no counters"));
    assert_int_equal(exit_code, 0);
    json_decref(answers);
}

static void a_cell_is_launched_and_nothing_else(void **state)
{
    (void)state;
    int exit_code;
    json_t *answers = serve("{\"do\":\"launch\",\"cell\":\"" KEY "\",\"seed\":\"7\"}\n"
                            "{\"do\":\"launch\",\"cell\":\"" BLOCK_KEY "\",\"seed\":\"7\"}\n"
                            "{\"do\":\"launch\"}\n",
                            0, &exit_code);
    assert_non_null(answer_of(answers, "done"));
    assert_non_null(strstr(text_of(answer_of(answers, "error"), "message"), "names no cell"));
    assert_int_equal(exit_code, 0);
    json_decref(answers);
}

static void a_cell_is_sustained(void **state)
{
    (void)state;
    int exit_code;
    json_t *answers =
        serve("{\"do\":\"sustain\",\"cell\":\"" KEY "\",\"seconds\":0.25}\n", 0, &exit_code);
    const json_t *points = json_object_get(answer_of(answers, "sustain"), "points");
    size_t n = json_array_size(points);
    assert_int_equal(exit_code, 0);
    assert_true(n >= 1 && n <= 3);
    for (size_t i = 0; i < n; i++) {
        const json_t *point = json_array_get(points, i);
        assert_int_equal(json_array_size(point), 5);
        assert_true(json_number_value(json_array_get(point, 0)) > 0);
        assert_true(json_number_value(json_array_get(point, 1)) > 0);
        for (size_t k = 2; k < 5; k++) /* a CPU has no driver to ask */
            assert_true(json_is_null(json_array_get(point, k)));
    }
    answer_of(answers, "stage");
    json_decref(answers);
}

static void expect_proof(const char *key, const char *path, const char *status, const char *reason)
{
    char request[1024];
    int exit_code;
    snprintf(request, sizeof request,
             "{\"do\":\"prove\",\"cell\":\"%s\",\"seed\":\"7\"," POLICY ",\"outputs\":[\"%s\"]}\n",
             key, path);
    json_t *answers = serve(request, 0, &exit_code);
    const json_t *record = json_object_get(answer_of(answers, "record"), "record");
    assert_string_equal(text_of(record, "status"), status);
    assert_non_null(strstr(text_of(record, "reason"), reason));
    json_decref(answers);
}

static void outputs_of_others_are_proved(void **state)
{
    (void)state;
    expect_proof(KEY, SQ_SOURCE_DIR "/LICENSE", "mismatch", "o: the file has");
    expect_proof(KEY, "/nowhere", "error", "cannot be read");
    expect_proof(BLOCK_KEY, SQ_SOURCE_DIR "/LICENSE", "unsupported", "block");
}

static void bad_requests_are_answered_and_survived(void **state)
{
    (void)state;
    static const char *const bad[] = {"not json",
                                      "[]",
                                      "{}",
                                      "{\"do\":\"dance\"}",
                                      "{\"do\":\"run\"}",
                                      "{\"do\":\"run\",\"cell\":\"attention\"}",
                                      "{\"do\":\"run\",\"cell\":\"" KEY "\"}",
                                      "{\"do\":\"run\",\"cell\":\"" KEY "\",\"policy\":{}}",
                                      "{\"do\":\"prove\",\"cell\":\"" KEY "\",\"outputs\":[]}",
                                      "{\"do\":\"prove\",\"cell\":\"" KEY "\"," POLICY "}",
                                      "{\"do\":\"prove\",\"cell\":\"" KEY "\"," POLICY
                                      ",\"outputs\":[1]}",
                                      "{\"do\":\"sustain\",\"cell\":\"" KEY "\"}",
                                      "{\"do\":\"sustain\",\"seconds\":1}",
                                      "{\"do\":\"sustain\",\"cell\":\"" KEY "\",\"seconds\":601}",
                                      "{\"do\":\"sustain\",\"cell\":\"" KEY "\",\"seconds\":-1}",
                                      "{\"do\":\"set-ceilings\"}",
                                      "{\"do\":\"set-ceilings\",\"ceilings\":[{}]}"};
    enum { COUNT = sizeof bad / sizeof bad[0] };
    char requests[4096] = "";
    int exit_code;
    for (int i = 0; i < COUNT; i++) {
        strcat(requests, bad[i]);
        strcat(requests, "\n");
    }
    strcat(requests, "{\"do\":\"set-ceilings\",\"ceilings\":[]}\n");
    json_t *answers = serve(requests, 0, &exit_code);
    assert_int_equal(exit_code, 0);
    assert_int_equal(json_array_size(answers), COUNT + 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(text_of(json_array_get(answers, i), "is"), "error");
        assert_true(text_of(json_array_get(answers, i), "message")[0]);
    }
    answer_of(answers, "done");
    json_decref(answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_names_device_and_providers),
        cmocka_unit_test(a_missing_device_is_said_at_once),
        cmocka_unit_test(operators_and_blocks_run),
        cmocka_unit_test(check_answers_for_a_cell),
        cmocka_unit_test(counters_on_the_cpu_are_unsupported),
        cmocka_unit_test(a_timeline_on_the_cpu_is_refused),
        cmocka_unit_test(a_cell_is_launched_and_nothing_else),
        cmocka_unit_test(a_cell_is_sustained),
        cmocka_unit_test(outputs_of_others_are_proved),
        cmocka_unit_test(bad_requests_are_answered_and_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
