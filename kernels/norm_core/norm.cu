/* norm on CUDA, pass fwd: see norm.h for the formula.
 *
 * 16-byte loads, the run (a group of a row) stays in registers: every byte moves once. A run that
 * no vectors fit is read in passes by a warp, a wide one by a block. norm_naive.cu: neither.
 */
#include "kernels/norm_core/norm.cuh"
#include "kernels/norm_core/norm_cuda.h"

enum { SCALAR_THREADS = 256 };

/* --- scalar --- */

/* Channel i of u; the sum s of residual runs is handed on when `is_last`. */
template <typename T>
__device__ __forceinline__ float scalar_input(const norm_params &p, const norm_place &at, int i,
                                              bool is_last)
{
    float u = sq_to_f32(norm_at<const T>(p.x, at)[i]);
    if (p.r.data) {
        u += norm_kept<T>(p, p.r, at, i);
        if (is_last)
            norm_keep<T>(p, p.s, at, i, u);
    }
    if (p.gate == SQ_NORM_GATE_PRE)
        u *= sq_silu(sq_to_f32(norm_at<const T>(p.z, at)[i]));
    return u;
}

/* LANES: 32 or the block. */
template <typename T, int LANES>
__global__ void __launch_bounds__(SCALAR_THREADS) norm_scalar(const __grid_constant__ norm_params p)
{
    __shared__ float scratch[2][LANES / 32];
    const int64_t index = ((int64_t)blockIdx.x * SCALAR_THREADS + threadIdx.x) / LANES;
    const int64_t runs = p.rows * p.groups;
    const int lane = (int)threadIdx.x % LANES, width = index < runs ? p.width : 0;
    const uint32_t run = (uint32_t)(index < runs ? index : 0);
    const norm_place at = norm_place_of(p, run / (uint32_t)p.groups, run % (uint32_t)p.groups);

    float mean[1] = {0.0f}, squares[1] = {0.0f};
    if (p.is_centred) {
        for (int i = lane; i < width; i += LANES)
            mean[0] += scalar_input<T>(p, at, i, false);
        sq_lanes_sum<LANES>(mean, scratch[0]);
        mean[0] /= (float)p.width;
    }
    for (int i = lane; i < width; i += LANES) {
        const float c = scalar_input<T>(p, at, i, false) - mean[0];
        squares[0] = fmaf(c, c, squares[0]);
    }
    sq_lanes_sum<LANES>(squares, scratch[1]);
    const float scale = rsqrtf(squares[0] / (float)p.width + p.eps);
    for (int i = lane; i < width; i += LANES) {
        const int channel = at.g * p.width + i;
        float y = (scalar_input<T>(p, at, i, true) - mean[0]) * scale;
        y = fmaf(y, p.w ? p.w[channel] : 1.0f, p.bias ? p.bias[channel] : 0.0f);
        if (p.gate == SQ_NORM_GATE_POST)
            y *= sq_silu(sq_to_f32(norm_at<const T>(p.z, at)[i]));
        norm_at<T>(p.y, at)[i] = sq_from_f32<T>(y);
    }
}

template <typename T, int LANES>
static void launch_scalar(const norm_params &p, cudaStream_t stream)
{
    const unsigned blocks = (unsigned)sq_ceil_div(p.rows * p.groups, SCALAR_THREADS / LANES);
    norm_scalar<T, LANES><<<blocks, SCALAR_THREADS, 0, stream>>>(p);
}

/* --- vectors --- */

/* x + r; zeros past the end. */
template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ void load_sum(float (&u)[VECTORS][sq_per_vector<T>],
                                         const norm_params &p, const norm_place &at, int lane,
                                         int vectors)
{
    constexpr int N = sq_per_vector<T>;
    uint4 raw[VECTORS];
    norm_fetch<T, LANES>(raw, norm_at<const T>(p.x, at), lane, vectors);
    if (p.r.data) {
        norm_load_kept<T, LANES>(u, p, p.r, at, lane, vectors);
    } else {
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
#pragma unroll
            for (int i = 0; i < N; i++)
                u[v][i] = 0.0f;
    }
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        float x[N];
        sq_unpack_vector<T>(raw[v], x);
#pragma unroll
        for (int i = 0; i < N; i++)
            u[v][i] += x[i];
    }
}

/* u becomes c; returns 1 / sqrt(mean(c^2) + eps). scratch: two rows of LANES / 32. */
template <typename T, int LANES, int VECTORS>
__device__ __forceinline__ float centre(float (&u)[VECTORS][sq_per_vector<T>], const norm_params &p,
                                        int lane, int vectors, float (*scratch)[32])
{
    constexpr int N = sq_per_vector<T>;
    if (p.is_centred) {
        float sum[1] = {0.0f};
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
#pragma unroll
            for (int i = 0; i < N; i++)
                sum[0] += u[v][i];
        sq_lanes_sum<LANES>(sum, scratch[0]);
        const float mean = sum[0] / (float)p.width;
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
#pragma unroll
            for (int i = 0; i < N; i++)
                u[v][i] = lane + v * LANES < vectors ? u[v][i] - mean : 0.0f;
    }
    float squares[1] = {0.0f};
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
#pragma unroll
        for (int i = 0; i < N; i++)
            squares[0] = fmaf(u[v][i], u[v][i], squares[0]);
    sq_lanes_sum<LANES>(squares, scratch[1]);
    return rsqrtf(squares[0] / (float)p.width + p.eps);
}

/* Vector `vector` of y from c; gate: of z. */
template <typename T>
__device__ __forceinline__ void store_output(float (&y)[sq_per_vector<T>], const norm_params &p,
                                             const norm_place &at, int vector, float scale,
                                             uint4 gate)
{
    constexpr int N = sq_per_vector<T>;
    const int channel = at.g * p.width + vector * N;
    float w[N], bias[N], z[N];
    norm_load_channels<N>(w, p.w ? p.w + channel : NULL, 1.0f);
    norm_load_channels<N>(bias, p.bias ? p.bias + channel : NULL, 0.0f);
    sq_unpack_vector<T>(gate, z);
#pragma unroll
    for (int i = 0; i < N; i++) {
        y[i] = fmaf(y[i] * scale, w[i], bias[i]);
        if (p.gate == SQ_NORM_GATE_POST)
            y[i] *= sq_silu(z[i]);
    }
    sq_store16(norm_at<T>(p.y, at) + vector * N, sq_pack_vector<T>(y));
}

template <int LANES>
constexpr int block_threads = LANES < 128 ? 256 : LANES;

template <typename T, int LANES, int VECTORS>
__global__ void __launch_bounds__(block_threads<LANES>)
    norm_vectors(const __grid_constant__ norm_params p)
{
    constexpr int N = sq_per_vector<T>;
    __shared__ float scratch[2][32];
    const int64_t runs = p.rows * p.groups;
    const int64_t index = ((int64_t)blockIdx.x * block_threads<LANES> + threadIdx.x) / LANES;
    const int lane = (int)threadIdx.x % LANES;
    /* Threads past the last run go on with nothing to load: the sums need all lanes. */
    const int vectors = index < runs ? p.width / N : 0;
    const uint32_t run = (uint32_t)(index < runs ? index : 0);
    const norm_place at = norm_place_of(p, run / (uint32_t)p.groups, run % (uint32_t)p.groups);

    uint4 gate[VECTORS] = {};
    float u[VECTORS][N];
    if (p.gate)
        norm_fetch<T, LANES>(gate, norm_at<const T>(p.z, at), lane, vectors);
    load_sum<T, LANES>(u, p, at, lane, vectors);
    if (p.r.data)
#pragma unroll
        for (int v = 0; v < VECTORS; v++)
            if (lane + v * LANES < vectors)
                norm_store_kept<T, LANES>(u[v], p, p.s, at, lane + v * LANES);
    if (p.gate == SQ_NORM_GATE_PRE)
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            float z[N];
            sq_unpack_vector<T>(gate[v], z);
#pragma unroll
            for (int i = 0; i < N; i++)
                u[v][i] *= sq_silu(z[i]);
        }
    const float scale = centre<T, LANES>(u, p, lane, vectors, scratch);
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        if (lane + v * LANES < vectors)
            store_output<T>(u[v], p, at, lane + v * LANES, scale, gate[v]);
}

template <typename T, int LANES, int VECTORS>
static void launch_vectors(const norm_params &p, cudaStream_t stream)
{
    const int64_t runs = p.rows * p.groups, runs_per_block = block_threads<LANES> / LANES;
    norm_vectors<T, LANES, VECTORS>
        <<<(unsigned)sq_ceil_div(runs, runs_per_block), block_threads<LANES>, 0, stream>>>(p);
}

/* Few vectors a thread keep many threads, and so many loads, in flight. */
template <typename T>
static bool launch_width(const norm_params &p, cudaStream_t stream)
{
    const int vectors = p.width / sq_per_vector<T>;
    if (vectors <= 8)
        launch_vectors<T, 8, 1>(p, stream);
    else if (vectors <= 32)
        launch_vectors<T, 32, 1>(p, stream);
    else if (vectors <= 64)
        launch_vectors<T, 32, 2>(p, stream);
    else if (vectors <= 128)
        launch_vectors<T, 32, 4>(p, stream);
    else if (vectors <= 256)
        launch_vectors<T, 128, 2>(p, stream);
    else if (vectors <= 512)
        launch_vectors<T, 256, 2>(p, stream);
    else if (vectors <= 1024)
        launch_vectors<T, 512, 2>(p, stream);
    else if (vectors <= 2048)
        launch_vectors<T, 1024, 2>(p, stream);
    else
        return false;
    return true;
}

/* --- both --- */

sq_status sq_norm_cuda_supports(const sq_norm *norm, const sq_call *call, sq_error *why)
{
    const sq_tensor *x = &call->in[SQ_NORM_X];
    if (x->dim[0] * x->dim[1] > norm_max_runs / norm->groups)
        return sq_fail(why, SQ_UNSUPPORTED, "over 2^31 groups of rows");
    if (sq_tensor_count(x) > (int64_t)1 << 38)
        return sq_fail(why, SQ_UNSUPPORTED, "over 2^38 elements");
    return sq_supports_types(call, why);
}

static sq_status launch_forward(const sq_norm *norm, const sq_call *call, sq_error *err)
{
    const norm_params p = norm_params_of(norm, call);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (norm_is_vector(norm, call) && launch_width<T>(p, sq_stream(call)))
            return SQ_OK;
        if (p.width <= 1024)
            launch_scalar<T, 32>(p, sq_stream(call));
        else
            launch_scalar<T, SCALAR_THREADS>(p, sq_stream(call));
        return SQ_OK;
    }));
    return sq_launched(call->op->name, err);
}

sq_status sq_norm_cuda_launch(const sq_norm *norm, const sq_call *call, sq_error *err)
{
    return call->pass == SQ_PASS_BWD ? sq_norm_cuda_backward(norm, call, err)
                                     : launch_forward(norm, call, err);
}
