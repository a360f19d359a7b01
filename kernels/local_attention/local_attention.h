/* local_attention: positions of its axes and tensors, and its parts, for the files of this folder
 * alone. */
#ifndef SQ_KERNELS_LOCAL_ATTENTION_LOCAL_ATTENTION_H
#define SQ_KERNELS_LOCAL_ATTENTION_LOCAL_ATTENTION_H

#include "kernels/attention/attention_core.h"
#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_H, AXIS_D, AXIS_BLOCK, AXIS_BUCKETS, AXIS_DISTANCE };
enum { IN_Q, IN_K, IN_V, IN_BIAS, IN_COUNT, IN_DO = IN_COUNT, IN_O };
enum { MAX_BUCKETS = 128 };

#ifdef __cplusplus
extern "C" {
#endif
sq_attention_rules sq_local_attention_rules(sq_pass pass, const sq_axis_value *axis);

/* Distances that differ in their bias: those from the last on have the last's. */
int64_t sq_local_attention_biases(const sq_axis_value *axis);
/* T5's bucket of a distance. */
int64_t sq_local_attention_bucket(const sq_axis_value *axis, int64_t distance);
/* The bias by distance, (H, biases), from that by bucket; NULL: none, or no memory. free() it. */
double *sq_local_attention_table(const sq_axis_value *axis, const sq_tensor *bias);

/* local_attention_bwd.c: the reference of pass bwd. */
sq_status sq_local_attention_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
