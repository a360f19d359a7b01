/* probe_bandwidth: device memory, L2, links to host and other devices. */
#include <stdlib.h>
#include <string.h>

#include "core/backend/cuda/probe_run.h"

/* The last launch leaves up to the whole L2 of written lines there, which is bandwidth that DRAM
 * did not give: 1 % of a write of 4 GiB where L2 is 50 MB. */
static const size_t most_bytes = (size_t)4 << 30;
enum { LINK_BYTES = 256 << 20 };

/* Blocks an SM; 0: one tile a block, however many that are. */
static const int per_sm[] = {0, 8, 16, 32}, in_flight[] = {2, 4, 8};
enum { N_PER_SM = 4, N_IN_FLIGHT = 3, WALKS = N_PER_SM * N_IN_FLIGHT };

static sq_probe_walk walk_of(const sq_cuda_run *run)
{
    sq_probe_walk walk = {.in_flight = in_flight[run->variant % N_IN_FLIGHT]};
    int blocks = per_sm[run->variant / N_IN_FLIGHT % N_PER_SM];
    size_t tile = (size_t)SQ_PROBE_THREADS * 16 * (size_t)walk.in_flight;
    walk.blocks = blocks ? blocks * run->facts->sm_count : (int)(run->bytes / tile);
    return walk;
}

/* --- device memory --- */

static sq_status fill_stream(sq_cuda_run *run, sq_error *err)
{
    cudaError_t code =
        run->probe->id == SQ_ID_TRIAD
            ? sq_probe_triad_inputs(run->buffer[1], run->buffer[2], run->bytes, run->stream)
            : sq_probe_pattern(run->buffer[0], run->bytes, run->stream);
    return sq_cuda_status(code, "inputs of a probe", err);
}

static sq_status size_stream(sq_cuda_run *run, sq_error *err)
{
    static const int buffers[] = {
        [SQ_ID_COPY] = 2, [SQ_ID_READ] = 1, [SQ_ID_WRITE] = 1, [SQ_ID_TRIAD] = 3};
    size_t free_bytes = 0, total_bytes = 0;
    SQ_TRY(sq_backend_cuda.memory(run->device, &free_bytes, &total_bytes, err));
    size_t bytes = free_bytes / 8 < most_bytes ? free_bytes / 8 : most_bytes;
    bytes = bytes / SQ_PROBE_TILE * SQ_PROBE_TILE;
    SQ_TRY(sq_cuda_run_alloc(run, buffers[run->probe->id], bytes, err));
    return fill_stream(run, err);
}

sq_status sq_stream_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                         sq_probe_run **out, sq_error *err)
{
    static const int touched[] = {
        [SQ_ID_COPY] = 2, [SQ_ID_READ] = 1, [SQ_ID_WRITE] = 1, [SQ_ID_TRIAD] = 3};
    sq_cuda_run *run;
    sq_status status = sq_cuda_run_new(probe, device, stream, &run, err);
    if (status == SQ_OK)
        status = size_stream(run, err);
    if (status == SQ_OK) {
        run->run.amount = (double)run->bytes * touched[probe->id];
        run->run.variants = WALKS + (probe->id == SQ_ID_COPY); /* the last: the driver's own copy */
    }
    return sq_cuda_run_opened(run, status, out, err);
}

sq_status sq_stream_choose(sq_probe_run *opaque, int variant, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    run->variant = variant;
    return sq_cuda_run_reset(run, err);
}

static cudaError_t copy_once(sq_cuda_run *run)
{
    if (run->variant == WALKS)
        return cudaMemcpyAsync(run->buffer[1], run->buffer[0], run->bytes, cudaMemcpyDeviceToDevice,
                               run->stream);
    return sq_probe_copy(run->buffer[1], run->buffer[0], run->bytes, walk_of(run), run->stream);
}

sq_status sq_stream_launch(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    cudaError_t code = cudaSuccess;
    run->launches++;
    switch (run->probe->id) {
    case SQ_ID_COPY:
        code = copy_once(run);
        break;
    case SQ_ID_READ:
        code = sq_probe_read(run->buffer[0], run->bytes, walk_of(run), run->result, run->stream);
        break;
    case SQ_ID_WRITE:
        code = sq_probe_write(run->buffer[0], run->bytes, walk_of(run), run->stream);
        break;
    default:
        code = sq_probe_triad(run->buffer[0], run->buffer[1], run->buffer[2], run->bytes,
                              walk_of(run), run->stream);
    }
    return sq_cuda_status(code, run->probe->name, err);
}

/* The sum of what `data` holds must be that of the pattern. */
static sq_status expect_pattern(sq_cuda_run *run, const void *data, sq_error *err)
{
    sq_probe_walk walk = {.blocks = 2048, .in_flight = 8};
    SQ_TRY(sq_cuda_run_reset(run, err));
    SQ_TRY(sq_cuda_status(sq_probe_read(data, run->bytes, walk, run->result, run->stream),
                          "check of a probe", err));
    return sq_cuda_run_expect(run, sq_pattern_sum(run->bytes), err);
}

sq_status sq_stream_check(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    switch (run->probe->id) {
    case SQ_ID_COPY:
        return expect_pattern(run, run->buffer[1], err);
    case SQ_ID_WRITE:
        return expect_pattern(run, run->buffer[0], err);
    case SQ_ID_READ:
        return sq_cuda_run_expect(run, sq_pattern_sum(run->bytes) * run->launches, err);
    default:
        SQ_TRY(sq_cuda_status(
            sq_probe_triad_check(run->buffer[0], run->bytes, run->result, run->stream),
            "check of a probe", err));
        return sq_cuda_run_expect(run, 0, err);
    }
}

/* --- L2 --- */

/* The data of a line may lie in both halves of L2 (A100, H100), so at most half of it is used. A
 * grid of 8 blocks an SM (fewer where L2 is small) goes over its set in 1, 2 or 3 equal steps, so
 * that all SMs have the same work. */
static const int l2_per_sm[] = {8, 4, 2};
enum { L2_SHARE = 2, L2_PASSES = 3, L2_GRIDS = 3, L2_READ_BYTES = 1 << 30 };

sq_status sq_l2_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                     sq_probe_run **out, sq_error *err)
{
    sq_cuda_run *run;
    sq_status status = sq_cuda_run_new(probe, device, stream, &run, err);
    if (status == SQ_OK && run->facts->l2_bytes <= 0)
        status = sq_fail(err, SQ_UNSUPPORTED, "the device does not tell the size of its L2");
    if (status == SQ_OK) {
        size_t bytes = (size_t)run->facts->l2_bytes / SQ_PROBE_TILE * SQ_PROBE_TILE;
        status = sq_cuda_run_alloc(run, 1, bytes, err);
    }
    if (status == SQ_OK)
        status = sq_cuda_status(sq_probe_pattern(run->buffer[0], run->bytes, run->stream),
                                "inputs of a probe", err);
    if (status == SQ_OK)
        run->run.variants = N_IN_FLIGHT * L2_PASSES * L2_GRIDS;
    return sq_cuda_run_opened(run, status, out, err);
}

static sq_probe_walk l2_walk(const sq_cuda_run *run)
{
    int blocks_an_sm = l2_per_sm[run->variant / N_IN_FLIGHT / L2_PASSES];
    return (sq_probe_walk){.blocks = blocks_an_sm * run->facts->sm_count,
                           .in_flight = in_flight[run->variant % N_IN_FLIGHT]};
}

static int l2_rounds(const sq_cuda_run *run)
{
    return (int)(L2_READ_BYTES / run->bytes) + 1;
}

sq_status sq_l2_choose(sq_probe_run *opaque, int variant, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    run->variant = variant;
    sq_probe_walk walk = l2_walk(run);
    run->bytes = (size_t)walk.blocks * SQ_PROBE_THREADS * 16 * (size_t)walk.in_flight *
                 (size_t)(variant / N_IN_FLIGHT % L2_PASSES + 1);
    if (run->bytes > (size_t)run->facts->l2_bytes / L2_SHARE)
        return sq_fail(err, SQ_UNSUPPORTED, "a set of %zu bytes is too large", run->bytes);
    run->run.amount = (double)run->bytes * l2_rounds(run);
    return sq_cuda_run_reset(run, err);
}

sq_status sq_l2_launch(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    run->launches++;
    return sq_cuda_status(sq_probe_read_l2(run->buffer[0], run->bytes, l2_rounds(run), l2_walk(run),
                                           run->result, run->stream),
                          run->probe->name, err);
}

sq_status sq_l2_check(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    uint32_t times = run->launches * (uint32_t)l2_rounds(run);
    return sq_cuda_run_expect(run, sq_pattern_sum(run->bytes) * times, err);
}

/* --- links --- */

static sq_status fill_host(sq_cuda_run *run, sq_error *err)
{
    SQ_TRY(sq_cuda_status(cudaHostAlloc(&run->host, run->bytes, cudaHostAllocDefault),
                          "pinned host memory", err));
    uint32_t *word = run->host;
    for (size_t i = 0; i < run->bytes / sizeof *word; i++)
        word[i] = run->probe->id == SQ_ID_TO_DEVICE ? (uint32_t)i : 0;
    return SQ_OK;
}

/* Memory on the first other device, with direct access where there is any. */
static sq_status open_peer(sq_cuda_run *run, sq_error *err)
{
    int count = 0, can = 0, own = run->facts->index;
    SQ_TRY(sq_cuda_status(cudaGetDeviceCount(&count), "devices", err));
    if (count < 2)
        return sq_fail(err, SQ_UNSUPPORTED, "there is no other GPU");
    run->far_device = own == 0 ? 1 : 0;
    SQ_TRY(sq_cuda_status(cudaSetDevice(run->far_device), "select the other GPU", err));
    cudaError_t code = cudaMalloc(&run->far, run->bytes);
    cudaSetDevice(own);
    SQ_TRY(sq_cuda_status(code, "memory of the other GPU", err));
    SQ_TRY(sq_cuda_status(cudaDeviceCanAccessPeer(&can, own, run->far_device), "peer access", err));
    code = can ? cudaDeviceEnablePeerAccess(run->far_device, 0) : cudaSuccess;
    if (code == cudaErrorPeerAccessAlreadyEnabled)
        (void)cudaGetLastError();
    else
        SQ_TRY(sq_cuda_status(code, "peer access", err));
    return SQ_OK;
}

static sq_status make_link(sq_cuda_run *run, sq_error *err)
{
    SQ_TRY(sq_cuda_run_alloc(run, 1, LINK_BYTES, err));
    SQ_TRY(sq_cuda_status(sq_probe_pattern(run->buffer[0], run->bytes, run->stream),
                          "inputs of a probe", err));
    if (run->probe->id == SQ_ID_TO_PEER)
        return open_peer(run, err);
    SQ_TRY(fill_host(run, err));
    if (run->probe->id == SQ_ID_TO_DEVICE)
        return sq_backend_cuda.poison(run->device, run->buffer[0], run->bytes, err);
    return SQ_OK;
}

sq_status sq_link_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                       sq_probe_run **out, sq_error *err)
{
    sq_cuda_run *run;
    sq_status status = sq_cuda_run_new(probe, device, stream, &run, err);
    if (status == SQ_OK)
        status = make_link(run, err);
    if (status == SQ_OK)
        run->run.amount = (double)run->bytes;
    return sq_cuda_run_opened(run, status, out, err);
}

sq_status sq_link_launch(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    cudaError_t code;
    if (run->probe->id == SQ_ID_TO_PEER)
        code = cudaMemcpyPeerAsync(run->far, run->far_device, run->buffer[0], run->facts->index,
                                   run->bytes, run->stream);
    else if (run->probe->id == SQ_ID_TO_DEVICE)
        code = cudaMemcpyAsync(run->buffer[0], run->host, run->bytes, cudaMemcpyHostToDevice,
                               run->stream);
    else
        code = cudaMemcpyAsync(run->host, run->buffer[0], run->bytes, cudaMemcpyDeviceToHost,
                               run->stream);
    return sq_cuda_status(code, run->probe->name, err);
}

static sq_status expect_host(sq_cuda_run *run, sq_error *err)
{
    const uint32_t *word = run->host;
    SQ_TRY(sq_backend_cuda.sync(run->device, err));
    for (size_t i = 0; i < run->bytes / sizeof *word; i++)
        if (word[i] != (uint32_t)i)
            return sq_fail(err, SQ_MISMATCH, "word %zu came as %u", i, word[i]);
    return SQ_OK;
}

sq_status sq_link_check(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    if (run->probe->id == SQ_ID_TO_HOST)
        return expect_host(run, err);
    if (run->probe->id == SQ_ID_TO_PEER) { /* back again, over what it was copied from */
        SQ_TRY(sq_backend_cuda.poison(run->device, run->buffer[0], run->bytes, err));
        SQ_TRY(sq_cuda_status(cudaMemcpyPeerAsync(run->buffer[0], run->facts->index, run->far,
                                                  run->far_device, run->bytes, run->stream),
                              "check of a probe", err));
    }
    return expect_pattern(run, run->buffer[0], err);
}
