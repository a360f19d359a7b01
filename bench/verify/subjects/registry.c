/* subjects: see subjects.h. */
#include "bench/verify/subjects/subjects.h"

#include <string.h>

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
    return (long long)sq_golden_number(golden, option, 0);
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

static int digits(const char *order)
{
    int n = 0;
    for (; *order; order++)
        n += *order != '.';
    return n;
}

const sq_subject_tensor *sq_subject_tensor_find(const sq_verify_subject *subject,
                                                const sq_golden *golden, const char *role,
                                                const char *ours)
{
    for (const sq_subject_tensor *t = subject->tensors; t->ours; t++) {
        const sq_stored_tensor *stored = sq_golden_tensor(golden, role, t->golden);
        if (strcmp(t->ours, ours) == 0 && stored && stored->rank == digits(t->order))
            return t;
    }
    return NULL;
}
