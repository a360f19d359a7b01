/* probe_units: latency of one load, arithmetic, shared memory, atomics. */
#include "core/backend/cuda/probe_run.h"

/* --- latency --- */

/* Bytes of the ring and loads of a launch. L1 and shared memory: some milliseconds of hits, beside
 * which the first round's misses do not count. L2: once around a set that it holds. DRAM: far
 * beyond L2, so that a cold launch meets no line twice; what it costs to translate addresses is in
 * it. */
static const struct {
    uint32_t count;
    int steps;
} rings[] = {
    [SQ_ID_L1] = {128, 1 << 20},
    [SQ_ID_SHARED] = {256, 1 << 20},
    [SQ_ID_L2] = {1 << 15, 1 << 15},
    [SQ_ID_DRAM] = {1 << 22, 1 << 13},
};

sq_status sq_chase_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                        sq_probe_run **out, sq_error *err)
{
    sq_cuda_run *run;
    sq_status status = sq_cuda_run_new(probe, device, stream, &run, err);
    if (status == SQ_OK && probe->id != SQ_ID_SHARED) {
        status = sq_cuda_run_alloc(run, 1, (size_t)rings[probe->id].count * SQ_CHASE_LINE, err);
        if (status == SQ_OK)
            status =
                sq_cuda_status(sq_probe_ring(run->buffer[0], rings[probe->id].count, run->stream),
                               "ring of a probe", err);
    }
    if (status == SQ_OK)
        run->run.amount = rings[probe->id].steps;
    return sq_cuda_run_opened(run, status, out, err);
}

sq_status sq_chase_launch(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    int id = run->probe->id, steps = rings[id].steps;
    cudaError_t code =
        id == SQ_ID_SHARED
            ? sq_probe_chase_shared(rings[id].count, steps, run->result, run->stream)
            : sq_probe_chase(run->buffer[0], steps, id == SQ_ID_L1, run->result, run->stream);
    return sq_cuda_status(code, run->probe->name, err);
}

sq_status sq_chase_check(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    uint32_t at = 0;
    for (int i = 0; i < rings[run->probe->id].steps; i++)
        at = sq_probe_next(at, rings[run->probe->id].count);
    return sq_cuda_run_expect(run, at, err);
}

/* --- the rest: grids of blocks that all do the same --- */

/* Blocks an SM: a multiple of the 6 or 8 that fit at a time, and enough for a fraction of a
 * millisecond. `amount`: of one block. */
static const struct {
    int blocks;
    double amount;
} units[] = {
    [SQ_ID_FMA] = {24, 2e-3 * SQ_PROBE_THREADS *SQ_FMA_CHAINS *SQ_FMA_STEPS},
    [SQ_ID_EX2] = {24, 1.0 * SQ_PROBE_THREADS *SQ_EX2_CHAINS *SQ_EX2_STEPS},
    [SQ_ID_SHARED_READ] = {24, 1.0 * SQ_SHARED_BYTES *SQ_SHARED_ROUNDS},
    [SQ_ID_ATOMIC_SAME] = {8, 1.0 * SQ_PROBE_THREADS *SQ_ATOMIC_STEPS},
    [SQ_ID_ATOMIC_DISTINCT] = {8, 1.0 * SQ_PROBE_THREADS *SQ_ATOMIC_STEPS},
    [SQ_ID_ATOMIC_SHARED] = {240, 1.0 * SQ_PROBE_THREADS *SQ_ATOMIC_STEPS},
};

static int blocks_of(const sq_cuda_run *run)
{
    return units[run->probe->id].blocks * run->facts->sm_count;
}

/* Counters of all threads of the grid, zeroed. */
static sq_status alloc_counters(sq_cuda_run *run, sq_error *err)
{
    size_t bytes = (size_t)blocks_of(run) * SQ_PROBE_THREADS * sizeof(uint32_t);
    SQ_TRY(sq_cuda_run_alloc(run, 1, bytes, err));
    return sq_cuda_status(cudaMemsetAsync(run->buffer[0], 0, bytes, run->stream),
                          "counters of a probe", err);
}

sq_status sq_unit_open(const sq_probe *probe, sq_backend_device *device, void *stream,
                       sq_probe_run **out, sq_error *err)
{
    sq_cuda_run *run;
    sq_status status = sq_cuda_run_new(probe, device, stream, &run, err);
    if (status == SQ_OK && probe->id == SQ_ID_ATOMIC_DISTINCT)
        status = alloc_counters(run, err);
    if (status == SQ_OK)
        run->run.amount = units[probe->id].amount * blocks_of(run);
    return sq_cuda_run_opened(run, status, out, err);
}

sq_status sq_unit_launch(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    int blocks = blocks_of(run);
    cudaError_t code = cudaSuccess;
    run->launches++;
    switch (run->probe->id) {
    case SQ_ID_FMA:
        code = sq_probe_fma(blocks, run->result, run->stream);
        break;
    case SQ_ID_EX2:
        code = sq_probe_ex2(blocks, run->result, run->stream);
        break;
    case SQ_ID_SHARED_READ:
        code = sq_probe_shared_read(blocks, run->result, run->stream);
        break;
    case SQ_ID_ATOMIC_SAME:
        code = sq_probe_atomic(blocks, run->result, 0, run->stream);
        break;
    case SQ_ID_ATOMIC_DISTINCT:
        code = sq_probe_atomic(blocks, run->buffer[0], 1, run->stream);
        break;
    default:
        code = sq_probe_atomic_shared(blocks, run->result, run->stream);
    }
    return sq_cuda_status(code, run->probe->name, err);
}

/* What all launches together have added up, modulo 2^32; 0 where they count what went wrong. */
static uint32_t expected_sum(const sq_cuda_run *run)
{
    uint32_t blocks = (uint32_t)blocks_of(run) * run->launches;
    switch (run->probe->id) {
    case SQ_ID_SHARED_READ:
        return sq_pattern_sum(SQ_SHARED_BYTES) * SQ_SHARED_ROUNDS * blocks;
    case SQ_ID_ATOMIC_SAME:
    case SQ_ID_ATOMIC_DISTINCT:
        return blocks * SQ_PROBE_THREADS * SQ_ATOMIC_STEPS;
    default:
        return 0;
    }
}

sq_status sq_unit_check(sq_probe_run *opaque, sq_error *err)
{
    sq_cuda_run *run = (sq_cuda_run *)opaque;
    if (run->probe->id == SQ_ID_ATOMIC_DISTINCT) {
        sq_probe_walk walk = {.blocks = 2048, .in_flight = 2};
        SQ_TRY(sq_cuda_status(
            sq_probe_read(run->buffer[0], run->bytes, walk, run->result, run->stream),
            "check of a probe", err));
    }
    return sq_cuda_run_expect(run, expected_sum(run), err);
}
