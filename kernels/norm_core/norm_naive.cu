/* norm on CUDA, cuda/naive: see norm.h and norm_bwd.c for the formulas.
 *
 * fwd: a thread for each element of y, which sums its run (a group of a row) for itself. bwd: one
 * for the sums of each run, then one for each element of dx, and one for each of dw and db.
 */
#include "kernels/hw/naive.cuh"
#include "kernels/norm_core/norm_channel.cuh"
#include "kernels/norm_core/norm_cuda.h"

template <typename T>
struct norm_naive_forward : norm_params {
    /* x + r */
    __device__ float sum(const norm_place &at, int64_t i) const
    {
        const float own = sq_to_f32(norm_at<const T>(x, at)[i]);
        return r.data ? own + norm_kept<T>(*this, r, at, (int)i) : own;
    }
    __device__ float open(const norm_place &at, int64_t i) const
    {
        return sq_silu(sq_to_f32(norm_at<const T>(z, at)[i]));
    }
    __device__ float input(const norm_place &at, int64_t i) const
    {
        return gate == SQ_NORM_GATE_PRE ? sum(at, i) * open(at, i) : sum(at, i);
    }

    __device__ void operator()(int64_t i) const
    {
        const int64_t channel = i % ((int64_t)groups * width);
        const norm_place at =
            norm_place_of(*this, (uint32_t)(i / width / groups), (uint32_t)(channel / width));
        float mean = 0.0f;
        if (is_centred)
            mean = sq_naive_sum(0, width, [&](int64_t k) { return input(at, k); }) / (float)width;
        const float squares = sq_naive_sum(0, width, [&](int64_t k) {
            const float c = input(at, k) - mean;
            return c * c;
        });
        const int64_t own = i % width;
        float out = (input(at, own) - mean) / sqrtf(squares / (float)width + eps);
        out = out * (w ? w[channel] : 1.0f) + (bias ? bias[channel] : 0.0f);
        if (gate == SQ_NORM_GATE_POST)
            out *= open(at, own);
        norm_at<T>(y, at)[own] = sq_from_f32<T>(out);
        if (r.data)
            norm_keep<T>(*this, s, at, (int)own, sum(at, own));
    }
};

/* runs: of each group of a row. */
struct norm_naive_gradient_params : norm_params {
    moments *runs;
    float *dw, *db;

    __device__ norm_place place(int64_t run) const
    {
        return norm_place_of(*this, (uint32_t)(run / groups), (uint32_t)(run % groups));
    }
    __device__ float weight(const norm_place &at, int i) const
    {
        return w ? w[(int64_t)at.g * width + i] : 1.0f;
    }
};

template <typename T>
struct norm_naive_moments : norm_naive_gradient_params {
    __device__ void operator()(int64_t run) const
    {
        const norm_place at = place(run);
        float mean = 0.0f, sums[3] = {0.0f, 0.0f, 0.0f};
        if (is_centred)
            mean = sq_naive_sum(0, width,
                                [&](int64_t i) { return scalar_channel<T>(*this, at, (int)i).u; }) /
                   (float)width;
        for (int start = 0; start < width; start += SQ_NAIVE_PART) {
            float part[3] = {0.0f, 0.0f, 0.0f};
            for (int i = start; i < start + SQ_NAIVE_PART && i < width; i++)
                add_to_sums(part, scalar_channel<T>(*this, at, i), mean, weight(at, i));
            for (int k = 0; k < 3; k++)
                sums[k] += part[k];
        }
        runs[run] = moments_of(*this, mean, sums);
    }
};

template <typename T>
struct norm_naive_rows : norm_naive_gradient_params {
    __device__ void operator()(int64_t i) const
    {
        const norm_place at = place(i / width);
        const int own = (int)(i % width);
        const float b = bias ? bias[(int64_t)at.g * width + own] : 0.0f;
        const gradients d =
            gradients_of(*this, scalar_channel<T>(*this, at, own), runs[i / width],
                         norm_kept<T>(*this, s, at, own), sq_to_f32(norm_at<const T>(dy, at)[own]),
                         weight(at, own), b);
        const float sum = ds.data ? d.dx + norm_kept<T>(*this, ds, at, own) : d.dx;
        norm_at<T>(dx, at)[own] = sq_from_f32<T>(sum);
        if (dr.data)
            norm_keep<T>(*this, dr, at, own, sum);
        if (dz.data)
            norm_at<T>(dz, at)[own] = sq_from_f32<T>(d.dz);
    }
};

/* Element of dw and db. */
template <typename T>
struct norm_naive_columns : norm_naive_gradient_params {
    __device__ void operator()(int64_t column) const
    {
        const int g = (int)(column / width), own = (int)(column % width);
        float sum_w = 0.0f, sum_b = 0.0f;
        for (int64_t b = 0; b < rows / length; b++) {
            sum_b += sq_naive_sum(0, length, [&](int64_t l) {
                return scalar_channel<T>(*this, {b, l, g}, own).affine;
            });
            sum_w += sq_naive_sum(0, length, [&](int64_t l) {
                const moments m = runs[(b * length + l) * groups + g];
                const channel c = scalar_channel<T>(*this, {b, l, g}, own);
                return c.affine * ((c.u - m.mean) * m.scale);
            });
        }
        if (db)
            db[column] = sum_b;
        if (dw)
            dw[column] = sum_w;
    }
};

size_t sq_norm_naive_workspace(const sq_norm *norm, const sq_call *call)
{
    const sq_tensor *x = &call->in[SQ_NORM_X];
    if (call->pass != SQ_PASS_BWD)
        return 0;
    return (size_t)(x->dim[0] * x->dim[1] * norm->groups) * sizeof(moments);
}

template <typename T>
static sq_status launch_backward(const sq_call *call, const norm_naive_gradient_params &p,
                                 sq_error *err)
{
    const int64_t runs = p.rows * p.groups;
    SQ_TRY(sq_naive_run(call, norm_naive_moments<T>{p}, runs, err));
    SQ_TRY(sq_naive_run(call, norm_naive_rows<T>{p}, runs * p.width, err));
    if (!p.dw && !p.db)
        return SQ_OK;
    return sq_naive_run(call, norm_naive_columns<T>{p}, (int64_t)p.groups * p.width, err);
}

sq_status sq_norm_naive_launch(const sq_norm *norm, const sq_call *call, sq_error *err)
{
    const norm_params p = norm_params_of(norm, call);
    return sq_with_type(call->dtype, err, [&](auto type) {
        using T = decltype(type);
        if (call->pass != SQ_PASS_BWD)
            return sq_naive_run(call, norm_naive_forward<T>{p}, p.rows * p.groups * p.width, err);
        const norm_naive_gradient_params of_loss = {p, (moments *)call->workspace,
                                                    (float *)call->out[SQ_NORM_W].data,
                                                    (float *)call->out[SQ_NORM_B].data};
        return launch_backward<T>(call, of_loss, err);
    });
}
