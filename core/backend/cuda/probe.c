/* probe: the table of the CUDA device's ceilings, and what its parts share. */
#include "core/backend/cuda/probe.h"

#include <stdlib.h>

#include "core/backend/cuda/probe_run.h"

sq_status sq_cuda_run_new(const sq_probe *probe, sq_backend_device *device, void *stream,
                          sq_cuda_run **out, sq_error *err)
{
    sq_cuda_run *run = calloc(1, sizeof *run);
    *out = run;
    if (!run)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory", probe->name);
    run->run = (sq_probe_run){.variants = 1};
    run->probe = probe;
    run->device = device;
    run->facts = sq_backend_cuda.facts(device);
    run->stream = stream;
    void *word = NULL;
    SQ_TRY(sq_backend_cuda.alloc(device, sizeof *run->result, &word, err));
    run->result = word;
    return sq_cuda_run_reset(run, err);
}

void sq_cuda_run_close(sq_probe_run *opaque)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    if (!run)
        return;
    for (int i = 0; i < 3; i++)
        sq_backend_cuda.free(run->device, run->buffer[i]);
    sq_backend_cuda.free(run->device, run->result);
    sq_backend_cuda.free(run->device, run->far);
    if (run->host)
        cudaFreeHost(run->host);
    if (run->graph)
        cudaGraphExecDestroy(run->graph);
    free(run);
}

sq_status sq_cuda_run_opened(sq_cuda_run *run, sq_status status, sq_probe_run **out, sq_error *err)
{
    if (status == SQ_OK)
        status = sq_backend_cuda.sync(run->device, err);
    *out = status == SQ_OK ? &run->run : NULL;
    if (status != SQ_OK)
        sq_cuda_run_close(run ? &run->run : NULL);
    return status;
}

sq_status sq_cuda_run_alloc(sq_cuda_run *run, int buffers, size_t bytes, sq_error *err)
{
    run->bytes = bytes;
    for (int i = 0; i < buffers; i++)
        SQ_TRY(sq_backend_cuda.alloc(run->device, bytes, &run->buffer[i], err));
    return SQ_OK;
}

sq_status sq_cuda_run_reset(sq_cuda_run *run, sq_error *err)
{
    run->launches = 0;
    return sq_cuda_status(cudaMemsetAsync(run->result, 0, sizeof *run->result, run->stream),
                          "result of a probe", err);
}

sq_status sq_cuda_run_result(sq_cuda_run *run, uint32_t *out, sq_error *err)
{
    SQ_TRY(sq_cuda_status(
        cudaMemcpyAsync(out, run->result, sizeof *out, cudaMemcpyDeviceToHost, run->stream),
        "result of a probe", err));
    return sq_backend_cuda.sync(run->device, err);
}

sq_status sq_cuda_run_expect(sq_cuda_run *run, uint32_t expected, sq_error *err)
{
    uint32_t got = 0;
    SQ_TRY(sq_cuda_run_result(run, &got, err));
    return got == expected
               ? SQ_OK
               : sq_fail(err, SQ_MISMATCH, "the loop computed %u, %u is right", got, expected);
}

uint32_t sq_pattern_sum(size_t bytes)
{
    const uint64_t words = bytes / sizeof(uint32_t);
    const uint64_t even = words % 2 ? words : words - 1,
                   half = words % 2 ? (words - 1) / 2 : words / 2;
    return (uint32_t)(even * half); /* words (words - 1) / 2 without overflow */
}

static sq_status choose_only(sq_probe_run *run, int variant, sq_error *err)
{
    (void)run, (void)variant, (void)err;
    return SQ_OK;
}

#define STREAM(name, id)                                                                           \
    {                                                                                              \
        name, SQ_PROBE_RATE, SQ_PROBE_COLD, NULL, id, sq_stream_open, sq_stream_choose,            \
            sq_stream_launch, sq_stream_check, sq_cuda_run_close                                   \
    }
#define PART(name, kind, timing, id, part)                                                         \
    {                                                                                              \
        name, kind, timing, NULL, id, sq_##part##_open, choose_only, sq_##part##_launch,           \
            sq_##part##_check, sq_cuda_run_close                                                   \
    }
#define CHASE(name, id) PART(name, SQ_PROBE_STEPS, SQ_PROBE_HOT, id, chase)
#define UNIT(name, id) PART(name, SQ_PROBE_RATE, SQ_PROBE_HOT, id, unit)
#define LINK(name, id) PART(name, SQ_PROBE_RATE, SQ_PROBE_COLD, id, link)

const sq_probe sq_cuda_probes[] = {
    PART("launch_plain_ns", SQ_PROBE_STEPS, SQ_PROBE_HOT, SQ_ID_PLAIN, empty),
    PART("launch_graph_ns", SQ_PROBE_STEPS, SQ_PROBE_HOT, SQ_ID_GRAPH, empty),
    PART("enqueue_plain_ns", SQ_PROBE_STEPS, SQ_PROBE_HOST, SQ_ID_PLAIN, empty),
    PART("enqueue_graph_ns", SQ_PROBE_STEPS, SQ_PROBE_HOST, SQ_ID_GRAPH, empty),
    PART("round_trip_ns", SQ_PROBE_STEPS, SQ_PROBE_HOST, SQ_ID_ROUND_TRIP, empty),
    STREAM("copy_gbytes_per_s", SQ_ID_COPY),
    STREAM("read_gbytes_per_s", SQ_ID_READ),
    STREAM("write_gbytes_per_s", SQ_ID_WRITE),
    STREAM("triad_gbytes_per_s", SQ_ID_TRIAD),
    {"l2_read_gbytes_per_s", SQ_PROBE_RATE, SQ_PROBE_HOT, NULL, 0, sq_l2_open, sq_l2_choose,
     sq_l2_launch, sq_l2_check, sq_cuda_run_close},
    UNIT("shared_read_gbytes_per_s", SQ_ID_SHARED_READ),
    CHASE("chase_l1_ns", SQ_ID_L1),
    CHASE("chase_shared_ns", SQ_ID_SHARED),
    CHASE("chase_l2_ns", SQ_ID_L2),
    PART("chase_dram_ns", SQ_PROBE_STEPS, SQ_PROBE_COLD, SQ_ID_DRAM, chase),
    UNIT("fma_f32_tflops", SQ_ID_FMA),
    UNIT("ex2_gops_per_s", SQ_ID_EX2),
    UNIT("atomic_same_gops_per_s", SQ_ID_ATOMIC_SAME),
    UNIT("atomic_distinct_gops_per_s", SQ_ID_ATOMIC_DISTINCT),
    UNIT("atomic_shared_gops_per_s", SQ_ID_ATOMIC_SHARED),
    LINK("host_to_device_gbytes_per_s", SQ_ID_TO_DEVICE),
    LINK("device_to_host_gbytes_per_s", SQ_ID_TO_HOST),
    LINK("peer_gbytes_per_s", SQ_ID_TO_PEER),
    {.name = NULL},
};
