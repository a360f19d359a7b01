/* op: what an operator is, and what a provider of one must offer.
 *
 * An operator is one mathematical function on tensors; its row of function pointers is everything
 * the harness, the tests, the planner and the model graph need to know. A provider is one
 * implementation of it. Contracts that hold for every operator:
 *
 *  - Axis 0 is B (batch) and axis 1 is L (sequence length) in every operator's table, so that
 *    `--tokens` and the length sweeps need no special case.
 *  - Tensors are token-major: (B, L, ...), last dim contiguous (stride 1), other strides arbitrary
 *    int64, so a projection's output can be split into views without a copy. A provider that needs
 *    more (16-byte aligned rows, say) says so in supports().
 *  - Inputs and outputs never overlap. Statistics, states and decays accumulate in f32 or better.
 *  - An absent optional tensor has data == NULL and rank 0 (tensors() does not list it at all: the
 *    position stays, with spec.name == NULL).
 */
#ifndef SQ_KERNELS_OP_H
#define SQ_KERNELS_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/axes.h"
#include "core/cell.h"
#include "core/compare.h"
#include "core/dtype.h"
#include "core/record.h"
#include "core/rng.h"
#include "core/status.h"
#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_MAX_IN = 16, SQ_MAX_OUT = 12, SQ_AXIS_B = 0, SQ_AXIS_L = 1 };

typedef struct sq_op sq_op;

typedef struct {
    const sq_op *op;
    sq_pass pass;
    sq_dtype dtype;
    sq_axis_value axis[SQ_MAX_AXES]; /* checked: defaults that depend on others are resolved */
    sq_tensor in[SQ_MAX_IN], out[SQ_MAX_OUT];
    void *workspace; /* at least provider->workspace() bytes, 256-byte aligned */
    size_t workspace_bytes;
    void *stream;
} sq_call;

/* One tensor of a call. name == NULL: this position is unused for these axes. time_dim: which dim
 * is the sequence, -1 when none (weights). */
typedef struct {
    const char *name;
    sq_dtype dtype;
    int rank;
    int64_t dim[SQ_MAX_RANK];
    int time_dim;
    sq_draw draw; /* inputs only */
} sq_tensor_spec;

/* first_gradient: in pass bwd inputs from this one on, and all outputs, are gradients of the loss
 * by the tensors that they are named after; 0 in pass fwd. */
typedef struct {
    int n_in, n_out; /* positions used, counting unused ones in between */
    int first_gradient;
    sq_tensor_spec in[SQ_MAX_IN], out[SQ_MAX_OUT];
} sq_tensor_list;

/* Compulsory work: every input read once, every output written once, no recomputation.
 * flops counts 2 per multiply-add; matrix_flops is the share that tensor cores can do (16-bit
 * types); special counts exp2-like operations (MUFU). */
typedef struct {
    double flops, matrix_flops, special, bytes_read, bytes_written;
} sq_cost;

/* Which part of a call to draw for proof. Seeded; see slice(). */
typedef struct {
    uint64_t seed;
    double max_work; /* scalar multiply-adds that the sub-call's reference may cost */
} sq_pick;

typedef struct {
    const char *name, *note; /* "cuda/portable"; one line of reason */
    /* SQ_UNSUPPORTED with the rule that fails. `call` has axes and (possibly NULL-data) tensors. */
    sq_status (*supports)(const sq_call *call, const sq_device *device, sq_error *why);
    size_t (*workspace)(const sq_call *call); /* NULL: none */
    /* Library plans and the like; may allocate and synchronise; *plan passed on. NULL: nothing. */
    sq_status (*prepare)(const sq_call *call, void **plan, sq_error *err);
    /* Asynchronous on call->stream: no allocation, no synchronisation, capturable. */
    sq_status (*launch)(const sq_call *call, void *plan, sq_error *err);
    void (*release)(void *plan); /* NULL where prepare is */
} sq_provider;

struct sq_op {
    const char *name;
    const char *source; /* paper + equation */
    const char *doc;    /* one-line formula */
    bool is_mixer;      /* moves information along the sequence: compared at equal width */
    const sq_axis *axes;
    /* Resolves dependent defaults in place (0 = "same as ...") and refuses impossible shapes with
     * the rule they break (SQ_BAD_SHAPE). */
    sq_status (*check)(sq_axis_value *axis, sq_error *err);
    /* Sets the axes to this mixer's shape at model width `width`; NULL where width has no meaning.
     * SQ_BAD_SHAPE where the width does not divide into heads. */
    sq_status (*at_width)(int64_t width, sq_axis_value *axis, sq_error *err);
    /* Tensors for checked axes; SQ_UNSUPPORTED for a pass the operator has not. */
    sq_status (*tensors)(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err);
    sq_cost (*cost)(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis);
    sq_tolerance (*tolerance)(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis);
    /* The reference on host tensors, any strides: plain loops, double accumulation, OpenMP over
     * independent axes only. This is the cpu backend. */
    sq_status (*reference)(const sq_call *call, sq_error *err);
    /* The reference of pass bwd, on a call shaped by sq_backward_shape; NULL: none yet. Gradients
     * of weights are sums over the whole call. */
    sq_status (*backward)(const sq_call *call, sq_error *err);
    /* Scalar multiply-adds that reference() does: decides between whole and slice. */
    double (*reference_work)(const sq_axis_value *axis);
    /* A smaller call whose inputs and outputs are views into the whole call's tensors and whose
     * result is that part of the whole result. `what` describes it ("b=3 h=7 rows=1024..1040"). */
    sq_status (*slice)(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size);
    /* Shapes every provider is tested on: "B=1,L=1,H=2,D=64" (absent axes take their default),
     * NULL-ended. Include L = 1, primes, non-multiples of tiles, every option. */
    const char *const *test_shapes;
    /* The future may leak into the past up to this relative bound (FFT paths); 0: not one bit. */
    double causality_bound;
};

static inline int64_t sq_axis_int(const sq_axis_value *axis, int i)
{
    return (int64_t)axis[i];
}

/* --- registry --- */

#define SQ_OP(name) extern const sq_op sq_op_##name;
#include "kernels/registry.def"
#undef SQ_OP

extern const sq_op *const sq_ops[];        /* NULL-ended */
const sq_op *sq_op_find(const char *name); /* NULL when there is none */
/* "a, b, c" style candidates for error messages: NULL-ended names. */
const char *const *sq_op_names(void);

/* A set of providers that an executable was built with: for each operator its list, ended by a NULL
 * name. The parent has {cpu/ref}; the CUDA worker has the tables of the .cu files. */
typedef const sq_provider *(*sq_providers_fn)(const sq_op *op);
const sq_provider *sq_providers_cpu(const sq_op *op);
#if defined(SQ_WITH_CUDA)
const sq_provider *sq_providers_cuda(const sq_op *op); /* kernels/registry_cuda.c */
#endif
const sq_provider *sq_provider_find(sq_providers_fn providers, const sq_op *op, const char *name);

/* op->tensors(), and refuses a tensor of more than 2^56 bytes (SQ_BAD_SHAPE): below that, no sum
 * over the tensors of a call or a block leaves 64 bits. */
sq_status sq_op_tensors(const sq_op *op, sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                        sq_tensor_list *list, sq_error *err);
/* Sets call->in/out dims, dtypes and dense strides from the operator's own list; no data. */
sq_status sq_call_shape(sq_call *call, sq_tensor_list *list, sq_error *err);
/* The reference of the call's pass. */
sq_status sq_op_reference(const sq_call *call, sq_error *err);
/* Pass bwd, from the tensors of pass fwd: in[i] as there, in[n + i] the gradient of out[i], where n
 * is list->first_gradient; out[i] the gradient of in[i]. SQ_UNSUPPORTED where the operator has no
 * backward. */
sq_status sq_backward_shape(const sq_call *forward, sq_call *backward, sq_tensor_list *list,
                            sq_error *err);
/* Builds a checked call from "B=1,L=64,..." (absent axes take defaults). */
sq_status sq_call_parse(const sq_op *op, sq_pass pass, sq_dtype dtype, const char *shape,
                        sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
