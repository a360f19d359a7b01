/* nvtx: ranges named after cells, so that nsys and ncu show which cell a kernel belongs to. NVTX is
 * header only and does nothing until a tool is attached. */
#include "profile/profile.h"

#if defined(SQ_HAS_CUPTI) && defined(__has_include)
#if __has_include(<nvtx3/nvToolsExt.h>)
#define HAS_NVTX 1
#include <nvtx3/nvToolsExt.h>
#endif
#endif

#ifdef HAS_NVTX
void sq_nvtx_push(const char *name) { nvtxRangePushA(name); }
void sq_nvtx_pop(void) { nvtxRangePop(); }
#else
void sq_nvtx_push(const char *name) { (void)name; }
void sq_nvtx_pop(void) {}
#endif
