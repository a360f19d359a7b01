/* paths: where this program and its second executable are. */
#ifndef SQ_BENCH_PATHS_H
#define SQ_BENCH_PATHS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The path of the running executable, and its folder; false where /proc does not tell. */
bool sq_program_path(char *out, size_t size);
bool sq_program_folder(char *out, size_t size);

/* The CUDA worker: $SEQMARK_WORKER, else seqmark-worker beside the executable, else on PATH. */
bool sq_cuda_worker_path(char *out, size_t size);

/* libseqmark_time.so, which adapters of peers load: $SEQMARK_TIME_LIBRARY, else beside the executable,
 * else in the installed tree's library folder. False, and *out empty: there is none. */
bool sq_time_library_path(char *out, size_t size);

/* An executable called `name` on PATH. */
bool sq_find_program(const char *name, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
