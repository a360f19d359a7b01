/* sample: cache states, the SM clock, timed samples and graphs of the CUDA backend. */
#include "core/backend/cuda/context.h"

#include <math.h>
#include <stdio.h>

#include "core/stats.h"

/* What triton's do_bench clears before a launch, whatever the L2. */
enum { DIRTY_BYTES = 256 << 20 };

/* A stamp is taken at a step of the global timer, so that it is right to the length of the loop
 * that waits for it, about 0.1 us: a window of 20 us gives the clock to 1 %, and the median over the
 * samples and SMs to much less. What lies between the samples has another clock: of tensor-bound
 * launches by 10 % and more. */
static const double least_clock_window_ns = 20e3;

/* --- cache --- */

/* Lines that a launch made persist outlive a sweep. There are none while nothing is set aside, or
 * where the device knows no such limit. */
static sq_status reset_persisting(sq_error *err)
{
    size_t set_aside = 0;
    if (cudaDeviceGetLimit(&set_aside, cudaLimitPersistingL2CacheSize) != cudaSuccess)
        (void)cudaGetLastError();
    return set_aside ? sq_cuda_status(cudaCtxResetPersistingL2Cache(), "reset persisting L2", err)
                     : SQ_OK;
}

sq_status sq_cuda_cool(sq_backend_device *device, sq_error *err)
{
    SQ_TRY(reset_persisting(err));
    return sq_cuda_status(
        sq_cuda_sweep(device->sweep, device->sweep_bytes, device->scratch, device->stream),
        "cache sweep", err);
}

static sq_status make_dirty(sq_backend_device *device, sq_error *err)
{
    if (!device->dirty)
        SQ_TRY(
            sq_cuda_status(cudaMalloc(&device->dirty, DIRTY_BYTES), "buffer of dirty-cold", err));
    return sq_cuda_status(cudaMemsetAsync(device->dirty, 0, DIRTY_BYTES, device->stream),
                          "dirty-cold", err);
}

static sq_status set_cache(sq_backend_device *device, const sq_sample_request *request,
                           sq_error *err)
{
    switch (request->cache) {
    case SQ_CACHE_CLEAN_COLD:
        return sq_cuda_cool(device, err);
    case SQ_CACHE_DIRTY_COLD:
        return make_dirty(device, err);
    case SQ_CACHE_HOT:
        return request->launch(request->arg, err);
    default:
        return SQ_OK;
    }
}

/* --- SM clock --- */

/* Cycles over time of each SM that both stamps reached; the median of them. Both counters are read
 * on the same SM, because cycle counters of different SMs do not agree. `first`, first + 1: the two
 * sets of stamps. NAN for a window that is too short to tell. */
static sq_status read_clock(sq_backend_device *device, sq_cuda_stamp_set first, double *mhz,
                            sq_error *err)
{
    sq_cuda_stamp stamps[2][SQ_CUDA_MAX_SMS];
    double all[SQ_CUDA_MAX_SMS];
    int n = 0;
    const char *from = (const char *)device->stamps + (size_t)first * SQ_CUDA_STAMP_BYTES;
    SQ_TRY(sq_cuda_fetch(device, stamps, from, sizeof stamps, err));
    for (int sm = 0; sm < SQ_CUDA_MAX_SMS; sm++) {
        const sq_cuda_stamp *a = &stamps[0][sm], *b = &stamps[1][sm];
        if (a->ns && b->ns > a->ns && (double)(b->ns - a->ns) >= least_clock_window_ns)
            all[n++] = 1e3 * (double)(b->cycles - a->cycles) / (double)(b->ns - a->ns);
    }
    *mhz = sq_median(all, n);
    return SQ_OK;
}

sq_status sq_cuda_put_stamp(sq_backend_device *device, sq_cuda_stamp_set which, sq_error *err)
{
    sq_cuda_stamp *stamps = (sq_cuda_stamp *)device->stamps + which * SQ_CUDA_MAX_SMS;
    return sq_cuda_status(sq_cuda_stamp_sms(stamps, device->facts.sm_count, device->stream),
                          "clock stamp", err);
}

static sq_status clear_stamps(sq_backend_device *device, sq_cuda_stamp_set first, sq_error *err)
{
    char *at = (char *)device->stamps + (size_t)first * SQ_CUDA_STAMP_BYTES;
    return sq_cuda_status(cudaMemsetAsync(at, 0, 2 * SQ_CUDA_STAMP_BYTES, device->stream),
                          "clock stamp", err);
}

sq_status sq_cuda_clock_start(sq_backend_device *device, sq_error *err)
{
    SQ_TRY(clear_stamps(device, SQ_CUDA_RUN_START, err));
    return sq_cuda_put_stamp(device, SQ_CUDA_RUN_START, err);
}

sq_status sq_cuda_clock_stop(sq_backend_device *device, double *mhz, sq_error *err)
{
    SQ_TRY(sq_cuda_put_stamp(device, SQ_CUDA_RUN_STOP, err));
    return read_clock(device, SQ_CUDA_RUN_START, mhz, err);
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
    SQ_TRY(clear_stamps(device, SQ_CUDA_SAMPLE_START, err));
    SQ_TRY(set_cache(device, request, err));
    if (request->hold_seconds > 0)
        SQ_TRY(sq_cuda_status(sq_cuda_hold(device->hold,
                                           (unsigned long long)(1e9 * request->hold_seconds),
                                           device->stream),
                              "hold", err));
    SQ_TRY(sq_cuda_put_stamp(device, SQ_CUDA_SAMPLE_START, err));
    SQ_TRY(sq_cuda_status(cudaEventRecord(device->start, device->stream), "start event", err));
    for (int i = 0; i < request->launches; i++)
        SQ_TRY(request->launch(request->arg, err));
    SQ_TRY(sq_cuda_status(cudaEventRecord(device->stop, device->stream), "stop event", err));
    return sq_cuda_put_stamp(device, SQ_CUDA_SAMPLE_STOP, err);
}

sq_status sq_cuda_sample(sq_backend_device *device, const sq_sample_request *request,
                         sq_sample *out, sq_error *err)
{
    float milliseconds = 0;
    *out = (sq_sample){.sm_mhz = NAN};
    set_hold(device, false);
    sq_status status = enqueue_sample(device, request, err);
    set_hold(device, true); /* after a failure too: the stream must drain */
    SQ_TRY(status);
    SQ_TRY(sq_cuda_sync(device, err));
    SQ_TRY(sq_cuda_status(cudaEventElapsedTime(&milliseconds, device->start, device->stop),
                          "event time", err));
    double window = 1e6 * (double)milliseconds, elapsed = window / request->launches;
    out->ns = elapsed >= (double)INT32_MAX ? INT32_MAX : (int32_t)lround(elapsed);
    out->is_late = was_late(device);
    return window < least_clock_window_ns
               ? SQ_OK
               : read_clock(device, SQ_CUDA_SAMPLE_START, &out->sm_mhz, err);
}

sq_status sq_cuda_idle(sq_backend_device *device, double ns, sq_error *err)
{
    return sq_cuda_status(sq_cuda_spin((unsigned long long)ns, device->stream), "idle", err);
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
    SQ_TRY(sq_cuda_status(cudaGraphGetNodes(*graph, NULL, &nodes), "graph", err));
    return nodes ? SQ_OK : refuse_capture(cudaSuccess, "it enqueues nothing on the stream", err);
}

sq_status sq_cuda_capture(sq_backend_device *device, sq_launch_fn launch, void *arg, int launches,
                          void **out, sq_error *err)
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
        status = sq_cuda_status(cudaGraphInstantiate(&exec, graph, 0), "instantiate graph", err);
    if (graph)
        cudaGraphDestroy(graph);
    if (status == SQ_OK)
        status = sq_cuda_status(cudaGraphUpload(exec, device->stream), "upload graph", err);
    if (status != SQ_OK && exec)
        cudaGraphExecDestroy(exec);
    *out = status == SQ_OK ? exec : NULL;
    return status;
}

sq_status sq_cuda_replay(sq_backend_device *device, void *graph, sq_error *err)
{
    return sq_cuda_status(cudaGraphLaunch((cudaGraphExec_t)graph, device->stream), "launch graph",
                          err);
}

void sq_cuda_discard(sq_backend_device *device, void *graph)
{
    (void)device;
    if (graph && cudaGraphExecDestroy((cudaGraphExec_t)graph) != cudaSuccess)
        (void)cudaGetLastError(); /* a sick context is reported by sync() */
}
