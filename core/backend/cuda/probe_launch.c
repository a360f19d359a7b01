/* probe_launch: empty kernels, one after the other in a stream and as nodes of a graph. */
#include "core/backend/cuda/probe_run.h"

/* Fewer than the launch queue holds, so that enqueuing never waits for the device. */
enum { LAUNCHES = 256, ROUND_TRIPS = 16 };

static cudaError_t launch_all(cudaStream_t stream)
{
    cudaError_t code = cudaSuccess;
    for (int i = 0; i < LAUNCHES && code == cudaSuccess; i++)
        code = sq_probe_empty(stream);
    return code;
}

static sq_status make_graph(sq_cuda_run *run, sq_error *err)
{
    cudaGraph_t graph = NULL;
    SQ_TRY(sq_cuda_status(cudaStreamBeginCapture(run->stream, cudaStreamCaptureModeThreadLocal),
                          "capture", err));
    cudaError_t launched = launch_all(run->stream);
    cudaError_t ended = cudaStreamEndCapture(run->stream, &graph); /* after a failure too */
    cudaError_t code = launched != cudaSuccess ? launched : ended;
    if (code == cudaSuccess)
        code = cudaGraphInstantiate(&run->graph, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    return sq_cuda_status(code, "graph of empty kernels", err);
}

sq_status sq_empty_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                        sq_probe_run **out, sq_error *err)
{
    sq_cuda_run *run;
    sq_status status = sq_cuda_run_new(probe, device, stream, &run, err);
    if (status == SQ_OK)
        status = sq_cuda_status(sq_probe_empty(run->stream), "empty kernel", err); /* loads it */
    if (status == SQ_OK && probe->id == SQ_ID_GRAPH)
        status = make_graph(run, err);
    if (status == SQ_OK)
        run->run.amount = probe->id == SQ_ID_ROUND_TRIP ? ROUND_TRIPS : LAUNCHES;
    return sq_cuda_run_opened(run, status, out, err);
}

static cudaError_t round_trips(cudaStream_t stream)
{
    cudaError_t code = cudaSuccess;
    for (int i = 0; i < ROUND_TRIPS && code == cudaSuccess; i++) {
        code = sq_probe_empty(stream);
        if (code == cudaSuccess)
            code = cudaStreamSynchronize(stream);
    }
    return code;
}

sq_status sq_empty_launch(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    cudaError_t code = run->probe->id == SQ_ID_PLAIN   ? launch_all(run->stream)
                       : run->probe->id == SQ_ID_GRAPH ? cudaGraphLaunch(run->graph, run->stream)
                                                       : round_trips(run->stream);
    return sq_cuda_status(code, run->probe->name, err);
}

sq_status sq_empty_check(sq_probe_run *opaque, sq_error *err)
{
    return sq_backend_cuda.sync(((sq_cuda_run *)opaque)->device, err);
}
