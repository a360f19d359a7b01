/* ssm: one mode of a diagonal state space x' = a x + b u, discretised, the same on host and device.
 *
 *   x_t = z x_{t-1} + f b u_t        a = -exp(a_real) + sign i a_imag,  step dt
 *   zero-order hold   z = e^(dt a)                          f = (z - 1) / a
 *   bilinear          z = (1 + dt a/2) / (1 - dt a/2)       f = dt / (1 - dt a/2)
 *
 * Source    Gu et al.: On the Parameterization and Initialization of Diagonal State Space Models
 *           (2206.11893), section 3.1 and table 1; bilinear: Gu et al.: S4 (2111.00396), equation 3
 * Gradients are those of a real loss: of a complex number z the derivative by its real part plus i
 * times that by its imaginary part, so dloss = Re(conj(gradient) dz).
 */
#ifndef SQ_KERNELS_SHARED_SSM_H
#define SQ_KERNELS_SHARED_SSM_H

#include "kernels/shared/c64.h"

enum { SQ_SSM_ZOH, SQ_SSM_BILINEAR };

typedef struct {
    sq_c64 z, f;
} sq_ssm_mode;

SQ_C64_FN sq_c64 sq_ssm_pole(double a_real, double a_imag, double sign)
{
    return sq_c64_of(-exp(a_real), sign * a_imag);
}

/* (e^x - 1) / x and its derivative; by their series near 0, where the differences would cancel. */
SQ_C64_FN void sq_ssm_phi(sq_c64 x, sq_c64 *phi, sq_c64 *slope)
{
    if (x.re * x.re + x.im * x.im < 0.01) {
        sq_c64 p = sq_c64_of(0, 0), s = sq_c64_of(0, 0);
        for (int k = 11; k >= 0; k--) { /* Horner: p = 1 + x/2 (1 + x/3 (...)), s its derivative */
            const double c = 1.0 / (k + 2);
            s = sq_c64_scale(sq_c64_add(sq_c64_add(sq_c64_of(1, 0), p), sq_c64_mul(x, s)), c);
            p = sq_c64_scale(sq_c64_add(x, sq_c64_mul(x, p)), c);
        }
        *phi = sq_c64_add(sq_c64_of(1, 0), p);
        *slope = s;
        return;
    }
    const sq_c64 e = sq_c64_exp(x), over = sq_c64_inv(x);
    *phi = sq_c64_mul(sq_c64_sub(e, sq_c64_of(1, 0)), over);
    *slope = sq_c64_mul(sq_c64_sub(e, *phi), over);
}

SQ_C64_FN sq_ssm_mode sq_ssm_discretise(int rule, double dt, sq_c64 a)
{
    sq_ssm_mode mode;
    if (rule == SQ_SSM_ZOH) {
        sq_c64 phi, slope;
        const sq_c64 x = sq_c64_scale(a, dt);
        sq_ssm_phi(x, &phi, &slope);
        mode.z = sq_c64_exp(x);
        mode.f = sq_c64_scale(phi, dt);
    } else {
        const sq_c64 half = sq_c64_scale(a, dt / 2);
        const sq_c64 r = sq_c64_inv(sq_c64_of(1 - half.re, -half.im));
        mode.z = sq_c64_mul(sq_c64_of(1 + half.re, half.im), r);
        mode.f = sq_c64_scale(r, dt);
    }
    return mode;
}

/* The gradients of a and of ln dt from those of z and f. */
SQ_C64_FN void sq_ssm_discretise_back(int rule, double dt, sq_c64 a, sq_ssm_mode gradient,
                                      sq_c64 *da, double *dlog_dt)
{
    if (rule == SQ_SSM_ZOH) {
        sq_c64 phi, slope;
        const sq_c64 x = sq_c64_scale(a, dt), z = sq_c64_exp(x);
        sq_ssm_phi(x, &phi, &slope);
        *da = sq_c64_add(sq_c64_conj_mul(sq_c64_scale(z, dt), gradient.z),
                         sq_c64_conj_mul(sq_c64_scale(slope, dt * dt), gradient.f));
        *dlog_dt = dt * (sq_c64_conj_mul(sq_c64_mul(a, z), gradient.z).re +
                         sq_c64_conj_mul(z, gradient.f).re);
        return;
    }
    const sq_c64 half = sq_c64_scale(a, dt / 2);
    const sq_c64 r = sq_c64_inv(sq_c64_of(1 - half.re, -half.im)), rr = sq_c64_mul(r, r);
    const sq_c64 d_half = sq_c64_add(sq_c64_conj_mul(sq_c64_scale(rr, 2), gradient.z),
                                     sq_c64_conj_mul(sq_c64_scale(rr, dt), gradient.f));
    *da = sq_c64_scale(d_half, dt / 2);
    *dlog_dt = sq_c64_conj_mul(half, d_half).re + dt * sq_c64_conj_mul(r, gradient.f).re;
}

/* The gradients of the pole's two parameters from that of the pole. */
SQ_C64_FN double sq_ssm_d_a_real(sq_c64 a, sq_c64 da)
{
    return a.re * da.re;
}
SQ_C64_FN double sq_ssm_d_a_imag(double sign, sq_c64 da)
{
    return sign * da.im;
}

#endif
