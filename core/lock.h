/* lock: one holder at a time, by flock on a file whose text names the holder.
 *
 * The kernel releases the lock when its holder dies, so a file left by a crash locks nothing. It
 * holds within one machine, and on network file systems that implement flock. */
#ifndef SQ_CORE_LOCK_H
#define SQ_CORE_LOCK_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_LOCK_HOLDER = 512 };

/* Locks the file `name`, which is made where it is not there, and writes `holder` into it. Waits at
 * most wait_ms: where another process holds it then, *fd is -1 and `who` is what that one wrote. */
sq_status sq_lock_take(const char *name, const char *holder, int wait_ms, int *fd,
                       char who[SQ_LOCK_HOLDER], sq_error *err);
/* Both accept -1. The first leaves the file; the second removes it while it is still held. */
void sq_lock_release(int fd);
void sq_lock_remove(const char *name, int fd);

#ifdef __cplusplus
}
#endif
#endif
