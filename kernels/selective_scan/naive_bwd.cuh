/* naive_bwd: pass bwd of selective_scan's cuda/naive, line by line selective_scan_bwd.c: a thread for
 * each state of a channel, which goes up and down in time and leaves every h_t and g_t in the
 * workspace (2 N + 1 numbers a token and channel, f32), then for each element of a gradient. Walks, and
 * sums over tokens and channels, are f64: over 2,000 steps those of f32 cost dA 1e-5. Included by
 * selective_scan.cu alone.
 */
#ifndef SQ_KERNELS_SELECTIVE_SCAN_NAIVE_BWD_CUH
#define SQ_KERNELS_SELECTIVE_SCAN_NAIVE_BWD_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/selective_scan/selective_scan.h"

namespace sq_selective_scan
{

/* B or C, or its gradient: of groups and steps, or constant in time and of channels. */
template <typename T>
struct naive_projection {
    sq_naive_tensor<T> varying;
    sq_naive_tensor<float> constant;

    naive_projection(const sq_tensor &t) : varying(), constant()
    {
        if (t.rank == 2)
            constant = sq_naive_of<float>(t);
        else
            varying = sq_naive_of<T>(t);
    }
};

/* h, g: (B, L, D, N); dstep: of delta_t + delta_bias, (B, L, D). */
template <typename T>
struct naive_back {
    sq_naive_tensor<T> u, delta, z, dy, du, ddelta, dz;
    sq_naive_tensor<float> a, skip, bias, initial, dfinal, da, dskip, dbias, dinitial;
    naive_projection<T> in_b, in_c, db, dc;
    float *h, *g, *dstep;
    int64_t batch, length, channels, groups, states;
    bool has_softplus;

    __device__ int64_t at(int64_t b, int64_t t, int64_t d) const
    {
        return (b * length + t) * channels + d;
    }
    __device__ float load(const naive_projection<T> &p, int64_t b, int64_t t, int64_t d,
                          int64_t n) const
    {
        return p.constant.data ? p.constant.load(d, n)
                               : p.varying.load(b, t, d / (channels / groups), n);
    }
    __device__ float raw_step(int64_t b, int64_t t, int64_t d) const
    {
        return delta.load(b, t, d) + (bias.data ? bias.load(d) : 0.0f);
    }
    __device__ bool is_soft(float raw) const { return has_softplus && raw <= 20.0f; }
    __device__ float step(int64_t b, int64_t t, int64_t d) const
    {
        const float raw = raw_step(b, t, d);
        return is_soft(raw) ? log1pf(expf(raw)) : raw;
    }
    /* dy_t silu(z_t) */
    __device__ float e(int64_t b, int64_t t, int64_t d) const
    {
        const float x = z.data ? z.load(b, t, d) : 0.0f;
        return dy.load(b, t, d) * (z.data ? x / (1.0f + expf(-x)) : 1.0f);
    }
    __device__ float before(int64_t b, int64_t t, int64_t d, int64_t n) const
    {
        if (t > 0)
            return h[at(b, t - 1, d) * states + n];
        return initial.data ? initial.load(b, d, n) : 0.0f;
    }
    template <typename F>
    __device__ void each_token(F f) const
    {
        for (int64_t b = 0; b < batch; b++)
            for (int64_t t = 0; t < length; t++)
                f(b, t);
    }
};

/* State n of channel d of a sequence. */
template <typename T>
struct naive_state_back {
    naive_back<T> s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t n = i % s.states, d = i / s.states % s.channels;
        const int64_t b = i / s.states / s.channels;
        const float rate = s.a.load(d, n);
        double h = s.initial.data ? s.initial.load(b, d, n) : 0.0f;
        for (int64_t t = 0; t < s.length; t++) {
            const double step = s.step(b, t, d);
            h = exp(step * rate) * h + step * s.u.load(b, t, d) * s.load(s.in_b, b, t, d, n);
            s.h[s.at(b, t, d) * s.states + n] = (float)h;
        }
        double carried = s.dfinal.data ? s.dfinal.load(b, d, n) : 0.0f;
        for (int64_t t = s.length - 1; t >= 0; t--) {
            const double g = (double)s.e(b, t, d) * s.load(s.in_c, b, t, d, n) + carried;
            s.g[s.at(b, t, d) * s.states + n] = (float)g;
            carried = exp((double)s.step(b, t, d) * rate) * g;
        }
        if (s.dinitial.data)
            s.dinitial.store((float)carried, b, d, n);
    }
};

/* Element (b, t, d) of du, ddelta and dz. */
template <typename T>
struct naive_token_back {
    naive_back<T> s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i % s.channels, t = i / s.channels % s.length;
        const int64_t b = i / s.channels / s.length;
        const float u = s.u.load(b, t, d), e = s.e(b, t, d), raw = s.raw_step(b, t, d);
        const float step = s.step(b, t, d), skip = s.skip.data ? s.skip.load(d) : 0.0f;
        double y = skip * u, du = e * skip, dstep = 0;
        for (int64_t n = 0; n < s.states; n++) {
            const float g = s.g[i * s.states + n], in_b = s.load(s.in_b, b, t, d, n);
            const float rate = s.a.load(d, n), kept = expf(step * rate) * s.before(b, t, d, n);
            y += (double)s.load(s.in_c, b, t, d, n) * s.h[i * s.states + n];
            du += (double)g * step * in_b;
            dstep += (double)g * (rate * kept + in_b * u);
        }
        if (s.is_soft(raw))
            dstep /= 1.0f + expf(-raw);
        s.dstep[i] = (float)dstep;
        s.du.store((float)du, b, t, d);
        s.ddelta.store((float)dstep, b, t, d);
        if (!s.z.data)
            return;
        const float z = s.z.load(b, t, d), slope = 1.0f / (1.0f + expf(-z));
        s.dz.store(s.dy.load(b, t, d) * (float)y * slope * (1.0f + z * (1.0f - slope)), b, t, d);
    }
};

/* Element (b, t, group, n) of dB and dC: over the channels of the group. */
template <typename T>
struct naive_projection_back {
    naive_back<T> s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t n = i % s.states, group = i / s.states % s.groups;
        const int64_t t = i / s.states / s.groups % s.length;
        const int64_t b = i / s.states / s.groups / s.length, each = s.channels / s.groups;
        double db = 0, dc = 0;
        for (int64_t d = group * each; d < (group + 1) * each; d++) {
            const int64_t at = s.at(b, t, d) * s.states + n;
            db += (double)s.g[at] * s.step(b, t, d) * s.u.load(b, t, d);
            dc += (double)s.e(b, t, d) * s.h[at];
        }
        if (s.db.varying.data)
            s.db.varying.store((float)db, b, t, group, n);
        if (s.dc.varying.data)
            s.dc.varying.store((float)dc, b, t, group, n);
    }
};

/* Element (d, n) of dA, and of dB and dC where those are constant: over all tokens. */
template <typename T>
struct naive_parameter_back {
    naive_back<T> s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t n = i % s.states, d = i / s.states;
        const float rate = s.a.load(d, n);
        double da = 0, db = 0, dc = 0;
        s.each_token([&](int64_t b, int64_t t) {
            const int64_t at = s.at(b, t, d) * s.states + n;
            const float step = s.step(b, t, d);
            const double of_step = (double)s.g[at] * step;
            da += of_step * expf(step * rate) * s.before(b, t, d, n);
            db += of_step * s.u.load(b, t, d);
            dc += (double)s.e(b, t, d) * s.h[at];
        });
        s.da.store((float)da, d, n);
        if (s.db.constant.data)
            s.db.constant.store((float)db, d, n);
        if (s.dc.constant.data)
            s.dc.constant.store((float)dc, d, n);
    }
};

/* Element d of dD and of the gradient of delta_bias. */
template <typename T>
struct naive_channel_back {
    naive_back<T> s;

    __device__ void operator()(int64_t d) const
    {
        double dskip = 0, dbias = 0;
        s.each_token([&](int64_t b, int64_t t) {
            dskip += (double)s.e(b, t, d) * s.u.load(b, t, d);
            dbias += s.dstep[s.at(b, t, d)];
        });
        if (s.dskip.data)
            s.dskip.store((float)dskip, d);
        if (s.dbias.data)
            s.dbias.store((float)dbias, d);
    }
};

inline size_t naive_workspace(const sq_call *call)
{
    const int64_t *dim = call->in[IN_U].dim, states = call->in[IN_A].dim[1];
    if (call->pass != SQ_PASS_BWD)
        return 0;
    return sizeof(float) * (size_t)(dim[0] * dim[1] * dim[2] * (2 * states + 1));
}

template <typename T>
naive_back<T> naive_back_of(const sq_call *call)
{
    const sq_tensor *in = call->in, *out = call->out;
    const auto tokens = [](const sq_tensor &t) { return sq_naive_of<T>(t); };
    const auto numbers = [](const sq_tensor &t) { return sq_naive_of<float>(t); };
    const int64_t *dim = in[IN_U].dim, states = in[IN_A].dim[1];
    float *h = (float *)call->workspace, *g = h + dim[0] * dim[1] * dim[2] * states;
    return {tokens(in[IN_U]),
            tokens(in[IN_DELTA]),
            tokens(in[IN_Z]),
            tokens(in[IN_DY]),
            tokens(out[IN_U]),
            tokens(out[IN_DELTA]),
            tokens(out[IN_Z]),
            numbers(in[IN_A]),
            numbers(in[IN_SKIP]),
            numbers(in[IN_BIAS]),
            numbers(in[IN_INITIAL]),
            numbers(in[IN_DFINAL]),
            numbers(out[IN_A]),
            numbers(out[IN_SKIP]),
            numbers(out[IN_BIAS]),
            numbers(out[IN_INITIAL]),
            in[IN_B],
            in[IN_C],
            out[IN_B],
            out[IN_C],
            h,
            g,
            g + (g - h),
            dim[0],
            dim[1],
            dim[2],
            (int64_t)call->axis[AXIS_G],
            states,
            call->axis[AXIS_SOFTPLUS] != 0};
}

template <typename T>
sq_status naive_backward(const sq_call *call, sq_error *err)
{
    const naive_back<T> s = naive_back_of<T>(call);
    const int64_t tokens = s.batch * s.length, states = s.channels * s.states;
    SQ_TRY(sq_naive_run(call, naive_state_back<T>{s}, s.batch * states, err));
    SQ_TRY(sq_naive_run(call, naive_token_back<T>{s}, tokens * s.channels, err));
    if (s.db.varying.data || s.dc.varying.data)
        SQ_TRY(sq_naive_run(call, naive_projection_back<T>{s}, tokens * s.groups * s.states, err));
    SQ_TRY(sq_naive_run(call, naive_parameter_back<T>{s}, states, err));
    return sq_naive_run(call, naive_channel_back<T>{s}, s.channels, err);
}

} // namespace sq_selective_scan

#endif
