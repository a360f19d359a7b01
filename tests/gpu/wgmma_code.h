/* wgmma_code: what kernels/hw/wgmma_sm90.cuh says of its own code, for test_gpu_hopper.c. */
#ifndef SQ_TESTS_GPU_WGMMA_CODE_H
#define SQ_TESTS_GPU_WGMMA_CODE_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* sq_wgmma_check_code() of a file that was compiled for that architecture alone. */
sq_status wgmma_code_90(sq_error *err);
sq_status wgmma_code_90a(sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
