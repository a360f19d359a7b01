/* subjects: see subjects.h. */
#include "bench/verify/subjects/subjects.h"

#include <stdio.h>
#include <string.h>

#include "core/text.h"

static const sq_verify_subject *const families[] = {
    sq_subjects_attention, sq_subjects_chunk, sq_subjects_long_conv,
    sq_subjects_norms,     sq_subjects_scan,  NULL,
};

const sq_verify_subject *sq_verify_subject_find(const char *subject)
{
    for (const sq_verify_subject *const *family = families; *family; family++)
        for (const sq_verify_subject *s = *family; s->subject; s++)
            if (strcmp(s->subject, subject) == 0)
                return s;
    return NULL;
}

long long sq_subject_integer(const sq_golden *golden, const char *option)
{
    return sq_golden_integer(golden, option, 0);
}

bool sq_subject_has_input(const sq_golden *golden, const char *name)
{
    return sq_golden_tensor(golden, "input", name) != NULL;
}

bool sq_subject_has_output(const sq_golden *golden, const char *name)
{
    return sq_golden_tensor(golden, "output", name) != NULL;
}

sq_status sq_subject_lacks(bool is_asked, const char *what, sq_error *why)
{
    return is_asked ? sq_fail(why, SQ_UNSUPPORTED, "the operator has no %s", what) : SQ_OK;
}

/* --- the tape of a row --- */

static bool has_rank(const sq_stored_tensor *stored, const sq_subject_tensor *row)
{
    return stored && stored->rank == sq_tape_order_rank(row->order);
}

static sq_status shape_of(const sq_verify_subject *subject, const sq_golden *golden, char *out,
                          size_t size, sq_error *err)
{
    sq_text shape = {.data = NULL};
    sq_status s = subject->shape(golden, &shape, err);
    if (s == SQ_OK && shape.is_failed)
        s = sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a shape");
    if (s == SQ_OK)
        snprintf(out, size, "%s", shape.data);
    sq_text_free(&shape);
    return s;
}

/* bind: room for SQ_MAX_IN and the end. */
static void bind_inputs(const sq_verify_subject *subject, sq_tape *tape, sq_tape_bind *bind)
{
    int n = 0;
    for (const sq_subject_tensor *row = subject->tensors; row->ours && n < SQ_MAX_IN; row++)
        if (has_rank(sq_tape_stored(tape, row->golden), row))
            bind[n++] = (sq_tape_bind){
                row->ours, sq_tape_layout(tape, sq_tape_leaf(tape, row->golden), row->order)};
    bind[n] = (sq_tape_bind){.name = NULL};
}

/* A case that gives more than the operator takes asks for something else. */
static sq_status refuse_unknown_input(const sq_verify_subject *subject, const sq_golden *golden,
                                      sq_error *why)
{
    static const char role[] = "input.";
    for (int i = 0; i < golden->file.count; i++) {
        const char *name = golden->file.tensor[i].name;
        const sq_subject_tensor *row = subject->tensors;
        if (strncmp(name, role, sizeof role - 1) != 0)
            continue;
        while (row->ours && strcmp(row->golden, name + sizeof role - 1) != 0)
            row++;
        if (!row->ours)
            return sq_fail(why, SQ_UNSUPPORTED, "the operator has no input %.100s",
                           name + sizeof role - 1);
    }
    return SQ_OK;
}

static bool has_output(const sq_tensor_list *list, const char *name)
{
    for (int i = 0; i < list->n_out; i++)
        if (list->out[i].name && strcmp(list->out[i].name, name) == 0)
            return true;
    return false;
}

static void put_outputs(const sq_verify_subject *subject, const sq_golden *golden, sq_tape *tape,
                        int call)
{
    const sq_tensor_list *list = sq_tape_tensors(tape, call);
    for (const sq_subject_tensor *row = subject->tensors; list && row->ours; row++)
        if (has_rank(sq_golden_tensor(golden, "output", row->golden), row) &&
            has_output(list, row->ours))
            sq_tape_output(
                tape, row->golden,
                sq_tape_layout_back(tape, sq_tape_result(tape, call, row->ours), row->order));
}

sq_status sq_verify_subject_build(const sq_verify_subject *subject, const sq_golden *golden,
                                  sq_tape *tape, sq_error *err)
{
    char shape[512];
    sq_tape_bind bind[SQ_MAX_IN + 1];
    SQ_TRY(refuse_unknown_input(subject, golden, err));
    SQ_TRY(shape_of(subject, golden, shape, sizeof shape, err));
    bind_inputs(subject, tape, bind);
    put_outputs(subject, golden, tape, sq_tape_call(tape, subject->op, bind, "%s", shape));
    return SQ_OK;
}
