/* decay_scan: the reference of every operator whose state is a matrix with one decay a step:
 *
 *   S_t = a_t S_{t-1} + w_t k_t v_t^T        o_t = scale S_t^T q_t + skip v_t        S_{-1} = 0
 *
 * per batch row b and head h; S is (K, V). Double throughout; parallel over (b, h, columns).
 */
#ifndef SQ_KERNELS_SHARED_DECAY_SCAN_H
#define SQ_KERNELS_SHARED_DECAY_SCAN_H

#include <stdint.h>

#include "core/tensor.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* log_decay: ln a_t. weight: w_t. */
typedef struct {
    double log_decay, weight;
} sq_scan_gate;

typedef struct {
    const sq_tensor *q, *k; /* (B, L, G, K): head h reads group h / (H / G) */
    const sq_tensor *v, *o; /* (B, L, H, V) */
    double scale;
    /* 0: step by step. Q > 0: the chunkwise form with chunks of Q steps, the same function. */
    int64_t chunk;
    sq_scan_gate (*gate)(const sq_call *call, int64_t b, int64_t t, int64_t h);
    double (*skip)(const sq_call *call, int64_t h); /* NULL: 0 */
} sq_decay_scan;

/* Writes o. SQ_OUT_OF_MEMORY when the scratch of a thread cannot be had. */
sq_status sq_decay_scan_reference(const sq_call *call, const sq_decay_scan *scan, sq_error *err);

/* Gradients of the above. d_o as o; d_q, d_k as k, d_v as v. d_log_decay, d_weight: one number for
 * each (b, t, h), row-major; d_skip: one for each h, summed. Those three may be NULL. */
typedef struct {
    const sq_tensor *d_o, *d_q, *d_k, *d_v;
    double *d_log_decay, *d_weight, *d_skip;
} sq_decay_scan_grads;

sq_status sq_decay_scan_backward(const sq_call *call, const sq_decay_scan *scan,
                                 const sq_decay_scan_grads *grads, sq_error *err);

/* Multiply-adds of the forward reference. */
double sq_decay_scan_work(double batch, double length, double heads, double keys, double values,
                          double chunk);

/* How many value columns of one (b, h) a slice may have: whole blocks of the reference within
 * max_work, at least one block, at most `values`. */
int64_t sq_decay_scan_columns(double length, double keys, int64_t values, double chunk,
                              double max_work);

#ifdef __cplusplus
}
#endif
#endif
