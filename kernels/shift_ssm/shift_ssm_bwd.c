/* shift_ssm, backward. With k the filter, x0 the initial state and df the final state's gradient:
 *
 *   du_t = sum_j k_j dy_{t+j} + skip dy_t + sum_{n >= L-1-t} df_n b_{n-(L-1-t)}
 *   dk_j = sum_{b,t} dy_t u_{t-j}                  dskip = sum_{b,t} dy_t u_t
 *   db_i = sum_j dk_j c_{i+j} + sum_{b,j} df_{i+j} u_{L-1-j}
 *   dc_n = sum_j dk_j b_{n-j} + sum_{b,t < n} dy_t x0_{n-t-1}
 *   dx0_m = sum_t dy_t c_{m+t+1} + df_{m+L}
 *
 * Source: the chain rule on shift_ssm.c's equations.
 */
#include "kernels/shift_ssm/shift_ssm.h"

#include <stdlib.h>

#include "kernels/shared/rows.h"

enum { IN_DY = IN_COUNT, IN_DFINAL };

/* One channel; rows of N. dtaps: sums over the batch. */
typedef struct {
    const sq_call *call;
    int64_t d, length, states;
    double skip, dskip, *b, *c, *taps, *db, *dc, *dtaps;
} channel;

static double u_at(const channel *p, int64_t batch, int64_t t)
{
    return sq_load3(&p->call->in[IN_U], batch, t, p->d);
}

static double dy_at(const channel *p, int64_t batch, int64_t t)
{
    return sq_load3(&p->call->in[IN_DY], batch, t, p->d);
}

/* What y takes from the initial state. */
static void run_initial(channel *p, int64_t batch)
{
    const sq_tensor *initial = &p->call->in[IN_INITIAL], *dinitial = &p->call->out[IN_INITIAL];
    const sq_tensor *dfinal = &p->call->in[IN_DFINAL];
    for (int64_t m = 0; m < p->states; m++) {
        double sum = dfinal->data && m + p->length < p->states
                         ? sq_load3(dfinal, batch, p->d, m + p->length)
                         : 0;
        for (int64_t t = 0; t < p->length && m + t + 1 < p->states; t++) {
            sum += dy_at(p, batch, t) * p->c[m + t + 1];
            p->dc[m + t + 1] += dy_at(p, batch, t) * sq_load3(initial, batch, p->d, m);
        }
        if (dinitial->data)
            sq_store3(dinitial, batch, p->d, m, sum);
    }
}

/* u_t by way of the final state; j steps before the last. */
static double run_final(channel *p, int64_t batch, int64_t t)
{
    const int64_t j = p->length - 1 - t;
    double sum = 0;
    for (int64_t n = j; n < p->states; n++) {
        const double df = sq_load3(&p->call->in[IN_DFINAL], batch, p->d, n);
        sum += df * p->b[n - j];
        p->db[n - j] += df * u_at(p, batch, t);
    }
    return sum;
}

static void run_sequence(channel *p, int64_t batch)
{
    for (int64_t t = 0; t < p->length; t++) {
        const double u = u_at(p, batch, t);
        double du = p->skip * dy_at(p, batch, t);
        p->dskip += u * dy_at(p, batch, t);
        for (int64_t j = 0; j < p->states && t + j < p->length; j++) {
            du += p->taps[j] * dy_at(p, batch, t + j);
            p->dtaps[j] += u * dy_at(p, batch, t + j);
        }
        if (p->call->in[IN_DFINAL].data)
            du += run_final(p, batch, t);
        sq_store3(&p->call->out[IN_U], batch, t, p->d, du);
    }
    if (p->call->in[IN_INITIAL].data)
        run_initial(p, batch);
}

static void run_channel(channel *p)
{
    const sq_tensor *out = p->call->out;
    p->skip = sq_load1(&p->call->in[IN_SKIP], p->d);
    sq_shift_ssm_taps(p->call, p->d, p->b, p->c, p->taps);
    for (int64_t batch = 0; batch < p->call->in[IN_U].dim[0]; batch++)
        run_sequence(p, batch);
    for (int64_t j = 0; j < p->states; j++)
        for (int64_t i = 0; i + j < p->states; i++) {
            p->db[i] += p->dtaps[j] * p->c[i + j];
            p->dc[i + j] += p->dtaps[j] * p->b[i];
        }
    sq_row_write(&out[IN_GAIN], p->d * out[IN_GAIN].stride[0], p->states, p->db);
    sq_row_write(&out[IN_C], p->d * out[IN_C].stride[0], p->states, p->dc);
    sq_store(out[IN_SKIP].data, out[IN_SKIP].dtype, p->d * out[IN_SKIP].stride[0], p->dskip);
}

sq_status sq_shift_ssm_backward(const sq_call *call, sq_error *err)
{
    const int64_t states = call->in[IN_C].dim[1];
    bool is_short = false;
#pragma omp parallel for schedule(dynamic) reduction(|| : is_short)
    for (int64_t d = 0; d < call->in[IN_U].dim[2]; d++) {
        double *memory = calloc((size_t)(6 * states), sizeof *memory);
        channel p = {.call = call, .d = d, .length = call->in[IN_U].dim[1], .states = states};
        p.b = memory;
        p.c = memory + states;
        p.taps = memory + 2 * states;
        p.db = memory + 3 * states;
        p.dc = memory + 4 * states;
        p.dtaps = memory + 5 * states;
        is_short = is_short || !memory;
        if (memory)
            run_channel(&p);
        free(memory);
    }
    return is_short ? sq_fail(err, SQ_OUT_OF_MEMORY, "shift_ssm backward: %lld states",
                              (long long)states)
                    : SQ_OK;
}
