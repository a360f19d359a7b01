/* tape: see tape.h. Operator calls. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/verify/tape_steps.h"

/* Equal; of another rank, but for dims of 1. */
static bool fits(const sq_tape_variable *v, const sq_tensor_spec *spec)
{
    int a = 0, b = 0;
    if (v->rank == spec->rank)
        return memcmp(v->dim, spec->dim, (size_t)v->rank * sizeof *v->dim) == 0;
    for (;; a++, b++) {
        while (a < v->rank && v->dim[a] == 1)
            a++;
        while (b < spec->rank && spec->dim[b] == 1)
            b++;
        if (a == v->rank || b == spec->rank)
            return a == v->rank && b == spec->rank;
        if (v->dim[a] != spec->dim[b])
            return false;
    }
}

static sq_var bound(const sq_tape_bind *binds, const char *name)
{
    for (; binds->name; binds++)
        if (strcmp(binds->name, name) == 0)
            return binds->var;
    return SQ_VAR_NONE;
}

static void bind_inputs(sq_tape *tape, sq_tape_operator *o, const sq_tape_bind *binds)
{
    for (int i = 0; i < o->list.n_in && tape->status == SQ_OK; i++) {
        const sq_tensor_spec *spec = &o->list.in[i];
        o->in[i] = spec->name ? bound(binds, spec->name) : SQ_VAR_NONE;
        const sq_tape_variable *v = sq_tape_variable_at(tape, o->in[i]);
        if (spec->name && !v)
            sq_tape_refuse(tape, SQ_UNSUPPORTED, "the case has no tensor for input %s of %s",
                           spec->name, o->call.op->name);
        else if (v && !fits(v, spec))
            sq_tape_refuse(tape, SQ_BAD_ARGUMENT, "%.100s: its shape is not that of the options",
                           v->stored ? v->stored->name : spec->name);
    }
}

static sq_status shape_call(sq_tape *tape, sq_tape_operator *o, const char *op, const char *axes,
                            sq_error *err)
{
    const sq_op *found = sq_op_find(op);
    if (!found)
        return sq_fail(err, SQ_UNSUPPORTED, "there is no operator %s", op);
    SQ_TRY(sq_call_parse(found, SQ_PASS_FWD, tape->call_dtype, axes, &o->call, err));
    return sq_op_tensors(found, SQ_PASS_FWD, tape->call_dtype, o->call.axis, &o->list, err);
}

void sq_tape_set_f32(sq_tape *tape, bool is_f32)
{
    tape->call_dtype = is_f32 ? SQ_DTYPE_F32 : tape->dtype;
}

int sq_tape_call(sq_tape *tape, const char *op, const sq_tape_bind *binds, const char *axes, ...)
{
    char text[512];
    sq_error why = {.status = SQ_OK};
    va_list args;
    va_start(args, axes);
    vsnprintf(text, sizeof text, axes, args);
    va_end(args);
    if (tape->status != SQ_OK)
        return SQ_VAR_NONE;
    sq_tape_operator *o = calloc(1, sizeof *o);
    const sq_status s = o ? shape_call(tape, o, op, text, &why)
                          : sq_fail(&why, SQ_OUT_OF_MEMORY, "no memory for a call of %s", op);
    if (s != SQ_OK) {
        /* What the operator's axes cannot say is not computed by it. */
        sq_tape_refuse(tape, s == SQ_BAD_ARGUMENT ? SQ_UNSUPPORTED : s, "%.350s", why.message);
        free(o);
        return SQ_VAR_NONE;
    }
    bind_inputs(tape, o, binds);
    for (int i = 0; i < o->list.n_out; i++)
        o->out[i] = o->list.out[i].name
                        ? sq_tape_add_variable(tape, o->list.out[i].rank, o->list.out[i].dim)
                        : SQ_VAR_NONE;
    if (sq_tape_add_step(tape, (sq_tape_step){.in = {-1, -1}, .out = SQ_VAR_NONE, .op = o}))
        return tape->steps - 1;
    free(o);
    return SQ_VAR_NONE;
}

const sq_tensor_list *sq_tape_tensors(const sq_tape *tape, int call)
{
    return tape->status == SQ_OK && call >= 0 ? &tape->step[call].op->list : NULL;
}

void sq_tape_set_form(sq_tape *tape, int call, const char *provider)
{
    if (tape->status == SQ_OK && call >= 0)
        tape->step[call].op->form = provider;
}

sq_var sq_tape_result(sq_tape *tape, int call, const char *name)
{
    const sq_tensor_list *list = sq_tape_tensors(tape, call);
    for (int i = 0; list && i < list->n_out; i++)
        if (list->out[i].name && strcmp(list->out[i].name, name) == 0)
            return tape->step[call].op->out[i];
    sq_tape_refuse(tape, SQ_UNSUPPORTED, "the operator has no output %s", name);
    return SQ_VAR_NONE;
}

/* --- what is taken --- */

static void mark(bool *is_needed, const sq_var *of, int count)
{
    for (int i = 0; i < count; i++)
        if (of[i] >= 0)
            is_needed[of[i]] = true;
}

static bool is_step_needed(const sq_tape_step *s, const bool *is_needed)
{
    bool is = s->out >= 0 && is_needed[s->out];
    for (int i = 0; s->op && i < s->op->list.n_out; i++)
        is = is || (s->op->out[i] >= 0 && is_needed[s->op->out[i]]);
    return is;
}

/* Whether a result depends on it, for each variable; the caller frees. NULL: no memory. */
static bool *needed_variables(const sq_tape *tape)
{
    bool *is_needed = calloc((size_t)tape->variables + 1, sizeof *is_needed);
    for (int i = 0; is_needed && i < tape->variables; i++)
        is_needed[i] = tape->variable[i].is_result;
    for (int i = tape->steps - 1; is_needed && i >= 0; i--) {
        const sq_tape_step *s = &tape->step[i];
        if (!is_step_needed(s, is_needed))
            continue;
        mark(is_needed, s->in, 2);
        if (s->op)
            mark(is_needed, s->op->in, s->op->list.n_in);
        if (s->computed)
            mark(is_needed, s->computed->in, s->computed->n_in);
    }
    return is_needed;
}

static bool is_taken(const sq_tape *tape, const sq_stored_tensor *stored, const bool *is_needed)
{
    bool is = tape->is_read[stored - tape->golden->file.tensor];
    for (int i = 0; i < tape->variables && !is; i++)
        is = tape->variable[i].stored == stored && is_needed[i];
    return is;
}

sq_status sq_tape_check_taken(const sq_tape *tape, sq_error *err)
{
    const sq_safetensors *file = &tape->golden->file;
    const char *name = NULL;
    bool *is_needed = needed_variables(tape);
    if (!is_needed)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "out of memory for %d variables", tape->variables);
    for (int i = 0; i < file->count && !name; i++) {
        const sq_stored_tensor *t = &file->tensor[i];
        const bool is_given =
            strncmp(t->name, "input.", 6) == 0 || strncmp(t->name, "param.", 6) == 0;
        if (is_given && !is_taken(tape, t, is_needed))
            name = t->name;
    }
    free(is_needed);
    return name ? sq_fail(err, SQ_UNSUPPORTED, "%.100s: nothing here takes it", name) : SQ_OK;
}

/* --- what is neither --- */

sq_var sq_tape_compute(sq_tape *tape, sq_tape_function function, const sq_var *in,
                       const int64_t *size, int rank, const int64_t *dim)
{
    const sq_var out = sq_tape_add_variable(tape, rank, dim);
    sq_tape_computation *c = out >= 0 ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        sq_tape_refuse(tape, SQ_OUT_OF_MEMORY, "no memory for the steps of a case");
        return SQ_VAR_NONE;
    }
    c->function = function;
    for (; in[c->n_in] >= 0 && c->n_in < 4; c->n_in++)
        c->in[c->n_in] = in[c->n_in];
    for (int i = 0; size[i] > 0 && i < SQ_TAPE_SIZES - 1; i++)
        c->size[i] = size[i];
    if (sq_tape_add_step(tape, (sq_tape_step){.in = {-1, -1}, .out = out, .computed = c}))
        return out;
    free(c);
    return SQ_VAR_NONE;
}
