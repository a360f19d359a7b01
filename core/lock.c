/* lock: see the header. */
#include "core/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* In folders for all (/tmp) a file of somebody else may not be opened with O_CREAT
 * (fs.protected_regular), so that is asked for only where there is none. */
static int open_or_make(const char *name)
{
    for (;;) {
        int fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 || errno != ENOENT)
            return fd;
        fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
}

/* Whether `name` still is the file behind fd: its last holder may have removed it in between. */
static bool is_same_file(int fd, const char *name)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(name, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

static void write_holder(int fd, const char *holder)
{
    /* For people only; an empty file locks as well. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, holder, strlen(holder), 0) < 0)
        return;
}

static void read_holder(int fd, char who[SQ_LOCK_HOLDER])
{
    ssize_t n = pread(fd, who, SQ_LOCK_HOLDER - 1, 0);
    who[n > 0 ? n : 0] = 0;
    who[strcspn(who, "\n")] = 0;
}

/* One try. *fd is -1 where another process holds the lock. */
static sq_status try_once(const char *name, const char *holder, int *fd, char who[SQ_LOCK_HOLDER],
                          sq_error *err)
{
    *fd = open_or_make(name);
    if (*fd < 0)
        return sq_fail(err, SQ_IO, "cannot lock: %s: %s", name, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) {
        if (is_same_file(*fd, name)) {
            write_holder(*fd, holder);
            return SQ_OK;
        }
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
        int reason = errno;
        close(*fd);
        *fd = -1;
        return sq_fail(err, SQ_IO, "cannot lock: %s: %s", name, strerror(reason));
    } else {
        read_holder(*fd, who);
    }
    close(*fd);
    *fd = -1;
    return SQ_OK;
}

sq_status sq_lock_take(const char *name, const char *holder, int wait_ms, int *fd,
                       char who[SQ_LOCK_HOLDER], sq_error *err)
{
    enum { STEP_MS = 50 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    who[0] = 0;
    sq_status status = try_once(name, holder, fd, who, err);
    for (int waited = 0; status == SQ_OK && *fd < 0 && waited < wait_ms; waited += STEP_MS) {
        nanosleep(&step, NULL);
        status = try_once(name, holder, fd, who, err);
    }
    return status;
}

void sq_lock_release(int fd)
{
    if (fd < 0)
        return;
    write_holder(fd, "");
    close(fd);
}

void sq_lock_remove(const char *name, int fd)
{
    if (fd < 0)
        return;
    unlink(name); /* while it is still held: nobody can have locked this name meanwhile */
    close(fd);
}
