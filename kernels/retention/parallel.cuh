/* parallel: retention as the paper's eq. 5 has it, O = ((Q K^T / sqrt(K)) o D) V: quadratic in
 * time, no score leaves the chip. A block owns 64 steps and 64 value columns and walks over the
 * keys up to them; the scores' sums by row, which the normalisers paper and torchscale divide by,
 * come with the walk, and the division, which is the same for a whole row, at its end.
 */
#ifndef SQ_KERNELS_RETENTION_PARALLEL_CUH
#define SQ_KERNELS_RETENTION_PARALLEL_CUH

#include "kernels/chunk_core/decay_params.cuh"
#include "kernels/chunk_core/decay_plan.cuh"
#include "kernels/chunk_core/tiles.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/retention/score_sums.cuh"

typedef struct {
    sq_decay_params p;
    int tiles, value_tiles, norm;
    bool is_vector;
    float *sums; /* (B, H, L): of each row's scores, for pass bwd; or NULL */
} sq_parallel_params;

template <typename T>
constexpr int sq_parallel_shared = 3 * sq_tile_bytes<T> + SQ_TILE * 18 * (int)sizeof(float);

template <typename T>
static __global__ void __launch_bounds__(SQ_TILE_THREADS) sq_parallel_kernel(sq_parallel_params c)
{
    extern __shared__ __align__(512) unsigned char memory[];
    const sq_tile<T> left = {memory}, right = {memory + sq_tile_bytes<T>};
    const sq_tile<T> weights = {memory + 2 * sq_tile_bytes<T>};
    float(*part)[17] = (float(*)[17])(memory + 3 * sq_tile_bytes<T>);
    float *row_scale = (float *)(part + SQ_TILE);
    const int column = (int)blockIdx.x % c.value_tiles * SQ_TILE;
    const int index = (int)blockIdx.x / c.value_tiles;
    const int last = c.tiles - 1 - index % c.tiles, first = last * SQ_TILE; /* long rows first */
    const int h = index / c.tiles % c.p.heads, b = index / c.tiles / c.p.heads;
    const int rows = min((int)SQ_TILE, c.p.length - first);
    const sq_decay_head head = sq_decay_load_head(c.p, h);
    sq_tile_sum<T> o, sums;
    o.clear();
    sums.clear();
    if (threadIdx.x < SQ_TILE)
        row_scale[threadIdx.x] = sq_decay_output_scale(c.p, head, b, h, first + (int)threadIdx.x);
    for (int tile = 0; tile <= last; tile++) {
        const int from = tile * SQ_TILE, keys = min((int)SQ_TILE, c.p.length - from);
        sq_tile_sum<T> score;
        score.clear();
        for (int key = 0; key < c.p.keys; key += SQ_TILE) {
            __syncthreads(); /* nobody reads the tiles any more */
            left.load(sq_decay_at<T>(c.p.q, b, first, h) + key, c.p.q.time, rows, c.p.keys - key,
                      c.is_vector);
            right.load(sq_decay_at<T>(c.p.k, b, from, h) + key, c.p.k.time, keys, c.p.keys - key,
                       c.is_vector);
            __syncthreads();
            score.add_nt(left, right);
        }
        __syncthreads();
        right.load(sq_decay_at<T>(c.p.v, b, from, h) + column, c.p.v.time, keys,
                   c.p.values - column, c.is_vector);
#pragma unroll
        for (int e = 0; e < 16; e++) {
            const int i = score.row(e), distance = first + i - from - score.col(e);
            const float decay = sq_exp2((float)distance * head.rate);
            const float x = distance >= 0 ? score.at[e] * row_scale[i] * decay : 0.0f;
            weights.put(i, score.col(e), x);
            sums.at[e] += c.norm == NORM_TORCHSCALE ? fabsf(x) : x;
        }
        __syncthreads();
        o.add_nn(weights, right);
    }
    sq_tile_sum<T>::row_parts(sums.at, part);
    __syncthreads();
    if (c.sums && column == 0 && (int)threadIdx.x < rows)
        c.sums[((int64_t)b * c.p.heads + h) * c.p.length + first + threadIdx.x] =
            sq_tile_row_sum<T>(part, (int)threadIdx.x);
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = o.row(e), to = column + o.col(e);
        if (i < rows && to < c.p.values)
            ((T *)sq_decay_at<T>(c.p.o, b, first + i, h))[to] =
                sq_from_f32<T>(o.at[e] / sq_score_divisor(c.norm, sq_tile_row_sum<T>(part, i)));
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
    const int bytes =
        call->dtype == SQ_DTYPE_F32 ? sq_parallel_shared<float> : sq_parallel_shared<__half>;
    SQ_TRY(sq_supports_shared(device, (size_t)bytes, why));
    const int columns = call->pass == SQ_PASS_BWD && p.keys > p.values ? p.keys : p.values;
    const double tiles = (p.length + 63) / 64 * (double)((columns + 63) / 64);
    if (tiles * p.heads * p.batch < 2147483648.0)
        return SQ_OK;
    return sq_fail(why, SQ_UNSUPPORTED, "%g blocks: at most 2^31 - 1", tiles * p.heads * p.batch);
}

static inline sq_status sq_parallel_launch(const sq_call *call, const sq_decay_params &p,
                                           sq_error *err)
{
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    const sq_parallel_params c = {
        p,
        (int)sq_ceil_div(p.length, SQ_TILE),
        (int)sq_ceil_div(p.values, SQ_TILE),
        (int)call->axis[AXIS_NORM],
        p.keys % vector == 0 && p.values % vector == 0 && sq_decay_has_vectors(p.q, vector) &&
            sq_decay_has_vectors(p.k, vector) && sq_decay_has_vectors(p.v, vector),
        sq_retention_saved(call) > 0 ? (float *)call->saved : NULL};
    const unsigned grid = (unsigned)((int64_t)c.tiles * c.value_tiles * p.heads * p.batch);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        constexpr int bytes = sq_parallel_shared<T>;
        SQ_TRY(sq_allow_shared(sq_parallel_kernel<T>, bytes, err));
        sq_parallel_kernel<T><<<grid, SQ_TILE_THREADS, bytes, sq_stream(call)>>>(c);
        return sq_launched("parallel retention", err);
    });
}

#endif
