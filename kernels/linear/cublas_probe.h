/* cublas_probe: the fastest matrix products that cublasLt has, as probes (core/backend/probe.h). */
#ifndef SQ_KERNELS_LINEAR_CUBLAS_PROBE_H
#define SQ_KERNELS_LINEAR_CUBLAS_PROBE_H

#include "core/backend/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* bf16, f16, fp8 e4m3, int8, tf32, f32: square products and one whose tiles fill every SM, each by
 * the algorithms that the library's heuristic ranks first. Inputs are uniform in [-1, 1): what a
 * product of zeros would reach is more, since it draws less power. SQ_UNSUPPORTED where the library
 * has no product of the type on this device. Ends with a NULL name. */
extern const sq_probe sq_cublas_probes[];

#ifdef __cplusplus
}
#endif
#endif
