/* The migration table: from nothing, from an older store with data, and back when a step fails. */
#include "store_fixture.h"

#include <unistd.h>

#include "db/store.h"

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

/* A history of its own: the shipped table has as many steps as there were versions. */
#define STEP_1                                                                                     \
    "CREATE TABLE cell(cell_id INTEGER PRIMARY KEY, key TEXT NOT NULL) STRICT;"                    \
    "CREATE TABLE run(run_id INTEGER PRIMARY KEY, cell_id INTEGER NOT NULL REFERENCES cell, "      \
    "ns INTEGER NOT NULL) STRICT"
#define STEP_2 "ALTER TABLE run ADD COLUMN status TEXT NOT NULL DEFAULT 'ok'"
/* A rebuilt table, as SQLite's own procedure for other changes of a schema does it. */
#define STEP_3                                                                                     \
    "CREATE TABLE cell_new(cell_id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE) STRICT;"         \
    "INSERT INTO cell_new SELECT cell_id, key FROM cell;"                                          \
    "DROP TABLE cell; ALTER TABLE cell_new RENAME TO cell"

static const sq_migration one[] = {{1, STEP_1}, {0, NULL}};
static const sq_migration three[] = {{1, STEP_1}, {2, STEP_2}, {3, STEP_3}, {0, NULL}};
static const sq_migration failing[] = {
    {1, STEP_1}, {2, STEP_2}, {3, STEP_3 "; SELECT * FROM nowhere"}, {0, NULL}};
static const sq_migration orphaning[] = {{1, STEP_1}, {2, "DELETE FROM cell"}, {0, NULL}};

/* A handle as sq_db_open makes it, on a store that only `steps` shaped. */
static void open_with(sq_db *db, const sq_migration *steps)
{
    memset(db, 0, sizeof *db);
    db->path = path;
    db->lock_fd = -1;
    assert_int_equal(sqlite3_open(path, &db->handle), SQLITE_OK);
    must(sq_db_exec(db, "PRAGMA foreign_keys = ON", "test", &last_error));
    must(sq_db_migrate(db, steps, &last_error));
}

static void make_old(void)
{
    sq_db db;
    open_with(&db, one);
    must(sq_db_exec(&db,
                    "INSERT INTO cell VALUES(1, 'a'), (2, 'b');"
                    "INSERT INTO run VALUES(1, 1, 10), (2, 2, 20), (3, 2, 30)",
                    "test", &last_error));
    assert_int_equal(get_int(&db, "PRAGMA user_version"), 1);
    sqlite3_close(db.handle);
}

static void test_new_store(void **state)
{
    (void)state;
    sq_db *db = must_open(path, SQ_DB_WRITE);
    assert_int_equal(get_int(db, "PRAGMA user_version"), SQ_DB_SCHEMA_VERSION);
    assert_int_equal(get_int(db, "PRAGMA application_id"), SQ_DB_APPLICATION_ID);
    assert_int_equal(get_int(db, "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND "
                                 "schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict"),
                     0);
    must_be_whole(db);
    sq_db_close(db);
}

/* See the note at the top of schema.sql. */
static void test_keys_lead(void **state)
{
    (void)state;
    sq_db *db = must_open(path, SQ_DB_WRITE);
    assert_int_equal(get_int(db, "SELECT count(*) FROM pragma_table_list t, "
                                 "pragma_table_info(t.name) c WHERE t.wr AND t.schema = 'main' "
                                 "AND c.pk > 0 AND c.pk <> c.cid + 1"),
                     0);
    assert_true(get_int(db, "SELECT count(*) FROM pragma_table_list WHERE wr") > 3);
    sq_db_close(db);
}

/* The shipped steps count up by one and end at the version this program writes. */
static void test_shipped_steps(void **state)
{
    (void)state;
    int last = 0;
    for (const sq_migration *step = sq_migrations; step->sql; step++)
        assert_int_equal(step->to, ++last);
    assert_int_equal(last, SQ_DB_SCHEMA_VERSION);
}

static void test_old_data_comes_along(void **state)
{
    (void)state;
    sq_db db;
    make_old();
    open_with(&db, three);
    assert_int_equal(get_int(&db, "PRAGMA user_version"), 3);
    assert_int_equal(get_int(&db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(get_int(&db, "SELECT sum(ns) FROM run WHERE status = 'ok'"), 60);
    assert_int_equal(get_int(&db, "SELECT count(*) FROM run JOIN cell USING (cell_id)"), 3);
    assert_int_equal(get_int(&db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    /* Once is enough: again changes nothing. */
    int64_t changes = sqlite3_total_changes64(db.handle);
    must(sq_db_migrate(&db, three, &last_error));
    assert_int_equal(sqlite3_total_changes64(db.handle), changes);
    sqlite3_close(db.handle);
}

static void refuse_steps(const sq_migration *steps, const char *says)
{
    char before[SQ_HASH_TEXT], after[SQ_HASH_TEXT];
    sq_db db;
    make_old();
    hash_file(path, before);
    open_with(&db, one);
    assert_int_equal(sq_db_migrate(&db, steps, &last_error), SQ_STORE);
    assert_says(says);
    assert_int_equal(get_int(&db, "PRAGMA user_version"), 1);
    assert_int_equal(get_int(&db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(get_int(&db, "SELECT count(*) FROM cell"), 2);
    sqlite3_close(db.handle);
    hash_file(path, after);
    assert_string_equal(before, after);
}

static void test_failing_step_changes_nothing(void **state)
{
    (void)state;
    refuse_steps(failing, "no such table: nowhere");
}

static void test_orphans_are_refused(void **state)
{
    (void)state;
    refuse_steps(orphaning, "rows of table run point nowhere");
}

/* A file that says it is ours at version 0, without tables: as version 0 is, it becomes a store. */
static void test_version_0_becomes_current(void **state)
{
    (void)state;
    sqlite3 *handle;
    char text[64];
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    snprintf(text, sizeof text, "PRAGMA application_id = %d", SQ_DB_APPLICATION_ID);
    assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
    sq_db_close(must_open(path, SQ_DB_WRITE));
    sq_db *db = must_open(path, SQ_DB_READ);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_result"), 0);
    sq_db_close(db);
}

#define TO_VERSION_2                                                                               \
    "DROP VIEW v_verdict; DROP VIEW v_baseline; DROP TABLE acknowledgement; DROP TABLE verdict; "  \
    "DROP TABLE gate; ALTER TABLE campaign DROP COLUMN turn; "                                     \
    "ALTER TABLE baseline DROP COLUMN tree_hash; ALTER TABLE baseline DROP COLUMN made; "          \
    "ALTER TABLE baseline RENAME COLUMN tree_path TO binary_path; PRAGMA user_version = 2;"
#define TO_VERSION_1                                                                               \
    TO_VERSION_2                                                                                   \
    "ALTER TABLE campaign DROP COLUMN policy; ALTER TABLE run DROP COLUMN versions; "              \
    "ALTER TABLE run DROP COLUMN checksum; ALTER TABLE ceiling DROP COLUMN sm_mhz; "               \
    "ALTER TABLE kernel DROP COLUMN symbol; PRAGMA user_version = 1;"

static void run_sql(const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

/* A store with one finished campaign, taken back to an older version by `back`, in either mode of
 * its log. */
static void make_older(const char *back, const char *journal_mode)
{
    char text[64];
    sq_db *db = must_open(path, SQ_DB_WRITE);
    sq_campaign campaign = demo_campaign("plan", "old", 1);
    sq_cell cell = demo_cell(64);
    must_begin(db, &campaign);
    must_put(db, &cell, 0, 0, SQ_RUN_OK, 2);
    must_finish(db, "finished");
    sq_db_close(db);
    snprintf(text, sizeof text, "PRAGMA journal_mode = %s", journal_mode);
    run_sql(text);
    run_sql(back);
}

static void check_version_1(const char *journal_mode)
{
    static const char unknown[] = "SELECT count(*) FROM campaign WHERE policy = ''";
    char before[SQ_HASH_TEXT], after[SQ_HASH_TEXT];
    make_older(TO_VERSION_1, journal_mode);
    hash_file(path, before);
    sq_db *db = must_open(path, SQ_DB_READ);
    assert_int_equal(get_int(db, unknown), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_result"), 1);
    sq_db_close(db);
    hash_file(path, after);
    assert_string_equal(before, after);
    db = must_open(path, SQ_DB_WRITE);
    assert_int_equal(get_int(db, "PRAGMA user_version"), SQ_DB_SCHEMA_VERSION);
    assert_int_equal(get_int(db, unknown), 1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM run WHERE versions || checksum = ''"), 1);
    must_be_whole(db);
    sq_db_close(db);
    unlink(path);
}

static void test_version_1_is_read_in_memory_and_written_in_place(void **state)
{
    (void)state;
    check_version_1("DELETE");
    check_version_1("WAL");
}

/* Campaigns of version 2 keep the order in which they were stored, whatever their clock said; a
 * baseline set by hand keeps its campaign. */
static void test_version_2(void **state)
{
    (void)state;
    make_older(TO_VERSION_2, "DELETE");
    run_sql("INSERT INTO campaign(uuid, suite, label, plan_hash, argv, version, git_commit, "
            "git_dirty, seed, planned, env_id, device_id, started, state) "
            "SELECT 'x' || value, suite, label, plan_hash, argv, version, git_commit, git_dirty, "
            "seed, planned, env_id, device_id, value, state FROM campaign, json_each('[30, 20]');"
            "INSERT INTO baseline VALUES('h100', 1, '/old/tree')");
    sq_db *db = must_open(path, SQ_DB_WRITE);
    assert_int_equal(get_int(db, "PRAGMA user_version"), 3);
    assert_int_equal(get_int(db, "SELECT turn FROM campaign WHERE campaign_id = 1"), 1);
    assert_int_equal(get_int(db, "SELECT 1000 * turn FROM campaign WHERE uuid = 'x30'"), 30000);
    assert_int_equal(get_int(db, "SELECT 1000 * turn FROM campaign WHERE uuid = 'x20'"), 30001);
    char uuid[SQ_UUID_TEXT];
    must(sq_db_resolve_campaign(db, "latest", uuid, &last_error));
    assert_string_equal(uuid, "x20");
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_baseline WHERE name = 'h100' AND "
                                 "tree_path = '/old/tree' AND tree_hash = '' AND made IS NULL"),
                     1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_verdict"), 0);
    must_be_whole(db);
    sq_db_close(db);
}

int main(void)
{
#define MIGRATE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MIGRATE_TEST(test_new_store),
        MIGRATE_TEST(test_keys_lead),
        MIGRATE_TEST(test_shipped_steps),
        MIGRATE_TEST(test_old_data_comes_along),
        MIGRATE_TEST(test_failing_step_changes_nothing),
        MIGRATE_TEST(test_orphans_are_refused),
        MIGRATE_TEST(test_version_0_becomes_current),
        MIGRATE_TEST(test_version_1_is_read_in_memory_and_written_in_place),
        MIGRATE_TEST(test_version_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
