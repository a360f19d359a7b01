/* parallel: retention as the paper's eq. 5 has it, O = ((Q K^T / sqrt(K)) o D) V: quadratic in
 * time, no score leaves the chip. A block owns 64 steps and 64 or 256 value columns and walks over
 * the keys up to them; the scores' sums by row, which the normalisers paper and torchscale divide
 * by, come with the walk, and the division, which is the same for a whole row, at its end.
 */
#ifndef SQ_KERNELS_RETENTION_PARALLEL_CUH
#define SQ_KERNELS_RETENTION_PARALLEL_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/tiles.cuh"
#include "kernels/hw/f16_range.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/retention/score_sums.cuh"

/* Tiles of 64 value columns of a block where there are more than one. */
enum { SQ_PARALLEL_WIDE = 4 };

static inline int sq_parallel_width(int columns)
{
    return columns > SQ_TILE ? SQ_PARALLEL_WIDE : 1;
}

/* What f16 weights of the block are multiplied by before they are rounded. */
__device__ __forceinline__ float sq_parallel_factor(const float (&w)[16], float *scratch)
{
    float largest = 0.0f;
#pragma unroll
    for (int e = 0; e < 16; e++)
        largest = fmaxf(largest, fabsf(w[e]));
    largest = sq_warp_max(largest);
    if (threadIdx.x % 32 == 0)
        scratch[threadIdx.x / 32] = largest;
    __syncthreads();
#pragma unroll
    for (int warp = 0; warp < SQ_TILE_THREADS / 32; warp++)
        largest = fmaxf(largest, scratch[warp]);
    return sq_f16_factor(largest);
}

typedef struct {
    sq_decay_params p;
    int chunks, blocks, norm; /* blocks: of value columns */
    bool is_vector;
    float *sums; /* (B, H, L): of each row's scores, for pass bwd; or NULL */
} sq_parallel_params;

template <typename T>
static int sq_parallel_shared(int keys)
{
    return (sq_score_slots<T>(keys) + 2) * sq_tile_bytes<T> +
           (SQ_TILE * 18 + SQ_TILE_THREADS / 32) * (int)sizeof(float);
}

template <typename T, int WIDE>
static __global__ void __launch_bounds__(SQ_TILE_THREADS, 2)
    sq_parallel_kernel(sq_parallel_params c, int slots)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_score_block<T> block = {memory, slots, c.is_vector};
    const sq_tile<T> weights = {block.end()}, values = block.keys();
    float(*part)[17] = (float(*)[17])(block.end() + sq_tile_bytes<T>);
    float *row_scale = (float *)(part + SQ_TILE), *scratch = row_scale + SQ_TILE;
    const int column = (int)blockIdx.x % c.blocks * WIDE * SQ_TILE;
    const sq_score_unit u = sq_score_longest_first(c.p, c.chunks, (int)blockIdx.x / c.blocks);
    const sq_decay_head head = sq_decay_load_head(c.p, u.h);
    sq_tile_sum<T> o[WIDE], sums;
    sums.clear();
#pragma unroll
    for (int w = 0; w < WIDE; w++)
        o[w].clear();
    if (threadIdx.x < SQ_TILE)
        row_scale[threadIdx.x] =
            sq_decay_output_scale(c.p, head, u.b, u.h, u.first + (int)threadIdx.x);
    for (int tile = 0; tile <= u.chunk; tile++) {
        const int from = tile * SQ_TILE, steps = min((int)SQ_TILE, c.p.length - from);
        sq_tile_sum<T> score, of_tile; /* of_tile: in the first element of each row */
        score.clear();
        of_tile.clear();
        block.add_products(c.p, u, tile, score);
        float x[16];
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int i = score.row(e), distance = u.first + i - from - score.col(e);
            const float decay = sq_exp2((float)distance * head.rate);
            x[e] = distance >= 0 ? score.at[e] * row_scale[i] * decay : 0.0f;
            of_tile.at[score.first_of_row(e)] += c.norm == NORM_TORCHSCALE ? fabsf(x[e]) : x[e];
        }
        const float scale = sq_is_f16<T> ? sq_parallel_factor(x, scratch) : 1.0f;
        const float back = sq_inverse_power(scale);
#pragma unroll
        for (int e = 0; e < 16; e++)
            weights.put(score.row(e), score.col(e), x[e] * scale);
#pragma unroll
        for (int e = 0; e < 16; e++)
            sums.at[e] += of_tile.at[e];
#pragma unroll
        for (int w = 0; w < WIDE; w++) {
            const int at = column + w * SQ_TILE;
            if (at >= c.p.values)
                break;
            __syncthreads(); /* nobody reads the keys or other values any more */
            values.load(sq_decay_at<T>(c.p.v, u.b, from, u.h) + at, c.p.v.time, steps,
                        c.p.values - at, c.is_vector);
            sq_tile_sync();
            if constexpr (sq_is_f16<T>) {
                sq_tile_sum<T> added;
                added.clear();
                added.add_nn(weights, values);
#pragma unroll
                for (int e = 0; e < 16; e++) {
                    o[w].at[e] = fmaf(added.at[e], back, o[w].at[e]);
                }
            } else {
                o[w].add_nn(weights, values);
            }
        }
    }
    sq_tile_sum<T>::row_parts(sums.at, part);
    __syncthreads();
    if (c.sums && column == 0 && (int)threadIdx.x < u.steps)
        c.sums[((int64_t)u.b * c.p.heads + u.h) * c.p.length + u.first + threadIdx.x] =
            sq_tile_row_sum<T>(part, (int)threadIdx.x);
#pragma unroll
    for (int w = 0; w < WIDE; w++)
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int i = o[w].row(e), to = column + w * SQ_TILE + o[w].col(e);
            const float by = sq_score_divisor(c.norm, sq_tile_row_sum<T>(part, i));
            if (i < u.steps && to < c.p.values)
                ((T *)sq_decay_at<T>(c.p.o, u.b, u.first + i, u.h))[to] =
                    sq_from_f32<T>(o[w].at[e] / by);
        }
}

static inline sq_status sq_parallel_supports(const sq_call *call, const sq_decay_params &p,
                                             const sq_device *device, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    if (p.chunk != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "has no chunks: chunk=0 only");
    if (call->axis[AXIS_INITIAL] != 0 || call->axis[AXIS_FINAL] != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "has no state");
    const int bytes = call->dtype == SQ_DTYPE_F32 ? sq_parallel_shared<float>(p.keys)
                                                  : sq_parallel_shared<__half>(p.keys);
    SQ_TRY(sq_supports_shared(device, (size_t)bytes, why));
    const int columns = call->pass == SQ_PASS_BWD && p.keys > p.values ? p.keys : p.values;
    const double tiles = (p.length + 63) / 64 * (double)((columns + 63) / 64);
    if (tiles * p.heads * p.batch < 2147483648.0)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "%g blocks: at most 2^31 - 1", tiles * p.heads * p.batch);
}

template <typename T, int WIDE>
static sq_status sq_parallel_run(const sq_call *call, const sq_parallel_params &c, sq_error *err)
{
    const int bytes = sq_parallel_shared<T>(c.p.keys), slots = sq_score_slots<T>(c.p.keys);
    const unsigned grid = (unsigned)((int64_t)c.chunks * c.blocks * c.p.heads * c.p.batch);
    SQ_TRY(sq_allow_shared(sq_parallel_kernel<T, WIDE>, bytes, err));
    sq_parallel_kernel<T, WIDE><<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c, slots);
    return sq_launched("parallel retention", err);
}

static inline sq_status sq_parallel_launch(const sq_call *call, const sq_decay_params &p,
                                           sq_error *err)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype), width = sq_parallel_width(p.values);
    const sq_parallel_params c = {
        p,
        (int)sq_ceil_div(p.length, SQ_TILE),
        (int)sq_ceil_div(p.values, width * SQ_TILE),
        (int)call->axis[AXIS_NORM],
        p.keys % vector == 0 && p.values % vector == 0 && sq_decay_has_vectors(p.q, vector) &&
            sq_decay_has_vectors(p.k, vector) && sq_decay_has_vectors(p.v, vector),
        sq_retention_saved(call) > 0 ? (float *)call->saved : NULL};
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        return width > 1 ? sq_parallel_run<T, SQ_PARALLEL_WIDE>(call, c, err)
                         : sq_parallel_run<T, 1>(call, c, err);
    });
}

#endif
