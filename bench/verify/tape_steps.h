/* tape_steps: what a tape is made of. Internal to tape*.c. */
#ifndef SQ_BENCH_VERIFY_TAPE_STEPS_H
#define SQ_BENCH_VERIFY_TAPE_STEPS_H

#include "bench/verify/tape.h"
#include "kernels/shared/rounding.h"

typedef struct {
    int rank;
    int64_t dim[SQ_MAX_RANK], count;
    double *value, *gradient;
    bool has_gradient;              /* of this run */
    double *argument;               /* that a kinked function took in the first rounded run */
    const sq_stored_tensor *stored; /* leaves: what they are filled from */
    bool is_given;                  /* leaves: by the builder, not from the case */
    bool is_result; /* what the builder computes for the case, stored there or not */
} sq_tape_variable;

typedef struct {
    sq_call call; /* without memory */
    sq_tensor_list list;
    sq_var in[SQ_MAX_IN], out[SQ_MAX_OUT];
    const sq_provider *forward, *backward; /* NULL: the reference */
    const char *form;                      /* the provider whose form it is; or NULL */
} sq_tape_operator;

typedef struct {
    sq_tape_function function;
    sq_var in[4];
    int n_in;
    int64_t size[SQ_TAPE_SIZES];
} sq_tape_computation;

/* Exactly one of map, function, op and computed: out[i] = (in[0], in[1] joined)[map[i]], a
 * pointwise function of in[0] and in[1], an operator call, or what a function of the builder's
 * computes. */
typedef struct {
    sq_var in[2], out;
    int64_t *map;
    const sq_pointwise *function;
    sq_tape_operator *op;
    sq_tape_computation *computed;
} sq_tape_step;

typedef struct {
    char name[64];
    sq_var var;
} sq_tape_named;

struct sq_tape {
    const sq_golden *golden;
    sq_dtype dtype, call_dtype; /* call_dtype: of calls from here on */
    sq_rounding rounding;       /* of references */
    const sq_rig *rig;
    sq_tape_variable *variable;
    sq_tape_step *step;
    sq_tape_named *output;
    bool *is_read; /* tensors of the case that the builder looked into */
    int variables, steps, outputs;
    sq_status status;
    sq_error error;
};

/* NULL for none, and after a failure. */
const sq_tape_variable *sq_tape_variable_at(const sq_tape *tape, sq_var v);
sq_var sq_tape_add_variable(sq_tape *tape, int rank, const int64_t *dim);
sq_tape_step *sq_tape_add_step(sq_tape *tape, sq_tape_step step); /* NULL: failed */

#endif
