/* decay_plan: what the launchers of the blocked kernels share: which rows they can read, and how
 * many segments they cut the steps into.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_PLAN_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_PLAN_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_segments.cuh"
#include "kernels/hw/launch.cuh"

enum { SQ_DECAY_MAX_KEYS = 256 };

/* One instance of a kernel: the state columns and steps that a block takes at a time, the blocks
 * that an SM holds, and what each needs. */
typedef struct {
    int columns, step, blocks_per_sm, shared_bytes;
    sq_status (*run)(const sq_call *call, const sq_decay_params &p, sq_error *err);
} sq_decay_kernel;

/* Rows are read and written in 16-byte vectors, those of states in pairs. */
static inline sq_status sq_decay_supports_rows(const sq_call *call, const sq_decay_params &p,
                                               sq_error *why)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    const sq_decay_tensor rows[] = {p.q, p.k, p.v, p.o, p.z};
    if (p.keys % vector != 0 || p.values % vector != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "rows of %d and %d: multiples of %d needed", p.keys,
                       p.values, vector);
    if (p.keys > SQ_DECAY_MAX_KEYS)
        return sq_fail(why, SQ_UNSUPPORTED, "%d state rows: at most %d", p.keys, SQ_DECAY_MAX_KEYS);
    bool is_aligned = sq_decay_has_vectors(p.initial) && sq_decay_has_vectors(p.final);
    for (const sq_decay_tensor &t : rows)
        is_aligned = is_aligned && sq_decay_has_vectors(t, vector);
    return is_aligned ? SQ_OK
                      : sq_fail(why, SQ_UNSUPPORTED, "a tensor's rows are not 16-byte aligned");
}

static inline sq_decay_params sq_decay_planned(const sq_decay_kernel &kernel, sq_decay_params p)
{
    if (p.kind != SQ_DECAY_ROWS) /* whose kernels hand no decay of a segment on */
        sq_decay_plan(&p, kernel.columns, kernel.blocks_per_sm, kernel.step);
    else
        p.segment_length = p.length;
    return p;
}

static inline sq_status sq_decay_run(const sq_decay_kernel &kernel, const sq_call *call,
                                     const sq_decay_params &params, sq_error *err)
{
    sq_decay_params p = sq_decay_planned(kernel, params);
    sq_decay_use_workspace(&p, call->workspace);
    return kernel.run(call, p, err);
}

/* Hands out the workspace; `at` may start at 0: to count. */
typedef struct {
    uintptr_t at;
} sq_decay_arena;

static inline void *sq_decay_take(sq_decay_arena *a, int64_t bytes)
{
    void *memory = (void *)a->at;
    a->at += (uintptr_t)sq_ceil_div(bytes, 256) * 256;
    return memory;
}

static inline float *sq_decay_take_floats(sq_decay_arena *a, int64_t count)
{
    return (float *)sq_decay_take(a, count * (int64_t)sizeof(float));
}

#endif
