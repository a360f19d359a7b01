/* long_conv on CUDA. The operator: long_conv.c.
 *
 *   cuda/naive      one thread per output element, the sum as it is written: O(L^2); bwd:
 *                   naive_bwd.cuh
 *   cuda/portable   transforms of our own in shared memory (portable.cuh, fft.cuh) between the same
 *                   transposing kernels (rows.cuh)
 *                   bwd: portable_bwd.cuh; step: step.cuh
 *   cufft           batched transforms by cuFFT between fused transposing kernels (cufft.cu)
 */
#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/long_conv/cufft.h"
#include "kernels/long_conv/naive_bwd.cuh"
#include "kernels/long_conv/portable_bwd.cuh"
#include "kernels/long_conv/step.cuh"
#include "kernels/long_conv/rows.cuh"
#include "kernels/op.h"

namespace
{

using namespace sq_long_conv;

enum { NAIVE_THREADS = 128, NAIVE_MAX_LENGTH = 8192 };

/* --- naive --- */

/* The convolution of channels vd of v and xd of x1 by the filter of a head, at step t. */
template <typename T>
__device__ float convolve(tokens<T> v, tokens<T> x1, const filters &f, int64_t head, int64_t b,
                          int64_t t, int64_t vd, int64_t xd)
{
    float sum = 0;
    for (int64_t s = 0; s < (f.r ? f.length : t + 1); s++) {
        float u = sq_to_f32(v.data[b * v.stride_b + s * v.stride_t + vd]);
        if (x1.data)
            u *= sq_to_f32(x1.data[b * x1.stride_b + s * x1.stride_t + xd]);
        sum += (s <= t ? f.past(head, t - s) : f.ahead(head, s - t)) * u;
    }
    return sum;
}

template <typename T>
__global__ void conv_naive(tokens<T> v, tokens<T> x1, tokens<T> x0, tokens<T> y, filters f,
                           bool is_gelu, int64_t channels, int64_t width)
{
    const int64_t d = (int64_t)blockIdx.x * NAIVE_THREADS + threadIdx.x;
    const int64_t t = blockIdx.y, b = blockIdx.z;
    if (d >= channels)
        return;
    const int64_t heads = channels / width, head = d % heads, j = head * width + d / heads;
    float sum = 0;
    for (int64_t i = head * width; i < (head + 1) * width; i++) {
        float value = activated(convolve(v, x1, f, head, b, t, i, j), is_gelu);
        if (x0.data)
            value *= sq_to_f32(x0.data[b * x0.stride_b + t * x0.stride_t + i]);
        sum += value;
    }
    y.data[b * y.stride_b + t * y.stride_t + d] = sq_from_f32<T>(sum);
}

sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    const int64_t *dim = call->in[IN_V].dim;
    if (dim[1] > NAIVE_MAX_LENGTH)
        return sq_fail(why, SQ_UNSUPPORTED, "L > %d: the direct sum is quadratic in L",
                       NAIVE_MAX_LENGTH);
    if (dim[0] > 65535)
        return sq_fail(why, SQ_UNSUPPORTED, "B > 65535: the batch is a grid dimension");
    if (dim[0] * dim[1] * products_of(call) > (int64_t)SQ_NAIVE_THREADS * INT32_MAX)
        return sq_fail(why, SQ_UNSUPPORTED, "over 2^39 products of channels");
    return sq_naive_supports(call, device, why);
}

sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    const sq_tensor *in = call->in;
    const int64_t *dim = in[IN_V].dim;
    dim3 grid((unsigned)sq_ceil_div(dim[2], NAIVE_THREADS), (unsigned)dim[1], (unsigned)dim[0]);
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        if (call->pass == SQ_PASS_BWD)
            return naive_backward<T>(call, err);
        conv_naive<T><<<grid, NAIVE_THREADS, 0, sq_stream(call)>>>(
            tokens_of<T>(&in[IN_V]), tokens_of<T>(&in[IN_X1]), tokens_of<T>(&in[IN_X0]),
            tokens_of<T>(&call->out[0]), filters_of(call), call->axis[AXIS_GELU] != 0, dim[2],
            sq_axis_int(call->axis, AXIS_HEAD));
        return sq_launched("long_conv naive", err);
    });
}

/* --- portable --- */

sq_status supports_step(const sq_call *call, sq_error *why)
{
    if (step_segments(call) > 65535)
        return sq_fail(why, SQ_UNSUPPORTED, "L > %d: segments are a grid dimension",
                       65535 * STEP_SEGMENT);
    return sq_supports_types(call, why);
}

sq_status supports_portable(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (call->pass == SQ_PASS_STEP)
        return supports_step(call, why);
    SQ_TRY(sq_supports_shared(device, block_fft<MAX_LOG2_M>::BYTES, why));
    return sq_supports_types(call, why);
}

size_t workspace_portable(const sq_call *call)
{
    if (call->pass == SQ_PASS_STEP)
        return step_workspace(call);
    if (call->pass != SQ_PASS_FWD)
        return backward_workspace(call);
    portable_layout at = portable_layout_of(call);
    return at.filter_bytes + at.rows_bytes + at.spectra_bytes;
}

sq_status launch_portable(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    if (call->pass == SQ_PASS_STEP)
        return launch_step(call, err);
    if (call->pass != SQ_PASS_FWD)
        return launch_backward(call, err);
    const portable_layout at = portable_layout_of(call);
    const int64_t *dim = call->in[IN_V].dim;
    char *workspace = (char *)call->workspace;
    portable_args args = {};
    args.filter = (float2 *)workspace;
    args.rows = (float *)(workspace + at.filter_bytes);
    args.spectra = (float2 *)(workspace + at.filter_bytes + at.rows_bytes);
    args.f = filters_of(call);
    args.products = products_of(call) / call->in[IN_H].dim[0];
    args.parts = at.cut.parts;
    args.before = at.cut.before;
    return for_each_chunk(at.size, dim[0], products_of(call), [&](chunk c, bool is_new_filter) {
        args.c = c;
        SQ_TRY(launch_gather(call, c, at.cut.length, at.cut.length, args.rows, err));
        SQ_TRY(convolve_chunk_of(at.cut.log2_m, args, is_new_filter, sq_stream(call), err));
        return launch_scatter(call, c, at.cut.length, args.rows, err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_long_conv[] = {
    {"cuda/naive", "one thread per output element, the direct sum", supports_naive, naive_workspace,
     NULL, launch_naive, NULL, SQ_HAS_BWD, NULL},
    {"cuda/portable", "real transforms in shared memory, parts of 8192 steps", supports_portable,
     workspace_portable, NULL, launch_portable, NULL, SQ_HAS_BWD | SQ_HAS_STEP, NULL},
    {"cufft", "cuFFT real transforms between fused transposing kernels",
     sq_long_conv_cufft_supports, sq_long_conv_cufft_workspace, sq_long_conv_cufft_prepare,
     sq_long_conv_cufft_launch, sq_long_conv_cufft_release, SQ_HAS_BWD, NULL},
    {NULL},
};
