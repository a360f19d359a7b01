/* naive_bwd: pass bwd of linear's cuda/naive: a thread for each element of a gradient. Included by
 * linear.cu alone.
 */
#ifndef SQ_KERNELS_LINEAR_NAIVE_BWD_CUH
#define SQ_KERNELS_LINEAR_NAIVE_BWD_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/linear/linear_params.cuh"

/* pre: what fwd saved of an activation, (B, L, N). */
template <typename T>
struct linear_naive_grads {
    sq_naive_tensor<T> x, w, dy, dx, dw, db, dr;
    const T *pre;
    int64_t batch, length, k, n;
    int act;

    __device__ float dz(int64_t b, int64_t l, int64_t j) const
    {
        const float of_y = dy.load(b, l, j);
        if (act == LINEAR_ACT_NONE)
            return of_y;
        return of_y * linear_act_slope(act, sq_to_f32(pre[(b * length + l) * n + j]));
    }
};

template <typename T>
struct linear_naive_dx {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t at) const
    {
        const int64_t i = at % g.k, l = at / g.k % g.length, b = at / g.k / g.length;
        const float sum =
            sq_naive_sum(0, g.n, [&](int64_t j) { return g.dz(b, l, j) * g.w.load(j, i); });
        g.dx.store(sum, b, l, i);
    }
};

template <typename T>
struct linear_naive_dw {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t at) const
    {
        const int64_t i = at % g.k, j = at / g.k;
        float sum = 0.0f;
        for (int64_t b = 0; b < g.batch; b++)
            sum += sq_naive_sum(0, g.length,
                                [&](int64_t l) { return g.dz(b, l, j) * g.x.load(b, l, i); });
        g.dw.store(sum, j, i);
    }
};

template <typename T>
struct linear_naive_db {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t j) const
    {
        float sum = 0.0f;
        for (int64_t b = 0; b < g.batch; b++)
            sum += sq_naive_sum(0, g.length, [&](int64_t l) { return g.dz(b, l, j); });
        g.db.store(sum, j);
    }
};

template <typename T>
struct linear_naive_dr {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t at) const
    {
        const int64_t j = at % g.n, l = at / g.n % g.length, b = at / g.n / g.length;
        g.dr.store(g.dy.load(b, l, j), b, l, j);
    }
};

template <typename T>
sq_status linear_naive_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *in = call->in, *out = call->out;
    linear_naive_grads<T> g = {sq_naive_of<T>(in[IN_X]),  sq_naive_of<T>(in[IN_W]),
                               sq_naive_of<T>(in[IN_DY]), sq_naive_of<T>(out[IN_X]),
                               sq_naive_of<T>(out[IN_W]), sq_naive_of<T>(out[IN_BIAS]),
                               sq_naive_of<T>(out[IN_R]), (const T *)call->saved};
    g.batch = in[IN_X].dim[0], g.length = in[IN_X].dim[1];
    g.k = in[IN_X].dim[2], g.n = in[IN_W].dim[0], g.act = (int)call->axis[AXIS_ACT];
    const int64_t rows = g.batch * g.length;
    SQ_TRY(sq_naive_run(call, linear_naive_dx<T>{g}, rows * g.k, err));
    SQ_TRY(sq_naive_run(call, linear_naive_dw<T>{g}, g.n * g.k, err));
    if (g.db.data)
        SQ_TRY(sq_naive_run(call, linear_naive_db<T>{g}, g.n, err));
    return g.dr.data ? sq_naive_run(call, linear_naive_dr<T>{g}, rows * g.n, err) : SQ_OK;
}

#endif
