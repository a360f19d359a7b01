/* row_modes: the parameters of s4_kernel on the device, as s4_kernel_ref.c reads them on the host.
 */
#ifndef SQ_KERNELS_S4_KERNEL_ROW_MODES_CUH
#define SQ_KERNELS_S4_KERNEL_ROW_MODES_CUH

#include <cuda_runtime.h>

#include "kernels/s4_kernel/s4_kernel.h"

namespace sq_s4
{

struct row_modes {
    const float *log_dt, *a_real, *a_imag, *b, *p, *c;
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n;
    int64_t p_stride_r, p_stride_s, p_stride_n, c_stride_b, c_stride_d, c_stride_n, copies;
    int count, rank;
    double sign;
    bool has_pairs;

    __device__ static sq_c64 pair(const float *at) { return sq_c64_of(at[0], at[1]); }

    __device__ sq_s4_mode of(int64_t d, int n) const
    {
        const int64_t s = d % copies;
        sq_s4_mode m;
        m.dt = exp((double)log_dt[d * log_dt_stride]);
        m.a = sq_ssm_pole(a_real[s * a_real_stride + n], a_imag[s * a_imag_stride + n], sign);
        m.b = pair(b + s * b_stride_s + n * b_stride_n);
        for (int k = 0; k < MAX_RANK; k++)
            m.p[k] = k < rank ? pair(p + k * p_stride_r + s * p_stride_s + n * p_stride_n)
                              : sq_c64_of(0, 0);
        m.is_pair = has_pairs;
        return m;
    }

    __device__ sq_c64 output(int64_t filter, int64_t d, int n) const
    {
        return pair(c + filter * c_stride_b + d * c_stride_d + n * c_stride_n);
    }
};

inline row_modes modes_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    row_modes m = {};
    m.log_dt = (const float *)in[IN_LOG_DT].data;
    m.a_real = (const float *)in[IN_A_REAL].data;
    m.a_imag = (const float *)in[IN_A_IMAG].data;
    m.b = (const float *)in[IN_GAIN].data;
    m.p = (const float *)in[IN_P].data;
    m.c = (const float *)in[IN_C].data;
    m.log_dt_stride = in[IN_LOG_DT].stride[0];
    m.a_real_stride = in[IN_A_REAL].stride[0];
    m.a_imag_stride = in[IN_A_IMAG].stride[0];
    m.b_stride_s = in[IN_GAIN].stride[0];
    m.b_stride_n = in[IN_GAIN].stride[1];
    m.p_stride_r = in[IN_P].stride[0];
    m.p_stride_s = in[IN_P].stride[1];
    m.p_stride_n = in[IN_P].stride[2];
    m.c_stride_b = in[IN_C].stride[0];
    m.c_stride_d = in[IN_C].stride[1];
    m.c_stride_n = in[IN_C].stride[2];
    m.copies = in[IN_A_REAL].dim[0];
    m.count = (int)in[IN_A_REAL].dim[1];
    m.rank = (int)call->axis[AXIS_R];
    m.sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    m.has_pairs = call->axis[AXIS_PAIRS] != 0;
    return m;
}

} // namespace sq_s4

#endif
