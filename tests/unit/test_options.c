/* The table-driven command line: forms, refusals, help; and settings and lists behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "bench/options.h"
#include "bench/settings.h"

static const sq_option table[] = {
    {"help", 'h', NULL, "this text"},
    {"output", 'o', "FORMAT", "how rows are written"},
    {"seqlen", 0, "LIST", "lengths"},
    {NULL, 0, NULL, NULL},
};
static const sq_option more[] = {{"window", 0, "LIST", "keys seen"}, {NULL, 0, NULL, NULL}};

static sq_status parse(sq_given *given, sq_error *err, int argc, const char **argv)
{
    return sq_options_parse(table, more, argc, (char **)argv, given, err);
}

#define PARSE(given, err, ...)                                                                     \
    parse(given, err, (int)(sizeof((const char *[]){"verb", __VA_ARGS__}) / sizeof(char *)),       \
          (const char *[]){"verb", __VA_ARGS__})

static void test_every_form_of_an_option(void **state)
{
    (void)state;
    sq_given given;
    sq_error err;
    assert_int_equal(PARSE(&given, &err, "--seqlen", "1k", "--window=64", "-omd", "name", "-h",
                           "--seqlen=2k", "--", "--name"),
                     SQ_OK);
    assert_string_equal(sq_given_value(&given, "seqlen", ""), "2k"); /* the last one holds */
    assert_string_equal(sq_given_value(&given, "window", ""), "64");
    assert_string_equal(sq_given_value(&given, "output", ""), "md");
    assert_string_equal(sq_given_value(&given, "db", "none"), "none");
    assert_true(sq_given_has(&given, "help"));
    assert_int_equal(given.n_arguments, 2);
    assert_string_equal(given.argument[0], "name");
    assert_string_equal(given.argument[1], "--name");
}

static void test_values_may_look_like_options(void **state)
{
    (void)state;
    sq_given given;
    sq_error err;
    assert_int_equal(PARSE(&given, &err, "--seqlen", "--help"), SQ_OK);
    assert_string_equal(sq_given_value(&given, "seqlen", ""), "--help");
    assert_false(sq_given_has(&given, "help"));
    assert_int_equal(PARSE(&given, &err, "-"), SQ_OK); /* a single dash is an argument */
    assert_int_equal(given.n_arguments, 1);
}

static void test_refusals(void **state)
{
    (void)state;
    sq_given given;
    sq_error err;
    assert_int_equal(PARSE(&given, &err, "--seqlne", "1"), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "--seqlen"));
    assert_int_equal(PARSE(&given, &err, "--windwo=1"), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "--window"));
    assert_int_equal(PARSE(&given, &err, "-x"), SQ_BAD_ARGUMENT);
    assert_int_equal(PARSE(&given, &err, "--seqlen"), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "needs a value"));
    assert_int_equal(PARSE(&given, &err, "--help=yes"), SQ_BAD_ARGUMENT);
}

static void test_help_lists_the_table_in_columns(void **state)
{
    (void)state;
    sq_text text = {.data = NULL};
    sq_options_help(table, &text);
    assert_non_null(strstr(text.data, "  -h, --help                this text\n"));
    assert_non_null(strstr(text.data, "  -o, --output FORMAT       how rows are written\n"));
    assert_null(strstr(text.data, "window"));
    sq_text_free(&text);
}

static void test_later_settings_replace_and_move_to_the_end(void **state)
{
    (void)state;
    sq_settings a = {.count = 0}, b = {.count = 0};
    assert_int_equal(sq_settings_set(&a, "seqlen", "1", "file", NULL), SQ_OK);
    assert_int_equal(sq_settings_set(&a, "batch", "2", "file", NULL), SQ_OK);
    assert_int_equal(sq_settings_set(&b, "seqlen", "3", "command line", NULL), SQ_OK);
    assert_int_equal(sq_settings_merge(&a, &b, NULL), SQ_OK);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.item[1].key, "seqlen");
    assert_string_equal(a.item[1].origin, "command line");
    assert_string_equal(sq_settings_text(&a, "seqlen", ""), "3");
    sq_settings_free(&a);
    sq_settings_free(&b);
}

static void test_lists_of_names(void **state)
{
    (void)state;
    sq_names names;
    sq_error err;
    assert_int_equal(sq_names_split("a,b, c,a", &names, &err), SQ_OK);
    assert_int_equal(names.count, 3);
    assert_true(sq_names_has(&names, "c"));
    assert_false(sq_names_has(&names, "d"));
    sq_names_free(&names);
    assert_int_equal(sq_names_split(",", &names, &err), SQ_BAD_ARGUMENT);
    sq_names_free(&names);
}

static void test_lists_from_files(void **state)
{
    (void)state;
    char path[] = "/tmp/sq_list_XXXXXX", name[32], *out = NULL;
    int fd = mkstemp(path);
    sq_error err;
    dprintf(fd, "1k 2k # short ones\n\n  4k,8k\n");
    snprintf(name, sizeof name, "@%s", path);
    assert_int_equal(sq_setting_expand(name, &out, &err), SQ_OK);
    assert_string_equal(out, "1k,2k,4k,8k");
    free(out);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(sq_setting_expand(name, &out, &err), SQ_BAD_ARGUMENT);
    close(fd);
    unlink(path);
    assert_int_equal(sq_setting_expand(name, &out, &err), SQ_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_of_an_option),
        cmocka_unit_test(test_values_may_look_like_options),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_help_lists_the_table_in_columns),
        cmocka_unit_test(test_later_settings_replace_and_move_to_the_end),
        cmocka_unit_test(test_lists_of_names),
        cmocka_unit_test(test_lists_from_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
