/* scratch: see scratch.h. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "bench/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/text.h"

static const char stem[] = "seqmark-peer-";

static int remove_entry(const char *path, const struct stat *file, int kind, struct FTW *place)
{
    (void)file, (void)kind, (void)place;
    return remove(path);
}

static void remove_folder(const char *folder)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Folders are named after their process, so that the next one knows which are nobody's. */
static void remove_left(const char *place)
{
    DIR *dir = opendir(place);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        char path[1024], *end;
        if (strncmp(e->d_name, stem, sizeof stem - 1) != 0)
            continue;
        long pid = strtol(e->d_name + sizeof stem - 1, &end, 10);
        if (pid <= 0 || *end != '-' || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof path, "%s/%s", place, e->d_name);
        remove_folder(path);
    }
    if (dir)
        closedir(dir);
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
    if (mkdtemp(out->folder))
        return true;
    out->folder[0] = 0;
    return false;
}

sq_status sq_scratch_open(size_t bytes, sq_scratch *out, sq_error *err)
{
    char need[32];
    *out = (sq_scratch){.folder = ""};
    if (open_in("/dev/shm", bytes, out) || open_in(getenv("TMPDIR"), bytes, out) ||
        open_in("/tmp", bytes, out))
        return SQ_OK;
    sq_format_bytes((double)bytes, need, sizeof need);
    return sq_fail(err, SQ_IO, "no room for %s of outputs in /dev/shm, $TMPDIR or /tmp", need);
}

void sq_scratch_close(sq_scratch *scratch)
{
    if (scratch->folder[0])
        remove_folder(scratch->folder);
    scratch->folder[0] = 0;
}
