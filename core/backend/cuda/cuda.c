/* cuda: a CUDA device, its own stream and its own scratch memory. Host code only; the kernels are
 * in device.cu.
 *
 * A failed launch leaves an error behind that later calls return ("sticky" when it killed the
 * context). Every call here is checked; sync() returns what launches left behind.
 */
#include "core/backend/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backend/cuda/device.h"
#include "core/backend/cuda/probe.h"

enum { STAGING_BYTES = 16 << 20, SWEEP_CACHES = 3, LEAST_L2_BYTES = 16 << 20 };

/* What triton's do_bench clears before a launch, whatever the L2. */
enum { DIRTY_BYTES = 256 << 20 };

/* A stamp is taken at a step of the global timer, so that it is right to the length of the loop
 * that waits for it, about 0.1 us: a window of 0.2 ms gives the clock to 0.1 %. */
static const double least_clock_window_ns = 200e3;

/* Which array of stamps: before and after a sample, before and after a run of samples. */
enum { SAMPLE_START, SAMPLE_STOP, RUN_START, RUN_STOP, STAMP_SETS };
enum { STAMP_BYTES = SQ_CUDA_MAX_SMS * sizeof(sq_cuda_stamp) };

struct sq_backend_device {
    sq_device facts;
    cudaStream_t stream;
    bool is_foreign; /* the stream is the caller's */
    cudaEvent_t start, stop;
    void *sweep;   /* read and written between samples */
    void *dirty;   /* DIRTY_BYTES; NULL until the first dirty-cold sample */
    void *staging; /* STAGING_BYTES on the device, for packing views */
    void *scratch; /* one 64-bit word: a checksum, or the sink of the sweep */
    void *stamps;  /* STAMP_SETS * SQ_CUDA_MAX_SMS */
    void *hold;    /* sq_cuda_hold_state in host memory that the device sees */
    size_t sweep_bytes;
};

sq_status sq_cuda_status(cudaError_t code, const char *what, sq_error *err)
{
    if (code == cudaSuccess)
        return SQ_OK;
    (void)cudaGetLastError(); /* clears what is not sticky, so that it is reported once */
    sq_status status = code == cudaErrorMemoryAllocation ? SQ_OUT_OF_MEMORY : SQ_DEVICE;
    return sq_fail(err, status, "%s: %s (%s)", what, cudaGetErrorString(code),
                   cudaGetErrorName(code));
}

static sq_status check(cudaError_t code, const char *what, sq_error *err)
{
    return sq_cuda_status(code, what, err);
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
    SQ_TRY(check(cudaGetDeviceProperties(&prop, index), "device properties", err));
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
    return check(cudaDeviceGetPCIBusId(out->pci, sizeof out->pci, index), "PCI bus id", err);
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

static sq_status stamp(sq_backend_device *device, int which, sq_error *err)
{
    sq_cuda_stamp *stamps = (sq_cuda_stamp *)device->stamps + which * SQ_CUDA_MAX_SMS;
    return check(sq_cuda_stamp_sms(stamps, device->facts.sm_count, device->stream), "clock stamp",
                 err);
}

static sq_status make_resources(sq_backend_device *device, sq_error *err)
{
    int64_t l2 = device->facts.l2_bytes > LEAST_L2_BYTES ? device->facts.l2_bytes : LEAST_L2_BYTES;
    device->sweep_bytes = (size_t)(SWEEP_CACHES * l2) / 256 * 256;
    SQ_TRY(check(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), "stream", err));
    SQ_TRY(check(cudaEventCreate(&device->start), "event", err));
    SQ_TRY(check(cudaEventCreate(&device->stop), "event", err));
    SQ_TRY(check(cudaMalloc(&device->sweep, device->sweep_bytes), "cache sweep buffer", err));
    SQ_TRY(check(cudaMalloc(&device->staging, STAGING_BYTES), "staging buffer", err));
    SQ_TRY(check(cudaMalloc(&device->scratch, sizeof(unsigned long long)), "scratch word", err));
    SQ_TRY(check(cudaMalloc(&device->stamps, STAMP_SETS * STAMP_BYTES), "clock stamps", err));
    SQ_TRY(check(cudaHostAlloc(&device->hold, sizeof(sq_cuda_hold_state), cudaHostAllocMapped),
                 "hold state", err));
    return stamp(device, SAMPLE_START, err); /* loads the kernel: not while the stream is held */
}

static sq_status cuda_open(int index, sq_backend_device **out, sq_error *err)
{
    *out = NULL;
    SQ_TRY(check(cudaSetDevice(index), "select device", err));
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
    return check(cudaMemGetInfo(free_bytes, total_bytes), "free memory", err);
}

static sq_status cuda_alloc(sq_backend_device *device, size_t bytes, void **out, sq_error *err)
{
    (void)device;
    char what[64];
    snprintf(what, sizeof what, "allocate %zu bytes", bytes);
    *out = NULL;
    return check(cudaMalloc(out, bytes ? bytes : 1), what, err);
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
    SQ_TRY(check(cudaStreamSynchronize(device->stream), "launch", err));
    /* Asked only to learn whether the handle is a stream of this device at all. */
    cudaError_t code = cudaStreamQuery((cudaStream_t)stream);
    if (code != cudaErrorNotReady)
        SQ_TRY(check(code, "the caller's stream", err));
    if (!device->is_foreign)
        cudaStreamDestroy(device->stream);
    device->stream = stream;
    device->is_foreign = true;
    return SQ_OK;
}

static sq_status cuda_sync(sq_backend_device *device, sq_error *err)
{
    cudaError_t code = cudaStreamSynchronize(device->stream);
    cudaError_t left = cudaGetLastError();
    return check(code != cudaSuccess ? code : left, "launch", err);
}

/* --- contents --- */

static sq_status cuda_fill(sq_backend_device *device, const sq_tensor *tensor, sq_draw draw,
                           uint64_t seed, uint32_t id, sq_error *err)
{
    if (!sq_tensor_is_dense(tensor))
        return sq_fail(err, SQ_BAD_ARGUMENT, "fill: the tensor is not dense");
    return check(sq_cuda_fill(tensor, draw, seed, id, device->stream), "fill", err);
}

static sq_status cuda_poison(sq_backend_device *device, void *data, size_t bytes, sq_error *err)
{
    if (bytes == 0)
        return SQ_OK;
    return check(cudaMemsetAsync(data, 0xff, bytes, device->stream), "poison", err);
}

static sq_status fetch(sq_backend_device *device, void *host, const void *data, size_t bytes,
                       sq_error *err)
{
    SQ_TRY(check(cudaMemcpyAsync(host, data, bytes, cudaMemcpyDeviceToHost, device->stream),
                 "fetch", err));
    return cuda_sync(device, err);
}

static sq_status cuda_gather(sq_backend_device *device, const sq_tensor *view, void *host,
                             sq_error *err)
{
    if (sq_tensor_is_dense(view))
        return fetch(device, host, view->data, sq_tensor_bytes(view), err);
    size_t size = sq_dtype_size(view->dtype);
    int64_t count = sq_tensor_count(view), most = (int64_t)(STAGING_BYTES / size);
    for (int64_t first = 0; first < count; first += most) {
        int64_t part = count - first < most ? count - first : most;
        SQ_TRY(check(sq_cuda_pack(view, first, part, device->staging, device->stream), "pack",
                     err));
        SQ_TRY(fetch(device, (char *)host + (size_t)first * size, device->staging,
                     (size_t)part * size, err));
    }
    return SQ_OK;
}

static sq_status cuda_upload(sq_backend_device *device, void *data, const void *host, size_t bytes,
                             sq_error *err)
{
    SQ_TRY(check(cudaMemcpyAsync(data, host, bytes, cudaMemcpyHostToDevice, device->stream),
                 "upload", err));
    return cuda_sync(device, err);
}

static sq_status cuda_copy(sq_backend_device *device, void *to, const void *from, size_t bytes,
                           sq_error *err)
{
    return check(sq_cuda_copy(to, from, bytes, device->stream), "copy", err);
}

static sq_status cuda_checksum(sq_backend_device *device, const sq_tensor *tensor, uint64_t *out,
                               sq_error *err)
{
    unsigned long long sum = 0;
    if (!sq_tensor_is_dense(tensor))
        return sq_fail(err, SQ_BAD_ARGUMENT, "checksum: the tensor is not dense");
    SQ_TRY(check(cudaMemsetAsync(device->scratch, 0, sizeof sum, device->stream), "checksum", err));
    SQ_TRY(check(sq_cuda_checksum(tensor->data, sq_tensor_bytes(tensor), device->scratch,
                                  device->stream),
                 "checksum", err));
    SQ_TRY(fetch(device, &sum, device->scratch, sizeof sum, err));
    *out = sum;
    return SQ_OK;
}

/* --- cache --- */

/* Lines that a launch made persist outlive a sweep; there are none while nothing is set aside. */
static sq_status reset_persisting(sq_error *err)
{
    size_t set_aside = 0;
    SQ_TRY(check(cudaDeviceGetLimit(&set_aside, cudaLimitPersistingL2CacheSize), "persisting L2",
                 err));
    return set_aside ? check(cudaCtxResetPersistingL2Cache(), "reset persisting L2", err) : SQ_OK;
}

static sq_status cuda_cool(sq_backend_device *device, sq_error *err)
{
    SQ_TRY(reset_persisting(err));
    return check(sq_cuda_sweep(device->sweep, device->sweep_bytes, device->scratch, device->stream),
                 "cache sweep", err);
}

static sq_status make_dirty(sq_backend_device *device, sq_error *err)
{
    if (!device->dirty)
        SQ_TRY(check(cudaMalloc(&device->dirty, DIRTY_BYTES), "buffer of dirty-cold", err));
    return check(cudaMemsetAsync(device->dirty, 0, DIRTY_BYTES, device->stream), "dirty-cold", err);
}

static sq_status set_cache(sq_backend_device *device, const sq_sample_request *request,
                           sq_error *err)
{
    switch (request->cache) {
    case SQ_CACHE_CLEAN_COLD:
        return cuda_cool(device, err);
    case SQ_CACHE_DIRTY_COLD:
        return make_dirty(device, err);
    case SQ_CACHE_HOT:
        return request->launch(request->arg, err);
    default:
        return SQ_OK;
    }
}

/* --- SM clock --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Cycles over time of each SM that both stamps reached; the median of them. Both counters are read
 * on the same SM, because cycle counters of different SMs do not agree. `first`, first + 1: the two
 * sets of stamps. NAN for a window that is too short to tell. */
static sq_status read_clock(sq_backend_device *device, int first, double *mhz, sq_error *err)
{
    sq_cuda_stamp stamps[2][SQ_CUDA_MAX_SMS];
    double all[SQ_CUDA_MAX_SMS];
    int n = 0;
    const char *from = (const char *)device->stamps + (size_t)first * STAMP_BYTES;
    SQ_TRY(fetch(device, stamps, from, sizeof stamps, err));
    for (int sm = 0; sm < SQ_CUDA_MAX_SMS; sm++) {
        const sq_cuda_stamp *a = &stamps[0][sm], *b = &stamps[1][sm];
        if (a->ns && b->ns > a->ns && (double)(b->ns - a->ns) >= least_clock_window_ns)
            all[n++] = 1e3 * (double)(b->cycles - a->cycles) / (double)(b->ns - a->ns);
    }
    qsort(all, (size_t)n, sizeof *all, by_value);
    *mhz = n > 0 ? all[n / 2] : NAN;
    return SQ_OK;
}

static sq_status clear_stamps(sq_backend_device *device, int first, sq_error *err)
{
    char *at = (char *)device->stamps + (size_t)first * STAMP_BYTES;
    return check(cudaMemsetAsync(at, 0, 2 * STAMP_BYTES, device->stream), "clock stamp", err);
}

static sq_status cuda_clock_start(sq_backend_device *device, sq_error *err)
{
    SQ_TRY(clear_stamps(device, RUN_START, err));
    return stamp(device, RUN_START, err);
}

static sq_status cuda_clock_stop(sq_backend_device *device, double *mhz, sq_error *err)
{
    SQ_TRY(stamp(device, RUN_STOP, err));
    return read_clock(device, RUN_START, mhz, err);
}

/* --- samples --- */

/* What the host says to the kernel that holds the stream, and what it answers. */
static void set_hold(sq_backend_device *device, bool is_released)
{
    volatile sq_cuda_hold_state *state = device->hold;
    if (!is_released)
        state->is_late = 0;
    state->is_released = is_released;
}

static bool was_late(const sq_backend_device *device)
{
    return ((const volatile sq_cuda_hold_state *)device->hold)->is_late != 0;
}

/* Cache state and a held stream; then stamp, start, launches, stop, stamp. The stream is held while
 * the host enqueues, so that the window holds no launch latency. */
static sq_status enqueue_sample(sq_backend_device *device, const sq_sample_request *request,
                                sq_error *err)
{
    SQ_TRY(clear_stamps(device, SAMPLE_START, err));
    SQ_TRY(set_cache(device, request, err));
    if (request->hold_seconds > 0)
        SQ_TRY(check(sq_cuda_hold(device->hold, (unsigned long long)(1e9 * request->hold_seconds),
                                  device->stream),
                     "hold", err));
    SQ_TRY(stamp(device, SAMPLE_START, err));
    SQ_TRY(check(cudaEventRecord(device->start, device->stream), "start event", err));
    for (int i = 0; i < request->launches; i++)
        SQ_TRY(request->launch(request->arg, err));
    SQ_TRY(check(cudaEventRecord(device->stop, device->stream), "stop event", err));
    return stamp(device, SAMPLE_STOP, err);
}

static sq_status cuda_sample(sq_backend_device *device, const sq_sample_request *request,
                             sq_sample *out, sq_error *err)
{
    float milliseconds = 0;
    *out = (sq_sample){.sm_mhz = NAN};
    set_hold(device, false);
    sq_status status = enqueue_sample(device, request, err);
    set_hold(device, true); /* after a failure too: the stream must drain */
    SQ_TRY(status);
    SQ_TRY(cuda_sync(device, err));
    SQ_TRY(check(cudaEventElapsedTime(&milliseconds, device->start, device->stop), "event time",
                 err));
    double window = 1e6 * (double)milliseconds, elapsed = window / request->launches;
    out->ns = elapsed >= (double)INT32_MAX ? INT32_MAX : (int32_t)lround(elapsed);
    out->is_late = was_late(device);
    return window < least_clock_window_ns ? SQ_OK
                                          : read_clock(device, SAMPLE_START, &out->sm_mhz, err);
}

/* --- graphs --- */

static sq_status refuse_capture(cudaError_t code, const char *why, sq_error *err)
{
    (void)cudaGetLastError();
    return sq_fail(err, SQ_UNSUPPORTED,
                   "this launch cannot be captured in a CUDA graph: %s%s%.200s",
                   code == cudaSuccess ? "" : cudaGetErrorString(code),
                   code != cudaSuccess && why[0] ? "; " : "", why);
}

/* Between begin and end of a capture; *graph is NULL where nothing came of it. */
static sq_status record_graph(sq_backend_device *device, sq_launch_fn launch, void *arg,
                              int launches, cudaGraph_t *graph, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    sq_status status = SQ_OK;
    size_t nodes = 0;
    for (int i = 0; i < launches && status == SQ_OK; i++)
        status = launch(arg, &why);
    cudaError_t code = cudaStreamEndCapture(device->stream, graph);
    if (code != cudaSuccess || status != SQ_OK || !*graph)
        return refuse_capture(code, why.message, err);
    SQ_TRY(check(cudaGraphGetNodes(*graph, NULL, &nodes), "graph", err));
    return nodes ? SQ_OK : refuse_capture(cudaSuccess, "it enqueues nothing on the stream", err);
}

static sq_status cuda_capture(sq_backend_device *device, sq_launch_fn launch, void *arg,
                              int launches, void **out, sq_error *err)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    *out = NULL;
    /* Thread-local: a launch that allocates or synchronises is refused, other threads may. */
    cudaError_t code = cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal);
    if (code != cudaSuccess)
        return refuse_capture(code, "", err);
    sq_status status = record_graph(device, launch, arg, launches, &graph, err);
    if (status == SQ_OK)
        status = check(cudaGraphInstantiate(&exec, graph, 0), "instantiate graph", err);
    if (graph)
        cudaGraphDestroy(graph);
    if (status == SQ_OK)
        status = check(cudaGraphUpload(exec, device->stream), "upload graph", err);
    if (status != SQ_OK && exec)
        cudaGraphExecDestroy(exec);
    *out = status == SQ_OK ? exec : NULL;
    return status;
}

static sq_status cuda_replay(sq_backend_device *device, void *graph, sq_error *err)
{
    return check(cudaGraphLaunch((cudaGraphExec_t)graph, device->stream), "launch graph", err);
}

static void cuda_discard(sq_backend_device *device, void *graph)
{
    (void)device;
    if (graph && cudaGraphExecDestroy((cudaGraphExec_t)graph) != cudaSuccess)
        (void)cudaGetLastError(); /* a sick context is reported by sync() */
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
    .sync = cuda_sync,
    .cool = cuda_cool,
    .sample = cuda_sample,
    .probes = sq_cuda_probes,
    .use_stream = cuda_use_stream,
    .capture = cuda_capture,
    .replay = cuda_replay,
    .discard = cuda_discard,
    .clock_start = cuda_clock_start,
    .clock_stop = cuda_clock_stop,
};
