/* The report over fixed stores. `test_render --render DIR [--empty]` only renders one, for
 * test_page.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#include "core/table.h"
#include "reports/series.h"

static const char first[] = "11111111-0000-4000-8000-000000000001";

static bool has_gnuplot(void)
{
    return system("gnuplot --version > /dev/null 2>&1") == 0;
}

static sq_report_result render(sq_db *db, const char *dir, const char *campaign,
                               const char *gnuplot, char out[96])
{
    snprintf(out, 96, "%s/a/b", dir);
    const sq_report_options options = {out, campaign, gnuplot};
    sq_report_result result;
    sq_error err = {0};
    if (sq_report_render(db, &options, &result, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return result;
}

static char *summary(sq_db *db, const char *campaign, sq_format format)
{
    sq_text text = {0};
    sq_error err = {0};
    assert_int_equal(sq_report_summary(db, campaign, format, &text, &err), SQ_OK);
    return text.data ? text.data : calloc(1, 1);
}

/* attention 1, 2, 4 ms and ssd 3 ms at 512, 1k, 2k: ratios 1/3, 2/3, 4/3, so the crossing is at
 * 1024 * 2^(log(3/2) / log 2) = 1536. */
static void add_crossing(sq_db *db)
{
    for (int k = 0; k < 3; k++) {
        double L = ldexp(512, k);
        fixture_run run = {.subject = "attention",
                           .B = 4096 / L,
                           .L = L,
                           .width = 2048,
                           .ms = ldexp(1, k),
                           .interval = 0.25,
                           .flops = 3e9,
                           .bytes = 6e6,
                           .peak_bytes = 1073741824};
        fixture_add(db, run);
        run.subject = "ssd";
        run.window = -1;
        run.ms = 3;
        fixture_add(db, run);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    add_crossing(db);
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_int_equal(result.cells, 6);
    assert_int_equal(result.failures, 0);

    char *csv = fixture_read(out, "figures/op_relative.csv");
    fixture_expect(csv, "ssd,fastest of each,2048,2048,1.33333333");
    fixture_expect_not(csv, "attention,");
    free(csv);
    csv = fixture_read(out, "figures/op_tokens.csv");
    fixture_expect(csv, "attention,cuda/portable,512,512,4096000,"); /* 8 * 512 tokens in 1 ms */
    free(csv);
    csv = fixture_read(out, "figures/op_tflops.csv");
    fixture_expect(csv, "ssd,cuda/portable,1024,1024,1,"); /* 3e9 flops in 3 ms */
    free(csv);
    csv = fixture_read(out, "figures/op_gbytes.csv");
    fixture_expect(csv, "ssd,cuda/portable,1024,1024,2,");
    free(csv);
    csv = fixture_read(out, "figures/op_memory.csv");
    fixture_expect(csv, "ssd,cuda/portable,1024,1024,1,,");
    free(csv);

    char *text = summary(db, NULL, SQ_FORMAT_CSV);
    fixture_expect(text, "subject,provider,pass,dtype,B,L,width,median_ms");
    fixture_expect(text, "attention,cuda/portable,fwd,bf16,8,512,2048,1,0.75,1.25,4096000,3,6,");
    free(text);

    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "data-value=\"4.096\">4.096</td>");
    fixture_expect(page, "Test GPU One");
    fixture_expect(page, "580.65");
    fixture_expect(page, "seqmark run --suite paper");
    if (has_gnuplot()) {
        assert_int_equal(result.figures, 7);
        assert_int_equal(result.figures_skipped, 7); /* no blocks */
        fixture_expect(page, "ssd: faster from L = 1.5k, 1.33 times the speed at L = 2k.");
        fixture_expect(page, "Width-matched, D = 2048, 4096 tokens (B * L) at every length");
        char *svg = fixture_read(out, "figures/op_relative.svg");
        fixture_expect(svg, ">1.5k<");
        fixture_expect(svg, ">ssd<");
        free(svg);
        svg = fixture_read(out, "figures/op_time.svg");
        fixture_expect(svg, ">attention<");
        fixture_expect(svg, ">1k<");
        fixture_expect(svg, "time of one launch (ms)");
        free(svg);
        assert_true(fixture_has_file(out, "figures/op_time.png"));
    }
    free(page);
    fixture_free(db, dir);
}

/* Rows that differ in a mode say which they are. */
static void test_modes_are_told_where_they_differ(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_crossing(db);
    fixture_exec(db, "UPDATE cell SET launch = 'graph' WHERE subject = ?1", "ssd", NULL);
    char *text = summary(db, NULL, SQ_FORMAT_CSV);
    fixture_expect(text, "subject,provider,pass,dtype,launch,B,L,width,median_ms");
    fixture_expect(text, "attention,cuda/portable,fwd,bf16,plain,8,512,2048,1,0.75,1.25,");
    fixture_expect(text, "ssd,cuda/portable,fwd,bf16,graph,8,512,2048,3,");
    free(text);
    fixture_exec(db, "UPDATE cell SET launch = 'batch', cache = 'hot'", NULL, NULL);
    text = summary(db, NULL, SQ_FORMAT_CSV);
    fixture_expect(text, "subject,provider,pass,dtype,B,L,width,median_ms");
    free(text);
    fixture_exec(db,
                 "UPDATE cell SET cache = 'rotate', clock_mode = 'locked@1200' WHERE subject = ?1",
                 "ssd", NULL);
    text = summary(db, NULL, SQ_FORMAT_CSV);
    fixture_expect(text, "dtype,cache,clock_mode,B,L");
    fixture_expect(text, "ssd,cuda/portable,fwd,bf16,rotate,locked@1200,8,512,");
    free(text);
    /* A row without a time is not shown and so tells no difference. */
    fixture_exec(db,
                 "UPDATE run SET median_ns = NULL, status = 'error' WHERE cell_id IN "
                 "(SELECT cell_id FROM cell WHERE subject = ?1)",
                 "ssd", NULL);
    text = summary(db, NULL, SQ_FORMAT_CSV);
    fixture_expect(text, "subject,provider,pass,dtype,B,L,width,median_ms");
    free(text);
    fixture_free(db, dir);
}

/* Three replicates: the median of medians and fastest to slowest; a retried attempt and a run of
 * older kernels do not count. */
static void test_replicates(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    /* Older code, by a clock that was ahead then. */
    fixture_run run = {.subject = "ssd",
                       .B = 1,
                       .L = 1024,
                       .window = -1,
                       .ms = 100,
                       .replicate = 9,
                       .kernel_hash = "older",
                       .started = 1800000000};
    const double ms[] = {7, 5, 6};
    fixture_add(db, run);
    run = (fixture_run){.subject = "ssd", .B = 1, .L = 1024, .window = -1, .interval = 0.5};
    for (run.replicate = 0; run.replicate < 3; run.replicate++) {
        run.ms = ms[run.replicate];
        fixture_add(db, run);
    }
    run.replicate = 0;
    run.attempt = 1;
    run.ms = 8; /* replaces 7 */
    fixture_add(db, run);
    char *text = summary(db, NULL, SQ_FORMAT_CSV);
    fixture_expect(text, "ssd,cuda/portable,fwd,bf16,1,1024,,6,5,8,");
    free(text);
    fixture_free(db, dir);
}

/* Ratios 0.99, 1.01, 0.95, 1.3: the first two are ties, so there is one crossing and not three. */
static void test_ties_are_no_crossings(void **state)
{
    (void)state;
    sq_point points[] = {{.length = 512, .y = 0.99},
                         {.length = 1024, .y = 1.01},
                         {.length = 2048, .y = 0.95},
                         {.length = 4096, .y = 1.3}};
    sq_series series = {.points = points, .n_points = 4};
    sq_crossing found[4];
    assert_int_equal(sq_series_crossings(&series, found, 4), 1);
    assert_true(found[0].is_rising && found[0].length > 2048 && found[0].length < 2400);
    points[2].y = 1.05;
    assert_int_equal(sq_series_crossings(&series, found, 4), 0);
}

/* What a figure draws is one device, one dtype, one shape; blocks have figures of their own. */
static void test_nothing_is_mixed(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    add_crossing(db);
    const fixture_run others[] = {
        {.subject = "ssd",
         .B = 8,
         .L = 512,
         .window = -1,
         .width = 2048,
         .ms = 91,
         .device = 2,
         .campaign = 2},
        {.subject = "ssd", .B = 8, .L = 512, .window = -1, .width = 2048, .ms = 92, .dtype = "f32"},
        {.subject = "ssd",
         .B = 8,
         .L = 512,
         .window = -1,
         .width = 1024,
         .ms = 93,
         .extra_axis = "H=1"},
        {.subject = "ssd", .B = 3, .L = 512, .window = -1, .width = 2048, .ms = 94},
        {.subject = "ssd",
         .B = 8,
         .L = 512,
         .window = -1,
         .width = 2048,
         .ms = 95,
         .extra_axis = "H=2"},
        {.subject = "ssd", .B = 8, .L = 512, .window = -1, .ms = 96, .extra_axis = "H=3"},
        {.subject = "rmsnorm", .B = 8, .L = 512, .window = -1, .width = 2048, .ms = 97},
        {.kind = "block",
         .subject = "mamba2",
         .B = 8,
         .L = 512,
         .window = -1,
         .width = 2048,
         .ms = 98},
        {.subject = "attention", .B = 8, .L = 512, .window = 256, .width = 2048, .ms = 0.25},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        fixture_add(db, others[i]);
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_int_equal(result.cells, 15);
    char *csv = fixture_read(out, "figures/op_time.csv");
    for (int ms = 91; ms <= 98; ms++) {
        char field[24];
        snprintf(field, sizeof field, ",512,%d", ms);
        fixture_expect_not(csv, field);
    }
    fixture_expect(csv, "attention W256,cuda/portable,512,512,0.25,");
    fixture_expect(csv, "ssd,cuda/portable,512,512,3,");
    free(csv);
    csv = fixture_read(out, "figures/block_time.csv");
    fixture_expect(csv, "mamba2,cuda/portable,512,512,98,");
    fixture_expect_not(csv, "attention");
    free(csv);
    fixture_free(db, dir);
}

static void test_campaign(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_add(db, (fixture_run){.subject = "ssd", .B = 1, .L = 512, .window = -1, .ms = 5});
    fixture_add(
        db, (fixture_run){
                .subject = "retention", .B = 1, .L = 512, .window = -1, .ms = 6, .campaign = 2});
    char *text = summary(db, first, SQ_FORMAT_CSV);
    fixture_expect(text, "ssd");
    fixture_expect_not(text, "retention");
    free(text);
    sq_report_result result = render(db, dir, first, NULL, out);
    assert_int_equal(result.cells, 1);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, first);
    fixture_expect_not(page, "22222222-0000");
    free(page);
    fixture_free(db, dir);
}

/* Text of the store is never markup, script or gnuplot. */
static void test_hostile_text(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "<script>alert(1)</script>",
        "\"; system(\"touch pwned\"); #",
        "'; system('touch pwned'); #",
        "x' . system('touch pwned') . '",
        "`touch pwned`$(touch pwned)@pwned",
        "\\\" \\' back\\slash \\n {/Bold x}_y^z %s %n",
        "END_OF_DATA\nEND_OF_DATA\nsystem('touch pwned')\n",
        "</style></pre><img src=x onerror=alert(1)>",
        "\x01\x1b[31m\xff\xfe broken utf8",
    };
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_exec(db, "UPDATE device SET name = ?1, pci = ?2", hostile[1], hostile[0]);
    fixture_exec(db, "UPDATE campaign SET label = ?1, argv = ?2", hostile[0], hostile[7]);
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        fixture_run run = {.subject = hostile[i],
                           .provider = hostile[i],
                           .B = 1,
                           .L = 512 + (double)i,
                           .width = 2048,
                           .ms = 1 + (double)i,
                           .flops = 1e9,
                           .bytes = 1e6,
                           .peak_bytes = 1e6};
        fixture_add(db, run);
        run.ms = 0;
        run.reason = run.status = hostile[i];
        run.replicate = 1;
        fixture_add(db, run);
    }
    sq_report_result result = render(db, dir, NULL, NULL, out);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "&lt;script&gt;alert(1)&lt;/script&gt;");
    fixture_expect_not(page, "<script>alert");
    fixture_expect_not(page, "<img src=x");
    fixture_expect_not(page, "</style></pre>");
    fixture_expect_not(page, "\x01");
    free(page);
    if (has_gnuplot()) {
        assert_string_equal(result.note, "");
        assert_int_equal(result.figures, 6); /* no attention to be relative to */
        char *svg = fixture_read(out, "figures/op_time.svg");
        fixture_expect_not(svg, "<script");
        fixture_expect(svg, "&lt;script>alert(1)&lt;");
        fixture_expect(svg, "{/Bold x}_y^z");
        free(svg);
    }
    assert_false(fixture_has_file(out, "figures/pwned"));
    assert_false(fixture_has_file(out, "pwned"));
    assert_false(fixture_has_file(".", "pwned"));
    fixture_free(db, dir);
}

static void test_empty(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_exec(db, "DELETE FROM campaign", NULL, NULL);
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_int_equal(result.cells + result.failures + result.figures, 0);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "The store holds no campaign yet.");
    fixture_expect(page, "None.");
    fixture_expect(page, "</html>");
    free(page);
    char *text = summary(db, NULL, SQ_FORMAT_JSON);
    fixture_expect(text, "[");
    free(text);
    fixture_free(db, dir);
}

static void test_all_failed(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    for (int i = 0; i < 4; i++)
        fixture_add(db, (fixture_run){.subject = "attention",
                                      .B = 1,
                                      .L = 512 << i,
                                      .width = 2048,
                                      .status = i ? "crashed" : "oom",
                                      .reason = i ? "signal 11" : "needs 90 GiB"});
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_int_equal(result.cells, 0);
    assert_int_equal(result.failures, 4);
    assert_int_equal(result.figures, 0);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "<td>signal 11</td><td class=\"number\" data-value=\"3\">3</td>");
    fixture_expect(page, "<td>needs 90 GiB</td><td class=\"number\" data-value=\"1\">1</td>");
    fixture_expect(page, "3 crashed, 1 oom");
    free(page);
    fixture_free(db, dir);
}

/* A row whose inputs were in the cache keeps its time, and is told. */
static void test_wrong_cache(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_add(db, (fixture_run){.subject = "ssd", .B = 1, .L = 512, .window = -1, .ms = 2});
    fixture_exec(db,
                 "INSERT INTO value(run_id, metric, n, validity) SELECT run_id, "
                 "'cold_read_ratio', 3, ?1 FROM run",
                 "inconsistent: not clean-cold: 87.5 % of the inputs were in the L2", NULL);
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_int_equal(result.cells, 1);
    assert_int_equal(result.failures, 1);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "wrong cache");
    fixture_expect(page, "<td>not clean-cold: 87.5 % of the inputs were in the L2</td>");
    free(page);
    fixture_free(db, dir);
}

/* A failure that a later attempt mended is no failure. */
static void test_mended(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_run run = {.subject = "ssd",
                       .B = 1,
                       .L = 512,
                       .window = -1,
                       .status = "crashed",
                       .reason = "signal 9"};
    fixture_add(db, run);
    fixture_add(
        db, (fixture_run){.subject = "ssd", .B = 1, .L = 512, .window = -1, .ms = 2, .attempt = 1});
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_int_equal(result.cells, 1);
    assert_int_equal(result.failures, 0);
    fixture_free(db, dir);
}

static void test_no_gnuplot(void **state)
{
    (void)state;
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    add_crossing(db);
    sq_report_result result = render(db, dir, NULL, "/nonexistent/gnuplot", out);
    assert_int_equal(result.figures, 0);
    assert_int_equal(result.figures_skipped, 14);
    assert_string_equal(result.note, "/nonexistent/gnuplot not found: tables only");
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "/nonexistent/gnuplot not found: tables only");
    fixture_expect_not(page, "<img");
    fixture_expect(page, "data-value=\"4.096\"");
    free(page);
    result = render(db, dir, NULL, "/bin/false", out);
    assert_string_equal(result.note, "/bin/false does not run: tables only");
    fixture_free(db, dir);
}

/* Pictures of an earlier report do not stay beside a page that has none. */
static void test_old_pictures_go(void **state)
{
    (void)state;
    if (!has_gnuplot())
        skip();
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    add_crossing(db);
    render(db, dir, NULL, NULL, out);
    assert_true(fixture_has_file(out, "figures/op_time.svg"));
    render(db, dir, NULL, "no-such-gnuplot", out);
    assert_false(fixture_has_file(out, "figures/op_time.svg"));
    fixture_free(db, dir);
}

static void test_bad_folder(void **state)
{
    (void)state;
    char dir[64], path[96];
    sq_db *db = fixture_new(dir);
    snprintf(path, sizeof path, "%s/store.db/out", dir); /* below a file */
    const sq_report_options options = {path, NULL, NULL};
    sq_report_result result;
    sq_error err = {0};
    assert_int_equal(sq_report_render(db, &options, &result, &err), SQ_IO);
    fixture_expect(err.message, "store.db");
    fixture_free(db, dir);
}

/* An interval wider than the spread of the medians is drawn whole. */
static void test_range_holds_the_intervals(void **state)
{
    (void)state;
    if (!has_gnuplot())
        skip();
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    for (int k = 0; k < 3; k++) {
        const double L = ldexp(512, k);
        fixture_add(db, (fixture_run){.subject = "ssd",
                                      .B = 4096 / L,
                                      .L = L,
                                      .width = 2048,
                                      .ms = 2 + 0.1 * k,
                                      .interval = 0.9});
    }
    render(db, dir, NULL, NULL, out);
    char *script = fixture_read(out, "figures/op_time.gp");
    const char *range = strstr(script, "set yrange [");
    double lo = 0, hi = 0;
    assert_non_null(range);
    assert_int_equal(sscanf(range, "set yrange [%lf:%lf]", &lo, &hi), 2);
    assert_true(lo > 0 && lo <= 0.2); /* 2 ms less 90 % */
    assert_true(hi >= 4.18);          /* 2.2 ms and 90 % */
    free(script);
    fixture_free(db, dir);
}

/* The roofline is the lower of two ceilings: with one there is none, and the caption says so. */
static void test_half_a_roof_is_none(void **state)
{
    (void)state;
    if (!has_gnuplot())
        skip();
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_full(db);
    fixture_exec(db, "DELETE FROM ceiling WHERE name NOT LIKE ?1", "%copy%", NULL);
    render(db, dir, NULL, NULL, out);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "Measured ceilings: copy 2950 GB/s. No roof is drawn: it takes both.");
    free(page);
    fixture_free(db, dir);
}

/* Every figure of a realistic store is drawn, small enough to be mailed and committed. */
static void test_full(void **state)
{
    (void)state;
    if (!has_gnuplot())
        skip();
    char dir[64], out[96];
    sq_db *db = fixture_new(dir);
    fixture_full(db);
    sq_report_result result = render(db, dir, NULL, NULL, out);
    assert_string_equal(result.note, "");
    assert_int_equal(result.figures, 14);
    assert_int_equal(result.failures, 5);
    static const char *const ids[] = {"time",     "tokens", "tflops",  "gbytes",
                                      "relative", "memory", "roofline"};
    for (int i = 0; i < 14; i++) {
        char path[256];
        struct stat info;
        snprintf(path, sizeof path, "%s/figures/%s_%s.png", out, i < 7 ? "op" : "block",
                 ids[i % 7]);
        assert_int_equal(stat(path, &info), 0);
        assert_in_range(info.st_size, 1000, 100 * 1024);
    }
    char *svg = fixture_read(out, "figures/op_roofline.svg");
    fixture_expect(svg, "copy 2950 GB/s");
    fixture_expect(svg, "bf16 GEMM 660 TFLOP/s");
    free(svg);
    char *page = fixture_read(out, "index.html");
    fixture_expect(page, "head dim 192 is more than 128");
    fixture_expect(page, "data-value=\"41.5\"");
    fixture_expect(page, "Measured ceilings: copy 2950 GB/s, bf16 GEMM 660 TFLOP/s.");
    fixture_expect_not(page, "http://");
    fixture_expect_not(page, "https://");
    free(page);
    fixture_free(db, dir);
}

static int render_only(const char *out, bool is_empty)
{
    char dir[64];
    sq_db *db = fixture_new(dir);
    if (!is_empty)
        fixture_full(db);
    const sq_report_options options = {out, NULL, NULL};
    sq_report_result result;
    sq_error err = {0};
    sq_status status = sq_report_render(db, &options, &result, &err);
    printf("%s\n", status == SQ_OK ? result.page : err.message);
    fixture_free(db, dir);
    return status == SQ_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && !strcmp(argv[1], "--render"))
        return render_only(argv[2], argc > 3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_ties_are_no_crossings),
        cmocka_unit_test(test_modes_are_told_where_they_differ),
        cmocka_unit_test(test_replicates),
        cmocka_unit_test(test_nothing_is_mixed),
        cmocka_unit_test(test_campaign),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_all_failed),
        cmocka_unit_test(test_mended),
        cmocka_unit_test(test_wrong_cache),
        cmocka_unit_test(test_no_gnuplot),
        cmocka_unit_test(test_old_pictures_go),
        cmocka_unit_test(test_bad_folder),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_range_holds_the_intervals),
        cmocka_unit_test(test_half_a_roof_is_none),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
