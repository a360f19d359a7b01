/* decay_rows: chunks of a recurrence whose decays are by row of the state (gla). With c_in the log2
 * of the product of the chunk's decays of row n up to and with step i, the factors of
 * decay_tiles.cuh get an index more: e_ijn = scale 2^(c_in - c_jn), row_in = scale 2^c_in, tail_jn
 * = 2^(c_last,n - c_jn). Where a product sums over n the factors go into q and k, except between
 * steps of the chunk: there neither 2^c_in nor 2^-c_jn need be a number, and pairs are summed one
 * by one.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_ROWS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_ROWS_CUH

#include "kernels/chunk_core/decay_tiles.cuh"

/* c of a chunk and a tile of keys, in two parts: see sq_chunk_gates. */
typedef struct __align__(16)
{
    float sum[SQ_TILE][SQ_TILE + 1], low[SQ_TILE][SQ_TILE + 1];
}
sq_row_sums;

/* By the first 64 threads, a row of the state each; the caller synchronises. */
template <typename T>
__device__ __forceinline__ void sq_rows_fill(const sq_decay_tiled &c, const sq_tile_unit &u,
                                             int key, sq_row_sums *sums)
{
    const int n = (int)threadIdx.x;
    if (n >= SQ_TILE)
        return;
    const bool is_row = key + n < c.p.keys;
    const T *at = sq_decay_at<T>(c.p.dt, u.batch, u.first, u.head) + (is_row ? key + n : 0);
    double sum = 0.0;
#pragma unroll 8
    for (int i = 0; i < SQ_TILE; i++) {
        sum += is_row && i < u.steps ? (double)sq_to_f32(at[i * c.p.dt.time]) * 1.4426950408889634
                                     : 0.0;
        sums->sum[i][n] = (float)sum;
        sums->low[i][n] = (float)(sum - (float)sum);
    }
}

/* log2 of what is left at step i of what was there at step j, of row n. */
__device__ __forceinline__ float sq_rows_between(const sq_row_sums *s, int i, int j, int n)
{
    return s->sum[i][n] - s->sum[j][n] + (s->low[i][n] - s->low[j][n]);
}

/* What is left of the state before the chunk, of row n. */
__device__ __forceinline__ float sq_rows_decay(const sq_row_sums *s, int n)
{
    return sq_exp2(s->sum[SQ_TILE - 1][n]);
}

__device__ __forceinline__ float sq_rows_tail(const sq_row_sums *s, int j, int n)
{
    return sq_exp2(sq_rows_between(s, SQ_TILE - 1, j, n));
}

/* Q o row. */
template <typename T>
__device__ __forceinline__ void sq_rows_weigh_queries(const sq_decay_params &p,
                                                      const sq_row_sums *s, const sq_tile<T> &q)
{
    for (int i = (int)threadIdx.x / SQ_TILE; i < SQ_TILE; i += SQ_TILE_THREADS / SQ_TILE) {
        const int n = (int)threadIdx.x % SQ_TILE;
        q.put(i, n, q.get(i, n) * p.scale * sq_exp2(s->sum[i][n]));
    }
}

/* K o tail. */
template <typename T>
__device__ __forceinline__ void sq_rows_weigh_keys(const sq_row_sums *s, const sq_tile<T> &k)
{
    for (int j = (int)threadIdx.x / SQ_TILE; j < SQ_TILE; j += SQ_TILE_THREADS / SQ_TILE) {
        const int n = (int)threadIdx.x % SQ_TILE;
        k.put(j, n, k.get(j, n) * sq_rows_tail(s, j, n));
    }
}

/* score_ij += sum over the tile's n of q_in k_jn 2^(c_in - c_jn), j <= i. */
template <typename T>
__device__ __forceinline__ void sq_rows_scores(const sq_row_sums *s, const sq_tile<T> &q,
                                               const sq_tile<T> &k, sq_tile_sum<T> &score)
{
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = score.row(e), j = score.col(e);
        float sum = 0.0f;
        if (j <= i)
#pragma unroll 4
            for (int n = 0; n < SQ_TILE; n++)
                sum += q.get(i, n) * k.get(j, n) * sq_exp2(sq_rows_between(s, i, j, n));
        score.at[e] += sum;
    }
}

/* --- gradients of queries, keys and decays --- */

/* d_pair: scale do_i . v_j. d_decay: d(gk). */
typedef struct __align__(16)
{
    sq_row_sums sums;
    float d_pair[SQ_TILE][SQ_TILE + 1], d_decay[SQ_TILE][SQ_TILE];
}
sq_rows_pairs;

template <typename T>
constexpr int sq_rows_keys_shared = 6 * sq_tile_bytes<T> + (int)sizeof(sq_rows_pairs);

/* The sum of x over the four threads of a row of the state, received by each. */
__device__ __forceinline__ float sq_rows_sum4(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* One element of an output of (B, L, H, K). */
template <typename T>
__device__ __forceinline__ void sq_rows_store(const sq_decay_tiled &c, const sq_decay_tensor &to,
                                              const sq_tile_unit &u, int i, int n, float x)
{
    if (i < u.steps && n < c.p.keys)
        ((T *)sq_decay_at<T>(to, u.batch, u.first + i, u.head))[n] = sq_from_f32<T>(x);
}

/* Row n of the state, steps i = part + 4 a: dq, dk and the decays between two steps of the chunk.
 * from_state, from_gradient: S do_i and G v_j, 64 x 64 f32. */
template <typename T>
__device__ __forceinline__ void sq_rows_gradients(const sq_decay_tiled &c, const sq_tile_unit &u,
                                                  int key, sq_rows_pairs *m, const sq_tile<T> &q,
                                                  const sq_tile<T> &k, const float *from_state,
                                                  const float *from_gradient)
{
    const int n = (int)threadIdx.x / 4, part = (int)threadIdx.x % 4;
    float query[16], dq[16], before[16]; /* before: sum over j < t of the pairs (i, j) */
#pragma unroll
    for (int a = 0; a < 16; a++) {
        query[a] = q.get(part + 4 * a, n);
        dq[a] = before[a] = 0.0f;
    }
    if (part == 0)
        m->d_decay[0][n] = 0.0f;
#pragma unroll 1
    for (int j = 0; j < SQ_TILE; j++) {
        const float key_j = k.get(j, n);
        float dk = 0.0f, later = 0.0f;
#pragma unroll
        for (int a = 0; a < 16; a++) {
            const int i = part + 4 * a;
            if (i < j)
                continue;
            const float w = m->d_pair[i][j] * sq_exp2(sq_rows_between(&m->sums, i, j, n));
            dq[a] += w * key_j;
            dk += w * query[a];
            before[a] += w * key_j * query[a];
            later += i > j ? before[a] : 0.0f;
        }
        dk = sq_rows_sum4(dk);
        later = sq_rows_sum4(later);
        if (part == 0) {
            const float tail = sq_rows_tail(&m->sums, j, n);
            sq_rows_store<T>(c, c.g.d_k, u, j, key + n, dk + tail * from_gradient[j * SQ_TILE + n]);
            if (j + 1 < SQ_TILE)
                m->d_decay[j + 1][n] = later;
        }
    }
#pragma unroll
    for (int a = 0; a < 16; a++) {
        const int i = part + 4 * a;
        const float row = c.p.scale * sq_exp2(m->sums.sum[i][n]);
        sq_rows_store<T>(c, c.g.d_q, u, i, key + n, dq[a] + row * from_state[i * SQ_TILE + n]);
    }
}

/* Adds what the decays do between the state before the chunk, its steps, and the state after it.
 * whole: decay <G, S> of row n. Threads 0, 4, 8 ... have a row each. */
template <typename T>
__device__ __forceinline__ void
sq_rows_decay_gradient(const sq_decay_tiled &c, const sq_tile_unit &u, int key, sq_rows_pairs *m,
                       const sq_tile<T> &q, const sq_tile<T> &k, const float *from_state,
                       const float *from_gradient, float whole)
{
    const int n = (int)threadIdx.x / 4;
    if (threadIdx.x % 4 != 0)
        return;
    float sum = whole;
    for (int t = 0; t < SQ_TILE; t++) {
        m->d_decay[t][n] += sum;
        sum += k.get(t, n) * sq_rows_tail(&m->sums, t, n) * from_gradient[t * SQ_TILE + n];
    }
    sum = 0.0f;
    for (int t = SQ_TILE - 1; t >= 0; t--) {
        sum += q.get(t, n) * c.p.scale * sq_exp2(m->sums.sum[t][n]) * from_state[t * SQ_TILE + n];
        sq_rows_store<T>(c, c.g.d_dt, u, t, key + n, m->d_decay[t][n] + sum);
    }
}

/* As sq_tile_keys_kernel; one head a block. */
template <typename T>
static __global__ void __launch_bounds__(SQ_TILE_THREADS) sq_rows_keys_kernel(sq_decay_tiled c)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const auto tile = [&](int i) { return sq_tile<T>{memory + i * sq_tile_bytes<T>}; };
    const sq_tile<T> q = tile(0), k = tile(1), d_o = tile(2), v = tile(3), s = tile(4), g = tile(5);
    sq_rows_pairs *m = (sq_rows_pairs *)(memory + 6 * sq_tile_bytes<T>);
    const int key = (int)blockIdx.x % c.key_tiles * SQ_TILE, index = (int)blockIdx.x / c.key_tiles;
    const int head = index / c.chunks % c.p.heads, batch = index / c.chunks / c.p.heads;
    const sq_tile_unit u = sq_tile_unit_of(c, index % c.chunks, batch, head);
    const int n = (int)threadIdx.x / 4, part = (int)threadIdx.x % 4;
    sq_tile_sum<T> dp, of_state, of_gradient;
    float dot = 0.0f;
    dp.clear();
    of_state.clear();
    of_gradient.clear();
    sq_tile_load_steps<T>(c, q, c.p.q, u, head, key, c.p.keys);
    sq_tile_load_steps<T>(c, k, c.p.k, u, head, key, c.p.keys);
    for (int column = 0; column < c.p.values; column += SQ_TILE) {
        sq_tile_load_values<T>(c, u, key, column, d_o, v, s, g);
        if (column == 0)
            sq_rows_fill<T>(c, u, key, &m->sums);
        sq_tile_sync();
        dp.add_nt(d_o, v);
        of_state.add_nt(d_o, s);
        of_gradient.add_nt(v, g);
        for (int i = part; i < SQ_TILE; i += 4)
            dot += s.get(n, i) * g.get(n, i);
    }
    __syncthreads();
    float *from_state = (float *)d_o.memory, *from_gradient = from_state + SQ_TILE * SQ_TILE;
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = dp.row(e), j = dp.col(e);
        m->d_pair[i][j] = c.p.scale * dp.at[e];
        from_state[i * SQ_TILE + j] = of_state.at[e];
        from_gradient[i * SQ_TILE + j] = of_gradient.at[e];
    }
    dot = sq_rows_sum4(dot) * sq_rows_decay(&m->sums, n);
    __syncthreads();
    sq_rows_gradients<T>(c, u, key, m, q, k, from_state, from_gradient);
    __syncwarp(); /* a row's four threads are of one warp */
    sq_rows_decay_gradient<T>(c, u, key, m, q, k, from_state, from_gradient, dot);
}

template <typename T>
static sq_status sq_rows_keys(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    constexpr int bytes = sq_rows_keys_shared<T>;
    const unsigned grid = (unsigned)((int64_t)c.key_tiles * c.chunks * c.p.heads * c.p.batch);
    static_assert(4 * sq_tile_bytes<T> >= 2 * SQ_TILE * SQ_TILE * 4,
                  "two f32 matrices in four tiles");
    SQ_TRY(sq_allow_shared(sq_rows_keys_kernel<T>, bytes, err));
    sq_rows_keys_kernel<T><<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c);
    return sq_launched("gradients by row", err);
}

#endif
