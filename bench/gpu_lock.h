/* gpu_lock: one campaign at a time on a GPU of this machine, whoever runs it and into whatever
 * store: two that share a GPU time each other.
 *
 * The lock is a file of $SEQMARK_LOCK_DIR, else /run/lock, else /tmp, named by the GPU. Containers
 * that have their own copies of these folders do not see each other's. */
#ifndef SQ_BENCH_GPU_LOCK_H
#define SQ_BENCH_GPU_LOCK_H

#include "core/record.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Holds the GPU until sq_gpu_lock_drop(*fd) or the end of this process. `command`: what it is held
 * for, in the message of who is refused. *fd is -1 for a CPU, and where a process that started this
 * one holds the GPU (a kept binary that the nightly runs): processes started from now on may use
 * it. SQ_DEVICE: somebody else holds it, and goes on to for SQ_GPU_LOCK_MS. */
enum { SQ_GPU_LOCK_MS = 3000 };
#define SQ_GPU_HELD "SEQMARK_GPU_HELD" /* in the environment of those: the GPU's uuid */
sq_status sq_gpu_lock_take(const sq_device *device, const char *command, int *fd, sq_error *err);
void sq_gpu_lock_drop(int fd); /* accepts -1 */

#ifdef __cplusplus
}
#endif
#endif
