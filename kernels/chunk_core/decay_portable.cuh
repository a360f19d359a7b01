/* decay_portable: the provider cuda/portable of the decayed recurrence: chunks on tensor cores for
 * bf16, steps in registers for f32; in segments where states are few.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_PORTABLE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_PORTABLE_CUH

#include "kernels/chunk_core/decay_mma.cuh"
#include "kernels/chunk_core/decay_simt.cuh"

enum { SQ_PORTABLE_MAX_KEYS = 256 };

/* One instance of a kernel: the state columns and steps that a block takes at a time, the blocks
 * that an SM holds, and what each needs. */
typedef struct {
    int columns, step, blocks_per_sm, shared_bytes;
    sq_status (*run)(const sq_call *call, const sq_decay_params &p, sq_error *err);
} sq_portable_kernel;

template <int KEYS, int VALUES>
static inline sq_portable_kernel sq_portable_chunks()
{
    using shape = sq_chunk_shape<KEYS, VALUES>;
    return {VALUES, SQ_CHUNK, shape::blocks_per_sm, shape::shared_bytes,
            sq_chunk_run<KEYS, VALUES>};
}

template <int SPLIT>
static inline sq_portable_kernel sq_portable_steps()
{
    return {SQ_SIMT_COLUMNS, SQ_SIMT_STEPS, 2, sq_simt_shared<SPLIT>, sq_simt_run<SPLIT>};
}

/* The smallest instance that holds all rows of the state. */
static inline sq_portable_kernel sq_portable_choose(sq_dtype dtype, const sq_decay_params &p)
{
    if (dtype == SQ_DTYPE_F32)
        return p.keys <= 64    ? sq_portable_steps<2>()
               : p.keys <= 128 ? sq_portable_steps<4>()
                               : sq_portable_steps<8>();
    if (p.keys <= 128)
        return p.keys <= 64 ? sq_portable_chunks<64, 64>() : sq_portable_chunks<128, 64>();
    return p.values <= 64 ? sq_portable_chunks<256, 64>() : sq_portable_chunks<256, 128>();
}

static inline sq_status sq_portable_supports_chunk(sq_dtype dtype, int64_t chunk, sq_error *why)
{
    if (chunk == 0 || (chunk == SQ_CHUNK && dtype == SQ_DTYPE_BF16))
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "chunk=%lld: %s", (long long)chunk,
                   dtype == SQ_DTYPE_BF16 ? "chunks of 64 only" : "f32 goes step by step");
}

static inline sq_status sq_portable_supports_rows(const sq_call *call, const sq_decay_params &p,
                                                  const sq_tensor *const *rows, int n_rows,
                                                  sq_error *why)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    if (p.keys % vector != 0 || p.values % vector != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "rows of %d and %d: multiples of %d needed", p.keys,
                       p.values, vector);
    for (int i = 0; i < n_rows; i++)
        if (!sq_is_vector_aligned(rows[i]))
            return sq_fail(why, SQ_UNSUPPORTED, "a tensor's rows are not 16-byte aligned");
    return SQ_OK;
}

/* chunk: the axis. rows: the tensors whose rows are read or written in vectors. */
static inline sq_status sq_decay_portable_supports(const sq_call *call, const sq_device *device,
                                                   const sq_decay_params &p, int64_t chunk,
                                                   const sq_tensor *const *rows, int n_rows,
                                                   sq_error *why)
{
    SQ_TRY(sq_supports_f32_bf16(call, why));
    SQ_TRY(sq_portable_supports_chunk(call->dtype, chunk, why));
    SQ_TRY(sq_portable_supports_rows(call, p, rows, n_rows, why));
    if (p.keys > SQ_PORTABLE_MAX_KEYS)
        return sq_fail(why, SQ_UNSUPPORTED, "%d state rows: at most %d", p.keys,
                       SQ_PORTABLE_MAX_KEYS);
    const sq_portable_kernel kernel = sq_portable_choose(call->dtype, p);
    SQ_TRY(sq_supports_shared(device, (size_t)kernel.shared_bytes, why));
    return sq_decay_supports_grid(p, why);
}

static inline sq_decay_params sq_portable_plan(const sq_portable_kernel &kernel, sq_decay_params p)
{
    sq_decay_plan(&p, kernel.columns, kernel.blocks_per_sm, kernel.step);
    return p;
}

static inline size_t sq_decay_portable_workspace(const sq_call *call, const sq_decay_params &p)
{
    return sq_decay_workspace(sq_portable_plan(sq_portable_choose(call->dtype, p), p));
}

static inline sq_status sq_decay_portable_launch(const sq_call *call, const sq_decay_params &params,
                                                 sq_error *err)
{
    const sq_portable_kernel kernel = sq_portable_choose(call->dtype, params);
    sq_decay_params p = sq_portable_plan(kernel, params);
    sq_decay_use_workspace(&p, call->workspace);
    return kernel.run(call, p, err);
}

#endif
