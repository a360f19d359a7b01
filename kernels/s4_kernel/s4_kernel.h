/* s4_kernel: positions of its axes and tensors, and its parts, for the files of this folder alone.
 */
#ifndef SQ_KERNELS_S4_KERNEL_S4_KERNEL_H
#define SQ_KERNELS_S4_KERNEL_S4_KERNEL_H

#include "kernels/op.h"
#include "kernels/shared/fft.h"
#include "kernels/shared/ssm_op.h"

enum { AXIS_B, AXIS_L, AXIS_D, AXIS_N, AXIS_R, AXIS_S, AXIS_CONJUGATE, AXIS_PAIRS };
enum { IN_LOG_DT, IN_A_REAL, IN_A_IMAG, IN_GAIN, IN_P, IN_C, IN_COUNT };
enum { MAX_RANK = 2 };

#ifdef __cplusplus
extern "C" {
#endif

/* Point j of the L-th roots of unity: w = e^(-2 pi i j/L) enters by q = 1 - w and g = (1 + w)/2
 * alone, of which neither is infinite anywhere. */
typedef struct {
    sq_c64 q, g;
} sq_s4_point;

SQ_C64_FN sq_s4_point sq_s4_point_of(int64_t j, int64_t length)
{
    const double half = 3.141592653589793238462643 * (double)j / (double)length;
    const double s = sin(half), c = cos(half);
    sq_s4_point p;
    p.q = sq_c64_of(2 * s * s, 2 * s * c);
    p.g = sq_c64_of(c * c, -s * c);
    return p;
}

/* The four resolvent sums of a point, and what the correction of low rank makes of them. */
typedef struct {
    sq_c64 cb, cp[MAX_RANK], pb[MAX_RANK], pp[MAX_RANK][MAX_RANK];
} sq_s4_sums;

/* left = cp M^-1, right = M^-1 pb, M = 1 + g pp (rank x rank). */
typedef struct {
    sq_c64 left[MAX_RANK], right[MAX_RANK];
} sq_s4_solution;

SQ_C64_FN sq_s4_solution sq_s4_solve(const sq_s4_sums *r, sq_c64 g, int rank)
{
    sq_s4_solution out;
    sq_c64 m[MAX_RANK][MAX_RANK];
    for (int i = 0; i < MAX_RANK; i++)
        for (int k = 0; k < MAX_RANK; k++) {
            m[i][k] = sq_c64_of(i == k ? 1 : 0, 0);
            if (i < rank && k < rank)
                m[i][k] = sq_c64_mul_add(m[i][k], g, r->pp[i][k]);
        }
    const sq_c64 over =
        sq_c64_inv(sq_c64_sub(sq_c64_mul(m[0][0], m[1][1]), sq_c64_mul(m[0][1], m[1][0])));
    const sq_c64 inverse[MAX_RANK][MAX_RANK] = {
        {sq_c64_mul(m[1][1], over), sq_c64_scale(sq_c64_mul(m[0][1], over), -1)},
        {sq_c64_scale(sq_c64_mul(m[1][0], over), -1), sq_c64_mul(m[0][0], over)}};
    for (int i = 0; i < MAX_RANK; i++) {
        out.left[i] = out.right[i] = sq_c64_of(0, 0);
        for (int k = 0; i < rank && k < rank; k++) {
            out.left[i] = sq_c64_mul_add(out.left[i], r->cp[k], inverse[k][i]);
            out.right[i] = sq_c64_mul_add(out.right[i], inverse[i][k], r->pb[k]);
        }
    }
    return out;
}

/* cb - g cp M^-1 pb */
SQ_C64_FN sq_c64 sq_s4_value(const sq_s4_sums *r, const sq_s4_solution *solved, sq_c64 g, int rank)
{
    sq_c64 sum = sq_c64_of(0, 0);
    for (int k = 0; k < rank; k++)
        sum = sq_c64_mul_add(sum, r->cp[k], solved->right[k]);
    return sq_c64_sub(r->cb, sq_c64_mul(g, sum));
}

/* A mode of a channel. */
typedef struct {
    double dt;
    sq_c64 a, b, p[MAX_RANK];
    bool is_pair; /* its conjugate is a mode, too */
} sq_s4_mode;

/* dt / (q - g dt a) */
SQ_C64_FN sq_c64 sq_s4_resolvent_of(const sq_s4_point *at, double dt, sq_c64 a)
{
    const sq_c64 ga = sq_c64_mul(at->g, sq_c64_scale(a, dt));
    return sq_c64_scale(sq_c64_inv(sq_c64_sub(at->q, ga)), dt);
}

/* Of a mode and of its conjugate; 0 for one that is no mode, which takes it out of sums and
 * gradients. */
typedef struct {
    sq_c64 mode, conjugate;
} sq_s4_resolvents;

SQ_C64_FN sq_s4_resolvents sq_s4_resolvents_of(const sq_s4_point *at, const sq_s4_mode *m)
{
    sq_s4_resolvents r;
    r.mode = sq_s4_resolvent_of(at, m->dt, m->a);
    r.conjugate = m->is_pair ? sq_s4_resolvent_of(at, m->dt, sq_c64_conj(m->a)) : sq_c64_of(0, 0);
    return r;
}

/* *sum += x y of a mode and of its conjugate. */
SQ_C64_FN void sq_s4_add(sq_c64 *sum, sq_c64 x, sq_c64 y, const sq_s4_resolvents *r)
{
    const sq_c64 v = sq_c64_mul(x, y);
    *sum = sq_c64_mul_add(sq_c64_mul_add(*sum, v, r->mode), sq_c64_conj(v), r->conjugate);
}

SQ_C64_FN void sq_s4_add_mode(sq_s4_sums *sums, const sq_s4_mode *m, sq_c64 c,
                              const sq_s4_point *at, int rank)
{
    const sq_s4_resolvents r = sq_s4_resolvents_of(at, m);
    sq_s4_add(&sums->cb, c, m->b, &r);
    for (int i = 0; i < rank; i++) {
        sq_s4_add(&sums->cp[i], c, m->p[i], &r);
        sq_s4_add(&sums->pb[i], sq_c64_conj(m->p[i]), m->b, &r);
        for (int k = 0; k < rank; k++)
            sq_s4_add(&sums->pp[i][k], sq_c64_conj(m->p[i]), m->p[k], &r);
    }
}

/* --- backward: gradients as in kernels/shared/ssm.h --- */

/* Of the sums, from that of the value. */
SQ_C64_FN sq_s4_sums sq_s4_sums_back(const sq_s4_solution *solved, sq_c64 g, int rank,
                                     sq_c64 dvalue)
{
    sq_s4_sums d;
    const sq_c64 minus_g = sq_c64_scale(g, -1), gg = sq_c64_mul(g, g);
    d.cb = dvalue;
    for (int i = 0; i < MAX_RANK; i++) {
        d.cp[i] = d.pb[i] = sq_c64_of(0, 0);
        for (int k = 0; k < MAX_RANK; k++)
            d.pp[i][k] = sq_c64_of(0, 0);
    }
    for (int i = 0; i < rank; i++) {
        d.cp[i] = sq_c64_conj_mul(sq_c64_mul(minus_g, solved->right[i]), dvalue);
        d.pb[i] = sq_c64_conj_mul(sq_c64_mul(minus_g, solved->left[i]), dvalue);
        for (int k = 0; k < rank; k++)
            d.pp[i][k] = sq_c64_conj_mul(
                sq_c64_mul(gg, sq_c64_mul(solved->left[i], solved->right[k])), dvalue);
    }
    return d;
}

/* Gradients of a mode; grow by each point. */
typedef struct {
    sq_c64 c, b, p[MAX_RANK], a;
    double log_dt;
} sq_s4_mode_gradient;

/* Of the factors and the resolvents of sq_s4_add, from that of its sum. */
SQ_C64_FN void sq_s4_add_back(sq_c64 dsum, sq_c64 x, sq_c64 y, const sq_s4_resolvents *r,
                              sq_c64 *dx, sq_c64 *dy, sq_s4_resolvents *dr)
{
    const sq_c64 v = sq_c64_mul(x, y);
    const sq_c64 dv =
        sq_c64_add(sq_c64_conj_mul(r->mode, dsum), sq_c64_mul(sq_c64_conj(dsum), r->conjugate));
    *dx = sq_c64_add(*dx, sq_c64_conj_mul(y, dv));
    *dy = sq_c64_add(*dy, sq_c64_conj_mul(x, dv));
    dr->mode = sq_c64_add(dr->mode, sq_c64_conj_mul(v, dsum));
    dr->conjugate = sq_c64_add(dr->conjugate, sq_c64_mul(v, dsum));
}

/* r = dt / (q - g dt a): dr/da = g r^2, dr/d(ln dt) = q r^2 / dt. */
SQ_C64_FN void sq_s4_mode_back(const sq_s4_sums *d, const sq_s4_mode *m, sq_c64 c,
                               const sq_s4_point *at, int rank, sq_s4_mode_gradient *out)
{
    const sq_s4_resolvents r = sq_s4_resolvents_of(at, m);
    const sq_c64 mode2 = sq_c64_mul(r.mode, r.mode);
    const sq_c64 conjugate2 = sq_c64_mul(r.conjugate, r.conjugate);
    sq_s4_resolvents dr;
    dr.mode = dr.conjugate = sq_c64_of(0, 0);
    sq_s4_add_back(d->cb, c, m->b, &r, &out->c, &out->b, &dr);
    for (int i = 0; i < rank; i++) {
        const sq_c64 left = sq_c64_conj(m->p[i]);
        sq_c64 dleft = sq_c64_of(0, 0);
        sq_s4_add_back(d->cp[i], c, m->p[i], &r, &out->c, &out->p[i], &dr);
        sq_s4_add_back(d->pb[i], left, m->b, &r, &dleft, &out->b, &dr);
        for (int k = 0; k < rank; k++)
            sq_s4_add_back(d->pp[i][k], left, m->p[k], &r, &dleft, &out->p[k], &dr);
        out->p[i] = sq_c64_add(out->p[i], sq_c64_conj(dleft));
    }
    out->a = sq_c64_add(out->a,
                        sq_c64_add(sq_c64_conj_mul(sq_c64_mul(at->g, mode2), dr.mode),
                                   sq_c64_conj_mul(dr.conjugate, sq_c64_mul(at->g, conjugate2))));
    out->log_dt += (sq_c64_conj_mul(dr.mode, sq_c64_mul(at->q, mode2)).re +
                    sq_c64_conj_mul(dr.conjugate, sq_c64_mul(at->q, conjugate2)).re) /
                   m->dt;
}

/* s4_kernel_ref.c */
sq_status sq_s4_kernel_reference(const sq_call *call, sq_error *err);
sq_s4_mode sq_s4_mode_of(const sq_call *call, int64_t d, int64_t n);
/* The sums of filter b of channel d at a point. */
sq_s4_sums sq_s4_sums_of(const sq_call *call, int64_t b, int64_t d, const sq_s4_point *at);

/* s4_kernel_bwd.c */
sq_status sq_s4_kernel_backward(const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif

#endif
