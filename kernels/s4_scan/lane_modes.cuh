/* lane_modes: what the kernels of s4_scan take, and a channel's modes on the lanes of a warp.
 * Included by the other headers of this folder.
 */
#ifndef SQ_KERNELS_S4_SCAN_LANE_MODES_CUH
#define SQ_KERNELS_S4_SCAN_LANE_MODES_CUH

#include <cuda_runtime.h>

#include "kernels/hw/convert.cuh"
#include "kernels/hw/launch.cuh"
#include "kernels/hw/pairs.cuh"
#include "kernels/hw/reduce.cuh"
#include "kernels/s4_scan/s4_scan.h"

namespace sq_s4_scan
{

enum { WARPS = 4, THREADS = 32 * WARPS, AHEAD = 32 }; /* inputs read at once, one a lane */
enum { BORDER = 2 * AHEAD }; /* every BORDER-th state is kept for pass bwd */

/* A (B, L, D) tensor: unit stride over channels. A lane reads one element in AHEAD steps, so its
 * type is looked up there and makes no further kernels. */
struct tokens {
    void *data;
    int64_t stride_b, stride_t;
    sq_dtype dtype;

    __device__ float load(int64_t b, int64_t t, int64_t d) const
    {
        const int64_t at = b * stride_b + t * stride_t + d;
        if (dtype == SQ_DTYPE_F32)
            return ((const float *)data)[at];
        return dtype == SQ_DTYPE_F16 ? sq_to_f32(((const __half *)data)[at])
                                     : sq_to_f32(((const __nv_bfloat16 *)data)[at]);
    }

    __device__ void store(int64_t b, int64_t t, int64_t d, float x) const
    {
        const int64_t at = b * stride_b + t * stride_t + d;
        if (dtype == SQ_DTYPE_F32)
            ((float *)data)[at] = x;
        else if (dtype == SQ_DTYPE_F16)
            ((__half *)data)[at] = sq_from_f32<__half>(x);
        else
            ((__nv_bfloat16 *)data)[at] = sq_from_f32<__nv_bfloat16>(x);
    }
};

inline tokens tokens_of(const sq_tensor *t)
{
    return {t->data, t->stride[0], t->stride[1], t->dtype};
}

/* The parameters, or their gradients. */
struct space {
    float *log_dt, *a_real, *a_imag, *b, *p, *c, *skip;
    int64_t log_dt_stride, a_real_stride, a_imag_stride, b_stride_s, b_stride_n;
    int64_t p_stride_r, p_stride_s, p_stride_n, c_stride_d, c_stride_n, skip_stride;

    __device__ float *b_at(int64_t s, int64_t n) const
    {
        return b + s * b_stride_s + n * b_stride_n;
    }
    __device__ float *p_at(int k, int64_t s, int64_t n) const
    {
        return p + k * p_stride_r + s * p_stride_s + n * p_stride_n;
    }
    __device__ float *c_at(int64_t d, int64_t n) const
    {
        return c + d * c_stride_d + n * c_stride_n;
    }
};

/* t: the inputs of pass fwd, or their gradients. */
inline space space_of(const sq_tensor *t)
{
    space p = {};
    p.log_dt = (float *)t[IN_LOG_DT].data;
    p.a_real = (float *)t[IN_A_REAL].data;
    p.a_imag = (float *)t[IN_A_IMAG].data;
    p.b = (float *)t[IN_GAIN].data;
    p.p = (float *)t[IN_P].data;
    p.c = (float *)t[IN_C].data;
    p.skip = (float *)t[IN_SKIP].data;
    p.log_dt_stride = t[IN_LOG_DT].stride[0];
    p.a_real_stride = t[IN_A_REAL].stride[0];
    p.a_imag_stride = t[IN_A_IMAG].stride[0];
    p.b_stride_s = t[IN_GAIN].stride[0];
    p.b_stride_n = t[IN_GAIN].stride[1];
    p.p_stride_r = t[IN_P].stride[0];
    p.p_stride_s = t[IN_P].stride[1];
    p.p_stride_n = t[IN_P].stride[2];
    p.c_stride_d = t[IN_C].stride[0];
    p.c_stride_n = t[IN_C].stride[1];
    p.skip_stride = t[IN_SKIP].stride[0];
    return p;
}

struct parameters {
    space in;
    sq_pairs initial;
    float *saved; /* (B, D, (L - 1) / BORDER, N/2, 2), the states at the borders; or NULL */
    int64_t batch, length, channels, copies;
    int count, rule; /* count: N/2 */
    double sign;

    /* The states of a channel after step (border + 1) BORDER - 1. */
    __device__ float2 *saved_row(int64_t b, int64_t d, int64_t border) const
    {
        return (float2 *)saved +
               ((b * channels + d) * ((length - 1) / BORDER) + border) * (int64_t)count;
    }
};

inline parameters parameters_of(const sq_call *call)
{
    const sq_tensor *in = call->in;
    parameters p = {};
    p.in = space_of(in);
    p.initial = sq_pairs_of(&in[IN_INITIAL]);
    p.saved = (float *)call->saved;
    p.batch = in[IN_U].dim[0];
    p.length = in[IN_U].dim[1];
    p.channels = in[IN_U].dim[2];
    p.copies = in[IN_A_REAL].dim[0];
    p.count = (int)in[IN_C].dim[1];
    p.rule = (int)call->axis[AXIS_DISC];
    p.sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    return p;
}

__device__ inline float2 to_f32(sq_c64 x)
{
    return make_float2((float)x.re, (float)x.im);
}
__device__ inline sq_c64 pair(const float *at)
{
    return sq_c64_of(at[0], at[1]);
}

/* a + b c */
__device__ inline float2 mul_add(float2 a, float2 b, float2 c)
{
    return make_float2(fmaf(b.x, c.x, fmaf(-b.y, c.y, a.x)), fmaf(b.x, c.y, fmaf(b.y, c.x, a.y)));
}
/* a + conj(b) c */
__device__ inline float2 conj_mul_add(float2 a, float2 b, float2 c)
{
    return make_float2(fmaf(b.x, c.x, fmaf(b.y, c.y, a.x)), fmaf(b.x, c.y, fmaf(-b.y, c.x, a.y)));
}
__device__ inline float2 add_scaled(float2 a, float x, float2 b)
{
    return make_float2(fmaf(x, b.x, a.x), fmaf(x, b.y, a.y));
}
/* Re(conj(a) b) */
__device__ inline float inner(float2 a, float2 b)
{
    return fmaf(a.x, b.x, a.y * b.y);
}

__device__ inline double warp_sum_f64(double x)
{
    for (int step = 16; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

/* A mode of a channel in f64: what the lanes' f32 numbers come from. */
struct exact_mode {
    sq_c64 a, b, r, p[MAX_RANK];
    sq_ssm_mode step;

    __device__ exact_mode(const parameters &q, double dt, int64_t s, int64_t n, int rank)
    {
        a = sq_ssm_pole(q.in.a_real[s * q.in.a_real_stride + n],
                        q.in.a_imag[s * q.in.a_imag_stride + n], q.sign);
        b = pair(q.in.b_at(s, n));
        step = sq_ssm_discretise(q.rule, dt, a);
        r = sq_c64_inv(sq_c64_of(1 - dt / 2 * a.re, -dt / 2 * a.im));
        for (int k = 0; k < MAX_RANK; k++)
            p[k] = k < rank ? pair(q.in.p_at(k, s, n)) : sq_c64_of(0, 0);
    }
};

/* A lane's modes, MODES of them. Of rank 0: x' = x + (z x + g u), where z is that of
 * kernels/shared/ssm.h less 1: of a slow state, which remembers thousands of steps, z itself would
 * be off by as much at every one of them. Else x' = x + (z x + g u) - h r p k, less the correction,
 * where 1 + z = r (1 + h a), g = 2 h r b. Zero modes beyond the last stay zero. */
template <int MODES, int RANK>
struct lane_modes {
    static constexpr int COLUMNS = RANK > 0 ? RANK : 1;
    float2 x[MODES], z[MODES], g[MODES], c[MODES];
    float2 p[MODES][COLUMNS], hrp[MODES][COLUMNS]; /* p and h r p */
    float inverse[COLUMNS][COLUMNS];

    __device__ static int index(int i) { return (int)threadIdx.x % 32 + 32 * i; }

    __device__ void read(const parameters &q, int64_t d)
    {
        const int64_t s = d % q.copies;
        const double dt = exp((double)q.in.log_dt[d * q.in.log_dt_stride]), h = dt / 2;
        sq_s4_scan_correction gram = {};
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            const int n = index(i);
            x[i] = z[i] = g[i] = c[i] = make_float2(0, 0);
            for (int k = 0; k < RANK; k++)
                p[i][k] = hrp[i][k] = make_float2(0, 0);
            if (n >= q.count)
                continue;
            const exact_mode m(q, dt, s, n, RANK);
            z[i] = to_f32(sq_c64_sub(m.step.z, sq_c64_of(1, 0)));
            g[i] = to_f32(sq_c64_mul(m.step.f, m.b));
            c[i] = to_f32(pair(q.in.c_at(d, n)));
            for (int k = 0; k < RANK; k++) {
                const sq_c64 rp = sq_c64_mul(m.r, m.p[k]);
                p[i][k] = to_f32(m.p[k]);
                hrp[i][k] = to_f32(sq_c64_scale(rp, h));
                for (int j = 0; j < RANK; j++)
                    gram.at[j][k] += sq_s4_scan_dot(m.p[j], rp);
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

    /* The states from a row of `stride` floats a mode; NULL: zeros. */
    __device__ void load_states(const float *row, int64_t stride, int count)
    {
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            x[i] = make_float2(0, 0);
            if (row && index(i) < count)
                x[i] = make_float2(row[index(i) * stride], row[index(i) * stride + 1]);
        }
    }
    __device__ void store_states(float *row, int64_t stride, int count) const
    {
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            if (index(i) < count) {
                row[index(i) * stride] = x[i].x;
                row[index(i) * stride + 1] = x[i].y;
            }
        }
    }

    /* sums[k] = p_k* v over all modes. */
    __device__ void project(const float2 (&v)[MODES], float (&sums)[COLUMNS]) const
    {
        for (int k = 0; k < RANK; k++) {
            float sum = 0;
#pragma unroll
            for (int i = 0; i < MODES; i++)
                sum += 2 * inner(p[i][k], v[i]);
            sums[k] = sq_warp_sum(sum);
        }
    }

    /* w: the state after input u but for the correction; before: p* x. */
    __device__ void advance(float u, float2 (&w)[MODES], float (&before)[COLUMNS]) const
    {
        project(x, before);
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            w[i] = mul_add(make_float2(g[i].x * u, g[i].y * u), z[i], x[i]);
            w[i] = add_scaled(w[i], 1, x[i]);
            for (int k = 0; k < RANK; k++)
                w[i] = add_scaled(w[i], -before[k], hrp[i][k]);
        }
    }

    /* s = M^-1 p* w: the correction is -h r p s. */
    __device__ void solve(const float2 (&w)[MODES], float (&s)[COLUMNS]) const
    {
        float after[COLUMNS];
        project(w, after);
        for (int j = 0; j < RANK; j++) {
            s[j] = 0;
            for (int k = 0; k < RANK; k++)
                s[j] = fmaf(inverse[j][k], after[k], s[j]);
        }
    }

    /* One step. */
    __device__ void step(float u)
    {
        float before[COLUMNS], s[COLUMNS];
        float2 w[MODES];
        advance(u, w, before);
        solve(w, s);
#pragma unroll
        for (int i = 0; i < MODES; i++) {
            x[i] = w[i];
            for (int k = 0; k < RANK; k++)
                x[i] = add_scaled(x[i], -s[k], hrp[i][k]);
        }
    }

    /* 2 Re sum c x: y without the skip. */
    __device__ float output() const
    {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < MODES; i++)
            sum += 2 * fmaf(c[i].x, x[i].x, -c[i].y * x[i].y);
        return sq_warp_sum(sum);
    }
};

} // namespace sq_s4_scan

#endif
