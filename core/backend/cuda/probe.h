/* probe: the loops that find the ceilings of a CUDA device, as C sees them, and the table of them.
 *
 * Every launcher enqueues on `stream`. `blocks`: of the grid. Words are 32 bits; the pattern of a
 * buffer is word i = i, whose sum modulo 2^32 is known without reading it.
 */
#ifndef SQ_CORE_BACKEND_CUDA_PROBE_H
#define SQ_CORE_BACKEND_CUDA_PROBE_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include "core/backend/probe.h"

#ifdef __CUDACC__
#define SQ_PROBE_FN static __host__ __device__ __forceinline__
#else
#define SQ_PROBE_FN static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

extern const sq_probe sq_cuda_probes[]; /* ends with a NULL name */

enum { SQ_PROBE_THREADS = 256 };

/* --- memory: probe_memory.cu. bytes are multiples of SQ_PROBE_TILE. --- */

enum { SQ_PROBE_TILE = SQ_PROBE_THREADS * 8 * 16 };

/* How a thread goes through memory. in_flight: 16-byte words that it asks for before it uses the
 * first: 2, 4 or 8. */
typedef struct {
    int blocks, in_flight;
} sq_probe_walk;

cudaError_t sq_probe_pattern(void *data, size_t bytes, cudaStream_t stream);
cudaError_t sq_probe_copy(void *to, const void *from, size_t bytes, sq_probe_walk walk,
                          cudaStream_t stream);
/* Adds the sum of all words to *sum; the second goes `rounds` times over the buffer, past L1. Its
 * bytes need only be a multiple of its own tile: SQ_PROBE_THREADS * 16 * in_flight. */
cudaError_t sq_probe_read(const void *data, size_t bytes, sq_probe_walk walk, uint32_t *sum,
                          cudaStream_t stream);
cudaError_t sq_probe_read_l2(const void *data, size_t bytes, int rounds, sq_probe_walk walk,
                             uint32_t *sum, cudaStream_t stream);
cudaError_t sq_probe_write(void *data, size_t bytes, sq_probe_walk walk, cudaStream_t stream);
/* a = b + 2 c over floats; sq_probe_triad_inputs draws b and c so that every sum is exact. */
cudaError_t sq_probe_triad(float *a, const float *b, const float *c, size_t bytes,
                           sq_probe_walk walk, cudaStream_t stream);
cudaError_t sq_probe_triad_inputs(float *b, float *c, size_t bytes, cudaStream_t stream);
/* Adds the number of wrong elements to *wrong. */
cudaError_t sq_probe_triad_check(const float *a, size_t bytes, uint32_t *wrong,
                                 cudaStream_t stream);

/* --- latency, arithmetic, atomics: probe_core.cu --- */

enum { SQ_CHASE_LINE = 128 }; /* bytes between the pointers of a ring */

/* Element i of `count` (a power of two) points to element (a i + c) mod count, a ring over all of
 * them: see sq_probe_next. */
cudaError_t sq_probe_ring(void *data, uint32_t count, cudaStream_t stream);
SQ_PROBE_FN uint32_t sq_probe_next(uint32_t i, uint32_t count)
{
    return (i * 1664525u + 1013904223u) & (count - 1);
}
/* One thread follows `steps` pointers from the first; *end: index of where it stops. */
cudaError_t sq_probe_chase(void *data, int steps, int through_l1, uint32_t *end,
                           cudaStream_t stream);
/* The same in shared memory, over `count` words of a block. */
cudaError_t sq_probe_chase_shared(uint32_t count, int steps, uint32_t *end, cudaStream_t stream);

cudaError_t sq_probe_empty(cudaStream_t stream);
/* Work of one launch over a grid of `blocks`; each adds what went wrong to *wrong. */
enum {
    SQ_FMA_STEPS = 1 << 13, /* of SQ_FMA_CHAINS chains in each thread */
    SQ_FMA_CHAINS = 16,
    SQ_EX2_STEPS = 1 << 11,
    SQ_EX2_CHAINS = 8,
    SQ_SHARED_ROUNDS = 1 << 9, /* over the SQ_SHARED_BYTES of a block */
    SQ_SHARED_BYTES = 16 << 10,
    SQ_ATOMIC_STEPS = 1 << 8 /* of each thread */
};
cudaError_t sq_probe_fma(int blocks, uint32_t *wrong, cudaStream_t stream);
cudaError_t sq_probe_ex2(int blocks, uint32_t *wrong, cudaStream_t stream);
/* Adds the sum of all words read. */
cudaError_t sq_probe_shared_read(int blocks, uint32_t *sum, cudaStream_t stream);
/* Thread t adds 1 to counter[t * stride], SQ_ATOMIC_STEPS times. */
cudaError_t sq_probe_atomic(int blocks, uint32_t *counter, int stride, cudaStream_t stream);
/* Thread t of a block adds 1 to a counter of its own; *wrong: counters that end wrong. */
cudaError_t sq_probe_atomic_shared(int blocks, uint32_t *wrong, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
