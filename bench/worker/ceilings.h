/* ceilings: what the device can do at most, measured: copy bandwidth and matrix products.
 *
 *   copy_gbytes_per_s  GB/s     bytes read plus written by a device copy far larger than the cache
 *   gemm_bf16_tflops   TFLOP/s  a square product by the vendor library; tensor cores
 *   gemm_f32_tflops    TFLOP/s  the same in f32 without TF32; SIMT
 * The last two are absent where the device has no vendor provider of `linear`.
 */
#ifndef SQ_BENCH_WORKER_CEILINGS_H
#define SQ_BENCH_WORKER_CEILINGS_H

#include "bench/worker/job.h"
#include "bench/worker/measure.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_CEILINGS = 8 };

typedef struct {
    int n;
    sq_ceiling ceiling[SQ_MAX_CEILINGS];
} sq_ceilings;

sq_status sq_ceilings_measure(const sq_rig *rig, sq_alive_fn alive, void *alive_arg,
                              sq_ceilings *out, sq_error *err);

/* The least time that the cost can take under the ceilings, in ns: the largest of bytes over copy,
 * matrix and other flops over the products, and special functions over 16 a clock and SM. NAN where
 * no ceiling is known. */
double sq_ceilings_floor_ns(const sq_ceilings *ceilings, const sq_device *device, sq_dtype dtype,
                            const sq_cost *cost);

#ifdef __cplusplus
}
#endif
#endif
