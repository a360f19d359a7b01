/* naive_bwd: pass bwd of linear's cuda/naive: a thread for each element of a gradient. Included by
 * linear.cu alone.
 */
#ifndef SQ_KERNELS_LINEAR_NAIVE_BWD_CUH
#define SQ_KERNELS_LINEAR_NAIVE_BWD_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/linear/linear_params.cuh"

/* pre: what fwd saved of an activation, (B L, N); rows m = b L + l. */
template <typename T>
struct linear_naive_grads {
    sq_naive_tensor<T> x, w, dy, dx, dw, db, dr;
    const T *pre;
    int64_t rows, length, k, n;
    int act;

    __device__ float dz(int64_t m, int64_t j) const
    {
        const float of_y = dy.load(m / length, m % length, j);
        return act == LINEAR_ACT_NONE ? of_y
                                      : of_y * linear_act_slope(act, sq_to_f32(pre[m * n + j]));
    }
};

template <typename T>
struct linear_naive_dx {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t at) const
    {
        const int64_t i = at % g.k, m = at / g.k;
        const float sum =
            sq_naive_sum(0, g.n, [&](int64_t j) { return g.dz(m, j) * g.w.load(j, i); });
        g.dx.store(sum, m / g.length, m % g.length, i);
    }
};

template <typename T>
struct linear_naive_dw {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t at) const
    {
        const int64_t i = at % g.k, j = at / g.k;
        const float sum = sq_naive_sum(0, g.rows, [&](int64_t m) {
            return g.dz(m, j) * g.x.load(m / g.length, m % g.length, i);
        });
        g.dw.store(sum, j, i);
    }
};

template <typename T>
struct linear_naive_db {
    linear_naive_grads<T> g;

    __device__ void operator()(int64_t j) const
    {
        g.db.store(sq_naive_sum(0, g.rows, [&](int64_t m) { return g.dz(m, j); }), j);
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
    g.length = in[IN_X].dim[1], g.rows = in[IN_X].dim[0] * g.length;
    g.k = in[IN_X].dim[2], g.n = in[IN_W].dim[0], g.act = (int)call->axis[AXIS_ACT];
    SQ_TRY(sq_naive_run(call, linear_naive_dx<T>{g}, g.rows * g.k, err));
    SQ_TRY(sq_naive_run(call, linear_naive_dw<T>{g}, g.n * g.k, err));
    if (g.db.data)
        SQ_TRY(sq_naive_run(call, linear_naive_db<T>{g}, g.n, err));
    return g.dr.data ? sq_naive_run(call, linear_naive_dr<T>{g}, g.rows * g.n, err) : SQ_OK;
}

#endif
