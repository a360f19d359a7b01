/* scratch: a private folder for files that live for one exchange, in memory where there is room. */
#ifndef SQ_BENCH_SCRATCH_H
#define SQ_BENCH_SCRATCH_H

#include <stddef.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char folder[256]; /* "" where there is none */
    int lock;         /* its file ".lock", locked (flock) as long as the folder is somebody's */
} sq_scratch;

/* Makes a folder that only this user may enter, with `bytes` free around it: in /dev/shm, else in
 * $TMPDIR, else in /tmp. Folders that killed processes left there are removed: those whose lock is
 * free. Process ids could not tell: containers that share /dev/shm have other ones. */
sq_status sq_scratch_open(size_t bytes, sq_scratch *out, sq_error *err);
/* Removes the folder and all that is in it. */
void sq_scratch_close(sq_scratch *scratch);

/* Removes any folder with all that is in it; what cannot be removed stays. */
void sq_remove_folder(const char *folder);

#ifdef __cplusplus
}
#endif
#endif
