/* ssd: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_SSD_SSD_H
#define SQ_KERNELS_SSD_SSD_H

#include "kernels/op.h"
#include "kernels/shared/decay_layout.h"

enum {
    AXIS_B,
    AXIS_L,
    AXIS_H,
    AXIS_P,
    AXIS_N,
    AXIS_G,
    AXIS_BIAS,
    AXIS_SOFTPLUS,
    AXIS_SKIP,
    AXIS_CHUNK,
    AXIS_GATE,
    AXIS_DT_MIN,
    AXIS_DT_MAX,
    AXIS_INITIAL,
    AXIS_FINAL,
    AXIS_DOCUMENTS
};
enum { IN_X, IN_DT, IN_A, IN_B, IN_C, IN_D, IN_BIAS, IN_Z, IN_INITIAL, IN_SEQ_IDX, IN_COUNT };
enum { SKIP_NONE, SKIP_HEAD, SKIP_CHANNEL };

#ifdef __cplusplus
extern "C" {
#endif
extern const sq_decay_layout sq_ssd_layout;

/* The recurrence of a call whose tensors are those of pass fwd (or begin with them): C, B, x are
 * its queries, keys and values. */
sq_decay_scan sq_ssd_scan(const sq_call *call);
/* dt_t + dt_bias, and the step that is made of it. */
double sq_ssd_raw_step(const sq_call *call, int64_t b, int64_t t, int64_t h);
double sq_ssd_softplus(const sq_call *call, double raw);
double sq_ssd_limit(const sq_call *call, double step);
/* ssd_bwd.c: the reference of pass bwd. */
sq_status sq_ssd_backward(const sq_call *call, sq_error *err);
#ifdef __cplusplus
}
#endif

#endif
