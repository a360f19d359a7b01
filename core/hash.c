#include "core/hash.h"

uint64_t sq_hash_add(uint64_t hash, const void *data, size_t bytes)
{
    for (const unsigned char *p = data, *end = p + bytes; p < end; p++)
        hash = (hash ^ *p) * 0x100000001b3u;
    return hash;
}
