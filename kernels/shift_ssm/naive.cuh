/* naive: cuda/naive of shift_ssm: a thread for each element of an output; the filter, and its
 * gradient, go through the workspace. shift_ssm.c and shift_ssm_bwd.c have the equations. Included
 * by shift_ssm.cu alone.
 */
#ifndef SQ_KERNELS_SHIFT_SSM_NAIVE_CUH
#define SQ_KERNELS_SHIFT_SSM_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/shift_ssm/shift_ssm.h"

namespace sq_shift_ssm
{

enum { IN_DY = IN_COUNT, IN_DFINAL };

/* at: a step, or a state. */
struct naive_place {
    int64_t batch, at, d;
};

/* taps: k, dtaps: its gradient, (D, N) each. The tensors of pass bwd: dy to dinitial. */
template <typename T>
struct naive {
    sq_naive_tensor<T> u, y, dy, du;
    sq_naive_tensor<float> b, c, skip, initial, final, dfinal, db, dc, dskip, dinitial;
    float *taps, *dtaps;
    int64_t batch, length, channels, states;

    /* Of a (B, L, D) and of a (B, D, N) tensor; of a (D, N) one the batch is 0. */
    __device__ naive_place step(int64_t i) const
    {
        return {i / channels / length, i / channels % length, i % channels};
    }
    __device__ naive_place state(int64_t i) const
    {
        return {i / states / channels, i % states, i / states % channels};
    }
};

template <typename T>
naive<T> naive_of(const sq_call *call)
{
    const sq_tensor *in = call->in, *out = call->out;
    const bool is_bwd = call->pass == SQ_PASS_BWD;
    naive<T> p = {};
    p.u = sq_naive_of<T>(in[IN_U]), p.b = sq_naive_of<float>(in[IN_GAIN]);
    p.c = sq_naive_of<float>(in[IN_C]), p.skip = sq_naive_of<float>(in[IN_SKIP]);
    p.initial = sq_naive_of<float>(in[IN_INITIAL]);
    if (is_bwd) {
        p.dy = sq_naive_of<T>(in[IN_DY]), p.dfinal = sq_naive_of<float>(in[IN_DFINAL]);
        p.du = sq_naive_of<T>(out[IN_U]), p.db = sq_naive_of<float>(out[IN_GAIN]);
        p.dc = sq_naive_of<float>(out[IN_C]), p.dskip = sq_naive_of<float>(out[IN_SKIP]);
        p.dinitial = sq_naive_of<float>(out[IN_INITIAL]);
    } else {
        p.y = sq_naive_of<T>(out[OUT_Y]), p.final = sq_naive_of<float>(out[OUT_FINAL]);
    }
    p.batch = in[IN_U].dim[0], p.length = in[IN_U].dim[1], p.channels = in[IN_U].dim[2];
    p.states = in[IN_C].dim[1];
    p.taps = (float *)call->workspace, p.dtaps = p.taps + p.channels * p.states;
    return p;
}

/* Element (d, j) of the filter. */
template <typename T>
struct naive_taps {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const int64_t d = at / p.states, j = at % p.states;
        float sum = 0.0f;
        for (int64_t i = 0; i + j < p.states; i++)
            sum += p.b.load(d, i) * p.c.load(d, i + j);
        p.taps[at] = sum;
    }
};

/* Element (b, t, d) of y. */
template <typename T>
struct naive_output {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const auto [batch, t, d] = p.step(at);
        float sum = p.skip.load(d) * p.u.load(batch, t, d);
        for (int64_t j = 0; j < p.states && j <= t; j++)
            sum += p.taps[d * p.states + j] * p.u.load(batch, t - j, d);
        for (int64_t n = t + 1; p.initial.data && n < p.states; n++)
            sum += p.c.load(d, n) * p.initial.load(batch, d, n - t - 1);
        p.y.store(sum, batch, t, d);
    }
};

/* Element (b, d, n) of final_state. */
template <typename T>
struct naive_final {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const auto [batch, n, d] = p.state(at);
        const int64_t last = p.length - 1;
        const bool is_kept = p.initial.data && n > last;
        float x = is_kept ? p.initial.load(batch, d, n - p.length) : 0.0f;
        for (int64_t j = 0; j <= n && j <= last; j++)
            x += p.b.load(d, n - j) * p.u.load(batch, last - j, d);
        p.final.store(x, batch, d, n);
    }
};

/* Element (b, t, d) of du. */
template <typename T>
struct naive_du {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const auto [batch, t, d] = p.step(at);
        const int64_t left = p.length - 1 - t;
        float sum = p.skip.load(d) * p.dy.load(batch, t, d);
        for (int64_t j = 0; j < p.states && j <= left; j++)
            sum += p.taps[d * p.states + j] * p.dy.load(batch, t + j, d);
        for (int64_t n = left; p.dfinal.data && n < p.states; n++)
            sum += p.dfinal.load(batch, d, n) * p.b.load(d, n - left);
        p.du.store(sum, batch, t, d);
    }
};

/* Element (d, j) of the filter's gradient; that of the skip is the one of j = 0. */
template <typename T>
struct naive_dtaps {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const int64_t d = at / p.states, j = at % p.states;
        float sum = 0.0f;
        for (int64_t batch = 0; batch < p.batch; batch++)
            sum += sq_naive_sum(j, p.length, [&](int64_t t) {
                return p.dy.load(batch, t, d) * p.u.load(batch, t - j, d);
            });
        p.dtaps[at] = sum;
        if (j == 0)
            p.dskip.store(sum, d);
    }
};

/* Elements (d, n) of db and dc. */
template <typename T>
struct naive_parameters {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const int64_t d = at / p.states, n = at % p.states, length = p.length;
        const float *of_taps = p.dtaps + d * p.states;
        float db = 0.0f, dc = 0.0f;
        for (int64_t j = 0; n + j < p.states; j++)
            db += of_taps[j] * p.c.load(d, n + j);
        for (int64_t j = 0; j <= n; j++)
            dc += of_taps[j] * p.b.load(d, n - j);
        for (int64_t batch = 0; batch < p.batch; batch++) {
            float by_final = 0.0f, by_initial = 0.0f;
            for (int64_t j = 0; p.dfinal.data && n + j < p.states && j < length; j++)
                by_final += p.dfinal.load(batch, d, n + j) * p.u.load(batch, length - 1 - j, d);
            for (int64_t t = 0; p.initial.data && t < n && t < length; t++)
                by_initial += p.dy.load(batch, t, d) * p.initial.load(batch, d, n - t - 1);
            db += by_final;
            dc += by_initial;
        }
        p.db.store(db, d, n);
        p.dc.store(dc, d, n);
    }
};

/* Element (b, d, n) of the initial state's gradient. */
template <typename T>
struct naive_dinitial {
    naive<T> p;
    __device__ void operator()(int64_t at) const
    {
        const auto [batch, n, d] = p.state(at);
        const int64_t length = p.length;
        const bool is_kept = p.dfinal.data && n + length < p.states;
        float sum = is_kept ? p.dfinal.load(batch, d, n + length) : 0.0f;
        for (int64_t t = 0; t < length && n + t + 1 < p.states; t++)
            sum += p.dy.load(batch, t, d) * p.c.load(d, n + t + 1);
        p.dinitial.store(sum, batch, d, n);
    }
};

inline size_t naive_workspace(const sq_call *call)
{
    const int64_t taps = call->in[IN_C].dim[0] * call->in[IN_C].dim[1];
    return (size_t)(taps * (call->pass == SQ_PASS_BWD ? 2 : 1)) * sizeof(float);
}

template <typename T>
sq_status naive_backward(const sq_call *call, const naive<T> &p, sq_error *err)
{
    const int64_t taps = p.channels * p.states;
    SQ_TRY(sq_naive_run(call, naive_du<T>{p}, p.batch * p.length * p.channels, err));
    SQ_TRY(sq_naive_run(call, naive_dtaps<T>{p}, taps, err));
    SQ_TRY(sq_naive_run(call, naive_parameters<T>{p}, taps, err));
    return p.dinitial.data ? sq_naive_run(call, naive_dinitial<T>{p}, p.batch * taps, err) : SQ_OK;
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        const naive<T> p = naive_of<T>(call);
        const int64_t taps = p.channels * p.states;
        SQ_TRY(sq_naive_run(call, naive_taps<T>{p}, taps, err));
        if (call->pass == SQ_PASS_BWD)
            return naive_backward<T>(call, p, err);
        SQ_TRY(sq_naive_run(call, naive_output<T>{p}, p.batch * p.length * p.channels, err));
        return p.final.data ? sq_naive_run(call, naive_final<T>{p}, p.batch * taps, err) : SQ_OK;
    });
}

} // namespace sq_shift_ssm

#endif
