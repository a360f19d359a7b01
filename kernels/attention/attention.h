/* attention: positions of its axes and tensors, for the files of this folder alone. */
#ifndef SQ_KERNELS_ATTENTION_ATTENTION_H
#define SQ_KERNELS_ATTENTION_ATTENTION_H

#include "kernels/attention/attention_core.h"
#include "kernels/op.h"

enum {
    AXIS_B,
    AXIS_L,
    AXIS_LK,
    AXIS_H,
    AXIS_HKV,
    AXIS_D,
    AXIS_CAUSAL,
    AXIS_WINDOW,
    AXIS_AHEAD,
    AXIS_POS,
    AXIS_ROTARY,
    AXIS_BASE,
    AXIS_SHIFT,
    AXIS_MASKED
};
enum { POS_NONE, POS_ROPE, POS_ROPE_INTERLEAVED, POS_ALIBI, POS_HARD_ALIBI };
enum { IN_Q, IN_K, IN_V, IN_COUNT, IN_DO = IN_COUNT, IN_O };

#ifdef __cplusplus
extern "C" {
#endif
sq_attention_rules sq_attention_rules_of(sq_pass pass, const sq_axis_value *axis);

/* The reference of pass bwd. */
sq_status sq_attention_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
