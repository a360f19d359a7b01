/* hyena_filter on CUDA. The operator: hyena_filter.c.
 *
 *   cuda/naive      a thread for each element of a layer, and for each tap (naive.cuh)
 *   cuda/portable   fwd: a block runs the network at 16 steps; its last layer (L, F) goes through
 *                   the workspace to tiles of 64 channels by 64 steps. bwd: gradient.cuh
 */
#include <cuda_runtime.h>

#include "kernels/hw/launch.cuh"
#include "kernels/hyena_filter/gradient.cuh"
#include "kernels/hyena_filter/naive.cuh"

namespace
{

using namespace sq_hyena;

enum { TILE = 64, TILE_K = 16, TILE_THREADS = 256, SIDE = 4 };

/* h[c][t] = (out[c] . a[t]) window; c = b D + d. A thread has SIDE x SIDE taps of a TILE x TILE
 * block: rows ty + 16 i, columns tx + 16 k, so that lanes write neighbours. Grid: (t, c tiles). */
__global__ void __launch_bounds__(TILE_THREADS)
    taps_tile(outputs o, const float *a, const float *time, int64_t time_stride, int64_t length,
              int width, float shift)
{
    __shared__ float w[TILE_K][TILE + 1], x[TILE_K][TILE + 1];
    const int64_t t0 = (int64_t)blockIdx.x * TILE;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int64_t c0 = (int64_t)blockIdx.y * TILE; c0 < o.count; c0 += (int64_t)gridDim.y * TILE) {
        float sum[SIDE][SIDE] = {};
        for (int k0 = 0; k0 < width; k0 += TILE_K) {
            __syncthreads();
#pragma unroll
            for (int i = 0; i < TILE * TILE_K / TILE_THREADS; i++) {
                const int k = threadIdx.x % TILE_K, r = threadIdx.x / TILE_K + 16 * i;
                const bool is_inside = k0 + k < width;
                w[k][r] = is_inside && c0 + r < o.count ? o.weight(c0 + r)[k0 + k] : 0.0f;
                x[k][r] = is_inside && t0 + r < length ? a[(t0 + r) * width + k0 + k] : 0.0f;
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < TILE_K; k++)
#pragma unroll
                for (int i = 0; i < SIDE; i++)
#pragma unroll
                    for (int j = 0; j < SIDE; j++)
                        sum[i][j] = fmaf(w[k][ty + 16 * i], x[k][tx + 16 * j], sum[i][j]);
        }
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
                const int64_t c = c0 + ty + 16 * i, t = t0 + tx + 16 * j;
                if (c < o.count && t < length)
                    o.taps(c)[t] =
                        sum[i][j] * (expf(-time[t * time_stride] * fabsf(o.decay(c))) + shift);
            }
    }
}

sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    const bool is_forward = call->pass == SQ_PASS_FWD;
    return sq_supports_shared(device, is_forward ? network_shared(call) : gradient_shared(call),
                              why);
}

size_t workspace(const sq_call *call)
{
    if (call->pass != SQ_PASS_FWD)
        return gradient_workspace(call);
    return call->in[IN_T].dim[0] * call->in[IN_FREQ].dim[0] * sizeof(float);
}

sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    if (call->pass != SQ_PASS_FWD)
        return launch_gradient(call, err);
    const sq_tensor *time = &call->in[IN_T];
    const int64_t length = time->dim[0], count = call->in[IN_OUT].dim[0] * call->in[IN_OUT].dim[1];
    float *a = (float *)call->workspace;
    SQ_TRY(launch_network(call, a, err));
    const dim3 grid((unsigned)sq_ceil_div(length, TILE),
                    (unsigned)min(sq_ceil_div(count, TILE), (int64_t)65535));
    taps_tile<<<grid, TILE_THREADS, 0, sq_stream(call)>>>(
        outputs_of(call), a, (const float *)time->data, time->stride[0], length,
        (int)call->in[IN_FREQ].dim[0], (float)call->axis[AXIS_SHIFT]);
    return sq_launched("hyena_filter taps", err);
}

} // namespace

extern "C" const sq_provider sq_cuda_hyena_filter[] = {
    {"cuda/naive", "a thread for each element of a layer, and for each tap", sq_naive_supports,
     naive_workspace, NULL, naive_launch, NULL, SQ_HAS_BWD, NULL},
    {"cuda/portable", "the network by 16 steps, taps by tiles of 64 by 64", supports, workspace,
     NULL, launch, NULL, SQ_HAS_BWD, NULL},
    {NULL},
};
