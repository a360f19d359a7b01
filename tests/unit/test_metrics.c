/* The metric table, and the counter set against CUPTI's own knowledge of chips (no GPU needed). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "profile/profile.h"

/* CUPTI's host library aborts under AddressSanitizer (it loads its parts with RTLD_DEEPBIND). */
#if defined(__SANITIZE_ADDRESS__)
#define IS_UNDER_ASAN 1
#else
#define IS_UNDER_ASAN 0
#endif

static void test_table_is_sane(void **state)
{
    (void)state;
    for (const sq_metric_def *m = sq_metrics; m->name; m++) {
        assert_ptr_equal(sq_metric_find(m->name), m); /* unique */
        assert_true(strlen(m->unit) > 0 && strlen(m->doc) > 0);
        assert_true(strcmp(m->better, "") == 0 || strcmp(m->better, "lower") == 0 ||
                    strcmp(m->better, "higher") == 0);
        assert_true(strcmp(m->source, "derived") == 0 || strcmp(m->source, "timed") == 0 ||
                    strcmp(m->source, "nvml") == 0 || strcmp(m->source, "traced") == 0 ||
                    strncmp(m->source, "cupti:", 6) == 0 || strncmp(m->source, "pm:", 3) == 0);
    }
    assert_null(sq_metric_find("no_such_metric"));
}

static void test_unknown_names_are_named(void **state)
{
    (void)state;
    const char *names[] = {"dram__bytes_read.sum", "dram__bytes_wrong.sum"};
    int passes = -1;
    sq_error err = {.message = ""};
    if (IS_UNDER_ASAN)
        skip();
    assert_int_equal(sq_counters_offline_passes("GH100", false, names, 2, &passes, &err), SQ_UNSUPPORTED);
    assert_true(strstr(err.message, "dram__bytes_wrong.sum") || strstr(err.message, "absent") ||
                strstr(err.message, "without CUPTI"));
    assert_int_equal(passes, 0);
}

static void test_absent_nvml_is_said(void **state)
{
    (void)state;
    sq_nvml_state now;
    sq_error err = {.message = ""};
    char line[256] = "";
    if (sq_nvml_read("0000:ff:1f.7", &now, &err) == SQ_OK)
        fail_msg("a GPU at an impossible address");
    assert_true(strlen(err.message) > 0);
    assert_true(now.sm_mhz != now.sm_mhz && now.driver[0] == '\0'); /* NAN, not 0 */
    sq_profile_describe_nvml(line, sizeof line);
    assert_true(strlen(line) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sane),
        cmocka_unit_test(test_unknown_names_are_named),
        cmocka_unit_test(test_absent_nvml_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
