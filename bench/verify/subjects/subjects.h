/* subjects: what official code calls a thing, and which operator of ours computes it. One file a
 * family of operators, one row a subject; a new operator or an official layout more is a row there.
 */
#ifndef SQ_BENCH_VERIFY_SUBJECTS_SUBJECTS_H
#define SQ_BENCH_VERIFY_SUBJECTS_SUBJECTS_H

#include "bench/verify/tape.h"
#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor of the operator and its name in the case. order: for each of our dims the digit of the
 * official dim, '.' for a dim of 1 that the official tensor has not; NULL: rows of any rank, whose
 * dims before the last two count as the first of three. Several rows for one tensor: the one whose
 * number of digits is the rank of what is stored. */
typedef struct {
    const char *ours, *golden, *order;
} sq_subject_tensor;

typedef struct {
    const char *subject, *op;
    /* Writes our shape ("B=2,L=65,..."); SQ_UNSUPPORTED with what the operator has not. */
    sq_status (*shape)(const sq_golden *golden, sq_text *shape, sq_error *why);
    const sq_subject_tensor *tensors; /* ended by a NULL name */
} sq_verify_subject;

/* Ended by a NULL subject. */
extern const sq_verify_subject sq_subjects_chunk[], sq_subjects_norms[], sq_subjects_scan[];

/* NULL where no operator computes it. */
const sq_verify_subject *sq_verify_subject_find(const char *subject);

/* The tape of one call of the subject's operator. SQ_UNSUPPORTED with what the operator has not. */
sq_status sq_verify_subject_build(const sq_verify_subject *subject, const sq_golden *golden,
                                  sq_tape *tape, sq_error *err);

/* --- for shape() --- */

long long sq_subject_integer(const sq_golden *golden, const char *option); /* 0 where absent */
bool sq_subject_has_input(const sq_golden *golden, const char *name);
bool sq_subject_has_output(const sq_golden *golden, const char *name);
/* SQ_UNSUPPORTED where the case asks for something that the operator has not. */
sq_status sq_subject_lacks(bool is_asked, const char *what, sq_error *why);

#ifdef __cplusplus
}
#endif
#endif
