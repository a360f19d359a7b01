/* selective_scan on CUDA. The operator: selective_scan.c.
 *
 *   cuda/naive      one thread per (batch row, channel), serial in time: to be read and trusted
 */
#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/op.h"

namespace {

enum { IN_U, IN_DELTA, IN_A, IN_B, IN_C, IN_SKIP, IN_Z, IN_BIAS };
enum { AXIS_SOFTPLUS = 6 };

/* A (B, L, D) tensor: unit stride over channels. */
template <typename T>
struct sequence {
    T *data;
    int64_t stride_b, stride_t;
};

/* A (B, L, G, N) tensor: unit stride over states. */
template <typename T>
struct projection {
    const T *data;
    int64_t stride_b, stride_t, stride_g;
};

template <typename T>
struct scan_args {
    sequence<const T> u, delta, z; /* z.data: NULL without a gate */
    sequence<T> y;
    projection<T> b, c;
    const float *a; /* (D, N), rows a_stride apart */
    int64_t a_stride;
    const float *skip, *bias; /* (D) or NULL */
    int64_t batch, length, channels, groups, states;
    bool has_softplus;
};

template <typename T, typename Element>
sequence<T> sequence_of(const sq_tensor *t, Element)
{
    return {(T *)t->data, t->stride[0], t->stride[1]};
}

template <typename T>
projection<T> projection_of(const sq_tensor *t)
{
    return {(const T *)t->data, t->stride[0], t->stride[1], t->stride[2]};
}

template <typename T>
scan_args<T> args_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    scan_args<T> args = {};
    args.u = sequence_of<const T>(&in[IN_U], T{});
    args.delta = sequence_of<const T>(&in[IN_DELTA], T{});
    args.z = sequence_of<const T>(&in[IN_Z], T{});
    args.y = sequence_of<T>(&call->out[0], T{});
    args.b = projection_of<T>(&in[IN_B]);
    args.c = projection_of<T>(&in[IN_C]);
    args.a = (const float *)in[IN_A].data;
    args.a_stride = in[IN_A].stride[0];
    args.skip = (const float *)in[IN_SKIP].data;
    args.bias = (const float *)in[IN_BIAS].data;
    args.batch = in[IN_U].dim[0];
    args.length = in[IN_U].dim[1];
    args.channels = in[IN_U].dim[2];
    args.groups = in[IN_B].dim[2];
    args.states = in[IN_A].dim[1];
    args.has_softplus = call->axis[AXIS_SOFTPLUS] != 0;
    return args;
}

/* log(1 + e^x), x itself above 20 (there both are equal in f32). log1pf: for x = -7 the sum 1 + e^x
 * alone would cost four digits. */
__device__ __forceinline__ float softplus(float x) { return x > 20.0f ? x : log1pf(sq_exp(x)); }

/* --- naive --- */

template <typename T, int MAX_STATES>
__global__ void scan_naive(scan_args<T> p)
{
    int64_t d = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
    if (d >= p.channels)
        return;
    int64_t g = d / (p.channels / p.groups);
    const float *a_d = p.a + d * p.a_stride;
    float h[MAX_STATES] = {}; /* registers up to 16 states, local memory above */
    for (int64_t t = 0; t < p.length; t++) {
        const T *b_t = p.b.data + b * p.b.stride_b + t * p.b.stride_t + g * p.b.stride_g;
        const T *c_t = p.c.data + b * p.c.stride_b + t * p.c.stride_t + g * p.c.stride_g;
        float u = sq_to_f32(p.u.data[b * p.u.stride_b + t * p.u.stride_t + d]);
        float delta = sq_to_f32(p.delta.data[b * p.delta.stride_b + t * p.delta.stride_t + d]);
        if (p.bias)
            delta += p.bias[d];
        if (p.has_softplus)
            delta = softplus(delta);
        float y = p.skip ? p.skip[d] * u : 0.0f;
#pragma unroll(MAX_STATES <= 16 ? MAX_STATES : 1)
        for (int n = 0; n < MAX_STATES; n++) {
            if (n >= p.states)
                break;
            h[n] = expf(delta * a_d[n]) * h[n] + delta * u * sq_to_f32(b_t[n]);
            y += sq_to_f32(c_t[n]) * h[n];
        }
        if (p.z.data) {
            float z = sq_to_f32(p.z.data[b * p.z.stride_b + t * p.z.stride_t + d]);
            y *= z / (1.0f + expf(-z));
        }
        p.y.data[b * p.y.stride_b + t * p.y.stride_t + d] = sq_from_f32<T>(y);
    }
}

sq_status supports_naive(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    if (call->in[IN_U].dim[0] > 65535)
        return sq_fail(why, SQ_UNSUPPORTED, "B > 65535: the batch is a grid dimension");
    return sq_supports_types(call, why);
}

sq_status launch_naive(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        scan_args<T> args = args_of<T>(call);
        dim3 grid((unsigned)sq_ceil_div(args.channels, 64), (unsigned)args.batch);
        if (args.states <= 16)
            scan_naive<T, 16><<<grid, 64, 0, sq_stream(call)>>>(args);
        else
            scan_naive<T, 256><<<grid, 64, 0, sq_stream(call)>>>(args);
        return sq_launched("selective_scan naive", err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_selective_scan[] = {
    {"cuda/naive", "one thread per channel, serial in time", supports_naive, NULL, NULL,
     launch_naive, NULL},
    {NULL},
};
