/* decay_tile_out: outputs, and gradients of values, of one chunk and 64 value columns a block. dz
 * comes with the gradients where there is a z, and the sums over the chunk that make dskip.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_TILE_OUT_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_TILE_OUT_CUH

#include "kernels/chunk_core/decay_rows.cuh"
#include "kernels/chunk_core/decay_tiles.cuh"

typedef enum { SQ_TILE_FORWARD, SQ_TILE_BACKWARD, SQ_TILE_BACKWARD_GATED } sq_tile_mode;

/* Shared memory: four tiles, reused from phase to phase, then a chunk's factors, of one kind. */
template <typename T>
struct sq_tile_out_memory {
    unsigned char *memory;
    __device__ sq_tile<T> tile(int i) const { return {memory + i * sq_tile_bytes<T>}; }
    __device__ sq_chunk_gates *gates() const
    {
        return (sq_chunk_gates *)(memory + 4 * sq_tile_bytes<T>);
    }
    __device__ sq_row_sums *sums() const { return (sq_row_sums *)(memory + 4 * sq_tile_bytes<T>); }
};

/* Sums over the chunk of do o v by column: 64 columns by 4 threads each. `sums`: 256 floats. */
template <typename T>
__device__ __forceinline__ void sq_tile_skip_sums(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                  int column, const sq_tile<T> &d_o,
                                                  const sq_tile<T> &v, float *sums)
{
    const int own = (int)threadIdx.x % SQ_TILE, part = (int)threadIdx.x / SQ_TILE * 16;
    float sum = 0.0f;
    for (int i = part; i < part + 16; i++)
        sum += d_o.get(i, own) * v.get(i, own);
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= SQ_TILE || column + own >= c.p.values)
        return;
    const int64_t row = (int64_t)(u.batch * (int64_t)c.chunks + u.chunk) * c.p.heads + u.head;
    c.d_skip[row * c.p.values + column + own] =
        sums[own] + sums[own + 64] + sums[own + 128] + sums[own + 192];
}

/* o_i from y_i. */
template <typename T>
__device__ __forceinline__ void sq_tile_store_out(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                  int column, const sq_tile_sum<T> &y)
{
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = y.row(e), to = column + y.col(e);
        if (i < u.steps && to < c.p.values)
            ((T *)sq_decay_at<T>(c.p.o, u.batch, u.first + i, u.head))[to] =
                sq_from_f32<T>(sq_decay_gated<T>(c.p, u.batch, u.first + i, u.head, to, y.at[e]));
    }
}

/* dz_i = do_i y_i silu'(z_i). */
template <typename T>
__device__ __forceinline__ void sq_tile_store_gate(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                   int column, const sq_tile_sum<T> &y)
{
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = y.row(e), at = column + y.col(e), t = u.first + i;
        if (i >= u.steps || at >= c.p.values)
            continue;
        const float z = sq_to_f32(sq_decay_at<T>(c.p.z, u.batch, t, u.head)[at]);
        const float d_o = sq_to_f32(sq_decay_at<T>(c.g.raw, u.batch, t, u.head)[at]);
        const float s = 1.0f / (1.0f + expf(-z));
        ((T *)sq_decay_at<T>(c.g.d_z, u.batch, t, u.head))[at] =
            sq_from_f32<T>(d_o * y.at[e] * s * (1.0f + z * (1.0f - s)));
    }
}

template <typename T, bool BY_ROW>
constexpr int sq_tile_out_shared = 4 * sq_tile_bytes<T> +
                                   (int)(BY_ROW ? sizeof(sq_row_sums) : sizeof(sq_chunk_gates));

template <typename T, sq_tile_mode MODE, bool BY_ROW>
static __global__ void __launch_bounds__(SQ_TILE_THREADS, 2) sq_tile_out_kernel(sq_decay_tiled c)
{
    constexpr bool has_out = MODE != SQ_TILE_BACKWARD, has_grad = MODE != SQ_TILE_FORWARD;
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_tile_out_memory<T> shared = {memory};
    const sq_tile<T> q = shared.tile(0), k = shared.tile(1), s = shared.tile(2), g = shared.tile(3);
    const sq_chunk_gates *gates = shared.gates();
    const int column = (int)blockIdx.x % c.value_tiles * SQ_TILE;
    const int index = (int)blockIdx.x / c.value_tiles, chunk = index % c.chunks;
    const int head = index / c.chunks % c.p.heads, batch = index / c.chunks / c.p.heads;
    const int group = head / c.p.heads_per_group;
    const sq_tile_unit u = sq_tile_unit_of(c, chunk, batch, head);
    sq_tile_sum<T> score, y, dv;
    score.clear();
    y.clear();
    dv.clear();
    for (int key = 0; key < c.p.keys; key += SQ_TILE) {
        __syncthreads(); /* nobody reads the tiles any more */
        sq_tile_load_steps<T>(c, q, c.p.q, u, group, key, c.p.keys);
        sq_tile_load_steps<T>(c, k, c.p.k, u, group, key, c.p.keys);
        if constexpr (has_out)
            sq_tile_load_state<T>(c, s, c.before, u, key, column);
        if constexpr (has_grad)
            sq_tile_load_state<T>(c, g, c.after, u, key, column);
        if constexpr (BY_ROW)
            sq_rows_fill<T>(c, u, key, shared.sums());
        else if (key == 0)
            sq_tile_fill_gates<T>(c, u, shared.gates());
        sq_tile_sync();
        if constexpr (BY_ROW) {
            sq_rows_scores(shared.sums(), q, k, score);
            __syncthreads(); /* nobody reads q and k as they are any more */
            sq_rows_weigh_queries(c.p, shared.sums(), q);
            sq_rows_weigh_keys(shared.sums(), k);
            __syncthreads();
        } else {
            score.add_nt(q, k);
        }
        if constexpr (has_out)
            y.add_nn(q, s);
        if constexpr (has_grad)
            dv.add_nn(k, g);
    }
    __syncthreads();
    const sq_tile<T> p = q, v = s, d_o = g;
    sq_tile_units units = {1.0f, 1.0f};
    if constexpr (MODE == SQ_TILE_BACKWARD && !BY_ROW) {
        units = sq_tile_units_of(c, u);
    }
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = score.row(e), j = score.col(e);
        if constexpr (BY_ROW) {
            p.put(i, j, score.at[e] * c.p.scale);
        } else {
            p.put(i, j, score.at[e] * sq_tile_pair(c.p, gates, i, j) * units.own * gates->input[j]);
            y.at[e] *= gates->row[i];
            dv.at[e] *= gates->key[i] * units.later;
        }
    }
    sq_tile_load_steps<T>(c, v, c.p.v, u, head, column, c.p.values);
    if constexpr (has_grad)
        sq_tile_load_steps<T>(c, d_o, c.g.d_o, u, head, column, c.p.values);
    sq_tile_sync();
    if constexpr (has_out) {
        y.add_nn(p, v);
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int to = column + y.col(e);
            if (to < c.p.values)
                y.at[e] += sq_decay_skip(c.p, head, to) * v.get(y.row(e), y.col(e));
        }
        if constexpr (has_grad)
            sq_tile_store_gate<T>(c, u, column, y);
        else
            sq_tile_store_out<T>(c, u, column, y);
    }
    if constexpr (has_grad) {
        dv.add_tn(p, d_o);
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int j = dv.row(e), to = column + dv.col(e);
            if (j < u.steps && to < c.p.values)
                ((T *)sq_decay_at<T>(c.g.d_v, batch, u.first + j, head))[to] =
                    sq_from_f32<T>(dv.at[e] + sq_decay_skip(c.p, head, to) * d_o.get(j, dv.col(e)));
        }
        if (c.p.skip)
            sq_tile_skip_sums<T>(c, u, column, d_o, v, (float *)k.memory);
    }
}

template <typename T, sq_tile_mode MODE, bool BY_ROW = false>
static sq_status sq_tile_out(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    constexpr int bytes = sq_tile_out_shared<T, BY_ROW>;
    auto kernel = sq_tile_out_kernel<T, MODE, BY_ROW>;
    const unsigned grid = (unsigned)((int64_t)c.value_tiles * c.chunks * c.p.heads * c.p.batch);
    SQ_TRY(sq_allow_shared(kernel, bytes, err));
    kernel<<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c);
    return sq_launched("outputs of chunks", err);
}

#endif
