/* decay_portable: the provider cuda/portable of the decayed recurrence: chunks on tensor cores for
 * bf16, steps in registers for f32; in segments where states are few.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_PORTABLE_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_PORTABLE_CUH

#include "kernels/chunk_core/decay_mma.cuh"
#include "kernels/chunk_core/decay_simt.cuh"

enum { SQ_PORTABLE_MAX_KEYS = 256 };

/* chunk: the axis. rows: the tensors whose rows are read or written in vectors. */
static inline sq_status sq_decay_portable_supports(const sq_call *call, const sq_decay_params &p,
                                                   int64_t chunk, const sq_tensor *const *rows,
                                                   int n_rows, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    const bool has_chunks = call->dtype == SQ_DTYPE_BF16;
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    if (chunk != 0 && !(has_chunks && chunk == SQ_CHUNK))
        return sq_fail(why, SQ_UNSUPPORTED, "chunk=%lld: %s", (long long)chunk,
                       has_chunks ? "chunks of 64 only" : "f32 goes step by step");
    if (p.keys > SQ_PORTABLE_MAX_KEYS)
        return sq_fail(why, SQ_UNSUPPORTED, "%d state rows: at most %d", p.keys,
                       SQ_PORTABLE_MAX_KEYS);
    if (p.keys % vector != 0 || p.values % vector != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "rows of %d and %d: multiples of %d needed", p.keys,
                       p.values, vector);
    for (int i = 0; i < n_rows; i++)
        if (!sq_is_vector_aligned(rows[i]))
            return sq_fail(why, SQ_UNSUPPORTED, "a tensor's rows are not 16-byte aligned");
    return SQ_OK;
}

/* Fills in the segments. */
static inline sq_decay_params sq_decay_portable_plan(sq_dtype dtype, sq_decay_params p)
{
    if (dtype == SQ_DTYPE_F32)
        sq_decay_plan(&p, SQ_SIMT_COLUMNS, 2, SQ_SIMT_STEPS);
    else if (p.keys <= 128)
        sq_decay_plan(&p, 64, sq_chunk_shape<128, 64>::blocks_per_sm, SQ_CHUNK);
    else
        sq_decay_plan(&p, 128, sq_chunk_shape<256, 128>::blocks_per_sm, SQ_CHUNK);
    return p;
}

static inline size_t sq_decay_portable_workspace(const sq_call *call, const sq_decay_params &p)
{
    return sq_decay_workspace(sq_decay_portable_plan(call->dtype, p));
}

static inline sq_status sq_decay_portable_launch(const sq_call *call, const sq_decay_params &params,
                                                 sq_error *err)
{
    sq_decay_params p = sq_decay_portable_plan(call->dtype, params);
    sq_decay_use_workspace(&p, call->workspace);
    if (call->dtype == SQ_DTYPE_F32)
        return p.keys <= 64    ? sq_simt_run<2>(call, p, err)
               : p.keys <= 128 ? sq_simt_run<4>(call, p, err)
                               : sq_simt_run<8>(call, p, err);
    return p.keys <= 64    ? sq_chunk_run<64, 64>(call, p, err)
           : p.keys <= 128 ? sq_chunk_run<128, 64>(call, p, err)
                           : sq_chunk_run<256, 128>(call, p, err);
}

#endif
