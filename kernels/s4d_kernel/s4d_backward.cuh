/* s4d_backward: the gradients of s4d_kernel on the device. Included by s4d_kernel.cu alone.
 *
 * The sums P and Q over the taps of s4d_kernel_bwd.c are f64: a lane has a mode, a warp a segment
 * of taps that starts from the exact power. Segments, then filters, channels and modes are added up
 * by kernels of their own, in one order.
 */
#ifndef SQ_KERNELS_S4D_KERNEL_S4D_BACKWARD_CUH
#define SQ_KERNELS_S4D_KERNEL_S4D_BACKWARD_CUH

#include "kernels/hw/launch.cuh"
#include "kernels/s4d_kernel/modes.cuh"

namespace sq_s4d
{

enum { SUM_THREADS = 128, LEAST_TAPS = 256, MOST_SEGMENTS = 64 };

/* P and Q of a segment; da, db and dlog_dt of a channel's mode. */
struct tap_sums {
    sq_c64 p, q;
};
struct mode_gradient {
    sq_c64 a, b;
    double log_dt;
};

struct backward_args {
    modes m;
    sq_pairs c, dc;
    rows dh;
    tap_sums *partial;                       /* (segments, B, D, modes) */
    mode_gradient *channel;                  /* (D, modes) */
    int64_t filters, channels, length, taps; /* taps of a segment */
    int segments;
};

__device__ inline int64_t partial_at(const backward_args &p, int64_t segment, int64_t b, int64_t d,
                                     int n)
{
    return ((segment * p.filters + b) * p.channels + d) * p.m.count + n;
}

/* z^t by squaring: of a z near -1 or 1 the small imaginary part keeps its digits, which an angle
 * would lose, and the gradient of a_imag is all of it. */
__device__ inline sq_c64 whole_power(sq_c64 z, int64_t t)
{
    sq_c64 power = sq_c64_of(1, 0);
    for (; t > 0; t >>= 1, z = sq_c64_mul(z, z))
        if (t & 1)
            power = sq_c64_mul(power, z);
    return power;
}

/* Grid: (segments / 4, B D); a warp has a segment of a row. */
static __global__ void __launch_bounds__(SUM_THREADS) sum_taps(backward_args p)
{
    const int64_t segment = (int64_t)blockIdx.x * (SUM_THREADS / 32) + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int64_t first = segment * p.taps, end = min(p.length, first + p.taps);
    if (segment >= p.segments)
        return;
    for (int64_t row = blockIdx.y; row < p.filters * p.channels; row += gridDim.y) {
        const int64_t b = row / p.channels, d = row % p.channels;
        const float *dh = p.dh.at(b, d);
        for (int n0 = 0; n0 < p.m.count; n0 += 32) {
            const int n = min(n0 + lane, p.m.count - 1);
            const sq_c64 back = sq_c64_conj(p.m.of(d, n).step.z);
            tap_sums sum = {};
            /* conj(z^t) and conj(z^(t-1)) */
            sq_c64 before = first > 0 ? whole_power(back, first - 1) : sq_c64_of(0, 0);
            sq_c64 power = first > 0 ? sq_c64_mul(before, back) : sq_c64_of(1, 0);
            for (int64_t t0 = first; t0 < end; t0 += 32) {
                const float mine = t0 + lane < end ? 2 * dh[t0 + lane] : 0.0f;
                for (int i = 0; i < 32; i++) {
                    const double g = __shfl_sync(0xffffffffu, mine, i);
                    sum.p = sq_c64_add(sum.p, sq_c64_scale(power, g));
                    sum.q = sq_c64_add(sum.q, sq_c64_scale(before, g * (double)(t0 + i)));
                    before = power;
                    power = sq_c64_mul(power, back);
                }
            }
            if (n0 + lane < p.m.count)
                p.partial[partial_at(p, segment, b, d, n)] = sum;
        }
    }
}

__device__ inline void store_pair(float *at, sq_c64 x)
{
    at[0] = (float)x.re;
    at[1] = (float)x.im;
}

/* A thread has mode n of channel d. */
static __global__ void __launch_bounds__(SUM_THREADS) channel_gradients(backward_args p)
{
    const int64_t i = (int64_t)blockIdx.x * SUM_THREADS + threadIdx.x;
    if (i >= p.channels * p.m.count)
        return;
    const int64_t d = i / p.m.count;
    const int n = (int)(i % p.m.count);
    const mode m = p.m.of(d, n);
    const sq_c64 gain = sq_c64_mul(m.b, m.step.f);
    sq_c64 dgain = sq_c64_of(0, 0);
    sq_ssm_mode gradient = {};
    mode_gradient out;
    for (int64_t b = 0; b < p.filters; b++) {
        const float *at = p.c.at(b, d, n);
        const sq_c64 c = sq_c64_of(at[0], at[1]);
        tap_sums sum = {};
        for (int segment = 0; segment < p.segments; segment++) {
            const tap_sums one = p.partial[partial_at(p, segment, b, d, n)];
            sum.p = sq_c64_add(sum.p, one.p);
            sum.q = sq_c64_add(sum.q, one.q);
        }
        store_pair(p.dc.at(b, d, n), sq_c64_conj_mul(gain, sum.p));
        dgain = sq_c64_add(dgain, sq_c64_conj_mul(c, sum.p));
        gradient.z = sq_c64_add(gradient.z, sq_c64_conj_mul(sq_c64_mul(c, gain), sum.q));
    }
    gradient.f = sq_c64_conj_mul(m.b, dgain);
    out.b = sq_c64_conj_mul(m.step.f, dgain);
    sq_ssm_discretise_back(p.m.rule, m.dt, m.a, gradient, &out.a, &out.log_dt);
    p.channel[i] = out;
}

/* Outputs of the parameters, by strides as in modes; b may be NULL. */
struct parameter_gradients {
    float *log_dt, *a_real, *a_imag, *b;
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n;
};

/* A thread has a mode of a state space: the sum over its channels. */
static __global__ void __launch_bounds__(SUM_THREADS)
    sum_channels(backward_args p, parameter_gradients out)
{
    const int64_t i = (int64_t)blockIdx.x * SUM_THREADS + threadIdx.x;
    if (i >= p.m.copies * p.m.count)
        return;
    const int64_t s = i / p.m.count, n = i % p.m.count;
    sq_c64 da = sq_c64_of(0, 0), db = sq_c64_of(0, 0);
    for (int64_t d = s; d < p.channels; d += p.m.copies) {
        da = sq_c64_add(da, p.channel[d * p.m.count + n].a);
        db = sq_c64_add(db, p.channel[d * p.m.count + n].b);
    }
    const sq_c64 a = p.m.of(s, (int)n).a;
    out.a_real[s * out.a_real_stride + n] = (float)sq_ssm_d_a_real(a, da);
    out.a_imag[s * out.a_imag_stride + n] = (float)sq_ssm_d_a_imag(p.m.sign, da);
    if (out.b)
        store_pair(out.b + s * out.b_stride_s + n * out.b_stride_n, db);
}

/* A thread has a channel: the sum over its modes. */
static __global__ void __launch_bounds__(SUM_THREADS)
    sum_modes(backward_args p, parameter_gradients out)
{
    const int64_t d = (int64_t)blockIdx.x * SUM_THREADS + threadIdx.x;
    if (d >= p.channels)
        return;
    double sum = 0;
    for (int n = 0; n < p.m.count; n++)
        sum += p.channel[d * p.m.count + n].log_dt;
    out.log_dt[d * out.log_dt_stride] = (float)sum;
}

/* --- host --- */

struct backward_layout {
    int64_t taps;
    int segments;
    size_t partial_bytes, channel_bytes; /* parts of the workspace, in this order */
};

inline backward_layout backward_layout_of(const sq_call *call)
{
    const sq_tensor *c = &call->in[IN_C];
    const int64_t length = sq_axis_int(call->axis, AXIS_L), modes = c->dim[1] * c->dim[2];
    backward_layout at = {};
    at.segments = (int)min(sq_ceil_div(length, LEAST_TAPS), (int64_t)MOST_SEGMENTS);
    at.taps = sq_ceil_div(length, at.segments);
    at.partial_bytes =
        (size_t)sq_ceil_div(at.segments * c->dim[0] * modes * (int64_t)sizeof(tap_sums), 256) * 256;
    at.channel_bytes = (size_t)modes * sizeof(mode_gradient);
    return at;
}

inline sq_status launch_backward(const sq_call *call, sq_error *err)
{
    const backward_layout at = backward_layout_of(call);
    const sq_tensor *out = call->out, *c = &call->in[IN_C];
    backward_args p = {};
    p.m = modes_of(call);
    p.c = sq_pairs_of(c);
    p.dc = sq_pairs_of(&out[IN_C]);
    p.dh = rows_of(&call->in[IN_COUNT]);
    p.partial = (tap_sums *)call->workspace;
    p.channel = (mode_gradient *)((char *)call->workspace + at.partial_bytes);
    p.filters = c->dim[0];
    p.channels = c->dim[1];
    p.length = sq_axis_int(call->axis, AXIS_L);
    p.taps = at.taps;
    p.segments = at.segments;
    const parameter_gradients gradients = {
        (float *)out[IN_LOG_DT].data, (float *)out[IN_A_REAL].data, (float *)out[IN_A_IMAG].data,
        (float *)out[IN_GAIN].data,   out[IN_LOG_DT].stride[0],     out[IN_A_REAL].stride[0],
        out[IN_A_IMAG].stride[0],     out[IN_GAIN].stride[0],       out[IN_GAIN].stride[1]};
    const dim3 grid((unsigned)sq_ceil_div(at.segments, SUM_THREADS / 32),
                    (unsigned)min(p.filters * p.channels, (int64_t)65535));
    const auto blocks = [](int64_t n) { return (unsigned)sq_ceil_div(n, SUM_THREADS); };
    sum_taps<<<grid, SUM_THREADS, 0, sq_stream(call)>>>(p);
    SQ_TRY(sq_launched("s4d_kernel sums of taps", err));
    channel_gradients<<<blocks(p.channels * p.m.count), SUM_THREADS, 0, sq_stream(call)>>>(p);
    SQ_TRY(sq_launched("s4d_kernel gradients of channels", err));
    sum_channels<<<blocks(p.m.copies * p.m.count), SUM_THREADS, 0, sq_stream(call)>>>(p, gradients);
    SQ_TRY(sq_launched("s4d_kernel sums of channels", err));
    sum_modes<<<blocks(p.channels), SUM_THREADS, 0, sq_stream(call)>>>(p, gradients);
    return sq_launched("s4d_kernel sums of modes", err);
}

} // namespace sq_s4d

#endif
