/* hash: 64-bit FNV-1a (Fowler, Noll, Vo; draft-eastlake-fnv), piece by piece. Names content; no
 * defence against anybody. */
#ifndef SQ_CORE_HASH_H
#define SQ_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

static const uint64_t sq_hash_start = 0xcbf29ce484222325u;

/* The hash of what was hashed before, and then these bytes. */
uint64_t sq_hash_add(uint64_t hash, const void *data, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
