/* decay_layout: where an operator of the decayed recurrence (decay_scan.h) keeps its axes and
 * tensors, and what follows from that alone: the recurrence itself, its work, cost and slices.
 * Axes B, L, H are 0, 1, 2; outputs o and final are 0 and 1.
 */
#ifndef SQ_KERNELS_SHARED_DECAY_LAYOUT_H
#define SQ_KERNELS_SHARED_DECAY_LAYOUT_H

#include <stdint.h>

#include "kernels/op.h"
#include "kernels/shared/decay_scan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_DECAY_AXIS_H = 2 };
enum { SQ_DECAY_OUT_O, SQ_DECAY_OUT_FINAL, SQ_DECAY_OUT_COUNT };
/* Retention's gamma is 1 - 2^-n. From n = 100 on it counts as 1 - 2^-100: a sum in f32 or f64 shows
 * no difference, and 1 - gamma, which normalisers divide by, is not 0 in either. */
enum { SQ_DECAY_GAMMA_BITS = 100 };

/* Which dim of a tensor is which, -1: none. A dim that the tensor has not is none either. */
typedef struct {
    int batch, head, value;
} sq_decay_cut;

/* Positions; -1: the operator has none. groups: the axis that counts the heads of q and k. gate:
 * the tensor that the decays come from. cuts: of the in.count inputs. */
typedef struct {
    struct {
        int groups, keys, values, scale, chunk, initial, final;
    } axis;
    struct {
        int q, k, v, gate, initial, count;
    } in;
    const sq_decay_cut *cuts;
} sq_decay_layout;

/* The recurrence of a call whose tensors are those of pass fwd (or begin with them), all but its
 * outputs and gates. */
sq_decay_scan sq_decay_scan_of(const sq_call *call, const sq_decay_layout *layout);

/* The gradients of a backward call: of q, k, v, the states. */
sq_decay_scan_grads sq_decay_scan_grads_of(const sq_call *call, const sq_decay_layout *layout);

/* sq_decay_scan_reference into the outputs of the call. */
sq_status sq_decay_layout_reference(const sq_call *call, sq_decay_scan scan, sq_error *err);

/* Multiply-adds of that. */
double sq_decay_layout_work(const sq_decay_layout *layout, const sq_axis_value *axis);

/* 1 / sqrt(K), unless an axis says otherwise. */
double sq_decay_layout_scale(const sq_decay_layout *layout, const sq_axis_value *axis);

/* Compulsory work of the recurrence alone. Two multiply-adds per state element and step (update,
 * read-out), both matrix products in the chunkwise form; backward five: the state again, its
 * gradient, and the products that give dq, dk and dv. That is the limit of small chunks: the T H (K
 * + V) Q flop of the products inside chunks of Q, and the decay of S at every step of the plain
 * recurrence (or, by rows, of q and k inside a chunk), are each avoidable by the other form, so
 * neither is compulsory. */
sq_cost sq_decay_layout_cost(const sq_decay_layout *layout, sq_pass pass, sq_dtype dtype,
                             const sq_axis_value *axis);

/* One batch row and head, all steps, as many value columns as the work allows (at least one).
 * Returns the head. */
int64_t sq_decay_slice(const sq_decay_layout *layout, const sq_call *whole, sq_pick pick,
                       sq_call *sub, char *what, size_t size);

#ifdef __cplusplus
}
#endif
#endif
