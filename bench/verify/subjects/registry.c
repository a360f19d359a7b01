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

/* The row for our tensor of that name whose rank the case stores under one of the roles. */
static const sq_subject_tensor *find_row(const sq_subject_tensor *row, const sq_golden *golden,
                                         const char *const *roles, const char *ours)
{
    for (; row->ours; row++)
        for (const char *const *role = roles; *role; role++) {
            const sq_stored_tensor *stored = sq_golden_tensor(golden, *role, row->golden);
            if (strcmp(row->ours, ours) == 0 && stored &&
                stored->rank == sq_tape_order_rank(row->order))
                return row;
        }
    return NULL;
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

static void bind_rows(const sq_verify_subject *subject, const sq_golden *golden, sq_tape *tape,
                      const sq_tensor_list *list, sq_tape_bind *bind)
{
    static const char *const inputs[] = {"input", "param", NULL};
    for (int i = 0; i < list->n_in; i++) {
        const char *name = list->in[i].name;
        const sq_subject_tensor *row =
            name ? find_row(subject->tensors, golden, inputs, name) : NULL;
        if (row)
            *bind++ = (sq_tape_bind){
                name, sq_tape_layout(tape, sq_tape_leaf(tape, row->golden), row->order)};
    }
    *bind = (sq_tape_bind){.name = NULL};
}

sq_status sq_verify_subject_build(const sq_verify_subject *subject, const sq_golden *golden,
                                  sq_tape *tape, sq_error *err)
{
    static const char *const outputs[] = {"output", NULL};
    const sq_op *op = sq_op_find(subject->op);
    char shape[512];
    sq_tape_bind bind[SQ_MAX_IN + 1];
    sq_tensor_list list;
    sq_call call;
    if (!op)
        return sq_fail(err, SQ_UNSUPPORTED, "there is no operator %s", subject->op);
    SQ_TRY(shape_of(subject, golden, shape, sizeof shape, err));
    SQ_TRY(sq_call_parse(op, SQ_PASS_FWD, SQ_DTYPE_F32, shape, &call, err));
    SQ_TRY(sq_op_tensors(op, SQ_PASS_FWD, SQ_DTYPE_F32, call.axis, &list, err));
    bind_rows(subject, golden, tape, &list, bind);
    const int step = sq_tape_call(tape, subject->op, bind, "%s", shape);
    for (int i = 0; i < list.n_out; i++) {
        const char *name = list.out[i].name;
        const sq_subject_tensor *row =
            name ? find_row(subject->tensors, golden, outputs, name) : NULL;
        if (row)
            sq_tape_output(tape, row->golden,
                           sq_tape_layout_back(tape, sq_tape_result(tape, step, name), row->order));
    }
    return SQ_OK;
}
