/* A full disk: a clear error, and nothing half-written, whether the disk is a small tmpfs, a file
 * size limit, or a store that may not grow. */
#define _GNU_SOURCE /* unshare */
#include "store_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[PATH_BYTES], path[PATH_BYTES], ballast[PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    join(path, folder, "a.db");
    join(ballast, folder, "ballast");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

enum { CANNOT = 77 };

/* Runs `body` in a child, whose limits and mounts end with it. */
static void in_child(void (*body)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* cmocka's own failures would jump into the parent's frames. */
#define expect(is_true) expect_at((is_true), #is_true, __LINE__)
static void expect_at(bool is_true, const char *what, int line)
{
    if (is_true)
        return;
    fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, line, what,
            last_error.message);
    _exit(1);
}

static sq_status begin(sq_db *db)
{
    sq_campaign campaign = demo_campaign("plan", "", 1);
    sq_environment environment = demo_environment();
    sq_device device = demo_device();
    sq_sink sink = sq_db_sink(db);
    return sink.begin(sink.self, &campaign, &environment, &device, demo_metrics, &last_error);
}

/* Stores runs until one fails, at most 1000; returns how many were stored. */
static int store_until_full(sq_db *db, sq_status *status)
{
    sq_sink sink = sq_db_sink(db);
    int stored = 0;
    for (; stored < 1000; stored++) {
        sq_cell cell = demo_cell(stored + 1);
        sq_record record = demo_record(&cell, 0, 0, SQ_RUN_OK, 2000);
        *status = sink.run(sink.self, &record, &last_error);
        sq_record_free(&record);
        if (*status != SQ_OK)
            break;
    }
    return stored;
}

static int64_t count(sq_db *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(sq_db_handle(db), sql, -1, &stmt, NULL);
    int64_t n = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    return n;
}

/* After the disk has room again: `stored` whole runs of one campaign that can be resumed. */
static void expect_whole(int stored)
{
    sq_db *db;
    sq_db_campaign known;
    bool found;
    expect(sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_OK);
    expect(count(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") == 1);
    expect(count(db, "SELECT count(*) FROM run") == stored);
    expect(count(db, "SELECT count(*) FROM cell") == stored);
    expect(count(db, "SELECT count(*) FROM cell_axis") == stored * DEMO_AXES);
    expect(count(db, "SELECT count(*) FROM value") == stored * DEMO_VALUES);
    expect(count(db, "SELECT count(*) FROM kernel") == stored * DEMO_KERNELS);
    expect(count(db, "SELECT count(*) FROM check_result") == stored * DEMO_CHECKS);
    expect(sq_db_find_campaign(db, "plan", &known, &found, &last_error) == SQ_OK && found);
    expect(strcmp(known.state, "running") == 0 && known.done == stored);
    sq_db_close(db);
}

/* --- a real full disk --- */

static bool write_proc(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return is_written;
}

/* Who is not root may mount as the root of a user namespace of his own, in which user and group
 * must exist (user_namespaces(7)). */
static bool become_root_of_own(void)
{
    char users[32], groups[32];
    snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWUSER) == 0 && write_proc("/proc/self/uid_map", users) &&
           write_proc("/proc/self/setgroups", "deny") && write_proc("/proc/self/gid_map", groups);
}

static void mount_small_disk(void)
{
    if ((geteuid() != 0 && !become_root_of_own()) || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=1m") != 0)
        _exit(CANNOT);
}

/* Writes zeros into `ballast` until nothing more fits, or `bytes`. */
static void take_room(size_t bytes)
{
    static const char zeros[4096];
    int fd = open(ballast, O_WRONLY | O_CREAT | O_APPEND, 0666);
    for (size_t n = 0; n < bytes && write(fd, zeros, sizeof zeros) > 0; n += sizeof zeros)
        ;
    close(fd);
}

static void body_full_disk(void)
{
    sq_db *db;
    sq_status status = SQ_OK;
    mount_small_disk();
    take_room(256 << 10);
    expect(sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_OK);
    expect(begin(db) == SQ_OK);
    int stored = store_until_full(db, &status);
    expect(status == SQ_IO && stored > 0 && stored < 1000);
    expect(strstr(last_error.message, "the disk is full") != NULL);
    sq_db_close(db);
    unlink(ballast);
    expect_whole(stored);
}

static void test_full_disk(void **state)
{
    (void)state;
    in_child(body_full_disk);
}

static void body_full_from_the_start(void)
{
    sq_db *db;
    mount_small_disk();
    expect(sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_OK);
    sq_db_close(db);
    take_room(1 << 30);
    /* an existing store: no campaign */
    if (sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_OK) {
        expect(begin(db) == SQ_IO);
        sq_db_close(db);
    } else {
        expect(last_error.status == SQ_IO);
    }
    unlink(ballast);
    expect(sq_db_open(path, SQ_DB_READ, &db, &last_error) == SQ_OK);
    expect(count(db, "SELECT (SELECT count(*) FROM campaign) + (SELECT count(*) FROM device) + "
                     "(SELECT count(*) FROM metric)") == 0);
    sq_db_close(db);
    /* a new one: no file */
    unlink(path);
    take_room(1 << 30);
    expect(sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_IO);
    expect(!exists(path));
}

static void test_full_from_the_start(void **state)
{
    (void)state;
    in_child(body_full_from_the_start);
}

/* --- where no disk can be mounted --- */

static void body_file_size_limit(void)
{
    sq_db *db;
    sq_status status = SQ_OK;
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    expect(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    rlim_t whole = limit.rlim_cur;
    expect(sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_OK);
    expect(begin(db) == SQ_OK);
    limit.rlim_cur = 512 << 10;
    expect(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    int stored = store_until_full(db, &status);
    expect(status == SQ_IO && stored > 0 && stored < 1000);
    expect(strstr(last_error.message, "disk I/O error") != NULL);
    sq_db_close(db);
    limit.rlim_cur = whole;
    expect(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    expect_whole(stored);
}

static void test_file_size_limit(void **state)
{
    (void)state;
    in_child(body_file_size_limit);
}

static void body_page_limit(void)
{
    sq_db *db;
    sq_status status = SQ_OK;
    expect(sq_db_open(path, SQ_DB_WRITE, &db, &last_error) == SQ_OK);
    expect(begin(db) == SQ_OK);
    expect(count(db, "PRAGMA max_page_count = 120") == 120);
    int stored = store_until_full(db, &status);
    expect(status == SQ_IO && stored > 0 && stored < 1000);
    expect(strstr(last_error.message, "the disk is full") != NULL);
    sq_db_close(db);
    expect_whole(stored);
}

static void test_page_limit(void **state)
{
    (void)state;
    in_child(body_page_limit);
}

int main(void)
{
#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DISK_TEST(test_full_disk),
        DISK_TEST(test_full_from_the_start),
        DISK_TEST(test_file_size_limit),
        DISK_TEST(test_page_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
