/* attention, one query a sequence on a cache of keys and values, cuda/portable: memory-bound.
 *
 * Blocks split the cache of a key/value head (flash decoding: Dao et al., 2023); each takes up to
 * four query heads of the group at once, so that a key is read once for them. A group of `lanes`
 * lanes holds a key, 8 channels a lane; online softmax for each group of lanes, joined over the
 * warp, the block and, by a second kernel, the splits: always in the same order.
 */
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"

enum { STEP_WARPS = 4, STEP_THREADS = 32 * STEP_WARPS, STEP_MAX_D = 256, STEP_CHANNELS = 8 };

/* f: the call, its one query at the end. */
struct attention_step_params {
    attention_params f;
    float *sums,
        *tops; /* of a split: (B, H, splits, D), and (.., 2): base and sum of its weights */
    int slots; /* keys in memory; key t in row t % slots */
    int lanes, splits, per_split, head_tiles;
    bool has_vectors; /* rows of q, k and v are */
};

/* 8 channels from c on; those beyond d, or all where !is_valid, are 0. */
template <typename T>
__device__ __forceinline__ void step_load(const T *row, int c, int d, bool is_valid,
                                          float (&x)[STEP_CHANNELS])
{
    constexpr int width = sq_per_vector<T>;
#pragma unroll
    for (int i = 0; i < STEP_CHANNELS; i += width) {
        float part[width] = {};
        if (is_valid && c + i < d)
            sq_unpack_vector<T>(sq_load16_stream(row + c + i), part);
#pragma unroll
        for (int k = 0; k < width; k++)
            x[i + k] = part[k];
    }
}

/* The same from any row. */
template <typename T>
__device__ __forceinline__ void step_load_each(const T *row, int c, int d, bool is_valid,
                                               float (&x)[STEP_CHANNELS])
{
#pragma unroll
    for (int i = 0; i < STEP_CHANNELS; i++)
        x[i] = is_valid && c + i < d ? sq_to_f32(row[c + i]) : 0.0f;
}

/* KEYS keys and values, every `apart` slots from `first` on; 0 from slot `end` on. The choice
 * stands around all loads, so that they are in flight together. */
template <typename T, int KEYS>
__device__ __forceinline__ void step_load_keys(const attention_step_params &p, const T *k,
                                               const T *v, int first, int apart, int end, int c,
                                               float (&key)[KEYS][STEP_CHANNELS],
                                               float (&value)[KEYS][STEP_CHANNELS])
{
    if (p.has_vectors) {
#pragma unroll
        for (int u = 0; u < KEYS; u++) {
            const int slot = first + u * apart;
            step_load(k + slot * p.f.k_l, c, p.f.d, slot < end, key[u]);
            step_load(v + slot * p.f.v_l, c, p.f.d, slot < end, value[u]);
        }
    } else {
#pragma unroll
        for (int u = 0; u < KEYS; u++) {
            const int slot = first + u * apart;
            step_load_each(k + slot * p.f.k_l, c, p.f.d, slot < end, key[u]);
            step_load_each(v + slot * p.f.v_l, c, p.f.d, slot < end, value[u]);
        }
    }
}

/* Softmax of one head over the keys so far. */
struct step_state {
    float top, sum, o[STEP_CHANNELS];
};

__device__ __forceinline__ float step_base(float top)
{
    return top == -INFINITY ? 0.0f : top;
}

__device__ __forceinline__ void step_join(step_state &a, const step_state &b)
{
    const float top = fmaxf(a.top, b.top), base = step_base(top);
    const float of_a = sq_exp2(a.top - base), of_b = sq_exp2(b.top - base);
    a.top = top;
    a.sum = a.sum * of_a + b.sum * of_b;
#pragma unroll
    for (int c = 0; c < STEP_CHANNELS; c++)
        a.o[c] = a.o[c] * of_a + b.o[c] * of_b;
}

/* Adds KEYS keys to a head's state; score: in powers of two. */
template <int KEYS>
__device__ __forceinline__ void step_add(step_state &state, const float (&score)[KEYS],
                                         const float (&v)[KEYS][STEP_CHANNELS])
{
    float top = state.top;
#pragma unroll
    for (int u = 0; u < KEYS; u++)
        top = fmaxf(top, score[u]);
    const float base = step_base(top), factor = sq_exp2(state.top - base);
    state.top = top;
    state.sum *= factor;
#pragma unroll
    for (int c = 0; c < STEP_CHANNELS; c++)
        state.o[c] *= factor;
#pragma unroll
    for (int u = 0; u < KEYS; u++) {
        const float e = sq_exp2(score[u] - base);
        state.sum += e;
#pragma unroll
        for (int c = 0; c < STEP_CHANNELS; c++)
            state.o[c] = fmaf(e, v[u][c], state.o[c]);
    }
}

/* Over the groups of lanes of a warp; the first group has the result. */
__device__ __forceinline__ void step_join_lanes(step_state &state, int lanes)
{
    for (int step = lanes; step < 32; step *= 2) {
        step_state other;
        other.top = __shfl_xor_sync(0xffffffffu, state.top, step);
        other.sum = __shfl_xor_sync(0xffffffffu, state.sum, step);
#pragma unroll
        for (int c = 0; c < STEP_CHANNELS; c++)
            other.o[c] = __shfl_xor_sync(0xffffffffu, state.o[c], step);
        step_join(state, other);
    }
}

/* The key in a row of the cache: the newest that belongs there. */
__device__ __forceinline__ int step_key(const attention_step_params &p, int slot)
{
    const int newest = p.f.keys - 1;
    return newest - (newest - slot) % p.slots;
}

/* Where a block works. */
struct step_place {
    int b, hkv, head, heads, split; /* query heads [head, head + heads) */
};

template <int HEADS>
__device__ __forceinline__ step_place step_place_of(const attention_step_params &p)
{
    const unsigned group = (unsigned)p.f.heads_per_kv, kv_heads = p.f.heads / group;
    const unsigned split = blockIdx.x % p.splits, rest = blockIdx.x / p.splits;
    const unsigned tile = rest % p.head_tiles, pair = rest / p.head_tiles;
    const unsigned hkv = pair % kv_heads, first = tile * HEADS;
    return {(int)(pair / kv_heads), (int)hkv, (int)(hkv * group + first),
            (int)min((unsigned)HEADS, group - first), (int)split};
}

/* The block's result, from its warps' in shared memory. */
template <typename T, int HEADS>
__device__ __forceinline__ void step_store(const attention_step_params &p, const step_place &at,
                                           const float (&o)[STEP_WARPS][HEADS][STEP_MAX_D],
                                           const float2 (&facts)[STEP_WARPS][HEADS])
{
    for (int i = (int)threadIdx.x; i < at.heads * p.f.d; i += STEP_THREADS) {
        const int g = i / p.f.d, c = i % p.f.d, h = at.head + g;
        float top = -INFINITY, sum = 0.0f, value = 0.0f;
#pragma unroll
        for (int w = 0; w < STEP_WARPS; w++)
            top = fmaxf(top, facts[w][g].x);
#pragma unroll
        for (int w = 0; w < STEP_WARPS; w++) {
            const float factor = sq_exp2(facts[w][g].x - step_base(top));
            sum = fmaf(facts[w][g].y, factor, sum);
            value = fmaf(o[w][g][c], factor, value);
        }
        const int64_t part = ((int64_t)at.b * p.f.heads + h) * p.splits + at.split;
        if (p.splits == 1) {
            T *to = (T *)p.f.o + at.b * p.f.o_b + h * p.f.o_h + c;
            *to = sq_from_f32<T>(sum > 0.0f ? value / sum : 0.0f);
        } else {
            p.sums[part * p.f.d + c] = value;
            if (c == 0)
                p.tops[2 * part] = top, p.tops[2 * part + 1] = sum;
        }
    }
}

/* KEYS keys of each group of lanes are in flight at once. */
template <typename T, int HEADS, int KEYS>
__global__ void __launch_bounds__(STEP_THREADS)
    attention_step(const __grid_constant__ attention_step_params p)
{
    __shared__ float shared_o[STEP_WARPS][HEADS][STEP_MAX_D];
    __shared__ float2 shared_facts[STEP_WARPS][HEADS];
    const step_place at = step_place_of<HEADS>(p);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int own = lane / p.lanes, per_warp = 32 / p.lanes, c = lane % p.lanes * STEP_CHANNELS;
    const T *k = (const T *)p.f.k + at.b * p.f.k_b + at.hkv * p.f.k_h;
    const T *v = (const T *)p.f.v + at.b * p.f.v_b + at.hkv * p.f.v_h;

    float q[HEADS][STEP_CHANNELS];
    step_state state[HEADS] = {};
    attention_keys seen[HEADS];
    attention_head_bias bias[HEADS];
#pragma unroll
    for (int g = 0; g < HEADS; g++) {
        const int h = at.head + g;
        const T *row = (const T *)p.f.q + at.b * p.f.q_b + h * p.f.q_h;
        if (p.has_vectors)
            step_load(row, c, p.f.d, g < at.heads, q[g]);
        else
            step_load_each(row, c, p.f.d, g < at.heads, q[g]);
#pragma unroll
        for (int i = 0; i < STEP_CHANNELS; i++)
            q[g][i] *= p.f.scale_log2;
        state[g].top = -INFINITY;
        seen[g] = attention_visible(p.f, h, 0);
        bias[g] = attention_bias_of(p.f, h);
    }
    const int end = min(p.slots, (at.split + 1) * p.per_split);
    for (int first = at.split * p.per_split + warp * per_warp * KEYS; first < end;
         first += STEP_THREADS / p.lanes * KEYS) {
        float key[KEYS][STEP_CHANNELS], value[KEYS][STEP_CHANNELS];
        step_load_keys<T, KEYS>(p, k, v, first + own, per_warp, end, c, key, value);
#pragma unroll
        for (int g = 0; g < HEADS; g++) {
            float score[KEYS];
#pragma unroll
            for (int u = 0; u < KEYS; u++) {
                const int slot = first + u * per_warp + own, t = step_key(p, slot);
                score[u] = 0.0f;
#pragma unroll
                for (int i = 0; i < STEP_CHANNELS; i++)
                    score[u] = fmaf(q[g][i], key[u][i], score[u]);
                for (int step = p.lanes / 2; step > 0; step /= 2)
                    score[u] += __shfl_xor_sync(0xffffffffu, score[u], step);
                if (p.f.has_alibi || p.f.bias)
                    score[u] += attention_bias_at(bias[g], p.f.keys - 1, t);
                if (slot >= end || t < seen[g].first || t >= seen[g].last)
                    score[u] = -INFINITY;
            }
            step_add(state[g], score, value);
        }
    }
#pragma unroll
    for (int g = 0; g < HEADS; g++) {
        step_join_lanes(state[g], p.lanes);
#pragma unroll
        for (int i = 0; i < STEP_CHANNELS; i++)
            if (own == 0 && c + i < p.f.d)
                shared_o[warp][g][c + i] = state[g].o[i];
        if (lane == 0)
            shared_facts[warp][g] = make_float2(state[g].top, state[g].sum);
    }
    __syncthreads();
    step_store<T, HEADS>(p, at, shared_o, shared_facts);
}

/* A block for each (batch, head). */
template <typename T>
__global__ void __launch_bounds__(STEP_THREADS)
    attention_step_join(const __grid_constant__ attention_step_params p)
{
    const int64_t first = (int64_t)blockIdx.x * p.splits;
    const int b = (int)(blockIdx.x / p.f.heads), h = (int)(blockIdx.x % p.f.heads);
    float top = -INFINITY;
    for (int s = 0; s < p.splits; s++)
        top = fmaxf(top, p.tops[2 * (first + s)]);
    for (int c = (int)threadIdx.x; c < p.f.d; c += STEP_THREADS) {
        float sum = 0.0f, value = 0.0f;
        for (int s = 0; s < p.splits; s++) {
            const float factor = sq_exp2(p.tops[2 * (first + s)] - step_base(top));
            sum = fmaf(p.tops[2 * (first + s) + 1], factor, sum);
            value = fmaf(p.sums[(first + s) * p.f.d + c], factor, value);
        }
        T *to = (T *)p.f.o + b * p.f.o_b + h * p.f.o_h + c;
        *to = sq_from_f32<T>(sum > 0.0f ? value / sum : 0.0f);
    }
}

/* --- launching --- */

enum { ENOUGH_BLOCKS = 1024, LEAST_KEYS = 128 };

sq_status sq_attention_step_supports(const sq_attention_rows *rows, sq_error *why)
{
    const sq_tensor *q = &rows->own[SQ_ROWS_Q], *k = &rows->own[SQ_ROWS_K];
    if (q->dim[0] * q->dim[2] * sq_ceil_div(k->dim[1], LEAST_KEYS) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*H*L/%d over 2^31 parts", LEAST_KEYS);
    return SQ_OK;
}

/* Splits of at least 128 keys, until there are blocks for every multiprocessor of a large GPU. */
static attention_step_params plan(const attention_params *f, const sq_attention_rows *rows)
{
    const int64_t slots = rows->own[SQ_ROWS_K].dim[1];
    attention_step_params p = {};
    p.f = *f;
    p.slots = (int)slots;
    p.has_vectors = true;
    for (int i = SQ_ROWS_Q; i <= SQ_ROWS_V; i++)
        p.has_vectors = p.has_vectors && sq_attention_has_vectors(&rows->taken[i]);
    p.head_tiles = f->heads_per_kv == 1 ? 1 : (int)sq_ceil_div(f->heads_per_kv, 4);
    p.lanes = 1;
    while (p.lanes * STEP_CHANNELS < f->d)
        p.lanes *= 2;
    const int64_t blocks = (int64_t)f->batch * (f->heads / f->heads_per_kv) * p.head_tiles;
    const int64_t wanted = sq_ceil_div(ENOUGH_BLOCKS, blocks),
                  most = sq_ceil_div(slots, LEAST_KEYS);
    p.per_split = (int)sq_ceil_div(slots, wanted < most ? wanted : most);
    p.splits = (int)sq_ceil_div(slots, p.per_split);
    return p;
}

size_t sq_attention_step_workspace(const attention_params *f, const sq_attention_rows *rows)
{
    const attention_step_params p = plan(f, rows);
    const size_t parts = (size_t)f->batch * f->heads * (size_t)p.splits;
    return p.splits == 1 ? 0 : parts * ((size_t)f->d + 2) * sizeof(float);
}

template <typename T>
static sq_status launch(const attention_step_params &p, cudaStream_t stream, sq_error *err)
{
    const unsigned kv_heads = p.f.heads / (unsigned)p.f.heads_per_kv;
    const unsigned blocks = p.f.batch * kv_heads * (unsigned)p.head_tiles * (unsigned)p.splits;
    if (p.f.heads_per_kv == 1)
        attention_step<T, 1, 4><<<blocks, STEP_THREADS, 0, stream>>>(p);
    else
        attention_step<T, 4, 2><<<blocks, STEP_THREADS, 0, stream>>>(p);
    SQ_TRY(sq_launched("attention step cuda/portable", err));
    if (p.splits == 1)
        return SQ_OK;
    attention_step_join<T><<<p.f.batch * p.f.heads, STEP_THREADS, 0, stream>>>(p);
    return sq_launched("attention step's join", err);
}

sq_status sq_attention_portable_step(const attention_params *f, const sq_attention_rows *rows,
                                     void *workspace, cudaStream_t stream, sq_error *err)
{
    attention_step_params p = plan(f, rows);
    p.tops = (float *)workspace;
    p.sums = p.tops + 2 * (int64_t)f->batch * f->heads * p.splits;
    return sq_with_type(rows->own[SQ_ROWS_Q].dtype, err,
                        [&](auto type) { return launch<decltype(type)>(p, stream, err); });
}
