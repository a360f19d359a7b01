/* naive_bwd: pass bwd of long_conv's cuda/naive: a thread for each element, by the direct sums of
 * long_conv_bwd.c; a, and the gradient of u, go through the workspace. Included by long_conv.cu
 * alone.
 */
#ifndef SQ_KERNELS_LONG_CONV_NAIVE_BWD_CUH
#define SQ_KERNELS_LONG_CONV_NAIVE_BWD_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/long_conv/backward.cuh"

namespace sq_long_conv
{

/* a, du: (B, L, products): product (h P + i) P + j is that of channels i and j of head h. */
template <typename T>
struct naive_grads {
    sq_naive_tensor<T> v, x1, x0, dy, dv, dx1, dx0;
    sq_naive_tensor<float> dh, dr, dbias;
    filters f;
    float *a, *du;
    int64_t batch, length, heads, width;
    bool is_gelu;

    __device__ int64_t products() const { return heads * width * width; }
    __device__ int64_t at(int64_t b, int64_t t, int64_t product) const
    {
        return (b * length + t) * products() + product;
    }
    __device__ int64_t head(int64_t product) const { return product / width / width; }
    /* Channels of v and x0, of x1 and of y. */
    __device__ int64_t first(int64_t product) const { return product / width; }
    __device__ int64_t second(int64_t product) const
    {
        return head(product) * width + product % width;
    }
    __device__ int64_t out(int64_t product) const
    {
        return product % width * heads + head(product);
    }

    __device__ float u(int64_t b, int64_t t, int64_t product) const
    {
        const float value = v.load(b, t, first(product));
        return x1.data ? value * x1.load(b, t, second(product)) : value;
    }
    /* The gradient of a. */
    __device__ float g(int64_t b, int64_t t, int64_t product) const
    {
        const float value =
            dy.load(b, t, out(product)) * activation_slope(a[at(b, t, product)], is_gelu);
        return x0.data ? value * x0.load(b, t, first(product)) : value;
    }
};

/* An element of a; BACK: of du, where the taps go the other way in time. */
template <typename T, bool BACK>
struct naive_sums {
    naive_grads<T> n;

    __device__ void operator()(int64_t i) const
    {
        const int64_t product = i % n.products(), t = i / n.products() % n.length;
        const int64_t b = i / n.products() / n.length, head = n.head(product);
        const int64_t first = BACK && !n.f.r ? t : 0, last = BACK || n.f.r ? n.length : t + 1;
        (BACK ? n.du : n.a)[i] = sq_naive_sum(first, last, [&](int64_t s) {
            return BACK ? n.f.tap(head, s - t) * n.g(b, s, product)
                        : n.f.tap(head, t - s) * n.u(b, s, product);
        });
    }
};

/* Element (b, t, channel) of dv, dx1 and dx0: over the products of the channel. */
template <typename T>
struct naive_inputs {
    naive_grads<T> n;

    __device__ void operator()(int64_t i) const
    {
        const int64_t channels = n.heads * n.width, c = i % channels, t = i / channels % n.length;
        const int64_t b = i / channels / n.length, head = c / n.width;
        float dv = 0.0f, dx1 = 0.0f, dx0 = 0.0f;
        for (int64_t k = 0; k < n.width; k++) {
            const int64_t row = c * n.width + k;
            const int64_t column = (head * n.width + k) * n.width + c % n.width;
            const float by_row = n.du[n.at(b, t, row)];
            dv += n.x1.data ? by_row * n.x1.load(b, t, n.second(row)) : by_row;
            dx1 += n.du[n.at(b, t, column)] * n.v.load(b, t, n.first(column));
            dx0 += n.dy.load(b, t, n.out(row)) * activated(n.a[n.at(b, t, row)], n.is_gelu);
        }
        n.dv.store(dv, b, t, c);
        if (n.x1.data)
            n.dx1.store(dx1, b, t, c);
        if (n.x0.data)
            n.dx0.store(dx0, b, t, c);
    }
};

/* Tap (head, k) of dh and of dr; dbias is dh_0. */
template <typename T>
struct naive_taps {
    naive_grads<T> n;

    __device__ void operator()(int64_t i) const
    {
        const int64_t head = i % n.heads, k = i / n.heads, each = n.width * n.width;
        float dh = 0.0f, dr = 0.0f;
        for (int64_t row = 0; row < n.batch * each; row++) {
            const int64_t b = row / each, product = head * each + row % each;
            dh += sq_naive_sum(k, n.length, [&](int64_t t) {
                return n.g(b, t, product) * n.u(b, t - k, product);
            });
            if (n.f.r)
                dr += sq_naive_sum(0, n.length - k, [&](int64_t t) {
                    return n.g(b, t, product) * n.u(b, t + k, product);
                });
        }
        n.dh.store(dh, head, k);
        if (n.f.r)
            n.dr.store(dr, head, k);
        if (k == 0)
            n.dbias.store(dh, head);
    }
};

inline size_t naive_workspace(const sq_call *call)
{
    const int64_t *dim = call->in[IN_V].dim;
    if (call->pass != SQ_PASS_BWD)
        return 0;
    return 2 * sizeof(float) * (size_t)(dim[0] * dim[1] * products_of(call));
}

template <typename T>
sq_status naive_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *in = call->in, *out = call->out;
    const int64_t *dim = in[IN_V].dim, rows = dim[0] * dim[1] * products_of(call);
    naive_grads<T> n = {};
    n.v = sq_naive_of<T>(in[IN_V]), n.x1 = sq_naive_of<T>(in[IN_X1]);
    n.x0 = sq_naive_of<T>(in[IN_X0]), n.dy = sq_naive_of<T>(in[IN_DY]);
    n.dv = sq_naive_of<T>(out[IN_V]), n.dx1 = sq_naive_of<T>(out[IN_X1]);
    n.dx0 = sq_naive_of<T>(out[IN_X0]), n.dh = sq_naive_of<float>(out[IN_H]);
    n.dr = sq_naive_of<float>(out[IN_R]), n.dbias = sq_naive_of<float>(out[IN_BIAS]);
    n.f = filters_of(call), n.a = (float *)call->workspace, n.du = n.a + rows;
    n.batch = dim[0], n.length = dim[1], n.heads = in[IN_H].dim[0], n.width = dim[2] / n.heads;
    n.is_gelu = call->axis[AXIS_GELU] != 0;
    SQ_TRY(sq_naive_run(call, (naive_sums<T, false>{n}), rows, err));
    SQ_TRY(sq_naive_run(call, (naive_sums<T, true>{n}), rows, err));
    SQ_TRY(sq_naive_run(call, naive_inputs<T>{n}, dim[0] * dim[1] * dim[2], err));
    return sq_naive_run(call, naive_taps<T>{n}, n.heads * n.length, err);
}

} // namespace sq_long_conv

#endif
