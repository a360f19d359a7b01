/* subjects: see subjects.h. */
#include "bench/verify/subjects/subjects.h"

#include <stdio.h>
#include <string.h>

#include "core/text.h"

static const sq_verify_subject *const families[] = {
    sq_subjects_chunk,
    sq_subjects_norms,
    sq_subjects_scan,
    NULL,
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
    return stored && (!row->order || stored->rank == sq_tape_order_rank(row->order));
}

/* Rows of any rank as (B, L, D). */
static sq_var rows(sq_tape *tape, sq_var v)
{
    const int rank = sq_tape_rank(tape, v);
    int64_t dim[3] = {1, rank > 1 ? sq_tape_dim(tape, v, rank - 2) : 1,
                      sq_tape_dim(tape, v, rank - 1)};
    for (int d = 0; d < rank - 2; d++)
        dim[0] *= sq_tape_dim(tape, v, d); /* it is a size already: of v */
    return sq_tape_shape(tape, v, 3, dim);
}

static sq_var ordered(sq_tape *tape, const sq_subject_tensor *row, sq_var v)
{
    return row->order ? sq_tape_layout(tape, v, row->order) : rows(tape, v);
}

/* A result in the dims of the case; rows in those of the subject's first tensor. */
static sq_var ordered_back(sq_tape *tape, const sq_verify_subject *subject,
                           const sq_subject_tensor *row, sq_var v)
{
    const sq_stored_tensor *first = sq_tape_find(tape, subject->tensors->golden);
    if (row->order)
        return sq_tape_layout_back(tape, v, row->order);
    return first ? sq_tape_shape(tape, v, first->rank, first->dim) : SQ_VAR_NONE;
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
        if (has_rank(sq_tape_find(tape, row->golden), row))
            bind[n++] =
                (sq_tape_bind){row->ours, ordered(tape, row, sq_tape_leaf(tape, row->golden))};
    bind[n] = (sq_tape_bind){.name = NULL};
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
            sq_tape_output(tape, row->golden,
                           ordered_back(tape, subject, row, sq_tape_result(tape, call, row->ours)));
}

sq_status sq_verify_subject_build(const sq_verify_subject *subject, const sq_golden *golden,
                                  sq_tape *tape, sq_error *err)
{
    char shape[512];
    sq_tape_bind bind[SQ_MAX_IN + 1];
    SQ_TRY(shape_of(subject, golden, shape, sizeof shape, err));
    bind_inputs(subject, tape, bind);
    put_outputs(subject, golden, tape, sq_tape_call(tape, subject->op, bind, "%s", shape));
    return SQ_OK;
}
