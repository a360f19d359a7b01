/* attention: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_H
#define SQ_KERNELS_ATTENTION_ATTENTION_H

#include "kernels/op.h"

enum { AXIS_B, AXIS_L, AXIS_LK, AXIS_H, AXIS_HKV, AXIS_D, AXIS_CAUSAL, AXIS_WINDOW };
enum { IN_Q, IN_K, IN_V, IN_COUNT };

#ifdef __cplusplus
extern "C" {
#endif
/* Keys [first, last) that a query sees. */
typedef struct {
    int64_t first, last;
} sq_key_range;

sq_key_range sq_attention_keys(const sq_axis_value *axis, int64_t row);

/* attention_bwd.c: the reference of pass bwd. */
sq_status sq_attention_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
