#include "core/grow.h"

#include <stdlib.h>
#include <string.h>

bool sq_grow(void *array, int count, size_t size)
{
    void *old;
    if (count > 0 && (count & (count - 1)) != 0)
        return true;
    memcpy(&old, array, sizeof old); /* whatever type it points to */
    void *grown = realloc(old, (count ? 2 * (size_t)count : 1) * size);
    if (grown)
        memcpy(array, &grown, sizeof grown);
    return grown != NULL;
}
