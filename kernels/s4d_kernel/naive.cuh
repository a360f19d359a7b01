/* naive: cuda/naive of s4d_kernel, in f64. fwd: a thread for each tap, which makes the power of
 * every mode for itself. bwd: a thread for each mode of a channel, whose parts of the gradients of
 * shared parameters go through the workspace; line by line s4d_kernel_bwd.c. Included by
 * s4d_kernel.cu alone.
 */
#ifndef SQ_KERNELS_S4D_KERNEL_NAIVE_CUH
#define SQ_KERNELS_S4D_KERNEL_NAIVE_CUH

#include "kernels/hw/naive.cuh"
#include "kernels/s4d_kernel/modes.cuh"

namespace sq_s4d
{

struct naive_tap {
    modes m;
    sq_pairs c;
    rows h;
    int64_t length, channels;

    __device__ void operator()(int64_t i) const
    {
        const int64_t t = i % length, d = i / length % channels, b = i / length / channels;
        double sum = 0;
        for (int n = 0; n < m.count; n++) {
            const mode one = m.of(d, n);
            const float *weight = c.at(b, d, n);
            const sq_c64 gain = sq_c64_mul(one.b, one.step.f);
            double log2_abs, turns;
            log_of(one.step.z, &log2_abs, &turns);
            sum += sq_c64_mul(sq_c64_mul(sq_c64_of(weight[0], weight[1]), gain),
                              power_of(log2_abs, turns, (double)t))
                       .re;
        }
        h.at(b, d)[t] = (float)(2 * sum);
    }
};

/* What a mode of a channel adds to the gradients of parameters that others share. */
struct naive_part {
    sq_c64 a, b;
    double log_dt;
};

/* parts: (D, N/2). */
struct naive_gradients {
    modes m;
    sq_pairs c, dc;
    rows dh;
    sq_naive_tensor<float> log_dt, a_real, a_imag, b;
    naive_part *parts;
    int64_t length, channels, filters;
};

struct naive_mode {
    naive_gradients g;

    /* The sums over the taps of filter f: by z^t and by z. */
    __device__ void sum_taps(int64_t f, int64_t d, sq_c64 z, sq_c64 *p, sq_c64 *q) const
    {
        sq_c64 power = sq_c64_of(1, 0), before = sq_c64_of(0, 0);
        *p = *q = before;
        for (int64_t t = 0; t < g.length; t++) {
            const double dh = 2.0 * g.dh.at(f, d)[t];
            *p = sq_c64_add(*p, sq_c64_scale(power, dh));
            *q = sq_c64_add(*q, sq_c64_scale(before, dh * (double)t));
            before = power;
            power = sq_c64_mul(power, sq_c64_conj(z));
        }
    }

    __device__ void operator()(int64_t i) const
    {
        const int64_t d = i / g.m.count;
        const int n = (int)(i % g.m.count);
        const mode one = g.m.of(d, n);
        const sq_c64 gain = sq_c64_mul(one.b, one.step.f);
        sq_c64 dgain = sq_c64_of(0, 0);
        sq_ssm_mode gradient = {dgain, dgain};
        for (int64_t f = 0; f < g.filters; f++) {
            const sq_c64 c = sq_c64_of(g.c.at(f, d, n)[0], g.c.at(f, d, n)[1]);
            sq_c64 p, q;
            sum_taps(f, d, one.step.z, &p, &q);
            const sq_c64 dc = sq_c64_conj_mul(gain, p);
            g.dc.at(f, d, n)[0] = (float)dc.re;
            g.dc.at(f, d, n)[1] = (float)dc.im;
            dgain = sq_c64_add(dgain, sq_c64_conj_mul(c, p));
            gradient.z = sq_c64_add(gradient.z, sq_c64_conj_mul(sq_c64_mul(c, gain), q));
        }
        gradient.f = sq_c64_conj_mul(one.b, dgain);
        naive_part *part = &g.parts[i];
        part->b = sq_c64_conj_mul(one.step.f, dgain);
        sq_ssm_discretise_back(g.m.rule, one.dt, one.a, gradient, &part->a, &part->log_dt);
    }
};

/* A mode of a state space: the sum over its channels. */
struct naive_shared {
    naive_gradients g;

    __device__ void operator()(int64_t i) const
    {
        const int64_t s = i / g.m.count, n = i % g.m.count;
        sq_c64 da = sq_c64_of(0, 0), db = sq_c64_of(0, 0);
        for (int64_t d = s; d < g.channels; d += g.m.copies) {
            da = sq_c64_add(da, g.parts[d * g.m.count + n].a);
            db = sq_c64_add(db, g.parts[d * g.m.count + n].b);
        }
        g.a_real.store((float)sq_ssm_d_a_real(g.m.of(s, (int)n).a, da), s, n);
        g.a_imag.store((float)sq_ssm_d_a_imag(g.m.sign, da), s, n);
        if (g.b.data) {
            g.b.store((float)db.re, s, n, 0);
            g.b.store((float)db.im, s, n, 1);
        }
    }
};

/* A channel's step: the sum over its modes. */
struct naive_step {
    naive_gradients g;

    __device__ void operator()(int64_t d) const
    {
        double sum = 0;
        for (int n = 0; n < g.m.count; n++)
            sum += g.parts[d * g.m.count + n].log_dt;
        g.log_dt.store((float)sum, d);
    }
};

inline size_t naive_workspace(const sq_call *call)
{
    const sq_tensor *c = &call->in[IN_C];
    return call->pass == SQ_PASS_BWD ? (size_t)(c->dim[1] * c->dim[2]) * sizeof(naive_part) : 0;
}

inline sq_status naive_launch(const sq_call *call, void *, sq_error *err)
{
    const sq_tensor *c = &call->in[IN_C], *h = &call->out[0];
    if (call->pass != SQ_PASS_BWD) {
        const naive_tap f = {modes_of(call), sq_pairs_of(c), rows_of(h), h->dim[2], h->dim[1]};
        return sq_naive_run(call, f, sq_tensor_count(h), err);
    }
    const sq_tensor *dh = &call->in[IN_COUNT], *out = call->out;
    const naive_gradients g = {modes_of(call),
                               sq_pairs_of(c),
                               sq_pairs_of(&out[IN_C]),
                               rows_of(dh),
                               sq_naive_of<float>(out[IN_LOG_DT]),
                               sq_naive_of<float>(out[IN_A_REAL]),
                               sq_naive_of<float>(out[IN_A_IMAG]),
                               sq_naive_of<float>(out[IN_GAIN]),
                               (naive_part *)call->workspace,
                               dh->dim[2],
                               dh->dim[1],
                               dh->dim[0]};
    SQ_TRY(sq_naive_run(call, naive_mode{g}, g.channels * g.m.count, err));
    SQ_TRY(sq_naive_run(call, naive_shared{g}, g.m.copies * g.m.count, err));
    return sq_naive_run(call, naive_step{g}, g.channels, err);
}

} // namespace sq_s4d

#endif
