/* cuda: a CUDA device, its own stream and its own scratch memory. Host code only; the kernels are
 * in device.cu.
 *
 * A failed launch leaves an error behind that later calls return ("sticky" when it killed the
 * context). Every call here is checked; sync() returns what launches left behind.
 */
#include "core/backend/cuda/context.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend/cuda/probe.h"

enum { STAGING_BYTES = 16 << 20, SWEEP_CACHES = 3, LEAST_L2_BYTES = 16 << 20 };

sq_status sq_cuda_status(cudaError_t code, const char *what, sq_error *err)
{
    if (code == cudaSuccess)
        return SQ_OK;
    (void)cudaGetLastError(); /* clears what is not sticky, so that it is reported once */
    sq_status status = code == cudaErrorMemoryAllocation ? SQ_OUT_OF_MEMORY : SQ_DEVICE;
    return sq_fail(err, status, "%s: %s (%s)", what, cudaGetErrorString(code),
                   cudaGetErrorName(code));
}

/* --- life --- */

static int cuda_count(sq_error *why)
{
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        sq_fail(why, SQ_UNSUPPORTED, "no CUDA device: there is no NVIDIA driver on this machine");
        return 0;
    }
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaSuccess && count > 0)
        return count;
    (void)cudaGetLastError();
    sq_fail(why, SQ_UNSUPPORTED, "no CUDA device: %s (driver for CUDA %d.%d)",
            code == cudaSuccess ? "none is visible" : cudaGetErrorString(code), driver / 1000,
            driver % 1000 / 10);
    return 0;
}

static double attribute(int index, enum cudaDeviceAttr name)
{
    int value = 0;
    if (cudaDeviceGetAttribute(&value, name, index) == cudaSuccess)
        return value;
    (void)cudaGetLastError();
    return NAN;
}

static void format_uuid(const cudaUUID_t *uuid, char *out, size_t size)
{
    const unsigned char *b = (const unsigned char *)uuid->bytes;
    snprintf(out, size, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static sq_status read_facts(int index, sq_device *out, sq_error *err)
{
    struct cudaDeviceProp prop;
    SQ_TRY(sq_cuda_status(cudaGetDeviceProperties(&prop, index), "device properties", err));
    *out = (sq_device){.backend = "cuda",
                       .index = index,
                       .sm_count = prop.multiProcessorCount,
                       .memory_bytes = (int64_t)prop.totalGlobalMem,
                       .l2_bytes = prop.l2CacheSize,
                       .max_sm_mhz = 1e-3 * attribute(index, cudaDevAttrClockRate),
                       .max_memory_mhz = 1e-3 * attribute(index, cudaDevAttrMemoryClockRate),
                       .memory_bus_bits = attribute(index, cudaDevAttrGlobalMemoryBusWidth),
                       .compute_major = prop.major,
                       .compute_minor = prop.minor,
                       .shared_bytes_per_block = (int64_t)prop.sharedMemPerBlockOptin};
    format_uuid(&prop.uuid, out->uuid, sizeof out->uuid);
    snprintf(out->name, sizeof out->name, "%.127s", prop.name);
    snprintf(out->arch, sizeof out->arch, "sm_%d%d", prop.major % 100, prop.minor % 100);
    return sq_cuda_status(cudaDeviceGetPCIBusId(out->pci, sizeof out->pci, index), "PCI bus id",
                          err);
}

static void cuda_close(sq_backend_device *device)
{
    if (!device)
        return;
    cudaFree(device->sweep);
    cudaFree(device->dirty);
    cudaFree(device->staging);
    cudaFree(device->scratch);
    cudaFree(device->stamps);
    cudaFreeHost(device->hold);
    if (device->start)
        cudaEventDestroy(device->start);
    if (device->stop)
        cudaEventDestroy(device->stop);
    if (device->stream && !device->is_foreign)
        cudaStreamDestroy(device->stream);
    (void)cudaGetLastError();
    free(device);
}

static sq_status make_resources(sq_backend_device *device, sq_error *err)
{
    int64_t l2 = device->facts.l2_bytes > LEAST_L2_BYTES ? device->facts.l2_bytes : LEAST_L2_BYTES;
    device->sweep_bytes = (size_t)(SWEEP_CACHES * l2) / 256 * 256;
    SQ_TRY(sq_cuda_status(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking),
                          "stream", err));
    SQ_TRY(sq_cuda_status(cudaEventCreate(&device->start), "event", err));
    SQ_TRY(sq_cuda_status(cudaEventCreate(&device->stop), "event", err));
    SQ_TRY(
        sq_cuda_status(cudaMalloc(&device->sweep, device->sweep_bytes), "cache sweep buffer", err));
    SQ_TRY(sq_cuda_status(cudaMalloc(&device->staging, STAGING_BYTES), "staging buffer", err));
    SQ_TRY(sq_cuda_status(cudaMalloc(&device->scratch, sizeof(unsigned long long)), "scratch word",
                          err));
    SQ_TRY(sq_cuda_status(cudaMalloc(&device->stamps, SQ_CUDA_STAMP_SETS * SQ_CUDA_STAMP_BYTES),
                          "clock stamps", err));
    SQ_TRY(sq_cuda_status(
        cudaHostAlloc(&device->hold, sizeof(sq_cuda_hold_state), cudaHostAllocMapped), "hold state",
        err));
    return sq_cuda_put_stamp(device, SQ_CUDA_SAMPLE_START,
                             err); /* loads the kernel: not while the stream is held */
}

static sq_status cuda_open(int index, sq_backend_device **out, sq_error *err)
{
    *out = NULL;
    SQ_TRY(sq_cuda_status(cudaSetDevice(index), "select device", err));
    sq_backend_device *device = calloc(1, sizeof *device);
    if (!device)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "cuda device: no memory");
    sq_status status = read_facts(index, &device->facts, err);
    if (status == SQ_OK)
        status = make_resources(device, err);
    if (status != SQ_OK) {
        cuda_close(device);
        return status;
    }
    *out = device;
    return SQ_OK;
}

static const sq_device *cuda_facts(const sq_backend_device *device) { return &device->facts; }

/* --- memory --- */

static sq_status cuda_memory(sq_backend_device *device, size_t *free_bytes, size_t *total_bytes,
                             sq_error *err)
{
    (void)device;
    return sq_cuda_status(cudaMemGetInfo(free_bytes, total_bytes), "free memory", err);
}

static sq_status cuda_alloc(sq_backend_device *device, size_t bytes, void **out, sq_error *err)
{
    (void)device;
    char what[64];
    snprintf(what, sizeof what, "allocate %zu bytes", bytes);
    *out = NULL;
    return sq_cuda_status(cudaMalloc(out, bytes ? bytes : 1), what, err);
}

static void cuda_free(sq_backend_device *device, void *data)
{
    (void)device;
    if (cudaFree(data) != cudaSuccess)
        (void)cudaGetLastError(); /* a sick context is reported by sync() */
}

static void *cuda_stream(sq_backend_device *device) { return device->stream; }

static sq_status cuda_use_stream(sq_backend_device *device, void *stream, sq_error *err)
{
    SQ_TRY(sq_cuda_status(cudaStreamSynchronize(device->stream), "launch", err));
    /* Asked only to learn whether the handle is a stream of this device at all. */
    cudaError_t code = cudaStreamQuery((cudaStream_t)stream);
    if (code != cudaErrorNotReady)
        SQ_TRY(sq_cuda_status(code, "the caller's stream", err));
    if (!device->is_foreign)
        cudaStreamDestroy(device->stream);
    device->stream = stream;
    device->is_foreign = true;
    return SQ_OK;
}

sq_status sq_cuda_sync(sq_backend_device *device, sq_error *err)
{
    cudaError_t code = cudaStreamSynchronize(device->stream);
    cudaError_t left = cudaGetLastError();
    return sq_cuda_status(code != cudaSuccess ? code : left, "launch", err);
}

/* --- contents --- */

static sq_status cuda_fill(sq_backend_device *device, const sq_tensor *view, int64_t base,
                           sq_draw draw, uint64_t seed, uint32_t id, sq_error *err)
{
    return sq_cuda_status(sq_cuda_fill(view, base, draw, seed, id, device->stream), "fill", err);
}

static sq_status cuda_poison(sq_backend_device *device, void *data, size_t bytes, sq_error *err)
{
    if (bytes == 0)
        return SQ_OK;
    return sq_cuda_status(cudaMemsetAsync(data, 0xff, bytes, device->stream), "poison", err);
}

sq_status sq_cuda_fetch(sq_backend_device *device, void *host, const void *data, size_t bytes,
                        sq_error *err)
{
    SQ_TRY(sq_cuda_status(
        cudaMemcpyAsync(host, data, bytes, cudaMemcpyDeviceToHost, device->stream), "fetch", err));
    return sq_cuda_sync(device, err);
}

static sq_status cuda_gather(sq_backend_device *device, const sq_tensor *view, void *host,
                             sq_error *err)
{
    if (sq_tensor_is_dense(view))
        return sq_cuda_fetch(device, host, view->data, sq_tensor_bytes(view), err);
    size_t size = sq_dtype_size(view->dtype);
    int64_t count = sq_tensor_count(view), most = (int64_t)(STAGING_BYTES / size);
    for (int64_t first = 0; first < count; first += most) {
        int64_t part = count - first < most ? count - first : most;
        SQ_TRY(sq_cuda_status(sq_cuda_pack(view, first, part, device->staging, device->stream),
                              "pack", err));
        SQ_TRY(sq_cuda_fetch(device, (char *)host + (size_t)first * size, device->staging,
                             (size_t)part * size, err));
    }
    return SQ_OK;
}

static sq_status cuda_upload(sq_backend_device *device, void *data, const void *host, size_t bytes,
                             sq_error *err)
{
    SQ_TRY(sq_cuda_status(
        cudaMemcpyAsync(data, host, bytes, cudaMemcpyHostToDevice, device->stream), "upload", err));
    return sq_cuda_sync(device, err);
}

static sq_status cuda_copy(sq_backend_device *device, void *to, const void *from, size_t bytes,
                           sq_error *err)
{
    return sq_cuda_status(sq_cuda_copy(to, from, bytes, device->stream), "copy", err);
}

static sq_status cuda_checksum(sq_backend_device *device, const sq_tensor *tensor, uint64_t *out,
                               sq_error *err)
{
    unsigned long long sum = 0;
    if (!sq_tensor_is_dense(tensor))
        return sq_fail(err, SQ_BAD_ARGUMENT, "checksum: the tensor is not dense");
    SQ_TRY(sq_cuda_status(cudaMemsetAsync(device->scratch, 0, sizeof sum, device->stream),
                          "checksum", err));
    SQ_TRY(sq_cuda_status(
        sq_cuda_checksum(tensor->data, sq_tensor_bytes(tensor), device->scratch, device->stream),
        "checksum", err));
    SQ_TRY(sq_cuda_fetch(device, &sum, device->scratch, sizeof sum, err));
    *out = sum;
    return SQ_OK;
}

const sq_backend sq_backend_cuda = {
    .name = "cuda",
    .count = cuda_count,
    .open = cuda_open,
    .close = cuda_close,
    .facts = cuda_facts,
    .memory = cuda_memory,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .stream = cuda_stream,
    .fill = cuda_fill,
    .poison = cuda_poison,
    .gather = cuda_gather,
    .upload = cuda_upload,
    .copy = cuda_copy,
    .checksum = cuda_checksum,
    .sync = sq_cuda_sync,
    .cool = sq_cuda_cool,
    .sample = sq_cuda_sample,
    .probes = sq_cuda_probes,
    .use_stream = cuda_use_stream,
    .capture = sq_cuda_capture,
    .replay = sq_cuda_replay,
    .discard = sq_cuda_discard,
    .clock_start = sq_cuda_clock_start,
    .clock_stop = sq_cuda_clock_stop,
    .idle = sq_cuda_idle,
};
