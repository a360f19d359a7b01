/* naive: cuda/naive of hyena_filter: a thread for each element of a layer, which goes through the
 * workspace, then one for each tap, or for each element of a gradient. Included by hyena_filter.cu
 * alone.
 */
#ifndef SQ_KERNELS_HYENA_FILTER_NAIVE_CUH
#define SQ_KERNELS_HYENA_FILTER_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/hyena_filter/hyena_filter.h"

namespace sq_hyena
{

/* Element (t, f) of a layer: a = sin(freq x), x = w in + b. */
struct naive_layer {
    sq_naive_tensor<float> in, w, b, freq, a, x;
    int64_t from, width;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i / width, f = i % width;
        float sum = b.load(f);
        for (int64_t k = 0; k < from; k++)
            sum += w.load(f, k) * in.load(t, k);
        x.store(sum, t, f);
        a.store(sinf(freq.load(f) * sum), t, f);
    }
};

/* What is behind the layers. a: the last one. */
struct naive_taps {
    sq_naive_tensor<float> a, out, delta, time;
    int64_t filters, length, channels, width;
    float shift;

    __device__ float decay(int64_t b, int64_t d, int64_t t) const
    {
        return expf(-time.load(t) * fabsf(delta.load(b, d)));
    }
    __device__ float product(int64_t b, int64_t d, int64_t t) const
    {
        float sum = 0.0f;
        for (int64_t f = 0; f < width; f++)
            sum += out.load(b, d, f) * a.load(t, f);
        return sum;
    }
};

/* Tap (b, d, t). */
struct naive_tap {
    naive_taps n;
    sq_naive_tensor<float> h;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i % n.length, d = i / n.length % n.channels,
                      b = i / n.length / n.channels;
        h.store(n.product(b, d, t) * (n.decay(b, d, t) + n.shift), b, d, t);
    }
};

/* The layers in the workspace, (L, F) each: a, x and, in pass bwd, the gradients of a. */
inline sq_naive_tensor<float> naive_rows(const sq_call *call, int which, int layer)
{
    const int64_t length = call->in[IN_T].dim[0], width = call->in[IN_FREQ].dim[0];
    return {(float *)call->workspace + (which * MOST_LAYERS + layer) * length * width, {width, 1}};
}

inline size_t naive_workspace(const sq_call *call)
{
    const int64_t rows = call->in[IN_T].dim[0] * (call->pass == SQ_PASS_BWD ? 3 : 2);
    return (size_t)(rows * MOST_LAYERS * call->in[IN_FREQ].dim[0]) * sizeof(float);
}

inline sq_status naive_layers(const sq_call *call, sq_error *err)
{
    const sq_tensor *in = call->in;
    sq_naive_tensor<float> now = sq_naive_of<float>(in[IN_Z]);
    for (int i = 0; i <= (int)call->axis[AXIS_INNER]; i++) {
        const sq_tensor *w = &in[IN_W0 + 2 * i];
        const naive_layer layer = {now,
                                   sq_naive_of<float>(*w),
                                   sq_naive_of<float>(in[IN_B0 + 2 * i]),
                                   sq_naive_of<float>(in[IN_FREQ]),
                                   naive_rows(call, 0, i),
                                   naive_rows(call, 1, i),
                                   w->dim[1],
                                   w->dim[0]};
        SQ_TRY(sq_naive_run(call, layer, in[IN_T].dim[0] * w->dim[0], err));
        now = layer.a;
    }
    return SQ_OK;
}

inline naive_taps naive_taps_of(const sq_call *call)
{
    const sq_tensor *in = call->in, *out = &in[IN_OUT];
    return {naive_rows(call, 0, (int)call->axis[AXIS_INNER]),
            sq_naive_of<float>(*out),
            sq_naive_of<float>(in[IN_DELTA]),
            sq_naive_of<float>(in[IN_T]),
            out->dim[0],
            in[IN_T].dim[0],
            out->dim[1],
            out->dim[2],
            (float)call->axis[AXIS_SHIFT]};
}

/* --- bwd: hyena_filter_bwd.c --- */

/* Element (b, d, f) of the gradient of out. */
struct naive_dout {
    naive_taps n;
    sq_naive_tensor<float> dh, dout;

    __device__ void operator()(int64_t i) const
    {
        const int64_t f = i % n.width, d = i / n.width % n.channels, b = i / n.width / n.channels;
        const float sum = sq_naive_sum(0, n.length, [&](int64_t t) {
            return dh.load(b, d, t) * (n.decay(b, d, t) + n.shift) * n.a.load(t, f);
        });
        dout.store(sum, b, d, f);
    }
};

/* Element (b, d) of the gradient of delta. */
struct naive_ddelta {
    naive_taps n;
    sq_naive_tensor<float> dh, ddelta;

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i % n.channels, b = i / n.channels;
        const float sign = n.delta.load(b, d) < 0.0f ? -1.0f : 1.0f;
        const float sum = sq_naive_sum(0, n.length, [&](int64_t t) {
            return dh.load(b, d, t) * n.product(b, d, t) * n.decay(b, d, t) * n.time.load(t);
        });
        ddelta.store(-sign * sum, b, d);
    }
};

/* Step t: the gradient of its time. */
struct naive_dtime {
    naive_taps n;
    sq_naive_tensor<float> dh, dtime;

    __device__ void operator()(int64_t t) const
    {
        const float sum = sq_naive_sum(0, n.filters * n.channels, [&](int64_t i) {
            const int64_t b = i / n.channels, d = i % n.channels;
            return dh.load(b, d, t) * n.product(b, d, t) * n.decay(b, d, t) *
                   fabsf(n.delta.load(b, d));
        });
        dtime.store(-sum, t);
    }
};

/* Element (t, f) of the gradient of the last layer. */
struct naive_dlast {
    naive_taps n;
    sq_naive_tensor<float> dh, da;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i / n.width, f = i % n.width;
        const float sum = sq_naive_sum(0, n.filters * n.channels, [&](int64_t k) {
            const int64_t b = k / n.channels, d = k % n.channels;
            return dh.load(b, d, t) * (n.decay(b, d, t) + n.shift) * n.out.load(b, d, f);
        });
        da.store(sum, t, f);
    }
};

/* One layer. slope: da cos(freq x), of freq x. */
struct naive_layer_back {
    sq_naive_tensor<float> in, w, freq, x, da, din, dw, db;
    int64_t length, from, width;

    __device__ float slope(int64_t t, int64_t f) const
    {
        return da.load(t, f) * cosf(freq.load(f) * x.load(t, f));
    }
};

/* Element (t, k) of the gradient of what came in. */
struct naive_din {
    naive_layer_back n;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i / n.from, k = i % n.from;
        float sum = 0.0f;
        for (int64_t f = 0; f < n.width; f++)
            sum += n.slope(t, f) * n.freq.load(f) * n.w.load(f, k);
        n.din.store(sum, t, k);
    }
};

/* Element (f, k) of dw; k = from: db. */
struct naive_dw {
    naive_layer_back n;

    __device__ void operator()(int64_t i) const
    {
        const int64_t f = i / (n.from + 1), k = i % (n.from + 1);
        const float sum = sq_naive_sum(0, n.length, [&](int64_t t) {
            return n.slope(t, f) * (k < n.from ? n.in.load(t, k) : 1.0f);
        });
        if (k < n.from)
            n.dw.store(sum * n.freq.load(f), f, k);
        else
            n.db.store(sum * n.freq.load(f), f);
    }
};

/* Element f of the gradient of freq, over all layers. */
struct naive_dfreq {
    naive_layer_back layer[MOST_LAYERS];
    sq_naive_tensor<float> dfreq;
    int layers;

    __device__ void operator()(int64_t f) const
    {
        float sum = 0.0f;
        for (int i = 0; i < layers; i++)
            sum += sq_naive_sum(0, layer[i].length, [&](int64_t t) {
                return layer[i].slope(t, f) * layer[i].x.load(t, f);
            });
        dfreq.store(sum, f);
    }
};

inline naive_layer_back naive_layer_back_of(const sq_call *call, int i)
{
    const sq_tensor *in = call->in, *out = call->out, *w = &in[IN_W0 + 2 * i];
    return {i > 0 ? naive_rows(call, 0, i - 1) : sq_naive_of<float>(in[IN_Z]),
            sq_naive_of<float>(*w),
            sq_naive_of<float>(in[IN_FREQ]),
            naive_rows(call, 1, i),
            naive_rows(call, 2, i),
            i > 0 ? naive_rows(call, 2, i - 1) : sq_naive_of<float>(out[IN_Z]),
            sq_naive_of<float>(out[IN_W0 + 2 * i]),
            sq_naive_of<float>(out[IN_B0 + 2 * i]),
            in[IN_T].dim[0],
            w->dim[1],
            w->dim[0]};
}

inline sq_status naive_backward(const sq_call *call, sq_error *err)
{
    const naive_taps n = naive_taps_of(call);
    const sq_tensor *out = call->out;
    const sq_naive_tensor<float> dh = sq_naive_of<float>(call->in[IN_COUNT]);
    const int64_t rows = n.filters * n.channels;
    naive_dfreq dfreq = {{}, sq_naive_of<float>(out[IN_FREQ]), 1 + (int)call->axis[AXIS_INNER]};
    const naive_dout dout = {n, dh, sq_naive_of<float>(out[IN_OUT])};
    const naive_ddelta ddelta = {n, dh, sq_naive_of<float>(out[IN_DELTA])};
    const naive_dtime dtime = {n, dh, sq_naive_of<float>(out[IN_T])};
    const naive_dlast dlast = {n, dh, naive_rows(call, 2, dfreq.layers - 1)};
    SQ_TRY(sq_naive_run(call, dout, rows * n.width, err));
    SQ_TRY(sq_naive_run(call, ddelta, rows, err));
    SQ_TRY(sq_naive_run(call, dtime, n.length, err));
    SQ_TRY(sq_naive_run(call, dlast, n.length * n.width, err));
    for (int i = dfreq.layers - 1; i >= 0; i--) {
        const naive_layer_back layer = dfreq.layer[i] = naive_layer_back_of(call, i);
        SQ_TRY(sq_naive_run(call, naive_din{layer}, n.length * layer.from, err));
        SQ_TRY(sq_naive_run(call, naive_dw{layer}, n.width * (layer.from + 1), err));
    }
    return sq_naive_run(call, dfreq, n.width, err);
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    SQ_TRY(naive_layers(call, err));
    if (call->pass == SQ_PASS_BWD)
        return naive_backward(call, err);
    const sq_tensor *h = &call->out[0];
    const naive_tap tap = {naive_taps_of(call), sq_naive_of<float>(*h)};
    return sq_naive_run(call, tap, sq_tensor_count(h), err);
}

} // namespace sq_hyena

#endif
