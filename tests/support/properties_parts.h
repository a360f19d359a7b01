/* properties_parts: what the files of the properties share. Internal to
 * tests/support/properties*.c. */
#ifndef SQ_TESTS_SUPPORT_PROPERTIES_PARTS_H
#define SQ_TESTS_SUPPORT_PROPERTIES_PARTS_H

#include "tests/support/properties.h"

enum { SQ_PROPERTY_SEED = 11, SQ_PROPERTY_OTHER_SEED = 12 };

/* What a property is tried on. */
typedef struct {
    const sq_rig *rig;
    const sq_op *op; /* or family */
    const sq_family *family;
    const sq_provider *provider;
    const char *provider_name, *shape;
    sq_dtype dtype;
} sq_property_subject;

/* `a` has run. SQ_UNSUPPORTED: does not apply here. */
typedef sq_status (*sq_property_fn)(const sq_property_subject *of, sq_specimen *a, sq_error *err);

/* A specimen of the subject in another pass and with axes set (ended by a NULL name; NULL: none),
 * drawn. sq_specimen_free also after a failure. */
sq_status sq_property_make(const sq_property_subject *of, sq_pass pass, const sq_specimen_axis *set,
                           uint64_t seed, sq_specimen *s, sq_error *err);
/* Filters that are made from parameters alone have no past and no future. */
bool sq_property_has_sequences(const sq_specimen *s);
double sq_property_axis(const sq_specimen *s, const char *name, double fallback);

/* Output i of `s`, or a part of it, within `factor` times the operator's tolerance. */
sq_status sq_property_compare(const sq_specimen *s, int i, double factor, const sq_tensor *got,
                              const sq_tensor *want, const char *what, sq_error *err);
/* Copies to the dense `to` what of `from` begins at `start` on dim `d` (d < 0: at its corner) and
 * has the dims of `to`; both on the host. */
void sq_property_copy(sq_tensor *to, const sq_tensor *from, int d, int64_t start);

/* --- properties_backward.c --- */
sq_status sq_property_backward(const sq_property_subject *of, sq_specimen *a, sq_error *err);

/* --- properties_decay.c --- */
sq_status sq_property_idle(const sq_property_subject *of, sq_specimen *a, sq_error *err);
sq_status sq_property_forgetting(const sq_property_subject *of, sq_specimen *a, sq_error *err);

/* --- properties_leaks.c --- */
sq_status sq_property_leaks(const sq_property_subject *of, sq_specimen *a, sq_error *err);

/* --- properties_steps.c --- */
/* The first of `n` tensors whose name begins so, or -1. */
int sq_property_tensor(const sq_specimen_tensor *list, int n, const char *prefix);
/* Step `step` of `from` becomes step `at` of `to`; d: their time. */
void sq_property_copy_step(const sq_tensor *to, int64_t at, const sq_tensor *from, int64_t step,
                           int d);
/* `rest`, given the inputs of `whole` from `start` on, has its outputs; `whole` has run. */
sq_status sq_property_compare_rest(const sq_property_subject *of, const sq_specimen *whole,
                                   sq_specimen *rest, int64_t start, double factor,
                                   const char *what, sq_error *err);
sq_status sq_property_steps(const sq_property_subject *of, sq_specimen *whole, sq_error *err);
/* The same of the last `steps`. */
sq_status sq_property_last_steps(const sq_property_subject *of, sq_specimen *whole, int64_t steps,
                                 sq_error *err);
sq_status sq_property_documents(const sq_property_subject *of, sq_specimen *a, sq_error *err);

/* --- properties_algebra.c --- */
sq_status sq_property_heads(const sq_property_subject *of, sq_specimen *a, sq_error *err);
sq_status sq_property_linearity(const sq_property_subject *of, sq_specimen *a, sq_error *err);
sq_status sq_property_providers(const sq_property_subject *of, sq_specimen *a, sq_error *err);

#endif
