/* s4d_backward: the gradients of s4d_kernel on the device. Included by s4d_kernel.cu alone.
 *
 * The sums P and Q over the taps of s4d_kernel_bwd.c, with w = conj(z) and g_t = 2 dh_t:
 *
 *   P = sum_t g_t w^t        Q = sum_t v_t w^t, v_t = (t + 1) g_(t+1)
 *
 * A lane has a mode, a warp a segment of taps. GROUP taps are f32 sums over powers of w that a lane has
 * in registers, rounded from f64 ones; groups are added from the last one in f64 (Horner), and a
 * segment is moved to its place by the exact power. Segments, then filters, channels and modes are added
 * up in one order.
 */
#ifndef SQ_KERNELS_S4D_KERNEL_S4D_BACKWARD_CUH
#define SQ_KERNELS_S4D_KERNEL_S4D_BACKWARD_CUH

#include "kernels/hw/launch.cuh"
#include "kernels/s4d_kernel/modes.cuh"

namespace sq_s4d
{

enum {
    SUM_THREADS = 128,
    GROUP = 32,
    STAGE = 128, /* taps that a warp has in shared memory */
    PER_LANE = STAGE / 32,
    MOST_SEGMENTS = 64,
    WANTED_WARPS = 2048, /* four for each scheduler of 132 SMs */
    MOST_WARPS = 16
};

/* P and Q of a segment; da and db, and dlog_dt, of a channel's mode. */
struct tap_sums {
    sq_c64 p, q;
};
struct pole_gradient {
    sq_c64 a, b;

    __device__ void add(const pole_gradient &x)
    {
        a = sq_c64_add(a, x.a);
        b = sq_c64_add(b, x.b);
    }
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
    pole_gradient *channel;                  /* (D, modes) */
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

/* g and v of a stage, as a lane has them before they are shared: of every 32nd tap. */
struct staged_taps {
    float g[PER_LANE], v[PER_LANE];

    __device__ void load(const float *dh, int64_t t0, int64_t length, int lane)
    {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            const int64_t t = t0 + 32 * i + lane;
            g[i] = t < length ? 2 * dh[t] : 0.0f;
            v[i] = t + 1 < length ? 2 * dh[t + 1] * (float)(t + 1) : 0.0f;
        }
    }
    __device__ void share(float *all_g, float *all_v, int lane) const
    {
        __syncwarp();
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            all_g[32 * i + lane] = g[i];
            all_v[32 * i + lane] = v[i];
        }
        __syncwarp();
    }
};

/* The powers of w below GROUP in f32, and w^GROUP. */
struct group_powers {
    float re[GROUP], im[GROUP];
    sq_c64 next;

    __device__ explicit group_powers(sq_c64 w)
    {
        next = sq_c64_of(1, 0);
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            re[i] = (float)next.re;
            im[i] = (float)next.im;
            next = sq_c64_mul(next, w);
        }
    }
};

__device__ inline sq_c64 horner(sq_c64 sum, const group_powers &w, float re, float im)
{
    return sq_c64_add(sq_c64_mul(sum, w.next), sq_c64_of(re, im));
}

/* The sums of the taps from a group on, from those of the taps after it. */
__device__ inline void add_group(tap_sums *sum, const group_powers &w, const float *g,
                                 const float *v)
{
    float p_re = 0, p_im = 0, q_re = 0, q_im = 0;
#pragma unroll
    for (int i = 0; i < GROUP; i += 4) {
        const float4 g4 = *(const float4 *)(g + i), v4 = *(const float4 *)(v + i);
        const float gs[4] = {g4.x, g4.y, g4.z, g4.w}, vs[4] = {v4.x, v4.y, v4.z, v4.w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            p_re = fmaf(gs[j], w.re[i + j], p_re);
            p_im = fmaf(gs[j], w.im[i + j], p_im);
            q_re = fmaf(vs[j], w.re[i + j], q_re);
            q_im = fmaf(vs[j], w.im[i + j], q_im);
        }
    }
    sum->p = horner(sum->p, w, p_re, p_im);
    sum->q = horner(sum->q, w, q_re, q_im);
}

/* A warp has a segment of a row (b, d), all modes of it. */
static __global__ void __launch_bounds__(SUM_THREADS, 4) sum_taps(backward_args p)
{
    enum { WARPS = SUM_THREADS / 32 };
    __shared__ __align__(16) float shared_g[WARPS][STAGE], shared_v[WARPS][STAGE];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t i = (int64_t)blockIdx.x * WARPS + warp, segment = i % p.segments;
    const int64_t row = i / p.segments, b = row / p.channels, d = row % p.channels;
    if (b >= p.filters)
        return;
    const int64_t first = segment * p.taps, end = min(p.length, first + p.taps);
    const int64_t last = first + (end - first - 1) / STAGE * STAGE;
    const float *dh = p.dh.at(b, d);
    for (int n0 = 0; n0 < p.m.count; n0 += 32) {
        const int n = min(n0 + lane, p.m.count - 1);
        const sq_c64 back = sq_c64_conj(p.m.of(d, n).step.z);
        const group_powers powers(back);
        tap_sums sum = {};
        staged_taps next;
        next.load(dh, last, p.length, lane);
        for (int64_t t0 = last; t0 >= first; t0 -= STAGE) {
            next.share(shared_g[warp], shared_v[warp], lane);
            if (t0 > first)
                next.load(dh, t0 - STAGE, p.length, lane);
#pragma unroll 1
            for (int t = STAGE - GROUP; t >= 0; t -= GROUP)
                add_group(&sum, powers, shared_g[warp] + t, shared_v[warp] + t);
        }
        const sq_c64 power = whole_power(back, first);
        sum.p = sq_c64_mul(sum.p, power);
        sum.q = sq_c64_mul(sum.q, power);
        if (n0 + lane < p.m.count)
            p.partial[partial_at(p, segment, b, d, n)] = sum;
    }
}

__device__ inline void store_pair(float *at, sq_c64 x)
{
    at[0] = (float)x.re;
    at[1] = (float)x.im;
}

/* Outputs of the parameters, by strides as in modes; b may be NULL. */
struct parameter_gradients {
    float *log_dt, *a_real, *a_imag, *b;
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n;
};

/* Of mode n of channel d: writes dc. */
__device__ inline mode_gradient mode_gradient_of(const backward_args &p, int64_t d, int n)
{
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
    return out;
}

/* A warp has a channel, a lane every 32nd of its modes. */
static __global__ void __launch_bounds__(SUM_THREADS)
    channel_gradients(backward_args p, parameter_gradients to)
{
    const int64_t d = (int64_t)blockIdx.x * (SUM_THREADS / 32) + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    double log_dt = 0;
    if (d >= p.channels)
        return;
    for (int n = lane; n < p.m.count; n += 32) {
        const mode_gradient one = mode_gradient_of(p, d, n);
        p.channel[d * p.m.count + n] = {one.a, one.b};
        log_dt += one.log_dt;
    }
    for (int far = 16; far > 0; far /= 2)
        log_dt += __shfl_xor_sync(0xffffffffu, log_dt, far);
    if (lane == 0)
        to.log_dt[d * to.log_dt_stride] = (float)log_dt;
}

/* Grid: (modes / 32, state spaces); a lane has a mode, and the warps of a block share the space's
 * channels. */
static __global__ void __launch_bounds__(MOST_WARPS * 32)
    sum_channels(backward_args p, parameter_gradients to)
{
    __shared__ pole_gradient parts[MOST_WARPS][32];
    const int lane = threadIdx.x, warp = threadIdx.y, warps = blockDim.y;
    const int n = (int)blockIdx.x * 32 + lane;
    for (int64_t s = blockIdx.y; s < p.m.copies; s += gridDim.y) {
        pole_gradient sum = {};
        if (n < p.m.count)
            for (int64_t d = s + warp * p.m.copies; d < p.channels; d += warps * p.m.copies)
                sum.add(p.channel[d * p.m.count + n]);
        __syncthreads();
        parts[warp][lane] = sum;
        __syncthreads();
        if (warp > 0 || n >= p.m.count)
            continue;
        for (int i = 1; i < warps; i++)
            sum.add(parts[i][lane]);
        const sq_c64 a = p.m.of(s, n).a;
        to.a_real[s * to.a_real_stride + n] = (float)sq_ssm_d_a_real(a, sum.a);
        to.a_imag[s * to.a_imag_stride + n] = (float)sq_ssm_d_a_imag(p.m.sign, sum.a);
        if (to.b)
            store_pair(to.b + s * to.b_stride_s + n * to.b_stride_n, sum.b);
    }
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
    const int64_t rows = c->dim[0] * c->dim[1], stages = sq_ceil_div(length, STAGE);
    const int64_t wanted =
        min(sq_ceil_div(WANTED_WARPS, rows), min(stages, (int64_t)MOST_SEGMENTS));
    at.taps = sq_ceil_div(stages, wanted) * STAGE;
    at.segments = (int)sq_ceil_div(length, at.taps);
    at.partial_bytes =
        (size_t)sq_ceil_div(at.segments * c->dim[0] * modes * (int64_t)sizeof(tap_sums), 256) * 256;
    at.channel_bytes = (size_t)modes * sizeof(pole_gradient);
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
    p.channel = (pole_gradient *)((char *)call->workspace + at.partial_bytes);
    p.filters = c->dim[0];
    p.channels = c->dim[1];
    p.length = sq_axis_int(call->axis, AXIS_L);
    p.taps = at.taps;
    p.segments = at.segments;
    const parameter_gradients gradients = {
        (float *)out[IN_LOG_DT].data, (float *)out[IN_A_REAL].data, (float *)out[IN_A_IMAG].data,
        (float *)out[IN_GAIN].data,   out[IN_LOG_DT].stride[0],     out[IN_A_REAL].stride[0],
        out[IN_A_IMAG].stride[0],     out[IN_GAIN].stride[0],       out[IN_GAIN].stride[1]};
    const int64_t warps = SUM_THREADS / 32;
    const auto blocks = [=](int64_t n) { return (unsigned)sq_ceil_div(n, warps); };
    const dim3 spaces((unsigned)sq_ceil_div(p.m.count, 32),
                      (unsigned)min(p.m.copies, (int64_t)65535));
    const dim3 sharing(32, (unsigned)min(sq_ceil_div(p.channels, p.m.copies), (int64_t)MOST_WARPS));
    sum_taps<<<blocks(at.segments * p.filters * p.channels), SUM_THREADS, 0, sq_stream(call)>>>(p);
    SQ_TRY(sq_launched("s4d_kernel sums of taps", err));
    channel_gradients<<<blocks(p.channels), SUM_THREADS, 0, sq_stream(call)>>>(p, gradients);
    SQ_TRY(sq_launched("s4d_kernel gradients of channels", err));
    sum_channels<<<spaces, sharing, 0, sq_stream(call)>>>(p, gradients);
    return sq_launched("s4d_kernel sums of channels", err);
}

} // namespace sq_s4d

#endif
