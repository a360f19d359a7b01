/* The data sheet over fixed stores: what is on it, what is not, and that nothing of a store is
 * markup. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#include "reports/datasheet.h"

static const char first[] = "11111111-0000-4000-8000-000000000001";

static bool has_gnuplot(void)
{
    return system("gnuplot --version > /dev/null 2>&1") == 0;
}

/* An H100 with these ceilings instead of the fixture's. */
static sq_db *store(char dir[64], const char *ceilings)
{
    sq_db *db = fixture_new(dir);
    char sql[1200];
    fixture_full(db);
    fixture_exec(db,
                 "UPDATE device SET backend = 'cuda', name = 'NVIDIA H100 80GB HBM3', "
                 "arch = 'sm_90', sm_count = 132, max_sm_mhz = 1980, max_memory_mhz = 2619, "
                 "memory_bus_bits = 5120",
                 NULL, NULL);
    fixture_exec(db, "DELETE FROM ceiling", NULL, NULL);
    snprintf(sql, sizeof sql,
             "INSERT INTO ceiling(campaign_id, device_id, env_id, name, unit, value, lo, hi, "
             "sm_mhz) SELECT campaign_id, device_id, env_id, column1, column2, column3, column4, "
             "column5, column6 FROM campaign, (VALUES %s) WHERE campaign.campaign_id = 1",
             ceilings);
    fixture_exec(db, sql, NULL, NULL);
    return db;
}

static sq_datasheet read_sheet(sq_db *db)
{
    sq_datasheet sheet;
    sq_error err = {.message = ""};
    if (sq_datasheet_read(db, first, &sheet, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return sheet;
}

static sq_datasheet_result render(sq_db *db, const char *dir, const char *gnuplot)
{
    sq_datasheet sheet = read_sheet(db);
    sq_datasheet_result result;
    sq_error err = {.message = ""};
    if (sq_datasheet_render(db, &sheet, dir, gnuplot, &result, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return result;
}

#define SOME                                                                                       \
    "('gemm_bf16_tflops', 'TFLOP/s', 800, 795, 805, 1755), "                                       \
    "('gemm_bf16_sustained_tflops', 'TFLOP/s', 690, 688, 692, 1470), "                             \
    "('copy_gbytes_per_s', 'GB/s', 3017, 3015, 3019, NULL), "                                      \
    "('chase_l2_ns', 'ns', 140, 138, 142, 1980)"

static void test_sheet_is_ordered_and_has_its_peaks(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, SOME);
    sq_datasheet sheet = read_sheet(db);
    assert_int_equal(sheet.n, 4);
    assert_string_equal(sheet.ceiling[0].name, "copy_gbytes_per_s");
    assert_string_equal(sheet.ceiling[1].name, "chase_l2_ns");
    assert_string_equal(sheet.ceiling[3].name, "gemm_bf16_sustained_tflops");
    assert_true(fabs(sq_datasheet_peak(&sheet, &sheet.ceiling[0]) - 3352.3) < 1);
    assert_true(isnan(sq_datasheet_peak(&sheet, &sheet.ceiling[1])));
    assert_true(fabs(sq_datasheet_peak(&sheet, &sheet.ceiling[3]) - 794.8) < 1); /* at 1470 MHz */
    fixture_free(db, dir);
}

static void test_table_in_json(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, SOME);
    sq_datasheet sheet = read_sheet(db);
    sq_text text = {0};
    assert_int_equal(sq_datasheet_table(&sheet, SQ_FORMAT_JSON, &text, NULL), SQ_OK);
    fixture_expect(text.data, "\"ceiling\": \"chase_l2_ns\"");
    fixture_expect(text.data, "\"peak\": null");
    sq_text_free(&text);
    fixture_free(db, dir);
}

static void test_page_has_figures_and_rows(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, SOME);
    sq_datasheet_result result = render(db, dir, NULL);
    fixture_expect(result.page, "nvidia-h100-80gb-hbm3.html");
    char *page = fixture_read(dir, "nvidia-h100-80gb-hbm3.html");
    fixture_expect(page, "NVIDIA H100 80GB HBM3: data sheet");
    fixture_expect(page, "hit in L2");
    fixture_expect(page, "277.2"); /* cycles of 140 ns at 1980 MHz */
    fixture_expect(page, "Not measured: launch_plain_ns, ");
    fixture_expect(page, "</html>");
    if (has_gnuplot()) {
        fixture_expect(page, "data:image/svg+xml;base64,");
        assert_true(fixture_has_file(dir, "figures/nvidia-h100-80gb-hbm3_roofline.png"));
        assert_true(fixture_has_file(dir, "figures/nvidia-h100-80gb-hbm3_bursts.svg"));
    }
    free(page);
    char *csv = fixture_read(dir, "figures/nvidia-h100-80gb-hbm3_bursts.csv");
    fixture_expect(csv, "bf16,800,690,1755,1470\n");
    free(csv);
    fixture_free(db, dir);
}

static void test_without_gnuplot_there_are_tables(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, SOME);
    sq_datasheet_result result = render(db, dir, "/nowhere/gnuplot");
    fixture_expect(result.note, "tables only");
    char *page = fixture_read(dir, "nvidia-h100-80gb-hbm3.html");
    fixture_expect(page, "tables only");
    fixture_expect(page, "hit in L2");
    fixture_expect_not(page, "data:image/svg");
    free(page);
    fixture_free(db, dir);
}

static void test_nothing_to_draw_is_no_figure(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, "('chase_l2_ns', 'ns', 140, 138, 142, NULL)");
    render(db, dir, NULL);
    assert_false(fixture_has_file(dir, "figures/nvidia-h100-80gb-hbm3_roofline.gp"));
    assert_false(fixture_has_file(dir, "figures/nvidia-h100-80gb-hbm3_bursts.gp"));
    fixture_free(db, dir);
}

static void test_texts_of_the_store_are_text(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, "('<script>alert(1)</script>', '<b>GB/s', 1, 1, 1, NULL), "
                           "('gemm_bf16_tflops', 'TFLOP/s', 800, 795, 805, 1755), "
                           "('copy_gbytes_per_s', 'GB/s', 3017, 3015, 3019, NULL)");
    fixture_exec(db, "UPDATE device SET name = '../<script>alert(2)</script> `id` \"'", NULL, NULL);
    sq_datasheet_result result = render(db, dir, NULL);
    fixture_expect(result.page, "/script-alert-2-script-id.html");
    char *page = fixture_read(dir, "script-alert-2-script-id.html");
    fixture_expect_not(page, "<script>alert");
    fixture_expect_not(page, "<b>GB/s");
    fixture_expect(page, "&lt;script&gt;alert(1)");
    fixture_expect(page, "Other"); /* the section of names that nobody knows */
    free(page);
    fixture_free(db, dir);
}

static void test_no_ceilings_is_said(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store(dir, SOME);
    sq_datasheet sheet;
    sq_error err = {.message = ""};
    fixture_exec(db, "DELETE FROM ceiling", NULL, NULL);
    assert_int_equal(sq_datasheet_read(db, first, &sheet, &err), SQ_BAD_ARGUMENT);
    fixture_expect(err.message, "no ceilings");
    fixture_free(db, dir);
}

static void test_slugs(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"},
                                           {"  (x)  ", "x"},
                                           {"../..", "device"},
                                           {"", "device"},
                                           {"\xc3\xa9t\xc3\xa9", "t"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char slug[SQ_SLUG_MAX];
        sq_datasheet_slug(cases[i][0], slug);
        assert_string_equal(slug, cases[i][1]);
    }
    char name[300], slug[SQ_SLUG_MAX];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    sq_datasheet_slug(name, slug);
    assert_int_equal(strlen(slug), SQ_SLUG_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sheet_is_ordered_and_has_its_peaks),
        cmocka_unit_test(test_table_in_json),
        cmocka_unit_test(test_page_has_figures_and_rows),
        cmocka_unit_test(test_without_gnuplot_there_are_tables),
        cmocka_unit_test(test_nothing_to_draw_is_no_figure),
        cmocka_unit_test(test_texts_of_the_store_are_text),
        cmocka_unit_test(test_no_ceilings_is_said),
        cmocka_unit_test(test_slugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
