/* properties_backward: what gradients know of time. See properties.h. */
#include "tests/support/properties_parts.h"

#include <math.h>
#include <stdlib.h>

#include "bench/worker/job.h"
#include "tests/support/op_cases_parts.h"

/* What is left of a gradient's L steps, or of those of a sequence that ends with it, before t0. */
static int64_t steps_before(const sq_tensor_spec *spec, int64_t length, int64_t t0)
{
    return t0 + spec->dim[spec->time_dim] - length;
}

/* The loss is one of the outputs before t0 alone: gradients of all others, and of final states,
 * become 0. */
static sq_status keep_past_loss(const sq_place *place, int64_t length, int64_t t0, sq_error *err)
{
    const sq_tensor_list *list = &place->list;
    const sq_draw zero = {SQ_DRAW_CONSTANT, 0, 0, 0};
    for (int i = list->first_gradient; i < list->first_value; i++) {
        const sq_tensor_spec *spec = &list->in[i];
        const sq_tensor *whole = &place->call.in[i];
        if (!spec->name)
            continue;
        if (spec->time_dim < 0) {
            SQ_TRY(place->rig->backend->fill(place->rig->device, whole, 0, zero, 0, 0, err));
            continue;
        }
        const sq_tensor past =
            sq_tensor_slice(whole, spec->time_dim, 0, steps_before(spec, length, t0));
        SQ_TRY(sq_place_mask(place, i, &past, err));
    }
    return SQ_OK;
}

static double root_mean_square(const sq_tensor *dense)
{
    double sum = 0;
    const int64_t count = sq_tensor_count(dense);
    for (int64_t e = 0; e < count; e++)
        sum += pow(sq_load(dense->data, dense->dtype, e), 2);
    return sqrt(sum / (double)count);
}

/* bound: relative to the root mean square of all. */
static sq_status check_gradient(const sq_tensor_spec *spec, const sq_tensor *dense, int64_t length,
                                int64_t t0, double bound, sq_error *err)
{
    const int64_t end = steps_before(spec, length, t0), stride = dense->stride[spec->time_dim];
    const double allowed = bound * root_mean_square(dense);
    for (int64_t e = 0; e < sq_tensor_count(dense); e++) {
        const int64_t t = e / stride % dense->dim[spec->time_dim];
        const double x = sq_load(dense->data, dense->dtype, e);
        if (t >= end && !(fabs(x) <= allowed))
            return sq_fail(err, SQ_MISMATCH, "a loss before t=%lld has d_%s %.9g at t=%lld",
                           (long long)t0, spec->name, x, (long long)t);
    }
    return SQ_OK;
}

static sq_status check_gradients(const sq_place *place, int64_t length, int64_t t0, sq_error *err)
{
    const sq_tensor_list *list = &place->list;
    bool is_any = false;
    for (int i = 0; i < list->n_out; i++) {
        const sq_tensor *out = &place->call.out[i];
        if (!list->out[i].name || list->out[i].time_dim < 0)
            continue;
        sq_tensor dense =
            sq_tensor_dense(malloc(sq_tensor_bytes(out)), out->dtype, out->rank, out->dim);
        sq_status s = dense.data
                          ? place->rig->backend->gather(place->rig->device, out, dense.data, err)
                          : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a gradient");
        if (s == SQ_OK) {
            is_any = is_any || root_mean_square(&dense) > 0;
            s = check_gradient(&list->out[i], &dense, length, t0, place->call.op->causality_bound,
                               err);
        }
        free(dense.data);
        SQ_TRY(s);
    }
    /* the first queries of more than there are keys see none */
    return is_any || t0 < length - 1 ? SQ_OK : sq_fail(err, SQ_MISMATCH, "no step has a gradient");
}

static sq_status run_from(sq_job *job, int64_t length, int64_t t0, sq_error *err)
{
    const sq_place *place = sq_job_place(job);
    SQ_TRY(keep_past_loss(place, length, t0, err));
    SQ_TRY(sq_job_launch(job, err));
    SQ_TRY(place->rig->backend->sync(place->rig->device, err));
    return check_gradients(place, length, t0, err);
}

sq_status sq_property_backward(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    const int64_t length = (int64_t)a->axis[SQ_AXIS_L], times[] = {length / 3 + 1, length - 1};
    const sq_op_case c = {of->op, of->provider, of->shape, of->dtype, SQ_LAYOUT_DENSE, SQ_PASS_BWD};
    if (!of->op || length < 2 || sq_property_axis(a, "causal", 1) == 0 ||
        !sq_property_has_sequences(a) || !sq_provider_has(of->provider, SQ_PASS_BWD))
        return SQ_UNSUPPORTED;
    sq_job *job = NULL;
    sq_status s = sq_case_open(of->rig, &c, &job, err);
    if (s == SQ_OK)
        s = sq_case_launch(job, err);
    for (int i = 0; i < 2 && s == SQ_OK; i++)
        s = run_from(job, length, times[i], err);
    sq_job_free(job);
    return s;
}
