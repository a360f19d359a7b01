/* grow: arrays that are filled one by one. */
#ifndef SQ_CORE_GROW_H
#define SQ_CORE_GROW_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for one more element behind `count` in an array that doubles when its count is a power of two.
 * array: address of the pointer to it (NULL while count is 0). False, and the array as it was: no
 * memory. */
bool sq_grow(void *array, int count, size_t size);

#ifdef __cplusplus
}
#endif
#endif
