/* proof_slice: which part of a call is proved. The same seed and limit choose the same part wherever
 * they are asked: in the worker that proves, and in the parent that tells a peer (docs/peers.md).
 */
#ifndef SQ_BENCH_PROOF_SLICE_H
#define SQ_BENCH_PROOF_SLICE_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Multiply-adds that the reference of a whole call costs. */
double sq_proof_work(const sq_op *op, sq_pass pass, const sq_axis_value *axis);

/* The part of a call that a reference of at most pick.max_work can prove. `forward` receives the call
 * itself, or in passes bwd and fwdbwd the forward call whose gradients it computes, `part` the slice
 * of that and `what` its description: "" where the whole can be proved, and `part` is `forward`. The
 * tensors of `call` have addresses, which nobody reads. */
sq_status sq_proof_part(const sq_call *call, const sq_tensor_list *list, sq_pick pick,
                        sq_call *forward, sq_call *part, char *what, size_t size, sq_error *err);

/* Where `part`, a view into `whole`, begins in each dim; whole's dims lie one inside the other, as
 * those of a dense tensor do. */
void sq_proof_window(const sq_tensor *part, const sq_tensor *whole, int64_t first[SQ_MAX_RANK]);

/* Gives a tensor addresses of its own without memory: views into it are told apart by where they
 * point. Ended by sq_tensor_unreserve. */
sq_status sq_tensor_reserve(sq_tensor *tensor, sq_error *err);
/* Ends any mapping of the tensor's size, a file's too; data NULL: none. */
void sq_tensor_unreserve(sq_tensor *tensor);

#ifdef __cplusplus
}
#endif
#endif
