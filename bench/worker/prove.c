/* prove: see prove.h. */
#include "bench/worker/prove.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/error_rule.h"
#include "bench/proof_slice.h"
#include "bench/worker/condition.h"
#include "bench/worker/host_call.h"

void sq_proof_init(sq_proof *proof)
{
    *proof = (sq_proof){.is_ok = true};
}

/* The worst tensor of a failed proof is the one farthest beyond its own bound. */
static double excess(const sq_check *check)
{
    double l2 = check->rel_l2 / check->tolerance_rel_l2;
    double abs = check->max_abs / check->tolerance_max_abs;
    return l2 > abs ? l2 : abs;
}

static void describe_mismatch(const sq_check *check, const sq_compare_result *r, char *out,
                              size_t size)
{
    snprintf(out, size,
             "%s%s%s: rel_l2 %.3g (allowed %.3g), worst %.3g rms (allowed %.3g) at element %lld: "
             "got %.6g, want %.6g",
             check->tensor, check->slice[0] ? " " : "", check->slice, check->rel_l2,
             check->tolerance_rel_l2, check->max_abs, check->tolerance_max_abs, (long long)r->worst,
             r->got_worst, r->want_worst);
}

static void add_check(sq_proof *proof, const sq_check *check, const sq_compare_result *result)
{
    double worst_before = 0;
    for (int i = 0; i < proof->n_checks; i++)
        worst_before = fmax(worst_before, excess(&proof->checks[i]));
    if (!result->is_ok && (proof->is_ok || excess(check) > worst_before))
        describe_mismatch(check, result, proof->reason, sizeof proof->reason);
    proof->is_ok = proof->is_ok && result->is_ok;
    if (proof->n_checks == SQ_MAX_CHECKS)
        return;
    proof->difference[proof->n_checks] = fabs(result->got_worst - result->want_worst);
    proof->checks[proof->n_checks++] = *check;
}

sq_status sq_prove_tensor(const sq_rig *rig, const char *name, const sq_tensor *got,
                          const sq_tensor *want, sq_tolerance tolerance, const char *slice,
                          sq_proof *proof, sq_error *err)
{
    void *host = malloc(sq_tensor_bytes(got) + 1);
    if (!host)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "proof of %s: no host memory", name);
    sq_status status = rig->backend->gather(rig->device, got, host, err);
    if (status == SQ_OK) {
        sq_tensor dense = sq_tensor_dense(host, got->dtype, got->rank, got->dim);
        sq_compare_result result = sq_compare(&dense, want, tolerance);
        sq_check check = {.rel_l2 = result.rel_l2,
                          .max_abs = result.max_abs,
                          .tolerance_rel_l2 = tolerance.rel_l2,
                          .tolerance_max_abs = tolerance.max_abs};
        snprintf(check.tensor, sizeof check.tensor, "%s", name);
        snprintf(check.slice, sizeof check.slice, "%s", slice);
        add_check(proof, &check, &result);
    }
    free(host);
    return status;
}

/* --- a placed call --- */

/* Passes bwd and fwdbwd prove the forward outputs that they stand on, too. */
static sq_status run_reference(const sq_tensor_list *list, sq_call *host, sq_error *err)
{
    if (list->first_value == 0)
        return host->op->reference(host, err);
    sq_call forward = sq_call_forward(host, list);
    SQ_TRY(host->op->reference(&forward, err));
    host->pass = SQ_PASS_BWD;
    return host->op->backward(host, err);
}

/* In f32 an operator's tolerance is the rule's or says why it cannot be; 16 bit adds the rounding of
 * the results to that. A peer's own numerics are not ours to judge: there the tolerance is all. */
static sq_tolerance bound_of(const sq_place *place, const sq_call *sub, sq_pass pass,
                             const sq_tensor *of, sq_move move)
{
    const bool is_ruled = !place->is_remote && sub->dtype != SQ_DTYPE_F32;
    const sq_tolerance f32 = sub->op->tolerance(pass, SQ_DTYPE_F32, sub->axis);
    const double rounding =
        sub->dtype == SQ_DTYPE_BF16 ? SQ_RULE_ROUNDING_BF16 : SQ_RULE_ROUNDING_F16;
    const double least =
        fmax(f32.rel_l2, SQ_RULE_FACTOR * rounding) * sq_rule_of_few((double)sq_tensor_count(of));
    return sq_condition_bound(sub->op->tolerance(pass, sub->dtype, sub->axis),
                              is_ruled ? least : INFINITY, is_ruled && pass == SQ_PASS_BWD, move);
}

static sq_status compare_values(const sq_place *place, const sq_call *sub, const sq_call *host,
                                const sq_condition *condition, const char *what, sq_proof *proof,
                                sq_error *err)
{
    const sq_tensor_list *list = &place->list;
    for (int i = list->first_value; i > 0 && i < list->n_in; i++)
        if (list->in[i].name && !place->is_remote)
            SQ_TRY(sq_prove_tensor(place->rig, list->in[i].name, &sub->in[i], &host->in[i],
                                   bound_of(place, sub, SQ_PASS_FWD, &sub->in[i], condition->in[i]),
                                   what, proof, err));
    return SQ_OK;
}

static sq_status compare_outputs(const sq_place *place, const sq_call *sub, const sq_call *host,
                                 const sq_condition *condition, const char *what, sq_proof *proof,
                                 sq_error *err)
{
    const sq_tensor_list *list = &place->list;
    const bool is_gradient = list->first_value > 0;
    const sq_pass pass = is_gradient ? SQ_PASS_BWD : sub->pass;
    for (int i = 0; i < list->n_out; i++) {
        char name[sizeof proof->checks[0].tensor];
        if (!list->out[i].name)
            continue;
        snprintf(name, sizeof name, "%s%s", is_gradient ? "d_" : "", list->out[i].name);
        SQ_TRY(sq_prove_tensor(place->rig, name, &sub->out[i], &host->out[i],
                               bound_of(place, sub, pass, &sub->out[i], condition->out[i]), what,
                               proof, err));
    }
    return SQ_OK;
}

static sq_status compare(const sq_place *place, const sq_call *sub, const sq_call *host,
                         const sq_condition *condition, const char *what, sq_proof *proof,
                         sq_error *err)
{
    SQ_TRY(compare_values(place, sub, host, condition, what, proof, err));
    return compare_outputs(place, sub, host, condition, what, proof, err);
}

/* Results are compared with what is not rounded. */
static void keep_f64(const sq_tensor_list *list, sq_call *host)
{
    for (int i = list->first_value; i > 0 && i < list->n_in; i++)
        host->in[i].dtype = SQ_DTYPE_F64;
    for (int i = 0; i < list->n_out; i++)
        host->out[i].dtype = SQ_DTYPE_F64;
}

/* What a type has no number for is infinite in it. */
static void end_range(const sq_tensor *exact, sq_dtype dtype)
{
    double *value = exact->data, stored = 0; /* room for a number of any type */
    for (int64_t i = 0; value && i < sq_tensor_count(exact); i++) {
        sq_store(&stored, dtype, 0, value[i]);
        const double rounded = sq_load(&stored, dtype, 0);
        value[i] = isinf(rounded) ? rounded : value[i];
    }
}

static void end_ranges(const sq_tensor_list *list, const sq_call *host)
{
    for (int i = list->first_value; i > 0 && i < list->n_in; i++)
        if (list->in[i].name)
            end_range(&host->in[i], list->in[i].dtype);
    for (int i = 0; i < list->n_out; i++)
        if (list->out[i].name)
            end_range(&host->out[i], list->out[i].dtype);
}

/* A result beyond its bound is judged again by how much the call magnifies roundings, which more
 * draws may show to be more. */
static sq_status judge_again(const sq_place *place, const sq_call *sub, const sq_call *host,
                             const char *what, sq_proof *proof, sq_error *err)
{
    sq_condition condition = {.in = {{{0}}}};
    for (int draw = 0; draw < sq_condition_draws(host->dtype) && !proof->is_ok; draw++) {
        SQ_TRY(sq_condition_add(&place->list, host, run_reference, draw, &condition, err));
        sq_proof_init(proof);
        SQ_TRY(compare(place, sub, host, &condition, what, proof, err));
    }
    return SQ_OK;
}

static sq_status prove_sub(const sq_place *place, const sq_call *sub, sq_call *host,
                           const char *what, sq_proof *proof, sq_error *err)
{
    const sq_tensor_list *list = &place->list;
    const int n_drawn = sq_drawn_inputs(list);
    *host = *sub;
    host->workspace = host->stream = NULL;
    host->workspace_bytes = 0;
    keep_f64(list, host);
    SQ_TRY(sq_host_call_alloc(host, list, err));
    for (int i = 0; i < n_drawn; i++)
        if (list->in[i].name)
            sq_place_draw(place, i, &sub->in[i], host->in[i].data);
    SQ_TRY(run_reference(list, host, err));
    end_ranges(list, host);
    host->pass = sub->pass;
    SQ_TRY(compare(place, sub, host, &(sq_condition){.in = {{{0}}}}, what, proof, err));
    return judge_again(place, sub, host, what, proof, err);
}

/* --- slices of gradients --- */

/* The view of `target` that `part` is of `whole`, all of one shape. */
static sq_tensor view_like(const sq_tensor *part, const sq_tensor *whole, const sq_tensor *target)
{
    int64_t first[SQ_MAX_RANK];
    sq_tensor view = *target;
    if (target->rank == 0)
        return view;
    sq_proof_window(part, whole, first);
    for (int d = 0; d < whole->rank; d++)
        view = sq_tensor_slice(&view, d, first[d], part->dim[d]);
    return view;
}

/* The backward call of a slice of the forward call. */
static sq_call backward_part(const sq_place *place, const sq_call *forward, const sq_call *part)
{
    const sq_tensor_list *list = &place->list;
    const int n = list->first_gradient;
    sq_call sub = place->call;
    memcpy(sub.axis, part->axis, sizeof sub.axis);
    for (int i = 0; i < n; i++) {
        sub.in[i] = part->in[i];
        sub.out[i] = view_like(&part->in[i], &forward->in[i], &place->call.out[i]);
    }
    for (int k = 0; k < list->n_in - list->first_value; k++) {
        sub.in[n + k] = view_like(&part->out[k], &forward->out[k], &place->call.in[n + k]);
        sub.in[list->first_value + k] = part->out[k];
    }
    return sub;
}

static sq_status mask_gradients(const sq_place *place, const sq_call *sub, sq_error *err)
{
    for (int i = place->list.first_gradient; i < place->list.first_value; i++)
        if (place->list.in[i].name)
            SQ_TRY(sq_place_mask(place, i, sub ? &sub->in[i] : NULL, err));
    return SQ_OK;
}

static sq_status launch_masked(const sq_place *place, const sq_call *sub, sq_launch_fn launch,
                               void *arg, sq_error *err)
{
    SQ_TRY(mask_gradients(place, sub, err));
    SQ_TRY(launch(arg, err));
    return place->rig->backend->sync(place->rig->device, err);
}

/* --- whole or slice --- */

static sq_status draw_sub(const sq_place *place, sq_launch_fn launch, void *arg, sq_pick pick,
                          sq_call *sub, char *what, size_t size, sq_error *err)
{
    sq_call forward, part;
    SQ_TRY(sq_proof_part(&place->call, &place->list, pick, &forward, &part, what, size, err));
    *sub = place->call;
    if (!what[0])
        return SQ_OK;
    if (place->list.first_value == 0) {
        *sub = part;
        return SQ_OK;
    }
    *sub = backward_part(place, &forward, &part);
    return place->is_remote ? SQ_OK : launch_masked(place, sub, launch, arg, err);
}

sq_status sq_prove_place(const sq_place *place, sq_launch_fn launch, void *arg, double max_work,
                         uint64_t seed, sq_proof *proof, sq_error *err)
{
    sq_call sub = place->call, host = place->call;
    char what[sizeof proof->checks[0].slice] = "";
    sq_proof_init(proof);
    sq_error overrun = {.status = SQ_OK};
    sq_status guards = sq_place_check_guards(place, &overrun);
    if (guards == SQ_MISMATCH) {
        proof->is_ok = false;
        snprintf(proof->reason, sizeof proof->reason, "%.300s", overrun.message);
        return SQ_OK;
    }
    if (guards != SQ_OK)
        return sq_fail(err, guards, "%.400s", overrun.message);
    sq_pick pick = {.seed = seed, .max_work = max_work};
    SQ_TRY(draw_sub(place, launch, arg, pick, &sub, what, sizeof what, err));
    sq_status status = prove_sub(place, &sub, &host, what, proof, err);
    sq_host_call_free(&host);
    if (status == SQ_OK && what[0] && !place->is_remote)
        status = mask_gradients(place, NULL, err);
    return status;
}
