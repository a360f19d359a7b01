/* selective_scan, backward. With g_t the gradient of the state h_t, a_t = exp(d_t A), e_t = dy_t
 * silu(z_t), all per channel and state:
 *
 *   g_t = e_t C_t + a_{t+1} g_{t+1}          dC_t = e_t h_t        dB_t = g_t d_t u_t
 *   du_t = e_t D + sum_n g_t d_t B_t         dA = sum_t g_t d_t a_t h_{t-1}
 *   dd_t = sum_n g_t (A a_t h_{t-1} + B_t u_t)                     dD = sum_t e_t u_t
 *   dz_t = dy_t (C_t . h_t + D u_t) silu'(z_t)
 *   ddelta_t = dd_t softplus'(delta_t + delta_bias), summed over t: ddelta_bias
 *   a_L g_L = dfinal_state                   dinitial_state = a_0 g_0
 *
 * Source: the chain rule on selective_scan.c's equations. B and C of a group get the sum over its
 * channels, so a group is one unit of work; constant in time they get the sum over steps instead.
 */
#include "kernels/selective_scan/selective_scan.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rounding.h"
#include "kernels/shared/rows.h"

/* Gradients of what all sequences share: of A, D, delta_bias, and of B and C where they are constant
 * in time; dense. */
typedef struct {
    double *a, *skip, *bias, *in_b, *in_c;
} totals;

/* B or C with its gradient, as (B, L, groups, N). sum: the gradient of row (b, g), (L, N); constant
 * in time: of the channel at hand, (N), which goes to total, (D, N). */
typedef struct {
    sq_tensor value, gradient;
    bool is_constant;
    double *sum, *total;
} projection;

/* One (b, g). h: the states of a channel before the first and after every step, (1 + L, N).
 * carried: a_{t+1} g_{t+1}. */
typedef struct {
    const sq_call *call;
    totals total;
    int64_t b, g, length, states;
    projection in_b, in_c;
    double *h, *carried, *d_decay;
} job;

static double value_at(const job *j, const projection *p, int64_t t, int64_t d, int64_t n)
{
    const int64_t g = p->is_constant ? d : j->g;
    const sq_tensor *v = &p->value;
    return sq_load(v->data, v->dtype, sq_offset3(v, j->b, t, g) + n * v->stride[3]);
}

static double *gradient_at(const job *j, const projection *p, int64_t t)
{
    return p->sum + (p->is_constant ? 0 : t * j->states);
}

static double load1(const sq_tensor *t, int64_t d)
{
    return t->data ? sq_load1(t, d) : 0;
}

static double raw_step(const job *j, int64_t t, int64_t d)
{
    return sq_load3(&j->call->in[IN_DELTA], j->b, t, d) + load1(&j->call->in[IN_BIAS], d);
}

static bool is_soft(const job *j, double x)
{
    return j->call->axis[AXIS_SOFTPLUS] != 0 && x <= 20;
}

static double step_size(const job *j, int64_t t, int64_t d)
{
    const double x = raw_step(j, t, d);
    return is_soft(j, x) ? log1p(exp(x)) : x;
}

/* u_t as it enters the states. */
static double input_at(const job *j, int64_t t, int64_t d, double step)
{
    const double u = sq_load3(&j->call->in[IN_U], j->b, t, d);
    return sq_named_factor(step, u);
}

static void run_states(const job *j, int64_t d)
{
    const sq_tensor *initial = &j->call->in[IN_INITIAL], *a = &j->call->in[IN_A];
    for (int64_t n = 0; n < j->states; n++)
        j->h[n] = initial->data ? sq_load3(initial, j->b, d, n) : 0;
    for (int64_t t = 0; t < j->length; t++) {
        const double step = step_size(j, t, d), u = input_at(j, t, d, step);
        const double *before = &j->h[t * j->states];
        for (int64_t n = 0; n < j->states; n++)
            j->h[(t + 1) * j->states + n] = exp(step * sq_load3(a, d, n, 0)) * before[n] +
                                            step * value_at(j, &j->in_b, t, d, n) * u;
    }
}

/* e_t, and dz_t on the way. */
static double open_gate(const job *j, int64_t t, int64_t d)
{
    const sq_tensor *z = &j->call->in[IN_Z];
    const double dy = sq_load3(&j->call->in[IN_DY], j->b, t, d);
    if (!z->data)
        return dy;
    const double x = sq_load3(z, j->b, t, d), s = 1 / (1 + exp(-x));
    double y = load1(&j->call->in[IN_SKIP], d) * sq_load3(&j->call->in[IN_U], j->b, t, d);
    for (int64_t n = 0; n < j->states; n++)
        y += value_at(j, &j->in_c, t, d, n) * j->h[(t + 1) * j->states + n];
    y = sq_named(y);
    sq_store3(&j->call->out[IN_Z], j->b, t, d, dy * y * s * (1 + x * (1 - s)));
    return sq_named(dy * x * sq_named_factor(x, s));
}

/* One step back; returns dd_t, and adds to *du the part that comes through the state. */
static double step_back(const job *j, int64_t t, int64_t d, double e, double *du)
{
    const double step = step_size(j, t, d), u = input_at(j, t, d, step);
    const double *before = &j->h[t * j->states], *after = before + j->states;
    double *db = gradient_at(j, &j->in_b, t), *dc = gradient_at(j, &j->in_c, t), d_step = 0;
    for (int64_t n = 0; n < j->states; n++) {
        const double rate = sq_load3(&j->call->in[IN_A], d, n, 0), decay = exp(step * rate);
        const double b = value_at(j, &j->in_b, t, d, n);
        const double g = e * value_at(j, &j->in_c, t, d, n) + j->carried[n];
        j->carried[n] = decay * g;
        dc[n] += e * after[n];
        db[n] += g * step * u;
        j->d_decay[n] += g * step * decay * before[n];
        d_step += g * (rate * decay * before[n] + b * u);
        *du += g * step * b;
    }
    return d_step;
}

/* The channel's gradient of a projection that is constant in time; sum starts again at zero. */
static void take_constant(const job *j, const projection *p, int64_t d)
{
    for (int64_t n = 0; p->is_constant && n < j->states; n++) {
        p->total[d * j->states + n] += p->sum[n];
        p->sum[n] = 0;
    }
}

static void run_steps_back(const job *j, int64_t d)
{
    const sq_call *call = j->call;
    double d_skip = 0, d_bias = 0;
    for (int64_t t = j->length - 1; t >= 0; t--) {
        const double e = open_gate(j, t, d), x = raw_step(j, t, d);
        double du = e * load1(&call->in[IN_SKIP], d);
        const double d_step = step_back(j, t, d, e, &du);
        const double d_delta = is_soft(j, x) ? d_step / (1 + exp(-x)) : d_step;
        d_skip += e * sq_load3(&call->in[IN_U], j->b, t, d);
        d_bias += sq_named(d_delta);
        sq_store3(&call->out[IN_U], j->b, t, d, du);
        sq_store3(&call->out[IN_DELTA], j->b, t, d, d_delta);
    }
    j->total.skip[d] += d_skip;
    j->total.bias[d] += d_bias;
}

static void run_channel(const job *j, int64_t d)
{
    const sq_tensor *d_final = &j->call->in[IN_DFINAL], *d_initial = &j->call->out[IN_INITIAL];
    run_states(j, d);
    for (int64_t n = 0; n < j->states; n++) {
        j->carried[n] = d_final->data ? sq_load3(d_final, j->b, d, n) : 0;
        j->d_decay[n] = 0;
    }
    run_steps_back(j, d);
    for (int64_t n = 0; n < j->states; n++) {
        j->total.a[d * j->states + n] += j->d_decay[n];
        if (d_initial->data)
            sq_store3(d_initial, j->b, d, n, j->carried[n]);
    }
    take_constant(j, &j->in_b, d);
    take_constant(j, &j->in_c, d);
}

static void write_group(const job *j, const projection *p)
{
    const sq_tensor *t = &p->gradient;
    for (int64_t l = 0; !p->is_constant && l < j->length; l++)
        for (int64_t n = 0; n < j->states; n++)
            sq_store(t->data, t->dtype, sq_offset3(t, j->b, l, j->g) + n * t->stride[3],
                     p->sum[l * j->states + n]);
}

static projection projection_of(const sq_call *call, int which, double *sum, double *total)
{
    return (projection){.value = sq_selective_scan_projection(call, &call->in[which]),
                        .gradient = sq_selective_scan_projection(call, &call->out[which]),
                        .is_constant = call->in[which].rank == 2,
                        .sum = sum,
                        .total = total};
}

/* Group g of row b. false: no memory. */
static bool run_job(const sq_call *call, totals total, int64_t b, int64_t g, int64_t groups)
{
    const int64_t length = call->in[IN_U].dim[1], states = call->in[IN_A].dim[1];
    const int64_t all = length * states, channels = call->in[IN_U].dim[2] / groups;
    double *memory = calloc((size_t)(3 * all + 3 * states), sizeof *memory);
    if (!memory)
        return false;
    const job j = {.call = call,
                   .total = total,
                   .b = b,
                   .g = g,
                   .length = length,
                   .states = states,
                   .in_b = projection_of(call, IN_B, memory, total.in_b),
                   .in_c = projection_of(call, IN_C, memory + all, total.in_c),
                   .h = memory + 2 * all,
                   .carried = memory + 3 * all + states,
                   .d_decay = memory + 3 * all + 2 * states};
    for (int64_t d = g * channels; d < (g + 1) * channels; d++)
        run_channel(&j, d);
    write_group(&j, &j.in_b);
    write_group(&j, &j.in_c);
    free(memory);
    return true;
}

static void write_total(const sq_tensor *t, const double *total)
{
    for (int64_t i = 0; t->data && i < sq_tensor_count(t); i++)
        sq_store(t->data, t->dtype, sq_tensor_offset(t, i), total[i]);
}

static void write_totals(const sq_call *call, totals total)
{
    write_total(&call->out[IN_A], total.a);
    write_total(&call->out[IN_SKIP], total.skip);
    write_total(&call->out[IN_BIAS], total.bias);
    if (call->in[IN_B].rank == 2)
        write_total(&call->out[IN_B], total.in_b);
    if (call->in[IN_C].rank == 2)
        write_total(&call->out[IN_C], total.in_c);
}

/* Groups side by side; sequences one after the other, since parameters sum over them. */
sq_status sq_selective_scan_backward(const sq_call *call, sq_error *err)
{
    const int64_t *dim = call->in[IN_U].dim;
    const int64_t groups = (int64_t)call->axis[AXIS_G];
    const int64_t channels = dim[2], all = channels * call->in[IN_A].dim[1];
    double *memory = calloc((size_t)(3 * all + 2 * channels), sizeof *memory);
    bool is_short = !memory;
    const totals total = {.a = memory,
                          .in_b = memory + all,
                          .in_c = memory + 2 * all,
                          .skip = memory + 3 * all,
                          .bias = memory + 3 * all + channels};
    for (int64_t b = 0; b < dim[0] && !is_short; b++) {
#pragma omp parallel for reduction(|| : is_short)
        for (int64_t g = 0; g < groups; g++)
            is_short = !run_job(call, total, b, g, groups) || is_short;
    }
    if (!is_short)
        write_totals(call, total);
    free(memory);
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "selective_scan backward: %lld steps of %lld",
                              (long long)dim[1], (long long)call->in[IN_A].dim[1])
                    : SQ_OK;
}
