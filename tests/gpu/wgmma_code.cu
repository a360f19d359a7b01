/* wgmma_code: see wgmma_code.h; compiled once for each architecture, WGMMA_CODE is the function's name. */
#include "tests/gpu/wgmma_code.h"

#include "kernels/hw/launch.cuh"
#include "kernels/hw/wgmma_sm90.cuh"

sq_status WGMMA_CODE(sq_error *err)
{
    return sq_wgmma_check_code(err);
}
