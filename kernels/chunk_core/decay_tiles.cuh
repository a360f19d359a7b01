/* decay_tiles: what the kernels of the chunkwise form on tiles (decay_tile_states.cuh,
 * decay_tile_out.cuh, decay_tile_keys.cuh) share. With the factors of decay_gates.cuh, e_ij =
 * 2^(out_i - c_j) scale within a document and 0 elsewhere, S the state before a chunk and G the
 * gradient of the state after it, a chunk computes (decay_scan_bwd.c, by chunks)
 *
 *   P_ij = (q_i . k_j) e_ij w_j               y_i  = sum_j P_ij v_j + row_i S^T q_i + skip v_i
 *   dv_j = sum_i P_ij do_i + key_j G^T k_j + skip do_j
 *   W_ij = (do_i . v_j) e_ij w_j              dq_i = sum_j W_ij k_j + row_i S do_i
 *   dk_j = sum_i W_ij q_i + key_j G v_j
 *
 * so that the state after it is decay S + (key o K)^T V, and the gradient before it is decay G +
 * (row o Q)^T dO. Any shape: keys and values are cut into tiles of 64.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_TILES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_TILES_CUH

#include "kernels/chunk_core/decay_gates.cuh"
#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/tiles.cuh"
#include "kernels/hw/launch.cuh"

/* before, after: states S and gradients G of all chunks, (chunks, B, H, keys, values) in the call's
 * type, G in the later chunk's units. Sums to come, each by part: d_step, d_log (key tiles, B, H, 64 chunks): dw and d(ln a) of
 * each step; d_skip (B chunks, H, skip_values: values, or 1); d_a, d_bias (B chunks, H); d_q, d_k (splits, B, L, G,
 * keys): of some heads of a group each, not used where splits is 1. */
typedef struct {
    sq_decay_params p;
    sq_decay_grads g;
    int chunks, key_tiles, value_tiles, splits, skip_values;
    bool is_vector;
    void *before, *after;
    float *d_step, *d_log, *d_skip, *d_a, *d_bias, *d_q, *d_k;
} sq_decay_tiled;

/* A chunk of one head. */
typedef struct {
    int chunk, batch, head, first, steps; /* steps [first, first + steps) */
} sq_tile_unit;

__device__ __forceinline__ sq_tile_unit sq_tile_unit_of(const sq_decay_tiled &c, int chunk,
                                                        int batch, int head)
{
    const int first = chunk * SQ_CHUNK;
    return {chunk, batch, head, first, min((int)SQ_CHUNK, c.p.length - first)};
}

/* Rows are the unit's steps, columns from `column`. Like all loads, ended by sq_tile_sync. */
template <typename T>
__device__ __forceinline__ void sq_tile_load_steps(const sq_decay_tiled &c, const sq_tile<T> &tile,
                                                   const sq_decay_tensor &t, const sq_tile_unit &u,
                                                   int head, int column, int columns)
{
    tile.load(sq_decay_at<T>(t, u.batch, u.first, head) + column, t.time, u.steps, columns - column,
              c.is_vector);
}

/* What the factors r of a chunk, and of the chunks after it as G has them, are in units of. */
typedef struct {
    float own, later;
} sq_tile_units;

__device__ __forceinline__ sq_tile_units sq_tile_units_of(const sq_decay_tiled &c,
                                                          const sq_tile_unit &u)
{
    if (!c.g.unit)
        return {1.0f, 1.0f};
    const float *at = c.g.unit + ((int64_t)u.batch * c.p.heads + u.head) * c.chunks + u.chunk;
    return {at[0], u.chunk + 1 < c.chunks ? at[1] : 1.0f};
}

/* The saved matrices of a chunk. */
template <typename T>
__device__ __forceinline__ T *sq_tile_state(const sq_decay_tiled &c, void *states,
                                            const sq_tile_unit &u)
{
    const int64_t unit = ((int64_t)u.chunk * c.p.batch + u.batch) * c.p.heads + u.head;
    return (T *)states + unit * c.p.keys * c.p.values;
}

template <typename T>
__device__ __forceinline__ void sq_tile_load_state(const sq_decay_tiled &c, const sq_tile<T> &tile,
                                                   void *states, const sq_tile_unit &u, int key,
                                                   int column)
{
    tile.load(sq_tile_state<T>(c, states, u) + (int64_t)key * c.p.values + column, c.p.values,
              c.p.keys - key, c.p.values - column, c.is_vector);
}

/* What the products over 64 value columns read: do and v of the chunk, S before it and G after it,
 * behind a barrier. */
template <typename T>
__device__ __forceinline__ void sq_tile_load_values(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                    int key, int column, const sq_tile<T> &d_o,
                                                    const sq_tile<T> &v, const sq_tile<T> &s,
                                                    const sq_tile<T> &g)
{
    __syncthreads();
    sq_tile_load_steps<T>(c, d_o, c.g.d_o, u, u.head, column, c.p.values);
    sq_tile_load_steps<T>(c, v, c.p.v, u, u.head, column, c.p.values);
    sq_tile_load_state<T>(c, s, c.before, u, key, column);
    sq_tile_load_state<T>(c, g, c.after, u, key, column);
}

/* Warp 0 makes the unit's factors; the caller synchronises. */
template <typename T>
__device__ __forceinline__ void sq_tile_fill_gates(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                   sq_chunk_gates *gates)
{
    if (threadIdx.x >= 32)
        return;
    const sq_decay_unit whole = {0, u.batch, u.head, 0, 0, c.p.length};
    const sq_decay_head head = sq_decay_load_head(c.p, u.head);
    sq_chunk_fill_gates<double>(c.p, whole, head, sq_chunk_load_dt<T>(c.p, whole, u.first), u.first,
                                gates);
}

/* e_ij. Selection, not multiplication by 0: the exponent of a pair in the future may overflow. */
__device__ __forceinline__ float sq_tile_pair(const sq_decay_params &p, const sq_chunk_gates *gates,
                                              int i, int j)
{
    if (j > i || j < gates->start[i])
        return 0.0f;
    return p.scale * sq_exp2(gates->out[i] - gates->sum[j] + (gates->low[i] - gates->low[j]));
}

#endif
