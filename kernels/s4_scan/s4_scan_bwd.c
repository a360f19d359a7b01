/* s4_scan, backward. Gradients as in kernels/shared/ssm.h; X is that of x_t, from y_t and step t
 * + 1.
 *
 * R = 0     dz = sum_t conj(x_{t-1}) X,  d(f b) = sum_t u_t X,  du = Re sum conj(f b) X,
 *           X_{t-1} gets conj(z) X
 * R > 0     a step is  k = p* x,  v = x + h (a x - p k + 2 b u),  w = r v,  s = M^-1 p* w,
 *           x' = w - h r p s,  with h = dt/2, r = 1/(1 - h a), M = 1 + h p* r p;  each of these
 * lines is turned round, from the last to the first
 *
 * The states of a sequence are kept. Source: the chain rule on s4_scan.c's equations.
 */
#include "kernels/s4_scan/s4_scan.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/shared/rows.h"

typedef struct {
    sq_c64 a, b, c, p[MAX_RANK], r;
    sq_ssm_mode step;
} mode_gradient;

/* One channel. state: L + 1 rows of modes. w: M^-1's argument and its gradient go through rows of
 * modes. inverse: gradient of M. */
typedef struct {
    sq_s4_scan_channel own;
    mode_gradient *mode;
    sq_c64 *state, *dx, *w;
    double half, skip, m[MAX_RANK][MAX_RANK];
} channel;

static sq_c64 add_scaled(sq_c64 a, double x, sq_c64 b)
{
    return sq_c64_of(a.re + x * b.re, a.im + x * b.im);
}

/* Re(conj(a) b) */
static double inner(sq_c64 a, sq_c64 b)
{
    return a.re * b.re + a.im * b.im;
}

/* dx: of the state after the step; becomes that before. Returns du. */
static double diagonal_back(channel *p, double u, const sq_c64 *x)
{
    double du = 0;
    for (int64_t n = 0; n < p->own.modes; n++) {
        const sq_s4_scan_mode *m = &p->own.mode[n];
        const sq_c64 gain = sq_c64_mul(m->step.f, m->b), g = sq_c64_scale(p->dx[n], u);
        p->mode[n].step.z = sq_c64_add(p->mode[n].step.z, sq_c64_conj_mul(x[n], p->dx[n]));
        p->mode[n].step.f = sq_c64_add(p->mode[n].step.f, sq_c64_conj_mul(m->b, g));
        p->mode[n].b = sq_c64_add(p->mode[n].b, sq_c64_conj_mul(m->step.f, g));
        du += inner(gain, p->dx[n]);
        p->dx[n] = sq_c64_conj_mul(m->step.z, p->dx[n]);
    }
    return du;
}

/* x' = w - h r p s and s = M^-1 p* w: dx becomes the gradient of w. */
static void correction_back(channel *p)
{
    const int rank = p->own.rank;
    const double h = p->own.dt / 2;
    double q[MAX_RANK] = {0}, s[MAX_RANK] = {0}, ds[MAX_RANK] = {0}, dq[MAX_RANK] = {0};
    for (int64_t n = 0; n < p->own.modes; n++)
        for (int k = 0; k < rank; k++)
            q[k] += sq_s4_scan_dot(p->own.mode[n].p[k], p->w[n]);
    for (int i = 0; i < rank; i++)
        for (int k = 0; k < rank; k++)
            s[i] += p->own.inverse.at[i][k] * q[k];
    for (int64_t n = 0; n < p->own.modes; n++) {
        const sq_s4_scan_mode *m = &p->own.mode[n];
        const sq_c64 dv = sq_c64_scale(sq_c64_conj_mul(m->r, p->dx[n]), -h);
        sq_c64 v = sq_c64_of(0, 0);
        for (int k = 0; k < rank; k++) {
            v = add_scaled(v, s[k], m->p[k]);
            ds[k] += inner(m->p[k], dv);
            p->mode[n].p[k] = add_scaled(p->mode[n].p[k], s[k], dv);
        }
        p->mode[n].r = add_scaled(p->mode[n].r, -h, sq_c64_conj_mul(v, p->dx[n]));
        p->half -= inner(sq_c64_mul(m->r, v), p->dx[n]);
    }
    for (int i = 0; i < rank; i++)
        for (int k = 0; k < rank; k++)
            dq[i] += p->own.inverse.at[k][i] * ds[k];
    for (int i = 0; i < rank; i++)
        for (int k = 0; k < rank; k++)
            p->m[i][k] -= dq[i] * s[k];
    for (int64_t n = 0; n < p->own.modes; n++)
        for (int k = 0; k < rank; k++) {
            p->mode[n].p[k] = add_scaled(p->mode[n].p[k], 2 * dq[k], p->w[n]);
            p->dx[n] = add_scaled(p->dx[n], 2 * dq[k], p->own.mode[n].p[k]);
        }
}

static double low_rank_back(channel *p, double u, const sq_c64 *x)
{
    const int rank = p->own.rank;
    const double h = p->own.dt / 2;
    double k_of[MAX_RANK] = {0}, dk[MAX_RANK] = {0}, du = 0;
    for (int64_t n = 0; n < p->own.modes; n++)
        for (int k = 0; k < rank; k++)
            k_of[k] += sq_s4_scan_dot(p->own.mode[n].p[k], x[n]);
    sq_c64 *slope = p->w + p->own.modes;
    for (int64_t n = 0; n < p->own.modes; n++) {
        const sq_s4_scan_mode *m = &p->own.mode[n];
        slope[n] = sq_c64_mul_add(sq_c64_scale(m->b, 2 * u), m->a, x[n]);
        for (int k = 0; k < rank; k++)
            slope[n] = add_scaled(slope[n], -k_of[k], m->p[k]);
        p->w[n] = sq_c64_mul(m->r, add_scaled(x[n], h, slope[n]));
    }
    correction_back(p);
    for (int64_t n = 0; n < p->own.modes; n++) {
        const sq_s4_scan_mode *m = &p->own.mode[n];
        mode_gradient *g = &p->mode[n];
        g->r = sq_c64_add(g->r, sq_c64_conj_mul(add_scaled(x[n], h, slope[n]), p->dx[n]));
        const sq_c64 dv = sq_c64_conj_mul(m->r, p->dx[n]);
        p->half += inner(slope[n], dv);
        g->a = add_scaled(g->a, h, sq_c64_conj_mul(x[n], dv));
        g->b = add_scaled(g->b, 2 * h * u, dv);
        du += 2 * h * inner(m->b, dv);
        for (int k = 0; k < rank; k++) {
            g->p[k] = add_scaled(g->p[k], -h * k_of[k], dv);
            dk[k] -= h * inner(m->p[k], dv);
        }
        p->dx[n] = add_scaled(dv, h, sq_c64_conj_mul(m->a, dv));
    }
    for (int64_t n = 0; n < p->own.modes; n++)
        for (int k = 0; k < rank; k++) {
            p->mode[n].p[k] = add_scaled(p->mode[n].p[k], 2 * dk[k], x[n]);
            p->dx[n] = add_scaled(p->dx[n], 2 * dk[k], p->own.mode[n].p[k]);
        }
    return du;
}

static void run_sequence(channel *p, int64_t batch)
{
    const sq_call *call = p->own.call;
    const sq_tensor *u = &call->in[IN_U], *initial = &call->in[IN_INITIAL];
    const sq_tensor *dfinal = &call->in[IN_DFINAL], *dinitial = &call->out[IN_INITIAL];
    const int64_t modes = p->own.modes, d = p->own.d;
    for (int64_t n = 0; n < modes; n++) {
        p->state[n] = initial->data ? sq_pair_load(initial, batch, d, n) : sq_c64_of(0, 0);
        p->dx[n] = dfinal->data ? sq_pair_load(dfinal, batch, d, n) : sq_c64_of(0, 0);
    }
    for (int64_t t = 0; t < u->dim[1]; t++)
        sq_s4_scan_step(&p->own, sq_load3(u, batch, t, d), p->state + t * modes,
                        p->state + (t + 1) * modes);
    for (int64_t t = u->dim[1] - 1; t >= 0; t--) {
        const double in = sq_load3(u, batch, t, d), dy = sq_load3(&call->in[IN_DY], batch, t, d);
        const sq_c64 *before = p->state + t * modes, *after = before + modes;
        p->skip += dy * in;
        for (int64_t n = 0; n < modes; n++) {
            p->mode[n].c = add_scaled(p->mode[n].c, 2 * dy, sq_c64_conj(after[n]));
            p->dx[n] = add_scaled(p->dx[n], 2 * dy, sq_c64_conj(p->own.mode[n].c));
        }
        const double du =
            p->own.rank > 0 ? low_rank_back(p, in, before) : diagonal_back(p, in, before);
        sq_store3(&call->out[IN_U], batch, t, d, du + p->own.skip * dy);
    }
    for (int64_t n = 0; dinitial->data && n < modes; n++)
        sq_pair_store(dinitial, batch, d, n, p->dx[n]);
}

/* From M, r and the discretised modes to the parameters; the gradient of ln dt. */
static double parameters_back(channel *p)
{
    const double h = p->own.dt / 2;
    double log_dt = 0;
    for (int64_t n = 0; n < p->own.modes; n++) {
        const sq_s4_scan_mode *m = &p->own.mode[n];
        mode_gradient *g = &p->mode[n];
        sq_c64 da;
        double dlog;
        if (p->own.rank == 0) {
            sq_ssm_discretise_back((int)p->own.call->axis[AXIS_DISC], p->own.dt, m->a, g->step, &da,
                                   &dlog);
            g->a = sq_c64_add(g->a, da);
            log_dt += dlog;
            continue;
        }
        for (int i = 0; i < p->own.rank; i++)
            for (int k = 0; k < p->own.rank; k++) {
                const double gram = 2 * h * p->m[i][k];
                g->p[k] = add_scaled(g->p[k], gram, sq_c64_conj_mul(m->r, m->p[i]));
                g->p[i] = add_scaled(g->p[i], gram, sq_c64_mul(m->r, m->p[k]));
                g->r = add_scaled(g->r, gram, sq_c64_conj_mul(m->p[k], m->p[i]));
            }
        const sq_c64 rr = sq_c64_mul(m->r, m->r);
        g->a = add_scaled(g->a, h, sq_c64_conj_mul(rr, g->r));
        p->half += inner(sq_c64_mul(rr, m->a), g->r);
    }
    for (int i = 0; i < p->own.rank; i++)
        for (int k = 0; k < p->own.rank; k++)
            p->half += p->m[i][k] * p->own.gram.at[i][k];
    return log_dt + h * p->half;
}

/* false: no memory. gradient: the channel's modes, zeros. */
static bool run_channel(const sq_call *call, int64_t d, mode_gradient *gradient)
{
    const int64_t modes = call->in[IN_C].dim[1], length = call->in[IN_U].dim[1];
    const sq_tensor *out = call->out;
    sq_s4_scan_mode *mode =
        malloc((size_t)modes * (sizeof *mode + (size_t)(length + 4) * sizeof(sq_c64)));
    if (!mode)
        return false;
    channel p = {.mode = gradient, .state = (sq_c64 *)(mode + modes)};
    p.dx = p.state + (length + 1) * modes;
    p.w = p.dx + modes;
    sq_s4_scan_channel_read(call, d, mode, &p.own);
    for (int64_t batch = 0; batch < call->in[IN_U].dim[0]; batch++)
        run_sequence(&p, batch);
    const double log_dt = parameters_back(&p);
    sq_store(out[IN_LOG_DT].data, out[IN_LOG_DT].dtype, d * out[IN_LOG_DT].stride[0], log_dt);
    sq_store(out[IN_SKIP].data, out[IN_SKIP].dtype, d * out[IN_SKIP].stride[0], p.skip);
    for (int64_t n = 0; n < modes; n++)
        sq_pair_store(&out[IN_C], d, n, 0, gradient[n].c);
    free(mode);
    return true;
}

/* Mode n of copy s: the sum over its channels. gradient: (D, modes). */
static void write_mode(const sq_call *call, int64_t s, int64_t n, const mode_gradient *gradient)
{
    const sq_tensor *in = call->in, *out = call->out;
    const int64_t copies = in[IN_A_REAL].dim[0], modes = in[IN_A_REAL].dim[1];
    const int rank = (int)call->axis[AXIS_R];
    const double sign = call->axis[AXIS_CONJUGATE] != 0 ? -1 : 1;
    mode_gradient sum = {.a = {0, 0}};
    for (int64_t d = s; d < in[IN_U].dim[2]; d += copies) {
        const mode_gradient *one = &gradient[d * modes + n];
        sum.a = sq_c64_add(sum.a, one->a);
        sum.b = sq_c64_add(sum.b, one->b);
        for (int k = 0; k < rank; k++)
            sum.p[k] = sq_c64_add(sum.p[k], one->p[k]);
    }
    const sq_c64 a = sq_ssm_load_pole(&in[IN_LOG_DT], s, n, sign);
    sq_ssm_store_pole_gradient(&out[IN_LOG_DT], s, n, a, sign, sum.a);
    sq_pair_store(&out[IN_GAIN], s, n, 0, sum.b);
    for (int k = 0; k < rank; k++)
        sq_pair_store(&out[IN_P], k, s, n, sum.p[k]);
}

sq_status sq_s4_scan_backward(const sq_call *call, sq_error *err)
{
    const int64_t channels = call->in[IN_U].dim[2], modes = call->in[IN_C].dim[1];
    mode_gradient *gradient = calloc((size_t)(channels * modes) + 1, sizeof *gradient);
    bool is_short = !gradient;
#pragma omp parallel for schedule(dynamic) reduction(|| : is_short)
    for (int64_t d = 0; d < channels; d++)
        if (gradient)
            is_short = !run_channel(call, d, &gradient[d * modes]) || is_short;
    for (int64_t s = 0; !is_short && s < call->in[IN_A_REAL].dim[0]; s++)
        for (int64_t n = 0; n < modes; n++)
            write_mode(call, s, n, gradient);
    free(gradient);
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "s4_scan backward: states of %lld steps",
                              (long long)call->in[IN_U].dim[1])
                    : SQ_OK;
}
