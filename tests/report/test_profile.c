/* The profile page over fixed stores. `test_profile --render DIR [--empty]` only renders one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "profile_fixture.h"

#include "core/ceiling.h"
#include "core/table.h"
#include "profile/profile.h"
#include "reports/profile_data.h"

static bool has_gnuplot(void)
{
    return system("gnuplot --version > /dev/null 2>&1") == 0;
}

static char *print(sq_db *db, const sq_profile_options *options, sq_format format)
{
    sq_text text = {0};
    sq_error err = {.message = ""};
    if (sq_profile_print(db, options, format, &text, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return text.data;
}

/* Without the white space that wrapping moves. */
static char *unwrapped(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++)
        if (!((*from == ' ' || *from == '\n') && to > text && to[-1] == ' '))
            *to++ = *from == '\n' ? ' ' : *from;
    *to = '\0';
    return text;
}

static char *terminal(sq_db *db, long run)
{
    const sq_profile_options options = {.run_id = run};
    return unwrapped(print(db, &options, SQ_FORMAT_TABLE));
}

static char *page(sq_db *db, const char *dir, sq_profile_options options, sq_profile_result *result)
{
    char out[96];
    sq_error err = {.message = ""};
    snprintf(out, sizeof out, "%s/out/profile", dir);
    options.out_dir = out;
    if (sq_profile_render(db, &options, result, &err) != SQ_OK)
        fail_msg("%s", err.message);
    const char *name = strrchr(result->page, '/');
    assert_non_null(name);
    return fixture_read(out, name + 1);
}

static void test_numbers(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    char *text = terminal(db, profile_fixture_attention(db));
    fixture_expect(
        text, "No unit is saturated; nearest is the tensor pipes at 68.3 % of peak; next is L1 "
              "and shared memory at 52.3 %.");
    fixture_expect(text, "Occupancy: 12.4 %");
    fixture_expect(text, "Top stall: math_pipe_throttle, 30.4 % of warp time");
    /* (203.4 + 68.9) MB in 417.3 us of the highest measured ceiling, the read */
    fixture_expect(text, "652.5 of 3014 GB/s; measured ceiling read_gbytes_per_s");
    fixture_expect(text, "21.6 %");
    fixture_expect(text, "349.9 of 731 TFLOP/s; measured ceiling gemm_bf16_tflops");
    /* 4.83e7 wavefronts of 128 bytes */
    fixture_expect(text, "14815 of 29100 GB/s; measured ceiling shared_read_gbytes_per_s");
    fixture_expect(text, "attention_mma<128,2,4,64,2>");
    fixture_expect(text, "98.8 %");
    fixture_expect(
        text, "417.3 us by events, 414.2 us in 2 traced kernels: 3.10 us more than the kernels");
    fixture_expect(text, "fma 28.1 %");
    fixture_expect(text, "lsu 13.6 %");
    fixture_expect_not(text, "selected 25");
    fixture_expect_not(text, "nan");
    free(text);
    fixture_free(db, dir);
}

static void test_counters_say_which_launches_they_are_of(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    char *text = terminal(db, run);
    fixture_expect(text, "modes timed clean-cold, plain; counted and traced clean-cold, plain ");
    fixture_expect_not(text, "those of a plain call");
    free(text);
    fixture_exec(db, "UPDATE cell SET launch = 'graph'", NULL, NULL);
    text = terminal(db, run);
    fixture_expect(text, "timed clean-cold, graph; counted and traced clean-cold, plain calls");
    fixture_expect(text, "those of a plain call; the samples are of mode graph.");
    free(text);
    fixture_exec(db, "DELETE FROM kernel", NULL, NULL);
    fixture_exec(db, "DELETE FROM value", NULL, NULL);
    text = terminal(db, run);
    fixture_expect(text, "timed clean-cold, graph; counted and traced unknown");
    free(text);
    fixture_free(db, dir);
}

static void test_f32_arithmetic_is_absent_by_name(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    char *text = terminal(db, profile_fixture_attention(db));
    fixture_expect(text, "Absent: f32 arithmetic (not counted in this run).");
    fixture_expect(text, "Absent: f64, tma, cbu, adu, tex (not counted in this run).");
    free(text);
    fixture_free(db, dir);
}

static void test_refused_values_are_named(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    profile_fixture_refuse(db, "tensor_pipe_pct", "refused: no permission for counters");
    profile_fixture_refuse(db, "tensor_ops_bf16", "refused: no permission for counters");
    profile_fixture_refuse(db, "inst_fma", "unsupported: not on this chip");
    profile_fixture_refuse(db, "warps_active", "inconsistent: 40 % between repeats");
    char *text = terminal(db, run);
    fixture_expect(text,
                   "Undecided: of what was counted, L1 and shared memory is busiest at 52.3 %");
    fixture_expect(text, "Absent: the tensor pipes (refused: no permission for counters).");
    fixture_expect(text, "Absent: tensor pipes (refused: no permission for counters).");
    fixture_expect(text, "fma");
    fixture_expect(text, "(unsupported: not on this chip).");
    fixture_expect(text, "(inconsistent: 40 % between repeats).");
    fixture_expect_not(text, "68.3");
    fixture_expect_not(text, "nan");
    free(text);
    fixture_free(db, dir);
}

/* A value that is there but not ok is no value either. */
static void test_inconsistent_numbers_are_not_used(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    fixture_exec(db, "UPDATE value SET validity = ?2 WHERE metric = ?1", "dram_pct",
                 "inconsistent: drift");
    char *text = terminal(db, run);
    fixture_expect(text, "Absent: DRAM (inconsistent: drift).");
    fixture_expect(text, "Undecided");
    free(text);
    fixture_free(db, dir);
}

static void test_without_ceilings_the_counters_stand(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    fixture_exec(db, "DELETE FROM ceiling", NULL, NULL);
    char *text = terminal(db, run);
    fixture_expect(text, "652.5 GB/s; counter, of theoretical peak (no ceiling was measured)");
    fixture_expect(text, "theoretical"); /* 2 * 2619 MHz * 5120 bit */
    fixture_expect(text, "3352");
    free(text);
    fixture_free(db, dir);
}

static void test_a_run_without_anything(void **state)
{
    (void)state;
    char dir[64];
    sq_profile_result result;
    sq_db *db = fixture_new(dir);
    fixture_exec(db, "UPDATE device SET backend = 'cpu', name = 'CPU'", NULL, NULL);
    long run = fixture_add(
        db,
        (fixture_run){
            .subject = "attention", .B = 1, .L = 64, .status = "oom", .reason = "needs 83 GiB"});
    char *text = terminal(db, run);
    fixture_expect(text, "no time was kept: oom: needs 83 GiB");
    fixture_expect(text, "Undecided: no unit was counted");
    fixture_expect(text, "there are counters on CUDA devices only");
    fixture_expect(text, "not proved");
    fixture_expect_not(text, "nan");
    free(text);
    char *html = page(db, dir, (sq_profile_options){.run_id = run}, &result);
    fixture_expect(html, "No kernel was traced: there is a trace on CUDA devices only.");
    fixture_expect(html, "None is stored.");
    fixture_expect_not(html, "nan");
    fixture_expect_not(html, "<img");
    free(html);
    fixture_free(db, dir);
}

static void test_unknown_run(void **state)
{
    (void)state;
    char dir[64];
    sq_text text = {0};
    sq_error err = {.message = ""};
    sq_db *db = fixture_new(dir);
    const sq_profile_options options = {.run_id = 77, .out_dir = dir};
    sq_profile_result result;
    assert_int_equal(sq_profile_print(db, &options, SQ_FORMAT_JSON, &text, &err), SQ_BAD_ARGUMENT);
    fixture_expect(err.message, "no run 77");
    assert_int_equal(sq_profile_render(db, &options, &result, &err), SQ_BAD_ARGUMENT);
    sq_text_free(&text);
    fixture_free(db, dir);
}

static void test_hostile_names(void **state)
{
    (void)state;
    static const char hostile[] =
        "</table><script>alert(1)</script>\"'`system(\"touch x\")`\x1b[31m\n";
    char dir[64];
    sq_profile_result result;
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    fixture_exec(db, "UPDATE kernel SET name = ?1 WHERE i = 0", hostile, NULL);
    fixture_exec(db, "UPDATE device SET name = ?1 WHERE device_id = 1", hostile, NULL);
    fixture_exec(db, "UPDATE value SET validity = ?1, value = NULL WHERE metric = 'dram_pct'",
                 hostile, NULL);
    fixture_exec(db, "UPDATE metric SET doc = ?1", hostile, NULL);
    fixture_exec(db, "UPDATE run SET reason = ?1", hostile, NULL);
    sq_curve timeline = profile_fixture_timeline();
    snprintf(timeline.column[3], sizeof timeline.column[3], "%.90s", hostile);
    sq_profile_options options = {.run_id = run, .timeline = &timeline};
    char *html = page(db, dir, options, &result);
    fixture_expect(html, "&lt;script&gt;");
    fixture_expect_not(html, "<script>alert");
    fixture_expect_not(html, "\x1b");
    free(html);
    if (has_gnuplot()) {
        assert_string_equal(result.note, "");
        assert_false(fixture_has_file(dir, "out/profile/x"));
    }
    for (int format = SQ_FORMAT_TABLE; format <= SQ_FORMAT_JSONL; format++) {
        char *text = print(db, &options, (sq_format)format);
        fixture_expect_not(text, "\x1b");
        free(text);
    }
    sq_curve_free(&timeline);
    fixture_free(db, dir);
}

static void test_page(void **state)
{
    (void)state;
    char dir[64], name[96];
    sq_profile_result result;
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    sq_curve sustain = profile_fixture_sustain(), timeline = profile_fixture_timeline();
    char *html = page(
        db, dir, (sq_profile_options){.run_id = run, .sustain = &sustain, .timeline = &timeline},
        &result);
    for (const char *const *id =
             (const char *const[]){"verdict", "kernels", "ceilings", "roofline", "instructions",
                                   "stalls", "sustain", "timeline", "facts", "values", NULL};
         *id; id++) {
        snprintf(name, sizeof name, "<section id=\"%s\">", *id);
        fixture_expect(html, name);
    }
    fixture_expect(html, "1 output against the CPU reference, on drawn slices");
    fixture_expect(html, "_Z13attention_mma");
    fixture_expect_not(html, "http://");
    fixture_expect_not(html, "https://");
    snprintf(name, sizeof name, "out/profile/%.16s/sustain.csv", strrchr(result.page, '/') + 1);
    assert_true(fixture_has_file(dir, name));
    if (has_gnuplot()) {
        assert_string_equal(result.note, "");
        fixture_expect(html, "data:image/svg+xml;base64,");
        for (const char *const *file =
                 (const char *const[]){"roofline.svg", "sustain.png", "timeline.svg", NULL};
             *file; file++) {
            snprintf(name, sizeof name, "out/profile/%.16s/%s", strrchr(result.page, '/') + 1,
                     *file);
            assert_true(fixture_has_file(dir, name));
        }
    }
    free(html);
    sq_curve_free(&sustain);
    sq_curve_free(&timeline);
    fixture_free(db, dir);
}

static void test_without_gnuplot(void **state)
{
    (void)state;
    char dir[64];
    sq_profile_result result;
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    char *html =
        page(db, dir, (sq_profile_options){.run_id = run, .gnuplot = "/nowhere/gnuplot"}, &result);
    fixture_expect(result.note, "/nowhere/gnuplot not found: tables only");
    fixture_expect(html, "not found: tables only");
    fixture_expect_not(html, "<img");
    fixture_expect(html, "<th scope=\"row\">shared memory</th>");
    free(html);
    fixture_free(db, dir);
}

static void test_json_has_everything(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    long run = profile_fixture_attention(db);
    profile_fixture_refuse(db, "dram_pct", "refused: busy");
    sq_curve sustain = profile_fixture_sustain();
    const sq_profile_options options = {.run_id = run, .sustain = &sustain};
    char *json = print(db, &options, SQ_FORMAT_JSON);
    fixture_expect(json, "\"kind\": \"undecided\"");
    fixture_expect(json, "\"top_stall\": \"math_pipe_throttle\"");
    fixture_expect(json, "\"DRAM\": null");
    fixture_expect(json, "\"refused: busy\"");
    fixture_expect(json, "\"dram_bytes_read\"");
    fixture_expect(json, "\"launches_per_s\"");
    free(json);
    sq_curve_free(&sustain);
    fixture_free(db, dir);
}

/* --- names --- */

static void check_name(void *arg, const char *name, bool is_ceiling)
{
    int *checked = arg;
    ++*checked;
    if (is_ceiling ? !sq_ceiling_find(name) : !sq_metric_find(name))
        fail_msg("the page looks for %s \"%s\"", is_ceiling ? "ceiling" : "metric", name);
}

static void test_every_name_is_a_row_of_its_table(void **state)
{
    (void)state;
    int checked = 0;
    sq_model_names(check_name, &checked);
    assert_true(checked > 30);
    for (const sq_metric_def *m = sq_metrics; m->name; m++)
        if (!strncmp(m->name, "stall_", 6) && !sq_stall_meaning(m->name + 6))
            fail_msg("%s has no meaning", m->name);
}

/* --- words about curves --- */

static void test_sustain_words(void **state)
{
    (void)state;
    char text[900];
    const sq_profile cold = {.cache = "clean-cold", .launch = "plain"}, hot = {.cache = "hot"},
                     turns = {.cache = "rotate"};
    sq_curve s = profile_fixture_sustain();
    sq_curve_sustain_text(&cold, &s, text, sizeof text);
    fixture_expect(text, "Sustained is 87.");
    fixture_expect(text, "in the first 0.1 s");
    fixture_expect(text, "in the last 2 s");
    fixture_expect(text, "power 249 to 695 W");
    fixture_expect(text, "and so hot; the samples of this cell are clean-cold.");
    sq_curve_sustain_text(&turns, &s, text, sizeof text);
    fixture_expect(text, "one after the other, inputs in turn.");
    sq_curve_timeline_text(&hot, &s, text, sizeof text);
    fixture_expect(text, "other work included. Plain calls one after the other, hot.");
    s.n_dropped = 2;
    sq_curve_timeline_text(&hot, &s, text, sizeof text);
    fixture_expect(text, "Dropped: 2 taken long before the first of them. Plain calls");
    for (int i = 0; i < s.n_rows; i++)
        s.cell[(size_t)i * 5 + 2] = NAN;
    sq_curve_sustain_text(&cold, &s, text, sizeof text);
    fixture_expect(text, "SM clock is absent");
    for (int i = 0; i < s.n_rows; i++) /* launches of 0.4 s: the first of them is the burst */
        s.cell[(size_t)i * 5] = 0.4 * (i + 1);
    sq_curve_sustain_text(&cold, &s, text, sizeof text);
    fixture_expect(text, "in the first 0.4 s");
    s.n_rows = 2; /* ends with the burst */
    sq_curve_sustain_text(&cold, &s, text, sizeof text);
    fixture_expect(text, "Too short");
    s.n_rows = 0;
    snprintf(s.reason, sizeof s.reason, "refused: no NVML");
    sq_curve_sustain_text(&cold, &s, text, sizeof text);
    assert_string_equal(text, "No curve: refused: no NVML.");
    sq_curve_timeline_text(&cold, &s, text, sizeof text);
    assert_string_equal(text, "No timeline: refused: no NVML.");
    sq_curve_free(&s);
}

static void test_kernel_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"_Z13attention_mmaI15attention_shapeI13__nv_bfloat16Li128ELi2EEEv16attention_params",
         "attention_mma<128,2>"},
        {"_Z14sq_simt_kernelILi8ELb1EEv15sq_decay_params", "sq_simt_kernel<8,1>"},
        {"_Z12linear_naiveIfEv13linear_params", "linear_naive"},
        {"_ZN50_GLOBAL__N__a952581c_17_selective_scan_cu_955bfaa412carry_statesEN17sq_selective_"
         "scan8segmentsEPKflll",
         "carry_states"},
        {"_ZL6statici", "static"},
        {"void cub::f<int, 8>(int*, g<h(1)>)", "cub::f<int, 8>"},
        {"sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n", "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n"},
        {"_Z", "_Z"},
        {"_Z99short", "_Z99short"},
        {"_Z99999999999999999999999x", "_Z99999999999999999999999x"},
        {"_Z1fILi", "f"},
        {"(anonymous)", "(anonymous)"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char out[96];
        sq_kernel_short_name(names[i][0], out, sizeof out);
        assert_string_equal(out, names[i][1]);
    }
}

/* --- only rendering --- */

static int render_only(const char *dir, bool is_empty)
{
    char folder[64];
    sq_profile_result result;
    sq_error err = {.message = ""};
    sq_db *db = fixture_new(folder);
    long run = is_empty ? fixture_add(db, (fixture_run){.subject = "attention", .B = 1, .L = 64})
                        : profile_fixture_attention(db);
    sq_curve sustain = profile_fixture_sustain(), timeline = profile_fixture_timeline();
    const sq_profile_options options = {.run_id = run,
                                        .out_dir = dir,
                                        .sustain = is_empty ? NULL : &sustain,
                                        .timeline = is_empty ? NULL : &timeline};
    sq_status status = sq_profile_render(db, &options, &result, &err);
    char *text = print(db, &options, SQ_FORMAT_TABLE);
    printf("%s\n%s\n", text, status == SQ_OK ? result.page : err.message);
    free(text);
    sq_curve_free(&sustain);
    sq_curve_free(&timeline);
    fixture_free(db, folder);
    return status != SQ_OK;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "--render"))
        return render_only(argv[2], argc > 3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_counters_say_which_launches_they_are_of),
        cmocka_unit_test(test_f32_arithmetic_is_absent_by_name),
        cmocka_unit_test(test_refused_values_are_named),
        cmocka_unit_test(test_inconsistent_numbers_are_not_used),
        cmocka_unit_test(test_without_ceilings_the_counters_stand),
        cmocka_unit_test(test_a_run_without_anything),
        cmocka_unit_test(test_unknown_run),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_without_gnuplot),
        cmocka_unit_test(test_json_has_everything),
        cmocka_unit_test(test_every_name_is_a_row_of_its_table),
        cmocka_unit_test(test_sustain_words),
        cmocka_unit_test(test_kernel_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
