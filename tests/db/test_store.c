/* What goes in comes out: every part of a record, unknown numbers, resuming, copies. */
#include "store_fixture.h"

#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[PATH_BYTES], path[PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    join(path, folder, "a.db");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

/* Prepares `sql` and steps to its only row. */
static sqlite3_stmt *only_row(sq_db *db, const char *sql)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    return stmt;
}

static void assert_text(sqlite3_stmt *stmt, int column, const char *want)
{
    assert_string_equal((const char *)sqlite3_column_text(stmt, column), want);
}

static void test_run_round_trip(void **state)
{
    (void)state;
    const int32_t samples[] = {1, 258, 0x01020304, INT32_MAX, 70000, 5};
    const int n = sizeof samples / sizeof *samples;
    sq_campaign campaign = demo_campaign("plan1", "night", 10);
    sq_cell cell = demo_cell(4096);
    sq_record record = demo_record(&cell, 3, 1, SQ_RUN_OK, 10);
    snprintf(record.kernel_hash, sizeof record.kernel_hash, "feed");
    snprintf(record.checksum, sizeof record.checksum, "beef");
    snprintf(record.versions, sizeof record.versions, "torch 2.11.0");
    record.cycles = 123.5;
    record.peak_bytes = (int64_t)1 << 40;
    assert_int_equal(sq_record_set_samples(&record, samples, n), SQ_OK);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    sq_sink sink = sq_db_sink(db);
    must(sink.run(sink.self, &record, &last_error));
    must_finish(db, "finished");
    sq_db_close(db);

    db = must_open(path, SQ_DB_READ);
    sqlite3_stmt *row = only_row(
        db, "SELECT uuid, replicate, attempt, status, reason, started, harness_version, "
            "kernel_hash, n, median_ns, lo_ns, hi_ns, min_ns, mad_ns, cycles, sm_mhz, setup_ns, "
            "peak_bytes, samples, versions, checksum FROM run");
    assert_text(row, 0, record.uuid);
    assert_int_equal(sqlite3_column_int(row, 1), 3);
    assert_int_equal(sqlite3_column_int(row, 2), 1);
    assert_text(row, 3, "ok");
    assert_text(row, 4, "");
    assert_true(sqlite3_column_double(row, 5) == 1000.5);
    assert_int_equal(sqlite3_column_int(row, 6), SQ_HARNESS_VERSION);
    assert_text(row, 7, "feed");
    assert_int_equal(sqlite3_column_int(row, 8), n);
    assert_true(sqlite3_column_double(row, 9) == record.stats.median);
    assert_true(sqlite3_column_double(row, 10) == record.stats.lo);
    assert_true(sqlite3_column_double(row, 11) == record.stats.hi);
    assert_true(sqlite3_column_double(row, 12) == 1);
    assert_true(sqlite3_column_double(row, 13) == record.stats.mad);
    assert_true(sqlite3_column_double(row, 14) == 123.5);
    assert_int_equal(sqlite3_column_type(row, 15), SQLITE_NULL); /* NAN: nobody measured it */
    assert_int_equal(sqlite3_column_type(row, 16), SQLITE_NULL);
    assert_true(sqlite3_column_int64(row, 17) == record.peak_bytes);
    /* Little-endian, whatever this machine is. */
    const unsigned char want[] = {1,    0,    0,    0,    2,    1,    0, 0, 4, 3, 2, 1,
                                  0xff, 0xff, 0xff, 0x7f, 0x70, 0x11, 1, 0, 5, 0, 0, 0};
    assert_int_equal(sqlite3_column_bytes(row, 18), sizeof want);
    assert_memory_equal(sqlite3_column_blob(row, 18), want, sizeof want);
    assert_text(row, 19, "torch 2.11.0");
    assert_text(row, 20, "beef");
    sqlite3_finalize(row);
    char key[SQ_KEY_MAX], found[SQ_HASH_TEXT];
    sq_cell_key(&cell, key);
    must(sq_db_find_checksum(db, campaign.uuid, key, found, &last_error));
    assert_string_equal(found, "beef");
    must(sq_db_find_checksum(db, "another", key, found, &last_error));
    assert_string_equal(found, "");
    must_be_whole(db);
    sq_db_close(db);
    sq_record_free(&record);
}

/* A run whose samples were all dropped has no time, whatever its status says. */
static void test_views_ask_for_a_time(void **state)
{
    (void)state;
    sq_campaign campaign = demo_campaign("plan1", "night", 10);
    sq_cell cell = demo_cell(64), other = demo_cell(128);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    must_put(db, &cell, 0, 0, SQ_RUN_THROTTLED, 5); /* without samples */
    sq_record record = demo_record(&other, 0, 0, SQ_RUN_OK, 10);
    record.status = SQ_RUN_THROTTLED;
    sq_sink sink = sq_db_sink(db);
    must(sink.run(sink.self, &record, &last_error));
    must_finish(db, "finished");
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_result WHERE L = 128"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_result"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_failure WHERE status = 'throttled'"), 1);
    sq_db_close(db);
    sq_record_free(&record);
}

static void test_parts_round_trip(void **state)
{
    (void)state;
    sq_campaign campaign = demo_campaign("plan1", "night", 10);
    sq_cell cell = demo_cell(4096);
    const sq_ceiling ceiling = {
        .name = "copy", .unit = "B/s", .value = 3e12, .lo = 2e12, .hi = 4e12, .sm_mhz = 1755};
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    must_put(db, &cell, 0, 0, SQ_RUN_OK, 5);
    sq_sink sink = sq_db_sink(db);
    must(sink.ceiling(sink.self, &ceiling, &last_error));
    must(sink.ceiling(sink.self, &ceiling, &last_error)); /* measured again: replaced */
    must_finish(db, "finished");

    sqlite3_stmt *row =
        only_row(db, "SELECT key, hash, kind, subject, provider, pass, dtype, cache, "
                     "launch, clock_mode FROM cell");
    char key[SQ_KEY_MAX], hash[SQ_HASH_TEXT];
    sq_cell_key(&cell, key);
    sq_hash_text(key, hash);
    const char *const want[] = {key,   hash,  "op",         "demo",  "cpu/ref",
                                "fwd", "f32", "clean-cold", "plain", "unlocked"};
    for (int i = 0; i < 10; i++)
        assert_text(row, i, want[i]);
    sqlite3_finalize(row);
    row = only_row(db, "SELECT group_concat(name || '=' || text || '/' || value, ',') FROM "
                       "(SELECT * FROM cell_axis ORDER BY name)");
    assert_text(row, 0, "B=2/2.0,L=4096/4096.0,pos=rope/1.0");
    sqlite3_finalize(row);
    row = only_row(db, "SELECT value, n, spread, sm_mhz, validity FROM value "
                       "WHERE metric = 'dram_bytes'");
    assert_int_equal(sqlite3_column_type(row, 0), SQLITE_NULL);
    assert_text(row, 4, "refused: not permitted");
    sqlite3_finalize(row);
    row = only_row(db, "SELECT rel_l2, max_abs, tolerance, tolerance_max, slice FROM check_result "
                       "WHERE tensor = 'state'");
    assert_int_equal(sqlite3_column_type(row, 0), SQLITE_NULL); /* infinite: not a number to keep */
    assert_true(sqlite3_column_double(row, 2) == 1e-3 && sqlite3_column_double(row, 3) == 1e-2);
    assert_text(row, 4, "b=0");
    sqlite3_finalize(row);
    row = only_row(db, "SELECT name, ns, grid, block, registers, shared_bytes, symbol FROM kernel "
                       "WHERE i = 1");
    assert_text(row, 0, "demo_kernel<float>");
    assert_int_equal(sqlite3_column_int(row, 1), 1234);
    assert_text(row, 2, "8x2x1");
    assert_text(row, 3, "128x1x1");
    assert_text(row, 6, "_Z11demo_kernelIfEvv");
    sqlite3_finalize(row);
    row = only_row(db, "SELECT value, lo, hi, sm_mhz FROM ceiling");
    assert_true(sqlite3_column_double(row, 1) == 2e12);
    assert_true(sqlite3_column_double(row, 3) == 1755);
    sqlite3_finalize(row);
    row = only_row(db, "SELECT l2_bytes, max_sm_mhz, sm_count FROM device");
    assert_int_equal(sqlite3_column_type(row, 0), SQLITE_NULL);
    assert_int_equal(sqlite3_column_type(row, 1), SQLITE_NULL);
    assert_int_equal(sqlite3_column_int(row, 2), 4);
    sqlite3_finalize(row);
    row = only_row(db, "SELECT seed, state, ended > started, label, planned FROM campaign");
    assert_text(row, 0, "18446744073709551614");
    assert_text(row, 1, "finished");
    assert_int_equal(sqlite3_column_int(row, 2), 1);
    sqlite3_finalize(row);
    assert_int_equal(get_int(db, "SELECT count(*) FROM metric"), 2);
    /* 1e9 flop in the median of 100000, 100007, ... 100133 ns. */
    row = only_row(db, "SELECT tflops, L FROM v_result");
    assert_true(fabs(sqlite3_column_double(row, 0) - 1e9 / 100066.5 / 1e3) < 1e-9);
    assert_int_equal(sqlite3_column_int(row, 1), 4096);
    sqlite3_finalize(row);
    sq_db_close(db);
}

static void test_failed_run_has_no_time(void **state)
{
    (void)state;
    sq_campaign campaign = demo_campaign("plan1", "", 10);
    sq_cell cell = demo_cell(8);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    must_put(db, &cell, 0, 0, SQ_RUN_MISMATCH, 5);
    assert_int_equal(get_int(db, "SELECT count(*) FROM run WHERE n = 0 AND median_ns IS NULL AND "
                                 "mad_ns IS NULL AND samples IS NULL AND peak_bytes IS NULL"),
                     1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_failure WHERE reason = 'because'"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_result"), 0);
    sq_db_close(db);
}

static void test_one_bad_part_keeps_nothing(void **state)
{
    (void)state;
    sq_campaign campaign = demo_campaign("plan1", "", 10);
    sq_cell cell = demo_cell(8);
    sq_record record = demo_record(&cell, 0, 0, SQ_RUN_OK, 10);
    assert_int_equal(sq_record_add_number(&record, "flops", 2), SQ_OK); /* a metric twice */
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    sq_sink sink = sq_db_sink(db);
    assert_int_equal(sink.run(sink.self, &record, &last_error), SQ_STORE);
    assert_says("UNIQUE");
    assert_int_equal(get_int(db, "SELECT (SELECT count(*) FROM run) + (SELECT count(*) FROM cell)"),
                     0);
    must_put(db, &cell, 0, 0, SQ_RUN_OK, 5); /* and the sink goes on */
    must_be_whole(db);
    sq_db_close(db);
    sq_record_free(&record);
}

static void test_sink_needs_a_campaign(void **state)
{
    (void)state;
    sq_cell cell = demo_cell(8);
    sq_record record = demo_record(&cell, 0, 0, SQ_RUN_OK, 10);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    sq_sink sink = sq_db_sink(db);
    assert_int_equal(sink.run(sink.self, &record, &last_error), SQ_INTERNAL);
    assert_int_equal(sink.finish(sink.self, "finished", &last_error), SQ_INTERNAL);
    sq_record_free(&record);
    sq_db_close(db);
    /* Nor does one begin in a store opened for reading. */
    db = must_open(path, SQ_DB_READ);
    sink = sq_db_sink(db);
    sq_campaign campaign = demo_campaign("plan1", "", 10);
    sq_environment environment = demo_environment();
    sq_device device = demo_device();
    assert_int_equal(
        sink.begin(sink.self, &campaign, &environment, &device, demo_metrics, &last_error),
        SQ_BAD_ARGUMENT);
    sq_db_close(db);
}

static void test_resume(void **state)
{
    (void)state;
    static const char *const retry[] = {"crashed", "oom", NULL};
    sq_campaign old = demo_campaign("plan1", "", 10), campaign = demo_campaign("plan1", "", 20);
    sq_cell a = demo_cell(8), b = demo_cell(16);
    char key_a[SQ_KEY_MAX], key_b[SQ_KEY_MAX];
    sq_cell_key(&a, key_a);
    sq_cell_key(&b, key_b);
    sq_db_campaign found;
    bool is_found;
    int attempts;

    sq_db *db = must_open(path, SQ_DB_WRITE);
    must(sq_db_find_campaign(db, "plan1", &found, &is_found, &last_error));
    assert_false(is_found);
    must_begin(db, &old);
    must_finish(db, "finished");
    must_begin(db, &campaign);
    must_put(db, &a, 0, 0, SQ_RUN_OK, 5);
    must_put(db, &a, 1, 0, SQ_RUN_CRASHED, 6);
    must_put(db, &a, 1, 1, SQ_RUN_CRASHED, 7);
    sq_db_close(db); /* without finish: as after a crash */

    db = must_open(path, SQ_DB_WRITE);
    must(sq_db_find_campaign(db, "plan1", &found, &is_found, &last_error));
    assert_true(is_found);
    assert_string_equal(found.uuid, campaign.uuid);
    assert_string_equal(found.state, "running");
    assert_true(found.seed == campaign.seed);
    assert_int_equal(found.planned, 7);
    assert_int_equal(found.done, 2);
    must(sq_db_has_run(db, found.uuid, key_a, 0, retry, &is_found, &attempts, &last_error));
    assert_true(is_found && attempts == 1);
    must(sq_db_has_run(db, found.uuid, key_a, 1, NULL, &is_found, &attempts, &last_error));
    assert_true(is_found && attempts == 2);
    must(sq_db_has_run(db, found.uuid, key_a, 1, retry, &is_found, &attempts, &last_error));
    assert_true(!is_found && attempts == 2);
    must(sq_db_has_run(db, found.uuid, key_b, 0, retry, &is_found, &attempts, &last_error));
    assert_true(!is_found && attempts == 0);
    must(sq_db_has_run(db, old.uuid, key_a, 0, retry, &is_found, &attempts, &last_error));
    assert_true(!is_found && attempts == 0);

    assert_int_equal(sq_db_resume(db, "nothing", &last_error), SQ_BAD_ARGUMENT);
    must(sq_db_resume(db, found.uuid, &last_error));
    must_begin(db, &campaign);
    must_put(db, &a, 1, 2, SQ_RUN_OK, 8);
    must(sq_db_has_run(db, found.uuid, key_a, 1, retry, &is_found, &attempts, &last_error));
    assert_true(is_found && attempts == 3);
    must_finish(db, "finished");
    assert_int_equal(get_int(db, "SELECT count(*) FROM campaign"), 2);
    assert_int_equal(get_int(db, "SELECT count(*) FROM campaign WHERE state = 'finished'"), 2);
    /* The resumption is over: the next begin() is a new campaign. */
    sq_campaign next = demo_campaign("plan2", "", 30);
    must_begin(db, &next);
    assert_int_equal(get_int(db, "SELECT count(*) FROM campaign"), 3);
    sq_db_close(db);
}

static void test_same_things_are_stored_once(void **state)
{
    (void)state;
    sq_cell cell = demo_cell(8);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    for (int i = 0; i < 3; i++) {
        sq_campaign campaign = demo_campaign("plan1", "", i);
        must_begin(db, &campaign);
        must_put(db, &cell, 0, 0, SQ_RUN_OK, 5);
        must_finish(db, "finished");
    }
    assert_int_equal(get_int(db, "SELECT count(*) FROM device"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM environment"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM cell"), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM metric"), 2);
    assert_int_equal(get_int(db, "SELECT count(*) FROM run"), 3);
    sq_db_close(db);
}

static bool has_sidecar(void)
{
    char name[PATH_BYTES];
    static const char *const suffix[] = {"a.db-wal", "a.db-shm", "a.db-journal", "a.db-lock"};
    for (int i = 0; i < 4; i++) {
        join(name, folder, suffix[i]);
        if (exists(name))
            return true;
    }
    return false;
}

static void test_single_file_at_the_end(void **state)
{
    (void)state;
    char wal[PATH_BYTES];
    join(wal, folder, "a.db-wal");
    sq_campaign campaign = demo_campaign("plan1", "", 1);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    assert_int_equal(get_int(db, "PRAGMA synchronous"), 2);
    assert_int_equal(get_int(db, "PRAGMA foreign_keys"), 1);
    must_begin(db, &campaign);
    assert_true(exists(wal));
    sq_db *reader = must_open(path, SQ_DB_READ); /* a reader does not stop a campaign */
    sq_cell cell = demo_cell(8);
    must_put(db, &cell, 0, 0, SQ_RUN_OK, 5);
    assert_int_equal(get_int(reader, "SELECT count(*) FROM run"), 1);
    sq_db_close(reader);
    must_finish(db, "finished");
    assert_false(exists(wal));
    sq_db_close(db);
    assert_false(has_sidecar());
    db = must_open(path, SQ_DB_READ);
    assert_int_equal(get_int(db, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
    sq_db_close(db);
    assert_false(has_sidecar());
}

static void test_backup_of_a_live_store(void **state)
{
    (void)state;
    char copy[PATH_BYTES], wal[PATH_BYTES], absent[PATH_BYTES], before[SQ_HASH_TEXT],
        after[SQ_HASH_TEXT];
    join(copy, folder, "copy.db");
    join(wal, folder, "copy.db-wal");
    join(absent, folder, "no/such/folder/copy.db");
    sq_campaign campaign = demo_campaign("plan1", "", 1);
    sq_cell cell = demo_cell(8);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    for (int i = 0; i < 20; i++)
        must_put(db, &cell, i, 0, SQ_RUN_OK, 5);
    must(sq_db_backup(db, copy, &last_error));
    must_put(db, &cell, 20, 0, SQ_RUN_OK, 5);
    hash_file(copy, before);
    assert_int_equal(sq_db_backup(db, copy, &last_error), SQ_IO);
    assert_says("exists already");
    assert_int_equal(sq_db_backup(db, path, &last_error), SQ_IO);
    assert_int_equal(sq_db_backup(db, absent, &last_error), SQ_IO);
    hash_file(copy, after);
    assert_string_equal(before, after);
    sq_db_close(db);

    assert_false(exists(wal));
    db = must_open(copy, SQ_DB_READ);
    assert_int_equal(get_int(db, "SELECT count(*) FROM run"), 20);
    must_be_whole(db);
    assert_false(exists(wal));
    sq_db_close(db);
}

/* A process that reads the store for longer than a lock is waited for otherwise. */
static pid_t start_reader(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        sq_db *reader = NULL;
        sq_error err;
        bool is_open = sq_db_open(path, SQ_DB_READ, &reader, &err) == SQ_OK;
        if (is_open)
            sqlite3_exec(sq_db_handle(reader), "BEGIN; SELECT count(*) FROM run", NULL, NULL, NULL);
        is_open = is_open && write(ready[1], "x", 1) == 1;
        sleep(4);
        sq_db_close(reader);
        _exit(!is_open);
    }
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void test_a_campaign_waits_for_readers(void **state)
{
    (void)state;
    sq_db *db = must_open(path, SQ_DB_WRITE);
    pid_t child = start_reader();
    int status = -1;
    sq_campaign campaign = demo_campaign("plan", "label", 1e9);
    must_begin(db, &campaign);
    must_finish(db, "finished");
    sq_db_close(db);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_run_round_trip),
        STORE_TEST(test_parts_round_trip),
        STORE_TEST(test_views_ask_for_a_time),
        STORE_TEST(test_failed_run_has_no_time),
        STORE_TEST(test_one_bad_part_keeps_nothing),
        STORE_TEST(test_sink_needs_a_campaign),
        STORE_TEST(test_resume),
        STORE_TEST(test_same_things_are_stored_once),
        STORE_TEST(test_single_file_at_the_end),
        STORE_TEST(test_backup_of_a_live_store),
        STORE_TEST(test_a_campaign_waits_for_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
