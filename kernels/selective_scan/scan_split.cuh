/* scan_split: pass fwd of selective_scan's cuda/portable for up to 16 states. Included by
 * selective_scan.cu alone.
 *
 * Special functions bind the scan (a decay is one ex2), and next to them the instructions issued.
 * Hence
 *   - warps of two kinds. A scanner owns 16 channels: a lane has four states of two of them in
 *     registers and goes through time alone. A feeder makes (d_t, d_t u_t) of the next tile of STEPS
 *     steps, and skip, gate and the store of the last one, while the scanners are at this one.
 *   - C . h on the tensor cores: 16 channels times 16 states are A, the C of eight steps are B, and
 *     one of the eight columns is the step's. No sum over lanes is left. (d_t u_t) B_t of 16-bit
 *     types likewise: 16 channels times one, d_t u_t rounded to tf32 (the reference's bf16 rounding
 *     of it is eight times as coarse).
 *   - a part of the decays by a polynomial (exp2_fma.cuh).
 * Segments of L as in scan_tile.cuh, STATE_ONLY being pass 1. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SCAN_SPLIT_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SCAN_SPLIT_CUH

#include <type_traits>

#include "kernels/hw/exp2_fma.cuh"
#include "kernels/hw/mma_tf32_sm80.cuh"
#include "kernels/selective_scan/scan_tile.cuh"

namespace sq_selective_scan
{

struct split_shared;

struct tiling_split {
    static constexpr int STATES = 16, CHANNELS = 64, STEPS = 32;
    static constexpr int PAIRS = CHANNELS / 2, COLUMNS = 8; /* of sq_mma_tf32's D: steps */
    static constexpr int SCANNERS = CHANNELS / 16 * 32, FEEDERS = 128;
    static constexpr int THREADS = SCANNERS + FEEDERS, BLOCKS = 2; /* of an SM at once, at least */
    static constexpr int OCTETS = CHANNELS / 8, ROW_STEP = FEEDERS / OCTETS;
    static constexpr int ITEMS =
        STEPS / ROW_STEP; /* octets of channels that a feeder has of a tile */
    /* L is cut below, to so many. One block a multiprocessor already gives two thirds of the
     * speed that two do. */
    static constexpr int64_t FEW_BLOCKS = 112, MANY_BLOCKS = 264;
    template <typename T>
    using shared = split_shared;
};

/* Tiles in turn. step: d_t and d_t u_t of two neighbouring channels, at split_place; the scan leaves
 * their C_t . h_t in it, in the half that split_half tells. At i: b of states 2i, 2i + 8, 2i + 1,
 * 2i + 9, c of 2i, 2i + 1, 2i + 8, 2i + 9: neighbours are operands of one product. */
struct split_shared {
    float4 step[2][tiling_split::STEPS][tiling_split::PAIRS];
    float4 b[2][tiling_split::STEPS][tiling_split::STATES / 4];
    float4 c[2][tiling_split::STEPS][tiling_split::STATES / 4];
};

/* Where pair j of octet `octet` lies in a step: feeders, an octet each, and scanners, a pair each,
 * both meet every bank once. */
__device__ __forceinline__ int split_place(int octet, int j)
{
    return octet * 4 + (j ^ octet / 2);
}

/* In which half of a pair's place the results of a step lie. */
__device__ __forceinline__ constexpr int split_half(int step)
{
    return step / 2 % 2;
}

/* All threads of the block, each kind at its own place in the code. */
__device__ __forceinline__ void split_meet()
{
    asm volatile("bar.sync 1, %0;" ::"n"(tiling_split::THREADS) : "memory");
}

/* --- feeders --- */

/* N neighbouring elements as they lie in memory. */
template <typename T, int N>
struct raw_row {
    static constexpr int WORDS = N * (int)sizeof(T) / 4, PER_WORD = 4 / (int)sizeof(T);
    static constexpr int CHUNK = WORDS < 4 ? WORDS : 4; /* words of one access */
    uint32_t word[WORDS];

    /* valid: elements that there are; the others stay as they are. IS_VECTOR: accesses are aligned,
     * and wholly valid or not at all. */
    template <bool IS_VECTOR>
    __device__ __forceinline__ void load(const T *from, int valid)
    {
        if constexpr (IS_VECTOR) {
#pragma unroll
            for (int i = 0; i < WORDS; i += CHUNK)
                if (i * PER_WORD < valid)
                    load_chunk(from + i * PER_WORD, i);
        } else {
            float x[N];
            get(x);
#pragma unroll
            for (int i = 0; i < N; i++)
                x[i] = i < valid ? sq_to_f32(from[i]) : x[i];
            set(x);
        }
    }

    __device__ __forceinline__ void load_chunk(const T *from, int i)
    {
        if constexpr (CHUNK == 4) {
            const uint4 raw = sq_load16(from);
            word[i] = raw.x, word[i + 1] = raw.y, word[i + 2] = raw.z, word[i + 3] = raw.w;
        } else if constexpr (CHUNK == 2) {
            const uint2 raw = *(const uint2 *)from;
            word[i] = raw.x, word[i + 1] = raw.y;
        } else {
            word[i] = *(const uint32_t *)from;
        }
    }

    __device__ __forceinline__ void set(const float (&x)[N])
    {
#pragma unroll
        for (int i = 0; i < WORDS; i++) {
            if constexpr (sizeof(T) == 4)
                word[i] = __float_as_uint(x[i]);
            else
                word[i] = sq_pack2<T>(x[2 * i], x[2 * i + 1]);
        }
    }

    __device__ __forceinline__ void get(float (&x)[N]) const
    {
#pragma unroll
        for (int i = 0; i < WORDS; i++) {
            if constexpr (sizeof(T) == 4) {
                x[i] = __uint_as_float(word[i]);
            } else {
                const float2 two = sq_unpack2<T>(word[i]);
                x[2 * i] = two.x, x[2 * i + 1] = two.y;
            }
        }
    }

    /* Streaming: nobody reads it here. */
    template <bool IS_VECTOR>
    __device__ __forceinline__ void store(T *to, int valid) const
    {
        if constexpr (IS_VECTOR) {
#pragma unroll
            for (int i = 0; i < WORDS; i += 4)
                if (i * PER_WORD < valid)
                    __stcs((uint4 *)(to + i * PER_WORD),
                           make_uint4(word[i], word[i + 1], word[i + 2], word[i + 3]));
        } else {
            float x[N];
            get(x);
#pragma unroll
            for (int i = 0; i < N; i++)
                if (i < valid)
                    to[i] = sq_from_f32<T>(x[i]);
        }
    }
};

/* States n, n + 1, n + 8, n + 9 of B or C in one step. */
template <typename T>
struct raw_states {
    raw_row<T, 2> low, high;

    /* valid: states that there are, from n on; the others become zeros. */
    template <bool IS_VECTOR>
    __device__ __forceinline__ void load(const T *from, int valid)
    {
        *this = raw_states{};
        low.template load<IS_VECTOR>(from, valid);
        high.template load<IS_VECTOR>(from + 8, valid - 8);
    }

    /* n, n + 1, n + 8, n + 9. */
    __device__ __forceinline__ float4 get() const
    {
        float x[2], y[2];
        low.get(x);
        high.get(y);
        return make_float4(x[0], x[1], y[0], y[1]);
    }
};

/* d u as the scan takes it. */
template <typename T>
__device__ __forceinline__ float split_input(float d, float u)
{
    return sizeof(T) == 4 ? d * u : sq_tf32_nearest(d * u);
}

/* Of B: in 16-bit types d u is multiplied by it four times, once for every k of sq_mma_tf32. */
template <typename T>
constexpr float split_factor = sizeof(T) == 4 ? 1.0f : 0.25f;

/* The feeders' share of a tile: a thread has an octet of channels in ITEMS steps, and four states
 * of one step of B and C. */
template <typename T, bool STATE_ONLY, bool IS_VECTOR>
struct feeder {
    using tiling = tiling_split;
    static constexpr int ITEMS = tiling::ITEMS, ROW_STEP = tiling::ROW_STEP;

    const scan_args<T> &p;
    split_shared *shared;
    const int row;       /* the first of its steps in a tile; ROW_STEP to the next */
    const int place;     /* of its first pair in a buffer, bytes; pair j: ^ 16 j */
    const int line;      /* of B and C: its step in a tile */
    const int channels;  /* of the octet, that there are */
    const int states;    /* from its first one of B and C on */
    int next_left, left; /* steps from the beginning of the tile on that is loaded for */
    float bias[8], skip[8];
    const T *next_u, *next_delta, *next_b, *next_c, *last_u, *last_z;
    T *y;
    raw_row<T, 8> u[ITEMS], delta[ITEMS]; /* of the tile to be prepared */
    raw_states<T> b, c;
    raw_row<T, 8> old_u[ITEMS], z[ITEMS]; /* of the tile to be finished */

    __device__ __forceinline__ feeder(const scan_args<T> &args, const block_part &part,
                                      split_shared *tiles, int thread)
        : p(args), shared(tiles), row(thread / tiling::OCTETS),
          place(split_place(thread % tiling::OCTETS, 0) * 16 + row * tiling::PAIRS * 16),
          line(thread / 4), channels(part.channels - thread % tiling::OCTETS * 8),
          states((int)p.states - thread % 4 * 2), next_left((int)part.steps),
          left(next_left), u{}, delta{}, old_u{}, z{}
    {
        const int64_t d = part.d0 + thread % tiling::OCTETS * 8, t = part.t0 + row;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            bias[i] = i < channels && p.bias ? p.bias[d + i] : 0.0f;
            skip[i] = i < channels && p.skip ? p.skip[d + i] : 0.0f;
        }
        next_u = last_u = p.u.data + part.b * p.u.stride_b + t * p.u.stride_t + d;
        next_delta = p.delta.data + part.b * p.delta.stride_b + t * p.delta.stride_t + d;
        last_z = p.z.data + part.b * p.z.stride_b + t * p.z.stride_t + d;
        y = p.y.data + part.b * p.y.stride_b + t * p.y.stride_t + d;
        next_b = first(p.b, part, thread);
        next_c = first(p.c, part, thread);
    }

    __device__ __forceinline__ const T *first(const projection<const T> &of, const block_part &part,
                                              int thread) const
    {
        return of.data + part.b * of.stride_b + (part.t0 + line) * of.stride_t +
               part.g * of.stride_g + thread % 4 * 2;
    }

    /* Steps of this tile and the next, of which `left` are left; moves *from to the next tile. */
    __device__ __forceinline__ void load_rows(raw_row<T, 8> (&to)[ITEMS], const T **from,
                                              int64_t stride, int steps) const
    {
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            to[i].template load<IS_VECTOR>(*from, row + i * ROW_STEP < steps ? channels : 0);
            *from += ROW_STEP * stride;
        }
    }

    /* What the next prepare takes, and what finish does. */
    __device__ __forceinline__ void load_next()
    {
        load_rows(u, &next_u, p.u.stride_t, next_left);
        load_rows(delta, &next_delta, p.delta.stride_t, next_left);
        b.template load<IS_VECTOR>(next_b, line < next_left ? states : 0);
        next_b += tiling::STEPS * p.b.stride_t;
        if constexpr (!STATE_ONLY) {
            c.template load<IS_VECTOR>(next_c, line < next_left ? states : 0);
            next_c += tiling::STEPS * p.c.stride_t;
        }
    }
    __device__ __forceinline__ void load_last()
    {
        load_rows(old_u, &last_u, p.u.stride_t, left);
        if (p.z.data)
            load_rows(z, &last_z, p.z.stride_t, left);
    }

    __device__ __forceinline__ char *buffer_of(int64_t tile) const
    {
        return (char *)shared->step[tile & 1];
    }

    /* Behind the last step its size is 0: the state stays as it is. */
    __device__ __forceinline__ void prepare(int64_t tile)
    {
        char *to = buffer_of(tile);
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            float d[8], x[8];
            delta[i].get(d);
            u[i].get(x);
#pragma unroll
            for (int k = 0; k < 8; k++)
                d[k] += bias[k];
            if (p.has_softplus) {
#pragma unroll
                for (int k = 0; k < 8; k++)
                    d[k] = softplus < sizeof(T) == 4 ? 10 : 6 > (d[k]);
            }
            if (next_left < tiling::STEPS) {
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    d[k] = row + i * ROW_STEP < next_left ? d[k] : 0.0f;
                    x[k] = row + i * ROW_STEP < next_left ? x[k] : 0.0f;
                }
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
                *(float4 *)(to + (place ^ 16 * j) + i * ROW_STEP * tiling::PAIRS * 16) =
                    make_float4(d[2 * j], d[2 * j + 1], split_input<T>(d[2 * j], x[2 * j]),
                                split_input<T>(d[2 * j + 1], x[2 * j + 1]));
        }
        const float4 b4 = b.get();
        const float f = split_factor<T>;
        shared->b[tile & 1][line][threadIdx.x % 4] =
            make_float4(b4.x * f, b4.z * f, b4.y * f, b4.w * f);
        if constexpr (!STATE_ONLY) {
            shared->c[tile & 1][line][threadIdx.x % 4] = c.get();
        }
        next_left -= tiling::STEPS;
    }

    __device__ __forceinline__ void finish(int64_t tile)
    {
        const char *from = buffer_of(tile);
#pragma unroll
        for (int i = 0; i < ITEMS; i++, y += ROW_STEP * p.y.stride_t) {
            static_assert(ROW_STEP % 4 == 0, "a thread's steps have one half");
            float out[8], x[8];
            old_u[i].get(x);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float2 *halves =
                    (const float2 *)(from + (place ^ 16 * j) + i * ROW_STEP * tiling::PAIRS * 16);
                const float2 two = halves[split_half(row)];
                out[2 * j] = fmaf(skip[2 * j], x[2 * j], two.x);
                out[2 * j + 1] = fmaf(skip[2 * j + 1], x[2 * j + 1], two.y);
            }
            if (p.z.data) {
                z[i].get(x);
#pragma unroll
                for (int k = 0; k < 8; k++)
                    out[k] *= sq_silu(x[k]);
            }
            raw_row<T, 8> rounded;
            rounded.set(out);
            rounded.template store<IS_VECTOR>(y, row + i * ROW_STEP < left ? channels : 0);
        }
        left -= tiling::STEPS;
    }

    __device__ __forceinline__ void run(int64_t n_tiles)
    {
        load_next();
        prepare(0);
        if (n_tiles > 1)
            load_next();
        split_meet();
#pragma unroll 1
        for (int64_t tile = 0; tile < n_tiles; tile++) { /* the one that the scanners are at */
            if constexpr (!STATE_ONLY) {
                if (tile > 0)
                    finish(tile - 1);
                load_last();
            }
            if (tile + 1 < n_tiles)
                prepare(tile + 1);
            if (tile + 2 < n_tiles)
                load_next();
            split_meet();
        }
        if constexpr (!STATE_ONLY) {
            finish(n_tiles - 1);
        }
    }
};

/* --- scanners --- */

/* A lane: states 2 (lane % 4) + {0, 1, 8, 9} of two channels. As D of sq_mma_tf32 they are rows
 * lane / 4 and lane / 4 + 8 of two products; as A of two more the same rows, and columns lane % 4
 * and lane % 4 + 4. */
template <typename T, bool STATE_ONLY>
struct scanner {
    using tiling = tiling_split;
    /* The products that C . h is made of: h in tf32 for bf16, whose own roundings are larger; h in
     * two parts for f16; both in two for f32. */
    static constexpr int TERMS = sizeof(T) == 4 ? 3 : std::is_same<T, __half>::value ? 2 : 1;

    const int group, column, pair, channel; /* lane / 4, lane % 4; channel: the first of the pair */
    float h[2][4], a[2][4];                 /* a: A log2 e; 0 beyond N, where B is 0 too */
    float most[2];                          /* step size at which a[][3] makes 2^-126 */
    float sum[2];                           /* of the step sizes */

    __device__ __forceinline__ scanner()
        : group((int)threadIdx.x % 32 / 4), column((int)threadIdx.x % 4),
          pair(split_place((int)threadIdx.x / 32 * 2 + group / 4, group % 4)),
          channel((int)threadIdx.x / 32 * 16 + group * 2)
    {
    }

    __device__ __forceinline__ int state(int j) const { return column * 2 + j / 2 * 8 + j % 2; }

    __device__ __forceinline__ bool has(const block_part &part, int64_t states, int i, int j) const
    {
        return channel + i < part.channels && state(j) < states;
    }

    __device__ __forceinline__ void load_decays(const scan_args<T> &p, const block_part &part)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            sum[i] = 0.0f;
            const float *from = p.a + (part.d0 + channel + i) * p.a_stride;
#pragma unroll
            for (int j = 0; j < 4; j++)
                a[i][j] = has(part, p.states, i, j) ? from[state(j)] * SQ_LOG2E : 0.0f;
            most[i] = __fdividef(126.0f, fabsf(a[i][3]));
        }
    }

    /* from, to: the states of the block's first channel; other channels N further. NULL: zeros. */
    __device__ __forceinline__ void load_state(const scan_args<T> &p, const block_part &part,
                                               const float *from, int64_t stride_d)
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
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
            for (int j = 0; j < 4; j++)
                if (has(part, p.states, i, j))
                    to[(channel + i) * stride_d + state(j)] = h[i][j];
    }
    __device__ __forceinline__ void store_sum(const block_part &part, float *to) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
            if (column == 0 && channel + i < part.channels)
                to[channel + i] = sum[i];
    }

    /* d u B_t of both channels. */
    static __device__ __forceinline__ void inputs(float (&in)[2][4], float4 step, float4 b)
    {
        if constexpr (sizeof(T) == 4) {
            const float x[2] = {step.z, step.w}, by_state[4] = {b.x, b.z, b.y, b.w};
#pragma unroll
            for (int i = 0; i < 8; i++)
                in[i / 4][i % 4] = x[i / 4] * by_state[i % 4];
        } else {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float d[4] = {};
                sq_mma_tf32(d, step.z, step.w, half == 0 ? b.x : b.y);
#pragma unroll
                for (int i = 0; i < 4; i++)
                    in[i / 2][half * 2 + i % 2] = d[i];
            }
        }
    }

    /* Step k of eight: three of sixteen decays on the FMA pipe, where that ends as late as the
     * special functions do. */
    __device__ __forceinline__ void advance(float4 step, float4 b, int k)
    {
        const float d[2] = {step.x, step.y};
        float in[2][4];
        inputs(in, step, b);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if constexpr (STATE_ONLY) {
                sum[i] += d[i];
            }
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const bool is_fma = sizeof(T) == 2 && j == 3 && k % 4 != 3;
                const float decay =
                    is_fma ? sq_exp2_fma(fminf(d[i], most[i]), a[i][j]) : sq_exp2(d[i] * a[i][j]);
                h[i][j] = fmaf(decay, h[i][j], in[i][j]);
            }
        }
    }

    /* y receives C . h, one product for each state of `of`. */
    static __device__ __forceinline__ void multiply(float (&y)[4], const float (&of)[2][4],
                                                    const float (&c)[4])
    {
        sq_mma_tf32(y, of[0][0], of[1][0], of[0][1], of[1][1], c[0], c[1]);
        sq_mma_tf32(y, of[0][2], of[1][2], of[0][3], of[1][3], c[2], c[3]);
    }

    /* Adds C . h to y, columns of which are the eight steps of C. */
    __device__ __forceinline__ void read_out(float (&y)[4], const float (&c)[4]) const
    {
        if constexpr (TERMS == 1) {
            multiply(y, h, c);
        } else {
            float high[2][4], low[2][4];
#pragma unroll
            for (int i = 0; i < 8; i++) {
                high[i / 4][i % 4] = sq_tf32_of(h[i / 4][i % 4]);
                low[i / 4][i % 4] = h[i / 4][i % 4] - high[i / 4][i % 4];
            }
            multiply(y, low, c);
            if constexpr (TERMS == 3) {
                float rest[4];
#pragma unroll
                for (int j = 0; j < 4; j++)
                    rest[j] = c[j] - sq_tf32_of(c[j]);
                multiply(y, high, rest);
            }
            multiply(y, high, c);
        }
    }

    /* B_t as `inputs` takes it, of a row of shared B: states g and g + 8 for the tensor cores (row
     * lane % 4 of their B is column g of it), else the lane's own. */
    __device__ __forceinline__ float4 load_b(const float4 *row) const
    {
        if constexpr (sizeof(T) == 4)
            return row[column];
        const float2 two = ((const float2 *)row)[group];
        return make_float4(two.x, two.y, 0.0f, 0.0f);
    }

    /* The results of eight steps; `to` is for this lane's two. */
    static __device__ __forceinline__ void put(float2 *to, const float (&y)[2][2])
    {
        __syncwarp(); /* every lane has read what the results replace */
#pragma unroll
        for (int k = 0; k < 2; k++)
            to[k * tiling::PAIRS * 2] = make_float2(y[k][0], y[k][1]);
    }

    /* Operands are read a step ahead, the next eight steps' first ones before these steps' results
     * are stored: a scheduler with one of these warps has nobody else to hide the latency. (The last
     * read wraps round to a row that holds results by now, and is not used.) */
    __device__ __forceinline__ void scan_tile(split_shared *s, int buffer)
    {
        constexpr int STEPS = tiling::STEPS, COLUMNS = tiling::COLUMNS, PAIRS = tiling::PAIRS;
        const float4 *steps = &s->step[buffer][0][pair];
        const float4 *b = s->b[buffer][0], *c = &s->c[buffer][group][column];
        float2 *to = (float2 *)&s->step[buffer][2 * column][pair] + split_half(2 * column);
        float4 step = *steps, b_t = load_b(b);
#pragma unroll 1
        for (int t = 0; t < STEPS; t += COLUMNS) {
            const int ahead = t + COLUMNS < STEPS ? COLUMNS : COLUMNS - STEPS;
            float c_t[4] = {}, y[2][2] = {};
            if constexpr (!STATE_ONLY) {
                c_t[0] = c->x, c_t[1] = c->y, c_t[2] = c->z, c_t[3] = c->w;
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
            if constexpr (!STATE_ONLY) {
                put(to, y);
            }
            steps += COLUMNS * PAIRS, to += COLUMNS * PAIRS * 2;
            b += COLUMNS * 4, c += COLUMNS * 4;
        }
    }

    /* The whole segment, to `final` (of the batch row; NULL: nowhere). */
    __device__ __forceinline__ void run(split_shared *s, const scan_args<T> &p,
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

/* Grid: (tiles of channels in all groups, segments, B). STATE_ONLY: pass 1. */
template <typename T, bool STATE_ONLY>
__global__ void __launch_bounds__(tiling_split::THREADS, tiling_split::BLOCKS)
    scan_split(scan_args<T> p, segments s)
{
    extern __shared__ uint4 shared_memory[];
    auto *tiles = (split_shared *)shared_memory;
    const block_part part = part_of<tiling_split>(p, s);
    const int64_t n_tiles = (part.steps + tiling_split::STEPS - 1) / tiling_split::STEPS;
    if (threadIdx.x >= tiling_split::SCANNERS) {
        const int thread = (int)threadIdx.x - tiling_split::SCANNERS;
        if (p.is_sequence_vector && p.is_projection_vector)
            feeder<T, STATE_ONLY, true>(p, part, tiles, thread).run(n_tiles);
        else
            feeder<T, STATE_ONLY, false>(p, part, tiles, thread).run(n_tiles);
        return;
    }
    const int64_t row = part.b * (s.count - 1) + blockIdx.y; /* of s.state and s.sum */
    const int64_t at = row * p.channels + part.d0;
    scanner<T, STATE_ONLY> own;
    own.load_decays(p, part);
    if (blockIdx.y == 0)
        own.load_state(p, part,
                       p.initial
                           ? p.initial + part.b * p.initial_stride_b + part.d0 * p.initial_stride_d
                           : nullptr,
                       p.initial_stride_d);
    else
        own.load_state(p, part, STATE_ONLY ? nullptr : &s.state[(at - p.channels) * p.states],
                       p.states);
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
