/* scratch: a folder is kept while its process lives and removed after, whatever the process's id is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/scratch.h"

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

static sq_scratch open_one(void)
{
    sq_scratch scratch;
    sq_error err = {.message = ""};
    if (sq_scratch_open(1, &scratch, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return scratch;
}

/* What every campaign does to what others left. */
static void clean(void)
{
    sq_scratch scratch = open_one();
    sq_scratch_close(&scratch);
}

/* Another name in the same place: that of a process which is not there. */
static void rename_to_nobody(sq_scratch *scratch)
{
    char path[sizeof scratch->folder];
    char *slash = strrchr(scratch->folder, '/');
    snprintf(path, sizeof path, "%.*s/seqmark-peer-99999999-%ld", (int)(slash - scratch->folder),
             scratch->folder, (long)getpid());
    assert_int_equal(rename(scratch->folder, path), 0);
    strcpy(scratch->folder, path);
}

static void only_its_user_may_enter(void **state)
{
    (void)state;
    sq_scratch scratch = open_one();
    struct stat folder;
    assert_int_equal(stat(scratch.folder, &folder), 0);
    assert_int_equal(folder.st_mode & 0777, 0700);
    char folder_was[sizeof scratch.folder];
    strcpy(folder_was, scratch.folder);
    sq_scratch_close(&scratch);
    assert_false(is_there(folder_was));
    sq_scratch_close(&scratch); /* once is enough */
}

static void a_held_folder_stays_whoever_its_name_says(void **state)
{
    (void)state;
    sq_scratch scratch = open_one();
    rename_to_nobody(&scratch);
    clean();
    assert_true(is_there(scratch.folder));
    sq_scratch_close(&scratch);
    assert_false(is_there(scratch.folder));
}

/* Opens a folder in a child, writes a file there, and returns when the child was killed. */
static void leave_one(char *folder, size_t size)
{
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t child = fork();
    if (child == 0) {
        sq_scratch scratch = open_one();
        char path[300];
        snprintf(path, sizeof path, "%s/y", scratch.folder);
        FILE *file = fopen(path, "w");
        fputs("left", file);
        fclose(file);
        if (write(pipe_fd[1], scratch.folder, sizeof scratch.folder) < 0)
            _exit(1);
        pause();
    }
    assert_true(read(pipe_fd[0], folder, size) == (ssize_t)size);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    clean();
    assert_true(is_there(folder));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_killed_process_leaves_nothing_for_long(void **state)
{
    (void)state;
    sq_scratch left = {.folder = ""};
    leave_one(left.folder, sizeof left.folder);
    assert_true(is_there(left.folder));
    clean();
    assert_false(is_there(left.folder));
}

/* A folder without a lock is one that is being made, unless it is old. */
static void a_folder_without_a_lock_has_a_minute(void **state)
{
    (void)state;
    sq_scratch scratch = open_one();
    char lock[300], *slash = strrchr(scratch.folder, '/');
    char young[300];
    snprintf(young, sizeof young, "%.*s/seqmark-peer-%ld-young", (int)(slash - scratch.folder),
             scratch.folder, (long)getpid());
    assert_int_equal(mkdir(young, 0700), 0);
    clean();
    assert_true(is_there(young));
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 120}, {.tv_sec = time(NULL) - 120}};
    assert_int_equal(utimensat(-1, young, old, 0), 0);
    clean();
    assert_false(is_there(young));
    snprintf(lock, sizeof lock, "%s/.lock", scratch.folder);
    assert_true(is_there(lock));
    sq_scratch_close(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_user_may_enter),
        cmocka_unit_test(a_held_folder_stays_whoever_its_name_says),
        cmocka_unit_test(a_killed_process_leaves_nothing_for_long),
        cmocka_unit_test(a_folder_without_a_lock_has_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
