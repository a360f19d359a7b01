/* ceilings: the few ceilings that a campaign needs for its floors, measured in two or three seconds
 * at its start, and the floors. `seqmark characterize` measures all of them at length.
 *
 *   copy_gbytes_per_s  GB/s     bytes read plus written by a device copy far larger than the cache
 *   gemm_bf16_tflops   TFLOP/s  products by the vendor library in bursts; tensor cores
 *   gemm_f32_tflops    TFLOP/s  the same in f32 without TF32; SIMT
 * What the device has no probe for is absent.
 */
#ifndef SQ_BENCH_WORKER_CEILINGS_H
#define SQ_BENCH_WORKER_CEILINGS_H

#include "bench/worker/job.h"
#include "bench/worker/measure.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_CEILINGS = 64 };

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
