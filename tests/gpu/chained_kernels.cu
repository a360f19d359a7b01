/* chained_kernels: see chained_kernels.h. */
#include "tests/gpu/chained_kernels.h"

#include "kernels/hw/launch.cuh"

enum { LINK_THREADS = 64, LINK_CLOCKS = 20000, LINK_SHARED_BYTES = 40 * 1024 };

static __global__ void __launch_bounds__(LINK_THREADS) link_kernel(const int *from, int *to)
{
    sq_chain_begin_next();
    sq_chain_wait();
    const int number = *(const volatile int *)&from[(blockIdx.x + 1) % gridDim.x];
    for (const int64_t start = clock64(); clock64() - start < LINK_CLOCKS;)
        ;
    if (threadIdx.x == 0)
        to[blockIdx.x] = number + 1;
}

typedef struct {
    sq_call call;
    int *numbers[2]; /* links read from and write to them in turn */
} chain;

static sq_status launch(const chain *c, sq_error *err)
{
    for (int i = 0; i < CHAINED_CALLS * CHAINED_LINKS; i++) {
        const size_t shared = i % 2 == 0 ? LINK_SHARED_BYTES : 0;
        const sq_grid grid = {dim3(CHAINED_BLOCKS), LINK_THREADS, shared, i % CHAINED_LINKS > 0};
        SQ_TRY(sq_launch_chained(&c->call, grid, "link", err, link_kernel,
                                 (const int *)c->numbers[i % 2], c->numbers[(i + 1) % 2]));
    }
    return SQ_OK;
}

static sq_status count_early(cudaGraph_t graph, int *early, sq_error *err)
{
    cudaGraphNode_t from[CHAINED_CALLS * CHAINED_LINKS], to[CHAINED_CALLS * CHAINED_LINKS];
    cudaGraphEdgeData data[CHAINED_CALLS * CHAINED_LINKS];
    size_t edges = CHAINED_CALLS * CHAINED_LINKS;
    SQ_TRY(sq_cuda_check(cudaGraphGetEdges(graph, from, to, data, &edges), "edges", err));
    for (size_t i = 0; i < edges; i++)
        *early += data[i].type == cudaGraphDependencyTypeProgrammatic;
    return SQ_OK;
}

static sq_status replay(cudaGraph_t graph, cudaStream_t stream, sq_error *err)
{
    cudaGraphExec_t ready = NULL;
    SQ_TRY(sq_cuda_check(cudaGraphInstantiate(&ready, graph, 0), "graph", err));
    const sq_status status = sq_cuda_check(cudaGraphLaunch(ready, stream), "replay", err);
    cudaStreamSynchronize(stream);
    cudaGraphExecDestroy(ready);
    return status;
}

static sq_status launch_graph(const chain *c, int *early, sq_error *err)
{
    cudaGraph_t graph = NULL;
    const cudaStream_t stream = sq_stream(&c->call);
    SQ_TRY(sq_cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                         "capture", err));
    sq_status status = launch(c, err);
    const cudaError_t error = cudaStreamEndCapture(stream, &graph);
    if (status == SQ_OK)
        status = sq_cuda_check(error, "capture", err);
    if (status == SQ_OK)
        status = count_early(graph, early, err);
    if (status == SQ_OK)
        status = replay(graph, stream, err);
    if (graph)
        cudaGraphDestroy(graph);
    return status;
}

static sq_status run(const chain *c, bool is_graph, chained_output *out, sq_error *err)
{
    const cudaStream_t stream = sq_stream(&c->call);
    for (int i = 0; i < CHAINED_BLOCKS; i++)
        out->numbers[i] = i;
    SQ_TRY(sq_cuda_check(
        cudaMemcpy(c->numbers[0], out->numbers, sizeof out->numbers, cudaMemcpyHostToDevice), "in",
        err));
    SQ_TRY(is_graph ? launch_graph(c, &out->early, err) : launch(c, err));
    SQ_TRY(sq_cuda_check(cudaStreamSynchronize(stream), "links", err));
    return sq_cuda_check(cudaMemcpy(out->numbers, c->numbers[CHAINED_CALLS * CHAINED_LINKS % 2],
                                    sizeof out->numbers, cudaMemcpyDeviceToHost),
                         "out", err);
}

sq_status chained_run(bool is_graph, chained_output *out, sq_error *err)
{
    chain c = {};
    cudaStream_t stream = NULL;
    *out = {};
    if (cudaDeviceGetAttribute(&out->major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess ||
        cudaDeviceGetAttribute(&out->minor, cudaDevAttrComputeCapabilityMinor, 0) != cudaSuccess)
        return sq_fail(err, SQ_UNSUPPORTED, "no device");
    sq_status status = sq_cuda_check(cudaStreamCreate(&stream), "stream", err);
    c.call.stream = stream;
    for (int i = 0; i < 2 && status == SQ_OK; i++)
        status =
            sq_cuda_check(cudaMalloc((void **)&c.numbers[i], sizeof out->numbers), "memory", err);
    if (status == SQ_OK)
        status = run(&c, is_graph, out, err);
    cudaFree(c.numbers[0]);
    cudaFree(c.numbers[1]);
    if (stream)
        cudaStreamDestroy(stream);
    return status;
}
