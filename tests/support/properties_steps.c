/* properties of time: steps after a prefix, and documents. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/properties_parts.h"

enum { STEPS = 3, LAST_DOCUMENT = 21 };

int sq_property_tensor(const sq_specimen_tensor *list, int n, const char *prefix)
{
    for (int i = 0; i < n; i++)
        if (list[i].spec.name && strncmp(list[i].spec.name, prefix, strlen(prefix)) == 0)
            return i;
    return -1;
}

void sq_property_copy_step(const sq_tensor *to, int64_t at, const sq_tensor *from, int64_t step,
                           int d)
{
    sq_tensor slot = sq_tensor_slice(to, d, at, 1);
    const sq_tensor of = sq_tensor_slice(from, d, step, 1);
    for (int64_t e = 0; e < sq_tensor_count(&slot); e++)
        sq_store(slot.data, slot.dtype, sq_tensor_offset(&slot, e),
                 sq_load(of.data, of.dtype, sq_tensor_offset(&of, e)));
}

/* Slot `s` of a cache of `slots` holds the last of the tokens 0..t whose number modulo `slots` is
 * s. */
static void copy_cache(sq_tensor *to, const sq_tensor *from, int d, int64_t t)
{
    const int64_t slots = to->dim[d];
    for (int64_t s = 0; s < slots; s++) {
        const int64_t token = t - ((t - s) % slots + slots) % slots;
        sq_property_copy_step(to, s, from, token, d);
    }
}

/* Inputs of the step that token `t` of `whole` is: its token, or the tokens so far. */
static void copy_token(sq_specimen *step, const sq_specimen *whole, int64_t t)
{
    for (int i = 0; i < step->n_in; i++) {
        sq_specimen_tensor *to = &step->in[i];
        const sq_specimen_tensor *from = &whole->in[i];
        if (!to->host.data || !from->host.data)
            continue;
        const int d = to->spec.time_dim;
        if (d < 0)
            sq_property_copy(&to->host, &from->host, -1, 0);
        else if (to->host.dim[d] == 1)
            sq_property_copy(&to->host, &from->host, d, t);
        else if (to->host.dim[d] == t + 1)
            sq_property_copy(&to->host, &from->host, d, 0);
        else
            copy_cache(&to->host, &from->host, d, t);
    }
}

/* The state after the first k tokens, as the step's input; nothing where there is none. */
static sq_status run_prefill(const sq_property_subject *of, const sq_specimen *whole, int64_t k,
                             sq_specimen *prefix, sq_error *err)
{
    const sq_specimen_axis set[] = {{"L", (double)k}, {"final", 1}, {NULL, 0}};
    SQ_TRY(sq_property_make(of, SQ_PASS_FWD, set, SQ_PROPERTY_SEED, prefix, err));
    for (int i = 0; i < whole->n_in; i++)
        if (whole->in[i].host.data)
            sq_property_copy(&prefix->in[i].host, &whole->in[i].host, -1, 0);
    return sq_specimen_run(of->rig, prefix, err);
}

static sq_status run_step(const sq_property_subject *of, const sq_specimen *whole, int64_t t,
                          sq_tensor *state, sq_error *err)
{
    const double context = sq_property_axis(whole, "past", 0) + (double)(t + 1);
    const sq_specimen_axis set[] = {{"L", context}, {"past", 0}, {NULL, 0}};
    sq_specimen step;
    sq_status s = sq_property_make(of, SQ_PASS_STEP, set, SQ_PROPERTY_SEED, &step, err);
    if (s == SQ_OK) {
        const int initial = sq_property_tensor(step.in, step.n_in, "initial");
        const int final = sq_property_tensor(step.out, step.n_out, "final");
        copy_token(&step, whole, t);
        if (initial >= 0)
            sq_property_copy(&step.in[initial].host, state, -1, 0);
        s = sq_specimen_run(of->rig, &step, err);
        if (s == SQ_OK && final >= 0)
            sq_property_copy(state, &step.out[final].host, -1, 0);
    }
    for (int i = 0; s == SQ_OK && i < step.n_out; i++) {
        const int d = whole->out[i].spec.time_dim;
        if (!step.out[i].host.data || !whole->out[i].host.data || d < 0)
            continue;
        const sq_tensor want = sq_tensor_slice(&whole->out[i].host, d, t, 1);
        s = sq_property_compare(whole, i, 3, &step.out[i].host, &want, "a step differs", err);
    }
    sq_specimen_free(&step);
    return s;
}

/* Keys as a cache holds them: turned by their positions where the scores turn them. */
static sq_status turn_keys(const sq_specimen *of, sq_specimen_tensor *keys, sq_error *err)
{
    const double pos = sq_property_axis(of, "pos", 0);
    sq_axis_value shape[6];
    char axes[256];
    sq_call call;
    if (pos != 1 && pos != 2) /* rope, rope-interleaved */
        return SQ_OK;
    for (int d = 0; d < 4; d++)
        shape[d] = (double)keys->host.dim[d];
    shape[4] = sq_property_axis(of, "rotary", 0);
    shape[5] = sq_property_axis(of, "base", 10000);
    snprintf(axes, sizeof axes, "B=%.0f,L=%.0f,H=%.0f,D=%.0f,rotary=%.0f,base=%.17g,pairs=%s",
             shape[0], shape[1], shape[2], shape[3], shape[4], shape[5],
             pos == 1 ? "half" : "interleaved");
    SQ_TRY(sq_call_parse(sq_op_find("rope"), SQ_PASS_FWD, keys->host.dtype, axes, &call, err));
    call.in[0] = keys->host;
    call.out[0] = keys->host;
    call.out[0].data = malloc(sq_tensor_bytes(&keys->host));
    if (!call.out[0].data)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for keys");
    const sq_status s = sq_op_reference(&call, err);
    if (s == SQ_OK)
        memcpy(keys->host.data, call.out[0].data, sq_tensor_bytes(&keys->host));
    free(call.out[0].data);
    return s;
}

static sq_status run_steps(const sq_property_subject *of, const sq_specimen *whole, int64_t k,
                           sq_error *err)
{
    const int64_t length = (int64_t)whole->axis[SQ_AXIS_L];
    const bool has_state = sq_axis_find(of->op->axes, "final") >= 0;
    sq_specimen prefix;
    sq_tensor none = {.data = NULL}, *state = &none;
    sq_status s = SQ_OK;
    memset(&prefix, 0, sizeof prefix);
    if (has_state) {
        s = run_prefill(of, whole, k, &prefix, err);
        const int final = s == SQ_OK ? sq_property_tensor(prefix.out, prefix.n_out, "final") : -1;
        if (final >= 0)
            state = &prefix.out[final].host;
    }
    for (int64_t t = k; s == SQ_OK && t < length; t++)
        s = run_step(of, whole, t, state, err);
    const int whole_final = sq_property_tensor(whole->out, whole->n_out, "final");
    if (s == SQ_OK && state->data && whole_final >= 0)
        s = sq_property_compare(whole, whole_final, 3, state, &whole->out[whole_final].host,
                                "the state after the last step differs", err);
    sq_specimen_free(&prefix);
    return s;
}

/* A prefix, then token by token, is the whole. */
sq_status sq_property_last_steps(const sq_property_subject *of, sq_specimen *whole, int64_t steps,
                                 sq_error *err)
{
    const int64_t length = (int64_t)whole->axis[SQ_AXIS_L];
    const int64_t k = length > steps ? length - steps : 1;
    const bool is_apart = sq_property_axis(whole, "documents", 0) != 0 ||
                          sq_property_axis(whole, "causal", 1) == 0 ||
                          sq_property_axis(whole, "Lk", (double)length) != (double)length;
    if (!of->op || length < 2 || is_apart || !sq_provider_has(of->provider, SQ_PASS_STEP))
        return SQ_UNSUPPORTED;
    sq_specimen cached = *whole;
    const int keys = strcmp(of->op->name, "attention") == 0 ? 1 : -1;
    sq_tensor kept = {.data = NULL};
    sq_status s = SQ_OK;
    if (keys >= 0) {
        kept = whole->in[keys].host;
        cached.in[keys].host.data = malloc(sq_tensor_bytes(&kept));
        if (!cached.in[keys].host.data)
            return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for keys");
        memcpy(cached.in[keys].host.data, kept.data, sq_tensor_bytes(&kept));
        s = turn_keys(whole, &cached.in[keys], err);
    }
    if (s == SQ_OK)
        s = run_steps(of, &cached, k, err);
    if (keys >= 0)
        free(cached.in[keys].host.data);
    return s == SQ_BAD_SHAPE ? SQ_UNSUPPORTED : s; /* what looks at all scores has no steps */
}

sq_status sq_property_steps(const sq_property_subject *of, sq_specimen *whole, sq_error *err)
{
    return sq_property_last_steps(of, whole, STEPS, err);
}

/* --- documents --- */

static void number_documents(sq_tensor *seq_idx, int64_t start)
{
    for (int64_t e = 0; e < sq_tensor_count(seq_idx); e++)
        sq_store(seq_idx->data, seq_idx->dtype, e, e % seq_idx->dim[1] >= start);
}

sq_status sq_property_compare_rest(const sq_property_subject *of, const sq_specimen *whole,
                                   sq_specimen *rest, int64_t start, double factor,
                                   const char *what, sq_error *err)
{
    for (int i = 0; i < whole->n_in; i++)
        if (rest->in[i].host.data) /* an initial state is of what was before */
            sq_property_copy(&rest->in[i].host, &whole->in[i].host, whole->in[i].spec.time_dim,
                             start);
    SQ_TRY(sq_specimen_run(of->rig, rest, err));
    for (int i = 0; i < whole->n_out; i++) {
        const int d = whole->out[i].spec.time_dim;
        if (!whole->out[i].host.data)
            continue;
        sq_tensor want = whole->out[i].host;
        if (d >= 0)
            want = sq_tensor_slice(&want, d, start, want.dim[d] - start);
        SQ_TRY(sq_property_compare(whole, i, factor, &rest->out[i].host, &want, what, err));
    }
    return SQ_OK;
}

/* Documents that start at step `start` of `length`. */
static sq_status start_at(const sq_property_subject *of, int64_t length, int64_t start,
                          sq_error *err)
{
    const sq_specimen_axis all[] = {{"L", (double)length}, {NULL, 0}};
    const sq_specimen_axis rest[] = {{"L", (double)(length - start)}, {"initial", 0}, {NULL, 0}};
    sq_specimen both, second;
    memset(&second, 0, sizeof second);
    sq_status s = sq_property_make(of, SQ_PASS_FWD, all, SQ_PROPERTY_SEED, &both, err);
    if (s == SQ_OK) {
        number_documents(&both.in[sq_property_tensor(both.in, both.n_in, "seq_idx")].host, start);
        s = sq_specimen_run(of->rig, &both, err);
    }
    if (s == SQ_OK)
        s = sq_property_make(of, SQ_PASS_FWD, rest, SQ_PROPERTY_SEED, &second, err);
    if (s == SQ_OK)
        s = sq_property_compare_rest(of, &both, &second, start, 2,
                                     "a document knows what was before", err);
    sq_specimen_free(&both);
    sq_specimen_free(&second);
    return s;
}

/* Where a document starts nothing of the one before is left: also where a chunk starts, whatever
 * chunk the provider likes, and one step to either side. */
sq_status sq_property_documents(const sq_property_subject *of, sq_specimen *a, sq_error *err)
{
    static const int64_t chunks[] = {16, 32, 64, 128, 256};
    const int64_t length = (int64_t)a->axis[SQ_AXIS_L], start = length / 2 + 1;
    if (sq_property_axis(a, "documents", 0) == 0 || start >= length)
        return SQ_UNSUPPORTED;
    SQ_TRY(start_at(of, length, start, err));
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++)
        for (int64_t beside = -1; beside <= 1; beside++)
            SQ_TRY(start_at(of, chunks[i] + LAST_DOCUMENT, chunks[i] + beside, err));
    return SQ_OK;
}
