/* compare: pairing, classes, bounds and forms over stores whose times are known. */
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

#include "core/infer.h"
#include "reports/compare.h"

static const char first[] = "11111111-0000-4000-8000-000000000001";
static const char second[] = "22222222-0000-4000-8000-000000000002";

static sq_side side(const char *name, const char *campaign, sq_replicates replicates)
{
    sq_side s = {.name = name, .replicates = replicates};
    strcpy(s.campaign, campaign);
    return s;
}

static sq_compare_options two_sides(sq_format format)
{
    return (sq_compare_options){.a = side("first", first, SQ_ALL_RUNS),
                                .b = side("second", second, SQ_ALL_RUNS),
                                .draws = 200,
                                .format = format};
}

static sq_compare_options halves(sq_format format)
{
    return (sq_compare_options){.a = side("first:even", first, SQ_EVEN_RUNS),
                                .b = side("first:odd", first, SQ_ODD_RUNS),
                                .draws = 200,
                                .format = format};
}

static sq_compare_options providers(const char *reference, sq_format format)
{
    return (sq_compare_options){.a = side("first", first, SQ_ALL_RUNS),
                                .is_by_provider = true,
                                .reference = reference,
                                .format = format};
}

static char *compared(sq_db *db, sq_compare_options options, char notes[512])
{
    sq_text out = {.data = NULL}, said = {.data = NULL};
    sq_error err = {.status = SQ_OK};
    if (sq_report_compare(db, &options, &out, &said, &err) != SQ_OK)
        fail_msg("%s", err.message);
    if (notes)
        snprintf(notes, 512, "%s", said.data ? said.data : "");
    sq_text_free(&said);
    return out.data ? out.data : calloc(1, 1);
}

static void refused(sq_db *db, sq_compare_options options, const char *part)
{
    sq_text out = {.data = NULL}, notes = {.data = NULL};
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_report_compare(db, &options, &out, &notes, &err), SQ_BAD_ARGUMENT);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" is not in: %s", part, err.message);
    sq_text_free(&out);
    sq_text_free(&notes);
}

/* Field `name` of the first row of a csv whose line contains `part`; the key, quoted, comes first.
 */
static void csv_text(const char *csv, const char *part, const char *name, char out[64])
{
    const char *row = strchr(csv, '\n') + 1, *column = csv, *field = NULL;
    while (row && *row && !(strstr(row, part) && strstr(row, part) < strchr(row, '\n')))
        row = strchr(row, '\n') + 1;
    if (!row || !*row)
        fail_msg("no row with %s in:\n%s", part, csv);
    field = strstr(row, "\",") + 1; /* the comma behind the key */
    column = strchr(column, ',');
    while (strncmp(column + 1, name, strlen(name)) != 0 ||
           !strchr(",\r\n", column[1 + strlen(name)])) {
        column = strchr(column + 1, ',');
        field = strchr(field + 1, ',');
        if (!column || !field)
            fail_msg("no column %s in:\n%s", name, csv);
    }
    snprintf(out, 64, "%.*s", (int)strcspn(field + 1, ",\r\n"), field + 1);
}

static double csv_number(const char *csv, const char *part, const char *name)
{
    char text[64];
    csv_text(csv, part, name, text);
    return *text ? atof(text) : NAN;
}

static void near_to(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not %.17g", value, expected);
}

/* --- stores --- */

static void add_ceilings(sq_db *db)
{
    fixture_exec(db,
                 "INSERT INTO ceiling(device_id, env_id, campaign_id, name, unit, value, lo, hi) "
                 "VALUES(1, 1, 1, 'copy_gbytes_per_s', 'GB/s', 2000, 1, 1),"
                 "(1, 1, 1, 'gemm_bf16_tflops', 'TFLOP/s', 500, 1, 1),"
                 "(1, 1, 1, 'gemm_f32_tflops', 'TFLOP/s', 50, 1, 1)",
                 NULL, NULL);
}

static void set_run(sq_db *db, long run, double cycles, double matrix_flops)
{
    char sql[256];
    snprintf(sql, sizeof sql, "UPDATE run SET cycles = %.17g WHERE run_id = %ld", cycles, run);
    if (!isnan(cycles))
        fixture_exec(db, sql, NULL, NULL);
    snprintf(sql, sizeof sql,
             "INSERT INTO value VALUES(%ld, 'matrix_flops', %.17g, 1, NULL, NULL, '', 'ok')", run,
             matrix_flops);
    if (!isnan(matrix_flops))
        fixture_exec(db, sql, NULL, NULL);
}

/* Runs of one cell, replicate 0 first, times in ms. Compulsory bytes take 0.5 ms at the ceiling. */
static void add_runs(sq_db *db, fixture_run run, const double *ms, int n, double matrix_flops)
{
    run.B = 1;
    run.bytes = run.bytes > 0 ? run.bytes : 1e9;
    for (int i = 0; i < n; i++) {
        run.replicate = i;
        run.ms = ms[i];
        set_run(db, fixture_add(db, run), 1.5e6 * ms[i], matrix_flops);
    }
}

/* --- two campaigns --- */

static void ratios_of_two_campaigns(void **state)
{
    (void)state;
    char dir[64], text[64];
    sq_db *db = fixture_new(dir);
    const double a[] = {1.00, 1.02, 1.01}, b[] = {1.10, 1.12, 1.13, 1.11};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 1}, a, 3, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 2}, b, 4, NAN);
    char *csv = compared(db, two_sides(SQ_FORMAT_CSV), NULL);
    sq_interval ratio = sq_ratio_of_runs(a, 3, b, 4);
    near_to(csv_number(csv, "L=64", "a_ns"), 1.01e6, 1e-12);
    near_to(csv_number(csv, "L=64", "b_ns"), 1.115e6, 1e-12);
    near_to(csv_number(csv, "L=64", "ratio"), 1.115 / 1.01, 1e-12);
    near_to(csv_number(csv, "L=64", "ratio_lo"), ratio.lo, 1e-9);
    near_to(csv_number(csv, "L=64", "ratio_hi"), ratio.hi, 1e-9);
    near_to(csv_number(csv, "L=64", "cycles_ratio"), 1.115 / 1.01, 1e-12);
    near_to(csv_number(csv, "L=64", "rank_p"), 2 / 35.0, 1e-12); /* C(7, 3) arrangements */
    near_to(csv_number(csv, "L=64", "cv_pct"), 100 * sq_run_cv(a, 3, b, 4), 1e-9);
    assert_true(csv_number(csv, "L=64", "superiority") == 1);
    assert_true(csv_number(csv, "L=64", "runs_a") == 3 && csv_number(csv, "L=64", "runs_b") == 4);
    assert_true(isnan(csv_number(csv, "L=64", "boot_lo"))); /* no samples are stored here */
    csv_text(csv, "L=64", "class", text);
    assert_string_equal(text, "unclassified"); /* no ceilings either */
    free(csv);
    fixture_free(db, dir);
}

/* Samples as the store has them: 1000 ... 1009 us on one side, 2 % more on the other. */
static void bootstrap_of_stored_samples(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    const double a[] = {1.0, 1.0}, b[] = {1.02, 1.02};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 1}, a, 2, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 2}, b, 2, NAN);
    fixture_exec(db,
                 "UPDATE run SET samples = x'40420F0028460F00104A0F00', n = 3"
                 " WHERE campaign_id = 1",
                 NULL, NULL);
    fixture_exec(db, "UPDATE run SET samples = x'60900F00', n = 1 WHERE campaign_id = 2", NULL,
                 NULL);
    char *csv = compared(db, two_sides(SQ_FORMAT_CSV), NULL);
    near_to(csv_number(csv, "L=64", "boot_lo"), 1.02e6 / 1.002e6, 1e-9);
    near_to(csv_number(csv, "L=64", "boot_hi"), 1.02, 1e-9);
    char *again = compared(db, two_sides(SQ_FORMAT_CSV), NULL);
    assert_string_equal(csv, again);
    free(again);
    free(csv);
    sq_compare_options without = two_sides(SQ_FORMAT_CSV);
    without.draws = 0;
    csv = compared(db, without, NULL);
    assert_true(isnan(csv_number(csv, "L=64", "boot_lo")));
    free(csv);
    fixture_free(db, dir);
}

static void what_is_missing_says_why(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    const double ms[] = {1, 1};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 1}, ms, 2, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 2}, ms, 2, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 128, .campaign = 1}, ms, 2, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 256, .campaign = 2}, ms, 2, NAN);
    fixture_run failed = {.subject = "ssd", .L = 128, .B = 1, .campaign = 2, .status = "oom"};
    failed.reason = "needs 90 GiB";
    fixture_add(db, failed);
    failed.L = 512; /* on no side: no part of the comparison */
    fixture_add(db, failed);
    char *text = compared(db, two_sides(SQ_FORMAT_TABLE), NULL);
    fixture_expect(text, "second  oom: needs 90 GiB    ssd@cuda/portable/fwd/bf16/B=1,L=128");
    fixture_expect(text, "first   not in the campaign  ssd@cuda/portable/fwd/bf16/B=1,L=256");
    fixture_expect_not(text, "L=512");
    free(text);
    char *csv = compared(db, two_sides(SQ_FORMAT_CSV), NULL);
    char why[64];
    csv_text(csv, "L=128", "missing", why);
    assert_string_equal(why, "oom: needs 90 GiB");
    assert_true(isnan(csv_number(csv, "L=128", "ratio")));
    assert_true(csv_number(csv, "L=128", "runs_a") == 2 && csv_number(csv, "L=128", "runs_b") == 0);
    free(csv);
    fixture_free(db, dir);
}

static void only_the_newest_attempt_counts(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    const double ms[] = {2, 2};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 1}, ms, 2, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 2}, ms, 2, NAN);
    fixture_run again = {.subject = "ssd", .L = 64, .B = 1, .campaign = 2, .attempt = 1, .ms = 4};
    for (again.replicate = 0; again.replicate < 2; again.replicate++)
        fixture_add(db, again);
    char *csv = compared(db, two_sides(SQ_FORMAT_CSV), NULL);
    assert_true(csv_number(csv, "L=64", "ratio") == 2);
    assert_true(csv_number(csv, "L=64", "runs_b") == 2);
    free(csv);
    fixture_free(db, dir);
}

static void differences_besides_the_code_are_said(void **state)
{
    (void)state;
    char dir[64], notes[512];
    sq_db *db = fixture_new(dir);
    const double ms[] = {1, 1};
    fixture_run run = {.subject = "ssd", .L = 64, .campaign = 1};
    add_runs(db, run, ms, 2, NAN);
    run.campaign = 2;
    add_runs(db, run, ms, 2, NAN);
    free(compared(db, two_sides(SQ_FORMAT_MD), notes));
    assert_string_equal(notes, "");
    fixture_exec(db, "UPDATE run SET kernel_hash = 'k2' WHERE campaign_id = 2", NULL, NULL);
    fixture_exec(db, "UPDATE device SET name = 'Test GPU One'", NULL, NULL);
    fixture_exec(db, "UPDATE run SET device_id = 2 WHERE campaign_id = 2", NULL, NULL);
    free(compared(db, two_sides(SQ_FORMAT_MD), notes));
    fixture_expect(notes, "the card: GPU-1 and GPU-2");
    fixture_expect(notes, "kernels of 1 of 1 cells");
    fixture_free(db, dir);
}

/* --- joining --- */

static const char second_environment[] =
    "INSERT INTO environment SELECT 2, 'fp2', '590.1', toolkit, cublas, cufft, cudnn, cupti, "
    "compiler, flags, host, kernel, os, cpu, ecc, mig, 350 FROM environment";

static sq_db *store_of_two(char dir[64])
{
    sq_db *db = fixture_new(dir);
    const double ms[] = {1, 1};
    fixture_run run = {.subject = "ssd", .L = 64, .campaign = 1};
    add_runs(db, run, ms, 2, NAN);
    run.campaign = 2;
    add_runs(db, run, ms, 2, NAN);
    fixture_exec(db, second_environment, NULL, NULL);
    return db;
}

static void other_ground_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *change, *undo, *says;
    } cases[] = {
        {"UPDATE run SET device_id = 2 WHERE campaign_id = 2", "UPDATE run SET device_id = 1",
         "first and second differ in device: Test GPU One and Test GPU Two; --across device"},
        {"UPDATE run SET env_id = 2 WHERE campaign_id = 2", "UPDATE run SET env_id = 1",
         "differ in driver: 580.65 and 590.1; --across driver compares"},
        {"UPDATE environment SET toolkit = '13.1' WHERE env_id = 1", NULL, NULL},
        {"UPDATE run SET env_id = 2 WHERE campaign_id = 2",
         "UPDATE run SET env_id = 1; UPDATE environment SET toolkit = '13.0'",
         "differ in driver: 580.65 and 590.1; toolkit: 13.1 and 13.0; --across driver,toolkit "},
        {"UPDATE run SET harness_version = 7 WHERE campaign_id = 2",
         "UPDATE run SET harness_version = 1", "differ in harness: 1 and 7; --across harness"},
        {"UPDATE campaign SET policy = '{\"rest\": 4, \"max_samples\": 100}' WHERE campaign_id = 1",
         NULL, "differ in policy: stored and unknown; --across policy"},
        {"UPDATE campaign SET policy = '{\"rest\": 0, \"max_samples\": 100}' WHERE campaign_id = 2",
         NULL, "differ in policy: rest 4 and 0; --across policy"},
    };
    char dir[64];
    sq_db *db = store_of_two(dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_exec(db, cases[i].change, NULL, NULL);
        if (cases[i].says)
            refused(db, two_sides(SQ_FORMAT_CSV), cases[i].says);
        if (cases[i].undo)
            assert_int_equal(sqlite3_exec(sq_db_handle(db), cases[i].undo, NULL, NULL, NULL), 0);
    }
    /* what says how long a proof or a cell may take does not move a time */
    fixture_exec(db,
                 "UPDATE campaign SET policy = json_object('rest', 4, 'proof_work', campaign_id, "
                 "'timeout_seconds', campaign_id, 'max_interval', campaign_id)",
                 NULL, NULL);
    free(compared(db, two_sides(SQ_FORMAT_CSV), NULL));
    fixture_free(db, dir);
}

static void what_is_crossed_is_said(void **state)
{
    (void)state;
    char dir[64], text[64], notes[512];
    sq_db *db = store_of_two(dir);
    fixture_exec(db, "UPDATE run SET env_id = 2, device_id = 2 WHERE campaign_id = 2", NULL, NULL);
    sq_compare_options options = two_sides(SQ_FORMAT_CSV);
    options.across = 1u << SQ_JOIN_DRIVER;
    refused(db, options, "differ in device: Test GPU One and Test GPU Two; --across device ");
    options.across |= 1u << SQ_JOIN_DEVICE | 1u << SQ_JOIN_TOOLKIT;
    char *csv = compared(db, options, notes);
    csv_text(csv, "L=64", "across", text);
    assert_string_equal(text, "device: Test GPU One and Test GPU Two; driver: 580.65 and 590.1");
    fixture_expect(notes, "the power limit in W: 700.0 and 350.0");
    free(csv);
    options.format = SQ_FORMAT_TABLE;
    csv = compared(db, options, NULL);
    fixture_expect(csv, "ratio: b over a; across device: Test GPU One and Test GPU Two; driver: "
                        "580.65 and 590.1\n");
    free(csv);
    fixture_free(db, dir);
}

/* A campaign that was resumed under another driver, by halves and by providers. */
static void one_campaign_on_two_grounds(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store_of_two(dir);
    fixture_exec(db, "UPDATE run SET env_id = 2 WHERE replicate = 1", NULL, NULL);
    refused(db, halves(SQ_FORMAT_CSV), "first:even differ in driver: 580.65 and 590.1; --across");
    refused(db, providers(NULL, SQ_FORMAT_CSV), "the runs of first differ in driver");
    fixture_free(db, dir);
}

static void modes_are_not_mixed(void **state)
{
    (void)state;
    char dir[64], text[64];
    sq_db *db = store_of_two(dir);
    const double ms[] = {2, 2};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 128, .campaign = 1}, ms, 2, NAN);
    fixture_exec(db,
                 "INSERT INTO cell SELECT 100 + cell_id, replace(key, 'clean-cold,plain', "
                 "'hot,graph'), hash || 'h', kind, subject, provider, pass, dtype, 'hot', 'graph', "
                 "clock_mode FROM cell",
                 NULL, NULL);
    fixture_exec(db, "UPDATE run SET cell_id = cell_id + 100 WHERE campaign_id = 2", NULL, NULL);
    sq_compare_options options = two_sides(SQ_FORMAT_CSV);
    refused(db, options,
            "differ in cache: clean-cold and hot; launch: plain and graph; --across cache,launch ");
    options.across = 1u << SQ_JOIN_CACHE | 1u << SQ_JOIN_LAUNCH;
    char *csv = compared(db, options, NULL);
    assert_true(csv_number(csv, "L=64", "ratio") == 1);
    csv_text(csv, "L=64", "across", text);
    assert_string_equal(text, "cache: clean-cold and hot; launch: plain and graph");
    csv_text(csv, "L=128", "missing", text);
    assert_string_equal(text, "not in the campaign");
    free(csv);
    /* two that would fit: which one is meant cannot be known */
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 2}, ms, 2, NAN);
    refused(db, options, "second has cells that differ in their mode alone");
    fixture_free(db, dir);
}

static void names_of_fields(void **state)
{
    (void)state;
    sq_across across;
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_across_parse("driver,clock", &across, &err), SQ_OK);
    assert_int_equal(across, 1u << SQ_JOIN_DRIVER | 1u << SQ_JOIN_CLOCK);
    assert_int_equal(sq_across_parse("driver,tolkit", &across, &err), SQ_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "\"toolkit\""));
    assert_int_equal(sq_across_parse("", &across, &err), SQ_BAD_ARGUMENT);
    assert_int_equal(sq_across_parse("driver,", &across, &err), SQ_BAD_ARGUMENT);
}

/* --- A/A --- */

/* Each class with cells inside its bound and outside. Bytes take 0.5 ms, the matrix operations of
 * the tensor-bound 1 ms. */
static void halves_of_a_campaign_by_class(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_ceilings(db);
    const double steady[] = {2, 2.018, 2, 2.018}, off[] = {2, 2.022, 2, 2.022};
    const double tensor[] = {2, 2.038, 2, 2.038}, tensor_off[] = {2, 2.042, 2, 2.042};
    const double brief[] = {5e-3, 5.49e-3, 5e-3, 5.49e-3}, brief_off[] = {5e-3, 5.51e-3};
    const double near20[] = {19e-3, 19.56e-3};
    add_runs(db, (fixture_run){.subject = "rmsnorm", .L = 1, .bytes = 3e9}, steady, 4, 1e9);
    add_runs(db, (fixture_run){.subject = "rmsnorm", .L = 2, .bytes = 3e9}, off, 4, NAN);
    /* 1e9 bytes take 0.5 ms of its 2 ms: not what binds it */
    add_runs(db, (fixture_run){.subject = "rmsnorm", .L = 3}, off, 4, NAN);
    add_runs(db, (fixture_run){.subject = "linear", .L = 1}, tensor, 4, 5e11);
    add_runs(db, (fixture_run){.subject = "linear", .L = 2}, tensor_off, 4, 5e11);
    /* f32 products have a ceiling of their own: 1e11 / 50 TFLOP/s = 2 ms, not 0.2 ms */
    add_runs(db, (fixture_run){.subject = "linear", .L = 3, .dtype = "f32"}, tensor, 4, 1e11);
    add_runs(db, (fixture_run){.subject = "linear", .L = 4}, brief, 4, NAN);
    add_runs(db, (fixture_run){.subject = "linear", .L = 5}, brief_off, 2, NAN);
    add_runs(db, (fixture_run){.subject = "linear", .L = 6}, near20, 2, NAN);
    fixture_exec(db,
                 "UPDATE run SET cycles = 2e6 * (1 + 0.009 * (replicate % 2)) WHERE cell_id IN "
                 "(SELECT cell_id FROM cell WHERE key LIKE '%L=1,%' AND subject = 'linear')",
                 NULL, NULL);
    char *text = compared(db, halves(SQ_FORMAT_TABLE), NULL);
    fixture_expect(text,
                   "memory-bound, 20 us and more     time      1 %                2          50");
    fixture_expect(text,
                   "tensor-bound, 20 us and more     time      2 %                3       66.67");
    fixture_expect(text,
                   "tensor-bound, 20 us and more     cycles    1 %                3       33.33");
    fixture_expect(text,
                   "bound otherwise, 20 us and more  time      1 %                1           0");
    fixture_expect(text,
                   "shorter than 20 us               time      3 % or 0.5 us      3       66.67");
    fixture_expect_not(text, "no ceilings");
    free(text);
    text = compared(db, halves(SQ_FORMAT_JSON), NULL);
    const char *rmsnorm = strstr(text, "\"operator\": \"rmsnorm\"");
    assert_non_null(rmsnorm); /* of what is required: one of two, the third is bound otherwise */
    const char *within = strstr(rmsnorm, "\"within_pct\": ");
    assert_int_equal(strncmp(within, "\"within_pct\": 50}", 17), 0);
    free(text);
    fixture_free(db, dir);
}

static void a_side_without_times_is_refused(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    const double ms[] = {1};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .campaign = 1}, ms, 1, NAN);
    refused(db, halves(SQ_FORMAT_CSV), "first:odd has no run with a time in these replicates");
    refused(db, two_sides(SQ_FORMAT_CSV), "second has no run with a time");
    fixture_free(db, dir);
}

static sq_status keeps_short(void *self, const char *key, double width, bool *keeps, sq_error *err)
{
    (void)err;
    ++*(int *)self;
    *keeps = strstr(key, "L=64,") != NULL && width == 2048;
    return SQ_OK;
}

static void a_filter_is_asked_once_a_cell(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    const double ms[] = {1, 1, 1, 1};
    int asked = 0;
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .width = 2048}, ms, 4, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 128, .width = 2048}, ms, 4, NAN);
    sq_compare_options options = halves(SQ_FORMAT_CSV);
    options.keeps = keeps_short;
    options.self = &asked;
    char *csv = compared(db, options, NULL);
    assert_int_equal(asked, 4);
    fixture_expect(csv, "L=64");
    fixture_expect_not(csv, "L=128");
    free(csv);
    fixture_free(db, dir);
}

/* --- providers --- */

static sq_db *store_of_providers(char dir[64])
{
    sq_db *db = fixture_new(dir);
    const double fast[] = {1, 1, 1}, slow[] = {3, 3, 3}, middle[] = {2, 2, 2};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .provider = "cuda/naive"}, slow, 3, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .provider = "cuda/native"}, fast, 3, NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64, .provider = "external:a/b"}, middle, 3,
             NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 128, .provider = "cuda/naive"}, middle, 3,
             NAN);
    add_runs(db, (fixture_run){.subject = "ssd", .L = 128, .provider = "external:a/b"}, fast, 3,
             NAN);
    fixture_add(db, (fixture_run){.subject = "ssd",
                                  .L = 128,
                                  .B = 1,
                                  .provider = "cuda/native",
                                  .status = "unsupported",
                                  .reason = "too long"});
    return db;
}

static void providers_over_the_fastest(void **state)
{
    (void)state;
    char dir[64], text[64];
    sq_db *db = store_of_providers(dir);
    char *csv = compared(db, providers(NULL, SQ_FORMAT_CSV), NULL);
    assert_true(csv_number(csv, "cuda/naive/fwd/bf16/B=1,L=64", "ratio") == 3);
    assert_true(csv_number(csv, "external:a/b/fwd/bf16/B=1,L=64", "ratio") == 2);
    assert_true(csv_number(csv, "cuda/naive/fwd/bf16/B=1,L=128", "ratio") == 2);
    csv_text(csv, "cuda/naive/fwd/bf16/B=1,L=128", "reference", text);
    assert_string_equal(text, "external:a/b");
    csv_text(csv, "cuda/native/fwd/bf16/B=1,L=128", "missing", text);
    assert_string_equal(text, "unsupported: too long");
    free(csv);
    fixture_free(db, dir);
}

static void providers_over_a_reference(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = store_of_providers(dir);
    char *table = compared(db, providers("cuda/native", SQ_FORMAT_TABLE), NULL);
    fixture_expect(table, "ratio: time over that of cuda/native");
    fixture_expect(table,
                   "reference  the reference has no time  ssd@cuda/naive/fwd/bf16/B=1,L=128");
    fixture_expect(table, "ssd       external:a/b  cuda/native      1       2");
    fixture_expect_not(table, "bounds");
    free(table);
    refused(db, providers("cuda/nativ", SQ_FORMAT_CSV), "did you mean \"cuda/native\"?");
    fixture_free(db, dir);
}

static void one_provider_is_no_comparison(void **state)
{
    (void)state;
    char dir[64], notes[512];
    sq_db *db = fixture_new(dir);
    const double ms[] = {1, 1};
    add_runs(db, (fixture_run){.subject = "ssd", .L = 64}, ms, 2, NAN);
    free(compared(db, providers(NULL, SQ_FORMAT_TABLE), notes));
    fixture_expect(notes, "no cell was measured with two providers");
    char *json = compared(db, providers(NULL, SQ_FORMAT_JSON), NULL);
    fixture_expect(json, "{\"cells\": [\n]\n,");
    free(json);
    fixture_free(db, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratios_of_two_campaigns),
        cmocka_unit_test(bootstrap_of_stored_samples),
        cmocka_unit_test(what_is_missing_says_why),
        cmocka_unit_test(only_the_newest_attempt_counts),
        cmocka_unit_test(differences_besides_the_code_are_said),
        cmocka_unit_test(other_ground_is_refused),
        cmocka_unit_test(what_is_crossed_is_said),
        cmocka_unit_test(one_campaign_on_two_grounds),
        cmocka_unit_test(modes_are_not_mixed),
        cmocka_unit_test(names_of_fields),
        cmocka_unit_test(halves_of_a_campaign_by_class),
        cmocka_unit_test(a_side_without_times_is_refused),
        cmocka_unit_test(a_filter_is_asked_once_a_cell),
        cmocka_unit_test(providers_over_the_fastest),
        cmocka_unit_test(providers_over_a_reference),
        cmocka_unit_test(one_provider_is_no_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
