/* target: the device that a campaign measures, and how its workers are started. */
#ifndef SQ_BENCH_TARGET_H
#define SQ_BENCH_TARGET_H

#include "bench/catalog.h"
#include "bench/client.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char name[16];      /* what --device takes: "cpu", "0" */
    char program[1024]; /* the worker's executable */
    const char *argv[5];
    sq_device device;
    sq_environment environment;
    sq_catalog catalog;
    char note[400]; /* why the CPU was taken where nothing was asked for; else empty */
    bool is_held;   /* by sq_target_hold */
    int lock_fd;
} sq_target;

/* Starts a worker once to hear its hello. device: "cpu", "0", "1" ...; NULL: the first CUDA device,
 * else the CPU with a note that says why. SQ_DEVICE: the device asked for is not there.
 * Zero-initialise *out before; sq_target_close it also after a failure. */
sq_status sq_target_open(const char *device, sq_target *out, sq_error *err);
void sq_target_close(sq_target *target);
/* The same device by the program of another tree (bin/seqmark-worker, of a CPU bin/seqmark). */
sq_status sq_target_open_tree(const sq_target *like, const char *tree, sq_target *out,
                              sq_error *err);
/* Keeps other campaigns from the GPU until sq_target_close (bench/gpu_lock.h). */
sq_status sq_target_hold(sq_target *target, const char *command, sq_error *err);

sq_status sq_target_start_worker(const sq_target *target, sq_client **out, sq_error *err);
/* A worker of the CPU backend, whatever the target is: this program again. */
sq_status sq_target_start_cpu_worker(sq_client **out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
