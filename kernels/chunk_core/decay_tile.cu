/* decay_tile: passes fwd and bwd by chunks on 64 x 64 tiles, for any shape and type: first the
 * states before all chunks (and the gradients of those after them), then all chunks at once.
 * Backward makes the states again, which are as large as K V / 64 numbers a step.
 */
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/decay_providers.cuh"
#include "kernels/chunk_core/decay_rows.cuh"
#include "kernels/chunk_core/decay_tile_keys.cuh"
#include "kernels/chunk_core/decay_tile_out.cuh"
#include "kernels/chunk_core/decay_tile_states.cuh"
#include "kernels/chunk_core/decay_tile_sums.cuh"

/* Blocks that queries and keys want at least: the heads of a group are split up to that. */
enum { SQ_TILE_BLOCKS = 2 * SQ_DECAY_SMS };

static sq_decay_tiled tiled(const sq_call *call, const sq_decay_params &p)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    sq_decay_tiled c = {};
    c.p = p;
    c.chunks = (int)sq_ceil_div(p.length, SQ_CHUNK);
    c.key_tiles = (int)sq_ceil_div(p.keys, SQ_TILE);
    c.value_tiles = (int)sq_ceil_div(p.values, SQ_TILE);
    c.skip_values = p.values;
    const int64_t blocks =
        (int64_t)c.key_tiles * c.chunks * (p.heads / p.heads_per_group) * p.batch;
    const int64_t wanted = sq_ceil_div(SQ_TILE_BLOCKS, blocks);
    const int64_t per_split = sq_ceil_div(p.heads_per_group, wanted);
    c.splits = (int)sq_ceil_div(p.heads_per_group, per_split < 1 ? 1 : per_split);
    c.is_vector = p.keys % vector == 0 && p.values % vector == 0 &&
                  sq_decay_has_vectors(p.q, vector) && sq_decay_has_vectors(p.k, vector) &&
                  sq_decay_has_vectors(p.v, vector);
    return c;
}

/* Sets the pointers into `workspace`; returns the bytes. */
static size_t lay_out(const sq_call *call, sq_decay_tiled *c, void *workspace)
{
    const sq_decay_params &p = c->p;
    const int64_t size = (int64_t)sq_dtype_size(call->dtype), rows = (int64_t)p.batch * p.length;
    const int64_t parts = (int64_t)p.batch * c->chunks * p.heads;
    const int64_t states = parts * p.keys * p.values * size;
    const bool is_backward = call->pass == SQ_PASS_BWD;
    sq_decay_arena a = {(uintptr_t)workspace};
    c->before = sq_decay_take(&a, states);
    if (!is_backward)
        return a.at - (uintptr_t)workspace;
    c->after = sq_decay_take(&a, states);
    if (p.kind == SQ_DECAY_STEP || p.kind == SQ_DECAY_LOG) {
        c->d_step = sq_decay_take_floats(&a, parts * SQ_CHUNK * c->key_tiles);
        c->d_log = sq_decay_take_floats(&a, parts * SQ_CHUNK * c->key_tiles);
        c->d_a = sq_decay_take_floats(&a, parts);
        c->d_bias = sq_decay_take_floats(&a, parts);
    }
    if (p.kind == SQ_DECAY_STEP) {
        c->d_skip = sq_decay_take_floats(&a, parts * p.values);
        c->g.d_o = {sq_decay_take(&a, rows * p.heads * p.values * size),
                    (int64_t)p.length * p.heads * p.values, (int64_t)p.heads * p.values, p.values};
    }
    if (c->splits > 1) {
        const int64_t keys = rows * (p.heads / p.heads_per_group) * p.keys * c->splits;
        c->d_q = sq_decay_take_floats(&a, keys);
        c->d_k = sq_decay_take_floats(&a, keys);
    }
    return a.at - (uintptr_t)workspace;
}

/* Shared memory of the pass's kernel that takes most. */
template <typename T>
static int most_shared(sq_pass pass, bool is_by_row)
{
    if (pass == SQ_PASS_BWD)
        return is_by_row ? sq_rows_keys_shared<T> : sq_tile_keys_shared<T>;
    return is_by_row ? sq_tile_out_shared<T, true> : sq_tile_out_shared<T, false>;
}

sq_status sq_decay_tile_supports(const sq_call *call, const sq_decay_params &p,
                                 const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    if (p.chunk != 0 && p.chunk != SQ_CHUNK)
        return sq_fail(why, SQ_UNSUPPORTED, "chunk=%lld: chunks of %d only", (long long)p.chunk,
                       SQ_CHUNK);
    const bool is_by_row = p.kind == SQ_DECAY_ROWS;
    const int shared = call->dtype == SQ_DTYPE_F32 ? most_shared<float>(call->pass, is_by_row)
                                                   : most_shared<__half>(call->pass, is_by_row);
    SQ_TRY(sq_supports_shared(device, (size_t)shared, why));
    const double rows = (double)p.batch * p.length * p.heads;
    const double tiles = ((p.keys + 63) / 64) * (double)((p.values + 63) / 64);
    if (rows < 2147483648.0 && (rows / SQ_CHUNK + p.batch * (double)p.heads) * tiles < 2147483648.0)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "%g rows: at most 2^31 - 1 blocks", rows);
}

size_t sq_decay_tile_workspace(const sq_call *call, const sq_decay_params &p)
{
    sq_decay_tiled c = tiled(call, p);
    return lay_out(call, &c, NULL);
}

sq_status sq_decay_tile_forward(const sq_call *call, const sq_decay_params &p, sq_error *err)
{
    sq_decay_tiled c = tiled(call, p);
    lay_out(call, &c, call->workspace);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (p.kind == SQ_DECAY_ROWS) {
            SQ_TRY((sq_tile_states<T, false, true>(call, c, err)));
            return sq_tile_out<T, SQ_TILE_FORWARD, true>(call, c, err);
        }
        SQ_TRY((sq_tile_states<T, false>(call, c, err)));
        return sq_tile_out<T, SQ_TILE_FORWARD>(call, c, err);
    });
}

/* d_o is do, or do silu(z), which the workspace holds. */
static void choose_gradient(const sq_call *call, sq_decay_tiled *c)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    c->g.raw = c->g.d_o;
    lay_out(call, c, call->workspace);
    if (!c->p.z.data)
        c->g.d_o = c->g.raw;
    c->is_vector = c->is_vector && sq_decay_has_vectors(c->g.d_o, vector);
}

template <typename T>
static sq_status backward(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    if (c.p.z.data)
        SQ_TRY(sq_tile_gate<T>(call, c, err));
    SQ_TRY((sq_tile_states<T, false>(call, c, err)));
    SQ_TRY((sq_tile_states<T, true>(call, c, err)));
    if (c.p.z.data)
        SQ_TRY((sq_tile_out<T, SQ_TILE_BACKWARD_GATED>(call, c, err)));
    else
        SQ_TRY((sq_tile_out<T, SQ_TILE_BACKWARD>(call, c, err)));
    sq_decay_tiled keys = c;
    if (c.g.ones.slope)
        keys.p.row = c.g.ones.slope;
    SQ_TRY(sq_tile_keys<T>(call, keys, err));
    if (c.splits > 1)
        SQ_TRY(sq_tile_splits<T>(call, c, err));
    if (c.p.skip)
        SQ_TRY(sq_tile_skips(call, c, err));
    return c.p.kind == SQ_DECAY_GAMMA ? SQ_OK : sq_tile_gates<T>(call, c, err);
}

template <typename T>
static sq_status backward_by_row(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    SQ_TRY((sq_tile_states<T, false, true>(call, c, err)));
    SQ_TRY((sq_tile_states<T, true, true>(call, c, err)));
    SQ_TRY((sq_tile_out<T, SQ_TILE_BACKWARD, true>(call, c, err)));
    return sq_rows_keys<T>(call, c, err);
}

sq_status sq_decay_tile_backward(const sq_call *call, const sq_decay_params &p,
                                 const sq_decay_grads &grads, sq_error *err)
{
    sq_decay_tiled c = tiled(call, p);
    c.g = grads;
    choose_gradient(call, &c);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        return p.kind == SQ_DECAY_ROWS ? backward_by_row<T>(call, c, err)
                                       : backward<T>(call, c, err);
    });
}
