/* scratch: see scratch.h. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "bench/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/text.h"

static const char stem[] = "seqmark-peer-", lock_name[] = ".lock";
enum { SECONDS_TO_LOCK = 60 };

static int remove_entry(const char *path, const struct stat *file, int kind, struct FTW *place)
{
    (void)file, (void)kind, (void)place;
    return remove(path);
}

void sq_remove_folder(const char *folder)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* A folder without a lock is being made, or its maker was killed just then. */
static bool is_old(const char *folder)
{
    struct stat made;
    return lstat(folder, &made) == 0 && difftime(time(NULL), made.st_mtime) > SECONDS_TO_LOCK;
}

static bool is_nobodys(const char *folder)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", folder, lock_name);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT && is_old(folder);
    bool is_free = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd); /* who lost its folder's lock does not get it back, so nobody takes it meanwhile */
    return is_free;
}

static void remove_left(const char *place)
{
    DIR *dir = opendir(place);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        char path[1024];
        if (strncmp(e->d_name, stem, sizeof stem - 1) != 0)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", place, e->d_name);
        if (n < (int)sizeof path && is_nobodys(path))
            sq_remove_folder(path);
    }
    if (dir)
        closedir(dir);
}

/* The lock gets its name when it is held, so that nobody finds it free meanwhile. -1 where the file
 * system has no locks. */
static int take_lock(const char *folder)
{
    char made[300], path[300];
    snprintf(made, sizeof made, "%s/.made", folder);
    snprintf(path, sizeof path, "%s/%s", folder, lock_name);
    int fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) == 0 && rename(made, path) == 0))
        return fd;
    close(fd);
    return -1;
}

static bool has_room(const char *place, size_t bytes)
{
    struct statvfs disk;
    return statvfs(place, &disk) == 0 && access(place, W_OK) == 0 &&
           (double)disk.f_bavail * (double)disk.f_frsize > 1.05 * (double)bytes + (1 << 20);
}

static bool open_in(const char *place, size_t bytes, sq_scratch *out)
{
    if (!place || !*place || strlen(place) > sizeof out->folder - 40 || !has_room(place, bytes))
        return false;
    remove_left(place);
    snprintf(out->folder, sizeof out->folder, "%s/%s%ld-XXXXXX", place, stem, (long)getpid());
    bool is_made = mkdtemp(out->folder) != NULL;
    out->lock = is_made ? take_lock(out->folder) : -1;
    if (out->lock >= 0)
        return true;
    if (is_made)
        sq_remove_folder(out->folder);
    out->folder[0] = 0;
    return false;
}

sq_status sq_scratch_open(size_t bytes, sq_scratch *out, sq_error *err)
{
    char need[32];
    *out = (sq_scratch){.folder = "", .lock = -1};
    if (open_in("/dev/shm", bytes, out) || open_in(getenv("TMPDIR"), bytes, out) ||
        open_in("/tmp", bytes, out))
        return SQ_OK;
    sq_format_bytes((double)bytes, need, sizeof need);
    return sq_fail(err, SQ_IO, "no room for %s of outputs in /dev/shm, $TMPDIR or /tmp", need);
}

void sq_scratch_close(sq_scratch *scratch)
{
    if (scratch->folder[0]) {
        sq_remove_folder(scratch->folder);
        close(scratch->lock);
    }
    scratch->folder[0] = 0;
}
