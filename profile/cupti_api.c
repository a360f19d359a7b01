#include "profile/cupti_api.h"

#ifdef SQ_HAS_CUPTI

#include <stdio.h>

#include "profile/library.h"

sq_status sq_cupti_load(sq_cupti *api, sq_error *err)
{
#if defined(__SANITIZE_ADDRESS__)
    (void)api; /* its host library loads its parts with RTLD_DEEPBIND, at which ASan aborts */
    return sq_fail(err, SQ_UNSUPPORTED, "CUPTI cannot be used under AddressSanitizer");
#else
    char why[256] = "";
    if (!sq_library_open("libnvperf_host.so", why, sizeof why))
        return sq_fail(err, SQ_UNSUPPORTED, "CUPTI absent: %s", why);
    sq_library_open("libnvperf_target.so", why,
                    sizeof why); /* likewise; only target calls need it */
    void *library = sq_library_open("libcupti.so.13", why, sizeof why);
    if (!library)
        return sq_fail(err, SQ_UNSUPPORTED, "CUPTI absent: %s", why);
#define SQ_X(name)                                                                                 \
    if (!sq_library_find(library, #name, &api->name))                                              \
        return sq_fail(err, SQ_UNSUPPORTED, "CUPTI has no " #name);
    SQ_CUPTI_FUNCTIONS(SQ_X)
#undef SQ_X
    uint32_t version = 0;
    api->cuptiGetVersion(&version);
    if (version / 10000 != CUPTI_API_VERSION / 10000)
        return sq_fail(err, SQ_UNSUPPORTED, "CUPTI %u found, built for %d", version,
                       CUPTI_API_VERSION);
    return SQ_OK;
#endif
}

/* Results that say by themselves why there are no counters. A validity holds 95 bytes. */
static const struct {
    CUptiResult result;
    const char *text;
} known_results[] = {
    {CUPTI_ERROR_INSUFFICIENT_PRIVILEGES,
     "refused: no permission: be root, or set NVreg_RestrictProfilingToAdminUsers=0"},
    {CUPTI_ERROR_HARDWARE_BUSY, "refused: another process counts on this GPU"},
    {CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED,
     "refused: another profiler holds this process (ncu, nsys, cuda-gdb, sanitizer)"},
    {CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES,
     "refused: no permission on this vGPU: its hypervisor must allow counters"},
    {CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED, "unsupported: a vGPU without counters"},
    {CUPTI_ERROR_MIG_DEVICE_NOT_SUPPORTED, "unsupported: a MIG slice without counters"},
    {CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED,
     "unsupported: no counters in confidential computing"},
    {CUPTI_ERROR_CMP_DEVICE_NOT_SUPPORTED, "unsupported: a mining card without counters"},
    {CUPTI_ERROR_SLI_DEVICE_NOT_SUPPORTED, "unsupported: no counters under SLI"},
    {CUPTI_ERROR_WSL_DEVICE_NOT_SUPPORTED, "unsupported: no counters under WSL"},
};

sq_status sq_cupti_judge(const sq_cupti *api, CUptiResult result, const char *what, sq_error *err)
{
    const char *name = NULL;
    if (result == CUPTI_SUCCESS)
        return SQ_OK;
    for (size_t i = 0; i < sizeof known_results / sizeof *known_results; i++)
        if (known_results[i].result == result)
            return sq_fail(err, SQ_UNSUPPORTED, "%s (%d)", known_results[i].text, (int)result);
    api->cuptiGetResultString(result, &name);
    return sq_fail(err, SQ_UNSUPPORTED, "refused: %s: %s (%d)", what, name ? name : "CUPTI error",
                   (int)result);
}

sq_status sq_driver_check(sq_error *err)
{
    char why[256] = "";
    CUresult (*init)(unsigned);
    void *library = sq_library_open("libcuda.so.1", why, sizeof why);
    if (!library || !sq_library_find(library, "cuInit", &init))
        return sq_fail(err, SQ_UNSUPPORTED, "no CUDA driver: %s", why);
    CUresult code = init(0);
    if (code != CUDA_SUCCESS)
        return sq_fail(err, SQ_UNSUPPORTED, "no CUDA device: cuInit gives error %d", (int)code);
    return SQ_OK;
}

sq_status sq_driver_context(CUcontext *out, sq_error *err)
{
    char why[256] = "";
    CUresult (*current)(CUcontext *);
    void *library = sq_library_open("libcuda.so.1", why, sizeof why);
    *out = NULL;
    if (!library || !sq_library_find(library, "cuCtxGetCurrent", &current) ||
        current(out) != CUDA_SUCCESS || !*out)
        return sq_fail(err, SQ_DEVICE, "no CUDA context is current");
    return SQ_OK;
}

#else
typedef int sq_no_cupti; /* ISO C wants a declaration in every file */
#endif
