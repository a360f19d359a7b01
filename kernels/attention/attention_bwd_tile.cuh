/* attention_bwd_tile: what the backward kernels share. Each walks over tiles of one side while a
 * block keeps a tile of the other, and makes the probabilities again from the saved log-sum-exp:
 *
 *   dQ       rows are queries, columns keys: dQ += dS K
 *   dK, dV   rows are keys, columns the queries of all heads of their group: dK += dS^T Q,
 *            dV += P^T dO
 *
 * so no sum has more than one writer and nothing is added atomically.
 */
#ifndef SQ_KERNELS_ATTENTION_BWD_TILE_CUH
#define SQ_KERNELS_ATTENTION_BWD_TILE_CUH

#include "kernels/attention/attention_tile.cuh"

/* f: the forward call, with its lse. Strides in elements: b batch, l position, h head. */
struct attention_bwd_params {
    attention_params f;
    const void *d_o;
    void *dq, *dk, *dv;
    const float *delta; /* (B, H, L): rowsum(dO o) */
    float *bias_parts;  /* (B, H, tiles, biases): sums of dS by distance; or NULL */
    int64_t do_b, do_l, do_h, dq_b, dq_l, dq_h, dk_b, dk_l, dk_h, dv_b, dv_l, dv_h;
    float scale;
    int tiles;      /* of rows in a sequence */
    unsigned heads; /* of the side that rows belong to */
    unsigned heads_at_once, blocks_at_once;
};

/* The factor of dQ and dK. Where each query sees one key its probability is 1 whatever the score, and
 * both are 0: not the rounding of dP - delta. */
static inline float attention_bwd_scale(const attention_params &f)
{
    const bool sees_one = f.keys == 1 || (f.is_causal && f.window == 1);
    return sees_one ? 0.0f : f.scale;
}

/* Queries [first, last) that see a key. */
__device__ __forceinline__ attention_keys attention_seeing(const attention_params &p, int h,
                                                           int key)
{
    const int first = key - (p.keys - p.queries), window = h < p.masked ? h + 1 : p.window;
    int low = 0;
    if (p.is_causal)
        low = first;
    else if (p.ahead > 0)
        low = first - p.ahead;
    return {max(0, low), window > 0 ? max(0, min(p.queries, first + window)) : p.queries};
}

/* Tile of this block, as attention_block_tile: the longest first. Of causal queries those are the
 * last, of keys the first. */
template <bool IS_DQ>
__device__ __forceinline__ attention_tile attention_bwd_tile(const attention_bwd_params &p,
                                                             int rows)
{
    const unsigned first = blockIdx.x / p.blocks_at_once * p.heads_at_once;
    const unsigned in_group = min(p.heads_at_once, p.f.batch * p.heads - first);
    const unsigned within = blockIdx.x % p.blocks_at_once, pair = first + within % in_group;
    const int at = (int)(within / in_group), total = IS_DQ ? p.f.queries : p.f.keys;
    const int row = (IS_DQ ? p.tiles - 1 - at : at) * rows;
    return {(int)(pair / p.heads), (int)(pair % p.heads), row, min(rows, total - row)};
}

/* Tiles of `width` queries of head h that see any key of the tile; full: every key. */
__device__ __forceinline__ attention_range attention_query_tiles(const attention_params &p, int h,
                                                                 const attention_tile &t, int width)
{
    const attention_keys top = attention_seeing(p, h, t.row);
    const attention_keys bottom = attention_seeing(p, h, t.row + t.count - 1);
    return {top.first / width, (bottom.last + width - 1) / width,
            (bottom.first + width - 1) / width,
            top.last == p.queries ? (top.last + width - 1) / width : top.last / width};
}

/* Where the walk is: tile of columns, of query head `head`. Past the end: head == end. */
struct attention_walk {
    int head, end, tile;
    attention_range range;
};

template <bool IS_DQ>
__device__ __forceinline__ attention_range attention_walk_range(const attention_bwd_params &p,
                                                                const attention_tile &t, int head,
                                                                int width)
{
    return IS_DQ ? attention_key_tiles(p.f, t, width) : attention_query_tiles(p.f, head, t, width);
}

template <bool IS_DQ>
__device__ __forceinline__ void attention_walk_settle(const attention_bwd_params &p,
                                                      const attention_tile &t, int width,
                                                      attention_walk &w)
{
    while (w.tile >= w.range.last && ++w.head < w.end) {
        w.range = attention_walk_range<IS_DQ>(p, t, w.head, width);
        w.tile = w.range.first;
    }
}

template <bool IS_DQ>
__device__ __forceinline__ attention_walk attention_walk_start(const attention_bwd_params &p,
                                                               const attention_tile &t, int width)
{
    const int group = IS_DQ ? 1 : p.f.heads_per_kv;
    attention_walk w = {t.h * group, (t.h + 1) * group, 0, {}};
    w.range = attention_walk_range<IS_DQ>(p, t, w.head, width);
    w.tile = w.range.first;
    attention_walk_settle<IS_DQ>(p, t, width, w);
    return w;
}

template <bool IS_DQ>
__device__ __forceinline__ attention_walk attention_walk_next(const attention_bwd_params &p,
                                                              const attention_tile &t, int width,
                                                              attention_walk w)
{
    w.tile++;
    attention_walk_settle<IS_DQ>(p, t, width, w);
    return w;
}

/* Columns [first, last) that a row meets. */
template <bool IS_DQ>
__device__ __forceinline__ attention_keys attention_bwd_seen(const attention_params &p, int head,
                                                             int row)
{
    return IS_DQ ? attention_visible(p, head, row) : attention_seeing(p, head, row);
}

/* Tiles of both sides in memory. */
template <typename T>
struct attention_bwd_side {
    const T *first, *second; /* q and dO, or k and v */
    int64_t first_l, second_l;
    int count;
};

template <typename T>
__device__ __forceinline__ attention_bwd_side<T> attention_query_side(const attention_bwd_params &p,
                                                                      int b, int h, int row)
{
    return {(const T *)p.f.q + b * p.f.q_b + h * p.f.q_h + row * p.f.q_l,
            (const T *)p.d_o + b * p.do_b + h * p.do_h + row * p.do_l, p.f.q_l, p.do_l,
            p.f.queries - row};
}

template <typename T>
__device__ __forceinline__ attention_bwd_side<T> attention_key_side(const attention_bwd_params &p,
                                                                    int b, int h, int row)
{
    return {(const T *)p.f.k + b * p.f.k_b + h * p.f.k_h + row * p.f.k_l,
            (const T *)p.f.v + b * p.f.v_b + h * p.f.v_h + row * p.f.v_l, p.f.k_l, p.f.v_l,
            p.f.keys - row};
}

/* What a block keeps, and the columns' tile `at` of its walk. h: a query head. */
template <bool IS_DQ, typename T>
__device__ __forceinline__ attention_bwd_side<T> attention_bwd_rows(const attention_bwd_params &p,
                                                                    const attention_tile &t)
{
    return IS_DQ ? attention_query_side<T>(p, t.b, t.h, t.row)
                 : attention_key_side<T>(p, t.b, t.h, t.row);
}

template <bool IS_DQ, typename T>
__device__ __forceinline__ attention_bwd_side<T>
attention_bwd_columns(const attention_bwd_params &p, int b, const attention_walk &w, int width)
{
    return IS_DQ ? attention_key_side<T>(p, b, w.head / p.f.heads_per_kv, w.tile * width)
                 : attention_query_side<T>(p, b, w.head, w.tile * width);
}

/* The saved numbers of a query; of none beyond the last: no probability is left of +inf. */
struct attention_row_facts {
    float lse, delta;
};

__device__ __forceinline__ attention_row_facts attention_facts_of(const attention_bwd_params &p,
                                                                  int b, int h, int query)
{
    if (query >= p.f.queries)
        return {INFINITY, 0.0f};
    const int64_t at = ((int64_t)b * p.f.heads + h) * p.f.queries + query;
    return {p.f.lse[at], p.delta[at]};
}

/* --- the gradient of a bias by distance, beside dQ --- */

/* Adds the diagonals of a tile of dS, ROWS x COLUMNS numbers read by at(row, column), to sums by
 * distance, THREADS threads at once: each distance is one thread's. base: distance of element (0,
 * 0). What lies beyond the last distance stays with the thread: the result is what it has so far.
 */
template <int ROWS, int COLUMNS, int THREADS, typename At>
__device__ __forceinline__ float attention_add_diagonals(float *sums, int last, int base,
                                                         int thread, float beyond, At at)
{
    for (int i = thread; i < ROWS + COLUMNS - 1; i += THREADS) {
        const int diagonal = i - (COLUMNS - 1), distance = base + diagonal;
        if (distance < 0) /* not seen */
            continue;
        float sum = 0.0f;
        for (int row = max(0, diagonal); row < min(ROWS, COLUMNS + diagonal); row++)
            sum += at(row, row - diagonal);
        if (distance < last)
            sums[distance] += sum;
        else
            beyond += sum;
    }
    return beyond;
}

/* A tile's part, from the sums of PARTS warps. The caller has synchronised. */
template <int PARTS, int THREADS>
__device__ __forceinline__ void attention_store_bias_part(const attention_bwd_params &p,
                                                          const attention_tile &t, int rows,
                                                          const float *sums)
{
    const int64_t tile = ((int64_t)t.b * p.heads + t.h) * p.tiles + t.row / rows;
    for (int d = (int)threadIdx.x; d < p.f.biases; d += THREADS) {
        float sum = 0.0f;
        for (int part = 0; part < PARTS; part++)
            sum += sums[part * p.f.biases + d];
        p.bias_parts[tile * p.f.biases + d] = p.scale > 0.0f ? sum : 0.0f;
    }
}

#endif
