/* selective_scan, backward. With g_t the gradient of the state h_t, a_t = exp(d_t A), e_t = dy_t
 * silu(z_t), all per channel and state:
 *
 *   g_t = e_t C_t + a_{t+1} g_{t+1}          dC_t = e_t h_t        dB_t = g_t d_t u_t
 *   du_t = e_t D + sum_n g_t d_t B_t         dA = sum_t g_t d_t a_t h_{t-1}
 *   dd_t = sum_n g_t (A a_t h_{t-1} + B_t u_t)                     dD = sum_t e_t u_t
 *   dz_t = dy_t (C_t . h_t + D u_t) silu'(z_t)
 *   ddelta_t = dd_t softplus'(delta_t + delta_bias), summed over t: ddelta_bias
 *
 * Source: the chain rule on selective_scan.c's equations. B and C of a group get the sum over its
 * channels, so a group is one unit of work.
 */
#include "kernels/selective_scan/selective_scan.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DY = IN_COUNT };

/* One (b, g). h: the states of a channel after every step, (L, N); db, dc: of the group, (L, N). */
typedef struct {
    const sq_call *call;
    int64_t b, g, length, states;
    double *h, *db, *dc, *state_grad, *d_decay;
} job;

static double load4(const sq_tensor *t, const job *j, int64_t l, int64_t n)
{
    return sq_load(t->data, t->dtype,
                   j->b * t->stride[0] + l * t->stride[1] + j->g * t->stride[2] + n * t->stride[3]);
}

static double load1(const sq_tensor *t, int64_t d)
{
    return t->data ? sq_load1(t, d) : 0;
}

/* *size += value, in the tensor's type: sums over the batch. */
static void add1(const sq_tensor *t, int64_t at, double value)
{
    if (t->data)
        sq_store(t->data, t->dtype, at, sq_load(t->data, t->dtype, at) + value);
}

static double decay_of(const job *j, int64_t d, int64_t n)
{
    const sq_tensor *a = &j->call->in[IN_A];
    return sq_load(a->data, a->dtype, d * a->stride[0] + n * a->stride[1]);
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

static void run_states(const job *j, int64_t d)
{
    for (int64_t t = 0; t < j->length; t++) {
        const double step = step_size(j, t, d), u = sq_load3(&j->call->in[IN_U], j->b, t, d);
        for (int64_t n = 0; n < j->states; n++) {
            const double before = t > 0 ? j->h[(t - 1) * j->states + n] : 0;
            j->h[t * j->states + n] = exp(step * decay_of(j, d, n)) * before +
                                      step * load4(&j->call->in[IN_B], j, t, n) * u;
        }
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
        y += load4(&j->call->in[IN_C], j, t, n) * j->h[t * j->states + n];
    sq_store3(&j->call->out[IN_Z], j->b, t, d, dy * y * s * (1 + x * (1 - s)));
    return dy * x * s;
}

/* One step back; returns dd_t, and adds to *du the part that comes through the state. later:
 * d_{t+1}, 0 at the end. */
static double step_back(const job *j, int64_t t, int64_t d, double e, double later, double *du)
{
    const double step = step_size(j, t, d), u = sq_load3(&j->call->in[IN_U], j->b, t, d);
    double d_step = 0;
    for (int64_t n = 0; n < j->states; n++) {
        const double a = decay_of(j, d, n), b = load4(&j->call->in[IN_B], j, t, n);
        const double carried = t + 1 < j->length ? exp(later * a) * j->state_grad[n] : 0;
        const double g = e * load4(&j->call->in[IN_C], j, t, n) + carried;
        const double before = t > 0 ? exp(step * a) * j->h[(t - 1) * j->states + n] : 0;
        j->state_grad[n] = g;
        j->dc[t * j->states + n] += e * j->h[t * j->states + n];
        j->db[t * j->states + n] += g * step * u;
        j->d_decay[n] += g * step * before;
        d_step += g * (a * before + b * u);
        *du += g * step * b;
    }
    return d_step;
}

static void run_channel(const job *j, int64_t d)
{
    const sq_call *call = j->call;
    double d_skip = 0, d_bias = 0, later = 0;
    run_states(j, d);
    for (int64_t n = 0; n < j->states; n++)
        j->state_grad[n] = j->d_decay[n] = 0;
    for (int64_t t = j->length - 1; t >= 0; t--) {
        const double e = open_gate(j, t, d), x = raw_step(j, t, d);
        double du = e * load1(&call->in[IN_SKIP], d);
        const double d_step = step_back(j, t, d, e, later, &du);
        const double d_delta = is_soft(j, x) ? d_step / (1 + exp(-x)) : d_step;
        d_skip += e * sq_load3(&call->in[IN_U], j->b, t, d);
        d_bias += d_delta;
        later = step_size(j, t, d);
        sq_store3(&call->out[IN_U], j->b, t, d, du);
        sq_store3(&call->out[IN_DELTA], j->b, t, d, d_delta);
    }
    const sq_tensor *da = &call->out[IN_A];
    for (int64_t n = 0; n < j->states; n++)
        add1(da, d * da->stride[0] + n * da->stride[1], j->d_decay[n]);
    add1(&call->out[IN_SKIP], d * call->out[IN_SKIP].stride[0], d_skip);
    add1(&call->out[IN_BIAS], d * call->out[IN_BIAS].stride[0], d_bias);
}

static void write_group(const job *j, const sq_tensor *t, const double *from)
{
    for (int64_t l = 0; l < j->length; l++)
        for (int64_t n = 0; n < j->states; n++)
            sq_store(t->data, t->dtype,
                     j->b * t->stride[0] + l * t->stride[1] + j->g * t->stride[2] +
                         n * t->stride[3],
                     from[l * j->states + n]);
}

/* false: no memory. */
static bool run_job(job *j)
{
    const int64_t all = j->length * j->states;
    const int64_t channels = j->call->in[IN_U].dim[2] / j->call->in[IN_B].dim[2];
    double *memory = calloc((size_t)(3 * all + 2 * j->states), sizeof *memory);
    if (!memory)
        return false;
    j->h = memory, j->db = memory + all, j->dc = memory + 2 * all;
    j->state_grad = memory + 3 * all, j->d_decay = j->state_grad + j->states;
    for (int64_t d = j->g * channels; d < (j->g + 1) * channels; d++)
        run_channel(j, d);
    write_group(j, &j->call->out[IN_B], j->db);
    write_group(j, &j->call->out[IN_C], j->dc);
    free(memory);
    return true;
}

static void clear(const sq_tensor *t)
{
    for (int64_t i = 0; t->data && i < sq_tensor_count(t); i++)
        sq_store(t->data, t->dtype, sq_tensor_offset(t, i), 0);
}

/* Groups side by side; sequences one after the other, since parameters sum over them. */
sq_status sq_selective_scan_backward(const sq_call *call, sq_error *err)
{
    const sq_tensor *b_t = &call->in[IN_B];
    bool is_short = false;
    clear(&call->out[IN_A]);
    clear(&call->out[IN_SKIP]);
    clear(&call->out[IN_BIAS]);
    for (int64_t b = 0; b < b_t->dim[0]; b++) {
#pragma omp parallel for reduction(|| : is_short)
        for (int64_t g = 0; g < b_t->dim[2]; g++) {
            job j = {.call = call, .b = b, .g = g, .length = b_t->dim[1], .states = b_t->dim[3]};
            is_short = !run_job(&j) || is_short;
        }
    }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "selective_scan backward: %lld steps of %lld",
                              (long long)b_t->dim[1], (long long)b_t->dim[3])
                    : SQ_OK;
}
