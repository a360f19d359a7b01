/* text: growing, escaping of hostile bytes, names nearly right, numbers and durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

static void grows(void **state)
{
    (void)state;
    sq_text text = {0};
    sq_text_add(&text, "");
    assert_non_null(text.data);
    assert_string_equal(text.data, "");
    for (int i = 0; i < 1000; i++)
        sq_text_printf(&text, "%d,", i);
    assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(text.data), text.length);
    sq_text_add_n(&text, "a\0b", 3);
    assert_memory_equal(text.data + text.length - 3, "a\0b", 4);
    assert_false(text.is_failed);
    sq_text_free(&text);
    assert_null(text.data);
    sq_text_free(NULL);
}

static void quotes_for_a_shell(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"--op=a,b:c@d/e.f", "--op=a,b:c@d/e.f"},
                                           {"", "''"},
                                           {"a b", "'a b'"},
                                           {"it's", "'it'\\''s'"},
                                           {"$(x)\n", "'$(x)\n'"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sq_text text = {0};
        sq_text_add_shell(&text, cases[i][0]);
        assert_string_equal(text.data, cases[i][1]);
        sq_text_free(&text);
    }
}

/* Every length around a power of two, where the room is just enough or just not. */
static void ends_in_nul_at_every_length(void **state)
{
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        sq_text text = {0};
        for (size_t i = 0; i < n; i++)
            sq_text_add_n(&text, "x", 1);
        sq_text_printf(&text, "%s", "yz");
        assert_int_equal(strlen(text.data), n + 2);
        sq_text_free(&text);
    }
}

static void a_length_that_cannot_be_is_remembered(void **state)
{
    (void)state;
    sq_text text = {0};
    sq_text_add(&text, "kept");
    sq_text_add_n(&text, "", SIZE_MAX - 2);
    assert_true(text.is_failed);
    sq_text_add(&text, "never");
    assert_string_equal(text.data, "kept");
    sq_text_free(&text);
}

typedef void (*escaper)(sq_text *text, const char *string);

static void check_escape(escaper escape, const char *string, const char *want)
{
    sq_text text = {0};
    escape(&text, string);
    assert_non_null(text.data);
    assert_string_equal(text.data, want);
    sq_text_free(&text);
}

#define BAD "\xef\xbf\xbd"

static void escapes_html(void **state)
{
    (void)state;
    check_escape(sq_text_add_html, "", "");
    check_escape(sq_text_add_html, "<a href=\"x\" title='y'>&amp;</a>",
                 "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
    check_escape(sq_text_add_html, "a\nb\tc\rd", "a\nb\tc&#13;d");
    check_escape(sq_text_add_html, "\x1b[31m\x01\x7f", BAD "[31m" BAD BAD);
    check_escape(sq_text_add_html, "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
                 "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void escapes_json(void **state)
{
    (void)state;
    check_escape(sq_text_add_json, "", "");
    check_escape(sq_text_add_json, "a\"b\\c/d", "a\\\"b\\\\c/d");
    check_escape(sq_text_add_json, "\n\r\t\b\x1f\x7f", "\\n\\r\\t\\u0008\\u001f\\u007f");
    check_escape(sq_text_add_json, "\xc2\x85", "\\u0085"); /* a C1 control */
    check_escape(sq_text_add_json, "\xff", BAD);
}

static void escapes_csv(void **state)
{
    (void)state;
    check_escape(sq_text_add_csv, "", "");
    check_escape(sq_text_add_csv, "plain text", "plain text");
    check_escape(sq_text_add_csv, "a,b", "\"a,b\"");
    check_escape(sq_text_add_csv, "say \"hi\"", "\"say \"\"hi\"\"\"");
    check_escape(sq_text_add_csv, "two\r\nlines", "\"two\r\nlines\"");
    check_escape(sq_text_add_csv, "a\x1b\x02", "a" BAD BAD);
}

static void escapes_a_line_and_markdown(void **state)
{
    (void)state;
    check_escape(sq_text_add_plain, "a\nb\tc|d", "a b c|d");
    check_escape(sq_text_add_plain, "\x1b[2J\xc2\x9b", BAD "[2J" BAD);
    check_escape(sq_text_add_md, "a|b\\|c\n<i>", "a\\|b\\\\\\|c &lt;i>");
}

/* Overlong forms, surrogates, beyond U+10FFFF, stray and missing continuation bytes. */
static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    (void)state;
    check_escape(sq_text_add_json, "\x80", BAD);
    check_escape(sq_text_add_json, "a\xc3", "a" BAD);
    check_escape(sq_text_add_json, "\xe2\x82", BAD BAD);
    check_escape(sq_text_add_json, "\xf0\x9f\x98", BAD BAD BAD);
    check_escape(sq_text_add_json, "\xc0\xaf", BAD BAD);
    check_escape(sq_text_add_json, "\xe0\x80\xaf", BAD BAD BAD);
    check_escape(sq_text_add_json, "\xed\xa0\x80", BAD BAD BAD);
    check_escape(sq_text_add_json, "\xf4\x90\x80\x80", BAD BAD BAD BAD);
    check_escape(sq_text_add_json, "\xf8\x88\x80\x80\x80", BAD BAD BAD BAD BAD);
    check_escape(sq_text_add_json, "\xc3" "A", BAD "A");
    check_escape(sq_text_add_html, "\xe2<\x82", BAD "&lt;" BAD);
}

/* No escaper lets a raw control character or a broken byte through, whatever the pair of bytes. */
static void no_pair_of_bytes_gets_through(void **state)
{
    (void)state;
    const escaper escapers[] = {sq_text_add_html, sq_text_add_json, sq_text_add_csv,
                                sq_text_add_plain, sq_text_add_md};
    for (int pair = 0; pair < 65536; pair++) {
        const char string[] = {(char)(pair & 0xff), (char)(pair >> 8), '\0'};
        for (size_t e = 0; e < sizeof escapers / sizeof *escapers; e++) {
            sq_text text = {0};
            escapers[e](&text, string);
            bool may_break = e == 0 || e == 2;
            for (const char *c = text.data; *c; c++)
                if (*c == 0x7f ||
                    ((unsigned char)*c < 0x20 && !(may_break && strchr("\t\n\r", *c))))
                    fail_msg("pair %04x, escaper %zu", pair, e);
            sq_text again = {0}; /* valid UTF-8 passes JSON's escaper with no replacement added */
            sq_text_add_plain(&again, text.data);
            assert_int_equal(sq_text_width(again.data), sq_text_width(text.data));
            sq_text_free(&again);
            sq_text_free(&text);
        }
    }
}

static void width_counts_code_points(void **state)
{
    (void)state;
    assert_int_equal(sq_text_width(""), 0);
    assert_int_equal(sq_text_width("\xce\xbcs"), 2);
    assert_int_equal(sq_text_width("\xff\xfe"), 2);
}

static const char *const operators[] = {"attention", "selective_scan", "ssd", "retention",
                                        "long_conv", "rmsnorm", NULL};

static void check_nearest(const char *name, const char *want)
{
    const char *got = sq_nearest(name, operators);
    if (!want ? got != NULL : !got || strcmp(got, want) != 0)
        fail_msg("\"%s\": %s, not %s", name, got ? got : "none", want ? want : "none");
}

static void nearest_names(void **state)
{
    (void)state;
    check_nearest("atention", "attention");
    check_nearest("attentoin", "attention"); /* swapped neighbours are one error */
    check_nearest("sds", "ssd");
    check_nearest("Attention", "attention");
    check_nearest("selective-scan", "selective_scan");
    check_nearest("scan", "selective_scan");
    check_nearest("flash_attention", "attention");
    check_nearest("retnetion", "retention");
    check_nearest("sdd", "ssd");
    check_nearest("rms_norm", "rmsnorm");
    check_nearest("xyz", NULL);
    check_nearest("q", NULL);
    check_nearest("", NULL);
    check_nearest("convolution", NULL);
    assert_null(sq_nearest("x", (const char *const[]){NULL}));
    assert_null(sq_nearest("x", (const char *const[]){"y", NULL}));
    assert_string_equal(sq_nearest("l", (const char *const[]){"B", "L", NULL}), "L");
}

static void overlong_names_are_near_nothing(void **state)
{
    (void)state;
    char name[5000];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    check_nearest(name, NULL);
    const char *const longs[] = {name, "cd", NULL};
    assert_null(sq_nearest("ab", longs));
    sq_error err;
    assert_int_equal(sq_fail_unknown(&err, "thing", name, longs), SQ_BAD_ARGUMENT);
    assert_true(strlen(err.message) < sizeof err.message);
}

static void unknown_names_say_what_is_known(void **state)
{
    (void)state;
    sq_error err;
    int index = -7;
    assert_int_equal(sq_find_name("operator", "ssd", operators, &index, &err), SQ_OK);
    assert_int_equal(index, 2);
    assert_int_equal(sq_find_name("operator", "rentention", operators, &index, &err),
                     SQ_BAD_ARGUMENT);
    assert_int_equal(index, 2);
    assert_string_equal(err.message,
                        "unknown operator \"rentention\"; did you mean \"retention\"? Known: "
                        "attention, selective_scan, ssd, retention, long_conv, rmsnorm");
    sq_fail_unknown(&err, "operator", "zzz", operators);
    assert_null(strstr(err.message, "did you mean"));
    assert_non_null(strstr(err.message, "Known: attention"));
    sq_fail_unknown(&err, "operator", "zzz", (const char *const[]){NULL});
    assert_string_equal(err.message, "unknown operator \"zzz\"; there is none");
}

static void a_long_list_of_names_is_cut_whole(void **state)
{
    (void)state;
    const char *names[101] = {NULL};
    for (int i = 0; i < 100; i++)
        names[i] = "a_known_name";
    sq_error err;
    sq_fail_unknown(&err, "name", "zzz", names);
    size_t length = strlen(err.message);
    assert_string_equal(err.message + length - 19, ", a_known_name, ...");
}

static void check_number(const char *text, double want)
{
    double got = -1;
    if (!sq_parse_number(text, &got) || got != want)
        fail_msg("\"%s\": %g", text, got);
}

static void reads_numbers(void **state)
{
    (void)state;
    check_number("0", 0);
    check_number("-1.5", -1.5);
    check_number("+2", 2);
    check_number("1k", 1024);
    check_number("16K", 16384);
    check_number("2m", 2097152);
    check_number("1G", 1073741824);
    check_number("0.5", 0.5);
    check_number(".5k", 512);
    check_number("5.", 5);
    check_number("1e-3", 1e-3);
    check_number("1.7976931348623157e308", DBL_MAX);
}

static void refuses_what_is_no_number(void **state)
{
    (void)state;
    const char *bad[] = {"",   " 1", "1 ",  "x",    "1x",    "nan", "inf", "-inf", "0x10", "1e999",
                         "1e308g", ".", "+", "-", "+-1", "1..2", "1kk", "1e", "1e+", "k", "1,5",
                         "infinity", "1\n", "- 1"};
    double got = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sq_parse_number(bad[i], &got))
            fail_msg("\"%s\" was read as %g", bad[i], got);
    assert_true(got == 42);
}

static void scans_the_number_in_front(void **state)
{
    (void)state;
    const char *text = "4k..8k*2", *end;
    double value = 0;
    assert_true(sq_scan_number(text, &value, &end) && value == 4096);
    assert_ptr_equal(end, text + 2);
    assert_true(sq_scan_number("4..8", &value, &end) && value == 4);
    assert_string_equal(end, "..8");
    text = "e4";
    assert_false(sq_scan_number(text, &value, &end));
    assert_ptr_equal(end, text);
}

static void reads_seeds(void **state)
{
    (void)state;
    const char *bad[] = {"", " 1", "+1", "-1", "1k", "1.", "0x1", "18446744073709551616"};
    uint64_t seed = 0;
    assert_true(sq_parse_seed("18446744073709551615", &seed) && seed == UINT64_MAX);
    assert_true(sq_parse_seed("007", &seed) && seed == 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sq_parse_seed(bad[i], &seed))
            fail_msg("\"%s\" was read as a seed", bad[i]);
    assert_true(seed == 7);
}

static void reads_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"9m", 540}, {"90s", 90}, {"2h", 7200}, {"500ms", 0.5}, {"1.5", 1.5}, {"0", 0}};
    double got;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(sq_parse_duration(good[i].text, &got) &&
                    fabs(got - good[i].seconds) < 1e-12);
    const char *bad[] = {"", "-1s", "s", "1x", "1 s", "nan", "inf", "1e999", "1e308h", "1m30s",
                         "0x1", " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sq_parse_duration(bad[i], &got));
}

static void reads_days(void **state)
{
    (void)state;
    const char *bad[] = {"",           "2026-11-1",   "2026-11-011", "2026-02-30", "2026-13-01",
                         "2026-00-10", "2026-11-00",  "2026/11/01",  " 026-11-01", "2026-11-0x",
                         "-026-11-01", "2026-11-01 ", "tomorrow"};
    double begin;
    assert_true(sq_parse_day("1970-01-02", &begin) && begin == 86400);
    assert_true(sq_parse_day("2024-02-29", &begin) && begin == 1709164800);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sq_parse_day(bad[i], &begin))
            fail_msg("\"%s\" was read as a day", bad[i]);
}

static void formats_times(void **state)
{
    (void)state;
    char text[32];
    sq_format_utc(1709164800 + 9.5 * 3600 + 59.9, text, sizeof text);
    assert_string_equal(text, "2024-02-29 09:30");
    const double none[] = {NAN, INFINITY, -1e300};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        sq_format_utc(none[i], text, sizeof text);
        assert_string_equal(text, "");
    }
}

static void formats_for_people(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *ns, *bytes;
    } cases[] = {{0, "0 ns", "0 B"},           {512, "512 ns", "512 B"},
                 {12345, "12.3 us", "12.3 KB"}, {999960, "1.00 ms", "1.00 MB"},
                 {1.2e9, "1.20 s", "1.20 GB"},  {80e9, "80 s", "80 GB"},
                 {9.996, "10.0 ns", "10.0 B"},  {99.97, "100 ns", "100 B"},
                 {-1500, "-1.50 us", "-1.50 KB"}, {NAN, "-", "-"}};
    char text[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sq_format_ns(cases[i].value, text, sizeof text);
        assert_string_equal(text, cases[i].ns);
        sq_format_bytes(cases[i].value, text, sizeof text);
        assert_string_equal(text, cases[i].bytes);
    }
    sq_format_ns(1e300, text, 8); /* cut, not overrun */
    assert_true(strlen(text) < 8);
    sq_format_ns(INFINITY, text, sizeof text);
    assert_string_equal(text, "inf s");
}

static void test_shares(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "2", "-1%", "101%", "2 %", "%", "0.02%x", "1k", "nan"};
    double share = 7;
    assert_true(sq_parse_share("2%", &share) && fabs(share - 0.02) < 1e-15);
    assert_true(sq_parse_share("0.3", &share) && share == 0.3);
    assert_true(sq_parse_share("100%", &share) && share == 1);
    assert_true(sq_parse_share("0", &share) && share == 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sq_parse_share(bad[i], &share));
    assert_true(share == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(grows),
        cmocka_unit_test(ends_in_nul_at_every_length),
        cmocka_unit_test(a_length_that_cannot_be_is_remembered),
        cmocka_unit_test(escapes_html),
        cmocka_unit_test(escapes_json),
        cmocka_unit_test(escapes_csv),
        cmocka_unit_test(escapes_a_line_and_markdown),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(no_pair_of_bytes_gets_through),
        cmocka_unit_test(quotes_for_a_shell),
        cmocka_unit_test(width_counts_code_points),
        cmocka_unit_test(nearest_names),
        cmocka_unit_test(overlong_names_are_near_nothing),
        cmocka_unit_test(unknown_names_say_what_is_known),
        cmocka_unit_test(a_long_list_of_names_is_cut_whole),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(scans_the_number_in_front),
        cmocka_unit_test(reads_seeds),
        cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_days),
        cmocka_unit_test(formats_times),
        cmocka_unit_test(formats_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
