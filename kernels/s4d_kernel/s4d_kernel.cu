/* s4d_kernel on CUDA. The operator: s4d_kernel.c.
 *
 *   cuda/naive      a thread for each tap; bwd: for each mode of a channel (naive.cuh)
 *   cuda/portable   a block has 1024 taps of one filter. Modes and the powers that its taps start
 *                   from are f64, made once a block; a thread walks its 8 taps in f32. bwd:
 *                   s4d_backward.cuh
 */
#include <cuda_runtime.h>

#include "kernels/hw/launch.cuh"
#include "kernels/s4d_kernel/modes.cuh"
#include "kernels/s4d_kernel/naive.cuh"
#include "kernels/s4d_kernel/s4d_backward.cuh"

namespace
{

using namespace sq_s4d;

enum { THREADS = 128, TAPS = 8, TILE = THREADS * TAPS };

/* A mode as its taps need it. first: c gain z^(first tap of the block); stride: z^THREADS. */
struct tile_mode {
    double log2_abs, turns; /* of z: z^t = 2^(t log2_abs) e^(2 pi i t turns) */
    float2 first, stride;
};

__device__ float2 to_f32(sq_c64 x)
{
    return make_float2((float)x.re, (float)x.im);
}

__device__ tile_mode tile_mode_of(const modes &m, const float *c, int64_t d, int n, int64_t t0)
{
    const mode one = m.of(d, n);
    const sq_c64 gain = sq_c64_mul(one.b, one.step.f);
    tile_mode out;
    log_of(one.step.z, &out.log2_abs, &out.turns);
    out.stride = to_f32(power_of(out.log2_abs, out.turns, THREADS));
    out.first = to_f32(sq_c64_mul(sq_c64_mul(sq_c64_of(c[0], c[1]), gain),
                                  power_of(out.log2_abs, out.turns, (double)t0)));
    return out;
}

/* z^t in f32 for t < THREADS: the phase is reduced in f64 before it is rounded. */
__device__ float2 first_power(const tile_mode &m, int t)
{
    const double angle = t * m.turns;
    const float r = exp2f((float)(t * m.log2_abs));
    float s, c;
    sincospif((float)(2 * (angle - rint(angle))), &s, &c);
    return make_float2(r * c, r * s);
}

__device__ float2 multiply(float2 a, float2 b)
{
    return make_float2(fmaf(a.x, b.x, -a.y * b.y), fmaf(a.x, b.y, a.y * b.x));
}

/* h[b][d][t0 + thread + k THREADS]. Grid: (tiles, D, B). */
__global__ void __launch_bounds__(THREADS)
    filter_tile(modes m, sq_pairs c, rows h, int64_t length, int64_t channels)
{
    extern __shared__ tile_mode tile[];
    const int64_t t0 = (int64_t)blockIdx.x * TILE, b = blockIdx.z;
    for (int64_t d = blockIdx.y; d < channels; d += gridDim.y) {
        __syncthreads();
        for (int n = threadIdx.x; n < m.count; n += THREADS)
            tile[n] = tile_mode_of(m, c.at(b, d, n), d, n, t0);
        __syncthreads();
        float sum[TAPS] = {};
        for (int n = 0; n < m.count; n++) {
            float2 power = multiply(tile[n].first, first_power(tile[n], threadIdx.x));
#pragma unroll
            for (int k = 0; k < TAPS; k++) {
                sum[k] += power.x;
                power = multiply(power, tile[n].stride);
            }
        }
        float *row = h.at(b, d);
#pragma unroll
        for (int k = 0; k < TAPS; k++) {
            const int64_t t = t0 + threadIdx.x + k * THREADS;
            if (t < length)
                row[t] = 2 * sum[k];
        }
    }
}

sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (call->in[IN_C].dim[0] > 65535)
        return sq_fail(why, SQ_UNSUPPORTED, "B > 65535: filters are a grid dimension");
    return sq_supports_shared(device, call->in[IN_C].dim[2] * sizeof(tile_mode), why);
}

size_t workspace(const sq_call *call)
{
    if (call->pass == SQ_PASS_FWD)
        return 0;
    const backward_layout at = backward_layout_of(call);
    return at.partial_bytes + at.channel_bytes;
}

sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    if (call->pass != SQ_PASS_FWD)
        return launch_backward(call, err);
    const sq_tensor *h = &call->out[0];
    const dim3 grid((unsigned)sq_ceil_div(h->dim[2], TILE),
                    (unsigned)min(h->dim[1], (int64_t)65535), (unsigned)h->dim[0]);
    const size_t shared = call->in[IN_C].dim[2] * sizeof(tile_mode);
    filter_tile<<<grid, THREADS, shared, sq_stream(call)>>>(
        modes_of(call), sq_pairs_of(&call->in[IN_C]), rows_of(h), h->dim[2], h->dim[1]);
    return sq_launched("s4d_kernel", err);
}

} // namespace

extern "C" const sq_provider sq_cuda_s4d_kernel[] = {
    {"cuda/naive", "a thread for each tap, or for each mode of a channel", sq_naive_supports,
     naive_workspace, NULL, naive_launch, NULL, SQ_HAS_BWD, NULL},
    {"cuda/portable", "modes in f64, 1024 taps a block in f32", supports, workspace, NULL, launch,
     NULL, SQ_HAS_BWD, NULL},
    {NULL},
};
