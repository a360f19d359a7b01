/* decay_token: the token between a block's projections as a fusion of a recurrence's providers:
 *
 *   [causal_conv1d,] the recurrence, rmsnorm
 *
 * in pass step. An operator gives the function that makes its call's sq_decay_params.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_TOKEN_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_TOKEN_CUH

#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/fusion.h"

/* calls: of the run, the recurrence's being calls[mixer], 0 or 1; p: its own. The plan is the
 * tickets (decay_token.cu). */
sq_status sq_decay_token_supports(const sq_call *const *calls, int mixer, const sq_decay_params &p,
                                  const sq_device *device, sq_error *why);
size_t sq_decay_token_workspace(const sq_decay_params &p);
sq_status sq_decay_token_prepare(const sq_call *const *calls, int mixer, void **plan,
                                 sq_error *err);
sq_status sq_decay_token_launch(const sq_call *const *calls, int mixer, const sq_decay_params &p,
                                void *plan, sq_error *err);
void sq_decay_token_release(void *plan);

/* MIXER: where the recurrence is in the run. */
template <sq_decay_params_fn PARAMS, int MIXER>
struct sq_decay_token {
    static sq_status supports(const sq_call *const *calls, const sq_device *device, sq_error *why)
    {
        return sq_decay_token_supports(calls, MIXER, PARAMS(calls[MIXER]), device, why);
    }
    static size_t workspace(const sq_call *const *calls)
    {
        return sq_decay_token_workspace(PARAMS(calls[MIXER]));
    }
    static sq_status prepare(const sq_call *const *calls, void **plan, sq_error *err)
    {
        return sq_decay_token_prepare(calls, MIXER, plan, err);
    }
    static sq_status launch(const sq_call *const *calls, void *plan, sq_error *err)
    {
        return sq_decay_token_launch(calls, MIXER, PARAMS(calls[MIXER]), plan, err);
    }
    static constexpr sq_fusion fusion(const char *const *ops)
    {
        return {"cuda/native", ops,     MIXER,  supports,
                workspace,     prepare, launch, sq_decay_token_release};
    }
};

#endif
