/* record: what is absent, what grows, what is owned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/record.h"

static void a_new_record_knows_nothing(void **state)
{
    (void)state;
    sq_cell cell = {.subject = "ssd", .pass = SQ_PASS_STEP};
    sq_record r;
    memset(&r, 0x5a, sizeof r);
    sq_record_init(&r, &cell);
    assert_string_equal(r.cell.subject, "ssd");
    assert_true(isnan(r.cycles) && isnan(r.sm_mhz) && isnan(r.setup_ns));
    assert_true(r.peak_bytes == -1);
    assert_int_equal(r.status, SQ_RUN_ERROR); /* until somebody says otherwise */
    assert_true(!r.samples && !r.values && !r.kernels && !r.checks && !r.reason[0] && !r.uuid[0]);
    sq_record_free(&r);
    sq_record_free(NULL);
}

static void lists_grow_and_keep_their_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    sq_record r;
    sq_record_init(&r, &(sq_cell){.subject = "x"});
    for (int i = 0; i < N; i++) {
        char metric[32];
        snprintf(metric, sizeof metric, "metric_%d", i);
        assert_int_equal(sq_record_add_number(&r, metric, i), SQ_OK);
        assert_int_equal(sq_record_add_kernel(&r, &(sq_kernel_record){.ns = i}), SQ_OK);
        assert_int_equal(sq_record_add_check(&r, &(sq_check){.rel_l2 = i}), SQ_OK);
    }
    assert_true(r.n_values == N && r.n_kernels == N && r.n_checks == N);
    for (int i = 0; i < N; i++)
        assert_true(r.values[i].value == i && r.kernels[i].ns == i && r.checks[i].rel_l2 == i);
    assert_string_equal(r.values[N - 1].metric, "metric_999");
    assert_string_equal(r.values[0].validity, "ok");
    assert_true(r.values[0].n == 1 && isnan(r.values[0].spread) && isnan(r.values[0].sm_mhz));
    sq_record_free(&r);
    assert_true(!r.values && !r.n_values);
    sq_record_free(&r); /* twice is once */
}

static void absent_numbers_are_not_added(void **state)
{
    (void)state;
    char name[200];
    sq_record r;
    sq_record_init(&r, &(sq_cell){.subject = "x"});
    assert_int_equal(sq_record_add_number(&r, "nobody_measured", NAN), SQ_OK);
    assert_int_equal(r.n_values, 0);
    memset(name, 'm', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(sq_record_add_number(&r, name, 1), SQ_BAD_ARGUMENT);
    assert_int_equal(r.n_values, 0);
    name[95] = '\0';
    assert_int_equal(sq_record_add_number(&r, name, 1), SQ_OK);
    assert_string_equal(r.values[0].metric, name);
    sq_record_free(&r);
}

static void samples_are_copied_and_summarised(void **state)
{
    (void)state;
    int32_t samples[] = {30, 10, 20};
    sq_record r;
    sq_record_init(&r, &(sq_cell){.subject = "x"});
    assert_int_equal(sq_record_set_samples(&r, samples, 3), SQ_OK);
    samples[0] = 0;
    assert_true(r.n_samples == 3 && r.samples[0] == 30 && r.samples[2] == 20);
    assert_true(r.stats.n == 3 && r.stats.median == 20 && r.stats.min == 10);
    assert_int_equal(sq_record_set_samples(&r, r.samples, 2), SQ_OK); /* its own memory */
    assert_true(r.n_samples == 2 && r.samples[1] == 10 && r.stats.median == 20);
    assert_int_equal(sq_record_set_samples(&r, samples, -1), SQ_BAD_ARGUMENT);
    assert_int_equal(r.n_samples, 2);
    assert_int_equal(sq_record_set_samples(&r, NULL, 0), SQ_OK);
    assert_true(!r.samples && r.n_samples == 0 && r.stats.n == 0);
    sq_record_free(&r);
}

static void uuids_are_version_4_and_differ(void **state)
{
    (void)state;
    enum { N = 64 };
    static char uuid[N][SQ_UUID_TEXT];
    for (int i = 0; i < N; i++) {
        sq_error err;
        assert_int_equal(sq_uuid_new(uuid[i], &err), SQ_OK);
        assert_int_equal(strlen(uuid[i]), 36);
        for (int k = 0; k < 36; k++) {
            bool is_dash = k == 8 || k == 13 || k == 18 || k == 23;
            assert_true(is_dash ? uuid[i][k] == '-'
                                : isxdigit(uuid[i][k]) && !isupper(uuid[i][k]));
        }
        assert_int_equal(uuid[i][14], '4');
        assert_non_null(strchr("89ab", uuid[i][19]));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(uuid[i], uuid[k]);
    }
}

static void statuses_parse_back(void **state)
{
    (void)state;
    sq_error err;
    for (int i = 0; i < SQ_RUN_STATUS_COUNT; i++) {
        sq_run_status status = SQ_RUN_STATUS_COUNT;
        const char *name = sq_run_status_name((sq_run_status)i);
        assert_int_equal(sq_run_status_parse(name, &status, &err), SQ_OK);
        assert_int_equal(status, i);
    }
    sq_run_status status = SQ_RUN_OK;
    assert_int_equal(sq_run_status_parse("time-out", &status, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "\"timeout\""));
    assert_string_equal(sq_run_status_name(SQ_RUN_STATUS_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_record_knows_nothing),
        cmocka_unit_test(lists_grow_and_keep_their_order),
        cmocka_unit_test(absent_numbers_are_not_added),
        cmocka_unit_test(samples_are_copied_and_summarised),
        cmocka_unit_test(uuids_are_version_4_and_differ),
        cmocka_unit_test(statuses_parse_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
