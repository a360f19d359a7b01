/* specimen: an operator or a block with its inputs on the host, so that a property can change them.
 *
 * Inputs are drawn by seed like everywhere else, then changed, cut or permuted by the property;
 * run() puts them on the device, launches, and fetches the outputs.
 */
#ifndef SQ_TESTS_SUPPORT_SPECIMEN_H
#define SQ_TESTS_SUPPORT_SPECIMEN_H

#include "bench/worker/rig.h"
#include "models/graph.h"

enum { SQ_SPECIMEN_MAX = 64 };

/* host: dense memory owned by the specimen. is_batched: dim 0 is the batch. */
typedef struct {
    sq_tensor_spec spec;
    sq_tensor host;
    bool is_batched;
} sq_specimen_tensor;

typedef struct {
    const sq_op *op; /* or family */
    const sq_family *family;
    const sq_provider *provider; /* of op */
    const char *provider_name;
    sq_dtype dtype;
    sq_pass pass;
    sq_axis_value axis[SQ_MAX_AXES]; /* checked */
    int n_in, n_out;
    sq_specimen_tensor in[SQ_SPECIMEN_MAX], out[SQ_MAX_OUT];
    sq_tolerance tolerance;
    double causality_bound;
} sq_specimen;

/* name NULL ends a list. */
typedef struct {
    const char *name;
    double value;
} sq_specimen_axis;

/* `shape` as in sq_call_parse; then the axes of `set` that the subject has (NULL: none) are set
 * before dependent defaults are resolved. Passes fwd and step, of blocks fwd alone. Tensors are
 * allocated and zero. */
sq_status sq_specimen_new_op(const sq_op *op, const sq_provider *provider, sq_pass pass,
                             sq_dtype dtype, const char *shape, const sq_specimen_axis *set,
                             sq_specimen *out, sq_error *err);
sq_status sq_specimen_new_block(const sq_family *family, const char *provider, sq_dtype dtype,
                                const char *shape, const sq_specimen_axis *set, sq_specimen *out,
                                sq_error *err);
void sq_specimen_free(sq_specimen *s);

void sq_specimen_draw(sq_specimen *s, uint64_t seed);

/* SQ_UNSUPPORTED where the provider refuses the call. */
sq_status sq_specimen_run(const sq_rig *rig, sq_specimen *s, sq_error *err);

#endif
