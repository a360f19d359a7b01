/* decay_native: the provider that goes by chunks on Hopper's tensor cores, for bf16; in segments
 * where states are few.
 */
#include "kernels/chunk_core/decay_native.cuh"
#include "kernels/chunk_core/decay_native_host.cuh"
#include "kernels/chunk_core/decay_native_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"

#include <stdlib.h>

typedef sq_status (*run_fn)(const sq_call *call, const sq_native_maps &maps,
                            const sq_decay_params &p, int heads, int merged, sq_error *err);

/* One instance of the kernel, and how a call is laid over its blocks: `heads` heads of `columns`
 * state columns each. chunk_ns, state_ns: what a block takes for a chunk when the device is full, in
 * the main pass and in the one that makes the states of segments (docs/kernels/recurrence.md). */
typedef struct {
    int groups, heads, columns, blocks_per_sm, shared_bytes;
    double chunk_ns, state_ns;
    run_fn run;
} native_kernel;

static int64_t blocks_of(const native_kernel &kernel, const sq_decay_params &p)
{
    return sq_ceil_div(p.values, kernel.columns) * (p.heads / kernel.heads) * p.batch;
}

template <typename T, int KEYS, int GROUPS, bool IS_STATE_ONLY>
static sq_status run_pass(const sq_call *call, const sq_native_maps &maps, const sq_decay_params &p,
                          int heads, int merged, int64_t blocks, sq_error *err)
{
    using shape = sq_native_shape<KEYS, GROUPS, IS_STATE_ONLY>;
    auto kernel = sq_native_kernel<T, KEYS, GROUPS, IS_STATE_ONLY>;
    SQ_TRY(sq_allow_shared(kernel, shape::shared_bytes, err));
    const sq_grid grid = {dim3((unsigned)blocks), shape::threads, shape::shared_bytes,
                          !IS_STATE_ONLY && p.segments > 1};
    return sq_launch_chained(call, grid, IS_STATE_ONLY ? "segment states" : "chunks", err, kernel,
                             maps, p, heads, merged);
}

template <typename T, int KEYS, int GROUPS>
static sq_status run(const sq_call *call, const sq_native_maps &maps, const sq_decay_params &p,
                     int heads, int merged, sq_error *err)
{
    const int columns = SQ_TMA_SIDE * GROUPS / heads;
    const int64_t blocks = sq_ceil_div(p.values, columns) * (p.heads / heads) * p.batch;
    if (p.segments > 1) {
        SQ_TRY((run_pass<T, KEYS, GROUPS, true>(call, maps, p, heads, merged,
                                                blocks * (p.segments - 1), err)));
        SQ_TRY(sq_decay_chain_launch(call, p, err));
    }
    return run_pass<T, KEYS, GROUPS, false>(call, maps, p, heads, merged,
                                            blocks * ((p.segments - 1) / merged + 1), err);
}

template <int KEYS, int GROUPS>
static native_kernel instance(int heads)
{
    using shape = sq_native_shape<KEYS, GROUPS, false>;
    using states = sq_native_shape<KEYS, GROUPS, true>;
    using T = __nv_bfloat16;
    return {GROUPS,
            heads,
            SQ_TMA_SIDE * GROUPS / heads,
            shape::blocks_per_sm,
            shape::shared_bytes > states::shared_bytes ? shape::shared_bytes : states::shared_bytes,
            KEYS > 128    ? 2000.0
            : GROUPS == 1 ? 1650.0
                          : 1250.0,
            KEYS == 128 ? 600.0 : 900.0,
            run<T, KEYS, GROUPS>};
}

/* Two warpgroups of a block share the tiles of Q and K: as columns of one head, or as two heads of a
 * group. */
static native_kernel choose(const sq_decay_params &p)
{
    const int heads = p.values <= SQ_TMA_SIDE && p.heads_per_group % 2 == 0 ? 2 : 1;
    if (p.keys > 128)
        return instance<256, 2>(1);
    if (heads == 1 && p.values <= SQ_TMA_SIDE)
        return instance<128, 1>(1);
    return instance<128, 2>(heads);
}

/* --- segments --- */

static double plan_ns(const native_kernel &kernel, const sq_decay_params &p,
                      const sq_native_plan &plan)
{
    const double tokens = (double)p.batch * p.length, blocks = (double)blocks_of(kernel, p);
    const double keys = 2 * tokens * p.heads / p.heads_per_group * p.keys;
    const double values = 2 * tokens * p.heads * p.values;
    const double segments = (double)sq_native_segments(plan);
    const double states = 4.0 * segments * p.batch * p.heads * p.keys * p.values;
    const double main = sq_native_pass_ns(blocks * (double)plan.runs, kernel.blocks_per_sm,
                                          (double)(plan.merged * plan.length), kernel.chunk_ns,
                                          2 * keys + 2 * values + states / (double)plan.merged);
    if (plan.runs == 1)
        return main;
    return main + sq_native_chain_ns(segments) +
           sq_native_pass_ns(
               blocks * segments, kernel.blocks_per_sm, (double)plan.length, kernel.state_ns,
               (keys + values) * (double)(plan.runs - 1) / (double)plan.runs + 3 * states);
}

static sq_native_plan choose_plan(const native_kernel &kernel, const sq_decay_params &p)
{
    return sq_native_choose_plan(
        p.length, [&](const sq_native_plan &plan) { return plan_ns(kernel, p, plan); });
}

/* --- the provider --- */

sq_status sq_decay_native_supports(const sq_call *call, const sq_decay_params &p,
                                   const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_native_supports(call, p, device, why));
    return sq_supports_shared(device, (size_t)choose(p).shared_bytes, why);
}

size_t sq_decay_native_workspace(const sq_decay_params &p)
{
    return sq_decay_workspace(sq_native_planned(p, choose_plan(choose(p), p)));
}

sq_status sq_decay_native_maps(const sq_call *call, const sq_decay_params &p, sq_native_maps *maps,
                               sq_error *err)
{
    sq_tma_encode encode = NULL;
    SQ_TRY(sq_tma_encoder(&encode, err));
    const int groups = p.heads / p.heads_per_group;
    const sq_tma_tensor q = sq_native_rows(p, p.q, groups, p.keys),
                        k = sq_native_rows(p, p.k, groups, p.keys);
    const sq_tma_tensor v = sq_native_rows(p, p.v, p.heads, p.values);
    const sq_tma_tensor o = sq_native_rows(p, p.o, p.heads, p.values);
    const sq_tma_tensor z = sq_native_rows(p, p.z, p.heads, p.values);
    SQ_TRY(sq_tma_map(encode, call->dtype, &q, &maps->q, err));
    SQ_TRY(sq_tma_map(encode, call->dtype, &k, &maps->k, err));
    SQ_TRY(sq_tma_map(encode, call->dtype, &v, &maps->v, err));
    SQ_TRY(sq_tma_map(encode, call->dtype, &o, &maps->o, err));
    return z.data ? sq_tma_map(encode, call->dtype, &z, &maps->z, err) : SQ_OK;
}

sq_status sq_decay_native_prepare(const sq_call *call, const sq_decay_params &p, void **plan,
                                  sq_error *err)
{
    SQ_TRY(sq_wgmma_check_code(err));
    sq_native_maps *maps = (sq_native_maps *)aligned_alloc(alignof(sq_native_maps), sizeof *maps);
    if (!maps)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for tensor maps");
    const sq_status status = sq_decay_native_maps(call, p, maps, err);
    if (status == SQ_OK)
        *plan = maps;
    else
        free(maps);
    return status;
}

sq_status sq_decay_native_launch(const sq_call *call, const sq_decay_params &params, void *plan,
                                 sq_error *err)
{
    const native_kernel kernel = choose(params);
    const sq_native_plan segments = choose_plan(kernel, params);
    sq_decay_params p = sq_native_planned(params, segments);
    sq_decay_use_workspace(&p, call->workspace);
    return kernel.run(call, *(const sq_native_maps *)plan, p, kernel.heads, (int)segments.merged,
                      err);
}
