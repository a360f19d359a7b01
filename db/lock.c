/* lock: one writer at a time.
 *
 * SQLite's own locks are held for one transaction; a campaign is thousands. The lock is a file
 * beside the store, not the store: closing any descriptor of the store would drop SQLite's POSIX
 * locks of this process. */
#include "db/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/lock.h"
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

sq_status sq_db_lock(const char *path, int *fd, sq_error *err)
{
    char holder[32], who[SQ_LOCK_HOLDER];
    sq_error why = {.status = SQ_OK};
    char *name = lock_path(path);
    if (!name)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: out of memory", path);
    snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
    sq_status status = sq_lock_take(name, holder, SQ_DB_BUSY_MS, fd, who, &why);
    free(name);
    if (status != SQ_OK)
        return sq_fail(err, status, "%s: cannot write: %s", path, why.message);
    if (*fd < 0)
        return sq_fail(err, SQ_TIMEOUT,
                       "%s: locked by another process (%.20s) that writes to it; wait for it, or "
                       "give another --db",
                       path, who);
    return SQ_OK;
}

void sq_db_unlock(const char *path, int fd)
{
    char *name = fd >= 0 ? lock_path(path) : NULL;
    if (name)
        sq_lock_remove(name, fd);
    else
        sq_lock_release(fd);
    free(name);
}
