/* replay: see replay.h. */
#include "bench/verify/replay.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/worker/host_call.h"
#include "bench/worker/job.h"
#include "core/text.h"

static const char *const values_names[] = {"usual", "strong", "tiny", "subnormal",
                                           "zero",  "gates",  NULL};
static const char *const layout_names[] = {"dense", "strided", NULL};

static const float strong_factor = 30, tiny_factor = 0x1p-112f, tiny_factor_f16 = 0x1p-10f;
static const float subnormal_factor = 0x1p-130f, subnormal_factor_f16 = 0x1p-18f;

/* Inputs that are logarithms of decays, or durations of steps, by which rates of -1 and less decay. */
static const struct {
    const char *op, *input;
    float least, most;
} gates[] = {
    {"gla", "gk", -60, -40},
    {"selective_scan", "delta", 40, 60},
    {"simple_gla", "g", -60, -40},
    {"ssd", "dt", 40, 60},
};

/* Strong poles of s4_kernel: logarithms of decays, of which 30 times the usual one is a pole e^-21 off
 * the point w = 1. The resolvent there is e^21, and of the differences of its squares f64 itself,
 * and so the reference, keeps nothing: with and without fused multiply-adds the same code gives
 * other filters. Up to e^7 they keep eight digits. */
static const char strong_pole_op[] = "s4_kernel", strong_pole[] = "a_real";
static const sq_draw strong_poles = {SQ_DRAW_UNIFORM, -7, 4, 0};

const char *sq_values_name(sq_values values)
{
    return values_names[values];
}

const char *sq_layout_name(sq_layout layout)
{
    return layout_names[layout];
}

sq_status sq_values_parse(const char *name, sq_values *out, sq_error *err)
{
    int i = 0;
    SQ_TRY(sq_find_name("kind of values", name, values_names, &i, err));
    *out = (sq_values)i;
    return SQ_OK;
}

sq_status sq_layout_parse(const char *name, sq_layout *out, sq_error *err)
{
    int i = 0;
    SQ_TRY(sq_find_name("layout", name, layout_names, &i, err));
    *out = (sq_layout)i;
    return SQ_OK;
}

/* --- values --- */

static bool is_scaled(const sq_tensor_spec *spec)
{
    return spec->name && (spec->draw.kind == SQ_DRAW_NORMAL || spec->draw.kind == SQ_DRAW_UNIFORM);
}

static void set_gates(const sq_op *op, sq_tensor_list *list)
{
    for (size_t k = 0; k < sizeof gates / sizeof gates[0]; k++)
        for (int i = 0; strcmp(gates[k].op, op->name) == 0 && i < sq_drawn_inputs(list); i++)
            if (list->in[i].name && strcmp(list->in[i].name, gates[k].input) == 0)
                list->in[i].draw = (sq_draw){SQ_DRAW_UNIFORM, gates[k].least, gates[k].most, 0};
}

static float factor_of(sq_values values, sq_dtype dtype)
{
    const bool is_f16 = dtype == SQ_DTYPE_F16;
    switch (values) {
    case SQ_VALUES_STRONG:
        return strong_factor;
    case SQ_VALUES_TINY:
        return is_f16 ? tiny_factor_f16 : tiny_factor;
    case SQ_VALUES_SUBNORMAL:
        return is_f16 ? subnormal_factor_f16 : subnormal_factor;
    default:
        return 0;
    }
}

/* Changes how one floating input is drawn; its sign stays what the operator asks for. */
static void set_values(const sq_op *op, sq_tensor_list *list, sq_values values, uint64_t seed)
{
    if (values == SQ_VALUES_GATES) {
        set_gates(op, list);
        return;
    }
    const int drawn = sq_drawn_inputs(list);
    int candidates = 0;
    for (int i = 0; i < drawn; i++)
        candidates += is_scaled(&list->in[i]);
    if (values == SQ_VALUES_USUAL || candidates == 0)
        return;
    int chosen = (int)(sq_rng_mix(seed) % (uint64_t)candidates);
    for (int i = 0; i < drawn; i++) {
        sq_tensor_spec *spec = &list->in[i];
        if (!is_scaled(spec) || chosen-- != 0)
            continue;
        if (values == SQ_VALUES_STRONG && strcmp(op->name, strong_pole_op) == 0 &&
            strcmp(spec->name, strong_pole) == 0) {
            spec->draw = strong_poles;
            continue;
        }
        spec->draw.a *= factor_of(values, spec->dtype);
        spec->draw.b *= factor_of(values, spec->dtype);
    }
}

/* --- proof --- */

static sq_status inputs_checksum(sq_job *job, uint64_t *sum, sq_error *err)
{
    const sq_place *place = sq_job_place(job);
    *sum = 0;
    for (int i = 0; i < place->list.n_in; i++) {
        uint64_t one = 0;
        if (place->list.in[i].name)
            SQ_TRY(job->rig->backend->checksum(job->rig->device, &place->buffer[i], &one, err));
        *sum = sq_rng_mix(*sum ^ one);
    }
    return SQ_OK;
}

static void refuse(sq_verification *out, const char *why)
{
    out->verdict = SQ_VERDICT_MISMATCH;
    snprintf(out->reason, sizeof out->reason, "%s", why);
}

static bool holds(const sq_check *check, sq_values values)
{
    const bool is_near = check->rel_l2 <= check->tolerance_rel_l2;
    return is_near && (values != SQ_VALUES_USUAL || check->max_abs <= check->tolerance_max_abs);
}

/* Passes bwd and fwdbwd prove forward outputs, too. They are not what such a cell asks for, unless they
 * are wrong. */
static bool is_aside(const sq_check *check, sq_pass pass)
{
    const bool is_differentiated = pass == SQ_PASS_BWD || pass == SQ_PASS_FWDBWD;
    const bool is_gradient = strncmp(check->tensor, "d_", 2) == 0;
    return is_differentiated && !is_gradient && check->rel_l2 <= check->tolerance_rel_l2;
}

/* The worst tensor is that which is farthest towards its bound. */
static void find_worst(const sq_proof *proof, sq_pass pass, sq_verification *out)
{
    for (int i = 0; i < proof->n_checks; i++) {
        const sq_check *c = &proof->checks[i];
        const double share = c->rel_l2 / c->tolerance_rel_l2;
        if (is_aside(c, pass) || !(isnan(out->rel_l2) || share > out->rel_l2 / out->tolerance))
            continue;
        snprintf(out->tensor, sizeof out->tensor, "%.95s", c->tensor);
        out->rel_l2 = c->rel_l2;
        out->max_abs = proof->difference[i];
        out->tolerance = c->tolerance_rel_l2;
    }
}

static void judge(const sq_proof *proof, sq_values values, sq_verification *out)
{
    bool is_ok = proof->is_ok;
    if (!is_ok && values != SQ_VALUES_USUAL && proof->n_checks > 0) {
        is_ok = true;
        for (int i = 0; i < proof->n_checks; i++)
            is_ok = is_ok && holds(&proof->checks[i], values);
    }
    if (!is_ok)
        refuse(out, proof->reason);
}

static sq_status prove(sq_job *job, const sq_replay *replay, double max_work, sq_verification *out,
                       sq_error *err)
{
    const bool is_op = replay->subject.op != NULL;
    uint64_t before = 0, after = 0, first, second;
    double setup_ns;
    sq_proof proof;
    if (is_op)
        set_values(replay->subject.op, &sq_job_place(job)->list, replay->values, replay->seed);
    SQ_TRY(job->ops->prepare(job, replay->seed, &setup_ns, err));
    if (is_op)
        SQ_TRY(inputs_checksum(job, &before, err));
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, &first, err));
    SQ_TRY(sq_job_run_once(job, err));
    SQ_TRY(job->ops->checksum(job, &second, err));
    if (is_op)
        SQ_TRY(inputs_checksum(job, &after, err));
    SQ_TRY(job->ops->prove(job, max_work, &proof, err));
    find_worst(&proof, replay->cell.pass, out);
    judge(&proof, replay->values, out);
    if (out->verdict == SQ_VERDICT_OK && first != second)
        refuse(out, "two launches gave different bits");
    if (out->verdict == SQ_VERDICT_OK && before != after)
        refuse(out, "an input was written to");
    return SQ_OK;
}

static sq_status make_job(const sq_rig *rig, const sq_replay *replay, sq_job **job, sq_error *err)
{
    const sq_cell *cell = &replay->cell;
    const sq_op *op = replay->subject.op;
    if (!op)
        return sq_job_new_block(rig, replay->subject.family, cell, job, err);
    sq_call call = {.op = op, .pass = cell->pass, .dtype = cell->dtype};
    const sq_provider *provider = sq_provider_find(rig->providers, op, cell->provider);
    memcpy(call.axis, cell->value, sizeof call.axis);
    if (!provider)
        return sq_fail(err, SQ_UNSUPPORTED, "no provider %s of %s here", cell->provider, op->name);
    return sq_job_new_op(rig, &call, provider, replay->layout, job, err);
}

sq_status sq_replay_run(const sq_rig *rig, const sq_replay *replay, double max_work,
                        sq_verification *out, sq_error *err)
{
    char key[SQ_KEY_MAX];
    sq_job *job = NULL;
    sq_error why = {.status = SQ_OK};
    *out = (sq_verification){.kind = "cell", .rel_l2 = NAN, .max_abs = NAN, .tolerance = NAN};
    sq_cell_key(&replay->cell, key);
    snprintf(out->name, sizeof out->name, "%s", key);
    snprintf(out->subject, sizeof out->subject, "%.63s", replay->cell.subject);
    snprintf(out->provider, sizeof out->provider, "%.63s", replay->cell.provider);
    sq_status s = make_job(rig, replay, &job, &why);
    if (s == SQ_OK)
        s = prove(job, replay, max_work, out, &why);
    sq_job_free(job);
    if (s == SQ_UNSUPPORTED) {
        out->verdict = SQ_VERDICT_UNSUPPORTED;
        snprintf(out->reason, sizeof out->reason, "%.300s", why.message);
        return SQ_OK;
    }
    return s == SQ_OK ? SQ_OK : sq_fail(err, s, "%s", why.message);
}
