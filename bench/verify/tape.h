/* tape: what official code computes as a list of steps on the tensors of a golden case: operator
 * calls, and what lies between them (rearrangements and pointwise functions, computed here in f64).
 *
 * A tape is built once for a case, then run: forward by the providers that were selected, or by the
 * references; then backward from the case's cotangents, each operator by its own pass bwd. Values
 * are rounded to the types of an operator's tensors where they enter and leave it, nowhere else.
 *
 * Building reads as a list: the first failure is kept, later steps do nothing, sq_tape_status
 * tells.
 */
#ifndef SQ_BENCH_VERIFY_TAPE_H
#define SQ_BENCH_VERIFY_TAPE_H

#include "bench/verify/golden.h"
#include "bench/worker/rig.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sq_tape sq_tape;
typedef int sq_var; /* a dense tensor of the tape; negative: none */
enum { SQ_VAR_NONE = -1 };

sq_tape *sq_tape_new(const sq_golden *golden, sq_dtype dtype); /* NULL: no memory */
void sq_tape_free(sq_tape *tape);                              /* accepts NULL */
sq_status sq_tape_status(const sq_tape *tape, sq_error *err);
/* Keeps a failure of the builder's own; printf form. */
void sq_tape_refuse(sq_tape *tape, sq_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* --- tensors --- */

/* Input or parameter `name` of the case; the same variable for the same name. */
sq_var sq_tape_leaf(sq_tape *tape, const char *name);
/* The same with other values, `count` of them, in the place of those stored: parameters that
 * official code changes before it uses them, whose gradient is that of the changed ones. */
sq_var sq_tape_leaf_as(sq_tape *tape, const char *name, const double *value, int64_t count);
/* What is stored of an input or parameter; NULL: the case has none such. sq_tape_stored is for builders that
 * use its numbers themselves: it counts as taken then. */
const sq_stored_tensor *sq_tape_find(const sq_tape *tape, const char *name);
const sq_stored_tensor *sq_tape_stored(sq_tape *tape, const char *name);
bool sq_tape_has(const sq_tape *tape, const char *name);
sq_var sq_tape_constant(sq_tape *tape, double value, int rank, const int64_t *dim);
sq_var sq_tape_values(sq_tape *tape, const double *value, int rank, const int64_t *dim);
int sq_tape_rank(const sq_tape *tape, sq_var v);
int64_t sq_tape_dim(const sq_tape *tape, sq_var v, int dim); /* 1 for none */
/* The case's output `name`. Its cotangent, where there is one, starts the gradients. */
void sq_tape_output(sq_tape *tape, const char *name, sq_var v);

/* SQ_UNSUPPORTED where no result depends on an input or parameter of the case, which `err` names: what
 * is computed is something else then; SQ_OUT_OF_MEMORY. */
sq_status sq_tape_check_taken(const sq_tape *tape, sq_error *err);

/* --- rearrangements --- */

/* order: for each dim of the result the digit of v's dim, '.' for a new dim of 1. */
sq_var sq_tape_layout(sq_tape *tape, sq_var v, const char *order);
/* The inverse: v has the dims that `order` makes. */
sq_var sq_tape_layout_back(sq_tape *tape, sq_var v, const char *order);
int sq_tape_order_rank(const char *order); /* of the tensor that `order` takes */
sq_var sq_tape_shape(sq_tape *tape, sq_var v, int rank, const int64_t *dim); /* row-major */
sq_var sq_tape_part(sq_tape *tape, sq_var v, int dim, int64_t start, int64_t count);
sq_var sq_tape_join(sq_tape *tape, sq_var a, sq_var b, int dim);
sq_var sq_tape_repeat(sq_tape *tape, sq_var v, int dim, int64_t count); /* dim is 1 */

/* --- pointwise --- */

typedef struct {
    double (*value)(double a, double b), (*by_a)(double a, double b);
    double (*by_b)(double a, double b); /* NULL: a function of a alone */
    bool is_kinked;                     /* by_a jumps */
} sq_pointwise;

extern const sq_pointwise sq_pointwise_add, sq_pointwise_mul, sq_pointwise_silu, sq_pointwise_gelu,
    sq_pointwise_relu, sq_pointwise_sigmoid, sq_pointwise_tanh, sq_pointwise_sin, sq_pointwise_exp,
    sq_pointwise_minus_exp;

/* Equal dims; b SQ_VAR_NONE for functions of one argument. */
sq_var sq_tape_pointwise(sq_tape *tape, const sq_pointwise *function, sq_var a, sq_var b);
sq_var sq_tape_scale(sq_tape *tape, sq_var v, double factor);
/* The sum over dim `at`, which is 1 then. */
sq_var sq_tape_sum(sq_tape *tape, sq_var v, int at);

/* --- what is neither --- */

/* Writes `out` from `in`, in f64; size: what the builder gave. No gradient flows back. */
typedef void (*sq_tape_function)(const double *const *in, double *out, const int64_t *size);
enum { SQ_TAPE_SIZES = 8 };
/* in, size: ended by SQ_VAR_NONE and 0, at most 4 and SQ_TAPE_SIZES - 1 of them. */
sq_var sq_tape_compute(sq_tape *tape, sq_tape_function function, const sq_var *in,
                       const int64_t *size, int rank, const int64_t *dim);

/* --- operators --- */

typedef struct {
    const char *name; /* of the operator's input; NULL ends a list */
    sq_var var;       /* has the tensor's dims, but for dims of 1 */
} sq_tape_bind;

/* Calls from here on are of f32, whatever the tape's type; or of that again. */
void sq_tape_set_f32(sq_tape *tape, bool is_f32);
/* A call of pass fwd with axes in sq_call_parse's form. Returns what sq_tape_result takes. */
int sq_tape_call(sq_tape *tape, const char *op, const sq_tape_bind *binds, const char *axes, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;
sq_var sq_tape_result(sq_tape *tape, int call, const char *name);
/* The call is run by the provider of that name where it can, whichever a selection prefers. */
void sq_tape_set_form(sq_tape *tape, int call, const char *provider);
/* NULL: no such call. */
const sq_tensor_list *sq_tape_tensors(const sq_tape *tape, int call);

/* --- running --- */

/* Which provider of the rig runs which call: the one named `preferred` where it can, else the first
 * that can; for pass bwd those of both passes. rig NULL: the references, here on the host.
 * SQ_UNSUPPORTED says which call has none. */
sq_status sq_tape_select(sq_tape *tape, const sq_rig *rig, const char *preferred, sq_pass pass,
                         sq_error *err);
/* The references of later runs round their named intermediates to the tape's type; grid 0: they do
 * not. */
void sq_tape_round(sq_tape *tape, double grid);
/* How many providers of that name the last selection holds. */
int sq_tape_uses(const sq_tape *tape, const char *provider);
/* Every provider name that the tape's operators have on the rig, once: the i-th, or NULL. */
const char *sq_tape_provider(const sq_tape *tape, const sq_rig *rig, int i);

sq_status sq_tape_forward(sq_tape *tape, sq_error *err);
/* After forward, and a selection for pass bwd. */
sq_status sq_tape_backward(sq_tape *tape, sq_error *err);

/* --- results: rank and dims of the case, values in row-major order --- */

typedef struct {
    const char *role; /* "output", "grad" */
    const sq_stored_tensor *want;
    const double *got; /* NULL: nothing was computed */
} sq_tape_outcome;

/* The i-th output, or gradient of a leaf, that the case stores; false behind the last. */
bool sq_tape_outcome_at(const sq_tape *tape, sq_pass pass, int i, sq_tape_outcome *out);

#ifdef __cplusplus
}
#endif
#endif
