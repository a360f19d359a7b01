/* decay_steps: the provider that goes step by step with the state in registers; in segments where
 * states are few.
 */
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/chunk_core/decay_simt.cuh"

template <typename T, int SPLIT>
static sq_decay_kernel instance(const sq_decay_params &p)
{
    return {SQ_SIMT_COLUMNS, SQ_SIMT_STEPS, 2,
            p.kind == SQ_DECAY_ROWS ? sq_simt_shared<SPLIT, SQ_SIMT_BY_ROW>
                                    : sq_simt_shared<SPLIT, SQ_SIMT_MAIN>,
            sq_simt_run<T, SPLIT>};
}

/* The smallest instance that holds all rows of the state. */
template <typename T>
static sq_decay_kernel choose_split(const sq_decay_params &p)
{
    return p.keys <= 64 ? instance<T, 2>(p) : p.keys <= 128 ? instance<T, 4>(p) : instance<T, 8>(p);
}

static sq_decay_kernel choose(const sq_call *call, const sq_decay_params &p)
{
    return call->dtype == SQ_DTYPE_F32    ? choose_split<float>(p)
           : call->dtype == SQ_DTYPE_BF16 ? choose_split<__nv_bfloat16>(p)
                                          : choose_split<__half>(p);
}

sq_status sq_decay_steps_supports(const sq_call *call, const sq_decay_params &p,
                                  const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    if (p.chunk != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "goes step by step: chunk=0 only");
    SQ_TRY(sq_decay_supports_rows(call, p, why));
    SQ_TRY(sq_decay_supports_gamma(p, why));
    SQ_TRY(sq_supports_shared(device, (size_t)choose(call, p).shared_bytes, why));
    return sq_decay_supports_grid(p, why);
}

size_t sq_decay_steps_workspace(const sq_call *call, const sq_decay_params &p)
{
    return sq_decay_workspace(sq_decay_planned(choose(call, p), p));
}

sq_status sq_decay_steps_launch(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    return sq_decay_run(choose(call, p), call, p, err);
}
