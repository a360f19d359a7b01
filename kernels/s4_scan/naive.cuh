/* naive: cuda/naive of s4_scan, passes fwd and step: a thread for each channel of a sequence, all of
 * whose states it keeps, in f64; line by line s4_scan.c. Included by s4_scan.cu alone.
 */
#ifndef SQ_KERNELS_S4_SCAN_NAIVE_CUH
#define SQ_KERNELS_S4_SCAN_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/s4_scan/lane_modes.cuh"

namespace sq_s4_scan
{

enum { NAIVE_MODES = 32 };

/* modes: (D, N/2), which the first kernel writes. */
struct naive_scan {
    parameters q;
    tokens u, y;
    sq_pairs final;
    exact_mode *modes;
    int rank;

    __device__ double step_of(int64_t d) const
    {
        return exp((double)q.in.log_dt[d * q.in.log_dt_stride]);
    }
    __device__ sq_c64 state(const sq_pairs &from, int64_t b, int64_t d, int n) const
    {
        return from.data ? pair(from.at(b, d, n)) : sq_c64_of(0, 0);
    }
    __device__ void put_states(const sq_pairs &to, int64_t b, int64_t d, const sq_c64 *x) const
    {
        for (int n = 0; to.data && n < q.count; n++) {
            to.at(b, d, n)[0] = (float)x[n].re;
            to.at(b, d, n)[1] = (float)x[n].im;
        }
    }
};

struct naive_modes {
    naive_scan s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i / s.q.count, n = i % s.q.count;
        s.modes[i] = exact_mode(s.q, s.step_of(d), d % s.q.copies, n, s.rank);
    }
};

/* A channel's modes and what they share. One step is x' = w - h r p s with w = z x + f b u - h r p k,
 * k = p* x and s = M^-1 p* w, that is Woodbury's identity; of rank 0 x' = w. */
struct naive_channel {
    const exact_mode *mode;
    sq_s4_scan_correction inverse;
    double half;
    int count, rank;

    __device__ naive_channel(const naive_scan &s, int64_t d)
        : mode(s.modes + d * s.q.count), half(s.step_of(d) / 2), count(s.q.count), rank(s.rank)
    {
        sq_s4_scan_correction gram = {};
        for (int n = 0; n < count; n++)
            for (int i = 0; i < rank; i++)
                for (int k = 0; k < rank; k++)
                    gram.at[i][k] +=
                        sq_s4_scan_dot(mode[n].p[i], sq_c64_mul(mode[n].r, mode[n].p[k]));
        inverse = sq_s4_scan_invert(&gram, half);
    }

    __device__ sq_c64 gain(int n) const { return sq_c64_mul(mode[n].step.f, mode[n].b); }
    __device__ sq_c64 hrp(int n, int k) const
    {
        return sq_c64_scale(sq_c64_mul(mode[n].r, mode[n].p[k]), half);
    }
    /* x - h r p y */
    __device__ sq_c64 corrected(int n, sq_c64 x, const double *y) const
    {
        for (int k = 0; k < rank; k++)
            x = sq_c64_sub(x, sq_c64_scale(hrp(n, k), y[k]));
        return x;
    }
    __device__ sq_c64 w(int n, sq_c64 x, double u, const double *k) const
    {
        return corrected(n, sq_c64_mul_add(sq_c64_scale(gain(n), u), mode[n].step.z, x), k);
    }
    /* k and s of a step from states x(n). */
    template <typename X>
    __device__ void couple(X x, double u, double *k, double *s) const
    {
        double after[MAX_RANK] = {};
        for (int i = 0; i < rank; i++)
            k[i] = s[i] = 0;
        for (int n = 0; n < count; n++)
            for (int i = 0; i < rank; i++)
                k[i] += sq_s4_scan_dot(mode[n].p[i], x(n));
        for (int n = 0; n < count; n++)
            for (int i = 0; i < rank; i++)
                after[i] += sq_s4_scan_dot(mode[n].p[i], w(n, x(n), u, k));
        for (int i = 0; i < rank; i++)
            for (int j = 0; j < rank; j++)
                s[i] += inverse.at[i][j] * after[j];
    }
    __device__ void step(double u, sq_c64 *x) const
    {
        double k[MAX_RANK], s[MAX_RANK];
        couple([&](int n) { return x[n]; }, u, k, s);
        for (int n = 0; n < count; n++)
            x[n] = corrected(n, w(n, x[n], u, k), s);
    }
};

struct naive_row {
    naive_scan s;

    __device__ void operator()(int64_t row) const
    {
        const int64_t batch = row / s.q.channels, d = row % s.q.channels;
        const naive_channel own(s, d);
        const double skip = s.q.in.skip[d * s.q.in.skip_stride];
        sq_c64 x[NAIVE_MODES];
        for (int n = 0; n < s.q.count; n++)
            x[n] = s.state(s.q.initial, batch, d, n);
        for (int64_t t = 0; t < s.q.length; t++) {
            const double in = s.u.load(batch, t, d);
            double sum = skip * in;
            own.step(in, x);
            for (int n = 0; n < s.q.count; n++)
                sum += 2 * sq_c64_mul(pair(s.q.in.c_at(d, n)), x[n]).re;
            s.y.store(batch, t, d, (float)sum);
        }
        s.put_states(s.final, batch, d, x);
    }
};

inline sq_status naive_supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (call->in[IN_C].dim[1] > NAIVE_MODES)
        return sq_fail(why, SQ_UNSUPPORTED, "N > %d: a thread keeps all states", 2 * NAIVE_MODES);
    return sq_naive_supports(call, device, why);
}

inline size_t naive_forward_workspace(const sq_call *call)
{
    const sq_tensor *c = &call->in[IN_C];
    return (size_t)(c->dim[0] * c->dim[1]) * sizeof(exact_mode);
}

/* modes: the workspace's, which are made here; y and final: of passes that have them. */
inline sq_status naive_scan_of(const sq_call *call, exact_mode *modes, naive_scan *s, sq_error *err)
{
    *s = {parameters_of(call), tokens_of(&call->in[IN_U]), {}, {}, modes, (int)call->axis[AXIS_R]};
    return sq_naive_run(call, naive_modes{*s}, s->q.channels * s->q.count, err);
}

inline sq_status naive_forward(const sq_call *call, sq_error *err)
{
    naive_scan s;
    SQ_TRY(naive_scan_of(call, (exact_mode *)call->workspace, &s, err));
    s.y = tokens_of(&call->out[OUT_Y]);
    s.final = sq_pairs_of(&call->out[OUT_FINAL]);
    return sq_naive_run(call, naive_row{s}, s.q.batch * s.q.channels, err);
}

} // namespace sq_s4_scan

#endif
