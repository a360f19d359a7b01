/* tree: copies of the installed program, each under the hash of its content: what a baseline was
 * measured with, to be run again beside tonight's (bin/, lib/, share/ as `cmake --install` makes
 * them; the CUDA libraries are the system's and are not copied). */
#ifndef SQ_BENCH_TREE_H
#define SQ_BENCH_TREE_H

#include <stdbool.h>

#include "core/cell.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Copies the running program with its worker, library, suites and adapters to `trees`/HASH, or finds
 * that it is there already. A copy that fails or is killed leaves nothing under that name. One
 * process at a time may call this for a folder. */
sq_status sq_tree_keep(const char *trees, char hash[SQ_HASH_TEXT], sq_error *err);

/* The hash of the tree's files: names, which can be executed, bytes. SQ_IO: it cannot be read. */
sq_status sq_tree_hash(const char *tree, char hash[SQ_HASH_TEXT], sq_error *err);

/* Removes from `trees` every tree (and every unfinished one) whose hash `uses` denies, and the
 * folder where nothing is left in it. The number removed. */
int sq_tree_sweep(const char *trees, bool (*uses)(void *self, const char *hash), void *self);

#ifdef __cplusplus
}
#endif
#endif
