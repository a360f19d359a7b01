/* scan_split: pass fwd of selective_scan's cuda/portable for up to 16 states. Included by
 * selective_scan.cu alone.
 *
 * Special functions bind the scan (a decay is one ex2), and next to them the instructions issued.
 * Hence
 *   - warps of two kinds. A scanner owns 16 channels: a lane has four states of two of them in
 *     registers and goes through time alone. A feeder makes (d_t, d_t u_t) of the next tile of STEPS
 *     steps, and skip, gate and the store of the last one, while the scanners are at this one.
 *   - C . h on the tensor cores: 16 channels times 16 states are A, the C of eight steps are B, and
 *     one of the eight columns is the step's. No sum over lanes is left. (d_t u_t) B_t of bf16
 *     likewise: 16 channels times one, d_t u_t in tf32 (a bf16 one is eight times as coarse).
 *   - a part of the decays by a polynomial (exp2_fma.cuh).
 * Segments of L as in scan_tile.cuh, STATE_ONLY being pass 1. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_SPLIT_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_SPLIT_CUH

#include "kernels/hw/exp2_fma.cuh"
#include "kernels/hw/mma_tf32_sm80.cuh"
#include "kernels/selective_scan/split_feeder.cuh"

namespace sq_selective_scan
{

/* A lane: states 2 (lane % 4) + {0, 1} of eight, in each of PRODUCTS eights, of two channels. As D
 * of sq_mma_tf32 they are rows lane / 4 and lane / 4 + 8; as A of a further product the same rows,
 * and columns lane % 4 and lane % 4 + 4. */
template <typename T, int SHARES, bool STATE_ONLY>
struct scanner {
    using tiling = tiling_split<SHARES>;
    static constexpr int TERMS = split_terms<T>, PRODUCTS = 2 / SHARES, N = 2 * PRODUCTS;

    const int group, column, share; /* lane / 4, lane % 4, which of the SHARES */
    const int pair, channel;        /* place of the pair, the first of its channels */
    float h[2][N], a[2][N];         /* a: A log2 e; 0 beyond N, where B is 0 too */
    float most[2];                  /* step size at which a[][N - 1] makes 2^-126 */
    float sum[2];                   /* of the step sizes; over the lanes of a group: of all */

    __device__ __forceinline__ scanner(int warp, int lane)
        : group(lane / 4), column(lane % 4), share(warp % SHARES),
          pair(split_place(warp / SHARES * 2 + group / 4, group % 4)),
          channel(warp / SHARES * 16 + group * 2)
    {
    }

    __device__ __forceinline__ int state(int j) const
    {
        return (share + j / 2) * 8 + column * 2 + j % 2;
    }

    __device__ __forceinline__ bool has(const block_part &part, int64_t states, int i, int j) const
    {
        return channel + i < part.channels && state(j) < states;
    }

    __device__ __forceinline__ void load_decays(const scan_args<T> &p, const block_part &part)
    {
        const float least = 1e37f;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            sum[i] = 0.0f;
            const float *from = p.a + (part.d0 + channel + i) * p.a_stride;
#pragma unroll
            for (int j = 0; j < N; j++)
                a[i][j] = has(part, p.states, i, j) ? from[state(j)] * SQ_LOG2E : 0.0f;
            if (a[i][N - 1] < -least) /* -inf: 0 times it would be NaN */
                a[i][N - 1] = -least;
            most[i] = __fdividef(126.0f, fabsf(a[i][N - 1]));
        }
    }

    /* from, to: the states of the block's first channel; other channels N further. NULL: zeros. */
    __device__ __forceinline__ void load_state(const scan_args<T> &p, const block_part &part,
                                               const float *from, int64_t stride_d)
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < N; j++)
                h[i][j] = from && has(part, p.states, i, j)
                              ? from[(channel + i) * stride_d + state(j)]
                              : 0.0f;
    }
    __device__ __forceinline__ void store_state(const scan_args<T> &p, const block_part &part,
                                                float *to, int64_t stride_d) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < N; j++)
                if (has(part, p.states, i, j))
                    to[(channel + i) * stride_d + state(j)] = h[i][j];
    }
    __device__ __forceinline__ void store_sum(const block_part &part, float *to) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float all = sum[i] + __shfl_xor_sync(0xffffffffu, sum[i], 1);
            all += __shfl_xor_sync(0xffffffffu, all, 2);
            if (share == 0 && column == 0 && channel + i < part.channels)
                to[channel + i] = all;
        }
    }

    /* B_t as `inputs` takes it, of a row of shared B. Of the tensor cores' B row lane % 4 is column g:
     * states g of both eights; else the lane's own, those of both eights in turn. */
    __device__ __forceinline__ float4 load_b(const float4 *row) const
    {
        if constexpr (TERMS > 1) {
            const float4 four = row[column];
            return share == 0 ? four : make_float4(four.y, four.y, four.w, four.w);
        } else if constexpr (SHARES > 1) {
            return make_float4(((const float *)row)[2 * group + share], 0.0f, 0.0f, 0.0f);
        } else {
            const float2 two = ((const float2 *)row)[group];
            return make_float4(two.x, two.y, 0.0f, 0.0f);
        }
    }

    /* C of this lane's states in the step that its column of the tensor cores' B is. */
    __device__ __forceinline__ void load_c(float (&c)[N], const float4 *of_group) const
    {
        const float2 *eights = (const float2 *)&of_group[column] + share;
#pragma unroll
        for (int i = 0; i < PRODUCTS; i++) {
            c[2 * i] = eights[i].x;
            c[2 * i + 1] = eights[i].y;
        }
    }

    /* d u B_t of both channels. */
    static __device__ __forceinline__ void inputs(float (&in)[2][N], float4 step, float4 b)
    {
        if constexpr (TERMS > 1) {
            const float x[2] = {step.z, step.w}, by_state[4] = {b.x, b.z, b.y, b.w};
#pragma unroll
            for (int i = 0; i < 2 * N; i++)
                in[i / N][i % N] = x[i / N] * by_state[i % N];
        } else {
#pragma unroll
            for (int half = 0; half < PRODUCTS; half++) {
                float d[4] = {};
                sq_mma_tf32(d, step.z, step.w, half == 0 ? b.x : b.y);
#pragma unroll
                for (int i = 0; i < 4; i++)
                    in[i / 2][half * 2 + i % 2] = d[i];
            }
        }
    }

    /* Is the decay of state j in step k of eight made on the FMA pipe? Three of sixteen are: that
     * ends as late as the special functions do. Four in pass 1, which issues less (3.5 would be even). */
    static constexpr __device__ __forceinline__ bool is_fma(int j, int k)
    {
        if (sizeof(T) == 4 || j != N - 1)
            return false;
        return SHARES == 1 ? STATE_ONLY || k % 4 != 3 : k % 3 == 0;
    }

    /* Step k of eight. */
    __device__ __forceinline__ void advance(float4 step, float4 b, int k)
    {
        const float d[2] = {step.x, step.y};
        float in[2][N];
        inputs(in, step, b);
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float decay = is_fma(j, k) ? sq_exp2_fma(fminf(d[i], most[i]), a[i][j])
                                                 : sq_exp2(d[i] * a[i][j]);
                h[i][j] = fmaf(decay, h[i][j], in[i][j]);
            }
        }
    }

    /* y receives C . h, a row for each channel and a column for each of eight steps' C. */
    static __device__ __forceinline__ void multiply(float (&y)[4], const float (&of)[2][N],
                                                    const float (&c)[N])
    {
#pragma unroll
        for (int j = 0; j < N; j += 2)
            sq_mma_tf32(y, of[0][j], of[1][j], of[0][j + 1], of[1][j + 1], c[j], c[j + 1]);
    }

    __device__ __forceinline__ void read_out(float (&y)[4], const float (&c)[N]) const
    {
        if constexpr (TERMS == 1) {
            multiply(y, h, c);
        } else {
            float high[2][N], low[2][N];
#pragma unroll
            for (int i = 0; i < 2 * N; i++) {
                high[i / N][i % N] = sq_tf32_of(h[i / N][i % N]);
                low[i / N][i % N] = h[i / N][i % N] - high[i / N][i % N];
            }
            multiply(y, low, c);
            if constexpr (TERMS == 3) {
                float rest[N];
#pragma unroll
                for (int j = 0; j < N; j++)
                    rest[j] = c[j] - sq_tf32_of(c[j]);
                multiply(y, high, rest);
            }
            multiply(y, high, c);
        }
    }

    /* The results of eight steps; `to` is for this lane's two. */
    static __device__ __forceinline__ void put(float2 *to, const float (&y)[2][2])
    {
        __syncwarp(); /* every lane has read what the results replace */
#pragma unroll
        for (int k = 0; k < 2; k++)
            to[k * tiling::PAIRS * 2] = make_float2(y[k][0], y[k][1]);
    }

    /* The sizes of eight steps, each in one of the lanes that have its channels. */
    __device__ __forceinline__ void add_sizes(const float4 *steps)
    {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const float2 d = *(const float2 *)&steps[(2 * column + k) * tiling::PAIRS];
            sum[0] += d.x;
            sum[1] += d.y;
        }
    }

    /* Operands are read a step ahead, the next eight steps' first ones before these steps' results
     * are stored: a scheduler with one of these warps has nobody else to hide the latency. (The last
     * read wraps round to a row that holds results by now, and is not used.) */
    __device__ __forceinline__ void scan_tile(split_shared<SHARES> *s, int buffer)
    {
        constexpr int STEPS = tiling::STEPS, COLUMNS = tiling::COLUMNS, PAIRS = tiling::PAIRS;
        const float4 *steps = &s->step[buffer][0][pair];
        const float4 *b = s->b[buffer][0], *c = s->c[buffer][group];
        float2 *to = (float2 *)&s->results(buffer)[2 * column][pair] +
                     (SHARES == 1 ? split_half(2 * column) : share);
        float4 step = *steps, b_t = load_b(b);
#pragma unroll 1
        for (int t = 0; t < STEPS; t += COLUMNS) {
            const int ahead = t + COLUMNS < STEPS ? COLUMNS : COLUMNS - STEPS;
            float c_t[N] = {}, y[2][2] = {};
            if constexpr (!STATE_ONLY) {
                load_c(c_t, c);
            }
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                const int next = k + 1 < COLUMNS ? k + 1 : ahead;
                const float4 next_step = steps[next * PAIRS], next_b = load_b(b + next * 4);
                advance(step, b_t, k);
                if constexpr (!STATE_ONLY) {
                    float all[4] = {}; /* columns 2 (lane % 4) and the next, of both channels */
                    read_out(all, c_t);
                    y[k % 2][0] = k / 2 == column ? all[k % 2] : y[k % 2][0];
                    y[k % 2][1] = k / 2 == column ? all[2 + k % 2] : y[k % 2][1];
                }
                step = next_step, b_t = next_b;
            }
            if constexpr (STATE_ONLY) {
                add_sizes(steps);
            } else {
                put(to, y);
            }
            steps += COLUMNS * PAIRS, to += COLUMNS * PAIRS * 2;
            b += COLUMNS * 4, c += COLUMNS * 4;
        }
    }

    /* The whole segment, to `final` (of the batch row; NULL: nowhere). */
    __device__ __forceinline__ void run(split_shared<SHARES> *s, const scan_args<T> &p,
                                        const block_part &part, int64_t n_tiles)
    {
        split_meet();
#pragma unroll 1
        for (int64_t tile = 0; tile < n_tiles; tile++) {
            scan_tile(s, (int)(tile & 1));
            const int64_t done = part.t0 + (tile + 1) * tiling::STEPS;
            if (!STATE_ONLY && p.saved && done % BORDER == 0 && done < p.length)
                store_state(p, part, p.saved_row(part.b, done / BORDER - 1, part.d0), p.states);
            split_meet();
        }
    }
};

/* Of pass 1, that an SM holds: f32's feeders have twice the registers. */
template <typename T>
constexpr int split_state_blocks = sizeof(T) == 4 ? SQ_SPLIT_MAIN_BLOCKS : SQ_SPLIT_STATE_BLOCKS;

/* Grid: (tiles of channels in all groups, runs, B). STATE_ONLY: pass 1, segments for runs. */
template <typename T, int SHARES, bool STATE_ONLY>
__global__ void __launch_bounds__(tiling_split<SHARES>::THREADS,
                                  STATE_ONLY ? split_state_blocks<T> : SQ_SPLIT_MAIN_BLOCKS)
    scan_split(scan_args<T> p, segments s)
{
    using tiling = tiling_split<SHARES>;
    extern __shared__ uint4 shared_memory[];
    sq_chain_begin_next();
    auto *tiles = (split_shared<SHARES> *)shared_memory;
    const block_part part = part_of<tiling, STATE_ONLY>(p, s);
    const int64_t n_tiles = (part.steps + tiling::STEPS - 1) / tiling::STEPS;
    if (threadIdx.x >= tiling::SCANNERS) {
        const int thread = (int)threadIdx.x - tiling::SCANNERS;
        if (p.is_sequence_vector && p.is_projection_vector)
            feeder<T, SHARES, STATE_ONLY, true>(p, part, tiles, thread).run(n_tiles);
        else
            feeder<T, SHARES, STATE_ONLY, false>(p, part, tiles, thread).run(n_tiles);
        return;
    }
    const int64_t at = row_of<STATE_ONLY>(s, part.b) * p.channels + part.d0;
    scanner<T, SHARES, STATE_ONLY> own((int)threadIdx.x / 32, (int)threadIdx.x % 32);
    own.load_decays(p, part);
    /* For the states of segments. Feeders write behind a barrier that follows this. */
    sq_chain_wait();
    if (blockIdx.y == 0)
        own.load_state(p, part,
                       p.initial
                           ? p.initial + part.b * p.initial_stride_b + part.d0 * p.initial_stride_d
                           : nullptr,
                       p.initial_stride_d);
    else
        own.load_state(p, part, STATE_ONLY ? nullptr : &s.state[at * p.states], p.states);
    own.run(tiles, p, part, n_tiles);
    if constexpr (STATE_ONLY) {
        own.store_state(p, part, &s.state[at * p.states], p.states);
        own.store_sum(part, &s.sum[at]);
    } else if (p.final && blockIdx.y == gridDim.y - 1) {
        own.store_state(p, part, p.final + part.b * p.final_stride_b + part.d0 * p.final_stride_d,
                        p.final_stride_d);
    }
}

} // namespace sq_selective_scan

#endif
