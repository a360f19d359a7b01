/* context: an open CUDA device, as the host files of this backend share it. */
#ifndef SQ_CORE_BACKEND_CUDA_CONTEXT_H
#define SQ_CORE_BACKEND_CUDA_CONTEXT_H

#include "core/backend/backend.h"
#include "core/backend/cuda/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Arrays of stamps: before and after a sample, before and after a run of samples. */
typedef enum {
    SQ_CUDA_SAMPLE_START,
    SQ_CUDA_SAMPLE_STOP,
    SQ_CUDA_RUN_START,
    SQ_CUDA_RUN_STOP,
    SQ_CUDA_STAMP_SETS
} sq_cuda_stamp_set;
enum { SQ_CUDA_STAMP_BYTES = SQ_CUDA_MAX_SMS * sizeof(sq_cuda_stamp) }; /* of one array */

struct sq_backend_device {
    sq_device facts;
    cudaStream_t stream;
    bool is_foreign; /* the stream is the caller's */
    cudaEvent_t start, stop;
    void *sweep;   /* read and written between samples */
    void *dirty;   /* NULL until the first dirty-cold sample */
    void *staging; /* on the device, for packing views */
    void *scratch; /* one 64-bit word: a checksum, or the sink of the sweep */
    void *stamps;  /* SQ_CUDA_STAMP_SETS arrays */
    void *hold;    /* sq_cuda_hold_state in host memory that the device sees */
    size_t sweep_bytes;
};

/* Waits for the stream, and returns what launches left behind. */
sq_status sq_cuda_sync(sq_backend_device *device, sq_error *err);
/* Copies to the host, and waits. */
sq_status sq_cuda_fetch(sq_backend_device *device, void *host, const void *data, size_t bytes,
                        sq_error *err);
/* Enqueues a stamp on every SM. */
sq_status sq_cuda_put_stamp(sq_backend_device *device, sq_cuda_stamp_set which, sq_error *err);

/* sq_backend's functions of these names. */
sq_status sq_cuda_cool(sq_backend_device *device, sq_error *err);
sq_status sq_cuda_sample(sq_backend_device *device, const sq_sample_request *request,
                         sq_sample *out, sq_error *err);
sq_status sq_cuda_capture(sq_backend_device *device, sq_launch_fn launch, void *arg, int launches,
                          void **graph, sq_error *err);
sq_status sq_cuda_replay(sq_backend_device *device, void *graph, sq_error *err);
void sq_cuda_discard(sq_backend_device *device, void *graph);
sq_status sq_cuda_clock_start(sq_backend_device *device, sq_error *err);
sq_status sq_cuda_clock_stop(sq_backend_device *device, double *mhz, sq_error *err);
sq_status sq_cuda_idle(sq_backend_device *device, double ns, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
