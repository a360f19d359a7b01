/* history: nights, segments, changes and breaks over stores whose times are known. */
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
#include "nights.h"

#include "reports/history.h"
#include "reports/query.h"

static sq_history read(sq_db *db, const sq_history_options *options)
{
    sq_history h;
    sq_error err = {.status = SQ_OK};
    if (sq_history_read(db, options, &h, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return h;
}

static void is_refused(sq_db *db, const sq_history_options *options, const char *why)
{
    sq_history h;
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_history_read(db, options, &h, &err), SQ_BAD_ARGUMENT);
    fixture_expect(err.message, why);
}

static void is_near(double value, double wanted, double share)
{
    if (!(fabs(value - wanted) <= share * fabs(wanted)))
        fail_msg("%.9g, not %.9g", value, wanted);
}

static char *table_of(sq_db *db, const sq_history *h, bool is_one_cell, sq_format format,
                      char notes[512])
{
    sq_text out = {.data = NULL}, said = {.data = NULL};
    sq_error err = {.status = SQ_OK};
    if (sq_history_table(db, h, is_one_cell, format, &out, &said, &err) != SQ_OK)
        fail_msg("%s", err.message);
    if (notes)
        snprintf(notes, 512, "%s", said.data);
    sq_text_free(&said);
    return out.data;
}

static char *remark_of(sq_db *db, const sq_history *h, int night)
{
    sq_text out = {.data = NULL};
    sq_error err = {.status = SQ_OK};
    assert_int_equal(sq_history_remark(db, h, &h->series[0], night, &out, &err), SQ_OK);
    return out.data ? out.data : calloc(1, 1);
}

/* --- nights --- */

static void a_night_is_the_median_of_its_runs(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 3);
    add_run(db, 0, 0, 1.00);
    add_run(db, 0, 1, 1.21);
    add_run(db, 0, 2, 1.10);
    add_run(db, 1, 0, 1.15);
    add_run(db, 2, 0, 1.1);
    add_run(db, 2, 1, 1.1);
    sq_history h = read(db, &all);
    assert_int_equal(h.n_series, 1);
    const sq_history_night *night = h.series[0].night;
    assert_int_equal(h.series[0].n_nights, 3);
    /* Logarithms 0, a, 2a with a = log 1.1: mean a, deviation a, t of 2 degrees 4.3027. */
    double half = 4.302652729911275 * log(1.1) / sqrt(3);
    assert_int_equal(night[0].n, 3);
    is_near(night[0].ns, 1.1e6, 1e-9);
    is_near(night[0].lo, 1.1e6 * exp(-half), 1e-9);
    is_near(night[0].hi, 1.1e6 * exp(half), 1e-9);
    /* One run: its own interval. */
    assert_int_equal(night[1].n, 1);
    is_near(night[1].ns, 1.15e6, 1e-9);
    is_near(night[1].lo, 1.15e6 * 0.99, 1e-9);
    is_near(night[1].hi, 1.15e6 * 1.01, 1e-9);
    is_near(night[2].lo, night[2].hi, 1e-9);
    assert_int_equal(h.series[0].n_segments, 1);
    sq_history_free(&h);
    fixture_free(db, dir);
}

static void the_newest_attempt_counts(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    fixture_run run = {.subject = "ssd", .campaign = FIRST_NIGHT, .B = 1, .L = 512, .window = -1};
    add_nights(db, 3);
    add_run(db, 0, 0, 1);
    run.status = "crashed";
    fixture_add(db, (run.replicate = 1, run));
    run.attempt = 1;
    run.ms = 3;
    run.status = NULL;
    fixture_add(db, run);
    add_run(db, 1, 0, 1); /* a time, and then none */
    run = (fixture_run){.subject = "ssd",
                        .campaign = FIRST_NIGHT + 1,
                        .attempt = 1,
                        .B = 1,
                        .L = 512,
                        .window = -1,
                        .status = "mismatch"};
    fixture_add(db, run);
    add_run(db, 2, 0, 1);
    sq_history h = read(db, &all);
    const sq_history_series *s = &h.series[0];
    assert_int_equal(s->night[0].n, 2);
    is_near(s->night[0].ns, 1e6 * sqrt(3), 1e-9); /* of two, the middle of the logarithms */
    assert_int_equal(s->night[1].n, 0);
    assert_int_equal(s->night[1].status, SQ_RUN_MISMATCH);
    assert_int_equal(s->night[1].segment, -1);
    assert_int_equal(s->n_timed, 2);
    char *remark = remark_of(db, &h, 1);
    assert_string_equal(remark, "mismatch");
    free(remark);
    sq_history_free(&h);
    fixture_free(db, dir);
}

/* --- changes --- */

static void a_change_lies_between_two_commits(void **state)
{
    (void)state;
    char dir[64], notes[512];
    sq_db *db = fixture_new(dir);
    add_nights(db, 20);
    add_level(db, 0, 8, 1);
    add_level(db, 8, 20, 1.05);
    execute(db, "UPDATE run SET kernel_hash = 'k2' WHERE campaign_id >= 108");
    sq_history h = read(db, &all);
    const sq_history_series *s = &h.series[0];
    assert_int_equal(s->n_changes, 1);
    is_near(s->change[0].ratio, 1.05, 0.001);
    assert_true(s->change[0].has_new_code);
    assert_false(s->change[0].is_gone);
    assert_int_equal(sq_history_last_good(s, &s->change[0])->campaign, 7);
    assert_int_equal(sq_history_first_bad(s, &s->change[0])->campaign, 8);
    char commits[SQ_HISTORY_COMMITS];
    sq_history_commits(&h, s, &s->change[0], commits);
    assert_string_equal(commits, "c7+..c8"); /* the tree of night 7 was changed */
    is_near(sq_history_before(s, &s->night[19]), 1e6, 0.001);
    assert_true(isnan(sq_history_before(s, &s->night[7])));
    is_near(sq_history_level(s), 1.05e6, 0.001);
    char *text = table_of(db, &h, true, SQ_FORMAT_TABLE, notes);
    fixture_expect(text, "20 nights with a time, 2025-06-15 to 2025-07-04");
    fixture_expect(text, "00000008   2025-06-23 15:06  00000007   c7+..c8");
    fixture_expect(text, "changed  stands");
    fixture_expect(text, "change +");
    fixture_expect(notes, "1 cell in 20 campaigns, 1 with a change of level");
    free(text);
    text = table_of(db, &h, true, SQ_FORMAT_JSONL, NULL);
    int lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 20);
    free(text);
    text = table_of(db, &h, false, SQ_FORMAT_CSV, NULL);
    fixture_expect(text, ",c8,00000007-0000-4000-8000-000000000003,c7,1,0");
    free(text);
    sq_history_free(&h);
    fixture_free(db, dir);
}

static void a_change_that_comes_back_went_away(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 24);
    add_level(db, 0, 8, 1);
    add_level(db, 8, 12, 1.08);
    add_level(db, 12, 18, 1);
    add_level(db, 18, 19, 1.2); /* gone the next night */
    add_level(db, 19, 24, 1);
    sq_history h = read(db, &all);
    const sq_history_series *s = &h.series[0];
    assert_int_equal(s->n_changes, 2);
    assert_true(s->change[0].is_gone);
    assert_false(s->change[0].has_new_code);
    assert_false(s->change[1].is_gone);
    assert_true(s->night[18].is_off);
    assert_false(s->night[17].is_off);
    char *text = table_of(db, &h, true, SQ_FORMAT_MD, NULL);
    fixture_expect(text, "went away");
    fixture_expect(text, "off the level");
    free(text);
    sq_history_free(&h);
    const sq_history_options blunt = {.min_change = 0.1};
    h = read(db, &blunt);
    assert_int_equal(h.series[0].n_changes, 0);
    sq_history_free(&h);
    fixture_free(db, dir);
}

/* --- what is not joined --- */

static void another_driver_is_a_break(void **state)
{
    (void)state;
    char dir[64], notes[512];
    sq_db *db = fixture_new(dir);
    add_nights(db, 20);
    add_level(db, 0, 10, 1);
    add_level(db, 10, 20, 1.3);
    new_driver(db, 10);
    sq_history h = read(db, &all);
    const sq_history_series *s = &h.series[0];
    assert_int_equal(s->n_tracks, 2);
    assert_int_equal(s->n_segments, 2);
    assert_int_equal(s->n_changes, 0);
    char *remark = remark_of(db, &h, 10);
    assert_string_equal(remark, "driver: 580.65 and 590.10");
    free(remark);
    char *text = table_of(db, &h, false, SQ_FORMAT_TABLE, notes);
    fixture_expect(notes, "1 of them stood on different things");
    free(text);
    sq_history_free(&h);
    const sq_history_options across = {.min_change = 0.01, .across = 1u << SQ_JOIN_DRIVER};
    h = read(db, &across);
    assert_int_equal(h.series[0].n_tracks, 1);
    assert_int_equal(h.series[0].n_changes, 1);
    remark = remark_of(db, &h, 10);
    fixture_expect(remark, "driver: 580.65 and 590.10 (joined)");
    free(remark);
    sq_history_free(&h);
    fixture_free(db, dir);
}

/* What is no reason to part nights is told all the same. */
static void the_card_and_its_power_limit_are_told(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 12);
    add_level(db, 0, 12, 1);
    new_driver(db, 6);
    execute(db, "UPDATE environment SET driver = '580.65', power_limit_w = 500, cublas = '' "
                "WHERE env_id = 2");
    execute(db, "UPDATE device SET name = 'Test GPU One' WHERE device_id = 2");
    execute(db, "UPDATE run SET device_id = 2 WHERE campaign_id = 109");
    sq_history h = read(db, &all);
    assert_int_equal(h.n_series, 1);
    assert_int_equal(h.series[0].n_tracks, 1);
    static const char *const remarks[12] = {
        [6] = "cublas: 13.0.2 and unknown; power limit: 700.0 and 500.0",
        [9] = "card: GPU-1 and GPU-2",
        [10] = "card: GPU-2 and GPU-1"};
    for (int i = 0; i < 12; i++) {
        char *remark = remark_of(db, &h, i);
        assert_string_equal(remark, remarks[i] ? remarks[i] : "");
        free(remark);
    }
    sq_history_free(&h);
    fixture_free(db, dir);
}

/* Campaigns of another policy in between cut nothing: each is joined with its own kind. */
static void interleaved_policies_are_two_tracks(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 24);
    for (int i = 0; i < 24; i++)
        add_level(db, i, i + 1, (i % 2 ? 2 : 1) * (i < 12 ? 1 : 1.1));
    execute(db, "UPDATE campaign SET policy = CASE campaign_id % 2 WHEN 0 THEN "
                "'{\"max_samples\":100,\"timeout_seconds\":9}' ELSE '{\"max_samples\":50}' END");
    sq_history h = read(db, &all);
    const sq_history_series *s = &h.series[0];
    assert_int_equal(s->n_tracks, 2);
    assert_int_equal(s->n_changes, 2);
    for (int i = 0; i < 2; i++) {
        is_near(s->change[i].ratio, 1.1, 0.001);
        assert_int_equal(sq_history_first_bad(s, &s->change[i])->campaign, 12 + i);
        assert_int_equal(sq_history_last_good(s, &s->change[i])->campaign, 10 + i);
    }
    char *remark = remark_of(db, &h, 3);
    assert_string_equal(remark, "policy: max_samples 100 and 50");
    free(remark);
    sq_history_free(&h);
    fixture_free(db, dir);
}

static void two_devices_are_two_series(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 6);
    add_level(db, 0, 6, 1);
    for (int i = 0; i < 6; i++)
        fixture_add(db, (fixture_run){.subject = "ssd",
                                      .campaign = FIRST_NIGHT + i,
                                      .device = 2,
                                      .replicate = 7,
                                      .B = 1,
                                      .L = 512,
                                      .window = -1,
                                      .ms = 4});
    sq_history h = read(db, &all);
    assert_int_equal(h.n_series, 2);
    for (int i = 0; i < 2; i++) {
        bool is_one = strcmp(h.series[i].device, "Test GPU One") == 0;
        assert_int_equal(h.series[i].n_nights, 6);
        assert_int_equal(h.series[i].night[0].n, is_one ? 3 : 1);
        assert_int_equal(h.series[i].n_tracks, 1);
    }
    sq_history_free(&h);
    const sq_history_options across = {.min_change = 0.01, .across = 1u << SQ_JOIN_DEVICE};
    h = read(db, &across);
    assert_int_equal(h.n_series, 1);
    assert_int_equal(h.series[0].n_nights, 12);
    sq_history_free(&h);
    fixture_free(db, dir);
}

/* --- campaigns --- */

static void a_clock_set_back_keeps_the_order(void **state)
{
    (void)state;
    char dir[64], notes[512];
    sq_db *db = fixture_new(dir);
    add_nights(db, 16);
    add_level(db, 0, 8, 1);
    add_level(db, 8, 16, 1.1);
    execute(db, "UPDATE campaign SET started = 946684800 + campaign_id, turn = 1750000000 + "
                "110 * 86400 + campaign_id WHERE campaign_id BETWEEN 110 AND 115");
    sq_history h = read(db, &all);
    for (int i = 0; i < 16; i++)
        assert_int_equal(h.campaign[i].id, FIRST_NIGHT + i);
    assert_int_equal(h.series[0].n_changes, 1);
    for (int i = 0; i < 16; i++)
        assert_int_equal(h.campaign[i].is_set_back, i == 10);
    char *text = table_of(db, &h, true, SQ_FORMAT_TABLE, notes);
    fixture_expect(notes, "the clock was set back before campaign 00000010 (2000-01-01 00:01)");
    free(text);
    sq_history_free(&h);
    fixture_free(db, dir);
}

static void campaigns_are_chosen(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    for (int i = 0; i < 9; i++)
        add_campaign(db, i, i % 3 ? "nightly" : "aa", i % 2 ? "odd" : "even");
    add_level(db, 0, 9, 1);
    struct {
        sq_history_options options;
        int n;
    } cases[] = {{{.suite = "nightly"}, 6},
                 {{.label = "odd"}, 4},
                 {{.suite = "nightly", .label = "odd"}, 3},
                 {{.since = 1750000000 + 6.5 * DAY}, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sq_history h = read(db, &cases[i].options);
        assert_int_equal(h.n_campaigns, cases[i].n);
        assert_int_equal(h.series[0].n_nights, cases[i].n);
        sq_history_free(&h);
    }
    const sq_history_options unknown = {.suite = "weekly", .since = 1}, future = {.since = 1e10},
                             no_cell = {.cell_id = 77, .label = "odd"};
    is_refused(db, &unknown, "no campaign of suite weekly since then");
    is_refused(db, &future, "no campaign since then");
    is_refused(db, &no_cell, "no timed run labelled odd");
    fixture_free(db, dir);
}

static void what_a_gate_measured_again_is_no_night(void **state)
{
    (void)state;
    char dir[64];
    sq_db *db = fixture_new(dir);
    add_nights(db, 8);
    add_level(db, 0, 8, 1);
    execute(db, "INSERT INTO gate(uuid, campaign_id, baseline_id, baseline_name, rerun_id, "
                "baseline_rerun_id, judged, version, git_commit, settings, why, sentinels, "
                "sentinel_alarms, controls) VALUES('g', 105, 100, 'main', 106, 107, 0, '', '', "
                "'{}', '', 0, 0, 0)");
    sq_history h = read(db, &all);
    assert_int_equal(h.n_campaigns, 6);
    assert_int_equal(h.series[0].n_nights, 6);
    sq_history_free(&h);
    fixture_free(db, dir);
}

static sq_status keeps_512(void *self, const char *key, double width, bool *keeps, sq_error *err)
{
    (void)err;
    *(double *)self = width;
    *keeps = strstr(key, "L=512,") != NULL;
    return SQ_OK;
}

static void cells_are_filtered(void **state)
{
    (void)state;
    char dir[64];
    double width = 0;
    sq_db *db = fixture_new(dir);
    add_nights(db, 4);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++)
            fixture_add(db, (fixture_run){.subject = "ssd",
                                          .campaign = FIRST_NIGHT + i,
                                          .B = 1,
                                          .L = 512 << k,
                                          .window = -1,
                                          .width = k ? 0 : 2048,
                                          .ms = 1});
    const sq_history_options options = {.keeps = keeps_512, .self = &width};
    sq_history h = read(db, &options);
    assert_int_equal(h.n_series, 1);
    fixture_expect(h.series[0].key, "L=512,");
    sq_history_free(&h);
    assert_true(isnan(width)); /* of the last cell asked for, which has none */
    const sq_history_options one = {.cell_id = 2};
    h = read(db, &one);
    assert_int_equal(h.n_series, 1);
    fixture_expect(h.series[0].key, "L=1024,");
    sq_history_free(&h);
    fixture_free(db, dir);
}

/* Ids that no key of the store backs, as other programs may leave them. */
static void a_run_of_no_cell_is_an_error(void **state)
{
    (void)state;
    static const char *const ids[] = {"99999", "-1", "0"};
    char dir[64], sql[96];
    sq_db *db = fixture_new(dir);
    add_nights(db, 2);
    add_level(db, 0, 2, 1);
    execute(db, "PRAGMA foreign_keys = OFF");
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        sq_history h;
        sq_error err = {.status = SQ_OK};
        snprintf(sql, sizeof sql, "UPDATE run SET cell_id = %s WHERE campaign_id = 101", ids[i]);
        execute(db, sql);
        assert_int_equal(sq_history_read(db, &all, &h, &err), SQ_STORE);
        fixture_expect(err.message, "is of no cell of the store");
    }
    fixture_free(db, dir);
}

/* Each campaign is a stretch of the index over runs: a year of nights is neither sorted nor searched. */
static void runs_are_read_along_their_index(void **state)
{
    (void)state;
    static const char *const queries[] = {sq_figure_history_runs_sql,
                                          sq_figure_history_cell_runs_sql};
    char dir[64], sql[1024];
    sq_db *db = fixture_new(dir);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        sqlite3_stmt *row = NULL;
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", queries[i]);
        assert_int_equal(sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &row, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(row), SQLITE_ROW);
        const char *plan = (const char *)sqlite3_column_text(row, 3);
        fixture_expect(plan, i ? "(campaign_id=? AND cell_id=?)" : "(campaign_id=?)");
        fixture_expect(plan, "sqlite_autoindex_run_2");
        assert_int_equal(sqlite3_step(row), SQLITE_DONE); /* no second step that sorts */
        sqlite3_finalize(row);
    }
    fixture_free(db, dir);
}

/* --- a store that is being written --- */

/* Called while the history is read: a whole campaign more, committed. */
static sq_status write_more(void *self, const char *key, double width, bool *keeps, sq_error *err)
{
    (void)key, (void)width, (void)err;
    sq_db *writer = self;
    add_campaign(writer, 5, "nightly", "night");
    add_level(writer, 5, 6, 1);
    add_run(writer, 4, 9, 5);
    *keeps = true;
    return SQ_OK;
}

static void a_running_campaign_is_read_as_far_as_it_was(void **state)
{
    (void)state;
    char dir[64], path[96];
    sq_db *writer = fixture_new(dir), *reader = NULL;
    sq_error err = {.status = SQ_OK};
    execute(writer, "PRAGMA journal_mode = WAL"); /* as while a campaign runs */
    add_nights(writer, 5);
    add_level(writer, 0, 5, 1);
    execute(writer, "UPDATE campaign SET state = 'running' WHERE campaign_id = 104");
    snprintf(path, sizeof path, "%s/store.db", dir);
    if (sq_db_open(path, SQ_DB_READ, &reader, &err) != SQ_OK)
        fail_msg("%s", err.message);
    const sq_history_options options = {.keeps = write_more, .self = writer};
    sq_history h = read(reader, &options);
    assert_int_equal(h.n_campaigns, 5);
    assert_int_equal(h.series[0].n_nights, 5);
    assert_int_equal(h.series[0].night[4].n, 3);
    char *remark = remark_of(reader, &h, 4);
    assert_string_equal(remark, "running");
    free(remark);
    sq_history_free(&h);
    h = read(reader, &all);
    assert_int_equal(h.series[0].n_nights, 6);
    assert_int_equal(h.series[0].night[4].n, 4);
    sq_history_free(&h);
    sq_db_close(reader);
    fixture_free(writer, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_night_is_the_median_of_its_runs),
        cmocka_unit_test(the_newest_attempt_counts),
        cmocka_unit_test(a_change_lies_between_two_commits),
        cmocka_unit_test(a_change_that_comes_back_went_away),
        cmocka_unit_test(another_driver_is_a_break),
        cmocka_unit_test(the_card_and_its_power_limit_are_told),
        cmocka_unit_test(interleaved_policies_are_two_tracks),
        cmocka_unit_test(two_devices_are_two_series),
        cmocka_unit_test(a_clock_set_back_keeps_the_order),
        cmocka_unit_test(campaigns_are_chosen),
        cmocka_unit_test(what_a_gate_measured_again_is_no_night),
        cmocka_unit_test(cells_are_filtered),
        cmocka_unit_test(a_run_of_no_cell_is_an_error),
        cmocka_unit_test(runs_are_read_along_their_index),
        cmocka_unit_test(a_running_campaign_is_read_as_far_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
