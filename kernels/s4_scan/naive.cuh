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
};

struct naive_modes {
    naive_scan s;

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i / s.q.count, n = i % s.q.count;
        s.modes[i] = exact_mode(s.q, s.step_of(d), d % s.q.copies, n, s.rank);
    }
};

struct naive_row {
    naive_scan s;

    /* x = (1 - dt/2 A)^-1 ((1 + dt/2 A) x + dt b u), by Woodbury's identity. */
    __device__ void step(const exact_mode *mode, const sq_s4_scan_correction &inverse, double half,
                         double in, sq_c64 *x) const
    {
        double before[MAX_RANK] = {}, after[MAX_RANK] = {};
        for (int n = 0; n < s.q.count; n++)
            for (int k = 0; k < s.rank; k++)
                before[k] += sq_s4_scan_dot(mode[n].p[k], x[n]);
        for (int n = 0; n < s.q.count; n++) {
            sq_c64 slope = sq_c64_mul_add(sq_c64_scale(mode[n].b, 2 * in), mode[n].a, x[n]);
            for (int k = 0; k < s.rank; k++)
                slope = sq_c64_sub(slope, sq_c64_scale(mode[n].p[k], before[k]));
            x[n] = sq_c64_mul(mode[n].r, sq_c64_add(x[n], sq_c64_scale(slope, half)));
            for (int k = 0; k < s.rank; k++)
                after[k] += sq_s4_scan_dot(mode[n].p[k], x[n]);
        }
        for (int i = 0; i < s.rank; i++) {
            const double sum = inverse.at[i][0] * after[0] + inverse.at[i][1] * after[1];
            for (int n = 0; n < s.q.count; n++)
                x[n] =
                    sq_c64_sub(x[n], sq_c64_scale(sq_c64_mul(mode[n].r, mode[n].p[i]), half * sum));
        }
    }

    __device__ void step_diagonal(const exact_mode *mode, double in, sq_c64 *x) const
    {
        for (int n = 0; n < s.q.count; n++)
            x[n] = sq_c64_mul_add(sq_c64_scale(sq_c64_mul(mode[n].step.f, mode[n].b), in),
                                  mode[n].step.z, x[n]);
    }

    __device__ void operator()(int64_t row) const
    {
        const int64_t batch = row / s.q.channels, d = row % s.q.channels;
        const exact_mode *mode = s.modes + d * s.q.count;
        const double half = s.step_of(d) / 2, skip = s.q.in.skip[d * s.q.in.skip_stride];
        sq_s4_scan_correction gram = {};
        sq_c64 x[NAIVE_MODES];
        for (int n = 0; n < s.q.count; n++) {
            x[n] = s.q.initial.data ? pair(s.q.initial.at(batch, d, n)) : sq_c64_of(0, 0);
            for (int i = 0; i < s.rank; i++)
                for (int k = 0; k < s.rank; k++)
                    gram.at[i][k] +=
                        sq_s4_scan_dot(mode[n].p[i], sq_c64_mul(mode[n].r, mode[n].p[k]));
        }
        const sq_s4_scan_correction inverse = sq_s4_scan_invert(&gram, half);
        for (int64_t t = 0; t < s.q.length; t++) {
            const double in = s.u.load(batch, t, d);
            double sum = skip * in;
            if (s.rank > 0)
                step(mode, inverse, half, in, x);
            else
                step_diagonal(mode, in, x);
            for (int n = 0; n < s.q.count; n++)
                sum += 2 * sq_c64_mul(pair(s.q.in.c_at(d, n)), x[n]).re;
            s.y.store(batch, t, d, (float)sum);
        }
        for (int n = 0; s.final.data && n < s.q.count; n++) {
            s.final.at(batch, d, n)[0] = (float)x[n].re;
            s.final.at(batch, d, n)[1] = (float)x[n].im;
        }
    }
};

inline sq_status naive_supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    if (call->in[IN_C].dim[1] > NAIVE_MODES)
        return sq_fail(why, SQ_UNSUPPORTED, "N > %d: a thread keeps all states", 2 * NAIVE_MODES);
    return sq_naive_supports(call, device, why);
}

inline size_t naive_workspace(const sq_call *call)
{
    const sq_tensor *c = &call->in[IN_C];
    return (size_t)(c->dim[0] * c->dim[1]) * sizeof(exact_mode);
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    const naive_scan s = {parameters_of(call),           tokens_of(&call->in[IN_U]),
                          tokens_of(&call->out[OUT_Y]),  sq_pairs_of(&call->out[OUT_FINAL]),
                          (exact_mode *)call->workspace, (int)call->axis[AXIS_R]};
    SQ_TRY(sq_naive_run(call, naive_modes{s}, s.q.channels * s.q.count, err));
    return sq_naive_run(call, naive_row{s}, s.q.batch * s.q.channels, err);
}

} // namespace sq_s4_scan

#endif
