/* decay_native_bwd: pass bwd on Hopper's tensor cores, for bf16 and up to 256 keys: the states and
 * their gradients by chunks in one launch (in segments where states are few: three), then all chunks
 * at once, then the sums that decay_tile_sums.cuh makes for the tiles too. Where nothing is summed
 * over heads or columns, and heads are many: the states alone, then a walk back over each head's
 * chunks.
 */
#include "kernels/chunk_core/decay_native_gate.cuh"
#include "kernels/chunk_core/decay_native_host.cuh"
#include "kernels/chunk_core/decay_native_plan.cuh"
#include "kernels/chunk_core/decay_native_states.cuh"
#include "kernels/chunk_core/decay_native_walk.cuh"
#include "kernels/chunk_core/decay_native_wide.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/chunk_core/decay_tile_sums.cuh"

#include <stdlib.h>

using T = __nv_bfloat16;

/* forward: of y, where there is a z. */
typedef struct {
    sq_states_all_maps states;
    sq_grads_maps grads;
    sq_native_maps forward;
} backward_maps;

/* --- the work --- */

/* What an H100 takes: a step of the chunks' kernel in a block; the launches of the splits' sums, and
 * their bytes. Constants, so that a result does not depend on the device. */
enum { STEP_NS = 5000, SUMS_NS = 8000, SUMS_BYTES_PER_NS = 2500 };

/* The same of a chunk of a multiprocessor where both take what their bytes do: the walk's; that of
 * all chunks at once, and what the gradients of the states take before it. */
enum { WALK_NS = 5300, ALL_NS = 8700 };

static bool is_wide(const sq_decay_params &p)
{
    return p.keys > SQ_GRADS_KEYS;
}

/* How many chunks have one S and one G between them: pairs where decays are constant. With gates each
 * chunk's sums would need the other's. */
static int span_of(const sq_decay_params &p)
{
    return is_wide(p) && p.kind == SQ_DECAY_GAMMA ? 2 : 1;
}

/* A walk has a multiprocessor for as long as the longest of the blocks. */
static bool is_walk(const sq_decay_params &p)
{
    const int64_t units = (int64_t)p.batch * p.heads;
    return !is_wide(p) && p.values <= SQ_TMA_SIDE && p.heads_per_group == 1 &&
           sq_ceil_div(units, SQ_DECAY_SMS) * SQ_DECAY_SMS * WALK_NS <= units * ALL_NS;
}

/* The time of the chunks' kernel, and of the sums after it, where a split has `heads` heads. */
static double split_ns(const sq_decay_params &p, int chunks, int heads)
{
    const int64_t groups = p.heads / p.heads_per_group,
                  splits = sq_ceil_div(p.heads_per_group, heads);
    const int64_t items = p.batch * groups * chunks * splits;
    const double steps = (double)sq_ceil_div(items, SQ_DECAY_SMS) * heads *
                         (double)sq_ceil_div(p.values, SQ_TMA_SIDE);
    if (splits == 1)
        return steps * STEP_NS;
    const double sums = (double)p.batch * p.length * groups * p.keys * splits; /* of dq; of dk */
    return steps * STEP_NS + SUMS_NS + 2 * 2 * sizeof(float) * sums / SUMS_BYTES_PER_NS;
}

/* The wide kernel has an item for each head, the other for as many heads of a group as take the
 * least time. */
static int splits_of(const sq_decay_params &p, int chunks)
{
    if (is_wide(p))
        return p.heads_per_group;
    int best = p.heads_per_group;
    for (int heads = best - 1; heads > 0; heads--) {
        if (split_ns(p, chunks, heads) < split_ns(p, chunks, best))
            best = heads;
    }
    return (int)sq_ceil_div(p.heads_per_group, best);
}

/* --- states --- */

/* One instance of the kernel, of `heads` heads a block. chunk_ns, state_ns: what a block takes for a
 * chunk when the device is full, with what it writes, and where it writes nothing. */
typedef struct {
    int heads, columns, blocks_per_sm, shared_bytes;
    double chunk_ns, state_ns;
    sq_status (*run)(const sq_call *call, const sq_states_all_maps &maps, const sq_decay_params &p,
                     const sq_states_plan &plan, int heads, int segments, sq_error *err);
} states_kernel;

/* Of both walks, but where G stays on the chip. */
static int64_t blocks_of(const sq_decay_params &p, int columns, int heads)
{
    return (is_walk(p) ? 1 : 2) * sq_ceil_div(p.values, columns) * (p.heads / heads) * p.batch;
}

/* segments: that the launch has, or runs. */
template <int KEYS, int GROUPS>
static sq_status run_states(const sq_call *call, const sq_states_all_maps &maps,
                            const sq_decay_params &p, const sq_states_plan &plan, int heads,
                            int segments, sq_error *err)
{
    using shape = sq_states_shape<KEYS, GROUPS>;
    auto kernel = sq_states_kernel<T, KEYS, GROUPS>;
    const int64_t blocks = blocks_of(p, SQ_TMA_SIDE * GROUPS / heads, heads) * segments;
    const bool is_first = !p.z.data && (p.segments == 1 || plan.merged == 0); /* of the call's */
    const sq_grid grid = {dim3((unsigned)blocks), shape::threads, shape::shared_bytes, !is_first};
    SQ_TRY(sq_allow_shared(kernel, shape::shared_bytes, err));
    return sq_launch_chained(call, grid, "states of chunks", err, kernel, maps, p, plan, heads);
}

template <int KEYS, int GROUPS>
static states_kernel states_instance(int heads)
{
    using shape = sq_states_shape<KEYS, GROUPS>;
    return {heads,
            SQ_TMA_SIDE * GROUPS / heads,
            shape::blocks_per_sm,
            shape::shared_bytes,
            KEYS == 128 ? 1000.0 : 1700.0,
            KEYS == 128 ? 600.0 : 900.0,
            run_states<KEYS, GROUPS>};
}

/* As in pass fwd: two warpgroups share the tiles of K and Q. */
static states_kernel choose_states(const sq_decay_params &p)
{
    const int heads = p.values <= SQ_TMA_SIDE && p.heads_per_group % 2 == 0 ? 2 : 1;
    if (is_wide(p))
        return states_instance<256, 2>(1);
    return heads == 1 && p.values <= SQ_TMA_SIDE ? states_instance<128, 1>(1)
                                                 : states_instance<128, 2>(heads);
}

/* As of pass fwd (decay_native.cu), but for two walks that write a matrix a span of chunks. */
static double states_ns(const states_kernel &kernel, const sq_decay_params &p,
                        const sq_native_plan &plan)
{
    const double tokens = (double)p.batch * p.length, heads = (double)p.batch * p.heads;
    const double blocks = (double)blocks_of(p, kernel.columns, kernel.heads);
    const double state = heads * p.keys * p.values, segments = (double)sq_native_segments(plan);
    const double read = 2 * (double)sizeof(T) * tokens *
                        ((double)p.heads / p.heads_per_group * p.keys + (double)p.heads * p.values);
    const int span = span_of(p);
    const double chunk_ns = (kernel.chunk_ns + (span - 1) * kernel.state_ns) / span;
    const double written =
        2 * (double)sizeof(T) * state * ceil((double)p.length / (span * SQ_CHUNK));
    const double states = 2 * sizeof(float) * state * segments;
    const double main = sq_native_pass_ns(blocks * (double)plan.runs, kernel.blocks_per_sm,
                                          (double)(plan.merged * plan.length), chunk_ns,
                                          read + written + states / (double)plan.merged);
    if (plan.runs == 1)
        return main;
    return main + sq_native_chain_ns(segments) +
           sq_native_pass_ns(blocks * segments, kernel.blocks_per_sm, (double)plan.length,
                             kernel.state_ns,
                             read * (double)(plan.runs - 1) / (double)plan.runs + 3 * states);
}

static sq_native_plan plan_states(const sq_decay_params &p)
{
    const states_kernel kernel = choose_states(p);
    if (is_walk(p))
        return {1, 1, sq_ceil_div(p.length, SQ_CHUNK)};
    return sq_native_choose_plan(
        p.length, [&](const sq_native_plan &plan) { return states_ns(kernel, p, plan); });
}

/* p.state, p.decay: of the forward walk, then of the other. */
static sq_states_plan states_plan_of(const sq_decay_params &p, const sq_decay_grads &g)
{
    const int64_t states = (int64_t)(p.segments - 1) * p.batch * p.heads;
    const sq_decay_walk forward = {p.initial, p.state, p.decay};
    const sq_decay_walk reverse = {g.d_final, p.state + states * p.keys * p.values,
                                   p.decay + states};
    return {{{forward, reverse}}, {p.final, g.d_initial}, 0, span_of(p)};
}

static sq_status make_states(const sq_call *call, const sq_states_all_maps &maps,
                             const sq_decay_tiled &c, sq_error *err)
{
    const states_kernel kernel = choose_states(c.p);
    const sq_native_plan segments = plan_states(c.p);
    sq_states_plan plan = states_plan_of(c.p, c.g);
    if (segments.runs > 1) {
        SQ_TRY(kernel.run(call, maps, c.p, plan, kernel.heads, c.p.segments - 1, err));
        SQ_TRY(sq_decay_chain_walks(call, c.p, plan.from, 2, err));
    }
    plan.merged = (int)segments.merged;
    return kernel.run(call, maps, c.p, plan, kernel.heads, (int)segments.runs, err);
}

/* --- the workspace --- */

/* Where there is a z: y, in the place where do silu(z) will lie. */
static sq_decay_params forward_of(const sq_decay_tiled &c)
{
    sq_decay_params p = c.p;
    p.z = {};
    p.o = c.g.d_o;
    return p;
}

static sq_decay_tiled tiled(const sq_decay_params &p, const sq_decay_grads &g)
{
    sq_decay_tiled c = {};
    c.p = sq_native_planned(p, plan_states(p));
    c.g = g;
    c.g.raw = g.d_o;
    c.chunks = (int)sq_ceil_div(p.length, SQ_CHUNK);
    c.key_tiles = 1;
    c.value_tiles = (int)sq_ceil_div(p.values, SQ_TMA_SIDE);
    c.splits = splits_of(p, c.chunks);
    c.skip_values = is_wide(p) || g.d_skip_column != 0 ? p.values : 1;
    return c;
}

/* Matrices S, or G. */
static int64_t states_count(const sq_decay_tiled &c)
{
    return sq_ceil_div(c.chunks, span_of(c.p)) * c.p.batch * c.p.heads;
}

/* Sets the pointers into `workspace`, *forward to what pass fwd is to work in; returns the bytes. */
static size_t lay_out(sq_decay_tiled *c, void *workspace, void **forward)
{
    const sq_decay_params &p = c->p;
    const int64_t rows = (int64_t)p.batch * p.length,
                  parts = (int64_t)p.batch * c->chunks * p.heads;
    const int64_t states = states_count(*c) * p.keys * p.values * (int64_t)sizeof(T);
    sq_decay_arena a = {(uintptr_t)workspace};
    c->before = sq_decay_take(&a, states);
    c->after = is_walk(p) ? NULL : sq_decay_take(&a, states);
    if (p.segments > 1) { /* of both walks */
        const int64_t ends = 2 * (int64_t)(p.segments - 1) * p.batch * p.heads;
        c->p.state = sq_decay_take_floats(&a, ends * p.keys * p.values);
        c->p.decay = sq_decay_take_floats(&a, ends);
    }
    if (p.kind != SQ_DECAY_GAMMA) {
        c->d_step = sq_decay_take_floats(&a, parts * SQ_CHUNK);
        c->d_log = sq_decay_take_floats(&a, parts * SQ_CHUNK);
        c->d_a = sq_decay_take_floats(&a, parts);
        c->d_bias = sq_decay_take_floats(&a, parts);
    }
    if (p.kind == SQ_DECAY_STEP)
        c->d_skip = sq_decay_take_floats(&a, parts * p.values);
    *forward = NULL;
    if (sq_decay_is_there(p.z)) {
        const int64_t row = (int64_t)p.heads * p.values;
        c->g.d_o = {sq_decay_take(&a, rows * row * (int64_t)sizeof(T)), p.length * row, row,
                    p.values};
        *forward = sq_decay_take(&a, (int64_t)sq_decay_native_workspace(forward_of(*c)));
    }
    if (c->splits > 1) {
        const int64_t keys = rows * (p.heads / p.heads_per_group) * p.keys * c->splits;
        c->d_q = sq_decay_take_floats(&a, keys);
        c->d_k = sq_decay_take_floats(&a, keys);
    }
    return a.at - (uintptr_t)workspace;
}

/* --- chunks --- */

typedef struct {
    void (*code)(const sq_grads_maps, const sq_decay_tiled);
    int shared_bytes;
} chunks_kernel;

static chunks_kernel choose_chunks(const sq_decay_params &p)
{
    if (is_walk(p))
        return {sq_walk_kernel<T>, sq_walk_shared_bytes};
    if (!is_wide(p))
        return {sq_grads_kernel<T>, sq_grads_shared_bytes};
    return {span_of(p) > 1 ? sq_wide_kernel<T, true> : sq_wide_kernel<T, false>,
            sq_wide_shared_bytes};
}

/* As many as there are items, or multiprocessors; of a span's chunks a block each. */
static unsigned chunks_blocks(const sq_decay_tiled &c)
{
    const int span = span_of(c.p);
    const int64_t heads = (int64_t)c.p.batch * (c.p.heads / c.p.heads_per_group);
    const int64_t items = heads * (is_walk(c.p) ? 1 : sq_ceil_div(c.chunks, span) * c.splits);
    return (unsigned)(span * (items < SQ_DECAY_SMS / span ? items : SQ_DECAY_SMS / span));
}

static sq_status run_chunks(const sq_call *call, const sq_grads_maps &maps, const sq_decay_tiled &c,
                            sq_error *err)
{
    const chunks_kernel kernel = choose_chunks(c.p);
    const sq_grid grid = {dim3(chunks_blocks(c)), SQ_GRADS_THREADS, (size_t)kernel.shared_bytes,
                          true};
    SQ_TRY(sq_allow_shared(kernel.code, kernel.shared_bytes, err));
    return sq_launch_chained(call, grid, "gradients of chunks", err, kernel.code, maps, c);
}

/* --- the provider --- */

sq_status sq_decay_native_bwd_supports(const sq_call *call, const sq_decay_params &p,
                                       const sq_decay_grads &g, const sq_device *device,
                                       sq_error *why)
{
    const sq_decay_tensor grads[] = {g.d_o, g.d_q, g.d_k, g.d_v, g.d_z};
    SQ_TRY(sq_decay_native_supports(call, p, device, why)); /* pass fwd: for the gradient of z */
    for (const sq_decay_tensor &t : grads)
        if (!sq_decay_has_vectors(t, 16 / (int)sizeof(T)))
            return sq_fail(why, SQ_UNSUPPORTED, "a gradient's rows are not 16-byte aligned");
    const double chunks = (double)p.batch * p.heads * ((p.length + SQ_CHUNK - 1) / SQ_CHUNK);
    if (chunks >= 2147483648.0)
        return sq_fail(why, SQ_UNSUPPORTED, "%g chunks: at most 2^31 - 1", chunks);
    return sq_supports_shared(device, (size_t)choose_chunks(p).shared_bytes, why);
}

size_t sq_decay_native_bwd_workspace(const sq_decay_params &p, const sq_decay_grads &g)
{
    sq_decay_tiled c = tiled(p, g);
    void *forward;
    return lay_out(&c, NULL, &forward);
}

/* The matrices of all chunks, transposed: (spans B H, values, 1, keys). */
static sq_tma_tensor states_of(const sq_decay_tiled &c, void *states)
{
    const int64_t size = (int64_t)c.p.keys * c.p.values;
    return {states, states_count(c), c.p.values, 1, c.p.keys, size, c.p.keys, c.p.keys};
}

static sq_status make_maps(const sq_call *call, const sq_decay_tiled &c, backward_maps *maps,
                           sq_error *err)
{
    sq_tma_encode encode = NULL;
    SQ_TRY(sq_tma_encoder(&encode, err));
    const sq_decay_params &p = c.p;
    const int groups = p.heads / p.heads_per_group;
    sq_grads_maps *g = &maps->grads;
    const struct {
        CUtensorMap *map;
        sq_tma_tensor tensor;
    } all[] = {
        {&g->q, sq_native_rows(p, p.q, groups, p.keys)},
        {&g->k, sq_native_rows(p, p.k, groups, p.keys)},
        {&g->v, sq_native_rows(p, p.v, p.heads, p.values)},
        {&g->d_o, sq_native_rows(p, c.g.d_o, p.heads, p.values)},
        {&g->d_q, sq_native_rows(p, c.g.d_q, groups, p.keys)},
        {&g->d_k, sq_native_rows(p, c.g.d_k, groups, p.keys)},
        {&g->d_v, sq_native_rows(p, c.g.d_v, p.heads, p.values)},
        {&g->before, states_of(c, c.before)},
        {&g->after, states_of(c, c.after)},
    };
    for (const auto &one : all) {
        if (!one.tensor.data) /* G where it stays on the chip */
            continue;
        SQ_TRY(sq_tma_map(encode, SQ_DTYPE_BF16, &one.tensor, one.map, err));
    }
    maps->states.forward = {g->k, g->v, g->before};
    maps->states.reverse = {g->q, g->d_o, g->after};
    return p.z.data ? sq_decay_native_maps(call, forward_of(c), &maps->forward, err) : SQ_OK;
}

sq_status sq_decay_native_bwd_prepare(const sq_call *call, const sq_decay_params &p,
                                      const sq_decay_grads &g, void **plan, sq_error *err)
{
    SQ_TRY(sq_wgmma_check_code(err));
    backward_maps *maps = (backward_maps *)aligned_alloc(alignof(backward_maps), sizeof *maps);
    if (!maps)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for tensor maps");
    sq_decay_tiled c = tiled(p, g);
    void *forward;
    lay_out(&c, call->workspace, &forward);
    const sq_status status = make_maps(call, c, maps, err);
    if (status == SQ_OK)
        *plan = maps;
    else
        free(maps);
    return status;
}

/* y by pass fwd, then dz and do silu(z). */
static sq_status run_gate(const sq_call *call, sq_native_maps *maps, const sq_decay_tiled &c,
                          void *workspace, sq_error *err)
{
    sq_call inner = *call;
    inner.workspace = workspace;
    SQ_TRY(sq_decay_native_launch(&inner, forward_of(c), maps, err));
    return sq_native_gate<T>(call, c, err);
}

sq_status sq_decay_native_bwd_launch(const sq_call *call, const sq_decay_params &p,
                                     const sq_decay_grads &g, void *plan, sq_error *err)
{
    backward_maps &maps = *(backward_maps *)plan;
    sq_decay_tiled c = tiled(p, g);
    void *forward;
    lay_out(&c, call->workspace, &forward);
    if (p.z.data)
        SQ_TRY(run_gate(call, &maps.forward, c, forward, err));
    SQ_TRY(make_states(call, maps.states, c, err));
    SQ_TRY(run_chunks(call, maps.grads, c, err));
    if (c.splits > 1)
        SQ_TRY(sq_tile_splits<T>(call, c, err));
    if (p.skip)
        SQ_TRY(sq_tile_skips(call, c, err));
    return p.kind == SQ_DECAY_GAMMA ? SQ_OK : sq_tile_gates<T>(call, c, err);
}
