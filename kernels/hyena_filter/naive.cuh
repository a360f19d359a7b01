/* naive: cuda/naive of hyena_filter, pass fwd: a thread for each element of a layer, which goes
 * through the workspace, then one for each tap. Included by hyena_filter.cu alone.
 */
#ifndef SQ_KERNELS_HYENA_FILTER_NAIVE_CUH
#define SQ_KERNELS_HYENA_FILTER_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/hyena_filter/hyena_filter.h"

namespace sq_hyena
{

/* Element (t, f) of a layer: a = sin(freq x), x = w in + b. */
struct naive_layer {
    sq_naive_tensor<float> in, w, b, freq;
    float *a;
    int from, width;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i / width, f = i % width;
        float x = b.load(f);
        for (int k = 0; k < from; k++)
            x += w.load(f, k) * in.load(t, k);
        a[i] = sinf(freq.load(f) * x);
    }
};

/* Tap (b, d, t), from the last layer. */
struct naive_tap {
    sq_naive_tensor<float> a, out, delta, time, h;
    int64_t length, channels;
    int width;
    float shift;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i % length, d = i / length % channels, b = i / length / channels;
        float sum = 0.0f;
        for (int f = 0; f < width; f++)
            sum += out.load(b, d, f) * a.load(t, f);
        h.store(sum * (expf(-time.load(t) * fabsf(delta.load(b, d))) + shift), b, d, t);
    }
};

/* The layers, one behind the other. */
inline size_t naive_workspace(const sq_call *call)
{
    return (size_t)(MOST_LAYERS * call->in[IN_T].dim[0] * call->in[IN_FREQ].dim[0]) * sizeof(float);
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    const sq_tensor *in = call->in, *h = &call->out[0];
    const int64_t length = h->dim[2], width = in[IN_FREQ].dim[0];
    sq_naive_tensor<float> now = sq_naive_of<float>(in[IN_Z]);
    for (int i = 0; i <= (int)call->axis[AXIS_INNER]; i++) {
        const sq_tensor *w = &in[IN_W0 + 2 * i];
        float *a = (float *)call->workspace + i * length * width;
        const naive_layer layer = {now,
                                   sq_naive_of<float>(*w),
                                   sq_naive_of<float>(in[IN_B0 + 2 * i]),
                                   sq_naive_of<float>(in[IN_FREQ]),
                                   a,
                                   (int)w->dim[1],
                                   (int)width};
        SQ_TRY(sq_naive_run(call, layer, length * width, err));
        now = {a, {width, 1}};
    }
    const naive_tap tap = {now,
                           sq_naive_of<float>(in[IN_OUT]),
                           sq_naive_of<float>(in[IN_DELTA]),
                           sq_naive_of<float>(in[IN_T]),
                           sq_naive_of<float>(*h),
                           length,
                           h->dim[1],
                           (int)width,
                           (float)call->axis[AXIS_SHIFT]};
    return sq_naive_run(call, tap, sq_tensor_count(h), err);
}

} // namespace sq_hyena

#endif
