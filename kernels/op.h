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
 *  - Pass step is one token more: axis L counts the tokens of the context, the new one included,
 *    and the tensors of tokens have L = 1. A recurrence steps from its initial to its final state.
 *  - Pass bwd is shaped by the forward call (sq_op_tensors): inputs are the forward inputs, the
 *    gradients of its outputs, and the values of its outputs; outputs are the gradients of its
 *    inputs. Pass fwdbwd has the same tensors and launches both.
 *  - An absent optional tensor has data == NULL and rank 0. n_in and n_out never depend on the
 *    axes: the position stays, with spec.name == NULL.
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

enum { SQ_MAX_IN = 20, SQ_MAX_OUT = 12, SQ_AXIS_B = 0, SQ_AXIS_L = 1 };

typedef struct sq_op sq_op;

typedef struct {
    const sq_op *op;
    sq_pass pass;
    sq_dtype dtype;
    sq_axis_value axis[SQ_MAX_AXES]; /* checked: defaults that depend on others are resolved */
    sq_tensor in[SQ_MAX_IN], out[SQ_MAX_OUT];
    void *workspace; /* at least provider->workspace() bytes, 256-byte aligned */
    size_t workspace_bytes;
    /* provider->saved() bytes that pass fwd writes for a pass bwd to come; NULL in pass fwd where
     * none comes. */
    void *saved;
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

/* In passes bwd and fwdbwd, with a forward pass of n inputs and m outputs: in[first_gradient = n,
 * +m) and all outputs are gradients of the loss by the tensors that they are named after,
 * in[first_value = n + m, +m) what the forward pass wrote. Both are 0 in other passes. */
typedef struct {
    int n_in, n_out; /* positions used, counting unused ones in between */
    int first_gradient, first_value;
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

/* Bits of sq_provider.passes. Pass bwd follows a forward pass of the same provider. */
#define SQ_HAS_PASS(pass) (1u << (pass))
#define SQ_HAS_BWD (SQ_HAS_PASS(SQ_PASS_FWD) | SQ_HAS_PASS(SQ_PASS_BWD))
#define SQ_HAS_STEP SQ_HAS_PASS(SQ_PASS_STEP)

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
    unsigned passes;             /* 0: pass fwd alone. The functions look at call->pass */
    /* Bytes that fwd hands to bwd beside its outputs, no more than O(tokens); NULL: none. */
    size_t (*saved)(const sq_call *forward);
} sq_provider;

struct sq_op {
    const char *name;
    const char *source; /* paper + equation */
    const char *doc;    /* one-line formula */
    bool is_mixer;      /* moves information along the sequence: compared at equal width */
    const sq_axis *axes;
    /* Resolves dependent defaults in place (0 = "same as ...") and refuses impossible shapes with
     * the rule they break (SQ_BAD_SHAPE). NULL: the axes' ranges are all there is. */
    sq_status (*check)(sq_axis_value *axis, sq_error *err);
    /* Sets the axes to this mixer's shape at model width `width`; NULL where width has no meaning.
     * SQ_BAD_SHAPE where the width does not divide into heads. */
    sq_status (*at_width)(int64_t width, sq_axis_value *axis, sq_error *err);
    /* Tensors of passes fwd and step for checked axes; SQ_UNSUPPORTED where there is no step. */
    sq_status (*tensors)(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err);
    sq_cost (*cost)(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis); /* not of fwdbwd */
    sq_tolerance (*tolerance)(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis);
    /* The reference on host tensors, any strides: plain loops, double accumulation, OpenMP over
     * independent axes only. This is the cpu backend. */
    sq_status (*reference)(const sq_call *call, sq_error *err);
    /* The reference of pass bwd; NULL: none. Gradients of weights are sums over the whole call. The
     * values of forward outputs may be absent. */
    sq_status (*backward)(const sq_call *call, sq_error *err);
    /* Scalar multiply-adds that reference() does in pass fwd: decides between whole and slice. */
    double (*reference_work)(const sq_axis_value *axis);
    /* A smaller call of pass fwd (or step) whose inputs and outputs are views into the whole call's
     * tensors, cut by sq_tensor_slice, and whose result is that part of the whole result. `what`
     * describes it ("b=3 h=7 rows=1024..1040"). Of pass bwd it is the part that the loss over the
     * views of the outputs depends on. */
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

/* op->check, where there is one. */
sq_status sq_op_check(const sq_op *op, sq_axis_value *axis, sq_error *err);
/* The tensors of any pass; refuses one of more than 2^56 bytes (SQ_BAD_SHAPE): below that, no sum
 * over the tensors of a call or a block leaves 64 bits. SQ_UNSUPPORTED for a pass the operator has
 * not. */
sq_status sq_op_tensors(const sq_op *op, sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                        sq_tensor_list *list, sq_error *err);
/* The cost of any pass. */
sq_cost sq_op_cost(const sq_op *op, sq_pass pass, sq_dtype dtype, const sq_axis_value *axis);
/* Tokens of one launch: B L, in pass step B. */
double sq_op_tokens(sq_pass pass, const sq_axis_value *axis);
/* Sets call->in/out dims, dtypes and dense strides from the operator's own list; no data. */
sq_status sq_call_shape(sq_call *call, sq_tensor_list *list, sq_error *err);
/* The forward call whose gradients a call of pass bwd computes: views of the same tensors. */
sq_call sq_call_forward(const sq_call *backward, const sq_tensor_list *list);
/* The reference of the call's pass (not fwdbwd, which is two calls). */
sq_status sq_op_reference(const sq_call *call, sq_error *err);
bool sq_provider_has(const sq_provider *provider, sq_pass pass);
/* provider->supports() for a call of any pass; SQ_UNSUPPORTED where the provider has not the pass.
 */
sq_status sq_provider_supports(const sq_provider *provider, const sq_call *call,
                               const sq_tensor_list *list, const sq_device *device, sq_error *why);
/* Builds a checked call from "B=1,L=64,..." (absent axes take defaults). */
sq_status sq_call_parse(const sq_op *op, sq_pass pass, sq_dtype dtype, const char *shape,
                        sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
