/* naive_bwd: pass bwd of s4_kernel's cuda/naive, in f64: a thread for each point of the spectrum, then
 * for each mode of a filter, which goes over the points, then for each parameter; line by line
 * s4_kernel_bwd.c. What is between goes through the workspace: nine complex numbers of each point,
 * six of each mode. Included by s4_kernel.cu alone.
 */
#ifndef SQ_KERNELS_S4_KERNEL_NAIVE_BWD_CUH
#define SQ_KERNELS_S4_KERNEL_NAIVE_BWD_CUH

#include "kernels/s4_kernel/naive.cuh"

namespace sq_s4
{

/* dsums: (B, D, L / 2 + 1); mode: (B, D, N / 2). */
struct naive_grads {
    row_modes m;
    sq_s4_sums *dsums;
    sq_s4_mode_gradient *mode;
    sq_naive_tensor<float> dh, log_dt, a_real, a_imag, b, p, c;
    int64_t filters, length, channels;

    __device__ int64_t points() const { return length / 2 + 1; }
    __device__ void store(const sq_naive_tensor<float> &t, sq_c64 x, int64_t i, int64_t j,
                          int64_t k) const
    {
        float *at = t.at(i, j, k);
        at[0] = (float)x.re;
        at[1] = (float)x.im;
    }
};

/* The gradients of a point's sums. */
struct naive_point_back {
    naive_grads s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t j = i % s.points(), row = i / s.points();
        const int64_t d = row % s.channels, filter = row / s.channels;
        sq_c64 dh = {};
        for (int64_t t = 0; t < s.length; t++) {
            double im, re;
            sincospi(2.0 * (double)(j * t % s.length) / (double)s.length, &im, &re);
            const double x = s.dh.load(filter, d, t);
            dh = sq_c64_of(dh.re + x * re, dh.im - x * im);
        }
        const bool is_real = j == 0 || 2 * j == s.length;
        dh = sq_c64_scale(dh, (is_real ? 1.0 : 2.0) / (double)s.length);
        const sq_s4_point at = sq_s4_point_of(j, s.length);
        const sq_s4_sums sums = naive_sums(s.m, filter, d, &at);
        const sq_s4_solution solved = sq_s4_solve(&sums, at.g, s.m.rank);
        s.dsums[i] =
            sq_s4_sums_back(&solved, at.g, s.m.rank, sq_c64_of(dh.re, is_real ? 0 : dh.im));
    }
};

/* Mode n of a filter; its c. */
struct naive_mode_back {
    naive_grads s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t row = i / s.m.count, d = row % s.channels, filter = row / s.channels;
        const int n = (int)(i % s.m.count);
        const sq_s4_mode mode = s.m.of(d, n);
        const sq_c64 c = s.m.output(filter, d, n);
        sq_s4_mode_gradient sum = {};
        for (int64_t j = 0; j < s.points(); j++) {
            const sq_s4_point at = sq_s4_point_of(j, s.length);
            sq_s4_mode_back(&s.dsums[row * s.points() + j], &mode, c, &at, s.m.rank, &sum);
        }
        s.mode[i] = sum;
        s.store(s.c, sum.c, filter, d, n);
    }
};

/* Mode n of a copy of the state space: over filters and the channels that have it. */
struct naive_space_back {
    naive_grads s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t copy = i / s.m.count;
        const int n = (int)(i % s.m.count);
        sq_s4_mode_gradient sum = {};
        for (int64_t d = copy; d < s.channels; d += s.m.copies)
            for (int64_t filter = 0; filter < s.filters; filter++) {
                const sq_s4_mode_gradient *one = &s.mode[(filter * s.channels + d) * s.m.count + n];
                sum.a = sq_c64_add(sum.a, one->a);
                sum.b = sq_c64_add(sum.b, one->b);
                for (int k = 0; k < s.m.rank; k++)
                    sum.p[k] = sq_c64_add(sum.p[k], one->p[k]);
            }
        s.a_real.store((float)sq_ssm_d_a_real(s.m.of(copy, n).a, sum.a), copy, n);
        s.a_imag.store((float)sq_ssm_d_a_imag(s.m.sign, sum.a), copy, n);
        s.store(s.b, sum.b, copy, n, 0);
        for (int k = 0; k < s.m.rank; k++)
            s.store(s.p, sum.p[k], k, copy, n);
    }
};

struct naive_step_back {
    naive_grads s;

    __device__ void operator()(int64_t d) const
    {
        double sum = 0;
        for (int64_t filter = 0; filter < s.filters; filter++)
            for (int n = 0; n < s.m.count; n++)
                sum += s.mode[(filter * s.channels + d) * s.m.count + n].log_dt;
        s.log_dt.store((float)sum, d);
    }
};

inline size_t naive_backward_workspace(const sq_call *call)
{
    const int64_t *dim = call->in[IN_C].dim, points = sq_axis_int(call->axis, AXIS_L) / 2 + 1;
    return (size_t)(dim[0] * dim[1]) *
           ((size_t)points * sizeof(sq_s4_sums) + (size_t)dim[2] * sizeof(sq_s4_mode_gradient));
}

inline sq_status naive_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *dh = &call->in[IN_COUNT], *out = call->out;
    naive_grads s = {};
    s.m = modes_of(call);
    s.filters = dh->dim[0], s.channels = dh->dim[1], s.length = dh->dim[2];
    const int64_t rows = s.filters * s.channels, points = s.length / 2 + 1;
    s.dsums = (sq_s4_sums *)call->workspace;
    s.mode = (sq_s4_mode_gradient *)(s.dsums + rows * points);
    s.dh = sq_naive_of<float>(*dh), s.log_dt = sq_naive_of<float>(out[IN_LOG_DT]);
    s.a_real = sq_naive_of<float>(out[IN_A_REAL]), s.a_imag = sq_naive_of<float>(out[IN_A_IMAG]);
    s.b = sq_naive_of<float>(out[IN_GAIN]), s.p = sq_naive_of<float>(out[IN_P]);
    s.c = sq_naive_of<float>(out[IN_C]);
    SQ_TRY(sq_naive_run(call, naive_point_back{s}, rows * points, err));
    SQ_TRY(sq_naive_run(call, naive_mode_back{s}, rows * s.m.count, err));
    SQ_TRY(sq_naive_run(call, naive_space_back{s}, s.m.copies * s.m.count, err));
    return sq_naive_run(call, naive_step_back{s}, s.channels, err);
}

} // namespace sq_s4

#endif
