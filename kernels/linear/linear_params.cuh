/* linear_params: one product of rows as the kernels of this folder take it, and the activations. */
#ifndef SQ_KERNELS_LINEAR_PARAMS_CUH
#define SQ_KERNELS_LINEAR_PARAMS_CUH

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/linear/linear.h"

/* x: M rows of K, w: N rows of K, y and r: M rows of N; row m of x, r and y lies at
 * m / length * _b + m % length * _m, in elements. pre: M x N, dense, what the activation is of, for
 * a pass bwd to come. */
struct linear_params {
    const void *x, *w, *bias, *r; /* bias, r: NULL where absent */
    void *y, *pre;                /* pre: NULL where nobody asks */
    int64_t x_b, x_m, w_n, r_b, r_m, y_b, y_m;
    int64_t m, length;
    int n, k, act;
};

__device__ __forceinline__ int64_t linear_row(const linear_params &p, int64_t m, int64_t stride_b,
                                              int64_t stride_m)
{
    return m / p.length * stride_b + m % p.length * stride_m;
}

__device__ __forceinline__ float linear_sigmoid(float a)
{
    return __fdividef(1.0f, 1.0f + sq_exp(-a));
}

#define LINEAR_GELU_SCALE 0.79788456f /* sqrt(2 / pi) */
#define LINEAR_GELU_CUBE 0.044715f

/* See linear.c. */
__device__ __forceinline__ float linear_act(int act, float a)
{
    switch (act) {
    case LINEAR_ACT_RELU:
        return fmaxf(a, 0.0f);
    case LINEAR_ACT_GELU:
        return 0.5f * a * erfcf(-0.70710678f * a);
    case LINEAR_ACT_GELU_TANH:
        return a * linear_sigmoid(2.0f * LINEAR_GELU_SCALE * fmaf(LINEAR_GELU_CUBE * a, a * a, a));
    case LINEAR_ACT_SILU:
        return a * linear_sigmoid(a);
    default:
        return a;
    }
}

__device__ __forceinline__ float linear_act_slope(int act, float a)
{
    float s;
    switch (act) {
    case LINEAR_ACT_RELU:
        return a > 0.0f ? 1.0f : 0.0f;
    case LINEAR_ACT_GELU:
        return 0.5f * erfcf(-0.70710678f * a) +
               0.5f * LINEAR_GELU_SCALE * a * sq_exp(-0.5f * a * a);
    case LINEAR_ACT_GELU_TANH:
        s = linear_sigmoid(2.0f * LINEAR_GELU_SCALE * fmaf(LINEAR_GELU_CUBE * a, a * a, a));
        return s + a * s * (1.0f - s) * 2.0f * LINEAR_GELU_SCALE *
                       fmaf(3.0f * LINEAR_GELU_CUBE * a, a, 1.0f);
    case LINEAR_ACT_SILU:
        s = linear_sigmoid(a);
        return s * fmaf(a, 1.0f - s, 1.0f);
    default:
        return 1.0f;
    }
}

/* linear.cu: launches the product, on tensor cores where type, sizes and alignment let it. */
sq_status sq_linear_product(const linear_params *p, sq_dtype dtype, cudaStream_t stream,
                            sq_error *err);
/* linear_bwd.cu: cuda/portable, pass bwd. */
sq_status sq_linear_backward_supports(const sq_call *call, sq_error *why);
size_t sq_linear_backward_workspace(const sq_call *call);
sq_status sq_linear_cuda_backward(const sq_call *call, sq_error *err);
/* linear_bwd.cu, for every provider: db (db NULL: nothing) from rows of dz, parts in workspace; and
 * dr, a copy of dy, where there is a residual. */
size_t sq_linear_bias_workspace(const sq_call *call);
sq_status sq_linear_bias_gradient(const sq_call *call, const void *dz, int64_t dz_b, int64_t dz_m,
                                  float *parts, sq_error *err);
sq_status sq_linear_residual_gradient(const sq_call *call, sq_error *err);

#endif
