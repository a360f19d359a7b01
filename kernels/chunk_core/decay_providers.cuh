/* decay_providers: the kernels of this folder as providers of an operator. An operator gives a
 * function that makes its call's sq_decay_params and gets supports(), workspace() and launch() of
 * each. Pass step is one kernel for all of them but the naive one. forward(): pass fwd with parameters that the
 * operator has changed.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_PROVIDERS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_PROVIDERS_CUH

#include <stdlib.h>

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/op.h"

typedef sq_decay_params (*sq_decay_params_fn)(const sq_call *call);
typedef sq_decay_grads (*sq_decay_grads_fn)(const sq_call *backward);
typedef sq_status (*sq_decay_supports_fn)(const sq_call *call, const sq_decay_params &p,
                                          const sq_device *device, sq_error *why);
typedef size_t (*sq_decay_workspace_fn)(const sq_call *call, const sq_decay_params &p);
typedef sq_status (*sq_decay_launch_fn)(const sq_call *call, const sq_decay_params &p,
                                        sq_error *err);
typedef sq_status (*sq_decay_backward_fn)(const sq_call *call, const sq_decay_params &p,
                                          const sq_decay_grads &grads, sq_error *err);

/* decay_naive.cu: one warp per column of the state, step by step: passes fwd and step.
 * decay_naive_bwd.cu: one thread per row, then per column. */
sq_status sq_decay_naive_supports(const sq_call *call, const sq_decay_params &p,
                                  const sq_device *device, sq_error *why);
sq_status sq_decay_naive_launch(const sq_call *call, const sq_decay_params &p, sq_error *err);
size_t sq_decay_naive_workspace(const sq_call *call, const sq_decay_params &p);
sq_status sq_decay_naive_backward(const sq_call *call, const sq_decay_params &p,
                                  const sq_decay_grads &grads, sq_error *err);

/* decay_step.cu: pass step of what the naive kernel supports. */
sq_status sq_decay_step_launch(const sq_call *call, const sq_decay_params &p, sq_error *err);

/* decay_steps.cu: step by step, the state in registers. */
sq_status sq_decay_steps_supports(const sq_call *call, const sq_decay_params &p,
                                  const sq_device *device, sq_error *why);
size_t sq_decay_steps_workspace(const sq_call *call, const sq_decay_params &p);
sq_status sq_decay_steps_launch(const sq_call *call, const sq_decay_params &p, sq_error *err);

/* decay_chunks.cu: by chunks, on tensor cores: 16-bit types; no decays by row. */
sq_status sq_decay_chunks_supports(const sq_call *call, const sq_decay_params &p,
                                   const sq_device *device, sq_error *why);
size_t sq_decay_chunks_workspace(const sq_call *call, const sq_decay_params &p);
sq_status sq_decay_chunks_launch(const sq_call *call, const sq_decay_params &p, sq_error *err);

/* decay_native.cu, decay_native_bwd.cu: by chunks, on Hopper's tensor cores: bf16. The plan is the
 * tensors' maps; free() releases it. */
sq_status sq_decay_native_supports(const sq_call *call, const sq_decay_params &p,
                                   const sq_device *device, sq_error *why);
size_t sq_decay_native_workspace(const sq_decay_params &p);
sq_status sq_decay_native_prepare(const sq_call *call, const sq_decay_params &p, void **plan,
                                  sq_error *err);
sq_status sq_decay_native_launch(const sq_call *call, const sq_decay_params &p, void *plan,
                                 sq_error *err);
sq_status sq_decay_native_bwd_supports(const sq_call *call, const sq_decay_params &p,
                                       const sq_decay_grads &grads, const sq_device *device,
                                       sq_error *why);
size_t sq_decay_native_bwd_workspace(const sq_decay_params &p, const sq_decay_grads &grads);
sq_status sq_decay_native_bwd_prepare(const sq_call *call, const sq_decay_params &p,
                                      const sq_decay_grads &grads, void **plan, sq_error *err);
sq_status sq_decay_native_bwd_launch(const sq_call *call, const sq_decay_params &p,
                                     const sq_decay_grads &grads, void *plan, sq_error *err);

/* decay_tile.cu: by chunks on tiles, any shape. Pass bwd too. */
sq_status sq_decay_tile_supports(const sq_call *call, const sq_decay_params &p,
                                 const sq_device *device, sq_error *why);
size_t sq_decay_tile_workspace(const sq_call *call, const sq_decay_params &p);
sq_status sq_decay_tile_forward(const sq_call *call, const sq_decay_params &p, sq_error *err);
sq_status sq_decay_tile_backward(const sq_call *call, const sq_decay_params &p,
                                 const sq_decay_grads &grads, sq_error *err);

/* A kernel that has pass fwd alone. */
template <sq_decay_params_fn PARAMS, sq_decay_supports_fn SUPPORTS, sq_decay_workspace_fn WORKSPACE,
          sq_decay_launch_fn LAUNCH>
struct sq_decay_forward {
    static sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
    {
        return SUPPORTS(call, PARAMS(call), device, why);
    }
    static size_t workspace(const sq_call *call) { return WORKSPACE(call, PARAMS(call)); }
    static sq_status forward(const sq_call *call, const sq_decay_params &p, void *plan,
                             sq_error *err)
    {
        (void)plan;
        return LAUNCH(call, p, err);
    }
    static sq_status launch(const sq_call *call, void *plan, sq_error *err)
    {
        return forward(call, PARAMS(call), plan, err);
    }
};

template <sq_decay_params_fn PARAMS>
using sq_decay_steps = sq_decay_forward<PARAMS, sq_decay_steps_supports, sq_decay_steps_workspace,
                                        sq_decay_steps_launch>;
template <sq_decay_params_fn PARAMS>
using sq_decay_chunks = sq_decay_forward<PARAMS, sq_decay_chunks_supports,
                                         sq_decay_chunks_workspace, sq_decay_chunks_launch>;

/* One that has pass bwd too. */
template <sq_decay_params_fn PARAMS, sq_decay_grads_fn GRADS, sq_decay_supports_fn SUPPORTS,
          sq_decay_workspace_fn WORKSPACE, sq_decay_launch_fn LAUNCH, sq_decay_backward_fn BACKWARD>
struct sq_decay_both : sq_decay_forward<PARAMS, SUPPORTS, WORKSPACE, LAUNCH> {
    using of_forward = sq_decay_forward<PARAMS, SUPPORTS, WORKSPACE, LAUNCH>;
    static sq_status launch(const sq_call *call, void *plan, sq_error *err)
    {
        return call->pass == SQ_PASS_BWD ? BACKWARD(call, PARAMS(call), GRADS(call), err)
                                         : of_forward::launch(call, plan, err);
    }
};

/* A provider without plans. */
template <typename SELF>
static constexpr sq_provider sq_decay_provider(const char *name, const char *doc)
{
    return {name, doc, SELF::supports, SELF::workspace, NULL, SELF::launch, NULL, SELF::passes};
}

template <sq_decay_params_fn PARAMS, sq_decay_grads_fn GRADS>
struct sq_decay_naive
    : sq_decay_both<PARAMS, GRADS, sq_decay_naive_supports, sq_decay_naive_workspace,
                    sq_decay_naive_launch, sq_decay_naive_backward> {
    static constexpr unsigned passes = SQ_HAS_BWD | SQ_HAS_STEP;
    static constexpr sq_provider provider()
    {
        return sq_decay_provider<sq_decay_naive>(
            "cuda/naive", "one warp per column of the state, step by step; bwd: a thread per row, "
                          "then per column");
    }
};

/* Any shape by chunks of 64. */
template <sq_decay_params_fn PARAMS, sq_decay_grads_fn GRADS>
struct sq_decay_tile : sq_decay_both<PARAMS, GRADS, sq_decay_tile_supports, sq_decay_tile_workspace,
                                     sq_decay_tile_forward, sq_decay_tile_backward> {
    static constexpr unsigned passes = SQ_HAS_BWD;
    static constexpr sq_provider provider()
    {
        return sq_decay_provider<sq_decay_tile>(
            "cuda/chunkwise",
            "states of chunks first, then all chunks on 64 x 64 tiles; any shape");
    }
};

/* By chunks where tensor cores can, else step by step; one step by a kernel of its own; backward by
 * chunks on tiles. */
template <sq_decay_params_fn PARAMS, sq_decay_grads_fn GRADS>
struct sq_decay_portable {
    using naive = sq_decay_naive<PARAMS, GRADS>;
    using steps = sq_decay_steps<PARAMS>;
    using chunks = sq_decay_chunks<PARAMS>;
    using tile = sq_decay_tile<PARAMS, GRADS>;
    static constexpr unsigned passes = naive::passes | tile::passes;
    static bool has_chunks(const sq_call *call)
    {
        return call->dtype != SQ_DTYPE_F32 && PARAMS(call).kind != SQ_DECAY_ROWS;
    }
    static sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
    {
        if (call->pass == SQ_PASS_STEP)
            return naive::supports(call, device, why);
        if (call->pass == SQ_PASS_BWD)
            return tile::supports(call, device, why);
        return has_chunks(call) ? chunks::supports(call, device, why)
                                : steps::supports(call, device, why);
    }
    static size_t workspace(const sq_call *call)
    {
        if (call->pass == SQ_PASS_STEP)
            return 0;
        if (call->pass == SQ_PASS_BWD)
            return tile::workspace(call);
        return has_chunks(call) ? chunks::workspace(call) : steps::workspace(call);
    }
    static sq_status forward(const sq_call *call, const sq_decay_params &p, void *plan,
                             sq_error *err)
    {
        return has_chunks(call) ? chunks::forward(call, p, plan, err)
                                : steps::forward(call, p, plan, err);
    }
    static sq_status launch(const sq_call *call, void *plan, sq_error *err)
    {
        if (call->pass == SQ_PASS_STEP)
            return sq_decay_step_launch(call, PARAMS(call), err);
        if (call->pass == SQ_PASS_BWD)
            return tile::launch(call, plan, err);
        return forward(call, PARAMS(call), plan, err);
    }
    static constexpr sq_provider provider()
    {
        return sq_decay_provider<sq_decay_portable>(
            "cuda/portable", "chunks on tensor cores (16 bit), state in registers; segments where "
                             "states are few; decays by channel step by step");
    }
};

template <sq_decay_params_fn PARAMS, sq_decay_grads_fn GRADS>
struct sq_decay_native {
    using naive = sq_decay_naive<PARAMS, GRADS>; /* supports the same steps */
    static bool is_backward(const sq_call *call) { return call->pass == SQ_PASS_BWD; }
    static bool is_step(const sq_call *call) { return call->pass == SQ_PASS_STEP; }
    static sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
    {
        if (is_step(call) && call->dtype == SQ_DTYPE_BF16)
            return naive::supports(call, device, why);
        return is_backward(call)
                   ? sq_decay_native_bwd_supports(call, PARAMS(call), GRADS(call), device, why)
                   : sq_decay_native_supports(call, PARAMS(call), device, why);
    }
    static size_t workspace(const sq_call *call)
    {
        if (is_step(call))
            return naive::workspace(call);
        return is_backward(call) ? sq_decay_native_bwd_workspace(PARAMS(call), GRADS(call))
                                 : sq_decay_native_workspace(PARAMS(call));
    }
    static sq_status prepare(const sq_call *call, void **plan, sq_error *err)
    {
        *plan = NULL;
        if (is_step(call))
            return SQ_OK;
        return is_backward(call)
                   ? sq_decay_native_bwd_prepare(call, PARAMS(call), GRADS(call), plan, err)
                   : sq_decay_native_prepare(call, PARAMS(call), plan, err);
    }
    static sq_status forward(const sq_call *call, const sq_decay_params &p, void *plan,
                             sq_error *err)
    {
        return sq_decay_native_launch(call, p, plan, err);
    }
    static sq_status launch(const sq_call *call, void *plan, sq_error *err)
    {
        if (is_step(call))
            return sq_decay_step_launch(call, PARAMS(call), err);
        return is_backward(call)
                   ? sq_decay_native_bwd_launch(call, PARAMS(call), GRADS(call), plan, err)
                   : forward(call, PARAMS(call), plan, err);
    }
    static constexpr sq_provider provider()
    {
        return {"cuda/native",
                "chunks by wgmma and TMA (sm_90a, bf16), state in registers; segments where states "
                "are few",
                supports,
                workspace,
                prepare,
                launch,
                free,
                SQ_HAS_BWD | SQ_HAS_STEP};
    }
};

#endif
