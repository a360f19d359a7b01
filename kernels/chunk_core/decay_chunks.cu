/* decay_chunks: the provider that goes by chunks on tensor cores, for 16-bit types; in segments
 * where states are few.
 */
#include "kernels/chunk_core/decay_mma.cuh"
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"

template <typename T, int KEYS, int VALUES>
static sq_decay_kernel instance()
{
    using shape = sq_chunk_shape<KEYS, VALUES>;
    return {VALUES, SQ_CHUNK, shape::blocks_per_sm, shape::shared_bytes,
            sq_chunk_run<T, KEYS, VALUES>};
}

/* The smallest instance that holds all rows of the state. */
template <typename T>
static sq_decay_kernel choose_shape(const sq_decay_params &p)
{
    if (p.keys <= 128)
        return p.keys <= 64 ? instance<T, 64, 64>() : instance<T, 128, 64>();
    return p.values <= 64 ? instance<T, 256, 64>() : instance<T, 256, 128>();
}

static sq_decay_kernel choose(const sq_call *call, const sq_decay_params &p)
{
    return call->dtype == SQ_DTYPE_BF16 ? choose_shape<__nv_bfloat16>(p) : choose_shape<__half>(p);
}

sq_status sq_decay_chunks_supports(const sq_call *call, const sq_decay_params &p,
                                   const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    if (call->dtype == SQ_DTYPE_F32)
        return sq_fail(why, SQ_UNSUPPORTED, "tensor cores take no f32");
    if (p.chunk != 0 && p.chunk != SQ_CHUNK)
        return sq_fail(why, SQ_UNSUPPORTED, "chunk=%lld: chunks of %d only", (long long)p.chunk,
                       SQ_CHUNK);
    SQ_TRY(sq_decay_supports_rows(call, p, why));
    SQ_TRY(sq_supports_shared(device, (size_t)choose(call, p).shared_bytes, why));
    return sq_decay_supports_grid(p, why);
}

size_t sq_decay_chunks_workspace(const sq_call *call, const sq_decay_params &p)
{
    return sq_decay_workspace(sq_decay_planned(choose(call, p), p));
}

sq_status sq_decay_chunks_launch(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    return sq_decay_run(choose(call, p), call, p, err);
}
