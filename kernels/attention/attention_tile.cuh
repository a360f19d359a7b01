/* attention_tile: what every attention kernel shares: parameters, which keys a query row sees, what
 * is added to a score, and the order in which blocks take their tiles.
 */
#ifndef SQ_KERNELS_ATTENTION_TILE_CUH
#define SQ_KERNELS_ATTENTION_TILE_CUH

#include <stdint.h>

#include "kernels/hw/convert.cuh"

/* rowsum(dO o) of pass bwd cancels against dP where few keys have all of the weight: the rounding of
 * o to 16 bits would be all that is left. What it took from o is saved, times this. */
constexpr float attention_rest_factor = 1024.0f;

/* Strides in elements: b batch, l position, h head; the head dim is contiguous. */
struct attention_params {
    const void *q, *k, *v;
    void *o;
    float *lse;        /* (B, H, L): log2 of the sum of exponentials, +inf without keys; or NULL */
    void *rest;        /* (B, H, L, D), in 16 bit: of o, see above; set where lse is */
    const float *bias; /* (H, biases): by distance, in powers of two; or NULL */
    int64_t q_b, q_l, q_h, k_b, k_l, k_h, v_b, v_l, v_h, o_b, o_l, o_h;
    int queries, keys, heads_per_kv, biases;
    int d; /* of rows in memory: that of the operator, or more with zeros */
    unsigned batch, heads;
    bool is_causal, has_alibi;
    int window, ahead;       /* 0: none */
    int masked;              /* heads with a window of their number */
    float scale, scale_log2; /* 1 / sqrt(D), times log2(e): softmax runs on powers of two */
    int q_tiles;             /* tiles of query rows in a sequence */
    unsigned heads_at_once;  /* (batch, head) pairs whose keys and values share the L2 */
    unsigned blocks_at_once; /* q_tiles * heads_at_once */
};

/* Keys [first, last) that query `row` of head h sees: bottom-right alignment, then the windows. */
struct attention_keys {
    int first, last;
};

__device__ __forceinline__ attention_keys attention_visible(const attention_params &p, int h,
                                                            int row)
{
    const int own = row + p.keys - p.queries, window = h < p.masked ? h + 1 : p.window;
    int last = p.keys;
    if (p.is_causal)
        last = own + 1;
    else if (p.ahead > 0)
        last = own + p.ahead + 1;
    return {window > 0 ? max(0, own - window + 1) : 0, max(0, min(last, p.keys))};
}

/* What head h adds to scores, in powers of two. */
struct attention_head_bias {
    const float *table; /* NULL: a slope */
    float slope;
    int last; /* of the table */
};

__device__ __forceinline__ attention_head_bias attention_bias_of(const attention_params &p, int h)
{
    int power = 1;
    while (2 * power <= (int)p.heads)
        power *= 2;
    const float exponent =
        h < power ? -8.0f * (h + 1) / power : -4.0f * (2 * (h - power) + 1) / power;
    return {p.bias ? p.bias + (int64_t)h * p.biases : nullptr,
            p.has_alibi ? -SQ_LOG2E * exp2f(exponent) : 0.0f, p.biases - 1};
}

/* own: the key that the query stands at. */
__device__ __forceinline__ float attention_bias_at(const attention_head_bias &b, int own, int key)
{
    const int distance = abs(own - key);
    return b.table ? __ldg(b.table + min(distance, b.last)) : b.slope * (float)distance;
}

/* Query rows [row, row + count) of one (batch, head). */
struct attention_tile {
    int b, h, row, count;
};

/* Tile of this block. Blocks start in the order of their index: the longest tiles of a causal
 * sequence (its last rows) come first so that the short ones fill the tail, and the heads are taken
 * in groups whose keys and values fit the L2 together. Cheap enough to be called again where the
 * result would otherwise sit in registers through the main loop. */
__device__ __forceinline__ attention_tile attention_block_tile(const attention_params &p, int rows)
{
    unsigned block = blockIdx.x;
    asm volatile("" : "+r"(block)); /* opaque: a second call shall not reuse the first's result */
    const unsigned first = block / p.blocks_at_once * p.heads_at_once;
    const unsigned in_group = min(p.heads_at_once, p.batch * p.heads - first);
    const unsigned within = block % p.blocks_at_once, pair = first + within % in_group;
    const int row = (p.q_tiles - 1 - (int)(within / in_group)) * rows;
    return {(int)(pair / p.heads), (int)(pair % p.heads), row, min(rows, p.queries - row)};
}

/* Key tiles [first, last) of `width` keys that any row of the tile sees, and [full_first,
 * full_last), those that every row sees whole: they need no mask. */
struct attention_range {
    int first, last, full_first, full_last;
};

__device__ __forceinline__ attention_range attention_key_tiles(const attention_params &p,
                                                               const attention_tile &t, int width)
{
    const attention_keys top = attention_visible(p, t.h, t.row);
    const attention_keys bottom = attention_visible(p, t.h, t.row + t.count - 1);
    return {top.first / width, (bottom.last + width - 1) / width,
            (bottom.first + width - 1) / width, top.last / width};
}

#endif
