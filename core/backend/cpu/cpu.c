/* cpu: the host as a device. Memory is malloc, time is the monotonic clock, launches are
 * synchronous.
 *
 * It runs the references, so that sweep, store and report work end to end without a GPU. It is not
 * a fast CPU library and its times are not meant to be compared with a GPU's.
 */
#include "core/backend/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "core/backend/cpu/probe.h"
#include "core/host.h"

enum { ALIGNMENT = 256, CACHE_LINE = 64 };

/* Reading this many times the last-level cache leaves nothing of the inputs there; the cap keeps a
 * sample cheap on servers whose cache is hundreds of megabytes. */
enum { SWEEP_CACHES = 3, SWEEP_MIN = 16 << 20, SWEEP_MAX = 64 << 20 };

struct sq_backend_device {
    sq_device facts;
    unsigned char *sweep; /* NULL until the first cold sample */
    size_t sweep_bytes;
    unsigned sweep_sum; /* keeps the reads of the sweep alive */
};

/* --- facts --- */

/* MemAvailable, or the free pages where /proc is absent. */
static size_t available_bytes(void)
{
    char text[64];
    sq_host_field("/proc/meminfo", "MemAvailable", text, sizeof text);
    if (text[0])
        return (size_t)strtoull(text, NULL, 10) * 1024;
    return (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

static int64_t cache_bytes(int name)
{
    long bytes = sysconf(name);
    return bytes > 0 ? bytes : -1;
}

static sq_device read_facts(void)
{
    sq_device facts = {.backend = "cpu", .compute_major = -1, .compute_minor = -1,
                       .shared_bytes_per_block = -1};
    struct utsname machine;
    memset(&machine, 0, sizeof machine);
    uname(&machine);
    snprintf(facts.arch, sizeof facts.arch, "%.15s", machine.machine);
    sq_host_field("/proc/cpuinfo", "model name", facts.name, sizeof facts.name);
    if (!facts.name[0])
        snprintf(facts.name, sizeof facts.name, "%.64s CPU", machine.machine);

    char identity[256], hash[SQ_HASH_TEXT];
    snprintf(identity, sizeof identity, "%.64s|%s", machine.nodename, facts.name);
    sq_hash_text(identity, hash);
    snprintf(facts.uuid, sizeof facts.uuid, "cpu-%s", hash);

    facts.sm_count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    facts.memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    facts.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE);
    facts.max_sm_mhz = facts.max_memory_mhz = facts.memory_bus_bits = NAN;
    return facts;
}

static int cpu_count(sq_error *why)
{
    (void)why;
    return 1;
}

static sq_status cpu_open(int index, sq_backend_device **out, sq_error *err)
{
    *out = NULL;
    if (index != 0)
        return sq_fail(err, SQ_BAD_ARGUMENT, "cpu device %d: there is only device 0", index);
    sq_backend_device *device = calloc(1, sizeof *device);
    if (!device)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "cpu device: no memory");
    device->facts = read_facts();
    int64_t sweep = SWEEP_CACHES * cache_bytes(_SC_LEVEL3_CACHE_SIZE);
    device->sweep_bytes = sweep < SWEEP_MIN ? SWEEP_MIN : sweep > SWEEP_MAX ? SWEEP_MAX : sweep;
    *out = device;
    return SQ_OK;
}

static void cpu_close(sq_backend_device *device)
{
    if (!device)
        return;
    free(device->sweep);
    free(device);
}

static const sq_device *cpu_facts(const sq_backend_device *device) { return &device->facts; }

/* --- memory --- */

static sq_status cpu_memory(sq_backend_device *device, size_t *free_bytes, size_t *total_bytes,
                            sq_error *err)
{
    (void)err;
    *free_bytes = available_bytes();
    *total_bytes = (size_t)device->facts.memory_bytes;
    return SQ_OK;
}

/* Linux hands out more than there is and kills later, so what is not there is refused here. */
static sq_status cpu_alloc(sq_backend_device *device, size_t bytes, void **out, sq_error *err)
{
    (void)device;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *out = NULL;
    if (rounded >= bytes && rounded <= available_bytes())
        *out = aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT);
    if (!*out)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%zu bytes of host memory are not to be had", bytes);
    return SQ_OK;
}

static void cpu_free(sq_backend_device *device, void *data)
{
    (void)device;
    free(data);
}

static void *cpu_stream(sq_backend_device *device)
{
    (void)device;
    return NULL;
}

/* --- contents --- */

static sq_status cpu_fill(sq_backend_device *device, const sq_tensor *view, int64_t base,
                          sq_draw draw, uint64_t seed, uint32_t id, sq_error *err)
{
    (void)device;
    (void)err;
    sq_rng_fill(view, base, draw, seed, id);
    return SQ_OK;
}

static sq_status cpu_poison(sq_backend_device *device, void *data, size_t bytes, sq_error *err)
{
    (void)device;
    (void)err;
    if (bytes)
        memset(data, 0xff, bytes);
    return SQ_OK;
}

static sq_status cpu_gather(sq_backend_device *device, const sq_tensor *view, void *host,
                            sq_error *err)
{
    (void)device;
    (void)err;
    size_t size = sq_dtype_size(view->dtype);
    int last = view->rank - 1;
    int64_t row = last >= 0 && view->stride[last] == 1 ? view->dim[last] : 1;
    int64_t count = sq_tensor_count(view);
    char *to = host;
    for (int64_t i = 0; i < count; i += row, to += (size_t)row * size) {
        const char *from = (const char *)view->data + sq_tensor_offset(view, i) * (int64_t)size;
        memcpy(to, from, (size_t)row * size);
    }
    return SQ_OK;
}

static sq_status cpu_copy(sq_backend_device *device, void *to, const void *from, size_t bytes,
                          sq_error *err)
{
    (void)device;
    (void)err;
    if (bytes)
        memcpy(to, from, bytes);
    return SQ_OK;
}

static sq_status cpu_checksum(sq_backend_device *device, const sq_tensor *tensor, uint64_t *out,
                              sq_error *err)
{
    (void)device;
    if (!sq_tensor_is_dense(tensor))
        return sq_fail(err, SQ_BAD_ARGUMENT, "checksum: the tensor is not dense");
    size_t bytes = sq_tensor_bytes(tensor);
    const char *data = tensor->data;
    uint64_t sum = 0;
    for (size_t at = 0; at < bytes; at += sizeof(uint32_t)) {
        uint32_t word = 0;
        memcpy(&word, data + at, bytes - at < sizeof word ? bytes - at : sizeof word);
        sum += sq_rng_checksum_term((int64_t)(at / sizeof word), word);
    }
    *out = sum;
    return SQ_OK;
}

static sq_status cpu_sync(sq_backend_device *device, sq_error *err)
{
    (void)device;
    (void)err;
    return SQ_OK;
}

/* --- time --- */

static sq_status make_sweep(sq_backend_device *device, sq_error *err)
{
    void *sweep = NULL;
    if (device->sweep)
        return SQ_OK;
    SQ_TRY(cpu_alloc(device, device->sweep_bytes, &sweep, err));
    device->sweep = sweep;
    memset(sweep, 1, device->sweep_bytes);
    return SQ_OK;
}

static sq_status cpu_cool(sq_backend_device *device, sq_error *err)
{
    SQ_TRY(make_sweep(device, err));
    unsigned sum = 0;
    for (size_t at = 0; at < device->sweep_bytes; at += CACHE_LINE)
        sum += ((volatile unsigned char *)device->sweep)[at];
    device->sweep_sum += sum;
    return SQ_OK;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static sq_status set_cache(sq_backend_device *device, const sq_sample_request *request,
                           sq_error *err)
{
    if (request->cache == SQ_CACHE_CLEAN_COLD)
        return cpu_cool(device, err);
    if (request->cache == SQ_CACHE_HOT)
        return request->launch(request->arg, err);
    if (request->cache == SQ_CACHE_DIRTY_COLD) {
        SQ_TRY(make_sweep(device, err));
        memset(device->sweep, 0, device->sweep_bytes);
    }
    return SQ_OK;
}

static sq_status cpu_sample(sq_backend_device *device, const sq_sample_request *request,
                            sq_sample *out, sq_error *err)
{
    *out = (sq_sample){.sm_mhz = NAN};
    SQ_TRY(set_cache(device, request, err));
    int64_t start = now_ns();
    for (int i = 0; i < request->launches; i++)
        SQ_TRY(request->launch(request->arg, err));
    int64_t elapsed = (now_ns() - start) / request->launches;
    out->ns = elapsed > INT32_MAX ? INT32_MAX : (int32_t)elapsed;
    return SQ_OK;
}

static sq_status cpu_idle(sq_backend_device *device, double ns, sq_error *err)
{
    (void)device;
    (void)err;
    int64_t until = now_ns() + (int64_t)ns;
    while (now_ns() < until)
        continue;
    return SQ_OK;
}

const sq_backend sq_backend_cpu = {
    .name = "cpu",
    .count = cpu_count,
    .open = cpu_open,
    .close = cpu_close,
    .facts = cpu_facts,
    .memory = cpu_memory,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .stream = cpu_stream,
    .fill = cpu_fill,
    .poison = cpu_poison,
    .gather = cpu_gather,
    .upload = cpu_copy,
    .copy = cpu_copy,
    .checksum = cpu_checksum,
    .sync = cpu_sync,
    .cool = cpu_cool,
    .sample = cpu_sample,
    .idle = cpu_idle,
    .probes = sq_cpu_probes,
};
