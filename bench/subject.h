/* subject: operators and blocks seen alike, as things that cells are about. */
#ifndef SQ_BENCH_SUBJECT_H
#define SQ_BENCH_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/cell.h"
#include "kernels/op.h"
#include "models/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Exactly one of op and family is set. */
typedef struct {
    sq_kind kind;
    const sq_op *op;
    const sq_family *family;
} sq_subject;

/* Unknown names are refused with the nearest known one. */
sq_status sq_subject_find(sq_kind kind, const char *name, sq_subject *out, sq_error *err);
const char *sq_subject_name(const sq_subject *subject);
const sq_axis *sq_subject_axes(const sq_subject *subject);

/* Makes `cell` one of this subject, with the defaults of its axes (not yet checked); provider is
 * empty, pass fwd, dtype bf16, the modes their first. */
void sq_subject_init_cell(const sq_subject *subject, sq_cell *cell);

/* Calls visit for every axis of every operator and family, until it returns false. */
void sq_subject_each_axis(bool (*visit)(const sq_axis *axis, void *arg), void *arg);

/* Resolves dependent defaults of cell->value and refuses impossible shapes. */
sq_status sq_subject_check(const sq_subject *subject, sq_cell *cell, sq_error *err);
sq_status sq_subject_at_width(const sq_subject *subject, int64_t width, sq_cell *cell,
                              sq_error *err);

/* A checked cell from its canonical key (core/cell.h); the inverse of sq_cell_key. */
sq_status sq_cell_parse(const char *key, sq_cell *cell, sq_subject *subject, sq_error *err);

/* Compulsory work and the bytes that all tensors need (without workspace). */
sq_status sq_subject_cost(const sq_subject *subject, const sq_cell *cell, sq_cost *cost,
                          double *tensor_bytes, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
