/* verify: see verify.h. */
#include "bench/verify/verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/subjects/subjects.h"
#include "bench/worker/place.h"

static const double least_f32_bound = 1e-5, f32_factor = 4, bf16_factor = 2;

/* One call on the case's tensors. host: in dense memory, inputs rounded to the call's types. want:
 * f32, in our layout; NULL where the case has no such output. */
typedef struct {
    const sq_rig *rig;
    const sq_golden *golden;
    const sq_verify_subject *subject;
    sq_tensor_list list;
    sq_call host;
    const char *out_role[SQ_MAX_OUT], *out_name[SQ_MAX_OUT];
    sq_tensor want[SQ_MAX_OUT];
    double reference_error[SQ_MAX_OUT]; /* 16-bit types */
    bool *is_compared;                  /* for each tensor of the case */
} trial;

const char *sq_verdict_name(sq_verdict verdict)
{
    static const char *const names[] = {"ok", "mismatch", "unsupported"};
    return names[verdict];
}

/* --- tensors of the case --- */

/* Index of the stored element that is element `linear` of a tensor of ours. */
static int64_t stored_index(const sq_stored_tensor *stored, const char *order,
                            const sq_tensor *ours, int64_t linear)
{
    int64_t stride[SQ_MAX_RANK], step = 1, index = 0;
    for (int d = stored->rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= stored->dim[d];
    }
    for (int d = ours->rank - 1; d >= 0; d--) {
        const int64_t at = linear % ours->dim[d];
        linear /= ours->dim[d];
        if (order[d] != '.')
            index += at * stride[order[d] - '0'];
    }
    return index;
}

static sq_status check_dims(const sq_stored_tensor *stored, const char *order,
                            const sq_tensor *ours, sq_error *err)
{
    bool is_same = strlen(order) == (size_t)ours->rank;
    for (int d = 0; is_same && d < ours->rank; d++)
        is_same = ours->dim[d] == (order[d] == '.' ? 1 : stored->dim[order[d] - '0']);
    return is_same ? SQ_OK
                   : sq_fail(err, SQ_BAD_ARGUMENT, "%.100s: its shape is not that of the options",
                             stored->name);
}

/* Dense memory of `dtype` in our layout, filled from the case; free(out->data). */
static sq_status load(const sq_stored_tensor *stored, const char *order, const sq_tensor *ours,
                      sq_dtype dtype, sq_tensor *out, sq_error *err)
{
    SQ_TRY(check_dims(stored, order, ours, err));
    *out = sq_tensor_dense(NULL, dtype, ours->rank, ours->dim);
    out->data = malloc(sq_tensor_bytes(out) + 1);
    if (!out->data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %.100s", stored->name);
    for (int64_t i = 0; i < sq_tensor_count(out); i++)
        sq_store(out->data, dtype, i,
                 sq_stored_number(stored, stored_index(stored, order, ours, i)));
    return SQ_OK;
}

/* Our tensor `name` from the first role that has it; *role and *golden_name may be NULL. */
static sq_status find(const trial *t, const char *const *roles, const char *name,
                      const sq_subject_tensor **row, const sq_stored_tensor **stored,
                      const char **role)
{
    for (; *roles; roles++) {
        *row = sq_subject_tensor_find(t->subject, t->golden, *roles, name);
        if (!*row)
            continue;
        *stored = sq_golden_tensor(t->golden, *roles, (*row)->golden);
        *role = *roles;
        return SQ_OK;
    }
    return SQ_UNSUPPORTED;
}

/* Zeros where the loss does not depend on an output. */
static sq_status load_zeros(sq_tensor *t, sq_error *err)
{
    t->data = calloc(1, sq_tensor_bytes(t) + 1);
    return t->data ? SQ_OK : sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a cotangent");
}

static sq_status load_inputs(trial *t, sq_error *err)
{
    static const char *const inputs[] = {"input", "param", NULL};
    static const char *const cotangents[] = {"cotangent", NULL};
    for (int i = 0; i < t->list.n_in; i++) {
        const sq_tensor_spec *spec = &t->list.in[i];
        const bool is_cotangent = t->host.pass == SQ_PASS_BWD && i >= t->list.first_gradient;
        const sq_subject_tensor *row;
        const sq_stored_tensor *stored;
        const char *role;
        if (!spec->name)
            continue;
        const bool is_found =
            find(t, is_cotangent ? cotangents : inputs, spec->name, &row, &stored, &role) == SQ_OK;
        if (!is_found && !is_cotangent)
            return sq_fail(err, SQ_UNSUPPORTED, "the case has no tensor for input %s", spec->name);
        const sq_tensor ours = t->host.in[i];
        t->host.in[i].data = NULL;
        SQ_TRY(is_found ? load(stored, row->order, &ours, spec->dtype, &t->host.in[i], err)
                        : load_zeros(&t->host.in[i], err));
    }
    return SQ_OK;
}

static sq_status load_wanted(trial *t, sq_error *err)
{
    static const char *const outputs[] = {"output", NULL}, *const gradients[] = {"grad", NULL};
    const char *const *roles = t->host.pass == SQ_PASS_BWD ? gradients : outputs;
    for (int i = 0; i < t->list.n_out; i++) {
        const sq_subject_tensor *row;
        const sq_stored_tensor *stored;
        if (!t->list.out[i].name ||
            find(t, roles, t->list.out[i].name, &row, &stored, &t->out_role[i]) != SQ_OK)
            continue;
        t->out_name[i] = stored->name;
        t->is_compared[stored - t->golden->file.tensor] = true;
        SQ_TRY(load(stored, row->order, &t->host.out[i], SQ_DTYPE_F32, &t->want[i], err));
    }
    return SQ_OK;
}

static void free_trial(trial *t)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        free(t->host.in[i].data);
    for (int i = 0; i < SQ_MAX_OUT; i++) {
        free(t->host.out[i].data);
        free(t->want[i].data);
    }
}

/* --- bounds --- */

/* What the 16-bit reference itself is away from the case. */
static sq_status run_reference(trial *t, sq_error *err)
{
    const sq_tolerance none = {INFINITY, INFINITY};
    for (int i = 0; i < t->list.n_out; i++)
        if (t->list.out[i].name && !t->host.out[i].data) {
            t->host.out[i].data = malloc(sq_tensor_bytes(&t->host.out[i]) + 1);
            if (!t->host.out[i].data)
                return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the reference");
        }
    SQ_TRY(sq_op_reference(&t->host, err));
    for (int i = 0; i < t->list.n_out; i++)
        if (t->want[i].data)
            t->reference_error[i] = sq_compare(&t->host.out[i], &t->want[i], none).rel_l2;
    return SQ_OK;
}

static double bound_of(const trial *t, int i)
{
    const double f32 = sq_golden_f32_error(t->golden, t->out_role[i]);
    const double least = fmax(least_f32_bound, isnan(f32) ? 0 : f32_factor * f32);
    return t->host.dtype == SQ_DTYPE_F32 ? least : fmax(least, bf16_factor * t->reference_error[i]);
}

static double root_mean_square(const sq_tensor *t)
{
    const int64_t count = sq_tensor_count(t);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const double v = sq_load(t->data, t->dtype, i);
        sum += v * v;
    }
    return count > 0 ? sqrt(sum / (double)count) : 0;
}

/* The worst tensor of all providers stays in *out: that which is farthest beyond its bound. */
static void judge(const trial *t, int i, const sq_tensor *got, const char *provider,
                  sq_verification *out)
{
    const double bound = bound_of(t, i);
    const sq_compare_result r =
        sq_compare(got, &t->want[i], (sq_tolerance){.rel_l2 = bound, .max_abs = INFINITY});
    const bool is_worse = isnan(out->rel_l2) || r.rel_l2 / bound > out->rel_l2 / out->tolerance;
    if (is_worse) {
        out->rel_l2 = r.rel_l2;
        out->max_abs = r.max_abs * root_mean_square(&t->want[i]);
        out->tolerance = bound;
        snprintf(out->tensor, sizeof out->tensor, "%.95s", t->out_name[i]);
        snprintf(out->provider, sizeof out->provider, "%s", provider);
    }
    if (!r.is_ok) {
        out->verdict = SQ_VERDICT_MISMATCH;
        if (is_worse)
            snprintf(out->reason, sizeof out->reason,
                     "%.64s: %.95s: rel_l2 %.3g, %.3g is allowed; worst at element %lld: got %.6g, "
                     "want %.6g",
                     provider, t->out_name[i], r.rel_l2, bound, (long long)r.worst, r.got_worst,
                     r.want_worst);
    }
}

/* --- on the device --- */

typedef struct {
    sq_call call;
    sq_guarded in[SQ_MAX_IN], out[SQ_MAX_OUT], workspace;
} placed;

static sq_status place(const trial *t, const sq_provider *provider, placed *p, sq_error *err)
{
    const sq_rig *rig = t->rig;
    p->call = t->host;
    p->call.stream = rig->backend->stream(rig->device);
    for (int i = 0; i < t->list.n_in; i++) {
        sq_tensor *in = &p->call.in[i];
        if (!t->list.in[i].name)
            continue;
        SQ_TRY(sq_guarded_alloc(rig, sq_tensor_bytes(in), &p->in[i], err));
        in->data = p->in[i].data;
        SQ_TRY(rig->backend->upload(rig->device, in->data, t->host.in[i].data, sq_tensor_bytes(in),
                                    err));
    }
    for (int i = 0; i < t->list.n_out; i++)
        if (t->list.out[i].name) {
            SQ_TRY(sq_guarded_alloc(rig, sq_tensor_bytes(&p->call.out[i]), &p->out[i], err));
            p->call.out[i].data = p->out[i].data;
        }
    p->call.workspace_bytes = provider->workspace ? provider->workspace(&p->call) : 0;
    SQ_TRY(sq_guarded_alloc(rig, p->call.workspace_bytes, &p->workspace, err));
    p->call.workspace = p->workspace.data;
    return rig->backend->sync(rig->device, err);
}

static void unplace(const sq_rig *rig, placed *p)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        sq_guarded_free(rig, &p->in[i]);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        sq_guarded_free(rig, &p->out[i]);
    sq_guarded_free(rig, &p->workspace);
}

static sq_status launch(const sq_rig *rig, const sq_provider *provider, const sq_call *call,
                        sq_error *err)
{
    void *plan = NULL;
    if (provider->prepare)
        SQ_TRY(provider->prepare(call, &plan, err));
    sq_status s = provider->launch(call, plan, err);
    const sq_status end = rig->backend->sync(rig->device, s == SQ_OK ? err : NULL);
    if (provider->release)
        provider->release(plan);
    return s == SQ_OK ? end : s;
}

static sq_status compare_outputs(const trial *t, const placed *p, const char *provider,
                                 sq_verification *out, sq_error *err)
{
    for (int i = 0; i < t->list.n_out; i++) {
        sq_tensor got = p->call.out[i];
        if (!t->want[i].data)
            continue;
        got.data = malloc(sq_tensor_bytes(&got) + 1);
        if (!got.data)
            return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory to compare %s", t->out_name[i]);
        sq_status s = t->rig->backend->gather(t->rig->device, &p->call.out[i], got.data, err);
        if (s == SQ_OK)
            judge(t, i, &got, provider, out);
        free(got.data);
        SQ_TRY(s);
        s = sq_guarded_check(t->rig, &p->out[i], t->out_name[i], err);
        if (s != SQ_OK)
            return s;
    }
    return SQ_OK;
}

/* *is_run: the provider could. */
static sq_status run_provider(const trial *t, const sq_provider *provider, bool *is_run,
                              sq_verification *out, sq_error *err)
{
    placed p = {.workspace = {.block = NULL}};
    sq_error why = {.status = SQ_OK};
    *is_run = false;
    sq_status s = place(t, provider, &p, err);
    if (s == SQ_OK &&
        provider->supports(&p.call, t->rig->backend->facts(t->rig->device), &why) == SQ_OK) {
        *is_run = true;
        s = launch(t->rig, provider, &p.call, err);
        if (s == SQ_OK)
            s = compare_outputs(t, &p, provider->name, out, err);
    } else if (s == SQ_OK && !out->reason[0]) {
        snprintf(out->reason, sizeof out->reason, "%.60s: %.240s", provider->name, why.message);
    }
    unplace(t->rig, &p);
    return s;
}

static void give_up(sq_verification *out, const char *why)
{
    out->verdict = SQ_VERDICT_UNSUPPORTED;
    snprintf(out->reason, sizeof out->reason, "%.*s", SQ_REASON_MAX - 1, why);
}

static sq_status run_providers(trial *t, sq_verification *out, sq_error *err)
{
    bool is_any = false;
    for (const sq_provider *p = t->rig->providers(t->host.op); p->name; p++) {
        bool is_run = false;
        SQ_TRY(run_provider(t, p, &is_run, out, err));
        is_any = is_any || is_run;
    }
    if (!is_any)
        out->verdict = SQ_VERDICT_UNSUPPORTED;
    else if (out->verdict == SQ_VERDICT_OK)
        out->reason[0] = '\0'; /* a provider that cannot is no matter where another can */
    return SQ_OK;
}

/* A result of the role that nobody computed: a case is ok only as a whole. */
static void find_gap(const trial *t, const char *role, sq_verification *out)
{
    const size_t length = strlen(role);
    for (int i = 0; out->verdict == SQ_VERDICT_OK && i < t->golden->file.count; i++) {
        const char *name = t->golden->file.tensor[i].name;
        if (strncmp(name, role, length) != 0 || name[length] != '.' || t->is_compared[i])
            continue;
        snprintf(out->reason, sizeof out->reason, "no operator computes %.100s; the rest is right",
                 name);
        out->verdict = SQ_VERDICT_UNSUPPORTED;
    }
}

static sq_status run_trial(trial *t, sq_verification *out, sq_error *err)
{
    SQ_TRY(load_inputs(t, err));
    SQ_TRY(load_wanted(t, err));
    if (t->host.dtype != SQ_DTYPE_F32)
        SQ_TRY(run_reference(t, err));
    return run_providers(t, out, err);
}

/* Pass fwd, then pass bwd where the rig can: so far the CPU alone. Gradients of a loss that depends
 * on an output which is not computed are none of ours. */
static sq_status run_passes(const trial *shaped, sq_verification *out, sq_error *err)
{
    trial forward = *shaped, backward = *shaped;
    sq_status s = run_trial(&forward, out, err);
    free_trial(&forward);
    SQ_TRY(s);
    find_gap(shaped, "output", out);
    if (out->verdict != SQ_VERDICT_OK || !sq_golden_has_role(shaped->golden, "grad"))
        return SQ_OK;
    if (strcmp(shaped->rig->backend->name, "cpu") == 0) {
        SQ_TRY(sq_backward_shape(&shaped->host, &backward.host, &backward.list, err));
        s = run_trial(&backward, out, err);
        free_trial(&backward);
    }
    find_gap(shaped, "grad", out);
    return s;
}

static sq_status shape_call(trial *t, const sq_op *op, sq_dtype dtype, sq_error *err)
{
    sq_text shape = {.data = NULL};
    sq_status s = t->subject->shape(t->golden, &shape, err);
    if (s == SQ_OK && shape.is_failed)
        s = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a shape");
    if (s == SQ_OK)
        s = sq_call_parse(op, SQ_PASS_FWD, dtype, shape.data, &t->host, err);
    sq_text_free(&shape);
    return s == SQ_OK ? sq_op_tensors(op, SQ_PASS_FWD, dtype, t->host.axis, &t->list, err) : s;
}

static sq_status verify_golden(const sq_rig *rig, const sq_golden *golden, sq_dtype dtype,
                               sq_verification *out, sq_error *err)
{
    trial t = {.rig = rig, .golden = golden, .subject = sq_verify_subject_find(golden->subject)};
    const sq_op *op = t.subject ? sq_op_find(t.subject->op) : NULL;
    sq_error why = {.status = SQ_OK};
    if (!op) {
        snprintf(out->reason, sizeof out->reason, "no operator computes %.60s", golden->subject);
        out->verdict = SQ_VERDICT_UNSUPPORTED;
        return SQ_OK;
    }
    t.is_compared = calloc((size_t)golden->file.count + 1, sizeof *t.is_compared);
    sq_status s = t.is_compared ? shape_call(&t, op, dtype, &why) : SQ_OUT_OF_MEMORY;
    if (s == SQ_OK)
        s = run_passes(&t, out, &why);
    free(t.is_compared);
    if (s == SQ_UNSUPPORTED || s == SQ_BAD_SHAPE) {
        give_up(out, why.message);
        return SQ_OK;
    }
    return s == SQ_OK ? SQ_OK : sq_fail(err, s, "%.100s: %.350s", golden->name, why.message);
}

sq_status sq_verify_case(const sq_rig *rig, const char *folder, sq_dtype dtype,
                         sq_verification *out, sq_error *err)
{
    sq_golden golden = {.json = NULL};
    *out = (sq_verification){.rel_l2 = NAN, .max_abs = NAN, .tolerance = NAN};
    sq_status s = sq_golden_open(folder, &golden, err);
    if (s == SQ_OK) {
        snprintf(out->name, sizeof out->name, "%s", golden.name);
        snprintf(out->kind, sizeof out->kind, "%s", golden.kind);
        snprintf(out->subject, sizeof out->subject, "%s", golden.subject);
        s = verify_golden(rig, &golden, dtype, out, err);
    }
    sq_golden_close(&golden);
    return s;
}
