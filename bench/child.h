/* child: a question that is asked in a process of its own: without a driver some calls of its
 * libraries crash. */
#ifndef SQ_BENCH_CHILD_H
#define SQ_BENCH_CHILD_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes an answer of at most `size` bytes; how many. */
typedef size_t (*sq_child_fn)(const void *arg, void *out, size_t size);

/* What the child writes into `out`, of `size` bytes and at most a pipe's capacity; 0: it crashed,
 * hung or has nothing to say. */
size_t sq_ask_child(sq_child_fn answer, const void *arg, void *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
