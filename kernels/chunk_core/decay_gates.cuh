/* decay_gates: the factors of a chunk of 64 steps, which one warp makes from the steps' gates. All
 * exponents are sums of non-positive logarithms.
 */
#ifndef SQ_KERNELS_CHUNK_CORE_DECAY_GATES_CUH
#define SQ_KERNELS_CHUNK_CORE_DECAY_GATES_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_segments.cuh"

enum { SQ_CHUNK = 64 };

/* Factors of a chunk, by step; c: log2 of the product of the chunk's decays up to and with the
 * step. sum: c. weight: scale w; input: w. out: c + log2 r. row: scale r 2^c. key: 2^(c_last - c)
 * w; tail: that without w. start: first step of the step's document. What another document lies
 * between has factor 0. low: what c in f64 has more than sum. Aligned, because two of them lie in a
 * row and are read in pairs. */
typedef struct __align__(16)
{
    float sum[SQ_CHUNK], weight[SQ_CHUNK], out[SQ_CHUNK], row[SQ_CHUNK], key[SQ_CHUNK];
    float input[SQ_CHUNK], tail[SQ_CHUNK], low[SQ_CHUNK];
    int start[SQ_CHUNK];
    float decay, left; /* 2^c_last; c_last */
}
sq_chunk_gates;

/* dt of a lane's two steps of a chunk; 0 past the end. */
template <typename T>
__device__ __forceinline__ float2 sq_chunk_load_dt(const sq_decay_params &p, const sq_decay_unit &u,
                                                   int first)
{
    const int t = first + (int)threadIdx.x % 32 * 2;
    return make_float2(t < p.length ? sq_decay_dt<T>(p, u.batch, t, u.head) : 0.0f,
                       t + 1 < p.length ? sq_decay_dt<T>(p, u.batch, t + 1, u.head) : 0.0f);
}

/* start of a lane's two steps: the last of the steps up to each where a document starts, 0: it goes
 * on from before the chunk. *last: that of the chunk's end, whether it starts here in *has_start.
 */
__device__ __forceinline__ int2 sq_chunk_starts(const sq_decay_params &p, const sq_decay_unit &u,
                                                int first, int *last, bool *has_start)
{
    const int lane = (int)threadIdx.x % 32, i = 2 * lane, t = first + i;
    const bool here = t < p.length && sq_decay_starts(p, u.batch, t);
    const bool next = t + 1 < p.length && sq_decay_starts(p, u.batch, t + 1);
    int scan = next ? i + 1 : here ? i : -1;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const int before = __shfl_up_sync(0xffffffffu, scan, distance);
        scan = lane >= distance ? max(scan, before) : scan;
    }
    const int before = __shfl_up_sync(0xffffffffu, scan, 1);
    const int end = __shfl_sync(0xffffffffu, scan, 31);
    const int start = here ? i : lane == 0 ? -1 : before;
    *last = max(end, 0);
    *has_start = end >= 0;
    return make_int2(start, next ? i + 1 : start);
}

/* One warp, two steps a lane. Returns log2 of what is left of the state before: c_last. SUM: the
 * type of c. In f32 a difference of two c is off by 2^-24 of c, which matters to nothing but the
 * gradients of strong decays: all that those depend on is what such decays left. */
template <typename SUM>
__device__ __forceinline__ float
sq_chunk_fill_gates(const sq_decay_params &p, const sq_decay_unit &u, const sq_decay_head &head,
                    float2 dt, int first, sq_chunk_gates *gates)
{
    const int lane = (int)threadIdx.x % 32, i = 2 * lane;
    sq_decay_step step[2] = {{0.0f, 0.0f}, {0.0f, 0.0f}};
    if (first + i < p.length)
        step[0] = sq_decay_gate(p, head, dt.x);
    if (first + i + 1 < p.length)
        step[1] = sq_decay_gate(p, head, dt.y);
    SUM scan = (SUM)step[0].log2_decay + step[1].log2_decay;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const SUM before = __shfl_up_sync(0xffffffffu, scan, distance);
        scan += lane >= distance ? before : (SUM)0;
    }
    const SUM before = __shfl_up_sync(0xffffffffu, scan, 1);
    const SUM last = __shfl_sync(0xffffffffu, scan, 31);
    int start[2] = {-1, -1}, last_start = 0;
    bool has_start = false;
    if (p.seq_idx) {
        const int2 starts = sq_chunk_starts(p, u, first, &last_start, &has_start);
        start[0] = starts.x;
        start[1] = starts.y;
    }
    SUM c = lane == 0 ? (SUM)0 : before;
#pragma unroll
    for (int e = 0; e < 2; e++) {
        const float scale = sq_decay_output_scale(p, head, u.batch, u.head, first + i + e);
        c += step[e].log2_decay;
        const float sum = (float)c;
        gates->sum[i + e] = sum;
        if constexpr (sizeof(SUM) == 8)
            gates->low[i + e] = (float)(c - sum);
        gates->weight[i + e] = p.scale * step[e].weight;
        gates->out[i + e] = p.has_norm ? sum + log2f(scale / p.scale) : sum;
        gates->row[i + e] = start[e] >= 0 ? 0.0f : scale * sq_exp2(sum);
        const float tail = i + e < last_start ? 0.0f : sq_exp2(fminf((float)(last - c), 0.0f));
        gates->tail[i + e] = tail;
        gates->input[i + e] = step[e].weight;
        gates->key[i + e] = tail * step[e].weight;
        gates->start[i + e] = max(start[e], 0);
    }
    const float left = has_start ? -INFINITY : (float)last;
    if (lane == 0) {
        gates->decay = sq_exp2(left);
        gates->left = left;
    }
    return left;
}

#endif
