/* s4d_kernel, backward. With g_n = b_n f_n and z, f of a mode (kernels/shared/ssm.h):
 *
 *   P_{bn} = 2 sum_t dh_{bt} conj(z_n^t)                    Q_{bn} = 2 sum_t t dh_{bt}
 * conj(z_n^(t-1)) dc_{bn} = conj(g_n) P_{bn}                              dg_n = sum_b conj(c_{bn})
 * P_{bn} dz_n = sum_b conj(c_{bn} g_n) Q_{bn}                    db = conj(f) dg,  df = conj(b) dg
 *
 * and from dz and df those of dt and a. Channels that share a state space add up.
 *
 * Source: the chain rule on s4d_kernel.c's equation.
 */
#include "kernels/s4d_kernel/s4d_kernel.h"

#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DH = IN_COUNT };

/* P and Q of one filter and mode. */
static void sum_taps(const sq_tensor *dh, int64_t b, int64_t d, sq_c64 z, sq_c64 *p, sq_c64 *q)
{
    sq_c64 power = sq_c64_of(1, 0), before = sq_c64_of(0, 0); /* conj(z^t), conj(z^(t-1)) */
    *p = *q = sq_c64_of(0, 0);
    for (int64_t t = 0; t < dh->dim[2]; t++) {
        const double g = 2 * sq_load3(dh, b, d, t);
        *p = sq_c64_add(*p, sq_c64_scale(power, g));
        *q = sq_c64_add(*q, sq_c64_scale(before, g * (double)t));
        before = power;
        power = sq_c64_mul(power, sq_c64_conj(z));
    }
}

/* Writes dc; returns the mode's gradient by ln dt, and by a and b in *da and *db. */
static double run_mode(const sq_call *call, int64_t d, int64_t n, sq_c64 *da, sq_c64 *db)
{
    const sq_tensor *dc = &call->out[IN_C];
    const sq_s4d_mode m = sq_s4d_mode_of(call, d, n);
    const sq_c64 gain = sq_c64_mul(m.b, m.step.f);
    sq_c64 dgain = sq_c64_of(0, 0);
    sq_ssm_mode gradient = {.z = {0, 0}};
    double dlog_dt;
    for (int64_t b = 0; b < dc->dim[0]; b++) {
        const sq_c64 c = sq_pair_load(&call->in[IN_C], b, d, n);
        sq_c64 p, q;
        sum_taps(&call->in[IN_DH], b, d, m.step.z, &p, &q);
        sq_pair_store(dc, b, d, n, sq_c64_conj_mul(gain, p));
        dgain = sq_c64_add(dgain, sq_c64_conj_mul(c, p));
        gradient.z = sq_c64_add(gradient.z, sq_c64_conj_mul(sq_c64_mul(c, gain), q));
    }
    gradient.f = sq_c64_conj_mul(m.b, dgain);
    *db = sq_c64_conj_mul(m.step.f, dgain);
    sq_ssm_discretise_back((int)call->axis[AXIS_DISC], m.dt, m.a, gradient, da, &dlog_dt);
    return dlog_dt;
}

/* All channels of state space s, one mode: log_dt[d] grows by the mode's share. */
static void run_modes(const sq_call *call, int64_t s, int64_t n, double *log_dt)
{
    const sq_tensor *b = &call->out[IN_GAIN];
    const int64_t channels = call->in[IN_LOG_DT].dim[0], copies = call->out[IN_A_REAL].dim[0];
    sq_c64 da = sq_c64_of(0, 0), db = sq_c64_of(0, 0);
    const sq_s4d_mode m = sq_s4d_mode_of(call, s, n);
    for (int64_t d = s; d < channels; d += copies) {
        sq_c64 a_one, b_one;
        log_dt[d] += run_mode(call, d, n, &a_one, &b_one);
        da = sq_c64_add(da, a_one);
        db = sq_c64_add(db, b_one);
    }
    sq_ssm_store_pole_gradient(&call->out[IN_LOG_DT], s, n, m.a, m.sign, da);
    if (b->data)
        sq_pair_store(b, s, n, 0, db);
}

sq_status sq_s4d_kernel_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *dlog_dt = &call->out[IN_LOG_DT];
    const int64_t copies = call->in[IN_A_REAL].dim[0], modes = call->in[IN_A_REAL].dim[1];
    double *log_dt = calloc((size_t)dlog_dt->dim[0] + 1, sizeof *log_dt);
    if (!log_dt)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "s4d_kernel backward: %lld steps",
                       (long long)dlog_dt->dim[0]);
#pragma omp parallel for
    for (int64_t s = 0; s < copies; s++)
        for (int64_t n = 0; n < modes; n++)
            run_modes(call, s, n, log_dt);
    for (int64_t d = 0; d < dlog_dt->dim[0]; d++)
        sq_store(dlog_dt->data, dlog_dt->dtype, d * dlog_dt->stride[0], log_dt[d]);
    free(log_dt);
    return SQ_OK;
}
