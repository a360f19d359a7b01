/* lock: one writer at a time.
 *
 * SQLite's own locks are held for one transaction; a campaign is thousands. The lock is flock on a
 * file beside the store, not on the store: closing any descriptor of the store would drop SQLite's
 * POSIX locks of this process. The kernel releases it when its holder dies, so a file left by a
 * crash locks nothing. */
#include "db/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/text.h"

static char *lock_path(const char *path)
{
    sq_text text = {0};
    sq_text_printf(&text, "%s-lock", path);
    if (!text.is_failed)
        return text.data;
    sq_text_free(&text);
    return NULL;
}

/* Whether `name` still is the file behind fd: its last holder may have removed it in between. */
static bool is_same_file(int fd, const char *name)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(name, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

static void write_holder(int fd)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* For people only; an empty file locks as well. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) < 0)
        return;
}

static long read_holder(int fd)
{
    char text[32] = "";
    return pread(fd, text, sizeof text - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

/* One try. *fd is -1 where another process holds the lock; *holder is then its id, or 0. */
static sq_status try_lock(const char *path, const char *name, int *fd, long *holder, sq_error *err)
{
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0)
        return sq_fail(err, SQ_IO, "%s: cannot lock for writing: %s: %s", path, name,
                       strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) {
        if (is_same_file(*fd, name)) {
            write_holder(*fd);
            return SQ_OK;
        }
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
        int reason = errno;
        close(*fd);
        *fd = -1;
        return sq_fail(err, SQ_IO, "%s: cannot lock for writing: %s", path, strerror(reason));
    } else {
        *holder = read_holder(*fd);
    }
    close(*fd);
    *fd = -1;
    return SQ_OK;
}

sq_status sq_db_lock(const char *path, int *fd, sq_error *err)
{
    enum { STEP_MS = 50 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    char *name = lock_path(path);
    if (!name)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", path);
    long holder = 0;
    sq_status status = try_lock(path, name, fd, &holder, err);
    for (int waited = 0; status == SQ_OK && *fd < 0 && waited < SQ_DB_BUSY_MS; waited += STEP_MS) {
        nanosleep(&step, NULL);
        status = try_lock(path, name, fd, &holder, err);
    }
    if (status == SQ_OK && *fd < 0)
        status = sq_fail(err, SQ_STORE,
                         "%s: locked by another process (%ld) that writes to it; wait for it, or "
                         "give another --db",
                         path, holder);
    free(name);
    return status;
}

void sq_db_unlock(const char *path, int fd)
{
    if (fd < 0)
        return;
    char *name = lock_path(path);
    if (name) /* while it is still held: nobody can have locked this name meanwhile */
        unlink(name);
    free(name);
    close(fd);
}
