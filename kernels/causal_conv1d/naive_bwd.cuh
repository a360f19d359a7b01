/* naive_bwd: pass bwd of causal_conv1d's cuda/naive: a thread for each element of a gradient, which
 * makes the sums before SiLU again. Included by causal_conv1d.cu alone.
 */
#ifndef SQ_KERNELS_CAUSAL_CONV1D_NAIVE_BWD_CUH
#define SQ_KERNELS_CAUSAL_CONV1D_NAIVE_BWD_CUH

#include "kernels/causal_conv1d/conv_args.cuh"
#include "kernels/hw/naive.cuh"

namespace sq_causal_conv1d
{

template <typename T>
struct naive_grads {
    conv_args<T> p;
    back_args<T> g;
    int64_t batch;

    __device__ float da(int64_t b, int64_t t, int64_t d) const
    {
        const float dy = sq_to_f32(g.dy.row(b, t)[d]);
        return p.has_silu ? dy * silu_slope(convolve(p, b, t, d)) : dy;
    }
    /* Of input t, which may be one before the sequence. */
    __device__ float dx(int64_t b, int64_t t, int64_t d) const
    {
        const T *more = handed_on(p, g, b, t);
        float sum = more ? sq_to_f32(more[d]) : 0.0f;
        for (int64_t i = t < 0 ? -t : 0; i < p.taps && t + i < p.length; i++)
            sum += sq_to_f32(p.w[d * p.w_stride + p.taps - 1 - i]) * da(b, t + i, d);
        return sum;
    }
};

/* Element (b, row, d) of dx, or of dinitial: rows from `first` on. */
template <typename T>
struct naive_dx {
    naive_grads<T> n;
    row_view<T> to;
    int64_t rows, first;

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i % n.p.channels, row = i / n.p.channels % rows;
        const int64_t b = i / n.p.channels / rows;
        to.row(b, row)[d] = sq_from_f32<T>(n.dx(b, first + row, d));
    }
};

/* Element (d, k) of dw; k = W: db. */
template <typename T>
struct naive_dw {
    naive_grads<T> n;

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i / (n.p.taps + 1), k = i % (n.p.taps + 1), past = n.p.taps - 1 - k;
        float sum = 0.0f;
        for (int64_t b = 0; b < n.batch; b++)
            sum += sq_naive_sum(0, n.p.length, [&](int64_t t) {
                const T *x = k < n.p.taps ? input_row(n.p, b, t - past) : nullptr;
                return n.da(b, t, d) * (x ? sq_to_f32(x[d]) : k < n.p.taps ? 0.0f : 1.0f);
            });
        if (k < n.p.taps)
            n.g.dw[d * n.g.dw_stride + k] = sq_from_f32<T>(sum);
        else if (n.g.dbias)
            n.g.dbias[d] = sq_from_f32<T>(sum);
    }
};

template <typename T>
sq_status naive_backward(const sq_call *call, sq_error *err)
{
    const conv_args<T> p = args_of<T>(call);
    const naive_grads<T> n = {p, back_args_of<T>(call), call->in[IN_X].dim[0]};
    const int64_t rows = n.batch * p.channels, past = p.taps - 1;
    const naive_dx<T> dx = {n, n.g.dx, p.length, 0}, dinitial = {n, n.g.dinitial, past, -past};
    SQ_TRY(sq_naive_run(call, dx, rows * p.length, err));
    if (n.g.dinitial.data)
        SQ_TRY(sq_naive_run(call, dinitial, rows * past, err));
    return sq_naive_run(call, naive_dw<T>{n}, p.channels * (p.taps + 1), err);
}

} // namespace sq_causal_conv1d

#endif
