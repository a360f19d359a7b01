/* decay_tile_states: the states before all chunks, and the gradients of the states after them. A
 * block walks over the chunks of one 64 x 64 tile of one state.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_TILE_STATES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_TILE_STATES_CUH

#include "kernels/chunk_core/decay_rows.cuh"
#include "kernels/chunk_core/decay_tiles.cuh"

/* What the block works on: keys from `key`, values from `column`. */
typedef struct {
    int batch, head, key, column;
} sq_tile_place;

__device__ __forceinline__ sq_tile_place sq_tile_place_of(const sq_decay_tiled &c)
{
    int index = (int)blockIdx.x;
    sq_tile_place at;
    at.column = index % c.value_tiles * SQ_TILE;
    index /= c.value_tiles;
    at.key = index % c.key_tiles * SQ_TILE;
    index /= c.key_tiles;
    at.head = index % c.p.heads;
    at.batch = index / c.p.heads;
    return at;
}

/* Calls f(row, column in the (keys, values) matrix, the thread's element) for those that exist. */
template <typename T, typename F>
__device__ __forceinline__ void sq_tile_each(const sq_decay_tiled &c, const sq_tile_place &at,
                                             sq_tile_sum<T> &sum, F f)
{
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const int row = at.key + sum.row(i), column = at.column + sum.col(i);
        if (row < c.p.keys && column < c.p.values)
            f(row, column, sum.at[i]);
    }
}

/* The chunk's factors go into the tile of queries or keys, and the decays by row into the state. */
template <typename T, bool IS_REVERSE>
__device__ __forceinline__ void sq_tile_weigh_by_row(const sq_decay_tiled &c,
                                                     const sq_row_sums *sums,
                                                     const sq_tile<T> &left, sq_tile_sum<T> &state)
{
    if constexpr (IS_REVERSE)
        sq_rows_weigh_queries(c.p, sums, left);
    else
        sq_rows_weigh_keys(sums, left);
#pragma unroll
    for (int e = 0; e < 16; e++)
        state.at[e] *= sq_rows_decay(sums, state.row(e));
    __syncthreads();
}

/* IS_REVERSE: gradients, from the last chunk to the first. BY_ROW: the decays are. */
template <typename T, bool IS_REVERSE, bool BY_ROW>
static __global__ void __launch_bounds__(SQ_TILE_THREADS) sq_tile_states_kernel(sq_decay_tiled c)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_tile<T> left = {memory}, right = {memory + sq_tile_bytes<T>};
    sq_chunk_gates *gates = (sq_chunk_gates *)(memory + 2 * sq_tile_bytes<T>);
    sq_row_sums *sums = (sq_row_sums *)(memory + 2 * sq_tile_bytes<T>);
    const sq_tile_place at = sq_tile_place_of(c);
    const int group = at.head / c.p.heads_per_group;
    const sq_decay_matrix from = IS_REVERSE ? c.g.d_final : c.p.initial;
    const sq_decay_matrix to = IS_REVERSE ? c.g.d_initial : c.p.final;
    void *states = IS_REVERSE ? c.after : c.before;
    sq_tile_sum<T> state;
    float unit = 1.0f; /* of the state */
    state.clear();
    if (from.data)
        sq_tile_each<T>(c, at, state, [&](int row, int column, float &x) {
            x = sq_decay_row(from, at.batch, at.head, row)[column];
        });
    for (int i = 0; i < c.chunks; i++) {
        const int chunk = IS_REVERSE ? c.chunks - 1 - i : i;
        const sq_tile_unit u = sq_tile_unit_of(c, chunk, at.batch, at.head);
        T *saved = sq_tile_state<T>(c, states, u);
        sq_tile_each<T>(c, at, state, [&](int row, int column, float &x) {
            saved[(int64_t)row * c.p.values + column] = sq_from_f32<T>(x);
        });
        __syncthreads(); /* nobody reads the tiles any more */
        sq_tile_load_steps<T>(c, left, IS_REVERSE ? c.p.q : c.p.k, u, group, at.key, c.p.keys);
        sq_tile_load_steps<T>(c, right, IS_REVERSE ? c.g.d_o : c.p.v, u, at.head, at.column,
                              c.p.values);
        if constexpr (BY_ROW) {
            sq_rows_fill<T>(c, u, at.key, sums);
        } else {
            sq_tile_fill_gates<T>(c, u, gates);
            __syncthreads();
            left.weigh(IS_REVERSE ? gates->row : gates->key, c.is_vector);
        }
        sq_tile_sync();
        if constexpr (BY_ROW) {
            sq_tile_weigh_by_row<T, IS_REVERSE>(c, sums, left, state);
        } else {
            float decay = gates->decay;
            if constexpr (IS_REVERSE) {
                const sq_tile_units units = sq_tile_units_of(c, u);
                decay *= units.later / units.own;
                unit = units.own;
            }
#pragma unroll
            for (int e = 0; e < 16; e++)
                state.at[e] *= decay;
        }
        state.add_tn(left, right);
    }
    if (to.data)
        sq_tile_each<T>(c, at, state, [&](int row, int column, float &x) {
            sq_decay_row(to, at.batch, at.head, row)[column] = x * unit;
        });
}

template <typename T, bool IS_REVERSE, bool BY_ROW = false>
static sq_status sq_tile_states(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    constexpr int factors = (int)(BY_ROW ? sizeof(sq_row_sums) : sizeof(sq_chunk_gates));
    constexpr int bytes = 2 * sq_tile_bytes<T> + factors;
    auto kernel = sq_tile_states_kernel<T, IS_REVERSE, BY_ROW>;
    const unsigned grid = (unsigned)((int64_t)c.value_tiles * c.key_tiles * c.p.heads * c.p.batch);
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    kernel<<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c);
    return sq_launched("states of chunks", err);
}

#endif
