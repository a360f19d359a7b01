/* gpu_lock: see the header. */
#include "bench/gpu_lock.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/lock.h"

static const char *lock_folder(void)
{
    static const char shared[] = "/run/lock";
    const char *told = getenv("SEQMARK_LOCK_DIR");
    if (told && *told)
        return told;
    return access(shared, W_OK | X_OK) == 0 ? shared : "/tmp";
}

static void lock_name(const sq_device *device, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/seqmark-%s.lock", lock_folder(), device->uuid);
    for (char *c = strrchr(out, '/') + 1; n > 0 && *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
            *c = '_';
}

static void describe_self(const char *command, char out[SQ_LOCK_HOLDER])
{
    char since[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    snprintf(out, SQ_LOCK_HOLDER, "process %ld since %s: %.400s\n", (long)getpid(), since, command);
}

sq_status sq_gpu_lock_take(const sq_device *device, const char *command, int *fd, sq_error *err)
{
    char name[512], self[SQ_LOCK_HOLDER], who[SQ_LOCK_HOLDER];
    const char *ours = getenv(SQ_GPU_HELD);
    *fd = -1;
    if (strcmp(device->backend, "cuda") != 0 || (ours && strcmp(ours, device->uuid) == 0))
        return SQ_OK;
    lock_name(device, name, sizeof name);
    describe_self(command, self);
    SQ_TRY(sq_lock_take(name, self, SQ_GPU_LOCK_MS, fd, who, err));
    if (*fd < 0)
        return sq_fail(err, SQ_DEVICE, "GPU %d (%s) is in use by %.300s", device->index,
                       device->name, who[0] ? who : "another seqmark");
    fchmod(*fd, 0666); /* for other users, whatever our umask is; fails where the file is theirs */
    setenv(SQ_GPU_HELD, device->uuid, 1);
    return SQ_OK;
}

void sq_gpu_lock_drop(int fd)
{
    if (fd < 0)
        return;
    unsetenv(SQ_GPU_HELD);
    sq_lock_release(fd);
}
