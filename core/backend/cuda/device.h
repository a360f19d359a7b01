/* device: the kernels of the CUDA backend, as C sees them. Each enqueues on `stream`. */
#ifndef SQ_CORE_BACKEND_CUDA_DEVICE_H
#define SQ_CORE_BACKEND_CUDA_DEVICE_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rng.h"
#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a failed call of the runtime is to the harness; clears what is not sticky. */
sq_status sq_cuda_status(cudaError_t code, const char *what, sq_error *err);

/* Draws a view (sq_rng_fill). */
cudaError_t sq_cuda_fill(const sq_tensor *view, int64_t base, sq_draw draw, uint64_t seed,
                         uint32_t id, cudaStream_t stream);

/* Packs elements [first, first + count) of a strided view, in row-major order, into `to`. */
cudaError_t sq_cuda_pack(const sq_tensor *view, int64_t first, int64_t count, void *to,
                         cudaStream_t stream);

/* Adds the checksum of `bytes` bytes (core/rng.h) to *sum, which lies on the device. */
cudaError_t sq_cuda_checksum(const void *data, size_t bytes, unsigned long long *sum,
                             cudaStream_t stream);

/* Copies; both pointers 16-byte aligned, a tail of bytes % 16 is copied too. */
cudaError_t sq_cuda_copy(void *to, const void *from, size_t bytes, cudaStream_t stream);

/* Writes, then reads, all of `data` (16-byte aligned, bytes a multiple of 16). `sink` keeps the
 * reads alive: one word that is never written in practice. */
cudaError_t sq_cuda_sweep(void *data, size_t bytes, unsigned *sink, cudaStream_t stream);

/* Host memory that the device reads and writes. */
typedef struct {
    int is_released; /* by the host: it has enqueued everything */
    int is_late;     /* by the device: the limit came first */
} sq_cuda_hold_state;

/* Holds the stream until state->is_released, but never longer than limit_ns: what is enqueued
 * meanwhile runs without host gaps. */
cudaError_t sq_cuda_hold(sq_cuda_hold_state *state, unsigned long long limit_ns,
                         cudaStream_t stream);

/* One thread that does nothing for `ns`. */
cudaError_t sq_cuda_spin(unsigned long long ns, cudaStream_t stream);

/* One SM's cycle counter and the global timer, read together at a step of the timer; both 0 where
 * no block ran on it. */
typedef struct {
    unsigned long long cycles, ns;
} sq_cuda_stamp;

enum { SQ_CUDA_MAX_SMS = 512 };

/* Writes stamps[SM] for the SMs that its blocks land on, nearly all; the array has SQ_CUDA_MAX_SMS.
 * */
cudaError_t sq_cuda_stamp_sms(sq_cuda_stamp *stamps, int sm_count, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
