/* rmsnorm on CUDA: see rmsnorm.c for the operator.
 *
 *   cuda/naive     a warp for each group of a row; reads it twice
 *   cuda/portable  16-byte loads, the group stays in registers: every byte moves once
 */
#include "kernels/hw/convert.cuh"
#include "kernels/hw/copy_sm80.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/rmsnorm/rmsnorm.h"

enum { NAIVE_WARPS = 8, THREADS = 256 };

/* Strides in elements: b batch, l position. Runs: the B * L * groups pieces normalised apart. */
struct rmsnorm_params {
    const void *x, *z;
    const float *w; /* NULL: 1 */
    void *y;
    int64_t x_b, x_l, z_b, z_l, y_b, y_l, runs;
    int64_t length;
    int groups, width, gate;
    float eps;
};

static rmsnorm_params params_of(const sq_call *call)
{
    const sq_tensor *x = &call->in[IN_X], *w = &call->in[IN_W], *z = &call->in[IN_Z],
                    *y = &call->out[0];
    rmsnorm_params p = {};
    p.x = x->data, p.w = (const float *)w->data, p.z = z->data, p.y = y->data;
    p.x_b = x->stride[0], p.x_l = x->stride[1], p.y_b = y->stride[0], p.y_l = y->stride[1];
    p.z_b = z->stride[0], p.z_l = z->stride[1];
    p.length = x->dim[1];
    p.groups = (int)call->axis[AXIS_GROUPS];
    p.width = (int)(x->dim[2] / p.groups);
    p.runs = x->dim[0] * x->dim[1] * p.groups;
    p.gate = (int)call->axis[AXIS_GATE];
    p.eps = (float)call->axis[AXIS_EPS];
    return p;
}

/* --- naive --- */

template <typename T>
__global__ void rmsnorm_naive(const __grid_constant__ rmsnorm_params p)
{
    const int64_t run = (int64_t)blockIdx.x * NAIVE_WARPS + threadIdx.x / 32;
    if (run >= p.runs)
        return;
    const int64_t row = run / p.groups, b = row / p.length, l = row % p.length;
    const int64_t channel = run % p.groups * p.width;
    const T *x = (const T *)p.x + b * p.x_b + l * p.x_l + channel;
    const T *z = (const T *)p.z + b * p.z_b + l * p.z_l + channel;
    T *y = (T *)p.y + b * p.y_b + l * p.y_l + channel;

    float sum = 0.0f;
    for (int i = (int)threadIdx.x % 32; i < p.width; i += 32) {
        float u = sq_to_f32(x[i]);
        if (p.gate == GATE_PRE)
            u *= sq_silu(sq_to_f32(z[i]));
        sum = fmaf(u, u, sum);
    }
    const float scale = rsqrtf(sq_warp_sum(sum) / (float)p.width + p.eps);
    for (int i = (int)threadIdx.x % 32; i < p.width; i += 32) {
        float u = sq_to_f32(x[i]) * scale;
        if (p.w)
            u *= p.w[channel + i];
        if (p.gate != GATE_NONE)
            u *= sq_silu(sq_to_f32(z[i]));
        y[i] = sq_from_f32<T>(u);
    }
}

static sq_status supports_naive(const sq_call *call, const sq_device *, sq_error *why)
{
    if (sq_ceil_div(params_of(call).runs, NAIVE_WARPS) > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*groups over 2^34");
    return sq_supports_types(call, why);
}

static sq_status launch_naive(const sq_call *call, void *, sq_error *err)
{
    const rmsnorm_params p = params_of(call);
    const unsigned blocks = (unsigned)sq_ceil_div(p.runs, NAIVE_WARPS);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        rmsnorm_naive<decltype(type)><<<blocks, 32 * NAIVE_WARPS, 0, sq_stream(call)>>>(p);
        return SQ_OK;
    }));
    return sq_launched("rmsnorm cuda/naive", err);
}

/* --- portable --- */

/* LANES threads (part of a warp, a warp, the block) hold one run, VECTORS 16-byte vectors each. */
template <typename T, int LANES, int VECTORS>
__global__ void __launch_bounds__(THREADS) rmsnorm_vectors(const __grid_constant__ rmsnorm_params p)
{
    constexpr int N = sq_per_vector<T>;
    __shared__ float scratch[THREADS / 32];
    const int64_t run = (int64_t)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const int lane = (int)threadIdx.x % LANES;
    /* Threads past the last run go on with nothing to load: the sums need all lanes. */
    const int vectors = run < p.runs ? p.width / N : 0;
    const uint32_t row = (uint32_t)run / (uint32_t)p.groups; /* runs < 2^31: see supports */
    const int64_t b = row / (uint32_t)p.length, l = row % (uint32_t)p.length;
    const int64_t channel = (uint32_t)run % (uint32_t)p.groups * (int64_t)p.width;
    const T *x = (const T *)p.x + b * p.x_b + l * p.x_l + channel;
    const T *z = (const T *)p.z + b * p.z_b + l * p.z_l + channel;
    T *y = (T *)p.y + b * p.y_b + l * p.y_l + channel;

    uint4 raw[VECTORS] = {}, gate[VECTORS] = {};
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        if (lane + v * LANES < vectors) {
            raw[v] = sq_load16_stream(x + (lane + v * LANES) * N);
            if (p.gate != GATE_NONE)
                gate[v] = sq_load16_stream(z + (lane + v * LANES) * N);
        }
    float u[VECTORS][N], sum = 0.0f;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        sq_unpack_vector<T>(raw[v], u[v]);
        if (p.gate == GATE_PRE) {
            float g[N];
            sq_unpack_vector<T>(gate[v], g);
#pragma unroll
            for (int i = 0; i < N; i++)
                u[v][i] *= sq_silu(g[i]);
        }
#pragma unroll
        for (int i = 0; i < N; i++)
            sum = fmaf(u[v][i], u[v][i], sum);
    }
    if constexpr (LANES <= 32)
        sum = sq_warp_sum<LANES>(sum);
    else
        sum = sq_block_sum<THREADS>(sum, scratch);
    const float scale = rsqrtf(sum / (float)p.width + p.eps);
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        if (lane + v * LANES < vectors) {
            const int at = (lane + v * LANES) * N;
            float g[N];
            sq_unpack_vector<T>(gate[v], g);
#pragma unroll
            for (int i = 0; i < N; i++) {
                u[v][i] *= scale;
                if (p.gate == GATE_POST)
                    u[v][i] *= sq_silu(g[i]);
            }
            if (p.w)
#pragma unroll
                for (int i = 0; i < N; i += 4) {
                    const float4 w = *(const float4 *)(p.w + channel + at + i);
                    u[v][i] *= w.x;
                    u[v][i + 1] *= w.y;
                    u[v][i + 2] *= w.z;
                    u[v][i + 3] *= w.w;
                }
            sq_store16(y + at, sq_pack_vector<T>(u[v]));
        }
}

enum { MAX_VECTORS = 8 * THREADS };

static sq_status supports_portable(const sq_call *call, const sq_device *, sq_error *why)
{
    SQ_TRY(sq_supports_types(call, why));
    const rmsnorm_params p = params_of(call);
    const int vector = 16 / (int)sq_dtype_size(call->dtype);
    if (p.width % vector != 0 || p.width / vector > MAX_VECTORS)
        return sq_fail(why, SQ_UNSUPPORTED, "D/groups=%d: a multiple of %d up to %d", p.width,
                       vector, MAX_VECTORS * vector);
    if (!sq_is_vector_aligned(&call->in[IN_X]) || !sq_is_vector_aligned(&call->out[0]) ||
        (call->in[IN_Z].rank > 0 && !sq_is_vector_aligned(&call->in[IN_Z])) ||
        (uintptr_t)call->in[IN_W].data % 16 != 0)
        return sq_fail(why, SQ_UNSUPPORTED, "rows are not 16-byte aligned");
    if (p.runs > INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "B*L*groups over 2^31");
    return SQ_OK;
}

template <typename T, int LANES, int VECTORS>
static void launch_vectors(const rmsnorm_params &p, cudaStream_t stream)
{
    const unsigned blocks = (unsigned)sq_ceil_div(p.runs, THREADS / LANES);
    rmsnorm_vectors<T, LANES, VECTORS><<<blocks, THREADS, 0, stream>>>(p);
}

/* The fewest threads that hold a run: several runs share a warp, then one a warp, one a block. */
template <typename T>
static void launch_width(const rmsnorm_params &p, cudaStream_t stream)
{
    const int vectors = p.width / sq_per_vector<T>;
    if (vectors <= 8)
        launch_vectors<T, 8, 1>(p, stream);
    else if (vectors <= 16)
        launch_vectors<T, 8, 2>(p, stream);
    else if (vectors <= 32)
        launch_vectors<T, 32, 1>(p, stream);
    else if (vectors <= 64)
        launch_vectors<T, 32, 2>(p, stream);
    else if (vectors <= 128)
        launch_vectors<T, 32, 4>(p, stream);
    else if (vectors <= 256)
        launch_vectors<T, 32, 8>(p, stream);
    else if (vectors <= 512)
        launch_vectors<T, THREADS, 2>(p, stream);
    else if (vectors <= 1024)
        launch_vectors<T, THREADS, 4>(p, stream);
    else
        launch_vectors<T, THREADS, 8>(p, stream);
}

static sq_status launch_portable(const sq_call *call, void *, sq_error *err)
{
    const rmsnorm_params p = params_of(call);
    SQ_TRY(sq_with_type(call->dtype, err, [&](auto type) {
        launch_width<decltype(type)>(p, sq_stream(call));
        return SQ_OK;
    }));
    return sq_launched("rmsnorm cuda/portable", err);
}

extern "C" const sq_provider sq_cuda_rmsnorm[] = {
    {"cuda/naive", "a warp for each group of a row, two passes", supports_naive, NULL, NULL,
     launch_naive, NULL},
    {"cuda/portable", "16-byte loads, the group stays in registers", supports_portable, NULL, NULL,
     launch_portable, NULL},
    {NULL},
};
