/* library: shared libraries that may be absent. Internal to profile/. */
#ifndef SQ_PROFILE_LIBRARY_H
#define SQ_PROFILE_LIBRARY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens `name` by the loader's own search, then in the usual folders of the CUDA toolkit. NULL
 * where it is nowhere; `why` (of `size` bytes) then holds the loader's last word. */
void *sq_library_open(const char *name, char *why, size_t size);

/* Writes the address of a function into *function (a function pointer); 0 where there is none. */
int sq_library_find(void *library, const char *symbol, void *function);

#ifdef __cplusplus
}
#endif
#endif
