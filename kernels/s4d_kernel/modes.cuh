/* modes: the parameters of s4d_kernel on the device, as s4d_kernel.c reads them on the host. */
#ifndef SQ_KERNELS_S4D_KERNEL_MODES_CUH
#define SQ_KERNELS_S4D_KERNEL_MODES_CUH

#include <cuda_runtime.h>

#include "kernels/hw/pairs.cuh"
#include "kernels/s4d_kernel/s4d_kernel.h"

namespace sq_s4d
{

/* A mode of a channel: see sq_s4d_mode. */
using mode = sq_s4d_mode;

struct modes {
    const float *log_dt, *a_real, *a_imag, *b; /* b == NULL: 1 */
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n, copies;
    int count, rule;
    double sign;

    __device__ mode of(int64_t d, int n) const
    {
        const int64_t s = d % copies;
        mode m;
        m.dt = exp((double)log_dt[d * log_dt_stride]);
        m.sign = sign;
        m.a = sq_ssm_pole(a_real[s * a_real_stride + n], a_imag[s * a_imag_stride + n], sign);
        m.b = sq_c64_of(1, 0);
        if (b)
            m.b = sq_c64_of(b[s * b_stride_s + n * b_stride_n],
                            b[s * b_stride_s + n * b_stride_n + 1]);
        m.step = sq_ssm_discretise(rule, m.dt, m.a);
        return m;
    }
};

inline modes modes_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    modes m = {};
    m.log_dt = (const float *)in[IN_LOG_DT].data;
    m.a_real = (const float *)in[IN_A_REAL].data;
    m.a_imag = (const float *)in[IN_A_IMAG].data;
    m.b = (const float *)in[IN_GAIN].data;
    m.log_dt_stride = in[IN_LOG_DT].stride[0];
    m.a_real_stride = in[IN_A_REAL].stride[0];
    m.a_imag_stride = in[IN_A_IMAG].stride[0];
    m.b_stride_s = in[IN_GAIN].stride[0];
    m.b_stride_n = in[IN_GAIN].stride[1];
    m.copies = in[IN_A_REAL].dim[0];
    m.count = (int)in[IN_A_REAL].dim[1];
    m.rule = (int)call->axis[AXIS_DISC];
    m.sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    return m;
}

/* (B, D, L) */
struct rows {
    float *data;
    int64_t stride_b, stride_d;

    __device__ float *at(int64_t b, int64_t d) const { return data + b * stride_b + d * stride_d; }
};

inline rows rows_of(const sq_tensor *t)
{
    return {(float *)t->data, t->stride[0], t->stride[1]};
}

/* z = 2^log2_abs e^(2 pi i turns); z = 0 becomes the smallest of all. */
__device__ inline void log_of(sq_c64 z, double *log2_abs, double *turns)
{
    *log2_abs = fmax(log2(hypot(z.re, z.im)), -4000.0);
    *turns = atan2(z.im, z.re) * 0.15915494309189533577;
}

/* z^t, exact to f32 for any t. */
__device__ inline sq_c64 power_of(double log2_abs, double turns, double t)
{
    const double r = exp2(t * log2_abs), angle = t * turns;
    double s, c;
    sincospi(2 * (angle - rint(angle)), &s, &c);
    return sq_c64_of(r * c, r * s);
}

} // namespace sq_s4d

#endif
