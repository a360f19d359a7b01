/* history_page: the page of stores whose times are known.
 * `test_history_page --render DIR [--many]` only renders one, for test_page.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "nights.h"

static char *page_of(sq_db *db, const char *dir)
{
    char out[96], path[SQ_HISTORY_PATH];
    sq_error err = {.status = SQ_OK};
    sq_history h;
    if (sq_history_read(db, &all, &h, &err) != SQ_OK)
        fail_msg("%s", err.message);
    snprintf(out, sizeof out, "%s/a/b", dir);
    if (sq_history_page(db, &h, out, path, &err) != SQ_OK)
        fail_msg("%s", err.message);
    sq_history_free(&h);
    fixture_expect(path, "/a/b/history.html");
    return fixture_read(out, "history.html");
}

static void the_page_draws_and_escapes(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    for (int i = 0; i < 12; i++)
        add_campaign(db, i, "<i>suite</i>", "\"><script>alert(1)</script>");
    add_level(db, 0, 6, 1);
    add_level(db, 6, 12, 0.9);
    execute(db, "UPDATE campaign SET git_commit = '<b>&' WHERE campaign_id = 106");
    execute(db, "UPDATE device SET name = 'GPU </td> <two>'");
    execute(db, "UPDATE campaign SET uuid = '<u>' || uuid WHERE campaign_id = 107");
    char *page = page_of(db, dir);
    fixture_expect(page, "&lt;script&gt;alert(1)&lt;/script&gt;");
    fixture_expect(page, "&lt;i&gt;suite");
    fixture_expect(page, "c5..&lt;b&gt;&amp;");
    fixture_expect(page, "GPU &lt;/td&gt; &lt;two&gt;");
    fixture_expect_not(page, "<script>alert");
    fixture_expect_not(page, "</td> <two>");
    fixture_expect(page, "us (&lt;u&gt;00000)</title>");
    fixture_expect_not(page, "<u>");
    fixture_expect_not(page, "http");
    fixture_expect_not(page, "nan");
    fixture_expect(page, "<svg class=\"spark\"");
    fixture_expect(page, "<svg class=\"history\"");
    fixture_expect(page, "change faster");
    fixture_expect(page, ">-10.0");
    free(page);
    fixture_free(db, dir);
}

static void one_night_is_a_page_too(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 1);
    add_run(db, 0, 0, 1);
    char *page = page_of(db, dir);
    fixture_expect(page, "1 night with a time");
    fixture_expect_not(page, "nan");
    fixture_expect_not(page, "inf");
    free(page);
    fixture_free(db, dir);
}

/* --- for test_page.py --- */

/* Cells of three lengths and two dtypes, some with steps, a driver, a clock set back, a failure. */
static void add_year(sq_db *db, int cells, int nights)
{
    static const char *const subjects[] = {"attention", "ssd", "rmsnorm", "linear"};
    static const char *const dtypes[] = {"bf16", "f16", "f32"};
    execute(db, "BEGIN");
    add_nights(db, nights);
    for (int c = 0; c < cells; c++)
        for (int i = 0; i < nights; i++)
            for (int k = 0; k < 3; k++) {
                double step = c % 3 == 1 && i >= nights / 2 ? 1.07 : 1;
                step *= c % 5 == 2 && i >= nights / 4 ? 0.94 : 1;
                bool has_failed = c == 3 && i == 5;
                fixture_add(
                    db,
                    (fixture_run){.subject = subjects[c % 4],
                                  .dtype = dtypes[c % 3],
                                  .campaign = FIRST_NIGHT + i,
                                  .replicate = k,
                                  .B = 1,
                                  .L = 256 << (c / 12),
                                  .window = -1,
                                  .status = has_failed ? "crashed" : NULL,
                                  .ms = has_failed ? 0 : (c + 1) * step * noise_of(i, 9 * c + k)});
            }
    execute(db, "COMMIT");
    new_driver(db, nights * 3 / 4);
    execute(db, "UPDATE campaign SET started = started - 9e7 WHERE campaign_id = 109");
}

static int render_only(const char *out, bool is_many)
{
    char dir[64], path[SQ_HISTORY_PATH];
    sq_error err = {.status = SQ_OK};
    sq_history h;
    sq_db *db = fixture_new(dir);
    add_year(db, is_many ? 30 : 2, 40);
    sq_status status = sq_history_read(db, &all, &h, &err);
    if (status == SQ_OK)
        status = sq_history_page(db, &h, out, path, &err);
    fprintf(stderr, "%s\n", status == SQ_OK ? path : err.message);
    sq_history_free(&h);
    fixture_free(db, dir);
    return status == SQ_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && !strcmp(argv[1], "--render"))
        return render_only(argv[2], argc > 3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_draws_and_escapes),
        cmocka_unit_test(one_night_is_a_page_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
