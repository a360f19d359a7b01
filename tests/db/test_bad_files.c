/* Files that must be refused, each with a clear message and not one byte changed; and files that
 * look odd but must open. */
#include "store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static char folder[PATH_BYTES], path[PATH_BYTES], wal[PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    join(path, folder, "a.db");
    join(wal, folder, "a.db-wal");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static void refuse(sq_db_mode mode, const char *says)
{
    sq_db *db;
    char before[SQ_HASH_TEXT], after[SQ_HASH_TEXT], lock[PATH_BYTES];
    char wal_before[SQ_HASH_TEXT], wal_after[SQ_HASH_TEXT];
    hash_file(path, before);
    hash_file(wal, wal_before);
    last_error.message[0] = '\0';
    assert_int_not_equal(sq_db_open(path, mode, &db, &last_error), SQ_OK);
    assert_null(db);
    assert_says(says);
    assert_says("a.db");
    hash_file(path, after);
    hash_file(wal, wal_after);
    assert_string_equal(before, after);
    assert_string_equal(wal_before, wal_after);
    join(lock, folder, "a.db-lock");
    assert_false(exists(lock));
}

static void refuse_both(const char *says)
{
    refuse(SQ_DB_READ, says);
    refuse(SQ_DB_WRITE, says);
}

static void sql(const char *text)
{
    sqlite3 *handle;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
    sqlite3_close(handle);
}

/* A sound store of some pages, closed. */
static void make_store(void)
{
    sq_campaign campaign = demo_campaign("plan", "", 1);
    sq_cell cell = demo_cell(8);
    sq_db *db = must_open(path, SQ_DB_WRITE);
    must_begin(db, &campaign);
    for (int i = 0; i < 50; i++)
        must_put(db, &cell, i, 0, SQ_RUN_OK, i);
    must_finish(db, "finished");
    sq_db_close(db);
}

static off_t size_of(const char *name)
{
    struct stat info;
    assert_int_equal(stat(name, &info), 0);
    return info.st_size;
}

/* --- not ours --- */

static void test_not_a_database(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    write_file(path, text, sizeof text);
    refuse_both("not a SQLite database");
    write_file(path, text, 40);
    refuse_both("not a SQLite database");
    write_file(path, "SQLite format 3", 16);
    refuse_both("not a SQLite database");
}

static void test_empty_file(void **state)
{
    (void)state;
    write_file(path, "", 0);
    refuse(SQ_DB_READ, "empty");
    sq_db_close(must_open(path, SQ_DB_WRITE)); /* as `touch` made it: becomes a store */
    sq_db_close(must_open(path, SQ_DB_READ));
}

static void test_foreign_database(void **state)
{
    (void)state;
    sql("CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    refuse_both("another program (application id 0x00000000)");
    sql("PRAGMA application_id = 0x47504b47");
    refuse_both("another program (application id 0x47504b47)");
}

/* Even opening and closing such a file with SQLite would move its log into it. */
static void test_foreign_database_with_log(void **state)
{
    (void)state;
    char live[PATH_BYTES], live_wal[PATH_BYTES];
    join(live, folder, "live.db");
    join(live_wal, folder, "live.db-wal");
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(live, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle,
                                  "PRAGMA journal_mode = WAL; CREATE TABLE t(x); "
                                  "INSERT INTO t VALUES(1)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    copy_file(live, path);
    copy_file(live_wal, wal);
    sqlite3_close(handle);
    assert_true(size_of(wal) > 0);
    refuse_both("another program");
}

static void test_newer_schema(void **state)
{
    (void)state;
    char text[64];
    make_store();
    snprintf(text, sizeof text, "PRAGMA user_version = %d", SQ_DB_SCHEMA_VERSION + 1);
    sql(text);
    refuse_both("newer than this seqmark");
}

static void test_schema_that_is_not_its_version(void **state)
{
    (void)state;
    make_store();
    sql("PRAGMA user_version = 0");
    refuse_both("already exists");
}

/* --- damaged --- */

enum { PAGE = 4096 };

static void test_damaged_pages(void **state)
{
    (void)state;
    static const char junk[PAGE];
    char sound[PATH_BYTES];
    join(sound, folder, "sound.db");
    make_store();
    copy_file(path, sound);
    off_t pages = size_of(sound) / PAGE;
    assert_true(pages > 10);
    /* Root pages are the first ones; any of them zeroed must be seen. */
    for (off_t page = 1; page < 6; page++) {
        copy_file(sound, path);
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, junk, PAGE, page * PAGE), PAGE);
        close(fd);
        refuse_both("corrupt");
    }
}

/* A store of more than 64 MiB is not read from end to end before it is read. */
static void test_large(void **state)
{
    (void)state;
    static const char junk[PAGE];
    char copy[PATH_BYTES];
    sq_db *db;
    join(copy, folder, "copy.db");
    make_store();
    sql("UPDATE run SET samples = zeroblob(1400000)");
    off_t pages = size_of(path) / PAGE;
    assert_true(size_of(path) > 64 << 20);
    sq_db_close(must_open(path, SQ_DB_READ));
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, junk, PAGE, pages / 2 * PAGE), PAGE); /* of a run's samples */
    close(fd);
    refuse(SQ_DB_WRITE, "corrupt");
    db = must_open(path, SQ_DB_READ);
    assert_int_not_equal(sqlite3_exec(sq_db_handle(db),
                                      "SELECT sum(instr(samples, x'01')) FROM run", NULL, NULL,
                                      NULL),
                         SQLITE_OK);
    assert_int_equal(sq_db_check(db, &last_error), SQ_STORE);
    assert_int_equal(sq_db_backup(db, copy, &last_error), SQ_STORE);
    assert_says("corrupt");
    assert_false(exists(copy));
    sq_db_close(db);
    assert_int_equal(truncate(path, pages / 2 * PAGE), 0);
    refuse_both("corrupt");
}

static void test_damaged_schema(void **state)
{
    (void)state;
    char junk[PAGE - 200];
    make_store();
    memset(junk, 0xa5, sizeof junk);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 100), sizeof junk);
    close(fd);
    refuse_both("corrupt");
}

static void test_truncated(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(truncate(path, size_of(path) / 2 / PAGE * PAGE), 0);
    refuse_both("corrupt");
    assert_int_equal(truncate(path, 1000), 0);
    refuse_both("corrupt");
}

/* --- not files one may use --- */

static void test_no_such_file(void **state)
{
    (void)state;
    refuse(SQ_DB_READ, "No such file");
    assert_false(exists(path));
    join(path, folder, "no/such/folder/a.db");
    refuse(SQ_DB_READ, "No such file");
    refuse(SQ_DB_WRITE, "missing");
    path[0] = '\0';
    sq_db *db;
    assert_int_equal(sq_db_open(path, SQ_DB_WRITE, &db, &last_error), SQ_BAD_ARGUMENT);
}

static void test_directory_and_fifo(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0777), 0);
    sq_db *db;
    for (sq_db_mode mode = SQ_DB_READ; mode <= SQ_DB_WRITE; mode++) {
        assert_int_equal(sq_db_open(path, mode, &db, &last_error), SQ_IO);
        assert_says("is a directory");
    }
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);
    for (sq_db_mode mode = SQ_DB_READ; mode <= SQ_DB_WRITE; mode++) {
        assert_int_equal(sq_db_open(path, mode, &db, &last_error), SQ_IO);
        assert_says("not a regular file");
    }
}

/* Names that mean something to SQLite are plain names here. */
static void test_odd_names(void **state)
{
    (void)state;
    static const char *const names[] = {":memory:", "file:x?mode=memory", "100%41 #1.db", "-x.db"};
    char here[PATH_BYTES];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sq_db_close(must_open(names[i], SQ_DB_WRITE));
        assert_true(exists(names[i]));
        sq_db_close(must_open(names[i], SQ_DB_READ));
    }
    assert_int_equal(chdir(here), 0);
}

/* Runs `body` as a user whom permissions bind; as root, who is above them, in a child that gives
 * root up. A failure inside is printed there and fails here. */
static void as_nobody(void (*body)(void))
{
    if (geteuid() != 0) {
        body();
        return;
    }
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
            _exit(2);
        body();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* For as_nobody(): cmocka's own failures jump into the parent's frames, which a child must not. */
static void expect(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "not so: %s (last error: %s)\n", what, last_error.message);
    _exit(1);
}

static bool is_refused(sq_db_mode mode, const char *says)
{
    sq_db *db;
    last_error.message[0] = '\0';
    return sq_db_open(path, mode, &db, &last_error) != SQ_OK && !db &&
           strstr(last_error.message, says);
}

static bool holds_runs(int want)
{
    sq_db *db;
    if (sq_db_open(path, SQ_DB_READ, &db, &last_error) != SQ_OK)
        return false;
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(sq_db_handle(db), "SELECT count(*) FROM run", -1, &stmt, NULL);
    bool is_right = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == want;
    sqlite3_finalize(stmt);
    sq_db_close(db);
    return is_right;
}

static void body_unreadable(void)
{
    expect(is_refused(SQ_DB_READ, "unreadable"), "read refused");
    expect(is_refused(SQ_DB_WRITE, "unreadable"), "write refused");
}

static void test_unreadable(void **state)
{
    (void)state;
    char before[SQ_HASH_TEXT], after[SQ_HASH_TEXT];
    make_store();
    hash_file(path, before);
    assert_int_equal(chmod(path, 0), 0);
    as_nobody(body_unreadable);
    assert_int_equal(chmod(path, 0644), 0);
    hash_file(path, after);
    assert_string_equal(before, after);
}

static void body_read_only_file(void)
{
    expect(is_refused(SQ_DB_WRITE, "the file is read-only"), "write refused");
    expect(holds_runs(50), "read opens");
}

static void test_read_only_file(void **state)
{
    (void)state;
    char before[SQ_HASH_TEXT], after[SQ_HASH_TEXT];
    make_store();
    assert_int_equal(chmod(path, 0444), 0);
    hash_file(path, before);
    as_nobody(body_read_only_file);
    hash_file(path, after);
    assert_string_equal(before, after);
}

static void body_read_only_folder(void)
{
    expect(is_refused(SQ_DB_WRITE, "folder is read-only"), "write refused");
    expect(holds_runs(50), "read opens");
}

static void test_read_only_folder(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    as_nobody(body_read_only_folder);
    assert_int_equal(chmod(folder, 0777), 0);
}

/* --- copies of a live store --- */

/* The main file alone of a store in WAL mode whose log had been moved into it: 3 runs. */
static void make_live_copy(void)
{
    char live[PATH_BYTES];
    join(live, folder, "live.db");
    sq_campaign campaign = demo_campaign("plan", "", 1);
    sq_cell cell = demo_cell(8);
    sq_db *db = must_open(live, SQ_DB_WRITE);
    must_begin(db, &campaign);
    for (int i = 0; i < 3; i++)
        must_put(db, &cell, i, 0, SQ_RUN_OK, i);
    assert_int_equal(
        sqlite3_wal_checkpoint_v2(sq_db_handle(db), "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
        SQLITE_OK);
    copy_file(live, path);
    sq_db_close(db);
}

static void body_live_copy(void)
{
    expect(holds_runs(3), "a copied file opens in a read-only folder");
}

static void test_live_copy(void **state)
{
    (void)state;
    char before[SQ_HASH_TEXT], after[SQ_HASH_TEXT];
    make_live_copy();
    hash_file(path, before);
    assert_true(holds_runs(3));
    hash_file(path, after);
    assert_string_equal(before, after);
    unlink(wal);
    char shm[PATH_BYTES];
    join(shm, folder, "a.db-shm");
    unlink(shm);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    as_nobody(body_live_copy);
    assert_int_equal(chmod(folder, 0777), 0);
    hash_file(path, after);
    assert_string_equal(before, after);
    assert_false(exists(wal));
}

/* --- locked --- */

/* A child that holds the store open for writing until it is killed. */
static pid_t start_writer(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sq_db *db;
        if (sq_db_open(path, SQ_DB_WRITE, &db, &last_error) != SQ_OK)
            _exit(1);
        if (write(ready[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void test_second_writer(void **state)
{
    (void)state;
    char says[64], link_path[PATH_BYTES], before[SQ_HASH_TEXT], after[SQ_HASH_TEXT];
    sq_db *db;
    make_store();
    hash_file(path, before);
    join(link_path, folder, "link.db");
    assert_int_equal(symlink(path, link_path), 0);
    pid_t child = start_writer();
    snprintf(says, sizeof says, "locked by another process (%ld)", (long)child);
    assert_int_equal(sq_db_open(path, SQ_DB_WRITE, &db, &last_error), SQ_TIMEOUT);
    assert_says(says);
    /* by another name of the same file */
    assert_int_equal(sq_db_open(link_path, SQ_DB_WRITE, &db, &last_error), SQ_TIMEOUT);
    assert_says(says);
    hash_file(path, after);
    assert_string_equal(before, after);
    sq_db_close(must_open(path, SQ_DB_READ)); /* readers are free */
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    sq_db_close(must_open(path, SQ_DB_WRITE)); /* the dead hold nothing */
}

static void test_locked_by_sqlite(void **state)
{
    (void)state;
    sqlite3 *other;
    make_store();
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    refuse_both("locked by another process");
    sqlite3_close(other);
    sq_db_close(must_open(path, SQ_DB_WRITE));
}

int main(void)
{
#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_not_a_database),
        FILE_TEST(test_empty_file),
        FILE_TEST(test_foreign_database),
        FILE_TEST(test_foreign_database_with_log),
        FILE_TEST(test_newer_schema),
        FILE_TEST(test_schema_that_is_not_its_version),
        FILE_TEST(test_damaged_pages),
        FILE_TEST(test_damaged_schema),
        FILE_TEST(test_large),
        FILE_TEST(test_truncated),
        FILE_TEST(test_no_such_file),
        FILE_TEST(test_directory_and_fifo),
        FILE_TEST(test_odd_names),
        FILE_TEST(test_unreadable),
        FILE_TEST(test_read_only_file),
        FILE_TEST(test_read_only_folder),
        FILE_TEST(test_live_copy),
        FILE_TEST(test_second_writer),
        FILE_TEST(test_locked_by_sqlite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
