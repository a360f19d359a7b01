/* environment: see environment.h. */
#include "bench/worker/environment.h"

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "core/host.h"
#include "core/stamp.h"
#include "core/text.h"
#include "profile/profile.h"

/* How a library tells its version: by its result, or through a pointer to an int. */
typedef enum { BY_RESULT, BY_POINTER } version_call;

typedef struct {
    const char *name, *symbol;
    version_call call;
    size_t offset; /* of the text in sq_environment, 32 bytes */
} library;

static const library libraries[] = {
    {"libcublasLt.so.13", "cublasLtGetVersion", BY_RESULT, offsetof(sq_environment, cublas)},
    {"libcufft.so.12", "cufftGetVersion", BY_POINTER, offsetof(sq_environment, cufft)},
    {"libcudnn.so.9", "cudnnGetVersion", BY_RESULT, offsetof(sq_environment, cudnn)},
    {"libcupti.so.13", "cuptiGetVersion", BY_POINTER, offsetof(sq_environment, cupti)},
};

/* dlsym gives an object pointer and C knows no way to cast it to a function. */
static size_t call_version(void *symbol, version_call how)
{
    if (how == BY_RESULT) {
        size_t (*get)(void);
        memcpy(&get, &symbol, sizeof get);
        return get();
    }
    int (*get)(int *);
    memcpy(&get, &symbol, sizeof get);
    int version = 0;
    return get(&version) == 0 && version > 0 ? (size_t)version : 0;
}

/* The libraries stay open: some register exit handlers. */
static void read_library(const library *l, sq_environment *out)
{
    void *handle = dlopen(l->name, RTLD_LAZY | RTLD_LOCAL);
    void *symbol = handle ? dlsym(handle, l->symbol) : NULL;
    size_t version = symbol ? call_version(symbol, l->call) : 0;
    if (version > 0)
        snprintf((char *)out + l->offset, sizeof out->cublas, "%zu", version);
}

static void read_cuda(const sq_device *device, sq_environment *out)
{
    sq_nvml_state state;
    if (sq_nvml_read(device->pci, &state, NULL) == SQ_OK) {
        memcpy(out->driver, state.driver, sizeof out->driver);
        memcpy(out->ecc, state.ecc, sizeof out->ecc);
        memcpy(out->mig, state.mig, sizeof out->mig);
        out->power_limit_w = state.power_limit_w;
    }
    snprintf(out->toolkit, sizeof out->toolkit, "%s", sq_build_stamp.nvcc);
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        read_library(&libraries[i], out);
}

static void read_host(sq_environment *out)
{
    struct utsname machine;
    memset(&machine, 0, sizeof machine);
    uname(&machine);
    snprintf(out->host, sizeof out->host, "%.63s", machine.nodename);
    snprintf(out->kernel, sizeof out->kernel, "%.60s %.60s", machine.sysname, machine.release);
    sq_host_field("/etc/os-release", "PRETTY_NAME", out->os, sizeof out->os);
    sq_host_field("/proc/cpuinfo", "model name", out->cpu, sizeof out->cpu);
}

static void take_fingerprint(sq_environment *e)
{
    sq_text text = {0};
    sq_text_printf(&text, "%s|%s|%s|%s|%s|%s|%s|%s|", e->driver, e->toolkit, e->cublas, e->cufft,
                   e->cudnn, e->cupti, e->compiler, e->flags);
    sq_text_printf(&text, "%s|%s|%s|%s|%s|%s|%.0f", e->host, e->kernel, e->os, e->cpu, e->ecc,
                   e->mig, e->power_limit_w);
    if (!text.is_failed)
        sq_hash_text(text.data, e->fingerprint);
    sq_text_free(&text);
}

void sq_environment_read(const sq_device *device, sq_environment *out)
{
    *out = (sq_environment){.power_limit_w = NAN};
    if (strcmp(device->backend, "cuda") == 0)
        read_cuda(device, out);
    snprintf(out->compiler, sizeof out->compiler, "%s", sq_build_stamp.compiler);
    snprintf(out->flags, sizeof out->flags, "%s", sq_build_stamp.flags);
    read_host(out);
    take_fingerprint(out);
}
