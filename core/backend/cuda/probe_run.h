/* probe_run: what the host parts of the CUDA probes share. Not for other modules. */
#ifndef SQ_CORE_BACKEND_CUDA_PROBE_RUN_H
#define SQ_CORE_BACKEND_CUDA_PROBE_RUN_H

#include "core/backend/cuda/device.h"
#include "core/backend/cuda/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    sq_probe_run run;
    const sq_probe *probe;
    sq_backend_device *device;
    const sq_device *facts;
    cudaStream_t stream;
    int variant;
    size_t bytes;    /* that a launch goes over */
    void *buffer[3]; /* on this device */
    void *host;      /* pinned */
    void *far;       /* on another device */
    int far_device;  /* its number */
    cudaGraphExec_t graph;
    uint32_t *result;  /* one word on the device: a sum, an end, a count of wrong ones */
    uint32_t launches; /* since *result was zeroed */
} sq_cuda_run;

/* A run with its result word, nothing else. */
sq_status sq_cuda_run_new(const sq_probe *probe, sq_backend_device *device, void *stream,
                          sq_cuda_run **out, sq_error *err);
void sq_cuda_run_close(sq_probe_run *run);
/* Ends open(): passes `run` on, or closes it after a failure. */
sq_status sq_cuda_run_opened(sq_cuda_run *run, sq_status status, sq_probe_run **out, sq_error *err);

sq_status sq_cuda_run_alloc(sq_cuda_run *run, int buffers, size_t bytes, sq_error *err);
/* Zeroes the result and the count of launches. */
sq_status sq_cuda_run_reset(sq_cuda_run *run, sq_error *err);
sq_status sq_cuda_run_result(sq_cuda_run *run, uint32_t *out, sq_error *err);
/* SQ_MISMATCH unless *result is `expected`. */
sq_status sq_cuda_run_expect(sq_cuda_run *run, uint32_t expected, sq_error *err);

/* Sum of the pattern over `bytes`, modulo 2^32. */
uint32_t sq_pattern_sum(size_t bytes);

/* Of the table in probe.c. Device memory and links: probe_bandwidth.c. */
enum { SQ_ID_COPY, SQ_ID_READ, SQ_ID_WRITE, SQ_ID_TRIAD };
sq_status sq_stream_open(const sq_probe *, sq_backend_device *, void *, sq_probe_run **,
                         sq_error *);
sq_status sq_stream_choose(sq_probe_run *, int variant, sq_error *);
sq_status sq_stream_launch(sq_probe_run *, sq_error *);
sq_status sq_stream_check(sq_probe_run *, sq_error *);
sq_status sq_l2_open(const sq_probe *, sq_backend_device *, void *, sq_probe_run **, sq_error *);
sq_status sq_l2_choose(sq_probe_run *, int variant, sq_error *);
sq_status sq_l2_launch(sq_probe_run *, sq_error *);
sq_status sq_l2_check(sq_probe_run *, sq_error *);
enum { SQ_ID_TO_DEVICE, SQ_ID_TO_HOST, SQ_ID_TO_PEER };
sq_status sq_link_open(const sq_probe *, sq_backend_device *, void *, sq_probe_run **, sq_error *);
sq_status sq_link_launch(sq_probe_run *, sq_error *);
sq_status sq_link_check(sq_probe_run *, sq_error *);

/* Latency, arithmetic, shared memory, atomics: probe_units.c. */
enum { SQ_ID_L1, SQ_ID_SHARED, SQ_ID_L2, SQ_ID_DRAM };
sq_status sq_chase_open(const sq_probe *, sq_backend_device *, void *, sq_probe_run **, sq_error *);
sq_status sq_chase_launch(sq_probe_run *, sq_error *);
sq_status sq_chase_check(sq_probe_run *, sq_error *);
enum {
    SQ_ID_FMA,
    SQ_ID_EX2,
    SQ_ID_SHARED_READ,
    SQ_ID_ATOMIC_SAME,
    SQ_ID_ATOMIC_DISTINCT,
    SQ_ID_ATOMIC_SHARED
};
sq_status sq_unit_open(const sq_probe *, sq_backend_device *, void *, sq_probe_run **, sq_error *);
sq_status sq_unit_launch(sq_probe_run *, sq_error *);
sq_status sq_unit_check(sq_probe_run *, sq_error *);

/* Launches: probe_launch.c. */
enum { SQ_ID_PLAIN, SQ_ID_GRAPH, SQ_ID_ROUND_TRIP };
sq_status sq_empty_open(const sq_probe *, sq_backend_device *, void *, sq_probe_run **, sq_error *);
sq_status sq_empty_launch(sq_probe_run *, sq_error *);
sq_status sq_empty_check(sq_probe_run *, sq_error *);

#ifdef __cplusplus
}
#endif
#endif
