/* decay_scan: the reference of every operator whose state is a matrix that decays a step:
 *
 *   S_t = a_t S_{t-1} + w_t k_t v_t^T        S_{-1} = initial, or 0
 *   o_t = (scale r_t S_t^T q_t + skip v_t) silu(z_t)
 *
 * per batch row b and head h; S is (K, V). a_t: a number, or with `decays` a diagonal matrix. At
 * the start of a document S_{t-1} counts as 0. Double throughout; parallel over (b, h, columns).
 */
#ifndef SQ_KERNELS_SHARED_DECAY_SCAN_H
#define SQ_KERNELS_SHARED_DECAY_SCAN_H

#include <stdint.h>

#include "core/tensor.h"
#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* log_decay: ln a_t. weight: w_t. is_start: a document starts at t. */
typedef struct {
    double log_decay, weight;
    bool is_start;
} sq_scan_gate;

/* A tensor that is optional may be NULL or without data. */
typedef struct {
    const sq_tensor *q, *k;  /* (B, L, G, K): head h reads group h / (H / G) */
    const sq_tensor *v, *o;  /* (B, L, H, V) */
    const sq_tensor *z;      /* (B, L, H, V), optional: silu(z) = 1 */
    const sq_tensor *decays; /* (B, L, H, K), optional: more of ln a_t, by row; G = H then */
    const sq_tensor *initial, *final; /* (B, H, K, V), optional */
    double scale;
    const double *row; /* r_t of each (b, t, h), row-major; NULL: 1 */
    /* 0: step by step. Q > 0: the chunkwise form with chunks of Q steps, the same function. Without
     * effect where there are decays by row. */
    int64_t chunk;
    sq_scan_gate (*gate)(const sq_call *call, int64_t b, int64_t t, int64_t h);
    double (*skip)(const sq_call *call, int64_t h, int64_t column); /* NULL: 0 */
} sq_decay_scan;

/* Writes o and final. SQ_OUT_OF_MEMORY when the scratch of a thread cannot be had. */
sq_status sq_decay_scan_reference(const sq_call *call, const sq_decay_scan *scan, sq_error *err);

/* Gradients of the above: d_final is read, the others are written. d_o as o; d_q, d_k as k; the
 * other tensors as what they are gradients of. d_log_decay, d_weight: one number for each (b, t,
 * h), row-major; d_skip: one for each (h, column), summed. What the scan has not may be NULL or
 * without data; d_log_decay, d_weight and d_skip may be NULL. */
typedef struct {
    const sq_tensor *d_o, *d_q, *d_k, *d_v, *d_z, *d_decays, *d_initial, *d_final;
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

/* Of outputs and states, in pass bwd of all gradients. is_gated: o is multiplied by silu(z). */
sq_tolerance sq_decay_scan_tolerance(sq_pass pass, sq_dtype dtype, bool is_gated);

static inline bool sq_scan_has(const sq_tensor *t)
{
    return t && t->data;
}

#ifdef __cplusplus
}
#endif
#endif
