/* network: hyena_filter's layers on the device, and its outputs by channel. */
#ifndef SQ_KERNELS_HYENA_FILTER_NETWORK_CUH
#define SQ_KERNELS_HYENA_FILTER_NETWORK_CUH

#include <cuda_runtime.h>

#include "kernels/hw/launch.cuh"
#include "kernels/hyena_filter/hyena_filter.h"

namespace sq_hyena
{

enum { STEPS = 16, NETWORK_THREADS = 256 };

struct layer {
    const float *w, *b;
    int64_t w_stride, b_stride;
};

struct network {
    layer at[MOST_LAYERS];
    const float *z, *freq;
    int64_t z_stride, freq_stride, length;
    int layers, width, features;
};

inline network network_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    network net = {};
    for (int i = 0; i < MOST_LAYERS; i++)
        net.at[i] = {(const float *)in[IN_W0 + 2 * i].data, (const float *)in[IN_B0 + 2 * i].data,
                     in[IN_W0 + 2 * i].stride[0], in[IN_B0 + 2 * i].stride[0]};
    net.z = (const float *)in[IN_Z].data;
    net.freq = (const float *)in[IN_FREQ].data;
    net.z_stride = in[IN_Z].stride[0];
    net.freq_stride = in[IN_FREQ].stride[0];
    net.length = in[IN_T].dim[0];
    net.layers = 1 + (int)call->axis[AXIS_INNER];
    net.width = (int)in[IN_FREQ].dim[0];
    net.features = (int)in[IN_Z].dim[1];
    return net;
}

/* (B, D, ...) by c = b D + d. */
struct outputs {
    const float *out, *delta;
    float *h;
    int64_t out_stride_b, out_stride_d, delta_stride_b, delta_stride_d, h_stride_b, h_stride_d;
    int64_t channels, count;

    __device__ const float *weight(int64_t c) const
    {
        return out + c / channels * out_stride_b + c % channels * out_stride_d;
    }
    __device__ float decay(int64_t c) const
    {
        return delta[c / channels * delta_stride_b + c % channels * delta_stride_d];
    }
    __device__ float *taps(int64_t c) const
    {
        return h + c / channels * h_stride_b + c % channels * h_stride_d;
    }
};

inline outputs outputs_of(const sq_call *call)
{
    const sq_tensor *out = &call->in[IN_OUT], *delta = &call->in[IN_DELTA], *h = &call->out[0];
    return {(const float *)out->data,
            (const float *)delta->data,
            (float *)h->data,
            out->stride[0],
            out->stride[1],
            delta->stride[0],
            delta->stride[1],
            h->stride[0],
            h->stride[1],
            out->dim[1],
            out->dim[0] * out->dim[1]};
}

/* next[s][f] = sin(freq (w now[s] + b)) of a layer; now and next: STEPS rows of `stride` floats; x
 * NULL, or what the sine is taken of, over freq. A thread has a feature at all steps. */
__device__ inline void run_layer(const network &net, int i, const float *now, float *next, float *x,
                                 int stride)
{
    const int from = i == 0 ? net.features : net.width;
    for (int f = threadIdx.x; f < net.width; f += NETWORK_THREADS) {
        const float *w = net.at[i].w + f * net.at[i].w_stride;
        float sum[STEPS];
#pragma unroll
        for (int s = 0; s < STEPS; s++)
            sum[s] = net.at[i].b[f * net.at[i].b_stride];
        for (int k = 0; k < from; k++) {
            const float weight = w[k];
#pragma unroll
            for (int s = 0; s < STEPS; s++)
                sum[s] = fmaf(weight, now[s * stride + k], sum[s]);
        }
        const float freq = net.freq[f * net.freq_stride];
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            next[s * stride + f] = sinf(freq * sum[s]);
            if (x)
                x[s * stride + f] = sum[s];
        }
    }
}

/* a[t][f]: the last layer. Shared memory: two times STEPS rows of max(E, F) floats. */
static __global__ void __launch_bounds__(NETWORK_THREADS)
    run_network(network net, int stride, float *a)
{
    extern __shared__ float memory[];
    float *now = memory, *next = memory + STEPS * stride;
    const int64_t t0 = (int64_t)blockIdx.x * STEPS;
    for (int i = threadIdx.x; i < STEPS * net.features; i += NETWORK_THREADS) {
        const int s = i / net.features, k = i % net.features;
        now[s * stride + k] = t0 + s < net.length ? net.z[(t0 + s) * net.z_stride + k] : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < net.layers; i++) {
        run_layer(net, i, now, next, NULL, stride);
        __syncthreads();
        float *swapped = now;
        now = next;
        next = swapped;
    }
    for (int i = threadIdx.x; i < STEPS * net.width; i += NETWORK_THREADS) {
        const int s = i / net.width, f = i % net.width;
        if (t0 + s < net.length)
            a[(t0 + s) * net.width + f] = now[s * stride + f];
    }
}

inline int network_stride(const sq_call *call)
{
    return (int)max(call->in[IN_Z].dim[1], call->in[IN_FREQ].dim[0]);
}

inline size_t network_shared(const sq_call *call)
{
    return 2 * STEPS * network_stride(call) * sizeof(float);
}

inline sq_status launch_network(const sq_call *call, float *a, sq_error *err)
{
    const unsigned blocks = (unsigned)sq_ceil_div(call->in[IN_T].dim[0], STEPS);
    run_network<<<blocks, NETWORK_THREADS, network_shared(call), sq_stream(call)>>>(
        network_of(call), network_stride(call), a);
    return sq_launched("hyena_filter network", err);
}

} // namespace sq_hyena

#endif
