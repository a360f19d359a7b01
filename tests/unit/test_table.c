/* table: the same rows in five forms; JSON is read back by a parser that is not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/table.h"

static const char *const columns[] = {"name", "time", "note", NULL};

static sq_table *sample(void)
{
    sq_table *table = sq_table_new(columns);
    assert_non_null(table);
    sq_table_text(table, "a|b");
    sq_table_number(table, 1234.5678, 3);
    sq_table_text(table, "say \"hi\", twice");
    sq_table_text(table, "\xce\xbc\x1b");
    sq_table_number(table, NAN, 3);
    sq_table_text(table, "");
    return table;
}

static void check_render(const sq_table *table, sq_format format, const char *want)
{
    sq_text out = {0};
    assert_int_equal(sq_table_render(table, format, &out), SQ_OK);
    assert_string_equal(out.data, want);
    sq_text_free(&out);
}

static void renders_all_forms(void **state)
{
    (void)state;
    sq_table *table = sample();
    assert_int_equal(sq_table_rows(table), 2);
    check_render(table, SQ_FORMAT_TABLE,
                 "name  time  note\n"
                 "a|b   1235  say \"hi\", twice\n"
                 "\xce\xbc\xef\xbf\xbd          \n");
    check_render(table, SQ_FORMAT_MD,
                 "| name | time | note |\n"
                 "|---|---:|---|\n"
                 "| a\\|b | 1235 | say \"hi\", twice |\n"
                 "| \xce\xbc\xef\xbf\xbd |  |  |\n");
    check_render(table, SQ_FORMAT_CSV,
                 "name,time,note\r\n"
                 "a|b,1234.5678,\"say \"\"hi\"\", twice\"\r\n"
                 "\xce\xbc\xef\xbf\xbd,,\r\n");
    check_render(table, SQ_FORMAT_JSONL,
                 "{\"name\": \"a|b\", \"time\": 1234.5678, \"note\": \"say \\\"hi\\\", twice\"}\n"
                 "{\"name\": \"\xce\xbc\\u001b\", \"time\": null, \"note\": \"\"}\n");
    sq_table_free(table);
}

static void an_empty_table_is_a_valid_one(void **state)
{
    (void)state;
    sq_table *table = sq_table_new(columns);
    assert_int_equal(sq_table_rows(table), 0);
    check_render(table, SQ_FORMAT_TABLE, "name  time  note\n");
    check_render(table, SQ_FORMAT_CSV, "name,time,note\r\n");
    check_render(table, SQ_FORMAT_MD, "| name | time | note |\n|---|---|---|\n");
    check_render(table, SQ_FORMAT_JSON, "[\n]\n");
    sq_text out = {0};
    assert_int_equal(sq_table_render(table, SQ_FORMAT_JSONL, &out), SQ_OK);
    assert_non_null(out.data);
    assert_string_equal(out.data, "");
    sq_text_free(&out);
    sq_table_free(table);
    sq_table_free(NULL);
}

static void a_row_cut_short_is_filled(void **state)
{
    (void)state;
    sq_table *table = sq_table_new(columns);
    sq_table_text(table, "x");
    assert_int_equal(sq_table_rows(table), 1);
    check_render(table, SQ_FORMAT_CSV, "name,time,note\r\nx,,\r\n");
    check_render(table, SQ_FORMAT_JSONL, "{\"name\": \"x\", \"time\": null, \"note\": null}\n");
    sq_table_free(table);
}

static void numbers_are_right_aligned_text_left(void **state)
{
    (void)state;
    sq_table *table = sq_table_new((const char *const[]){"x", "y", NULL});
    const double values[] = {1, 1000, 2.5};
    for (int i = 0; i < 3; i++) {
        sq_table_number(table, values[i], 3);
        sq_table_text(table, i ? "b" : "long text");
    }
    check_render(table, SQ_FORMAT_TABLE,
                 "   x  y\n   1  long text\n1000  b\n2.50  b\n");
    sq_table_free(table);
}

static void digits_are_for_the_eye(void **state)
{
    (void)state;
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {{0, 3, "0"},           {-0.0, 3, "0"},      {1.0 / 3, 3, "0.333"},
                 {2.0 / 3, 5, "0.66667"}, {123456.7, 3, "123457"}, {12.345, 4, "12.35"},
                 {1e300, 3, "1e+300"},  {1.5e-9, 3, "1.5e-09"}, {INFINITY, 3, "inf"},
                 {65536, 2, "65536"},   {0.5, 0, "0.5"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[64];
        sq_table *table = sq_table_new((const char *const[]){"v", NULL});
        sq_table_number(table, cases[i].value, cases[i].digits);
        snprintf(want, sizeof want, "| v |\n|---:|\n| %s |\n", cases[i].text);
        check_render(table, SQ_FORMAT_MD, want);
        sq_table_free(table);
    }
}

static void csv_carries_the_shortest_exact_number(void **state)
{
    (void)state;
    sq_table *table = sq_table_new((const char *const[]){"v", NULL});
    sq_table_number(table, 0.1, 3);
    sq_table_number(table, 1.0 / 3, 3);
    sq_table_number(table, 2251799813685249.5, 3);
    sq_table_number(table, 123456789012345, 3);
    check_render(table, SQ_FORMAT_CSV,
                 "v\r\n0.1\r\n0.3333333333333333\r\n2251799813685249.5\r\n123456789012345\r\n");
    sq_table_free(table);
}

/* The bytes that break naive writers, as column names too. */
static void json_is_valid_and_reads_back(void **state)
{
    (void)state;
    const char *const hostile[] = {"quote\"", "back\\slash", "line\nbreak\t\r\x01\x7f", NULL};
    const double values[] = {1.0 / 3, INFINITY, -1e-300};
    sq_table *table = sq_table_new(hostile);
    for (int i = 0; i < 3; i++)
        sq_table_number(table, values[i], 3);
    for (int i = 0; i < 3; i++)
        sq_table_text(table, hostile[i]);
    sq_text out = {0};
    assert_int_equal(sq_table_render(table, SQ_FORMAT_JSON, &out), SQ_OK);
    json_error_t error;
    json_t *rows = json_loads(out.data, JSON_REJECT_DUPLICATES, &error);
    if (!rows)
        fail_msg("line %d: %s\n%s", error.line, error.text, out.data);
    assert_int_equal(json_array_size(rows), 2);
    assert_true(json_real_value(json_object_get(json_array_get(rows, 0), hostile[0])) == 1.0 / 3);
    assert_true(json_is_null(json_object_get(json_array_get(rows, 0), hostile[1])));
    assert_true(json_real_value(json_object_get(json_array_get(rows, 0), hostile[2])) == -1e-300);
    for (int i = 0; i < 3; i++)
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(rows, 1), hostile[i])), hostile[i]);
    json_decref(rows);
    sq_text_free(&out);
    sq_table_free(table);
}

static void formats_have_names(void **state)
{
    (void)state;
    sq_format format = SQ_FORMAT_TABLE;
    sq_error err;
    assert_int_equal(sq_format_parse("jsonl", &format, &err), SQ_OK);
    assert_int_equal(format, SQ_FORMAT_JSONL);
    assert_int_equal(sq_format_parse("md", &format, &err), SQ_OK);
    assert_int_equal(format, SQ_FORMAT_MD);
    assert_int_equal(sq_format_parse("jsno", &format, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "did you mean \"json\"?"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_all_forms),
        cmocka_unit_test(an_empty_table_is_a_valid_one),
        cmocka_unit_test(a_row_cut_short_is_filled),
        cmocka_unit_test(numbers_are_right_aligned_text_left),
        cmocka_unit_test(digits_are_for_the_eye),
        cmocka_unit_test(csv_carries_the_shortest_exact_number),
        cmocka_unit_test(json_is_valid_and_reads_back),
        cmocka_unit_test(formats_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
