/* kill -9 at any moment: the store is sound, what was acknowledged is there whole, and at most the
 * run in flight is lost. */
#include "store_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 36, CREATIONS = 24 };

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

/* A child's steps: any failure ends it with an exit status instead of a signal. */
static void need(sq_status status)
{
    if (status == SQ_OK)
        return;
    fprintf(stderr, "child: %s\n", last_error.message);
    _exit(1);
}

/* Opens, resumes the plan's campaign (or begins it), then stores runs from replicate `first` on
 * until it is killed. One byte goes to `ack` after each run that the sink called durable. */
static void write_runs(int first, int ack)
{
    sq_db *db;
    sq_db_campaign known;
    bool found;
    need(sq_db_open(path, SQ_DB_WRITE, &db, &last_error));
    need(sq_db_find_campaign(db, "plan", &known, &found, &last_error));
    if (found)
        need(sq_db_resume(db, known.uuid, &last_error));
    sq_campaign campaign = demo_campaign("plan", "", 1);
    sq_environment environment = demo_environment();
    sq_device device = demo_device();
    sq_sink sink = sq_db_sink(db);
    need(sink.begin(sink.self, &campaign, &environment, &device, demo_metrics, &last_error));
    for (int i = first;; i++) {
        sq_cell cell = demo_cell(1 + i % 13);
        sq_record record = demo_record(&cell, i, 0, SQ_RUN_OK, 500);
        need(sink.run(sink.self, &record, &last_error));
        sq_record_free(&record);
        if (write(ack, "a", 1) != 1)
            _exit(1);
    }
}

/* Runs the child for `pause_us` after its first acknowledgement, or after its start; kills it;
 * returns how many runs it acknowledged. */
static int run_and_kill(int first, long pause_us, bool after_first)
{
    int ack[2], acknowledged = 0, status;
    char byte;
    assert_int_equal(pipe(ack), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ack[0]);
        write_runs(first, ack[1]);
    }
    close(ack[1]);
    if (after_first && read(ack[0], &byte, 1) == 1)
        acknowledged++;
    nanosleep(&(struct timespec){.tv_nsec = pause_us * 1000}, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it never failed by itself */
    while (read(ack[0], &byte, 1) == 1)
        acknowledged++;
    close(ack[0]);
    return acknowledged;
}

static long random_below(long limit)
{
    char uuid[SQ_UUID_TEXT];
    must(sq_uuid_new(uuid, &last_error));
    return (long)(strtoul(uuid, NULL, 16) % (unsigned long)limit);
}

static void test_kill_while_running(void **state)
{
    (void)state;
    int stored = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int acknowledged = run_and_kill(stored, random_below(30000), true);
        assert_true(acknowledged > 0);

        /* A report may be the first to look. */
        sq_db *db = must_open(path, SQ_DB_READ);
        int seen = (int)get_int(db, "SELECT count(*) FROM run");
        must_be_whole(db);
        sq_db_close(db);
        assert_in_range(seen, stored + acknowledged, stored + acknowledged + 1);

        sq_db_campaign known;
        bool found;
        db = must_open(path, SQ_DB_WRITE);
        must_be_whole(db);
        assert_int_equal(get_int(db, "SELECT count(*) FROM run"), seen);
        /* no gap: the lost one is the last one */
        assert_int_equal(get_int(db, "SELECT max(replicate) + 1 FROM run"), seen);
        must(sq_db_find_campaign(db, "plan", &known, &found, &last_error));
        assert_true(found);
        assert_string_equal(known.state, "running");
        assert_int_equal(known.done, seen);
        assert_int_equal(get_int(db, "SELECT count(*) FROM campaign"), 1);
        sq_db_close(db);
        stored = seen;
    }
    assert_true(stored > ROUNDS);
}

/* The file is being made, or the campaign begun. */
static void test_kill_while_creating(void **state)
{
    (void)state;
    for (int round = 0; round < CREATIONS; round++) {
        char name[16];
        snprintf(name, sizeof name, "%d.db", round);
        join(path, folder, name);
        int acknowledged = run_and_kill(0, random_below(12000), false);
        sq_db *db = must_open(path, SQ_DB_WRITE);
        must_be_whole(db);
        assert_int_equal(get_int(db, "PRAGMA user_version"), SQ_DB_SCHEMA_VERSION);
        assert_in_range(get_int(db, "SELECT count(*) FROM run"), acknowledged, acknowledged + 1);
        assert_in_range(get_int(db, "SELECT count(*) FROM campaign"), acknowledged > 0, 1);
        sq_db_close(db);
    }
}

/* A transaction whose journal is on the disk and whose pages are half in the file. */
static void write_half(int ack)
{
    sq_db *db;
    need(sq_db_open(path, SQ_DB_WRITE, &db, &last_error));
    sqlite3 *handle = sq_db_handle(db);
    if (sqlite3_exec(handle,
                     "PRAGMA cache_size = 1; BEGIN; UPDATE run SET reason = hex(randomblob(2000)); "
                     "UPDATE run SET reason = reason || 'x'",
                     NULL, NULL, NULL) != SQLITE_OK)
        _exit(1);
    if (write(ack, "a", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* Whoever reads first finds the store as it was before. */
static void test_half_a_write_is_undone_by_a_reader(void **state)
{
    (void)state;
    int ack[2], status;
    char byte, journal[PATH_BYTES];
    sq_db *db;
    join(journal, folder, "a.db-journal");
    db = must_open(path, SQ_DB_WRITE);
    sq_campaign campaign = demo_campaign("plan", "", 1);
    must_begin(db, &campaign);
    for (int i = 0; i < 60; i++) {
        sq_cell cell = demo_cell(1 + i);
        must_put(db, &cell, 0, 0, SQ_RUN_OK, 1);
    }
    must_finish(db, "finished");
    sq_db_close(db);
    assert_int_equal(pipe(ack), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        write_half(ack[1]);
    close(ack[1]);
    assert_int_equal(read(ack[0], &byte, 1), 1);
    close(ack[0]);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(exists(journal));
    db = must_open(path, SQ_DB_READ);
    assert_int_equal(get_int(db, "SELECT count(*) FROM run WHERE reason = ''"), 60);
    must_be_whole(db);
    sq_db_close(db);
    assert_false(exists(journal));
}

int main(void)
{
#define KILL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        KILL_TEST(test_kill_while_running),
        KILL_TEST(test_kill_while_creating),
        KILL_TEST(test_half_a_write_is_undone_by_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
