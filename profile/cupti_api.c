#include "profile/cupti_api.h"

#ifdef SQ_HAS_CUPTI

#include <stdio.h>

#include "profile/library.h"

sq_status sq_cupti_load(sq_cupti *api, sq_error *err)
{
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
}

void sq_cupti_explain(const sq_cupti *api, CUptiResult result, char *out, size_t size)
{
    const char *name = NULL, *advice = "";
    api->cuptiGetResultString(result, &name);
    if (result == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES)
        advice = "; run as root, or load the driver with NVreg_RestrictProfilingToAdminUsers=0";
    else if (result == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED)
        advice = "; another profiler (ncu, nsys, cuda-gdb, sanitizer) holds this process";
    else if (result == CUPTI_ERROR_HARDWARE_BUSY)
        advice = "; another process is counting on this GPU";
    snprintf(out, size, "%s (%d)%s", name ? name : "CUPTI error", (int)result, advice);
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
