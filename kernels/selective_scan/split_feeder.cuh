/* split_feeder: what selective_scan's scanning warps and feeding warps share (scan_split.cuh), and
 * the feeding ones. Included by scan_split.cuh alone. */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_SPLIT_FEEDER_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_SPLIT_FEEDER_CUH

#include "kernels/hw/mma_tf32_sm80.cuh"
#include "kernels/selective_scan/raw_row.cuh"
#include "kernels/selective_scan/scan_tile.cuh"
#include "kernels/selective_scan/split_plan.h"

namespace sq_selective_scan
{

template <int SHARES>
struct split_shared;

/* SHARES scanners have 16 channels, and 16 / SHARES states of each. */
template <int SHARES_>
struct tiling_split {
    static constexpr int SHARES = SHARES_, STATES = 16, CHANNELS = 64 / SHARES, STEPS = 32;
    static constexpr int PAIRS = CHANNELS / 2, COLUMNS = 8; /* of sq_mma_tf32's D: steps */
    static constexpr int SCANNERS = 128, FEEDERS = 128;
    static constexpr int THREADS = SCANNERS + FEEDERS;
    static constexpr int OCTETS = CHANNELS / 8, ROW_STEP = FEEDERS / OCTETS;
    static constexpr int ITEMS =
        STEPS / ROW_STEP; /* octets of channels that a feeder has of a tile */
    template <typename T>
    using shared = split_shared<SHARES>;
};

/* Tiles in turn. step: d_t and d_t u_t of two neighbouring channels, at split_place. The scan leaves
 * their C_t . h_t in it, in the half that split_half tells; shares, which cannot know what the other
 * has read, each its part in a half of a tile behind these. At i: b of states 2i, 2i + 8, 2i + 1,
 * 2i + 9, c of 2i, 2i + 1, 2i + 8, 2i + 9: neighbours are operands of one product. */
template <int SHARES>
struct split_shared {
    using tiling = tiling_split<SHARES>;
    float4 step[2 * SHARES][tiling::STEPS][tiling::PAIRS];
    float4 b[2][tiling::STEPS][tiling::STATES / 4];
    float4 c[2][tiling::STEPS][tiling::STATES / 4];

    __device__ __forceinline__ auto results(int buffer) { return step[buffer + 2 * (SHARES - 1)]; }
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

/* All threads of the block, each kind at its own place in the code: bar.sync promises one place. */
__device__ __forceinline__ void split_meet()
{
    asm volatile("barrier.sync 1, %0;" ::"n"(tiling_split<1>::THREADS) : "memory");
}

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

/* The products in tf32 that one of f32 is made of: bf16 is content with one, its own roundings are
 * coarser; f16 has the states in two parts, f32 both factors. */
template <typename T>
constexpr int split_terms = sizeof(T) == 4 ? 3 : 2;
template <>
constexpr int split_terms<__nv_bfloat16> = 1;

/* d u as the scan takes it. */
template <typename T>
__device__ __forceinline__ float split_input(float d, float u)
{
    return split_terms<T> == 1 ? sq_tf32_centred(d * u) : d * u;
}

/* Of B: on the tensor cores d u is multiplied by it four times, once for every k. */
template <typename T>
constexpr float split_factor = split_terms<T> == 1 ? 0.25f : 1.0f;

/* The feeders' share of a tile: a thread has an octet of channels in ITEMS steps, and four states
 * of one step of B and C. */
template <typename T, int SHARES, bool STATE_ONLY, bool IS_VECTOR>
struct feeder {
    using tiling = tiling_split<SHARES>;
    static constexpr int ITEMS = tiling::ITEMS, ROW_STEP = tiling::ROW_STEP;

    const scan_args<T> &p;
    split_shared<SHARES> *shared;
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
                                      split_shared<SHARES> *tiles, int thread)
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

    /* Behind the last step its size is 0: the state stays as it is. */
    __device__ __forceinline__ void prepare(int64_t tile)
    {
        char *to = (char *)shared->step[tile & 1];
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            float d[8], x[8];
            delta[i].get(d);
#pragma unroll
            for (int k = 0; k < 8; k++)
                d[k] += bias[k];
            if (p.has_softplus) {
#pragma unroll
                for (int k = 0; k < 8; k++)
                    d[k] = softplus<softplus_terms<T>>(d[k]);
            }
            u[i].get(x);
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

    /* C . h of a pair, of this thread's steps. */
    __device__ __forceinline__ float2 result(const char *of_pair) const
    {
        static_assert(ROW_STEP % 4 == 0, "a thread's steps have one half");
        if constexpr (SHARES == 1)
            return ((const float2 *)of_pair)[split_half(row)];
        const float4 both = *(const float4 *)of_pair;
        return make_float2(both.x + both.z, both.y + both.w);
    }

    __device__ __forceinline__ void finish(int64_t tile)
    {
        const char *from = (const char *)shared->results((int)(tile & 1));
#pragma unroll
        for (int i = 0; i < ITEMS; i++, y += ROW_STEP * p.y.stride_t) {
            float out[8], x[8];
            old_u[i].get(x);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float2 two =
                    result(from + (place ^ 16 * j) + i * ROW_STEP * tiling::PAIRS * 16);
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

} // namespace sq_selective_scan

#endif
