/* decay_tile_keys: gradients of queries and keys of one chunk and 64 of their columns a block,
 * summed over some heads of their group; and each head's parts of the gradients of its gates,
 *
 *   dw_j = sum_i N_ij + tail_j k_j . (G v_j)             N_ij = (do_i . v_j) (q_i . k_j) e_ij
 *   d(ln a_t) = sum over j < t <= i of N_ij w_j + sum over i >= t of row_i q_i . (S do_i)
 *             + sum over j < t of key_j k_j . (G v_j) + decay <G, S>
 *
 * which is what every decay between an input and an output does, without the difference of large
 * sums that q . dq - k . dk would be.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_TILE_KEYS_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_TILE_KEYS_CUH

#include "kernels/chunk_core/decay_tiles.cuh"
#include "kernels/hw/reduce.cuh"

/* What is summed by few threads. pairs: N, then its sums over j < t. from_queries, from_keys: of
 * each step, row_i q_i . (S do_i) and key_j k_j . (G v_j), before that by parts. */
typedef struct __align__(16)
{
    sq_chunk_gates gates;
    float pairs[SQ_TILE][SQ_TILE + 1];
    float query_part[SQ_TILE][17], key_part[SQ_TILE][17];
    float from_queries[SQ_TILE], from_keys[SQ_TILE], later[4][SQ_TILE], scratch[8];
}
sq_tile_pairs;

template <typename T>
constexpr int sq_tile_keys_shared = 6 * sq_tile_bytes<T> + (int)sizeof(sq_tile_pairs);

/* Where the unit's step 0 lies in d_step and d_log. */
__device__ __forceinline__ int64_t sq_tile_gate_index(const sq_decay_tiled &c, int key_tile,
                                                      const sq_tile_unit &u)
{
    const int64_t row = ((int64_t)key_tile * c.p.batch + u.batch) * c.p.heads + u.head;
    return row * c.chunks * SQ_CHUNK + u.first;
}

/* dw of the chunk's steps, and each step's part of d(ln a); the first 64 threads. */
template <typename T>
__device__ __forceinline__ void sq_tile_step_gradient(sq_tile_pairs *m, float *d_step)
{
    const int t = (int)threadIdx.x;
    if (t >= SQ_TILE)
        return;
    const float key = sq_tile_row_sum<T>(m->key_part, t);
    float sum = 0.0f;
    for (int i = t; i < SQ_TILE; i++)
        sum += m->pairs[i][t];
    d_step[t] = sum + m->gates.tail[t] * key;
    m->from_queries[t] = m->gates.row[t] * sq_tile_row_sum<T>(m->query_part, t);
    m->from_keys[t] = m->gates.key[t] * key;
}

/* pairs[i][t] becomes the sum over j < t of N_ij w_j. A warp takes 8 rows, a lane two columns. */
__device__ __forceinline__ void sq_tile_sum_pairs(sq_tile_pairs *m)
{
    const int lane = (int)threadIdx.x % 32, first = (int)threadIdx.x / 32 * 8;
    for (int i = first; i < first + 8; i++) {
        float *at = &m->pairs[i][2 * lane];
        const float lo = at[0] * m->gates.input[2 * lane];
        const float hi = at[1] * m->gates.input[2 * lane + 1];
        float scan = lo + hi;
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            const float before = __shfl_up_sync(0xffffffffu, scan, distance);
            scan += lane >= distance ? before : 0.0f;
        }
        const float before = __shfl_up_sync(0xffffffffu, scan, 1);
        at[0] = lane == 0 ? 0.0f : before;
        at[1] = at[0] + lo;
    }
}

/* d(ln a) of the chunk's steps. whole: decay <G, S>. */
__device__ __forceinline__ void sq_tile_log_gradient(sq_tile_pairs *m, float whole, float *d_log)
{
    const int t = (int)threadIdx.x % SQ_TILE, part = (int)threadIdx.x / SQ_TILE;
    float sum = 0.0f;
    for (int i = max(t, 16 * part); i < 16 * part + 16; i++)
        sum += m->pairs[i][t];
    m->later[part][t] = sum;
    __syncthreads();
    if (part != 0)
        return;
    sum = m->later[0][t] + m->later[1][t] + m->later[2][t] + m->later[3][t] + whole;
    for (int i = 0; i < SQ_TILE; i++)
        sum += i < t ? m->from_keys[i] : m->from_queries[i];
    d_log[t] = sum;
}

/* A thread's share of <G, S> of two tiles. */
template <typename T>
__device__ __forceinline__ float sq_tile_dot(const sq_tile<T> &x, const sq_tile<T> &y)
{
    float sum = 0.0f;
#pragma unroll 4
    for (int i = (int)threadIdx.x / SQ_TILE; i < SQ_TILE; i += 4)
        sum += x.get(i, (int)threadIdx.x % SQ_TILE) * y.get(i, (int)threadIdx.x % SQ_TILE);
    return sum;
}

/* What a value column of ones adds to dO V^T, dO S^T and V G^T, G in units of `unit`. */
template <typename T>
__device__ __forceinline__ void
sq_tile_add_ones(const sq_decay_tiled &c, const sq_tile_unit &u, int key, float unit,
                 sq_tile_sum<T> &dp, sq_tile_sum<T> &from_state, sq_tile_sum<T> &from_gradient)
{
    const sq_decay_ones &ones = c.g.ones;
    const float *d_o = ones.d_o + ((int64_t)u.batch * c.p.heads + u.head) * c.p.length + u.first;
    const int64_t at = ((int64_t)u.chunk * c.p.batch + u.batch) * c.p.heads + u.head;
    const float *before = ones.before + at * c.p.keys + key;
    const float *after = ones.after + at * c.p.keys + key;
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = dp.row(e), n = dp.col(e);
        const bool is_key = key + n < c.p.keys;
        const float own = i < u.steps ? d_o[i] : 0.0f;
        dp.at[e] += own;
        from_state.at[e] += is_key ? own * before[n] : 0.0f;
        from_gradient.at[e] += is_key ? after[n] / unit : 0.0f;
    }
}

/* To dq or dk: the sum itself where no other block has a part of it. */
template <typename T>
__device__ __forceinline__ void sq_tile_store_keys(const sq_decay_tiled &c,
                                                   const sq_decay_tensor &to, float *parts,
                                                   const sq_tile_unit &u, int split, int group,
                                                   int key, float unit, const sq_tile_sum<T> &sum)
{
    const int groups = c.p.heads / c.p.heads_per_group;
    const int64_t first = ((int64_t)split * c.p.batch + u.batch) * c.p.length + u.first;
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = sum.row(e), n = key + sum.col(e);
        if (i >= u.steps || n >= c.p.keys)
            continue;
        if (c.splits == 1)
            ((T *)sq_decay_at<T>(to, u.batch, u.first + i, group))[n] =
                sq_from_f32<T>(sum.at[e] * unit);
        else
            parts[((first + i) * groups + group) * c.p.keys + n] = sum.at[e] * unit;
    }
}

template <typename T>
static __global__ void __launch_bounds__(SQ_TILE_THREADS) sq_tile_keys_kernel(sq_decay_tiled c)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const auto tile = [&](int i) { return sq_tile<T>{memory + i * sq_tile_bytes<T>}; };
    const sq_tile<T> q = tile(0), k = tile(1), d_o = tile(2), v = tile(3), s = tile(4), g = tile(5);
    sq_tile_pairs *m = (sq_tile_pairs *)(memory + 6 * sq_tile_bytes<T>);
    const int per_group = c.p.heads_per_group, groups = c.p.heads / per_group;
    int index = (int)blockIdx.x;
    const int key_tile = index % c.key_tiles, key = key_tile * SQ_TILE;
    index /= c.key_tiles;
    const int chunk = index % c.chunks;
    index /= c.chunks;
    const int group = index % groups;
    index /= groups;
    const int split = index % c.splits, batch = index / c.splits;
    const int per_split = (per_group + c.splits - 1) / c.splits;
    const int first_head = group * per_group + split * per_split;
    const int last_head = min(first_head + per_split, (group + 1) * per_group);
    sq_tile_sum<T> score, dq, dk;
    score.clear();
    dq.clear();
    dk.clear();
    const sq_tile_unit any = sq_tile_unit_of(c, chunk, batch, first_head);
    const sq_tile_units units = sq_tile_units_of(c, any); /* other than 1: of one head in a group */
    sq_tile_load_steps<T>(c, q, c.p.q, any, group, key, c.p.keys);
    sq_tile_load_steps<T>(c, k, c.p.k, any, group, key, c.p.keys);
    sq_tile_sync();
    score.add_nt(q, k);
    for (int head = first_head; head < last_head; head++) {
        const sq_tile_unit u = sq_tile_unit_of(c, chunk, batch, head);
        sq_tile_sum<T> dp, from_state, from_gradient;
        float dot[1] = {0.0f};
        dp.clear();
        from_state.clear();
        from_gradient.clear();
        for (int column = 0; column < c.p.values; column += SQ_TILE) {
            sq_tile_load_values<T>(c, u, key, column, d_o, v, s, g);
            if (column == 0) /* nobody reads the last head's factors any more */
                sq_tile_fill_gates<T>(c, u, &m->gates);
            sq_tile_sync();
            dp.add_nt(d_o, v);
            from_state.add_nt(d_o, s);
            from_gradient.add_nt(v, g);
            dot[0] += sq_tile_dot(s, g);
        }
        if (c.g.ones.d_o)
            sq_tile_add_ones<T>(c, u, key, units.later, dp, from_state, from_gradient);
        __syncthreads();
        const sq_tile<T> w = d_o;
        float query[16], of_key[16];
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int i = dp.row(e), j = dp.col(e);
            const float pair = dp.at[e] * sq_tile_pair(c.p, &m->gates, i, j);
            w.put(i, j, pair * m->gates.input[j]);
            m->pairs[i][j] = pair * score.at[e];
            query[e] = q.get(i, j) * from_state.at[e];
            of_key[e] = k.get(i, j) * from_gradient.at[e];
        }
        sq_tile_sum<T>::row_parts(query, m->query_part);
        sq_tile_sum<T>::row_parts(of_key, m->key_part);
        sq_lanes_sum<SQ_TILE_THREADS>(dot, m->scratch); /* synchronises */
        dq.add_nn(w, k);
        dk.add_tn(w, q);
#pragma unroll
        for (int e = 0; e < 16; e++) {
            dq.at[e] += m->gates.row[dq.row(e)] * from_state.at[e];
            dk.at[e] += m->gates.key[dk.row(e)] * (units.later / units.own) * from_gradient.at[e];
        }
        if (!c.d_log)
            continue;
        const int64_t at = sq_tile_gate_index(c, key_tile, u);
        sq_tile_step_gradient<T>(m, c.d_step + at);
        __syncthreads();
        sq_tile_sum_pairs(m);
        __syncthreads();
        sq_tile_log_gradient(m, m->gates.decay * dot[0], c.d_log + at);
    }
    sq_tile_store_keys<T>(c, c.g.d_q, c.d_q, any, split, group, key, units.own, dq);
    sq_tile_store_keys<T>(c, c.g.d_k, c.d_k, any, split, group, key, units.own, dk);
}

template <typename T>
static sq_status sq_tile_keys(const sq_call *call, const sq_decay_tiled &c, sq_error *err)
{
    constexpr int bytes = sq_tile_keys_shared<T>;
    const int64_t groups = c.p.heads / c.p.heads_per_group;
    const unsigned grid = (unsigned)(groups * c.key_tiles * c.chunks * c.splits * c.p.batch);
    SQ_TRY(sq_allow_shared(sq_tile_keys_kernel<T>, bytes, err));
    sq_tile_keys_kernel<T><<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c);
    return sq_launched("gradients of queries and keys", err);
}

#endif
