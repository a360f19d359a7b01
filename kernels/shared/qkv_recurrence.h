/* qkv_recurrence: what gla, simple_gla and retention share as operators: axes B, L, H, K, V at 0 to
 * 4, queries, keys and values by head, decays that are given as logarithms or constant.
 */
#ifndef SQ_KERNELS_SHARED_QKV_RECURRENCE_H
#define SQ_KERNELS_SHARED_QKV_RECURRENCE_H

#include "kernels/shared/decay_layout.h"

enum { SQ_QKV_AXIS_H = SQ_DECAY_AXIS_H, SQ_QKV_AXIS_K, SQ_QKV_AXIS_V };

/* The shape at a model's width: heads of `keys` and `values` channels. */
sq_status sq_qkv_at_width(int64_t width, int64_t keys, int64_t values, sq_axis_value *axis,
                          sq_error *err);

/* q, k, v, the states and o; the decays are the operator's to add. */
sq_status sq_qkv_tensors(const char *op, const sq_decay_layout *layout, sq_pass pass,
                         sq_dtype dtype, const sq_axis_value *axis, sq_tensor_list *list,
                         sq_error *err);

/* The recurrence, the scale of o, and of each head and step `decays` logarithms with their
 * exponentials. */
sq_cost sq_qkv_cost(const sq_decay_layout *layout, sq_pass pass, sq_dtype dtype,
                    const sq_axis_value *axis, double decays);

/* Where decays are logarithms. f32: a step's decay is off by a few 2^-23 (its argument and
 * ex2.approx), sums of logarithms over a chunk by 2^-24 of a sum that is large only where the decay
 * has made the term small; both add up as a random walk over a memory of at most 1000 steps: below
 * 1e-5. 16 bit: sq_decay_scan_tolerance. */
sq_tolerance sq_qkv_tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis);

#endif
