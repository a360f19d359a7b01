/* norm on CUDA, pass bwd: see norm_bwd.c for the formula.
 *
 * A block takes every shares-th row of one group, so that its threads keep the same channels: dx,
 * dr and dz of a row are done from registers in one reading of s, dy and z, and the block's part of
 * dw and db is summed on the way. A second kernel adds the parts of all blocks, always in the same
 * order.
 */
#include "kernels/hw/column_sums.cuh"
#include "kernels/norm_core/norm_channel.cuh"
#include "kernels/norm_core/norm_cuda.h"

/* A few blocks for each SM of a large chip; not of the device, so that sums do not depend on it. */
enum { TARGET_BLOCKS = 528, SCALAR_THREADS = 128 };

/* parts: shares rows of groups * width channels; NULL where there is no w or no b. */
struct gradient_params : norm_params {
    float *w_parts, *b_parts;
    int shares;
};

/* Blocks for each group whose parts of dw and db are kept. */
static int64_t max_shares(const sq_norm *norm, int64_t rows)
{
    const int64_t wanted = TARGET_BLOCKS / norm->groups;
    return wanted < 1 ? 1 : wanted < rows ? wanted : rows;
}

/* --- scalar --- */

/* The block's part of dw and db lies in memory of its own. */
__device__ __forceinline__ void add_part(float *parts, int64_t at, bool is_first, float value)
{
    if (parts)
        parts[at] = is_first ? value : parts[at] + value;
}

template <typename T>
__device__ __forceinline__ void scalar_store(const gradient_params &p, const norm_place &at,
                                             const moments &m, int share, int i, bool is_first)
{
    const int64_t column = (int64_t)at.g * p.width + i;
    const float w = p.w ? p.w[column] : 1.0f, bias = p.bias ? p.bias[column] : 0.0f;
    gradients d = gradients_of(p, scalar_channel<T>(p, at, i), m, norm_kept<T>(p, p.s, at, i),
                               sq_to_f32(norm_at<const T>(p.dy, at)[i]), w, bias);
    const int64_t part = (int64_t)share * p.groups * p.width + column;
    add_part(p.w_parts, part, is_first, d.dw);
    add_part(p.b_parts, part, is_first, d.db);
    if (p.ds.data)
        d.dx += norm_kept<T>(p, p.ds, at, i);
    norm_at<T>(p.dx, at)[i] = sq_from_f32<T>(d.dx);
    if (p.dr.data)
        norm_keep<T>(p, p.dr, at, i, d.dx);
    if (p.dz.data)
        norm_at<T>(p.dz, at)[i] = sq_from_f32<T>(d.dz);
}

template <typename T>
__global__ void __launch_bounds__(SCALAR_THREADS)
    norm_gradient_scalar(const __grid_constant__ gradient_params p)
{
    __shared__ float scratch[2][3 * SCALAR_THREADS / 32];
    const int share = (int)(blockIdx.x / p.groups), thread = (int)threadIdx.x;
    for (int64_t row = share; row < p.rows; row += p.shares) {
        const norm_place at = norm_place_of(p, (uint32_t)row, blockIdx.x % p.groups);
        float mean[1] = {0.0f}, sums[3] = {0.0f, 0.0f, 0.0f};
        for (int i = thread; i < p.width && p.is_centred; i += SCALAR_THREADS)
            mean[0] += scalar_channel<T>(p, at, i).u;
        sq_lanes_sum<SCALAR_THREADS>(mean, scratch[0]);
        mean[0] /= (float)p.width;
        for (int i = thread; i < p.width; i += SCALAR_THREADS)
            add_to_sums(sums, scalar_channel<T>(p, at, i), mean[0],
                        p.w ? p.w[at.g * (int64_t)p.width + i] : 1.0f);
        sq_lanes_sum<SCALAR_THREADS>(sums, scratch[1]);
        const moments m = moments_of(p, mean[0], sums);
        for (int i = thread; i < p.width; i += SCALAR_THREADS)
            scalar_store<T>(p, at, m, share, i, row == share);
    }
}

/* --- vectors --- */

template <int LANES>
constexpr int gradient_threads = LANES < 128 ? 256 : LANES;

/* A run in registers. */
template <typename T, int VECTORS>
struct run_inputs {
    float s[VECTORS][sq_per_vector<T>];
    uint4 dy[VECTORS], z[VECTORS];

    /* channels[i] of vector v */
    __device__ __forceinline__ void unpack(const norm_params &p, int v,
                                           channel (&channels)[sq_per_vector<T>]) const
    {
        float y[sq_per_vector<T>], gate[sq_per_vector<T>];
        sq_unpack_vector<T>(dy[v], y);
        sq_unpack_vector<T>(z[v], gate);
#pragma unroll
        for (int i = 0; i < sq_per_vector<T>; i++)
            channels[i] = channel_of(p, s[v][i], y[i], gate[i]);
    }
};

template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ void load_run(run_inputs<T, VECTORS> &in, const norm_params &p,
                                         const norm_place &at, int lane, int vectors)
{
    norm_fetch<T, LANES>(in.dy, norm_at<const T>(p.dy, at), lane, vectors);
    if (p.gate) {
        norm_fetch<T, LANES>(in.z, norm_at<const T>(p.z, at), lane, vectors);
    } else {
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
            in.z[v] = make_uint4(0, 0, 0, 0);
    }
    norm_load_kept<T, LANES>(in.s, p, p.s, at, lane, vectors);
}

/* scratch: [0] for the mean, [1] for the sums; LANES / 32 and 3 LANES / 32 floats. */
template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ moments reduce_run(const run_inputs<T, VECTORS> &in,
                                              const norm_params &p, int g, int lane, int vectors,
                                              float *mean_scratch, float *sums_scratch)
{
    constexpr int N = sq_per_vector<T>;
    float mean[1] = {0.0f}, sums[3] = {0.0f, 0.0f, 0.0f};
    channel c[N];
    if (p.is_centred) {
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            in.unpack(p, v, c);
#pragma unroll
            for (int i = 0; i < N; i++)
                mean[0] += c[i].u; /* 0 past the end */
        }
        sq_lanes_sum<LANES>(mean, mean_scratch);
        mean[0] /= (float)p.width;
    }
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        if (lane + v * LANES < vectors) {
            float w[N];
            const int64_t column = (int64_t)g * p.width + (lane + v * LANES) * N;
            norm_load_channels<N>(w, p.w ? p.w + column : NULL, 1.0f);
            in.unpack(p, v, c);
#pragma unroll
            for (int i = 0; i < N; i++)
                add_to_sums(sums, c[i], mean[0], w[i]);
        }
    sq_lanes_sum<LANES>(sums, sums_scratch);
    return moments_of(p, mean[0], sums);
}

/* Vector v of the run's gradients; adds to dw and db. */
template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ void
store_vector(const run_inputs<T, VECTORS> &in, int v, const gradient_params &p,
             const norm_place &at, const moments &m, int vector,
             const float (&ds)[sq_per_vector<T>], float (&dw)[sq_per_vector<T>],
             float (&db)[sq_per_vector<T>])
{
    constexpr int N = sq_per_vector<T>;
    const int64_t column = (int64_t)at.g * p.width + vector * N;
    float w[N], bias[N], dy[N], dx[N], dz[N];
    channel c[N];
    norm_load_channels<N>(w, p.w ? p.w + column : NULL, 1.0f);
    norm_load_channels<N>(bias, p.bias ? p.bias + column : NULL, 0.0f);
    sq_unpack_vector<T>(in.dy[v], dy);
    in.unpack(p, v, c);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const gradients d = gradients_of(p, c[i], m, in.s[v][i], dy[i], w[i], bias[i]);
        dx[i] = d.dx + ds[i];
        dz[i] = d.dz;
        dw[i] += d.dw;
        db[i] += d.db;
    }
    sq_store16(norm_at<T>(p.dx, at) + vector * N, sq_pack_vector<T>(dx));
    if (p.dr.data)
        norm_store_kept<T, LANES>(dx, p, p.dr, at, vector);
    if (p.dz.data)
        sq_store16(norm_at<T>(p.dz, at) + vector * N, sq_pack_vector<T>(dz));
}

/* The sums of a block's threads, by channel, to `part`. shared: THREADS * VECTORS * N floats where
 * a block has several rows. */
template <int LANES, int VECTORS, int N>
__device__ __forceinline__ void store_part(const float (&sum)[VECTORS][N], float *shared,
                                           float *part, int width)
{
    constexpr int THREADS = gradient_threads<LANES>, ROWS = THREADS / LANES;
    constexpr int CHANNELS = LANES * VECTORS * N;
    const int lane = (int)threadIdx.x % LANES, row = (int)threadIdx.x / LANES;
    float *to = ROWS > 1 ? shared + row * CHANNELS : part;
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        if (ROWS > 1 || (lane + v * LANES) * N < width)
#pragma unroll
            for (int i = 0; i < N; i += 4)
                *(float4 *)(to + (lane + v * LANES) * N + i) =
                    make_float4(sum[v][i], sum[v][i + 1], sum[v][i + 2], sum[v][i + 3]);
    if (ROWS == 1)
        return;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < width; i += THREADS) {
        float total = 0.0f;
        for (int r = 0; r < ROWS; r++)
            total += shared[r * CHANNELS + i];
        part[i] = total;
    }
    __syncthreads();
}

/* 512 threads on an SM: 128 registers each. */
template <typename T, int LANES, int VECTORS>
__global__ void __launch_bounds__(gradient_threads<LANES>, 512 / gradient_threads<LANES>)
    norm_gradient(const __grid_constant__ gradient_params p)
{
    constexpr int N = sq_per_vector<T>, ROWS = gradient_threads<LANES> / LANES;
    constexpr int WARPS = LANES < 32 ? 1 : LANES / 32;
    __shared__ float scratch[3][3 * WARPS];
    __shared__ __align__(16) float shared[ROWS > 1 ? ROWS * LANES * VECTORS * N : 4];
    const int g = (int)(blockIdx.x % p.groups), share = (int)(blockIdx.x / p.groups);
    const int lane = (int)threadIdx.x % LANES;
    float dw[VECTORS][N] = {}, db[VECTORS][N] = {};
    int turn = 0; /* the next row's sums must not meet those that others still read */
    for (int64_t first = (int64_t)share * ROWS; first < p.rows;
         first += (int64_t)p.shares * ROWS, turn ^= 1) {
        const int64_t row = first + threadIdx.x / LANES;
        const int vectors = row < p.rows ? p.width / N : 0;
        const norm_place at = norm_place_of(p, (uint32_t)(row < p.rows ? row : 0), (uint32_t)g);
        run_inputs<T, VECTORS> in;
        load_run<T, LANES>(in, p, at, lane, vectors);
        const moments m =
            reduce_run<T, LANES>(in, p, g, lane, vectors, scratch[0], scratch[1 + turn]);
        float ds[VECTORS][N] = {};
        if (p.ds.data)
            norm_load_kept<T, LANES>(ds, p, p.ds, at, lane, vectors);
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
            if (lane + v * LANES < vectors)
                store_vector<T, LANES>(in, v, p, at, m, lane + v * LANES, ds[v], dw[v], db[v]);
    }
    const int64_t part = ((int64_t)share * p.groups + g) * p.width;
    if (p.w_parts)
        store_part<LANES>(dw, shared, p.w_parts + part, p.width);
    if (p.b_parts)
        store_part<LANES>(db, shared, p.b_parts + part, p.width);
}

/* --- launch --- */

/* The parts of db follow those of dw. */
static void place_parts(gradient_params &p)
{
    if (p.w_parts && p.b_parts)
        p.b_parts = p.w_parts + (int64_t)p.shares * p.groups * p.width;
}

template <typename T, int LANES, int VECTORS>
static void launch_vectors(gradient_params &p, cudaStream_t stream)
{
    const int64_t blocks = sq_ceil_div(p.rows, gradient_threads<LANES> / LANES);
    if (p.shares > blocks)
        p.shares = (int)blocks;
    place_parts(p);
    norm_gradient<T, LANES, VECTORS>
        <<<(unsigned)(p.shares * (int64_t)p.groups), gradient_threads<LANES>, 0, stream>>>(p);
}

/* False where the run is too wide for registers. */
template <typename T>
static bool launch_width(gradient_params &p, cudaStream_t stream)
{
    const int vectors = p.width / sq_per_vector<T>;
    if (vectors <= 8)
        launch_vectors<T, 8, 1>(p, stream);
    else if (vectors <= 32)
        launch_vectors<T, 32, 1>(p, stream);
    else if (vectors <= 64)
        launch_vectors<T, 32, 2>(p, stream);
    else if (vectors <= 128)
        launch_vectors<T, 128, 1>(p, stream);
    else if (vectors <= 256)
        launch_vectors<T, 128, 2>(p, stream);
    else if (vectors <= 512)
        launch_vectors<T, 256, 2>(p, stream);
    else if (vectors <= 1024)
        launch_vectors<T, 512, 2>(p, stream);
    else
        return false;
    return true;
}

static gradient_params params_of(const sq_norm *norm, const sq_call *call)
{
    gradient_params p = {};
    (norm_params &)p = norm_params_of(norm, call);
    const bool has_parts = norm->has_weight || norm->has_bias;
    p.shares = (int)(has_parts ? max_shares(norm, p.rows) : p.rows);
    if (norm->has_weight)
        p.w_parts = (float *)call->workspace;
    if (norm->has_bias)
        p.b_parts = (float *)call->workspace;
    place_parts(p);
    return p;
}

size_t sq_norm_cuda_workspace(const sq_norm *norm, const sq_call *call)
{
    if (call->pass != SQ_PASS_BWD)
        return 0;
    const int64_t rows = call->in[SQ_NORM_X].dim[0] * call->in[SQ_NORM_X].dim[1];
    return sizeof(float) * (size_t)(norm->has_weight + norm->has_bias) *
           (size_t)(max_shares(norm, rows) * norm->groups * norm->width);
}

sq_status sq_norm_cuda_backward(const sq_norm *norm, const sq_call *call, sq_error *err)
{
    gradient_params p = params_of(norm, call);
    const cudaStream_t stream = sq_stream(call);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (norm_is_vector(norm, call) && launch_width<T>(p, stream))
            return SQ_OK;
        const unsigned blocks = (unsigned)(p.shares * (int64_t)p.groups);
        norm_gradient_scalar<T><<<blocks, SCALAR_THREADS, 0, stream>>>(p);
        return SQ_OK;
    }));
    SQ_TRY(sq_launched(call->op->name, err));
    if (norm->has_weight || norm->has_bias) {
        float *dw = (float *)call->out[SQ_NORM_W].data, *db = (float *)call->out[SQ_NORM_B].data;
        sq_launch_column_sums<float>((const float *)call->workspace, dw ? dw : db, dw ? db : NULL,
                                     p.shares, norm->groups * norm->width, stream);
    }
    return sq_launched(call->op->name, err);
}
