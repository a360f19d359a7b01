/* Suite files: what is read, what is refused and where; and that the suites of the tree are whole.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "bench/suite.h"

/* Loads `text` from a file of its own. */
static sq_status load(const char *text, sq_suite *suite, sq_error *err)
{
    char path[] = "/tmp/sq_suite_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    sq_status s = sq_suite_load(path, suite, err);
    unlink(path);
    return s;
}

static void refuses(const char *text, const char *where, const char *why)
{
    sq_suite suite = {.n_groups = 0};
    sq_error err = {.status = SQ_OK};
    sq_status s = load(text, &suite, &err);
    if (s == SQ_OK || !strstr(err.message, where) || !strstr(err.message, why))
        fail_msg("\"%s\" gave \"%s\", not \"%s\" at %s", text, err.message, why, where);
    sq_suite_free(&suite);
}

static void test_reads_groups_with_origins(void **state)
{
    (void)state;
    sq_suite suite = {.n_groups = 0};
    sq_error err = {.status = SQ_OK};
    const char text[] = "name: mine\ndescription: two groups\n"
                        "policy: {base: nightly, max_samples: 50}\nreplicates: 3\n"
                        "defaults: {dtype: f32}\ncells:\n"
                        "  - {op: attention, seqlen: 1k..4k*2, head-dim: [64, 128]}\n"
                        "  - family: all\n    L: 512\n";
    if (load(text, &suite, &err) != SQ_OK)
        fail_msg("%s", err.message);
    assert_string_equal(suite.name, "mine");
    assert_string_equal(suite.description, "two groups");
    assert_string_equal(sq_settings_text(&suite.campaign, "policy", ""), "nightly");
    assert_string_equal(sq_settings_text(&suite.campaign, "max-samples", ""), "50");
    assert_string_equal(sq_settings_text(&suite.campaign, "replicates", ""), "3");
    assert_string_equal(sq_settings_text(&suite.defaults, "dtype", ""), "f32");
    assert_int_equal(suite.n_groups, 2);
    assert_string_equal(sq_settings_text(&suite.groups[0], "seqlen", ""), "1k..4k*2");
    assert_string_equal(sq_settings_text(&suite.groups[0], "head-dim", ""), "64,128");
    const sq_setting *length = sq_settings_get(&suite.groups[1], "L");
    assert_non_null(length);
    assert_non_null(strstr(length->origin, ":9:5"));
    sq_suite_free(&suite);
}

static void test_policy_is_the_base_with_changes(void **state)
{
    (void)state;
    sq_settings settings = {.count = 0};
    sq_policy policy;
    sq_error err;
    assert_int_equal(sq_settings_set(&settings, "policy", "paper", "x", &err), SQ_OK);
    assert_int_equal(sq_settings_set(&settings, "max-time", "90s", "x", &err), SQ_OK);
    assert_int_equal(sq_settings_set(&settings, "try-oom", "on", "x", &err), SQ_OK);
    assert_int_equal(sq_settings_policy(&settings, &policy, &err), SQ_OK);
    assert_int_equal(policy.max_samples, sq_policy_find("paper")->max_samples);
    assert_true(policy.max_seconds == 90);
    assert_true(policy.try_oom);
    assert_int_equal(sq_settings_set(&settings, "policy", "papre", "x", &err), SQ_OK);
    assert_int_equal(sq_settings_policy(&settings, &policy, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "paper"));
    sq_settings_free(&settings);
}

static void test_unknown_keys_have_line_column_and_nearest(void **state)
{
    (void)state;
    refuses("name: a\nreplicate: 2\ncells: [{op: ssd}]\n", ":2:1:", "\"replicates\"");
    refuses("name: a\ncels: [{op: ssd}]\n", ":2:1:", "\"cells\"");
    refuses("name: a\ncells:\n  - op: ssd\n    seqlne: 1k\n", ":4:5:", "\"seqlen\"");
    refuses("name: a\ncells:\n  - {op: ssd, budget: 9m}\n", ":3:15:", "unknown key");
    refuses("name: a\ndefaults: {dtpye: f32}\ncells: [{op: ssd}]\n", ":2:12:", "\"dtype\"");
    refuses("name: a\npolicy: {base: quick, max-smaples: 3}\ncells: [{op: ssd}]\n",
            ":2:23:", "\"max-samples\"");
}

static void test_malformed_files_are_refused(void **state)
{
    (void)state;
    refuses("", "", "empty");
    refuses("- 1\n", ":1:1:", "mapping");
    refuses("name: a\n", ":1:1:", "no \"cells\"");
    refuses("cells: [{op: ssd}]\n", ":1:1:", "no \"name\"");
    refuses("name: a\ncells: {op: ssd}\n", ":2:8:", "list of groups");
    refuses("name: a\ncells: [op]\n", ":2:9:", "mapping");
    refuses("name: a\nname: b\ncells: [{op: ssd}]\n", ":2:1:", "second time");
    refuses("name: a\ncells: [{op: {x: 1}}]\n", ":2:14:", "value or a list");
    refuses("name: a\ncells: [{op: [[x]]}]\n", ":2:15:", "plain values");
    refuses("name: a\ncells: [{op: ''}]\n", ":2:14:", "empty");
    refuses("name: [\n", ":2:1:", "");
}

static void test_missing_file(void **state)
{
    (void)state;
    sq_suite suite = {.n_groups = 0};
    sq_error err;
    assert_int_equal(sq_suite_load("/nowhere/x.yaml", &suite, &err), SQ_IO);
    assert_non_null(strstr(err.message, "/nowhere/x.yaml"));
    sq_suite_free(&suite);
}

static void test_suites_of_the_tree_load(void **state)
{
    (void)state;
    static const char *const names[] = {"quick", "nightly", "paper", "aa", "passes"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        sq_suite suite = {.n_groups = 0};
        sq_policy policy;
        sq_error err = {.status = SQ_OK};
        snprintf(path, sizeof path, SQ_SOURCE_DIR "/bench/suites/%s.yaml", names[i]);
        if (sq_suite_load(path, &suite, &err) != SQ_OK)
            fail_msg("%s", err.message);
        assert_string_equal(suite.name, names[i]);
        assert_int_equal(sq_settings_policy(&suite.campaign, &policy, &err), SQ_OK);
        sq_suite_free(&suite);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_groups_with_origins),
        cmocka_unit_test(test_policy_is_the_base_with_changes),
        cmocka_unit_test(test_unknown_keys_have_line_column_and_nearest),
        cmocka_unit_test(test_malformed_files_are_refused),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_suites_of_the_tree_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
