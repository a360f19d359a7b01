/* s4_scan on CUDA. The operator: s4_scan.c.
 *
 *   cuda/portable   a warp has a channel of a sequence and walks through its steps, a lane has
 * every 32nd mode in registers; discretised in f64, states in f32
 */
#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/s4_scan/s4_scan.h"

namespace
{

enum { WARPS = 4, THREADS = 32 * WARPS, AHEAD = 32 }; /* inputs read at once, one a lane */

struct parameters {
    const float *log_dt, *a_real, *a_imag, *b, *p, *c, *skip, *initial;
    float *final;
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n;
    int64_t p_stride_r, p_stride_s, p_stride_n, c_stride_d, c_stride_n, skip_stride;
    int64_t initial_stride[3], final_stride[3], batch, length, channels, copies;
    int count, rule;
    double sign;
};

parameters parameters_of(const sq_call *call)
{
    const sq_tensor *in = call->in, *final = &call->out[OUT_FINAL];
    parameters p = {};
    p.log_dt = (const float *)in[IN_LOG_DT].data;
    p.a_real = (const float *)in[IN_A_REAL].data;
    p.a_imag = (const float *)in[IN_A_IMAG].data;
    p.b = (const float *)in[IN_GAIN].data;
    p.p = (const float *)in[IN_P].data;
    p.c = (const float *)in[IN_C].data;
    p.skip = (const float *)in[IN_SKIP].data;
    p.initial = (const float *)in[IN_INITIAL].data;
    p.final = (float *) final->data;
    p.log_dt_stride = in[IN_LOG_DT].stride[0];
    p.a_real_stride = in[IN_A_REAL].stride[0];
    p.a_imag_stride = in[IN_A_IMAG].stride[0];
    p.b_stride_s = in[IN_GAIN].stride[0];
    p.b_stride_n = in[IN_GAIN].stride[1];
    p.p_stride_r = in[IN_P].stride[0];
    p.p_stride_s = in[IN_P].stride[1];
    p.p_stride_n = in[IN_P].stride[2];
    p.c_stride_d = in[IN_C].stride[0];
    p.c_stride_n = in[IN_C].stride[1];
    p.skip_stride = in[IN_SKIP].stride[0];
    for (int i = 0; i < 3; i++) {
        p.initial_stride[i] = in[IN_INITIAL].stride[i];
        p.final_stride[i] = final->stride[i];
    }
    p.batch = in[IN_U].dim[0];
    p.length = in[IN_U].dim[1];
    p.channels = in[IN_U].dim[2];
    p.copies = in[IN_A_REAL].dim[0];
    p.count = (int)in[IN_C].dim[1];
    p.rule = (int)call->axis[AXIS_DISC];
    p.sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    return p;
}

template <typename T>
struct tokens {
    T *data;
    int64_t stride_b, stride_t;
};

template <typename T>
tokens<T> tokens_of(const sq_tensor *t)
{
    return {(T *)t->data, t->stride[0], t->stride[1]};
}

__device__ float2 to_f32(sq_c64 x)
{
    return make_float2((float)x.re, (float)x.im);
}
__device__ sq_c64 pair(const float *at)
{
    return sq_c64_of(at[0], at[1]);
}

/* a + b c */
__device__ float2 mul_add(float2 a, float2 b, float2 c)
{
    return make_float2(fmaf(b.x, c.x, fmaf(-b.y, c.y, a.x)), fmaf(b.x, c.y, fmaf(b.y, c.x, a.y)));
}
__device__ float2 add_scaled(float2 a, float x, float2 b)
{
    return make_float2(fmaf(x, b.x, a.x), fmaf(x, b.y, a.y));
}
/* 2 Re(conj(a) b) */
__device__ float dot(float2 a, float2 b)
{
    return 2 * fmaf(a.x, b.x, a.y * b.y);
}

__device__ double warp_sum_f64(double x)
{
    for (int step = 16; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

/* A lane's modes, MODES of them. Of rank 0: x' = z x + g u. Else x' = (z x + g u - h r p k) less
 * the correction, where z = r (1 + h a), g = 2 h r b: zero modes beyond the last stay zero. */
template <int MODES, int RANK>
struct lane_modes {
    static constexpr int COLUMNS = RANK > 0 ? RANK : 1;
    float2 x[MODES], z[MODES], g[MODES], c[MODES];
    float2 p[MODES][COLUMNS], hrp[MODES][COLUMNS]; /* p and h r p */
    float inverse[COLUMNS][COLUMNS];

    __device__ void read(const parameters &q, int64_t batch, int64_t d)
    {
        const int64_t s = d % q.copies;
        const double dt = exp((double)q.log_dt[d * q.log_dt_stride]), h = dt / 2;
        sq_s4_scan_correction gram = {};
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            const int n = threadIdx.x % 32 + 32 * i;
            x[i] = z[i] = g[i] = c[i] = make_float2(0, 0);
            for (int k = 0; k < RANK; k++)
                p[i][k] = hrp[i][k] = make_float2(0, 0);
            if (n >= q.count)
                continue;
            const sq_c64 a = sq_ssm_pole(q.a_real[s * q.a_real_stride + n],
                                         q.a_imag[s * q.a_imag_stride + n], q.sign);
            const sq_ssm_mode step = sq_ssm_discretise(q.rule, dt, a);
            z[i] = to_f32(step.z);
            g[i] = to_f32(sq_c64_mul(step.f, pair(q.b + s * q.b_stride_s + n * q.b_stride_n)));
            c[i] = to_f32(pair(q.c + d * q.c_stride_d + n * q.c_stride_n));
            if (q.initial)
                x[i] = to_f32(pair(q.initial + batch * q.initial_stride[0] +
                                   d * q.initial_stride[1] + n * q.initial_stride[2]));
            const sq_c64 r = sq_c64_inv(sq_c64_of(1 - h * a.re, -h * a.im));
            for (int k = 0; k < RANK; k++) {
                const float *column = q.p + s * q.p_stride_s + n * q.p_stride_n;
                const sq_c64 pk = pair(column + k * q.p_stride_r);
                const sq_c64 rp = sq_c64_mul(r, pk);
                p[i][k] = to_f32(pk);
                hrp[i][k] = to_f32(sq_c64_scale(rp, h));
                for (int j = 0; j < RANK; j++)
                    gram.at[j][k] += sq_s4_scan_dot(pair(column + j * q.p_stride_r), rp);
            }
        }
        for (int j = 0; j < RANK; j++)
            for (int k = 0; k < RANK; k++)
                gram.at[j][k] = warp_sum_f64(gram.at[j][k]);
        const sq_s4_scan_correction m = sq_s4_scan_invert(&gram, h);
        for (int j = 0; j < RANK; j++)
            for (int k = 0; k < RANK; k++)
                inverse[j][k] = (float)m.at[j][k];
    }

    /* sums[k] = p_k* x over all modes. */
    __device__ void project(float *sums) const
    {
        for (int k = 0; k < RANK; k++) {
            float sum = 0;
#pragma unroll
            for (int i = 0; i < MODES; i++)
                sum += dot(p[i][k], x[i]);
            sums[k] = sq_warp_sum(sum);
        }
    }

    /* One step; returns y without the skip. */
    __device__ float step(float u)
    {
        float before[COLUMNS], after[COLUMNS], sum = 0;
        project(before);
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            x[i] = mul_add(make_float2(g[i].x * u, g[i].y * u), z[i], x[i]);
            for (int k = 0; k < RANK; k++)
                x[i] = add_scaled(x[i], -before[k], hrp[i][k]);
        }
        project(after);
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            for (int j = 0; j < RANK; j++)
                for (int k = 0; k < RANK; k++)
                    x[i] = add_scaled(x[i], -inverse[j][k] * after[k], hrp[i][j]);
            sum += 2 * fmaf(c[i].x, x[i].x, -c[i].y * x[i].y);
        }
        return sq_warp_sum(sum);
    }

    __device__ void write(const parameters &q, int64_t batch, int64_t d) const
    {
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            const int n = threadIdx.x % 32 + 32 * i;
            float *at =
                q.final + batch * q.final_stride[0] + d * q.final_stride[1] + n * q.final_stride[2];
            if (n >= q.count)
                continue;
            at[0] = x[i].x;
            at[1] = x[i].y;
        }
    }
};

template <typename T, int MODES, int RANK>
__global__ void __launch_bounds__(THREADS) scan(tokens<T> u, tokens<T> y, parameters q)
{
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int64_t batch = row / q.channels, d = row % q.channels;
    const int lane = threadIdx.x % 32;
    if (batch >= q.batch)
        return;
    const float skip = q.skip[d * q.skip_stride];
    lane_modes<MODES, RANK> modes;
    modes.read(q, batch, d);
    for (int64_t t0 = 0; t0 < q.length; t0 += AHEAD) {
        const int steps = (int)min((int64_t)AHEAD, q.length - t0);
        float mine = 0, out = 0;
        if (lane < steps)
            mine = sq_to_f32(u.data[batch * u.stride_b + (t0 + lane) * u.stride_t + d]);
        for (int i = 0; i < steps; i++) {
            const float in = __shfl_sync(0xffffffffu, mine, i);
            const float sum = fmaf(skip, in, modes.step(in));
            out = lane == i ? sum : out;
        }
        if (lane < steps)
            y.data[batch * y.stride_b + (t0 + lane) * y.stride_t + d] = sq_from_f32<T>(out);
    }
    if (q.final)
        modes.write(q, batch, d);
}

sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    return sq_supports_types(call, why);
}

template <typename T, int MODES>
sq_status launch_rank(const sq_call *call, sq_error *err)
{
    const parameters q = parameters_of(call);
    const unsigned blocks = (unsigned)sq_ceil_div(q.batch * q.channels, WARPS);
    const tokens<T> u = tokens_of<T>(&call->in[IN_U]), y = tokens_of<T>(&call->out[OUT_Y]);
    switch ((int)call->axis[AXIS_R]) {
    case 0:
        scan<T, MODES, 0><<<blocks, THREADS, 0, sq_stream(call)>>>(u, y, q);
        break;
    case 1:
        scan<T, MODES, 1><<<blocks, THREADS, 0, sq_stream(call)>>>(u, y, q);
        break;
    default:
        scan<T, MODES, 2><<<blocks, THREADS, 0, sq_stream(call)>>>(u, y, q);
    }
    return sq_launched("s4_scan", err);
}

sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    (void)plan;
    const int64_t count = call->in[IN_C].dim[1];
    return sq_with_type(call->dtype, err, [&](auto element) {
        using T = decltype(element);
        return count <= 32 ? launch_rank<T, 1>(call, err) : launch_rank<T, 4>(call, err);
    });
}

} // namespace

extern "C" const sq_provider sq_cuda_s4_scan[] = {
    {"cuda/portable", "a warp a channel, modes in registers", supports, NULL, NULL, launch, NULL,
     SQ_HAS_PASS(SQ_PASS_FWD) | SQ_HAS_STEP, NULL},
    {NULL},
};
