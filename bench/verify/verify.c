/* verify: see verify.h. */
#include "bench/verify/verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/error_rule.h"
#include "bench/verify/layers/layers.h"
#include "bench/verify/subjects/subjects.h"
#include "bench/verify/tape.h"

/* A case whose official run in f32 says that it lost more proves no more by it. */
static const double MOST_OF_F32 = 0.01;

enum {
    MAX_OUTCOMES = 64, /* outputs, or gradients, of a case */
    GRIDS = 32,        /* roundings of a reference */
};

typedef struct {
    const sq_rig *rig;
    const sq_golden *golden;
    sq_dtype dtype;
    sq_tape *tape;
    double reference_error[MAX_OUTCOMES]; /* of the pass, 16-bit types */
    bool *is_compared;                    /* for each tensor of the case */
} trial;

const char *sq_verdict_name(sq_verdict verdict)
{
    static const char *const names[] = {"ok", "mismatch", "unsupported"};
    return names[verdict];
}

/* --- results --- */

/* Dense f32 forms of a result and of what the case stores; *got NULL data where there is none. */
static sq_status unpack(const sq_tape_outcome *outcome, sq_tensor *got, sq_tensor *want,
                        sq_error *err)
{
    const sq_stored_tensor *stored = outcome->want;
    *want = sq_tensor_dense(NULL, SQ_DTYPE_F32, stored->rank, stored->dim);
    *got = *want;
    want->data = malloc(sq_tensor_bytes(want) + 1);
    got->data = malloc(sq_tensor_bytes(want) + 1);
    if (!want->data || !got->data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory to compare %.100s", stored->name);
    for (int64_t i = 0; i < stored->count; i++) {
        sq_store(want->data, SQ_DTYPE_F32, i, sq_stored_number(stored, i));
        sq_store(got->data, SQ_DTYPE_F32, i, outcome->got[i]);
    }
    return SQ_OK;
}

static sq_status compare(const sq_tape_outcome *outcome, double bound, sq_compare_result *out,
                         sq_error *err)
{
    sq_tensor got = {.data = NULL}, want = {.data = NULL};
    const sq_status s = unpack(outcome, &got, &want, err);
    if (s == SQ_OK)
        *out = sq_compare(&got, &want, (sq_tolerance){.rel_l2 = bound, .max_abs = INFINITY});
    free(got.data);
    free(want.data);
    return s;
}

static double bound_of(const trial *t, int i, const char *role)
{
    const double f32 = sq_golden_f32_error(t->golden, role);
    const double own = isnan(f32) ? 0 : fmin(SQ_RULE_FACTOR_F32 * f32, MOST_OF_F32);
    const double least = fmax(SQ_RULE_F32, own);
    if (t->dtype == SQ_DTYPE_F32)
        return least;
    return fmax(least, sq_rule_of_16_bit(t->reference_error[i], strcmp(role, "grad") == 0));
}

/* The worst tensor of all providers stays in *out: that which is farthest beyond its bound. */
static sq_status judge(const trial *t, int i, const sq_tape_outcome *outcome, const char *provider,
                       sq_verification *out, sq_error *err)
{
    const double bound = bound_of(t, i, outcome->role);
    const char *name = outcome->want->name;
    sq_compare_result r;
    SQ_TRY(compare(outcome, bound, &r, err));
    const bool is_worse = isnan(out->rel_l2) || r.rel_l2 / bound > out->rel_l2 / out->tolerance;
    t->is_compared[outcome->want - t->golden->file.tensor] = true;
    if (is_worse) {
        out->rel_l2 = r.rel_l2;
        out->max_abs = fabs(r.got_worst - r.want_worst);
        out->tolerance = bound;
        snprintf(out->tensor, sizeof out->tensor, "%.95s", name);
        snprintf(out->provider, sizeof out->provider, "%s", provider);
    }
    if (!r.is_ok) {
        out->verdict = SQ_VERDICT_MISMATCH;
        if (is_worse)
            snprintf(out->reason, sizeof out->reason,
                     "%.64s: %.95s: rel_l2 %.3g, %.3g is allowed; worst at element %lld: got %.6g, "
                     "want %.6g",
                     provider, name, r.rel_l2, bound, (long long)r.worst, r.got_worst,
                     r.want_worst);
    }
    return SQ_OK;
}

/* --- runs --- */

static sq_status run_tape(const trial *t, sq_pass pass, sq_error *err)
{
    SQ_TRY(sq_tape_forward(t->tape, err));
    return pass == SQ_PASS_BWD ? sq_tape_backward(t->tape, err) : SQ_OK;
}

static sq_status note_errors(trial *t, sq_pass pass, sq_error *err)
{
    sq_tape_outcome outcome;
    for (int i = 0; i < MAX_OUTCOMES && sq_tape_outcome_at(t->tape, pass, i, &outcome); i++) {
        sq_compare_result r;
        if (!outcome.got)
            continue;
        SQ_TRY(compare(&outcome, INFINITY, &r, err));
        if (isfinite(r.rel_l2))
            t->reference_error[i] = fmax(t->reference_error[i], r.rel_l2);
    }
    return SQ_OK;
}

/* What the 16-bit reference itself is away from the case: the worst of several, since the error of a
 * few numbers may be near 0 in one. */
static sq_status run_reference(trial *t, sq_pass pass, sq_error *err)
{
    SQ_TRY(sq_tape_select(t->tape, NULL, "", pass, err));
    for (int i = 0; i < MAX_OUTCOMES; i++)
        t->reference_error[i] = 0;
    for (int i = 0; i < GRIDS; i++) {
        sq_tape_round(t->tape, exp2(-(double)i / GRIDS));
        SQ_TRY(run_tape(t, pass, err));
        SQ_TRY(note_errors(t, pass, err));
    }
    return SQ_OK;
}

/* Stands for the provider of a tape without operators: numbers that the library makes on the host. */
static const char library[] = "library";

/* *is_run: the provider took part. SQ_UNSUPPORTED: some step has no provider; where it takes part, what it
 * takes it must do. */
static sq_status run_provider(const trial *t, sq_pass pass, const char *provider, bool *is_run,
                              sq_verification *out, sq_error *err)
{
    sq_tape_outcome outcome;
    *is_run = false;
    SQ_TRY(sq_tape_select(t->tape, t->rig, provider, pass, err));
    if (provider != library && sq_tape_uses(t->tape, provider) == 0)
        return SQ_OK;
    *is_run = true;
    const sq_status s = run_tape(t, pass, err);
    if (s != SQ_OK)
        return s == SQ_UNSUPPORTED ? SQ_DEVICE : s;
    for (int i = 0; i < MAX_OUTCOMES && sq_tape_outcome_at(t->tape, pass, i, &outcome); i++)
        if (outcome.got)
            SQ_TRY(judge(t, i, &outcome, provider, out, err));
    return SQ_OK;
}

static void give_up(sq_verification *out, const char *why)
{
    out->verdict = SQ_VERDICT_UNSUPPORTED;
    snprintf(out->reason, sizeof out->reason, "%.*s", SQ_REASON_MAX - 1, why);
}

/* A kernel that could not be launched, and left the device as it was. */
static bool is_refusal(const trial *t, sq_status s)
{
    return s == SQ_DEVICE && t->rig->backend->sync(t->rig->device, NULL) == SQ_OK;
}

/* A provider that wrote outside of its tensors, or does not what it says it does. */
static void note_fault(sq_verification *out, const char *provider, const char *why)
{
    out->verdict = SQ_VERDICT_MISMATCH;
    snprintf(out->provider, sizeof out->provider, "%s", provider);
    snprintf(out->reason, sizeof out->reason, "%.64s: %.250s", provider, why);
}

static sq_status run_pass(trial *t, sq_pass pass, sq_verification *out, sq_error *err)
{
    bool is_any = false;
    sq_error why = {.status = SQ_OK};
    const char *provider;
    if (!sq_tape_provider(t->tape, t->rig, 0))
        return run_provider(t, pass, library, &is_any, out, err);
    if (t->dtype != SQ_DTYPE_F32)
        SQ_TRY(run_reference(t, pass, err));
    for (int i = 0; (provider = sq_tape_provider(t->tape, t->rig, i)) != NULL; i++) {
        bool is_run = false;
        const sq_status s = run_provider(t, pass, provider, &is_run, out, &why);
        is_any = is_any || is_run;
        if (s == SQ_MISMATCH || is_refusal(t, s))
            note_fault(out, provider, why.message);
        else if (s != SQ_OK && s != SQ_UNSUPPORTED)
            return sq_fail(err, s, "%.64s: %.380s", provider, why.message);
    }
    if (!is_any)
        give_up(out, why.message);
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

static bool has_compared(const trial *t)
{
    bool has = false;
    for (int i = 0; i < t->golden->file.count; i++)
        has = has || t->is_compared[i];
    return has;
}

/* Whether the loss depends on an output that nobody computed. */
static bool is_loss_open(const trial *t)
{
    for (int i = 0; i < t->golden->file.count; i++) {
        const char *name = t->golden->file.tensor[i].name;
        if (strncmp(name, "output.", 7) == 0 && !t->is_compared[i] &&
            sq_golden_tensor(t->golden, "cotangent", name + 7))
            return true;
    }
    return false;
}

/* Pass fwd, then pass bwd. Gradients of a loss that depends on an output which is not computed are
 * none of ours. */
static sq_status run_passes(trial *t, sq_verification *out, sq_error *err)
{
    SQ_TRY(run_pass(t, SQ_PASS_FWD, out, err));
    if (out->verdict == SQ_VERDICT_OK && sq_golden_has_role(t->golden, "grad") && !is_loss_open(t))
        SQ_TRY(run_pass(t, SQ_PASS_BWD, out, err));
    find_gap(t, "output", out);
    find_gap(t, "grad", out);
    if (out->verdict == SQ_VERDICT_OK && !has_compared(t))
        give_up(out, "the case stores no output to compare with");
    return SQ_OK;
}

/* SQ_UNSUPPORTED where neither an operator nor a composition of them computes the subject. */
static sq_status build(sq_tape *tape, const sq_golden *golden, sq_error *err)
{
    const sq_verify_subject *subject = sq_verify_subject_find(golden->subject);
    const sq_verify_layer *layer = sq_verify_layer_find(golden->subject);
    if (strcmp(golden->kind, "model") == 0) /* which may be named as a layer is */
        return sq_fail(err, SQ_UNSUPPORTED, "no operator computes a model: %.60s", golden->subject);
    if (!subject && !layer)
        return sq_fail(err, SQ_UNSUPPORTED, "no operator computes %.60s", golden->subject);
    if (subject)
        SQ_TRY(sq_verify_subject_build(subject, golden, tape, err));
    else
        layer->build(tape, golden);
    SQ_TRY(sq_tape_status(tape, err));
    SQ_TRY(sq_golden_agrees(golden, err));
    return sq_tape_check_taken(tape, err);
}

static sq_status open_trial(trial *t, sq_error *err)
{
    t->tape = sq_tape_new(t->golden, t->dtype);
    t->is_compared = calloc((size_t)t->golden->file.count + 1, sizeof *t->is_compared);
    if (!t->tape || !t->is_compared)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the case");
    return build(t->tape, t->golden, err);
}

static void close_trial(trial *t)
{
    free(t->is_compared);
    sq_tape_free(t->tape);
}

static sq_status run_trial(trial *t, sq_verification *out, sq_error *err)
{
    SQ_TRY(open_trial(t, err));
    return run_passes(t, out, err);
}

static sq_status judge_reference(trial *t, sq_pass pass, sq_verification *out, sq_error *err)
{
    sq_tape_outcome outcome;
    SQ_TRY(sq_tape_select(t->tape, NULL, "", pass, err));
    SQ_TRY(run_tape(t, pass, err));
    for (int i = 0; i < MAX_OUTCOMES && sq_tape_outcome_at(t->tape, pass, i, &outcome); i++)
        if (outcome.got)
            SQ_TRY(judge(t, i, &outcome, "reference in f32", out, err));
    return SQ_OK;
}

/* The bounds of 16 bits are twice what a reference of 16 bits is away from the case: a wrong case
 * would set its own. So the reference of f32 has to agree with it first. */
static sq_status judge_case(const sq_golden *golden, sq_verification *out, sq_error *err)
{
    trial t = {.golden = golden, .dtype = SQ_DTYPE_F32};
    sq_verification found = *out;
    sq_status s = open_trial(&t, err);
    if (s == SQ_OK)
        s = judge_reference(&t, SQ_PASS_FWD, &found, err);
    if (s == SQ_OK && sq_golden_has_role(golden, "grad") && !is_loss_open(&t))
        s = judge_reference(&t, SQ_PASS_BWD, &found, err);
    if (s == SQ_OK && found.verdict == SQ_VERDICT_MISMATCH)
        *out = found;
    close_trial(&t);
    return s;
}

static sq_status verify_golden(const sq_rig *rig, const sq_golden *golden, sq_dtype dtype,
                               sq_verification *out, sq_error *err)
{
    trial t = {.rig = rig, .golden = golden, .dtype = dtype};
    sq_error why = {.status = SQ_OK};
    sq_status s = dtype == SQ_DTYPE_F32 ? SQ_OK : judge_case(golden, out, &why);
    if (s == SQ_OK && out->verdict == SQ_VERDICT_OK)
        s = run_trial(&t, out, &why);
    close_trial(&t);
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
